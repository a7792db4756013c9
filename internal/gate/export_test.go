package gate

import "postern"

// DigestOf is the digest that binds a review to commands.
func DigestOf(s *Session, review, policyVersion string, cmds []postern.Command) string {
	return s.digest(review, policyVersion, cmds)
}
