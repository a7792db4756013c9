package audit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"postern"
)

// act writes something, and an entry about it, in one transaction.
func act(t testing.TB, p *place, n int) {
	t.Helper()
	must(t, p.db.Together(t.Context(), func() []postern.AuditEntry {
		return []postern.AuditEntry{{Time: entry(n).Time, Action: "object.apply", Target: fmt.Sprint(n), Outcome: "ok"}}
	}, func(ctx context.Context) error { return p.db.PutMeta(ctx, fmt.Sprint("key-", n), "value") }))
}

// What a killed process had done, and not taken over into the log, is there after
// the next start.
func TestActsOfAKilledProcessAreInTheLog(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	fill(t, l, 0, 3)
	must(t, l.Close(t.Context()))
	act(t, p, 1)
	act(t, p, 2)
	l = p.open(t, nil)
	must(t, l.Append(t.Context(), entry(9)))
	found, err := l.Search(t.Context(), postern.AuditFilter{Action: "object.apply"})
	must(t, err)
	if len(found) != 2 || found[0].Target != "2" || found[0].Seq != 5 || found[1].Seq != 4 {
		t.Errorf("the log has %+v", found)
	}
	if report, err := l.Verify(t.Context(), nil); err != nil || report.Entries != 6 {
		t.Errorf("%+v, %v", report, err)
	}
}

// Acts and decisions of two processes at once: each is in the log once.
func TestCollectBesideOthers(t *testing.T) {
	p := newPlace(t)
	a, b := p.open(t, nil), p.open(t, nil)
	const acts = 40
	var wg sync.WaitGroup
	for w, l := range map[int]interface {
		Collect(context.Context) error
		Append(context.Context, postern.AuditEntry) error
	}{0: a, 1: b} {
		wg.Go(func() {
			for i := range acts {
				act(t, p, w*1000+i)
				if err := errors.Join(l.Collect(t.Context()), l.Append(t.Context(), entry(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, a.Close(t.Context()))
	must(t, b.Close(t.Context()))
	l := p.open(t, nil)
	found, err := l.Search(t.Context(), postern.AuditFilter{Action: "object.apply", Limit: 1000})
	must(t, err)
	seen := map[string]bool{}
	for _, r := range found {
		seen[r.Target] = true
	}
	if len(found) != 2*acts || len(seen) != 2*acts || l.Size() != 4*acts {
		t.Errorf("%d entries of %d acts, %d in all", len(found), len(seen), l.Size())
	}
}
