package gate

import (
	"fmt"

	"postern"
	"postern/internal/policy"
)

// SSH says on what terms the session is on an SSH resource, as one of the
// server's users or, with "", as whom the policy lets it in.
func (s *Session) SSH(login string) policy.SSHTerms {
	return s.gate.cfg.Policy().SSH(s.request(), login)
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
