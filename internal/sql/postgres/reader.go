package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
	"postern/internal/sql"
)

// Bounds of one analysis. What goes beyond them is unknown.
const (
	maxDepth = 64      // views within views, functions within functions, types of types
	maxSteps = 1 << 16 // expressions looked at
)

// reader reads one statement, or the body of a view or function.
type reader struct {
	env   *Env
	cat   *Catalog
	facts *facts
	run   *run

	as         string   // whose rights say which schemas are searched; "": it isn't known
	path       []string // effective
	listed     []string // without those that are searched although the setting doesn't name them
	doubted    []string // of these, those that may not be searched
	pathKnown  bool
	touches    []string
	allTouched bool
	bound      bool    // names were resolved when the text was stored: a view's definition
	caller     *reader // of a bound reader: what functions that it calls resolve names by

	args *value           // what parameters are, in a function's body; nil for a client's
	vars map[string]value // variables and named arguments, in a function's body

	fires *Relation // of whose rows the trigger that is being read is set off

	settingRow string // the setting that rows of pg_settings are about
	planning   bool   // the statement isn't run: EXPLAIN
	makes      string // the schema that CREATE SCHEMA makes, within it
	searching  bool   // within an operand of @@
	looping    bool   // within a loop of a function's body
}

// run is what readers of one analysis share.
type run struct {
	literals   *literals // of the client's text; nil: all are in its tree
	steps      int
	fleeting   bool      // the outcome depends on what the cache's key doesn't hold
	lively     bool      // a function was called whose names the session resolves
	moving     bool      // the statement may change how, before such a function runs
	cut        bool      // something was left out because it is being read already
	assumed    bool      // what is being read was taken to add nothing where it uses itself, by an operator
	deep       bool      // something was left out because it is too deep within others
	inside     []uint64  // what is being read: kind and number
	converting *[]uint32 // types that the casts use that are being read; nil: none are
}

// What is read by following a reference.
const (
	aShape = iota << 32
	aBody
	aWrite
)

// enter begins to follow a reference; false when that is being done already,
// or too deep within others.
func (n *run) enter(kind uint64, oid uint32) bool {
	what := kind | uint64(oid)
	if slices.Contains(n.inside, what) || len(n.inside) >= maxDepth {
		n.cut = true
		n.deep = n.deep || len(n.inside) >= maxDepth
		return false
	}
	n.inside = append(n.inside, what)
	return true
}

// innermost is what is being read of a kind, most deeply within others.
func (n *run) innermost(kind uint64) uint32 {
	for _, what := range slices.Backward(n.inside) {
		if what&^(1<<32-1) == kind {
			return uint32(what)
		}
	}
	return 0
}

func (n *run) leave() { n.inside = n.inside[:len(n.inside)-1] }

// does notes what the statement itself does, unless it is only planned.
func (r *reader) does(verb string, l level) {
	if !r.planning {
		r.facts.verb(verb, l)
	}
}

// step counts one expression; false when there were too many.
func (r *reader) step() bool {
	r.run.steps++
	if r.run.steps > maxSteps {
		r.facts.unknown("The statement is too large to be analysed.")
		return false
	}
	return true
}

func newReader(env *Env, n *run, touches []string) *reader {
	r := &reader{env: env, cat: env.Catalog, facts: &facts{}, run: n, as: env.User, touches: touches}
	r.allTouched = slices.Contains(touches, touchesAll)
	r.setPath(env.SearchPath)
	return r
}

// sub is a reader of a body that has its own facts.
func (r *reader) sub() *reader {
	s := *r
	s.facts, s.args, s.vars = &facts{}, nil, nil
	s.planning, s.looping, s.settingRow = false, false, ""
	return &s
}

