package detect

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// acceptanceDir holds labelled text from public test sets, outside the
// repository. Figures over it are the ones in docs/masking.md.
const acceptanceDir = "../../../../shared/acceptance/pii"

type labelled struct {
	Text  string `json:"text"`
	Spans []struct {
		Start, End int
		Entity     string
	} `json:"spans"`
	UnderTest string `json:"under_test"`
	Label     string `json:"label"`
	Kind      string `json:"kind"`
	Rule      string `json:"rule"`
	Source    string `json:"source"`
}

func readLabelled(t testing.TB, name string) []labelled {
	t.Helper()
	f, err := os.Open(filepath.Join(acceptanceDir, name))
	if err != nil {
		t.Skipf("SKIPPED: the acceptance data isn't here, so detection isn't measured against it: %v", err)
	}
	defer func() { _ = f.Close() }()
	var rows []labelled
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row labelled
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// entityOf names the detector for a label of the sets.
func entityOf(label string) string {
	switch label {
	case "EMAIL_ADDRESS":
		return "email"
	case "IBAN_CODE":
		return "iban"
	case "US_SSN":
		return "ssn"
	case "IP_ADDRESS":
		return "ip"
	case "PHONE_NUMBER", "PH_MOBILE_NUMBER", "TR_PHONE_NUMBER":
		return "phone"
	case "DATE_TIME":
		return "date"
	}
	return strings.ToLower(label)
}

// score counts spans found (by overlap), missed and wrong; exact counts those
// whose borders fit, too.
type score struct{ hit, miss, wrong, exact int }

func (s score) precision() float64 { return ratio(s.hit, s.hit+s.wrong) }
func (s score) recall() float64    { return ratio(s.hit, s.hit+s.miss) }
func (s score) f1() float64        { return ratio(2*s.hit, 2*s.hit+s.miss+s.wrong) }

func ratio(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func (s *score) add(t score) {
	s.hit += t.hit
	s.miss += t.miss
	s.wrong += t.wrong
	s.exact += t.exact
}

// compare scores what was found of one entity against what is labelled so.
func compare(row labelled, found []Span, entity string) (s score) {
	used := make([]bool, len(found))
	for _, want := range row.Spans {
		if entityOf(want.Entity) != entity {
			continue
		}
		ok := false
		for k, got := range found {
			if got.Entity.String() == entity && got.Start < want.End && want.Start < got.End {
				if !used[k] || !ok {
					ok = true
					if got.Start == want.Start && got.End == want.End {
						s.exact++
					}
				}
				used[k] = true
			}
		}
		if ok {
			s.hit++
		} else {
			s.miss++
		}
	}
	for k, got := range found {
		if got.Entity.String() == entity && !used[k] {
			s.wrong++
		}
	}
	return s
}

// DETECT_SHOW names an entity, or all, whose misses and false hits are printed.
func verbose() bool { return os.Getenv("DETECT_SHOW") != "" }

func show(t *testing.T, row labelled, found []Span, entity string, s score) {
	if show := os.Getenv("DETECT_SHOW"); show != "" && (show == "all" || show == entity) && s.miss+s.wrong > 0 {
		var got []string
		for _, f := range found {
			got = append(got, f.Entity.String()+"="+row.Text[f.Start:f.End])
		}
		var want []string
		for _, w := range row.Spans {
			if entityOf(w.Entity) == entity {
				want = append(want, row.Text[w.Start:w.End])
			}
		}
		t.Logf("%s %s miss=%d wrong=%d %.220q\n      want %.200q\n      got %.200q", entity, row.Rule+row.Source, s.miss, s.wrong, row.Text, want, got)
	}
}

// TestAcceptanceOthers measures the detectors that are asked for by name only.
func TestAcceptanceOthers(t *testing.T) {
	for _, e := range []string{"mac_address", "crypto"} {
		scanner, _ := New(e)
		var total score
		for _, row := range readLabelled(t, "presidio-tests.dev.jsonl") {
			if entityOf(row.UnderTest) == e {
				total.add(compare(row, scanner.Scan(nil, []byte(row.Text)), e))
			}
		}
		t.Logf("%-12s F1 %.4f (%d/%d/%d)", e, total.f1(), total.hit, total.miss, total.wrong)
		atLeast(t, e, total.f1(), goals[e])
	}
}

// common are the detectors that a mask usually names.
var common = []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "url", "secret"}

func TestAcceptanceCommon(t *testing.T) {
	scanner, unknown := New(common...)
	if len(unknown) > 0 {
		t.Fatal(unknown)
	}
	totals := map[string]*score{}
	per := map[string]map[string]*score{}
	for _, name := range []string{"presidio-research-large.dev.jsonl", "presidio-research-v2.dev.jsonl", "presidio-tests.dev.jsonl"} {
		per[name] = map[string]*score{}
		for _, row := range readLabelled(t, name) {
			entities := common
			if row.UnderTest != "" {
				entities = []string{entityOf(row.UnderTest)}
			}
			found := scanner.Scan(nil, []byte(row.Text))
			for _, e := range entities {
				if totals[e] == nil {
					totals[e] = &score{}
				}
				if per[name][e] == nil {
					per[name][e] = &score{}
				}
				s := compare(row, found, e)
				totals[e].add(s)
				per[name][e].add(s)
				show(t, row, found, e, s)
			}
		}
	}
	for _, e := range common {
		if e == "secret" {
			continue // has a set of its own
		}
		s := totals[e]
		t.Logf("%-12s F1 %.4f  P %.4f  R %.4f  (%d found, %d exact, %d missed, %d wrong)", e, s.f1(), s.precision(), s.recall(), s.hit, s.exact, s.miss, s.wrong)
		for name, m := range per {
			if m[e] != nil && verbose() {
				t.Logf("      %-36s F1 %.4f (%d/%d/%d)", name, m[e].f1(), m[e].hit, m[e].miss, m[e].wrong)
			}
		}
		atLeast(t, e, s.f1(), goals[e])
	}
}

// goals are what detection must reach on the acceptance sets, in F1.
var goals = map[string]float64{
	"email": .99, "credit_card": .99, "iban": .99, "ssn": .97, "ip": .97, "url": .97, "secret": .97, "phone": .92,
	"national ids": .90, "mac_address": .97, "crypto": .97, "columns": .95,
}

func atLeast(t *testing.T, what string, got, want float64) {
	t.Helper()
	if want == 0 || got < want {
		t.Errorf("%s reaches %.4f, and must reach %.2f", what, got, want)
	}
}

func TestAcceptanceSecrets(t *testing.T) {
	scanner, _ := New("secret")
	var total score
	rules := map[string]*score{}
	for _, row := range readLabelled(t, "gitleaks.dev.jsonl") {
		found := scanner.Scan(nil, []byte(row.Text))
		s := compare(row, found, "secret")
		total.add(s)
		if rules[row.Rule] == nil {
			rules[row.Rule] = &score{}
		}
		rules[row.Rule].add(s)
		show(t, row, found, "secret", s)
	}
	atLeast(t, "secret", total.f1(), goals["secret"])
	t.Logf("secret F1 %.4f  P %.4f  R %.4f (%d found, %d exact, %d missed, %d wrong)", total.f1(), total.precision(), total.recall(), total.hit, total.exact, total.miss, total.wrong)
	var names []string
	for name, s := range rules {
		if s.miss+s.wrong > 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	if verbose() {
		for _, name := range names {
			t.Logf("   %-40s %+v", name, *rules[name])
		}
	}
}

func TestAcceptanceCells(t *testing.T) {
	scanner, _ := New("email", "credit_card", "iban", "ssn", "phone", "ip", "secret", "url", NationalIDs)
	hit, n := 0, 0
	kinds := map[string]int{}
	totals := map[string]*score{}
	for _, row := range readLabelled(t, "cells.dev.jsonl") {
		found := scanner.ScanCell(nil, []byte(row.Text), 0)
		if row.Label == "neg" {
			n++
			if len(found) > 0 {
				hit++
				kinds[row.Kind+"/"+found[0].Entity.String()]++
				if verbose() {
					t.Logf("ordinary cell %q: %v", row.Text, found)
				}
			}
			continue
		}
		for _, e := range common {
			if totals[e] == nil {
				totals[e] = &score{}
			}
			s := compare(row, found, e)
			totals[e].add(s)
			show(t, row, found, e, s)
		}
	}
	if hit*200 > n {
		t.Errorf("%d of %d ordinary cells are hit, and 0.5 %% may be", hit, n)
	}
	t.Logf("ordinary cells hit: %d of %d (%.2f %%) %v", hit, n, 100*ratio(hit, n), kinds)
	for _, e := range common {
		s := totals[e]
		t.Logf("cells %-12s F1 %.4f (%d/%d/%d)", e, s.f1(), s.hit, s.miss, s.wrong)
		atLeast(t, e+" in cells", s.f1(), goals[e])
	}
}

func TestAcceptanceNational(t *testing.T) {
	var total score
	types := map[string]*score{}
	for _, row := range readLabelled(t, "presidio-tests.dev.jsonl") {
		e := entityOf(row.UnderTest)
		switch e {
		case "email", "credit_card", "iban", "ssn", "phone", "ip", "url", "date", "person", "mac_address", "crypto":
			continue
		}
		scanner, _ := New(e)
		found := scanner.Scan(nil, []byte(row.Text))
		s := compare(row, found, e)
		total.add(s)
		if types[e] == nil {
			types[e] = &score{}
		}
		types[e].add(s)
		show(t, row, found, e, s)
	}
	atLeast(t, "national ids", total.f1(), goals["national ids"])
	t.Logf("national ids, %d types: F1 %.4f  P %.4f  R %.4f (%d/%d/%d)", len(types), total.f1(), total.precision(), total.recall(), total.hit, total.miss, total.wrong)
	if verbose() {
		for e, s := range types {
			if s.miss+s.wrong > 0 {
				t.Logf("   %-30s %+v", e, *s)
			}
		}
	}
}
