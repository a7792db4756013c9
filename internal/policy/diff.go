package policy

// Change is one difference between two sets of objects.
type Change struct {
	Action string // "create", "change" or "delete"
	Kind   string
	Name   string
	Source string // of the new object; of the old one when it is deleted
	Diff   string // unified, over the canonical renderings
}

// Diff lists what changes from old to new, by kind and name. Objects that
// render alike are the same, wherever they come from.
func Diff(old, new []Object) []Change { return nil }
