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
	case r.run.deep || len(f.places) > maxPlaces:
		return "what it sets off goes too far to be followed"
	case f.dynamic:
		return "it runs SQL that is put together at run time, or a trigger does"
	case f.program || f.files:
		return "it reaches files or programs of the server"
	case len(s.Sets) > 0 || s.Unsettles:
		return "it changes settings of the session"
	case s.ChangesCatalog || len(s.Touches) > 0:
		return "it changes more than rows"
	}
	if why := r.checks(); why != "" {
		return why
	}
	if i := slices.IndexFunc(f.verbs, beyondRows); i >= 0 {
		return "it does more than change rows: " + f.verbs[i]
	}
	return ""
}

// beyondRows says that a verb is none of those that read and change rows.
func beyondRows(verb string) bool {
	return !slices.Contains([]string{"insert", "update", "delete", "merge", "select", "call", "notify"}, verb)
}

// maxPlaces bounds how many relations a statement may come by that is held.
const maxPlaces = 500

// CallsQuery asks which functions the expressions call that hang on relations, and may
// be evaluated as their rows are read or written: defaults, checks, those of domains,
// policies, indexes, and conditions of triggers ("t", others are ""). $1 is an array of
// the relations' numbers. It may be run under any search_path.
const CallsQuery = `WITH trees(kind, tree) AS (
SELECT '', adbin::pg_catalog.text FROM pg_catalog.pg_attrdef WHERE adrelid OPERATOR(pg_catalog.=) ANY ($1)
UNION ALL SELECT '', conbin::pg_catalog.text FROM pg_catalog.pg_constraint WHERE conbin IS NOT NULL AND (conrelid OPERATOR(pg_catalog.=) ANY ($1) OR contypid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)
UNION ALL SELECT '', polqual::pg_catalog.text FROM pg_catalog.pg_policy WHERE polrelid OPERATOR(pg_catalog.=) ANY ($1)
UNION ALL SELECT '', polwithcheck::pg_catalog.text FROM pg_catalog.pg_policy WHERE polrelid OPERATOR(pg_catalog.=) ANY ($1)
UNION ALL SELECT '', indexprs::pg_catalog.text FROM pg_catalog.pg_index WHERE indrelid OPERATOR(pg_catalog.=) ANY ($1)
UNION ALL SELECT '', indpred::pg_catalog.text FROM pg_catalog.pg_index WHERE indrelid OPERATOR(pg_catalog.=) ANY ($1)
UNION ALL SELECT 't', tgqual::pg_catalog.text FROM pg_catalog.pg_trigger WHERE tgqual IS NOT NULL AND NOT tgisinternal AND tgrelid OPERATOR(pg_catalog.=) ANY ($1))
SELECT DISTINCT t.kind, f.found[1] FROM trees AS t, pg_catalog.regexp_matches(t.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS f(found)`

// CallLasts says why a call that CallsQuery found may have an effect that a rollback
// doesn't undo; "" when it has none.
func (c *Catalog) CallLasts(kind string, oid uint32) string {
	f := c.Functions[oid]
	switch {
	case f == nil:
		return "a default, a check, a policy or a trigger's condition calls a function that isn't known"
	case oid >= firstUserOID && kind == "":
		return "" // read with the relation
	case oid >= firstUserOID:
		return "a trigger's condition calls " + f.Schema + "." + f.Name + ", a function that isn't the server's own"
	}
	switch builtinEffect(f.Name, f) {
	case effectNone, effectOutside, effectSetting:
		return ""
	case effectWrite:
		if transactional(f.Name) {
			return ""
		}
	}
	return "a default, a check, a policy or a trigger's condition calls " + f.Schema + "." + f.Name + ", whose effect a rollback doesn't undo"
}

// checks says why a rollback may not undo what the check of some domain does. Where
// a domain is used is hard to tell: also where text is read as JSON or as a row.
func (r *reader) checks() string {
	for _, t := range r.cat.checked {
		inner := r.sub()
		inner.attached(nil, t.Checks, true)
		f := inner.facts
		if what := f.lasting; what != "" || f.dynamic || f.program || f.files || f.problem != "" || slices.ContainsFunc(f.verbs, beyondRows) {
			if what == "" {
				what = "it does what can't be told"
			}
			return "the check of the domain " + t.Schema + "." + t.Name + " may be made somewhere: " + what
		}
	}
	return ""
}