// analyze says what text would do, and whether the same text under the same
// key always would. Where all are the text's literals, and it is one statement,
// it returns what was asked of them, too.
func analyze(text string, env *Env, all []literal) (_ *sql.Analysis, reusable bool, _ *literals) {
	if problem := unreadable(text, env); problem != "" {
		return &sql.Analysis{Statements: []sql.Statement{unknown(text, problem)}}, true, nil
	}
	tree, err := parse(text)
	if err != "" {
		return &sql.Analysis{Statements: []sql.Statement{unknown(text, err)}}, true, nil
	}
	n := &run{}
	if len(all) > 0 && len(tree.Stmts) == 1 {
		n.literals = hide(tree, text, all)
	}
	out := &sql.Analysis{Statements: make([]sql.Statement, len(tree.Stmts))}
	touches := env.Touched
	inner := *env
	order := &settling{env: &inner}
	order.guard()
	for i, raw := range tree.Stmts {
		from, to := int(raw.StmtLocation), len(text)
		if i == 0 {
			from = 0
		}
		if i+1 < len(tree.Stmts) {
			to = int(tree.Stmts[i+1].StmtLocation)
		}
		if from > to || to > len(text) {
			return &sql.Analysis{Statements: []sql.Statement{unknown(text, "The statements of the text can't be told apart.")}}, true, nil
		}
		r := newReader(&inner, n, touches)
		n.lively = false
		r.statement(raw.Stmt, &out.Statements[i])
		if n.lively && r.movesPath() {
			// Which of it runs first isn't known.
			n.moving = true
			r = newReader(&inner, n, touches)
			out.Statements[i] = sql.Statement{}
			r.statement(raw.Stmt, &out.Statements[i])
			n.moving = false
		}
		if n.lively && runs(raw.Stmt) && r.movesReads() || r.readsMoved() {
			r.unprove(&out.Statements[i])
		}
		if n.lively && runs(raw.Stmt) && r.replaced(r.facts.touches) {
			r.facts.unknown(replacedProblem)
		}
		if r.movesDeferred() {
			r.facts.unknown("A trigger that is deferred until the transaction ends may do something else after this; commit first.")
		}
		r.current()
		r.finish(&out.Statements[i], text[from:to], len(tree.Stmts) > 1)
		order.settle(&out.Statements[i])
		touches = append(touches[:len(touches):len(touches)], out.Statements[i].Touches...)
	}
	return out, !n.fleeting, n.literals
}

const (
	replacedProblem = "It uses a function that was replaced just now."
	changedProblem  = "It comes by a table that was changed just now."
)

// current makes a statement unknown that uses what the catalog shows as it was.
func (r *reader) current() {
	if r.replaced(r.touches) {
		r.facts.unknown(replacedProblem)
	}
	if r.placesMoved() {
		r.facts.unknown(changedProblem)
	}
}

// runs says whether a statement may run functions one after the other.
func runs(n *pg_query.Node) bool {
	switch n.GetNode().(type) {
	case *pg_query.Node_SelectStmt, *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt,
		*pg_query.Node_DoStmt, *pg_query.Node_CallStmt, *pg_query.Node_CreateTableAsStmt, *pg_query.Node_CopyStmt, *pg_query.Node_ExplainStmt,
		*pg_query.Node_DeclareCursorStmt, *pg_query.Node_PrepareStmt, *pg_query.Node_ExecuteStmt,
		*pg_query.Node_AlterTableStmt, *pg_query.Node_IndexStmt, *pg_query.Node_RefreshMatViewStmt:
		return true
	}
	return false
}

// movesReads says whether what was read changes the meaning of a table's name, or what
// a view shows, that a function reads, too.
func (r *reader) movesReads() bool {
	if len(r.facts.touches) == 0 {
		return false
	}
	if r.cat != nil && slices.ContainsFunc(r.facts.places, func(oid uint32) bool {
		rel := r.cat.Relations[oid]
		return rel != nil && rel.IsView() && Touched(r.facts.touches, rel.Schema+"."+rel.Name)
	}) || len(r.facts.places) > maxPlaces {
		return true
	}
	return slices.ContainsFunc(r.facts.touches, func(what string) bool {
		name, ok := strings.CutPrefix(what, "relation ")
		return what == touchesAll || what == touchesUsage || ok && slices.ContainsFunc(r.facts.reads, func(t sql.Table) bool { return t.Name == name })
	})
}

