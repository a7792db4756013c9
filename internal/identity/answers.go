package identity

import "time"

// Answers is how somebody whose word counts answers when the gateway asks: for
// what a provider says of itself, or for the keys that an issuer signs with.
type Answers struct {
	Asked time.Time // the last time; zero: never
	Good  time.Time // the last time that the answer was as it should be; zero: never
	Err   error     // why the last answer wasn't; nil: it was, or nobody asked
}

// LookAfter is how old the last answer may be for whoever wants to know how
// things stand now.
const LookAfter = time.Minute

// Old says whether the last answer is too old to say how things stand at now. A
// clock that was set back must not make an answer good for ever.
func (a Answers) Old(now time.Time) bool {
	return a.Asked.IsZero() || now.Sub(a.Asked) >= LookAfter || now.Before(a.Asked)
}
