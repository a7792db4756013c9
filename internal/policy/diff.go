package policy

import (
	"bytes"
	"slices"

	"github.com/rogpeppe/go-internal/diff"
)

// The actions of a change.
const (
	ActionCreate = "create"
	ActionChange = "change"
	ActionDelete = "delete"
)

// Change is one difference between two sets of objects.
type Change struct {
	Action string `json:"action"` // [ActionCreate], [ActionChange] or [ActionDelete]
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Source string `json:"source"` // of the new object; of the old one when it is deleted
	Diff   string `json:"diff"`   // unified, over the canonical renderings
	// Warnings are of the object as it will be: see [Set.ChangesFrom].
	Warnings []string `json:"warnings,omitempty"`
}

// Diff lists what changes from was to is, by kind and name. Objects that
// render alike are the same, wherever they come from.
func Diff(was, is []Object) []Change {
	before, after := byRef(was), byRef(is)
	all := slices.Clone(is)
	for _, o := range was {
		if _, stays := after[o.Ref()]; !stays {
			all = append(all, o)
		}
	}
	slices.SortStableFunc(all, compareObjects)
	var changes []Change
	for _, o := range all {
		old, existed := before[o.Ref()]
		current, exists := after[o.Ref()]
		change := Change{Action: ActionChange, Kind: o.Kind, Name: o.Name, Source: o.Source}
		var a, b []byte
		if existed {
			a = old.Render()
		} else {
			change.Action = ActionCreate
		}
		if exists {
			b = current.Render()
		} else {
			change.Action = ActionDelete
		}
		if bytes.Equal(a, b) {
			continue
		}
		change.Diff = string(diff.Diff("old "+o.Ref(), a, "new "+o.Ref(), b))
		changes = append(changes, change)
	}
	return changes
}

func byRef(objects []Object) map[string]Object {
	all := make(map[string]Object, len(objects))
	for _, o := range objects {
		all[o.Ref()] = o
	}
	return all
}
