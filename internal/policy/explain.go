package policy

import "postern"

// Explanation is a decision with everything that was considered for it.
type Explanation struct {
	Decision postern.Decision `json:"decision"`
	Opening  Opening          `json:"opening"`
	Steps    []Step           `json:"steps"`
}

// Step is one access, rule or mask that was considered.
type Step struct {
	Kind    string `json:"kind"` // [KindAccess], [KindRule] or [KindMask]
	Name    string `json:"name"`
	Source  string `json:"source"`  // file:line
	Command int    `json:"command"` // the command's index; -1: for all of them
	Applies bool   `json:"applies"` // it counted towards the decision
	Outcome string `json:"outcome"` // for the person: why it did or didn't
}

// Explain decides as [Set.Decide] does, and says how it came to that.
func (s *Set) Explain(r Request, cmds []postern.Command) Explanation { return Explanation{} }
