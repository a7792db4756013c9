package postgres

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
	"postern/internal/sql"
)

// body is what a user's function does, and where its result comes from.
type body struct {
	facts  *facts
	value  value
	fields []field // of its result, when known
}

// bodyKey tells apart what a body may mean: its names are resolved with the
// search path of the caller.
type bodyKey struct {
	oid     uint32
	path    string
	as      string
	temp    string
	touches string
	user    string
	row     uint32 // the relation whose rows a trigger's function is about
}

const maxBodies = 4096

// argument stands, among the sources of a body's values, for whatever the
// caller's arguments come from.
var argument = postern.ColumnName{Schema: "\x00", Table: "\x00", Column: "argument"}

// userFunction reads a call of a function that isn't the server's own; c is nil where it is
// called without being named.
func (r *reader) userFunction(f *Function, args []value, c *pg_query.FuncCall) (value, []field) {
	full := f.Schema + "." + f.Name
	if f.Language != "c" && f.Language != "internal" { // which only a superuser can make
		r.facts.maker(f.Owner)
	}
	given := mix(args...)
	if f.Kind != 'a' {
		given.add(r.defaults(f))
	}
	switch {
	case f.Kind == 'a' || f.Kind == 'w':
		r.facts.piece(given)
		v := given
		for _, step := range f.Calls {
			w, _ := r.applyOID(step, []value{given})
			v.add(w)
		}
		r.facts.object(kindFunction, full, false)
		return v, nil
	case f.Language == "sql" || f.Language == "plpgsql":
		b := r.body(f)
		if b == nil {
			r.facts.piece(given)
			// It is being read: what else it does and returns is told there. Only of
			// itself, in PL/pgSQL, is that so of what flows through the call.
			given.proven = given.proven && f.Language == "plpgsql" && r.run.innermost(aBody) == f.OID
			return given, nil
		}
		r.mergeCall(full, b, given)
		if slices.Contains(b.facts.fails, argument) {
			r.computed(given)
		}
		if r.perRow(given) {
			r.facts.branch(substitute(value{sources: b.facts.tries, proven: true}, given))
		}
		fields := make([]field, len(b.fields))
		for i := range b.fields {
			fields[i] = field{b.fields[i].name, substitute(b.fields[i].value, given)}
		}
		return substitute(b.value, given), fields
	case extensionOutside(f):
		r.facts.piece(given)
		r.facts.object(kindFunction, full, false)
		given.proven = false
		return given, nil
	case computes(f):
		if remembers(f) {
			r.facts.branch(given)
		}
		r.computed(given)
		given.figure = r.taken(f.Name, args, nil)
		r.facts.object(kindFunction, full, false)
		return given, nil
	case pivots(f):
		r.facts.object(kindFunction, full, false)
		v := given
		for i, oid := range f.Args {
			if oid == textOID {
				v.add(r.queryText(c, i))
			}
		}
		r.facts.branch(v) // which rows there are, and in which columns what stands
		return v, nil
	case f.Language == "c" && extensionQuery(f.Symbol):
		r.facts.object(kindFunction, full, true)
		r.facts.dynamic = true
	}
	r.facts.piece(given)
	r.facts.object(kindFunction, full, true)
	r.facts.unknown("It calls " + full + ", a function in the language " + f.Language + ", whose effects can't be read.")
	given.proven = false
	return given, nil
}

// perRow says whether a function that is given a value may be called for many rows, and not
// once, or once for a row that is written.
func (r *reader) perRow(given value) bool {
	if r.args != nil {
		given = elsewhere(given, *r.args)
	}
	return r.fires == nil && (given.varies || len(given.sources) > 0)
}

// computes says whether a function does nothing but compute, by its language and
// what its code is called.
func computes(f *Function) bool {
	switch {
	case f.Language == "c":
		return harmlessExtension(f)
	case f.Language != "internal":
		return false
	case f.OID < firstUserOID:
		return system(f.Schema) && builtinEffect(f.Name, f) == effectNone
	case strings.HasPrefix(f.Source, "range_constructor"), strings.HasPrefix(f.Source, "multirange_constructor"):
		return true // it came with the type
	case f.Source == "rtrim1", f.Source == "booltext", f.Source == "network_show":
		return true // citext's casts
	}
	// Another name for the server's own code, which only a superuser can give.
	_, special := specialEffect(f.Source)
	return !special && harmlessName(f.Source)
}