// movesDeferred says whether what a trigger does that the open transaction has set off
// already may change.
func (r *reader) movesDeferred() bool {
	return r.env.Deferred && (r.movesPath() || r.cat.MovesViews(r.facts.touches))
}

// placesMoved says whether a relation that is read or written with another one, because
// it inherits from it, may have got triggers, indexes and the like that the catalog
// doesn't show.
func (r *reader) placesMoved() bool {
	return r.cat != nil && len(r.touches) > 0 && slices.ContainsFunc(r.facts.places, func(oid uint32) bool {
		rel := r.cat.Relations[oid]
		return rel != nil && len(rel.Parents) > 0 && Touched(r.touches, rel.Schema+"."+rel.Name)
	})
}

// readsMoved says whether something that a view or a function reads may be another by
// now than the catalog shows. What the statement itself names isn't known then anyway.
func (r *reader) readsMoved() bool {
	return len(r.touches) > 0 && slices.ContainsFunc(r.facts.objects, func(o postern.Object) bool {
		read := o.Kind == kindBase || (o.Kind == kindTable || o.Kind == kindView) && !o.Write
		return read && !strings.HasPrefix(o.Name, unprovenSchema) && Touched(r.touches, o.Name)
	})
}

// unprove takes back what was said of where a statement's results come from, and what
// it stores.
func (r *reader) unprove(s *sql.Statement) {
	r.facts.unproven = true
	if slices.ContainsFunc(r.facts.verbs, func(verb string) bool { return slices.Contains(storing, verb) }) {
		for _, o := range r.facts.objects {
			if o.Write && o.Kind == kindTable {
				schema, table, _ := strings.Cut(o.Name, ".")
				r.flowsUnknown(schema, table)
			}
		}
	}
	for i := range r.facts.flows {
		r.facts.flows[i].Proven = false
	}
	for i := range s.Outputs {
		s.Outputs[i].Proven, s.Outputs[i].Plain, s.Outputs[i].Opaque = false, false, true
	}
	if s.Inner != nil {
		inner := *s.Inner
		inner.Outputs, inner.OutputsKnown, inner.UsesProven = nil, false, false
		s.Inner = &inner
	}
}

// storing are the verbs of what may store values that it reads.
var storing = []string{"insert", "update", "merge", "create", "alter", "copy", "refresh"}

// movesPath says whether what was read changes the search path.
func (r *reader) movesPath() bool {
	return r.facts.unsettles || slices.ContainsFunc(r.facts.settings, func(s sql.Setting) bool { return s.Name == "search_path" })
}

// replaced says whether a function that the statement uses, be it in a view or
// a trigger, may be another by now than the catalog shows.
func (r *reader) replaced(touches []string) bool {
	for _, t := range touches {
		name, ok := strings.CutPrefix(t, "function ")
		same := func(f string) bool {
			return !strings.HasPrefix(f, "pg_catalog.") && f[strings.LastIndexByte(f, '.')+1:] == name
		}
		if ok && (slices.ContainsFunc(r.facts.functions, same) || slices.ContainsFunc(r.facts.unnamed, same)) {
			return true
		}
	}
	return false
}

// settling follows, within one text, what later statements see of earlier ones.
type settling struct {
	env     *Env
	begun   bool     // the text has begun a transaction, and not ended it
	changed bool     // a setting was changed within it
	before  []string // the search path that ROLLBACK brings back
	lasting []string // the one that COMMIT leaves
	touched int      // how many names were given another meaning
}

// guard has what was named before the text hold only until the text gives names
// another meaning: whoever looks it up knows nothing of that.
func (t *settling) guard() {
	env := t.env
	prepared, cursor, state := env.Prepared, env.Cursor, env.State()
	same := func() bool { return t.touched == 0 && env.State() == state }
	if prepared != nil {
		env.Prepared = func(name string) *sql.Statement {
			if !same() {
				return nil
			}
			return prepared(name)
		}
	}
	if cursor != nil {
		env.Cursor = func(name string) *sql.Statement {
			inner := cursor(name)
			if inner != nil && inner.Late && !same() {
				return nil
			}
			return inner
		}
	}
}

