package gate

import (
	"fmt"

	"postern"
	"postern/internal/policy"
)

// Rights are what the session's identity, and whoever acts for it, may do here
// now, for a protocol whose accesses have a section of its own. There are none
// when the session may not go on.
func (s *Session) Rights() []policy.Right {
	return s.gate.cfg.Policy().Rights(s.request())
}

// Transfer counts files that are opened and bytes that are about to pass, under
// the limit of the decision that allowed it. A *[DeniedError] says that they are
// more than it allows in an hour: they must not pass. All of the identity's
// sessions here count together, so that a new one isn't a new allowance.
func (s *Session) Transfer(limit *postern.TransferLimit, files, bytes int64) error {
	if limit == nil {
		return nil
	}
	now := s.gate.cfg.Now()
	for _, c := range []struct {
		what     string
		limit, n int64
	}{{"files", limit.Files, files}, {"bytes", limit.Bytes, bytes}} {
		if c.limit == 0 || c.n == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s/%s/%s/%s", c.what, limit.Access, s.info.Resource, s.info.Kind, s.info.Identity)
		if !s.gate.amounts.add(key, c.limit, now, c.n) {
			return &DeniedError{Rule: limit.Access, Session: s.info.ID, Reason: fmt.Sprintf(
				"it allows %d %s to be transferred in an hour, and this would be more. Transfer less, or wait; session %s.", c.limit, c.what, s.info.ID)}
		}
	}
	return nil
}
