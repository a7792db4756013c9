package api

import (
	"testing"

	"postern"
)

// Of a resource that is gone nobody knows the masks: nothing of its data is shown.
func TestViewerOfAResourceThatIsGone(t *testing.T) {
	v := &viewer{unknown: true}
	cell := "ines@example.com"
	for _, e := range []postern.Event{
		{Kind: postern.EventCommand, N: 1, Command: &postern.Command{Text: cell, Params: []postern.Param{{Value: []byte(cell)}}}},
		{Kind: postern.EventDecision, N: 1, Decision: &postern.Decision{Verdict: postern.Allow, Masks: []postern.Mask{{Name: "pii"}}}},
		{Kind: postern.EventResult, N: 1, Rows: [][]*string{{&cell}}},
		{Kind: postern.EventError, N: 1, Text: cell},
		{Kind: postern.EventKind("a later version's"), N: 1, Text: cell},
	} {
		v.show(&e)
		if e.Text == cell || e.Command != nil && (e.Command.Text == cell || string(e.Command.Params[0].Value) == cell) || len(e.Rows) > 0 && *e.Rows[0][0] == cell {
			t.Errorf("%s is shown: %+v", e.Kind, e)
		}
	}
	if cell != "ines@example.com" {
		t.Error("the recording's own value was changed")
	}
}