func (t *settling) settle(s *sql.Statement) {
	env := t.env
	switch s.Transaction {
	case "begin":
		if !t.begun {
			t.begun, t.changed = true, false
			t.before, t.lasting = env.SearchPath, env.SearchPath
		}
	case "commit", "rollback":
		switch {
		case t.begun && s.Transaction == "commit":
			env.SearchPath = t.lasting
		case t.begun:
			env.SearchPath = t.before
		case !env.Steady:
			// What was set within the transaction may be undone.
			env.SearchPath = nil
		}
		t.begun, env.Deferred = false, false
	case "rollback to":
		if t.changed || !t.begun && !env.Steady {
			env.SearchPath = nil
		}
	}
	if s.Unsettles {
		env.SearchPath, t.lasting, env.User = nil, nil, "" // it may be another role's session now
	}
	for _, set := range s.Sets {
		if set.Name != "search_path" {
			continue
		}
		path := []string(nil)
		if set.Known {
			path = ParseSearchPath(set.Value)
		}
		switch {
		case !set.Local:
			env.SearchPath, t.lasting = path, path
		case t.begun:
			env.SearchPath = path
		default:
			env.SearchPath = nil // it holds only if a transaction is open
		}
	}
	if len(s.Sets) > 0 || s.Unsettles {
		env.Steady, t.changed = false, true
	}
	t.touched += len(s.Touches)
	env.Deferred = env.Deferred || s.Defers
	if cursor := env.Cursor; cursor != nil && s.Forgets != "" && s.Command.Verb != "deallocate" {
		env.Cursor = func(name string) *sql.Statement {
			if s.Forgets == "*" || s.Forgets == name {
				return nil
			}
			return cursor(name)
		}
	}
	state, touched := env.State(), t.touched
	same := func() bool { return env.State() == state && t.touched == touched }
	remember(&env.Prepared, s.Prepares, s.Inner, same) // all its names are read again
	remember(&env.Cursor, s.Declares, s.Inner, func() bool { return !s.Inner.Late || same() })
}

// remember lets lookup know a statement that the text itself has named, as long as
// it holds.
func remember(lookup *func(string) *sql.Statement, named string, inner *sql.Statement, holds func() bool) {
	if named == "" || inner == nil {
		return
	}
	outer := *lookup
	*lookup = func(name string) *sql.Statement {
		if name == named {
			if !holds() {
				return nil
			}
			return inner
		}
		if outer == nil {
			return nil
		}
		return outer(name)
	}
}

// finish turns what was gathered into the statement's description.
func (r *reader) finish(s *sql.Statement, text string, multi bool) {
	f := r.facts
	c := &s.Command
	c.Protocol, c.Text = protocol, text
	slices.SortStableFunc(f.verbs, func(a, b string) int { return verbRank(a) - verbRank(b) })
	c.Verbs = f.verbs
	c.Access = f.access.access()
	c.Objects = f.objects
	c.Problem = f.problem
	c.State = r.env.State()
	hasWhere := f.bounded && !f.unbounded
	c.Attrs = append(c.Attrs,
		postern.BoolAttr(attrHasWhere, hasWhere),
		postern.StringsAttr(attrFunctions, f.functions),
		postern.BoolAttr(attrMulti, multi),
		postern.StringsAttr(attrAssigned, names(f.assigned)),
		postern.StringsAttr(attrPredicates, names(f.told())),
		postern.StringsAttr(attrCompared, names(f.predicates)),
		postern.StringsAttr(attrEqual, equal(f.equalities)),
		postern.BoolAttr(attrOpaque, r.opaqueResult(s)),
		postern.BoolAttr(attrRows, changesRows(c)),
		postern.BoolAttr(attrTrivial, f.unbounded),
		postern.StringAttr(attrImpact, f.impact(c)),
		postern.BoolAttr(attrFileAccess, f.files),
		postern.BoolAttr(attrProgram, f.program),
		postern.BoolAttr(attrDynamic, f.dynamic),
		postern.BoolAttr(attrRowLocks, f.locks),
		postern.StringsAttr(attrMoved, moved(f.flows)),
	)
	s.Reads = f.reads
	s.Predicates, s.Uses, s.UsesProven = f.told(), f.uses, !f.unproven
	s.Flows = f.flows
	s.Pieces, s.Searches = f.pieces, f.searches
	s.Sets = append(s.Sets, f.settings...)
	s.Unsettles = s.Unsettles || f.unsettles
	s.ChangesCatalog = s.ChangesCatalog || f.changesCatalog
	s.Defers = s.Defers || f.defers
	if f.swaps && s.Forgets == "" {
		s.Forgets = "*"
	}
	s.Touches = f.touches
	s.Late = s.Late || r.run.lively
	s.Lasting, s.Places = r.lasting(s), f.places
	s.Undoable = s.Lasting == ""
}

