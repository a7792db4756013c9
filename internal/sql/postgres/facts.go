package postgres

import (
	"slices"

	"postern"
	"postern/internal/sql"
)

// facts gather what a statement does while it is read. Facts of a view's or a
// function's body are gathered once and merged into those of the statements
// that use it; merging never changes the facts that are merged.
type facts struct {
	verbs     []string
	access    level
	objects   []postern.Object
	functions []string
	reads     []sql.Table

	assigned   []postern.ColumnName
	predicates []postern.ColumnName
	// equalities are columns that are only held against each other, or with one of
	// them grouped by: which rows have equal values is all that can be told.
	equalities [][]postern.ColumnName
	uses       []postern.ColumnName
	fails      []postern.ColumnName // by whether it fails, what these hold can be told
	tries      []postern.ColumnName // the same of what is put into columns with unique indexes and foreign keys
	unproven   bool                 // predicates and uses may lack columns
	flows      []sql.Flow

	pieces   []postern.ColumnName // see pieces.go
	searches []sql.Search

	unbounded bool // an UPDATE or DELETE has no WHERE that counts
	bounded   bool // one has
	files     bool
	program   bool
	dynamic   bool
	locks     bool

	settings       []sql.Setting
	unsettles      bool
	changesCatalog bool
	touches        []string

	makers  []string // whose functions it runs, and whose views it reads
	defers  bool     // triggers that may run later
	swaps   bool     // cursors may be others under their old names
	unnamed []string // functions that it may run and that left no other trace
	problem string   // why an effect is unknown
	places  []uint32 // relations that are read, written or changed with them, their heirs included
	lasting string   // an effect that a rollback doesn't undo, or may not; "": none is known
}

// level orders access from harmless to unknown; postern's zero is unknown.
type level uint8

const (
	levelControl level = iota
	levelRead
	levelWrite
	levelAdmin
	levelUnknown
)

func (l level) access() postern.Access {
	switch l {
	case levelControl:
		return postern.Control
	case levelRead:
		return postern.Read
	case levelWrite:
		return postern.Write
	case levelAdmin:
		return postern.Admin
	}
	return postern.Unknown
}

func (f *facts) verb(verb string, l level) {
	if !slices.Contains(f.verbs, verb) {
		f.verbs = append(f.verbs, verb)
	}
	f.access = max(f.access, l)
}

// unknown notes an effect that can't be told. The first problem is kept.
func (f *facts) unknown(problem string) {
	f.verb(postern.VerbUnknown, levelUnknown)
	f.unproven = true
	f.unsettles, f.changesCatalog = true, true
	f.touch(touchesAll)
	if f.problem == "" {
		f.problem = problem
	}
	f.lasts("it does what can't be told")
}

// place notes a relation that the statement comes by.
func (f *facts) place(oid uint32) {
	if len(f.places) <= maxPlaces && !slices.Contains(f.places, oid) {
		f.places = append(f.places, oid)
	}
}

// lasts notes an effect that a rollback may not undo. The first is kept.
func (f *facts) lasts(what string) {
	if f.lasting == "" {
		f.lasting = what
	}
}

func (f *facts) object(kind, name string, write bool) {
	for i := range f.objects {
		if o := &f.objects[i]; o.Name == name && (o.Kind == kind || o.Kind == kindBase && kind == kindTable) {
			o.Kind = kind
			o.Write = o.Write || write
			return
		}
	}
	f.objects = append(f.objects, postern.Object{Kind: kind, Name: name, Write: write})
}

// The kinds of object. A base table is one that is read through a view or a
// function, without being named.
const (
	kindTable    = "table"
	kindView     = "view"
	kindBase     = "base"
	kindColumn   = "column"
	kindFunction = "function"
	kindFile     = "file"
	kindProgram  = "program"
	kindRole     = "role"
	kindSchema   = "schema"
	kindDatabase = "database"
	kindSetting  = "setting"
)

func (f *facts) function(name string) { f.functions = addString(f.functions, name) }
func (f *facts) maker(role string)    { f.makers = addString(f.makers, role) }
func (f *facts) touch(what string)    { f.touches = addString(f.touches, what) }

func (f *facts) read(t sql.Table) {
	if !slices.Contains(f.reads, t) {
		f.reads = append(f.reads, t)
	}
}

// traceless says whether nothing was found but that values of the own arguments are
// computed with.
func (f *facts) traceless() bool {
	return f.access <= levelRead && f.problem == "" && !f.unproven && !f.unsettles && len(f.reads) == 0 && len(f.flows) == 0 && len(f.settings) == 0
}

// passOver leaves facts out that are traceless. The functions may be others by now.
func (f *facts) passOver(g *facts) {
	for _, list := range [][]string{g.functions, g.unnamed} {
		for _, name := range list {
			f.unnamed = addString(f.unnamed, name)
		}
	}
}

// use notes a value that the statement looks at.
func (f *facts) use(v value) {
	f.uses = union(f.uses, v.sources)
	if !v.proven {
		f.unproven = true
	}
}

// branch notes a value that the result depends on.
func (f *facts) branch(v value) {
	f.predicates = union(f.predicates, v.sources)
	f.use(v)
}

