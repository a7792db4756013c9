package postgres

import (
	"slices"

	"postern/internal/sql"
)

// transactional says whether what a function of pg_catalog that writes does is gone
// with its transaction. Numbers that a sequence has given are not taken back, which
// changes nothing that anybody could rely on; where it stands is, for setval.
func transactional(function string) bool {
	switch function {
	case "nextval", "pg_notify", "txid_current", "pg_current_xact_id":
		return true
	}
	return false
}

// Uncertain is why a statement isn't known to be undoable whose names may have got
// another meaning since the catalog was read.
const Uncertain = "what its names mean isn't certain now"

// lasting says why a rollback may not undo all that a statement does; "" when it
// does. Only changes of rows are followed that far: whatever else is not known to
// end with the transaction.
func (r *reader) lasting(s *sql.Statement) string {
	f := r.facts
	switch s.Command.Verb {
	case "insert", "update", "delete", "merge":
	default:
		return "only INSERT, UPDATE, DELETE and MERGE are held"
	}
	switch {
	case r.cat == nil || r.allTouched || len(r.touches) > 0 || !r.pathKnown:
		return Uncertain
	case f.lasting != "":
		return f.lasting
	case f.dynamic:
		return "it runs SQL that is put together at run time, or a trigger does"
	case f.program || f.files:
		return "it reaches files or programs of the server"
	case len(s.Sets) > 0 || s.Unsettles:
		return "it changes settings of the session"
	case s.ChangesCatalog || len(s.Touches) > 0:
		return "it changes more than rows"
	}
	for _, verb := range f.verbs {
		if !slices.Contains([]string{"insert", "update", "delete", "merge", "select", "call", "notify"}, verb) {
			return "it does more than change rows: " + verb
		}
	}
	return ""
}
