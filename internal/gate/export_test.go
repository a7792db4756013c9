package gate

import "postern"

// DigestOf is the digest that binds a review to commands.
func DigestOf(s *Session, review, policyVersion string, cmds []postern.Command) string {
	return s.digest(review, policyVersion, cmds)
}

// Alike says whether two commands are the same to decisions that last.
func Alike(a, b *postern.Command) bool { return alike(a, b) }
