package approval_test

import (
	"testing"

	"postern"
	"postern/internal/approval"
)

// A person with a service account of their own name is one voter, not two, and
// doesn't approve with the one what they asked for with the other.
func TestOneNameIsOneVoter(t *testing.T) {
	s, l := newService(t)
	rv := review("rv_1")
	rv.Approvals = 2
	ok(t, s.Submit(t.Context(), rv))
	double := postern.Identity{Name: "dora", Kind: postern.Service, Groups: []string{"dba"}}
	_, err := s.Vote(t.Context(), "rv_1", person("dora"), true, "")
	ok(t, err)
	_, err = s.Vote(t.Context(), "rv_1", double, true, "")
	is(t, err, approval.ErrDecided, "someone else must")
	_, err = s.Vote(t.Context(), "rv_1", postern.Identity{Name: "alice", Kind: postern.Service, Groups: []string{"dba"}}, true, "")
	is(t, err, approval.ErrNotApprover, "their own command")
	if now, err := s.Get(t.Context(), "rv_1"); err != nil || now.State != postern.ReviewPending {
		t.Errorf("the review is %s, %v", now.State, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := l.entries[len(l.entries)-1]; last.Outcome != "refused" || last.Identity != "alice" || last.Kind != postern.Service {
		t.Errorf("the log has %+v, want a refusal that tells the service from the user", last)
	}
}
