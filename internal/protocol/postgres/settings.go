package postgres

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"postern"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// facts are the settings that give a text its meaning, as far as they are
// known. The zero facts know nothing, and so does whoever analyses with them:
// strings can't be told apart, and names are not resolved.
type facts struct {
	path     []string // nil: unknown
	user     string
	encoding string
	scs      bool
}

// unknownEncoding is no name of an encoding.
const unknownEncoding = "unknown"

// shows are asked for, in this order, when settings may have changed. SHOW
// takes no snapshot, so it doesn't get in the way of SET TRANSACTION.
var shows = [...]string{
	"SHOW search_path", "SHOW role", "SHOW session_authorization",
	"SHOW standard_conforming_strings", "SHOW client_encoding",
}

// askMoment asks for the moment, and askSettled for the settings, too, in the
// order of shows.
const (
	askMoment  = "SELECT " + analysis.Moment
	askSettled = askMoment + `, pg_catalog.current_setting('search_path'), pg_catalog.current_setting('role'), ` +
		`pg_catalog.current_setting('session_authorization'), pg_catalog.current_setting('standard_conforming_strings'), ` +
		`pg_catalog.current_setting('client_encoding')`
)

// meaningful says whether a setting can change what a text means.
func meaningful(setting string) bool {
	switch strings.ToLower(setting) {
	case "search_path", "role", "session_authorization", "standard_conforming_strings", "client_encoding", "names", "all":
		return true
	}
	return false
}

// settle makes the settings known that the next text depends on. It returns
// errSkipped when the server is dropping messages.
func (r *relay) settle(ctx context.Context) error {
	if err := r.confirm(ctx); err != nil {
		return err
	}
	r.p.mu.Lock()
	stateful, unsettled := r.p.stateful > 0, r.p.unsettled
	r.p.mu.Unlock()
	if !stateful && !unsettled {
		return nil
	}
	if err := r.drain(ctx); err != nil {
		return err
	}
	r.p.mu.Lock()
	skipping, unsettled, status, open := r.p.skipping, r.p.unsettled, r.p.status, r.p.open
	params := facts{encoding: r.p.reported.encoding, scs: r.p.reported.scs}
	if unsettled && status != 'E' {
		r.p.unsettled = false
	}
	r.p.mu.Unlock()
	switch {
	case skipping:
		return errSkipped
	case !unsettled:
		return nil
	case status != 'E':
		return r.refresh(ctx, open, params)
	case open:
		// The transaction may have ended within this pipeline: what was last
		// reported may be over.
		r.know(facts{encoding: unknownEncoding})
	default:
		// Nothing can be asked in a failed transaction; what is reported is
		// true, as of its last ReadyForQuery.
		r.know(params)
	}
	return nil
}

// confirm looks, every now and then, whether the database is still the one that
// the catalog shows: somebody may have changed it past the gateway. It looks over
// the client's own connection, between transactions, where that takes no
// connection more and no snapshot that anybody could notice.
func (r *relay) confirm(ctx context.Context) error {
	now := r.o.now()
	doubtful := r.catalog.site.doubtful(r.p, false)
	if now.Before(r.confirmAt) && !doubtful {
		return nil
	}
	r.p.mu.Lock()
	idle := r.p.status == 'I' && !r.p.open && !r.p.skipping
	r.p.mu.Unlock()
	if !idle {
		return nil
	}
	if r.unrestricted() {
		r.confirmAt = now.Add(catalogGlance)
		return nil
	}
	if r.confirmed.IsZero() {
		r.catalog.get(ctx, r.s, &r.loads, false)
	}
	if !doubtful && !r.catalog.due(r.opened, r.confirmed) {
		r.confirmed, r.confirmAt = now, now.Add(catalogGlance)
		return nil
	}
	if err := r.drain(ctx); err != nil {
		return err
	}
	r.p.mu.Lock()
	idle = r.p.status == 'I' && !r.p.skipping
	r.p.mu.Unlock()
	if !idle {
		return nil
	}
	now = r.o.now()
	moment, err := r.moment(ctx)
	if err != nil {
		return err
	}
	if r.catalog.stands(moment, now) {
		r.confirmed, r.confirmAt = now, now.Add(catalogGlance)
		return nil
	}
	answers, err := r.ask(ctx, false, r.o.fingerprint)
	if err != nil && (ctx.Err() != nil || isBroken(err)) {
		return err
	}
	fingerprint := ""
	if err == nil {
		fingerprint = oneText(answers[0])
	}
	r.confirmed, r.confirmAt = now, now.Add(catalogGlance)
	if r.catalog.saw(fingerprint, moment, now) {
		// Within a pipeline, as every driver's, nothing could wait for it.
		r.catalog.get(ctx, r.s, &r.loads, true)
	}
	return nil
}