// defaults adds what the defaults of a function's arguments do and come from.
func (r *reader) defaults(f *Function) value {
	if f.DefaultArgs == "" {
		return constant
	}
	tree, problem := parse("SELECT " + f.DefaultArgs)
	if problem != "" || len(tree.Stmts) != 1 {
		r.facts.unknown("It calls " + f.Schema + "." + f.Name + ", whose defaults can't be read.")
		return opaque
	}
	inner := r.catalogReader()
	fields, known := inner.query(tree.Stmts[0].Stmt.GetSelectStmt(), nil)
	r.facts.merge(inner.facts, false)
	return rowOf(fields, known).bare()
}

// substitute puts what the caller's arguments come from where a body's value
// depends on them.
func substitute(v, given value) value {
	i := slices.Index(v.sources, argument)
	if i < 0 {
		return v.bare()
	}
	out := v.bare()
	out.sources = slices.Delete(slices.Clone(v.sources), i, i+1)
	out.add(given)
	out.row = v.row
	out.figure = out.figure || v.figure
	return out
}

func (r *reader) mergeCall(full string, b *body, given value) {
	g := b.with(given)
	r.facts.object(kindFunction, full, g.access >= levelWrite)
	r.facts.merge(g, false)
}

// with are a body's facts where it is given a value.
func (b *body) with(given value) *facts {
	g := *b.facts
	swap := func(list []postern.ColumnName) []postern.ColumnName {
		if !slices.Contains(list, argument) {
			return list
		}
		if !given.proven {
			g.unproven = true
		}
		return substitute(value{sources: list, proven: true}, given).sources
	}
	g.predicates, g.equalities, g.uses = swap(b.facts.told()), nil, swap(b.facts.uses)
	g.fails, g.tries = swap(b.facts.fails), swap(b.facts.tries)
	swapPieces(b.facts, &g, given)
	g.flows = slices.Clone(b.facts.flows)
	for i := range g.flows {
		w := substitute(value{sources: g.flows[i].Sources, proven: g.flows[i].Proven}, given)
		g.flows[i] = sql.Flow{Into: g.flows[i].Into, Place: g.flows[i].Place, Sources: w.sources, Proven: w.proven}
	}
	return &g
}

func (r *reader) bodyKey(oid uint32) bodyKey {
	k := bodyKey{oid: oid, path: strings.Join(r.env.SearchPath, "\x00"), as: r.as, temp: r.env.TempSchema, touches: strings.Join(r.touches, "\x00"), user: r.env.User}
	if r.env.Drifted {
		k.as += "\x00"
	}
	switch {
	case r.run.moving:
		k.path = "\x00\x01"
	case r.env.SearchPath == nil:
		k.path = "\x00\x00"
	}
	return k
}

// body reads what a function does, once for every search path.
func (r *reader) body(f *Function) *body {
	r.run.lively = true
	if r.bound && r.caller != nil {
		// The names in a function's body are not bound as its caller's are.
		from := *r.caller
		from.facts = r.facts
		r = &from
	}
	k := r.bodyKey(f.OID)
	if r.fires != nil && f.Returns == triggerOID {
		k.row = r.fires.OID
	}
	c := r.cat
	c.mu.Lock()
	b := c.bodies[k]
	c.mu.Unlock()
	if b != nil {
		return b
	}
	if !r.run.enter(aBody, f.OID) {
		return nil
	}
	cut, assumed := r.run.cut, r.run.assumed
	r.run.cut, r.run.assumed = false, false
	b = r.readBody(f)
	r.run.leave()
	if r.run.assumed && !(b.facts.traceless() && b.value.proven && !b.value.session && withoutArgument(b.value)) {
		b.again()
	}
	r.run.assumed = r.run.assumed || assumed
	if !r.run.cut && !r.run.fleeting && r.run.steps <= maxSteps {
		c.mu.Lock()
		if len(c.bodies) >= maxBodies {
			c.bodies = map[bodyKey]*body{}
		}
		c.bodies[k] = b
		c.mu.Unlock()
	}
	r.run.cut = r.run.cut || cut
	return b
}

// withoutArgument says whether a value comes from nothing but the caller's arguments.
func withoutArgument(v value) bool { return len(without(v.sources, argument)) == 0 }

// again notes that a function uses its own result somewhere, where it was taken for a
// constant: it may decide by it there, or put it into whatever it writes. What it
// returns comes from nowhere else because of that.
func (b *body) again() {
	v := b.value.bare()
	b.facts.branch(v)
	if b.facts.access > levelRead || len(b.facts.settings) > 0 || b.facts.unsettles {
		b.facts.flow(postern.ColumnName{}, "function", v)
	}
}

