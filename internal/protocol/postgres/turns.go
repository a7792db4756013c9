package postgres

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"postern"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// A command is decided over by what names mean then, and the server reads them when it
// gets to it: once it has a lock, or has done with the statements before. So whatever
// gives names another meaning for others, and commands of others that read by those
// names, take turns. A change says which names it is about, waits for the commands that
// were sent before, and is refused if they don't end; the change that ends a transaction
// may be what they wait for, so that they are cancelled then. Commands that are decided
// over later wait for the change, and otherwise take those names for unknown.
//
// What makes no difference to a command it needn't wait for: the analysis says so, of
// the command as it is and with those names in doubt.

// turnTime is how long a change waits for commands, and then again for those that it has
// cancelled.
const turnTime = 2 * time.Second

// yieldTime is how long a command waits for changes: longer than they wait for it. Within
// a transaction less, as what it has locked may be what they wait for.
func (o *relayOptions) yieldTime(within bool) time.Duration {
	if within {
		return o.turn / 2
	}
	return o.turn * 3 / 2
}

// decides says whether a message is being decided over, by what names mean now: from
// before that is looked up until it is sent.
func (p *pipeline) decides(it bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deciding = it; !it {
		p.wake()
	}
}

// begins notes that a message begins to be decided over.
func (p *pipeline) begins() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deciding, p.mayStall = true, true
	p.stalled = nil
}

// decided notes that a message was sent, or refused.
func (p *pipeline) decided() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deciding, p.turning, p.mayStall = false, false, false
	p.resolve()
	p.wake()
}

// pauseDeciding is for whoever waits for others while a message is decided over, and asks
// again then what names mean.
func (p *pipeline) pauseDeciding() (resume func()) {
	p.decides(false)
	return func() { p.decides(true) }
}

// stall is for whoever waits, while a message is decided over, until the server has
// answered what came before: that may take hours, and others needn't wait for it, if
// what has been found out is held against what they have done meanwhile.
func (r *relay) stall() (resume func()) {
	r.p.mu.Lock()
	may, now := r.p.deciding && r.p.mayStall, r.standing()
	r.p.mu.Unlock()
	if !may {
		return func() {}
	}
	if r.p.stalled == nil {
		r.p.stalled = &now
		if r.catalog.site.doubtful(r.p, true) {
			r.p.stalled.turns = -1 // somebody waits for it who needn't any more
		}
	}
	return r.p.pauseDeciding()
}

// standing is how often names were put in doubt, and changed by others.
type standing struct{ turns, changes int64 }

// standing is called with r.p.mu held.
func (r *relay) standing() standing {
	return standing{r.catalog.site.turnsSoFar(), r.catalog.changesSoFar() - r.p.told}
}

// movedWhileStalled says whether others may have given names another meaning since the
// message began to be decided over, and has them wait for it from now on.
func (r *relay) movedWhileStalled() bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.p.mayStall = false
	was := r.p.stalled
	return was != nil && *was != r.standing()
}

// commits says which names a message may give another meaning for others, not only
// within its transaction.
func (r *relay) commits(kind reply, statements []sql.Statement) []string {
	within, failed := r.within()
	r.p.mu.Lock()
	spread := r.p.spread
	r.p.mu.Unlock()
	undone := spread
	if failed {
		spread = nil // nothing of it can be committed, as long as it isn't rolled back to where it hadn't failed
	}
	commits := commitsEarly(kind, statements)
	for i := range statements {
		st := &statements[i]
		switch st.Transaction {
		case "begin":
			within = true
		case "commit":
			within, commits, failed = false, true, false
		case "rollback":
			within, failed = false, false
		case "rollback to":
			if failed {
				spread, failed = undone, false
			}
		}
		if r.spreads(st) {
			spread = addNames(spread, st.Touches)
			commits = commits || !within
		}
	}
	if !commits {
		return nil
	}
	return spread
}

// within says whether it is certain that the next message finds a transaction that the
// client has begun, and whether that has failed.
func (r *relay) within() (within, failed bool) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	for _, e := range r.p.queue[r.p.head:] {
		if e.kind.ends() || e.segment != r.p.segment {
			return false, false // it may end the transaction
		}
	}
	switch r.control {
	case "begin":
		return true, false // or it isn't run
	case "":
		return r.p.status != 'I', r.p.status == 'E' && !r.ran
	}
	return false, false
}