// moment asks for that of the server, "" where it doesn't tell, and for the settings
// with it when they may have changed. The session is idle.
func (r *relay) moment(ctx context.Context) (string, error) {
	r.p.mu.Lock()
	unsettled := r.p.unsettled
	r.p.unsettled = false
	r.p.mu.Unlock()
	text, columns := askMoment, 1
	if unsettled {
		text, columns = askSettled, 1+len(shows)
	}
	answers, err := r.ask(ctx, false, text)
	if err == nil && len(answers[0]) == 1 && len(answers[0][0]) == columns {
		values := texts(answers[0][0])
		if unsettled {
			r.know(factsOf(values[1:]))
		}
		return values[0], nil
	}
	if unsettled { // they are asked for by SHOW
		r.p.mu.Lock()
		r.p.unsettled = true
		r.p.mu.Unlock()
	}
	if err != nil && (ctx.Err() != nil || isBroken(err)) {
		return "", err
	}
	return "", nil
}

// texts are the values of a row, with "" for NULL.
func texts(row []*string) []string {
	values := make([]string, len(row))
	for i, v := range row {
		if v != nil {
			values[i] = *v
		}
	}
	return values
}

// refresh asks the server.
func (r *relay) refresh(ctx context.Context, open bool, reported facts) error {
	answers, err := r.ask(ctx, open, shows[:]...)
	if err != nil {
		r.p.mu.Lock()
		r.p.unsettled = true
		skipping := r.p.skipping
		r.p.mu.Unlock()
		if ctx.Err() != nil || isBroken(err) {
			return err
		}
		if skipping {
			return errSkipped
		}
		r.know(reported)
		return nil
	}
	values := make([]string, len(shows))
	for i, rows := range answers {
		if len(rows) == 1 && len(rows[0]) == 1 && rows[0][0] != nil {
			values[i] = *rows[0][0]
		}
	}
	r.know(factsOf(values))
	return nil
}

// factsOf makes them of the settings' values, in the order of shows.
func factsOf(values []string) facts {
	f := facts{user: values[1], scs: values[3] == "on", encoding: values[4]}
	if f.user == "none" || f.user == "" {
		f.user = values[2]
	}
	// In another encoding the catalog has other names for the same schemas.
	if f.encoding == "UTF8" || !strings.ContainsFunc(values[0], func(r rune) bool { return r > unicode.MaxASCII }) {
		f.path = analysis.ParseSearchPath(values[0])
	}
	return f
}

func (r *relay) know(f facts) {
	r.facts = f
	r.env = nil
}

// effects notes, before it is sent as e, what a message may do to the session.
// The server's own order of things is the order in which they are sent.
func (r *relay) effects(e *expectation, statements []sql.Statement, running *portal) {
	for i := range statements {
		st := &statements[i]
		e.ends = e.ends || endsTransaction(st)
		e.stateful = e.stateful || st.Prepares != "" || st.Declares != "" || st.Forgets != ""
		e.settings = e.settings || st.Unsettles
		for _, set := range st.Sets {
			e.settings = e.settings || meaningful(set.Name)
		}
		if st.Unsettles {
			r.p.taint(running)
		}
		r.p.mu.Lock()
		if st.Defers && e.cmd != nil {
			r.p.putOff = addPutOff(r.p.putOff, putOff{st, e.cmd.env})
		}
		switch st.Transaction {
		case "", "begin", "savepoint", "release":
		default:
			r.p.unsettled = r.p.unsettled || r.p.touched
			r.p.renames++
			if len(r.p.renamed) > 0 {
				r.p.moves++
			}
			if st.Transaction != "commit" {
				r.p.meanings++
			}
		}
		if changesNames(st) {
			e.touches = true
			r.p.moves++
			r.p.renames++
			r.p.meanings++
			r.p.renamed = addNames(r.p.renamed, st.Touches)
			if r.spreads(st) {
				r.p.spread = addNames(r.p.spread, st.Touches)
			}
		}
		r.p.mu.Unlock()
	}
	if e.settings {
		r.p.mu.Lock()
		r.p.unsettled, r.p.touched = true, true
		r.p.mu.Unlock()
	}
	if commitsEarly(e.kind, statements) {
		r.p.mu.Lock()
		if len(r.p.renamed) > 0 {
			r.p.doubting = true
			r.p.early(r.p.renamed)
		}
		r.p.mu.Unlock()
	}
}