// moved words flows for policies. A message goes back to the session itself,
// as a result does.
func moved(flows []sql.Flow) []string {
	var all []string
	for i := range flows {
		f := &flows[i]
		into := f.Place
		if f.Into.Table != "" {
			into = f.Into.String()
		}
		if into == placeMessage {
			continue
		}
		if !f.Proven {
			all = append(all, "? > "+into)
		}
		for _, source := range f.Sources {
			all = append(all, source.String()+" > "+into)
		}
	}
	return all
}

// changesRows says whether a statement may change rows of tables as it runs, or
// let a later one do so uncounted.
func changesRows(c *postern.Command) bool {
	if c.Access == postern.Control || c.Access == postern.Read {
		return false
	}
	return slices.ContainsFunc(c.Verbs, func(verb string) bool {
		switch verb {
		case "insert", "update", "delete", "merge", "copy", "call", "do", "execute", "select", "fetch", "move", "explain", "declare", "truncate", postern.VerbUnknown:
			return true
		}
		return false
	})
}

// impact is how far a statement reaches, at worst.
func (f *facts) impact(c *postern.Command) string {
	switch {
	case c.Access == postern.Unknown:
		return "unknown"
	case f.program || f.files:
		return "server"
	case c.Access == postern.Admin && !slices.Contains(c.Verbs, "truncate"):
		return "structure"
	case f.unbounded, slices.Contains(c.Verbs, "truncate"):
		return "table"
	case c.Access == postern.Admin, c.Access == postern.Write:
		return "rows"
	case c.Access == postern.Read:
		return "read"
	}
	return "session"
}

// equal words equalities for policies.
func equal(all [][]postern.ColumnName) []string {
	var words []string
	for _, columns := range all {
		words = addString(words, strings.Join(names(columns), " = "))
	}
	return words
}

// opaqueResult says whether it can't be told where some of a result comes from,
// though nothing that it names is in doubt for a moment only.
func (r *reader) opaqueResult(s *sql.Statement) bool {
	if r.cat == nil || r.allTouched || len(r.touches) > 0 || !r.pathKnown {
		return false
	}
	switch s.Command.Verb {
	case "select", "insert", "update", "delete", "merge", "copy":
		return !s.OutputsKnown || slices.ContainsFunc(s.Outputs, func(o sql.Output) bool { return o.Opaque })
	}
	return false
}

func names(columns []postern.ColumnName) []string {
	if len(columns) == 0 {
		return nil
	}
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.String()
	}
	return all
}

// outputs are a result's columns as the statement describes them.
func outputs(fields []field) []sql.Output {
	all := make([]sql.Output, len(fields))
	for i, f := range fields {
		all[i] = sql.Output{Name: f.name, Sources: f.sources, Proven: f.proven && !f.session, Plain: f.plain, Opaque: !f.proven}
	}
	return all
}

func nameOf(nodes []*pg_query.Node) string { return strings.Join(stringsOf(nodes), ".") }