// changesNames says whether a statement may change what names mean.
func changesNames(st *sql.Statement) bool { return len(st.Touches) > 0 || st.ChangesCatalog }

// endsPrepared says whether statements end a transaction that was prepared (PREPARE
// TRANSACTION), whose locks no session has.
func endsPrepared(statements []sql.Statement) bool {
	return slices.ContainsFunc(statements, func(st sql.Statement) bool {
		return st.Command.Verb == "commit" && st.Transaction == ""
	})
}

// spreads says whether a statement may change what names mean for others: what it makes
// or drops isn't only the session's own, in its temporary schema. Another session's
// temporary tables can be dropped, too.
func (r *relay) spreads(st *sql.Statement) bool {
	if !changesNames(st) {
		return false
	}
	own := false
	for _, o := range st.Command.Objects {
		if o.Write {
			if schema, _, ok := strings.Cut(o.Name, "."); !ok || schema != "pg_temp" && (schema != r.temporary || schema == "") {
				return true
			}
			own = true
		}
	}
	return !own
}

// turn waits until what a message may commit makes no difference to any command that
// another session has under way, and has those that come later wait in turn. It refuses
// a command that can't have its turn, or that means something else once it has.
func (r *relay) turn(ctx context.Context, kind reply, cmd *command) (*denial, error) {
	names := r.commits(kind, cmd.statements)
	if len(names) == 0 || r.unrestricted() || slices.Contains(names, touchesAll) && len(r.masks().Masks) == 0 {
		// Who may do whatever there is, without a mask, has nothing to gain. And of a text
		// that nobody understands, which only a mask refuses, all would have to wait.
		return nil, nil
	}
	r.p.mu.Lock()
	w := &wait{names: names, holds: r.p.status != 'I' || r.p.open && r.ran || endsPrepared(cmd.statements), checked: make(map[any]bool), late: time.NewTimer(r.o.turn)}
	r.p.doubting, r.p.turning = true, true
	r.p.mu.Unlock()
	defer w.late.Stop()
	at, cancels, seen := r.catalog.site, r.cancels.Load(), r.catalog.changesSoFar()
	resume := r.p.pauseDeciding()
	defer func() { resume() }()
	at.doubt(r.p, names, true)
	for {
		others := at.grantedSoFar()
		free, err := r.await(ctx, w)
		resume()
		switch {
		case err != nil:
			return nil, err
		case r.cancels.Load() != cancels:
			return &denial{code: codeCancelled, message: "canceling statement due to user request", plain: true}, nil
		case !free:
			return r.outOfTurn(cmd, codeLocked, "a command of another session is under way that reads by a name which this changes; run it again once that has ended")
		}
		now, doubtful := r.catalog.changesSoFar(), at.doubtful(r.p, true)
		if cmd.read != nil && (now != seen || doubtful) {
			again := *cmd // others may be looking at cmd, if it is a portal's
			same, err := r.meansTheSame(ctx, &again)
			switch {
			case err != nil:
				return nil, err
			case !same && (!doubtful || w.over):
				return r.outOfTurn(cmd, codeRetry, changedMeanwhile)
			case !same: // it may once it is known what the others have made of it
				resume = r.p.pauseDeciding()
				if err := w.resolved(ctx, at.resolution(r.p)); err != nil {
					return nil, err
				}
				continue
			}
			seen = now
		}
		if !r.s.Current(cmd.decision) {
			return r.outOfTurn(cmd, codeRetry, "the policy has changed while the command waited for its turn; run it again")
		}
		// Those whose turn came before may go on changing what it is held against, and those
		// who don't heed it may have begun.
		if (cmd.read == nil || seen == r.catalog.changesSoFar()) && at.grant(r.p, others) {
			return nil, nil
		}
		resume = r.p.pauseDeciding()
	}
}

const changedMeanwhile = "another session has changed the database meanwhile, and the command means something else now; run it again"

// outOfTurn refuses a command that can't have its turn.
func (r *relay) outOfTurn(cmd *command, code, problem string) (*denial, error) {
	dn := &denial{code: code, message: problem}
	return dn, r.s.Overruled(cmd.decision, cmd.commands(), "", dn.code, dn.words())
}