// commitsEarly says whether a message may commit what it changes, or what was changed
// before it, and go on: others see that before it is answered.
func commitsEarly(kind reply, statements []sql.Statement) bool {
	for i := range statements {
		switch st := &statements[i]; {
		case st.Transaction == "commit":
			if kind == replyExecute || i+1 < len(statements) {
				return true
			}
		case !changesNames(st):
		case slices.ContainsFunc(st.Command.Verbs, func(verb string) bool { return slices.Contains(committing, verb) }):
			return true
		}
	}
	return false
}

// endsTransaction says whether a statement may end the transaction that it is in.
func endsTransaction(st *sql.Statement) bool {
	return st.Transaction == "commit" || slices.ContainsFunc(st.Command.Verbs, func(verb string) bool { return slices.Contains(committing, verb) })
}

// committing are the verbs of what may hold transaction control of its own.
var committing = []string{"do", "call", postern.VerbUnknown}

// maxRenamed bounds how many changed names are told apart.
const maxRenamed = 64

// addNames adds names that may have got another meaning; none stands for any.
// It doesn't write to all, which environments share.
func addNames(all, names []string) []string {
	if len(names) == 0 {
		names = []string{touchesAll}
	}
	all = all[:len(all):len(all)]
	for _, name := range names {
		switch {
		case len(all) == 1 && all[0] == touchesAll:
			return all
		case slices.Contains(all, name):
		case name == touchesAll || len(all) >= maxRenamed:
			all = []string{touchesAll}
		default:
			all = append(all, name)
		}
	}
	return all
}

const touchesAll = "*"

// environment is what the next text is analysed with. With fresh, no name in
// it is in doubt but for those that the open transaction has touched, or somebody
// else while the catalog was read.
func (r *relay) environment(ctx context.Context, fresh bool) (*analysis.Env, error) {
	if fresh {
		// What was changed is committed once it was answered.
		if err := r.drained(ctx); err != nil {
			return nil, err
		}
	}
	r.p.stalled = nil // what was found out before is found out anew
	catalog, touched := r.catalog.get(ctx, r.s, &r.loads, fresh)
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	r.others = r.catalog.moved()
	r.p.mu.Lock()
	renamed, status, deferred := r.p.renamed, r.p.status, len(r.p.putOff) > 0
	r.p.mu.Unlock()
	if len(renamed) > 0 {
		if own := r.ownCatalog(); own != nil {
			catalog = own
		} else {
			touched = addNames(touched, renamed)
		}
	}
	if passing := catalog.Passing(); len(passing) > 0 {
		touched = addNames(touched, passing)
	}
	// What took no turn was just looked at between transactions, see confirm.
	touched = r.catalog.site.doubted(r.p, touched, status != 'I')
	r.enter(catalog, touched, deferred)
	if err := r.realign(ctx); err != nil {
		return nil, err
	}
	return r.env, nil
}

// enter makes an environment of a catalog, if the one at hand isn't of it.
func (r *relay) enter(catalog *analysis.Catalog, touched []string, deferred bool) {
	if r.env != nil && r.env.Catalog == catalog && r.env.Deferred == deferred && r.env.TempSchema == r.temporary && slices.Equal(r.env.Touched, touched) {
		return
	}
	r.env = &analysis.Env{
		Catalog: catalog, SearchPath: r.facts.path, TempSchema: r.temporary, User: r.facts.user, Database: r.database(),
		StandardConformingStrings: r.facts.scs, Encoding: r.facts.encoding, Touched: touched,
		Deferred: deferred, Drifted: r.drifts(catalog),
		Prepared: r.preparedNamed, Cursor: r.cursorNamed,
	}
}

// maxRoles bounds how many roles of a session are told apart.
const maxRoles = 256

// drifts says whether the server may search other schemas than the session's role may
// use by a catalog.
func (r *relay) drifts(catalog *analysis.Catalog) bool {
	role := r.facts.user
	if catalog == nil || role == "" {
		return false
	}
	was := r.roleNamed(role)
	switch {
	case was == nil && len(r.roles) >= maxRoles:
		return true
	case was == nil:
		r.roles = append(r.roles, seenRole{name: role, usage: catalog.Usage(role)})
		return false
	}
	was.drifted = was.drifted || was.usage.Differs(catalog)
	was.usage = catalog.Usage(role)
	return was.drifted
}

