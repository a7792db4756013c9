package postern

// SearchScope is whose commands with what are searched together: who may read
// one recording of a scope may read each.
type SearchScope struct {
	Resource string
	Identity string
	Kind     IdentityKind
	Actor    string
}

// SearchPart is a run of commands of one recording, as the index of commands
// knows it. It holds no text: words are keyed hashes.
type SearchPart struct {
	ID          int64 // when its first command came, in microseconds since 1970, or the next number that was free
	Session     string
	From        string // where in the recording it begins; "": at the recording's beginning
	First, Last int64  // the numbers of its first and last command
	Words       []int64
}

// SearchState says how far a recording is in the index of commands.
type SearchState struct {
	Next string // where what isn't indexed yet begins
	Done bool   // there is no more of it, or it was deleted
}