// wait is that of a change for others' commands.
type wait struct {
	names   []string
	holds   bool // it may hold locks: those that don't end are cancelled
	late    *time.Timer
	over    bool         // late has come, and nothing is left to be done then
	checked map[any]bool // what was found of commands
}

// resolved waits until names that others have in doubt may be fewer, or it is late.
func (w *wait) resolved(ctx context.Context, fewer <-chan struct{}) error {
	if fewer == nil {
		return nil
	}
	select {
	case <-fewer:
	case <-w.late.C:
		w.over = true
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// await waits until no command of another session depends on names. A session that
// holds locks has those cancelled that don't end.
func (r *relay) await(ctx context.Context, w *wait) (free bool, err error) {
	for {
		busy, changed := r.busy(w.names, w.checked)
		if len(busy) == 0 {
			return true, nil
		}
		if w.over {
			return false, nil
		}
		select {
		case <-changed:
		case <-w.late.C:
			if !w.holds {
				w.over = true
				return false, nil
			}
			w.holds = false
			w.late.Reset(r.o.turn)
			var all sync.WaitGroup
			for _, other := range busy {
				all.Go(func() { other.giveWay(ctx, r.o.turn) })
			}
			all.Wait()
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// busy are the other sessions with commands under way that depend on names, or that are
// being decided over. changed is closed when the first of them has come on. What was
// found of a command is kept in checked.
func (r *relay) busy(names []string, checked map[any]bool) (all []*relay, changed <-chan struct{}) {
	for _, other := range r.catalog.site.besides(r) {
		cmds, later, deciding, progress := other.p.underWay()
		if len(cmds) == 0 && len(later) == 0 && !deciding || other.unrestricted() {
			continue
		}
		depends := deciding
		check := func(what any, check func() bool) {
			if _, ok := checked[what]; !ok {
				checked[what] = check()
			}
			depends = depends || checked[what]
		}
		for _, cmd := range cmds {
			check(cmd, func() bool { return r.depends(cmd.text, cmd.statements, cmd.env, names) })
		}
		for _, put := range later {
			check(put.st, func() bool { return r.dependsLater(put, names) })
		}
		if !depends {
			continue
		}
		if all = append(all, other); changed == nil {
			changed = progress
		}
	}
	return all, changed
}

// underWay are the commands that the server has, or is about to have, and what it is to do
// at the end of the transaction. progress is closed when something of that has changed.
func (p *pipeline) underWay() (cmds []*command, later []putOff, deciding bool, progress <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.queue[p.head:] { // a Bind's is its Execute's
		if e.cmd != nil && len(e.cmd.statements) > 0 && (len(cmds) == 0 || cmds[len(cmds)-1] != e.cmd) {
			cmds = append(cmds, e.cmd)
		}
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return cmds, p.putOff, p.deciding, p.changed
}

// depends says whether a text might turn out to be other statements, or show something
// else, if names had another meaning.
func (r *relay) depends(text string, statements []sql.Statement, env *analysis.Env, names []string) bool {
	if env == nil || text == "" || len(statements) == 0 {
		return true
	}
	then := *env
	then.Touched = addNames(env.Touched, names)
	// What its session has prepared is for that one to know.
	then.Prepared, then.Cursor = nil, nil
	return dependsByViews(statements, env.Catalog, names) || !alike(r.o.analyzer.Analyze(text, &then).Statements, statements)
}

// alike says whether statements are the same, but for whether it is certain that a
// rollback undoes them: of those that write it never is as long as any name is in doubt.
func alike(a, b []sql.Statement) bool {
	return slices.EqualFunc(a, b, func(x, y sql.Statement) bool {
		x.Undoable, x.Lasting, y.Undoable, y.Lasting = false, "", false, ""
		if x.Inner != nil && y.Inner != nil {
			if !alike([]sql.Statement{*x.Inner}, []sql.Statement{*y.Inner}) {
				return false
			}
			x.Inner, y.Inner = nil, nil
		}
		return reflect.DeepEqual(x, y)
	})
}

// dependsByViews says whether what statements show of relations might be something else,
// by whatever name they are read.
func dependsByViews(statements []sql.Statement, catalog *analysis.Catalog, names []string) bool {
	moved := catalog.MovesViews(names)
	for i := range statements {
		st := &statements[i]
		if moved && slices.ContainsFunc(st.Command.Objects, func(o postern.Object) bool { return readsView(catalog, o) }) ||
			slices.ContainsFunc(st.Reads, func(t sql.Table) bool { return analysis.Touched(names, t.Name) }) {
			return true
		}
	}
	return false
}

// giveWay cancels what is under way, for another session's sake, which waits for the
// server to take that no longer than for so long. Until then nothing follows that it could
// hit in its place.
func (r *relay) giveWay(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	r.p.mu.Lock()
	idle := r.p.empty()
	for _, e := range r.p.queue[r.p.head:] {
		e.gaveWay = true
	}
	if !idle {
		r.p.giving++
	}
	r.p.mu.Unlock()
	if idle {
		return // what is put off to the end of its transaction can't be cancelled
	}
	err := r.up.cancel(ctx)
	r.p.mu.Lock()
	r.p.giving--
	r.p.wake()
	r.p.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		r.o.log.Warn("command can't be cancelled for another session's sake", "session", r.s.ID(), "error", err)
	}
}

// undisturbed says whether nothing is being cancelled. The caller holds p.mu.
func (p *pipeline) undisturbed() bool { return p.giving == 0 }

// changedSince says whether what names mean may be another thing than when r.others was
// as given.
func (r *relay) changedSince(others int64) bool {
	return others != r.others || r.catalog.site.doubtful(r.p, true)
}

// gaveWayWords are for whoever is cancelled so.
const gaveWayWords = "postern: another session changes a name that the command reads by; run it again"

func (p *pipeline) hasGivenWay(e *expectation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.gaveWay
}

// yield waits for others that are changing names, as long as they make a difference to
// what read gives, and returns what it can be read by then.
func (r *relay) yield(ctx context.Context, read func() []sql.Statement) (*analysis.Env, error) {
	r.p.mu.Lock()
	within := r.p.status != 'I'
	r.p.mu.Unlock()
	late := time.NewTimer(r.o.yieldTime(within))
	defer late.Stop()
	for over := false; ; {
		env, err := r.environment(ctx, true)
		resolved := r.catalog.site.resolution(r.p)
		if err != nil || over || resolved == nil || !r.swayed(env, read) {
			return env, err
		}
		resume := r.p.pauseDeciding()
		select {
		case <-resolved:
		case <-late.C:
			over = true
		case <-ctx.Done():
			return nil, errInterrupted
		}
		resume()
	}
}

// swayed says whether the names that others are at make a difference to what read gives.
func (r *relay) swayed(env *analysis.Env, read func() []sql.Statement) bool {
	names := r.catalog.site.doubted(r.p, nil, false)
	if len(names) == 0 {
		return false
	}
	with := read()
	r.enter(env.Catalog, slices.DeleteFunc(slices.Clone(env.Touched), func(name string) bool { return slices.Contains(names, name) }), env.Deferred)
	without := read()
	r.env = env
	return !alike(with, without) || dependsByViews(with, env.Catalog, names)
}

// putOff is a statement that does something at the end of its transaction only, and what
// it was analysed with. Without a statement it is too many to tell.
type putOff struct {
	st  *sql.Statement
	env *analysis.Env
}

// maxPutOff bounds how many texts of one transaction are told apart.
const maxPutOff = 64

// addPutOff doesn't write to all, which others may be reading.
func addPutOff(all []putOff, one putOff) []putOff {
	for _, known := range all {
		if known.st == nil || known.st.Command.Text == one.st.Command.Text && known.env == one.env {
			return all
		}
	}
	if len(all) >= maxPutOff {
		return []putOff{{}}
	}
	return append(all[:len(all):len(all)], one)
}

// dependsLater is depends for what is put off. Of a statement among others of its text the
// analysis says a little more than by itself, so that it is looked at again by itself.
func (r *relay) dependsLater(put putOff, names []string) bool {
	if put.st == nil || put.env == nil || put.st.Executes != "" {
		return true
	}
	text, env := put.st.Command.Text, *put.env
	env.Prepared, env.Cursor = nil, nil
	alone := r.o.analyzer.Analyze(text, &env).Statements
	if len(alone) != 1 || !slices.Equal(alone[0].Places, put.st.Places) {
		return true // a statement before it makes it another one
	}
	return r.depends(text, alone, &env, names)
}