// A seenRole is one that the session has had.
type seenRole struct {
	name    string
	usage   analysis.Usage // which schemas it could use, as last seen
	drifted bool           // it could use others before
}

// roleNamed returns nil for one that the session hasn't had.
func (r *relay) roleNamed(name string) *seenRole {
	for i := range r.roles {
		if r.roles[i].name == name {
			return &r.roles[i]
		}
	}
	return nil
}

// searchedSchemas asks for what the server searches, in its order.
const searchedSchemas = "SELECT s FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) AS s(s)"

// realign asks the server what it searches where that is in doubt, between
// transactions: it takes a snapshot.
func (r *relay) realign(ctx context.Context) error {
	if !r.env.Drifted || r.o.now().Before(r.alignAt) {
		return nil
	}
	told := *r.env
	told.Drifted = false
	ours := told.Searched()
	r.p.mu.Lock()
	idle := r.p.status == 'I' && !r.p.open && !r.p.skipping && !r.p.unsettled
	r.p.mu.Unlock()
	if ours == nil || !idle {
		return nil
	}
	if err := r.drained(ctx); err != nil {
		return err
	}
	r.p.mu.Lock()
	idle = r.p.status == 'I' && !r.p.open && !r.p.skipping && !r.p.unsettled
	r.p.mu.Unlock()
	if !idle {
		return nil
	}
	r.alignAt = r.o.now().Add(catalogGlance)
	answers, err := r.ask(ctx, false, searchedSchemas)
	if err != nil {
		return r.unlessBroken(ctx, err)
	}
	var theirs []string
	for _, row := range answers[0] {
		if schema := text(row, 0); !strings.HasPrefix(schema, "pg_temp_") {
			theirs = append(theirs, schema)
		}
	}
	ours = slices.DeleteFunc(ours, func(s string) bool { return s == "pg_temp" })
	if slices.Equal(ours, theirs) {
		if role := r.roleNamed(told.User); role != nil {
			role.drifted = false
		}
		r.env = &told
	}
	return nil
}

// analyse says what read, a function of the session's state, gives, once the server
// goes by the same names: see [relay.replan].
func (r *relay) analyse(ctx context.Context, read func() []sql.Statement) ([]sql.Statement, *analysis.Env, error) {
	statements, env, err := r.understand(ctx, read)
	if err != nil {
		return nil, nil, err
	}
	stale, err := r.replan(ctx, statements)
	if err != nil || !stale {
		return statements, env, err
	}
	r.enter(env.Catalog, []string{touchesAll}, env.Deferred)
	return read(), r.env, nil
}

