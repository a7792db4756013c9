package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/audit"
)

// searched is entry n of a log that tells much apart.
func searched(n int) postern.AuditEntry {
	e := entry(n)
	switch {
	case n%1000 == 17:
		e.Action, e.Outcome, e.Verb, e.Objects, e.Rule = "command", "deny", "drop,select", []string{"shop.Invoices", "tmp"}, "no-drop-table"
		e.Reason = "Müller's tables aren't dropped here: ask group:dba"
	case n%10 == 3:
		e.Identity, e.Actor, e.Resource = "bob", "claude", "web-1"
	case n%500 == 99:
		e.Action, e.Target, e.Session, e.Objects, e.Resource = "service-account.create", fmt.Sprintf("service:ci-%d", n), "", nil, ""
	}
	return e
}

const searchedSize = 20_000 // two whole segments, and a part

func searchedLog(t testing.TB) (*place, *audit.Log) {
	t.Helper()
	p := newPlace(t)
	l := p.open(t, nil)
	for n := range searchedSize {
		must(t, l.Queue(searched(n)))
	}
	_, err := l.Tail(t.Context(), 0, 1) // all of them are durable
	must(t, err)
	return p, l
}

func TestSearch(t *testing.T) {
	p, l := searchedLog(t)
	check := func(name string, f postern.AuditFilter, picks func(int, postern.AuditEntry) bool) {
		t.Helper()
		var want []int64
		limit := f.Limit
		if limit == 0 {
			limit = 100
		}
		for n := searchedSize - 1; n >= 0 && len(want) < limit; n-- {
			if picks(n, searched(n)) {
				want = append(want, int64(n+1))
			}
		}
		for _, log := range []*audit.Log{l, p.open(t, func(c *audit.Config) { c.Anchor = "" })} {
			found, err := log.Search(t.Context(), f)
			must(t, err)
			var got []int64
			for _, r := range found {
				got = append(got, r.Seq)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: found %v, want %v", name, got, want)
			}
		}
	}
	isDrop := func(n int, _ postern.AuditEntry) bool { return n%1000 == 17 }
	check("everything", postern.AuditFilter{}, func(int, postern.AuditEntry) bool { return true })
	check("a rule", postern.AuditFilter{Rule: "no-drop-table"}, isDrop)
	check("an outcome in capitals", postern.AuditFilter{Outcome: "DENY"}, isDrop)
	check("one of the verbs", postern.AuditFilter{Verb: "drop"}, isDrop)
	check("an object", postern.AuditFilter{Object: "shop.invoices"}, isDrop)
	check("an object without its schema", postern.AuditFilter{Object: "Invoices"}, isDrop)
	check("a part of an object's name", postern.AuditFilter{Object: "voices"}, func(int, postern.AuditEntry) bool { return false })
	check("text", postern.AuditFilter{Text: "dropped, MÜLLER"}, isDrop)
	check("text that stands in no entry", postern.AuditFilter{Text: "dropped nowhere"}, func(int, postern.AuditEntry) bool { return false })
	check("who", postern.AuditFilter{Identity: "bob", Limit: 1000}, func(_ int, e postern.AuditEntry) bool { return e.Identity == "bob" })
	check("who, on behalf of another", postern.AuditFilter{Identity: "claude"}, func(_ int, e postern.AuditEntry) bool { return e.Actor == "claude" })
	check("an actor", postern.AuditFilter{Actor: "bob"}, func(int, postern.AuditEntry) bool { return false })
	check("a target", postern.AuditFilter{Target: "service:ci-599"}, func(n int, _ postern.AuditEntry) bool { return n == 599 })
	check("two that are common, and rare together", postern.AuditFilter{Identity: "alice", Session: "ss_2", Verb: "drop"},
		func(n int, _ postern.AuditEntry) bool { return n%1000 == 17 && n%3 == 2 })
	check("a page", postern.AuditFilter{Rule: "no-drop-table", Before: 9018, After: 2000},
		func(n int, e postern.AuditEntry) bool { return isDrop(n, e) && n+1 < 9018 && n+1 > 2000 })
	from, to := began.Add(5000*time.Second), began.Add(5003*time.Second)
	check("a time", postern.AuditFilter{From: from, To: to}, func(n int, _ postern.AuditEntry) bool { return n >= 5000 && n < 5003 })
	check("a time that never was", postern.AuditFilter{From: to, To: from}, func(int, postern.AuditEntry) bool { return false })

	if _, err := l.Search(t.Context(), postern.AuditFilter{Text: "!?"}); !errors.Is(err, audit.ErrNoWord) {
		t.Errorf("a text without a word: %v", err)
	}
	if report, err := l.Verify(t.Context(), nil); err != nil {
		t.Errorf("%+v, %v", report, err)
	}
}

// A search must not hide an entry unseen: verify compares the index with the
// entries, and has it made anew.
func TestTamperedIndexIsFound(t *testing.T) {
	p, l := searchedLog(t)
	drops := postern.AuditFilter{Rule: "no-drop-table"}
	before, err := l.Search(t.Context(), drops)
	must(t, err)
	for _, change := range []string{
		`UPDATE audit_terms SET postings = '' WHERE segment = 1 AND postings <> ''`,
		`UPDATE audit_terms SET postings = replace(postings, 'A', 'B') WHERE segment = 1`,
		`UPDATE audit_terms SET postings = 'no base64' WHERE segment = 1`,
		`DELETE FROM audit_terms WHERE segment = 1`,
		`UPDATE audit_segments SET from_time = to_time WHERE segment = 1`,
		`UPDATE audit_terms SET postings = (SELECT o.postings FROM audit_terms o WHERE o.segment = 0 AND o.bucket = audit_terms.bucket) WHERE segment = 1`,
	} {
		must(t, l.Close(t.Context()))
		p.tamper(t, change)
		l = p.open(t, nil)
		_, err = l.Verify(t.Context(), nil)
		if seq := tampered(t, err); seq != 8193 || !strings.Contains(err.Error(), "search") {
			t.Errorf("%s: found at %d: %v", change, seq, err)
		}
		after, err := l.Search(t.Context(), drops)
		must(t, err)
		if len(after) != len(before) {
			t.Errorf("%s: %d found after the index was made anew, %d before", change, len(after), len(before))
		}
	}
	if _, err := l.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