// readBody reads a function's body by the search path that it runs with: its own,
// or the session's; by none that is known where that may move before it runs, or
// while it does.
func (r *reader) readBody(f *Function) *body {
	b, moves := r.readBodyBy(f, false)
	if moves {
		b, _ = r.readBodyBy(f, true)
	}
	return b
}

// readBodyBy also says whether the body itself moves the path.
func (r *reader) readBodyBy(f *Function, moved bool) (_ *body, moves bool) {
	inner := r.sub()
	if r.run.moving {
		inner.forgetPath()
	}
	inner.args = &value{sources: []postern.ColumnName{argument}, proven: true, row: true}
	inner.vars = map[string]value{}
	for _, name := range f.ArgNames {
		if name != "" {
			inner.vars[name] = *inner.args
		}
	}
	inner.vars[f.Name] = *inner.args
	if f.SecurityDefiner {
		inner.as = f.Owner
	}
	for _, set := range f.Config {
		inner.configured(set)
	}
	inner.setPath(inner.env.SearchPath)
	if moved {
		inner.forgetPath()
	}
	b := &body{facts: inner.facts, value: opaque}
	inner.conversions(f)
	switch {
	case len(f.Source) > maxText || len(f.Definition) > maxText:
		inner.facts.unknown("It calls " + f.Schema + "." + f.Name + ", whose body is too long to be read.")
	case f.Language == "plpgsql":
		b.value = inner.plpgsql(f)
	default:
		inner.sqlBody(f, b)
	}
	b.value.row = true
	return b, inner.movesPath()
}

// conversions adds what a function runs by what its arguments and its result are
// made of: the checks of domains.
func (r *reader) conversions(f *Function) {
	if len(r.cat.checked) == 0 {
		return
	}
	add := func(t *Type) { r.checked(t, *r.args) }
	for _, oid := range append(append([]uint32{f.Returns}, f.Args...), f.AllArgs...) {
		r.cat.within(oid, nil, add)
	}
}

// forgetPath reads on as if any search path may hold, and anyone's rights count.
func (r *reader) forgetPath() {
	env := *r.env
	env.SearchPath = nil
	r.env, r.as = &env, ""
	r.setPath(nil)
}

// configured applies a setting that holds while a function runs.
func (r *reader) configured(set string) {
	name, text, _ := strings.Cut(set, "=")
	env := *r.env
	switch strings.ToLower(name) {
	case "search_path":
		env.SearchPath = ParseSearchPath(text)
		r.env = &env
	case "role":
		if r.as = text; text == "none" {
			r.as = ""
		}
	case "session_authorization":
		r.as = ""
	case "standard_conforming_strings":
		env.StandardConformingStrings = text == "on"
		r.env = &env
	}
}

// sqlBody reads the body of a function in SQL.
func (r *reader) sqlBody(f *Function, b *body) {
	var statements []*pg_query.Node
	if f.Definition != "" {
		statements = r.standardBody(f)
	} else if r.env.StandardConformingStrings || strings.IndexByte(f.Source, '\\') < 0 {
		if tree, problem := parse(f.Source); problem == "" {
			for _, raw := range tree.Stmts {
				statements = append(statements, raw.Stmt)
			}
			if len(statements) == 0 {
				b.value = constant
				return
			}
		}
	}
	if statements == nil {
		r.facts.unknown("It calls " + f.Schema + "." + f.Name + ", whose body can't be read.")
		return
	}
	var fields []field
	known := false
	for _, n := range statements {
		if ret := n.GetReturnStmt(); ret != nil {
			v := r.expr(ret.Returnval, &scope{})
			fields, known = []field{{f.Name, v}}, true
			continue
		}
		fields, known = r.effects(n, &scope{})
	}
	b.value = rowOf(fields, known)
	if known {
		b.fields = fields
	}
}

// standardBody finds the statements of a body in the SQL standard's form, whose
// names were resolved when the function was made.
func (r *reader) standardBody(f *Function) []*pg_query.Node {
	tree, problem := parse(f.Definition)
	if problem != "" || len(tree.Stmts) != 1 {
		return nil
	}
	made := tree.Stmts[0].Stmt.GetCreateFunctionStmt()
	if made.GetSqlBody() == nil {
		return nil
	}
	caller := *r
	r.caller = &caller
	r.bound, r.touches, r.allTouched = true, nil, false
	env := *r.env
	env.SearchPath = []string{}
	r.env = &env
	r.setPath(env.SearchPath)
	return flatten(made.SqlBody, nil)
}

func flatten(n *pg_query.Node, into []*pg_query.Node) []*pg_query.Node {
	if list := n.GetList(); list != nil {
		for _, item := range list.Items {
			into = flatten(item, into)
		}
		return into
	}
	return append(into, n)
}