// understand says what read gives. Where that depends on names whose meaning has
// changed lately, it waits until they are known.
func (r *relay) understand(ctx context.Context, read func() []sql.Statement) ([]sql.Statement, *analysis.Env, error) {
	env, err := r.environment(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	r.unsure = false
	statements := read()
	if r.unsure {
		// A name depends on an answer that is still under way.
		if err := r.drained(ctx); err != nil {
			return nil, nil, err
		}
		statements = read()
	}
	if !r.improvable(env) || !r.inDoubt(statements, env) || r.unrestricted() {
		return statements, env, nil
	}
	if env, err = r.yield(ctx, read); err != nil {
		return nil, nil, err
	}
	statements = read()
	if !r.improvable(env) || !r.inDoubt(statements, env) {
		return statements, env, nil
	}
	if err := r.lookInside(ctx, statements); err != nil {
		return nil, nil, err
	}
	if env, err = r.environment(ctx, false); err != nil {
		return nil, nil, err
	}
	return read(), env, nil
}

// improvable says whether more could be found out about what env doesn't know.
// Within a pipeline nothing can be asked, nor in a failed transaction.
func (r *relay) improvable(env *analysis.Env) bool {
	if len(env.Touched) == 0 && (env.TempSchema != "" || !env.Catalog.Temporary()) {
		return false
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.p.status != 'E' && !r.p.open && !r.p.skipping
}

// unrestricted says that whatever a command turned out to be, it would be
// allowed, and nothing of it masked: what isn't known of it is worth no wait.
func (r *relay) unrestricted() bool {
	d := r.s.Preview(postern.Command{Protocol: Name, Verb: postern.VerbUnknown, Verbs: []string{postern.VerbUnknown}})
	return d.Verdict == postern.Allow && len(d.Masks) == 0
}

// inDoubt says whether more might be known of statements under another
// catalog.
func (r *relay) inDoubt(statements []sql.Statement, env *analysis.Env) bool {
	masked := len(r.masks().Masks) > 0
	moved := masked && env.Catalog.MovesViews(env.Touched)
	for i := range statements {
		st := &statements[i]
		if slices.Contains(st.Command.Verbs, postern.VerbUnknown) || st.Lasting == analysis.Uncertain && r.wouldHold(statements) {
			return true
		}
		for _, o := range st.Command.Objects {
			if strings.HasPrefix(o.Name, "?") || moved && readsView(env.Catalog, o) {
				return true
			}
		}
		for _, a := range st.Command.Attrs {
			for _, s := range a.Strings {
				if strings.HasPrefix(s, "?") {
					return true
				}
			}
		}
		if masked && (!st.OutputsKnown || slices.ContainsFunc(st.Outputs, func(o sql.Output) bool { return !o.Proven })) {
			return true
		}
	}
	return false
}

// readsView says whether an object of a command is, or may be, a view.
func readsView(catalog *analysis.Catalog, o postern.Object) bool {
	switch o.Kind {
	case "view", "table", "base":
		if catalog == nil {
			return true
		}
		schema, relation, _ := strings.Cut(o.Name, ".")
		rel := catalog.Relation(schema, relation)
		return rel == nil || rel.IsView()
	}
	return false
}

// wouldHold says whether statements are to be approved before they are committed.
func (r *relay) wouldHold(statements []sql.Statement) bool {
	cmds := make([]postern.Command, len(statements))
	for i := range cmds {
		cmds[i] = statements[i].Command
	}
	d := r.s.Preview(cmds...)
	return d.Review != nil && d.Review.Commit != nil
}

// preparedNamed returns what EXECUTE of a name runs.
func (r *relay) preparedNamed(name string) *sql.Statement {
	st, sure := r.p.lookupStatement(name)
	r.unsure = r.unsure || !sure
	if st == nil || !sure || st.tainted {
		return nil
	}
	return r.meaning(st)
}

// cursorNamed returns what FETCH from a name runs.
func (r *relay) cursorNamed(name string) *sql.Statement {
	po, sure := r.p.lookupPortal(name)
	r.unsure = r.unsure || !sure
	switch {
	case po == nil || !sure:
		return nil
	case po.declare != nil:
		if po.declare.tainted || po.inner != nil && r.movedSince(po, po.inner) {
			return nil
		}
		if po.inner != nil && po.inner.Late && r.changedSince(po.others) {
			// What its functions read may be something else by now.
			if now := r.meaning(po.declare); now == nil || !reflect.DeepEqual(now, po.inner) {
				return nil
			}
		}
		return po.inner
	case len(po.cmd.statements) != 1:
		return nil
	}
	if r.movedSince(po, &po.cmd.statements[0]) {
		return nil
	}
	return &po.cmd.statements[0]
}

// movedSince says whether functions that a portal or cursor calls may read names
// otherwise by now than when it was decided over.
func (r *relay) movedSince(po *portal, st *sql.Statement) bool {
	if !st.Late {
		return false
	}
	r.p.mu.Lock()
	meanings := r.p.meanings
	r.p.mu.Unlock()
	return meanings != po.meanings || r.env == nil || r.env.SearchPath == nil || st.Command.State != r.env.State()
}

// meaning analyses a prepared statement as the server would read it now: its
// text was parsed under the settings of then, its names are resolved under
// those of now. It returns nil when that isn't one statement.
func (r *relay) meaning(st *statement) *sql.Statement {
	a := r.analyseStatement(st)
	if len(a.Statements) != 1 {
		return nil
	}
	if st.sql {
		return a.Statements[0].Inner
	}
	return &a.Statements[0]
}

func (r *relay) analyseStatement(st *statement) *sql.Analysis {
	env := r.env
	if env == nil {
		env = &analysis.Env{}
	}
	if env.StandardConformingStrings != st.scs || env.Encoding != st.encoding {
		then := *env
		then.StandardConformingStrings, then.Encoding = st.scs, st.encoding
		env = &then
	}
	return r.o.analyzer.Analyze(st.text, env)
}