// equate notes that values are held against each other, which tells no more of
// them than who is equal to whom, provided that they are stored columns as such.
func (f *facts) equate(values ...value) {
	all := mix(values...)
	for i := range values {
		if !values[i].plain || !values[i].proven || len(values[i].sources) == 0 || slices.Contains(values[i].sources, argument) {
			f.branch(all)
			return
		}
	}
	f.equalities = append(f.equalities, all.sources)
	f.use(all)
}

// failing is what can be told by whether something fails.
func (f *facts) failing() value {
	return value{sources: union(f.fails[:len(f.fails):len(f.fails)], f.tries), proven: true}
}

// told are all columns by which something is decided.
func (f *facts) told() []postern.ColumnName {
	all := f.predicates[:len(f.predicates):len(f.predicates)]
	for _, equal := range f.equalities {
		all = union(all[:len(all):len(all)], equal)
	}
	return all
}

// placeMessage is where RAISE puts values: back to the session.
const placeMessage = "message"

func (f *facts) flow(into postern.ColumnName, place string, v value) {
	f.use(v)
	if len(v.sources) == 0 && v.proven {
		return
	}
	for i := range f.flows {
		if g := &f.flows[i]; g.Into == into && g.Place == place {
			g.Sources = union(g.Sources[:len(g.Sources):len(g.Sources)], v.sources)
			g.Proven = g.Proven && v.proven
			return
		}
	}
	f.flows = append(f.flows, sql.Flow{Into: into, Place: place, Sources: v.sources, Proven: v.proven})
}

// merge adds what g says. Tables that g names become base tables where it only
// reads them, unless named says that they are the statement's own.
func (f *facts) merge(g *facts, named bool) {
	for _, verb := range g.verbs {
		f.verb(verb, levelControl)
	}
	f.access = max(f.access, g.access)
	for _, o := range g.objects {
		if !named && !o.Write && (o.Kind == kindTable || o.Kind == kindView) {
			o.Kind = kindBase
		}
		f.object(o.Kind, o.Name, o.Write)
	}
	for _, name := range g.functions {
		f.function(name)
	}
	for _, role := range g.makers {
		f.maker(role)
	}
	for _, name := range g.unnamed {
		f.unnamed = addString(f.unnamed, name)
	}
	for _, t := range g.reads {
		f.read(t)
	}
	f.assigned = union(f.assigned, g.assigned)
	f.predicates = union(f.predicates, g.told())
	f.uses = union(f.uses, g.uses)
	f.fails = union(f.fails, g.fails)
	f.tries = union(f.tries, g.tries)
	f.unproven = f.unproven || g.unproven
	for _, w := range g.flows {
		f.flow(w.Into, w.Place, value{sources: w.Sources, proven: w.Proven})
	}
	if len(g.pieces) > 0 {
		f.pieces = union(f.pieces[:len(f.pieces):len(f.pieces)], g.pieces)
	}
	f.searches = append(f.searches[:len(f.searches):len(f.searches)], g.searches...)
	f.defers = f.defers || g.defers
	f.swaps = f.swaps || g.swaps
	f.unbounded = f.unbounded || g.unbounded
	f.bounded = f.bounded || g.bounded
	f.files = f.files || g.files
	f.program = f.program || g.program
	f.dynamic = f.dynamic || g.dynamic
	f.locks = f.locks || g.locks
	f.settings = append(f.settings, g.settings...)
	f.unsettles = f.unsettles || g.unsettles
	f.changesCatalog = f.changesCatalog || g.changesCatalog
	for _, what := range g.touches {
		f.touch(what)
	}
	if f.problem == "" {
		f.problem = g.problem
	}
	if g.lasting != "" {
		f.lasts(g.lasting)
	}
	for _, oid := range g.places {
		f.place(oid)
	}
}

func addString(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// union adds to a what it lacks of b. It may write behind a's end.
func union(a, b []postern.ColumnName) []postern.ColumnName {
	if len(a) == 0 {
		return b[:len(b):len(b)]
	}
	if len(a)+len(b) > 64 {
		seen := make(map[postern.ColumnName]bool, len(a)+len(b))
		for _, c := range a {
			seen[c] = true
		}
		for _, c := range b {
			if !seen[c] {
				seen[c] = true
				a = append(a, c)
			}
		}
		return a
	}
	for _, c := range b {
		if !slices.Contains(a, c) {
			a = append(a, c)
		}
	}
	return a
}

// verbRank sorts verbs worst first. Verbs that it doesn't know are changes of
// structure.
func verbRank(verb string) int {
	for rank, known := range worstFirst {
		if verb == known {
			return rank
		}
	}
	return 3
}

// worstFirst orders verbs. What it lacks ranks with "create".
var worstFirst = [...]string{
	postern.VerbUnknown, "drop", "truncate", "create", "delete", "merge", "update", "insert", "copy", "call", "do", "execute",
	"notify", "lock", "refresh", "vacuum", "analyze", "explain", "select", "declare", "fetch", "move", "show", "prepare",
	"set", "reset", "listen", "unlisten", "begin", "commit", "rollback", "savepoint", "release", "deallocate", "discard", "close",
}
