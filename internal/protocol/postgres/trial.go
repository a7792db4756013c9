package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern"
	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// A rule may want a command to be approved before it is committed, and not before it
// runs: then people decide by what it did, and not by what it might do. It runs in a
// transaction that stays open until they have decided; its answer is kept from the
// client. What the gateway sends is
//
//	BEGIN            or SAVEPOINT, in a transaction of the client's own
//	the bounds       settings of the transaction
//	rows as they are a query that may not write
//	the command      byte for byte, as it will have been approved
//	what it did      counts, and the same rows again
//
// and, when people have decided, COMMIT or ROLLBACK, RELEASE or ROLLBACK TO. Each step
// is answered before the next one is sent.

const (
	// lookTime bounds one look of the gateway's own at rows.
	lookTime = 2 * time.Second
	// holdGrace is how much longer than the gateway the server waits for a word
	// before it ends a transaction that is held: the gateway may be out of reach.
	holdGrace = 15 * time.Second
	maxTables = 50
)

// trial is a command that is tried, and held.
type trial struct {
	r        *relay
	cmd      *command
	stride   stride
	terms    postern.CommitTerms
	own      bool // the transaction is the gateway's
	open     bool // something is there to be undone
	shelf    *shelf
	settings []string // as the client had them, in its own transaction
	cancels  int64    // how often the client had asked to cancel before
	ours     bool     // the server's bound of time for it is the gateway's
	late     bool     // it may have run into that
	stopped  bool     // the client has cancelled it before anybody was asked
	review   string
}

const cancelledWords = "its client asked to cancel it"

// bounded are the settings that the gateway sets for the transaction.
var bounded = [...]string{"statement_timeout", "idle_in_transaction_session_timeout"}

// try implements [gate.Try] for the command that is decided over.
func (r *relay) try(ctx context.Context, d postern.Decision, begin func() error) (gate.Tried, error) {
	t := &r.trying
	t.terms = *d.Review.Commit
	why, err := t.unfit(ctx)
	if why != "" && t.cancelled() {
		t.stopped = true
		return gate.Tried{Refused: cancelledWords}, err
	}
	if err != nil || why != "" {
		return gate.Tried{Instead: why}, err
	}
	t.cmd.decision = d
	t.cmd.exposes = r.exposes(t.cmd)
	if problem := unmaskable(t.cmd); problem != "" {
		return gate.Tried{Refused: problem}, nil
	}
	if problem, err := r.tells(ctx, t.cmd); err != nil || problem != "" {
		return gate.Tried{Refused: problem}, err
	}
	if err := begin(); err != nil {
		return gate.Tried{}, err
	}
	did, refused, err := t.run(ctx)
	var answered serverError
	switch {
	case errors.As(err, &answered):
		refused = "the server didn't let the gateway look at what it does (" + answered.get('C') + ")"
	case err != nil:
		return gate.Tried{}, err
	}
	if t.stopped = t.cancelled(); t.stopped && refused == "" {
		refused = cancelledWords
	}
	if refused != "" {
		if err := t.undo(ctx); err != nil {
			return gate.Tried{}, err
		}
		return gate.Tried{Refused: refused}, nil
	}
	return gate.Tried{Did: did}, nil
}

// unfit says why a command can't be undone once it has run.
func (t *trial) unfit(ctx context.Context) (string, error) {
	r := t.r
	switch {
	case t.stride.why != "":
		return t.stride.why, nil
	case len(t.cmd.statements) != 1:
		return "it holds several statements", nil
	case !t.cmd.statements[0].Undoable:
		return t.cmd.statements[0].Lasting, nil
	case r.spreads(&t.cmd.statements[0]):
		return "it may change what names mean", nil
	}
	if err := r.drained(ctx); err != nil {
		return "", err
	}
	if why, err := r.look(&t.stride); err != nil || why != "" {
		return why, err
	}
	if r.movedWhileStalled() {
		return justMoved, nil
	}
	r.p.mu.Lock()
	status := r.p.status
	r.p.mu.Unlock()
	switch {
	case status == 'E':
		return "its transaction has failed already", nil
	case r.control == "over":
		return "it follows the end of a transaction within a pipeline", nil
	case r.ran:
		return "other commands came before it in its pipeline", nil
	case r.counting != nil:
		return "rows are counted in its pipeline", nil
	}
	t.own = status == 'I' && r.control != "begin"
	if why, err := t.moved(ctx); err != nil || why != "" {
		return why, err
	}
	return t.hung(ctx)
}

// cancelled says whether the client has asked to cancel since the trial began.
func (t *trial) cancelled() bool {
	return t.r.cancels.Load() != t.cancels
}

// run runs the command and finds out what it did. refused says why it is to be undone.
func (t *trial) run(ctx context.Context) (did *postern.Trial, refused string, err error) {
	if err := t.begin(ctx); err != nil {
		return nil, "", err
	}
	did = &postern.Trial{Within: !t.own}
	look, err := t.look(ctx, did)
	if err != nil {
		return nil, "", err
	}
	before, err := t.counts(ctx)
	if err != nil {
		return nil, "", err
	}
	if err := t.bound(ctx, "statement_timeout", t.terms.Hold); err != nil {
		return nil, "", err
	}
	if refused, err = t.execute(ctx); err != nil || refused != "" {
		return nil, refused, err
	}
	after, err := t.counts(ctx)
	if err != nil {
		return nil, "", err
	}
	did.Tag, did.Rows, did.Changes = t.shelf.ended.Tag, tagCount(t.shelf.ended.Tag), after.since(before)
	if refused := t.tooMany(did, after.total-before.total); refused != "" {
		return nil, refused, nil
	}
	if look != nil {
		if err := look.after(ctx, did); err != nil {
			return nil, "", err
		}
	}
	return did, "", nil
}

// begin opens what can be undone, with bounds that the server keeps.
func (t *trial) begin(ctx context.Context) error {
	r := t.r
	opening := "BEGIN"
	if !t.own {
		opening = "SAVEPOINT " + r.reserved
	}
	t.open = true
	show := make([]string, len(bounded))
	for i, name := range bounded {
		show[i] = "pg_catalog.current_setting('" + name + "')"
	}
	answers, err := r.ask(ctx, false, opening, "SELECT "+strings.Join(show, ", "))
	if err != nil {
		return err
	}
	if rows := answers[1]; len(rows) == 1 && len(rows[0]) == len(bounded) {
		for _, value := range rows[0] {
			if value == nil {
				return errors.New("settings: the server doesn't tell them")
			}
			t.settings = append(t.settings, *value)
		}
	} else {
		return errors.New("settings: the server doesn't tell them")
	}
	return t.bound(ctx, "idle_in_transaction_session_timeout", t.terms.Hold+holdGrace)
}

// bound sets a limit of time for the transaction. One of the client's own that is
// tighter stays, but for the one that would end a transaction that is held.
func (t *trial) bound(ctx context.Context, name string, most time.Duration) error {
	for i, known := range bounded {
		if known == name && name == "statement_timeout" {
			theirs, ok := serverDuration(t.settings[i])
			if t.ours = !ok || theirs == 0 || theirs > most; !t.ours {
				most = theirs
			}
		}
	}
	return t.set(ctx, name, strconv.FormatInt(most.Milliseconds(), 10))
}

func (t *trial) set(ctx context.Context, name, value string) error {
	_, err := t.r.askAll(ctx, false, setting(name, value))
	return err
}

// setting is a query that sets what lasts as long as the transaction.
func setting(name, value string) question {
	return question{
		text: "SELECT pg_catalog.set_config($1, $2, true)", types: []uint32{oidText, oidText},
		params: []postern.Param{{Value: []byte(name)}, {Value: []byte(value)}},
	}
}

// serverDuration reads a setting that is a time, as the server writes it.
func serverDuration(text string) (time.Duration, bool) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.ParseInt(digits, 10, 64)
	units := map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	unit, ok := units[text[len(digits):]]
	return time.Duration(n) * unit, ok && err == nil
}

const justMoved = "the database was changed just now, and what it does isn't certain"

// moved says why the database may not be the one any more that the command was
// understood by, "" when it is.
func (t *trial) moved(ctx context.Context) (string, error) {
	r, env := t.r, t.cmd.env
	if env == nil || env.Catalog == nil || len(env.Touched) > 0 {
		return justMoved, nil
	}
	if r.ownCatalog() == env.Catalog {
		return "", nil // as the client's own transaction has it
	}
	began := r.o.now()
	answers, err := r.ask(ctx, false, "SHOW transaction_isolation", r.o.fingerprint)
	if err != nil {
		return justMoved, r.unlessBroken(ctx, err)
	}
	if !t.own && oneText(answers[0]) != "read committed" {
		return "its transaction sees the database as it was when it began, and not what a trigger of now would do", nil
	}
	fingerprint := oneText(answers[1])
	r.catalog.saw(fingerprint, "", began)
	if !r.catalog.is(env.Catalog, fingerprint) {
		return justMoved, nil
	}
	return "", nil
}

// hung says why expressions that hang on the command's tables may do what a rollback
// doesn't undo, "" when they don't.
func (t *trial) hung(ctx context.Context) (string, error) {
	var list strings.Builder
	for i, oid := range t.cmd.statements[0].Places {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(strconv.FormatUint(uint64(oid), 10))
	}
	answers, err := t.r.askAll(ctx, false, question{
		text: analysis.CallsQuery, types: []uint32{oidOIDs}, params: []postern.Param{{Value: []byte("{" + list.String() + "}")}},
	})
	if err != nil {
		return "what hangs on its tables can't be looked at", t.r.unlessBroken(ctx, err)
	}
	for _, row := range answers[0] {
		oid, err := strconv.ParseUint(text(row, 1), 10, 32)
		if err != nil {
			return "", fmt.Errorf("calls: %w", err)
		}
		if why := t.cmd.env.Catalog.CallLasts(text(row, 0), uint32(oid)); why != "" {
			return why, nil
		}
	}
	return "", nil
}

// execute runs the command itself.
func (t *trial) execute(ctx context.Context) (refused string, err error) {
	r := t.r
	t.shelf = newShelf(r.o.buffers)
	if err := r.stride(t.cmd, &t.stride, t.shelf); err != nil {
		return "", err
	}
	if err := r.toServer.flush(); err != nil {
		return "", err
	}
	resume := r.p.pauseDeciding() // it is under way
	err = r.p.wait(ctx, r.p.empty)
	resume()
	if err != nil {
		return "", err
	}
	t.late = t.ours && !t.cancelled()
	if t.shelf.failed == nil && t.own {
		// What is put off to the end is part of what it does.
		_, err := r.askAll(ctx, false, question{text: "SET CONSTRAINTS ALL IMMEDIATE", shelf: t.shelf})
		var answered serverError
		switch {
		case errors.As(err, &answered):
			t.shelf.failed = answered
		case err != nil:
			return "", err
		}
	}
	if err := t.shelf.out.flush(); err != nil {
		return "", err
	}
	r.p.mu.Lock()
	status := r.p.status
	r.p.mu.Unlock()
	switch {
	case t.shelf.hasFailed() && t.shelf.failed.get('C') == codeCancelled && t.late:
		t.shelf.failed = nil
		return fmt.Sprintf("it took longer than the %s for which it may be held. Change fewer rows at a time, or try again when nothing holds it up.", shortDuration(t.terms.Hold)), nil
	case t.shelf.hasFailed():
		return "it failed (" + t.shelf.failed.get('C') + "), and nobody was asked", nil
	case t.shelf.ended == nil, status != 'T':
		return "it didn't end as a command does that can be undone", nil
	case t.shelf.over:
		return fmt.Sprintf("its answer has more than %d bytes, which is more than can be kept until it is approved. Let RETURNING give less.", maxShelf), nil
	}
	return "", nil
}

// tooMany says why a command that changed more rows than it may is undone.
func (t *trial) tooMany(did *postern.Trial, all int64) string {
	d, most := t.cmd.decision, t.terms.Rows
	n := max(did.Rows, all)
	if n > most {
		return fmt.Sprintf("it changed %s, and a command that is approved before it is committed may change %d. Change fewer at a time, or ask whoever wrote the rule.",
			changed(did.Rows, all), most)
	}
	if d.Limit != nil && n > d.Limit.Rows {
		reason := d.Limit.Reason
		if reason == "" {
			reason = "Change fewer at a time, or ask whoever wrote the rule."
		}
		return fmt.Sprintf("it changed %s, and rule %q allows %d. %s", changed(did.Rows, all), d.Limit.Rule, d.Limit.Rows, reason)
	}
	return ""
}

// changed words how many rows were changed: by the command, and all in all.
func changed(own, all int64) string {
	text := strconv.FormatInt(max(own, all), 10) + " rows"
	if max(own, all) == 1 {
		text = "1 row"
	}
	if all > own && own > 0 {
		text += " (" + strconv.FormatInt(own, 10) + " by itself, the others by triggers and foreign keys)"
	}
	return text
}

// tables are how many rows of each table the transaction has changed so far.
type tables struct {
	order []string
	by    map[string]postern.TableChange
	total int64
}

const countTables = `SELECT schemaname OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_catalog.pg_stat_xact_all_tables
WHERE schemaname OPERATOR(pg_catalog.!~) '^pg_(toast|catalog)' AND n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del OPERATOR(pg_catalog.>) 0 ORDER BY 1`

func (t *trial) counts(ctx context.Context) (*tables, error) {
	answers, err := t.r.ask(ctx, false, countTables, "SHOW track_counts")
	if err != nil {
		return nil, err
	}
	if oneText(answers[1]) != "on" {
		return nil, &refusal{code: codeDenied, message: "the server doesn't count rows (track_counts), so a command can't be approved before it is committed; connect again"}
	}
	all := &tables{by: make(map[string]postern.TableChange, len(answers[0]))}
	for _, row := range answers[0] {
		c := postern.TableChange{Table: text(row, 0)}
		for i, into := range []*int64{&c.Inserted, &c.Updated, &c.Deleted} {
			if *into, err = strconv.ParseInt(text(row, i+1), 10, 64); err != nil {
				return nil, fmt.Errorf("count rows: %w", err)
			}
			all.total += *into
		}
		all.order, all.by[c.Table] = append(all.order, c.Table), c
	}
	return all, nil
}

// since are the changes since another count.
func (a *tables) since(b *tables) []postern.TableChange {
	var all []postern.TableChange
	for _, name := range a.order {
		now, then := a.by[name], b.by[name]
		c := postern.TableChange{Table: name, Inserted: now.Inserted - then.Inserted, Updated: now.Updated - then.Updated, Deleted: now.Deleted - then.Deleted}
		if (c.Inserted != 0 || c.Updated != 0 || c.Deleted != 0) && len(all) < maxTables {
			all = append(all, c)
		}
	}
	return all
}

// undo takes back what was run.
func (t *trial) undo(ctx context.Context) error {
	if !t.open {
		return nil
	}
	t.open = false
	steps := []string{"ROLLBACK"}
	if !t.own {
		steps = []string{"ROLLBACK TO SAVEPOINT " + t.r.reserved, "RELEASE SAVEPOINT " + t.r.reserved}
	}
	for again := 0; ; again++ {
		_, err := t.r.ask(ctx, false, steps...)
		var answered serverError
		switch {
		case err == nil:
			return nil
		case isBroken(err):
			return err
		case errors.As(err, &answered) && answered.get('C') == codeCancelled && again < 3:
			continue // the client's asking to cancel came late
		}
		return &refusal{code: codeProtocol, message: "what was run and not approved can't be undone but by ending the session; connect again", cause: err}
	}
}

// commit lets stand what was run, and gives the client its answer; or undoes it, and
// says why.
func (t *trial) commit(ctx context.Context) (*denial, error) {
	r := t.r
	t.open = false
	r.p.mu.Lock()
	status := r.p.status
	r.p.mu.Unlock()
	if status != 'T' {
		return nil, &refusal{code: codeProtocol, message: "the transaction that was held is over; connect again"}
	}
	var steps []question
	if t.own {
		steps = append(steps, question{text: "COMMIT"})
	} else {
		for i, name := range bounded {
			steps = append(steps, setting(name, t.settings[i]))
		}
		steps = append(steps, question{text: "RELEASE SAVEPOINT " + r.reserved})
	}
	_, err := r.askAll(ctx, false, steps...)
	var answered serverError
	switch {
	case errors.As(err, &answered):
		// A server that can't commit has undone all of it.
		t.shelf.failed = answered
		return t.refuse(), errors.Join(t.recordFailure(), r.s.Concluded(t.cmd.decision, t.review, postern.TrialRolledBack, "the server refused to commit it: "+answered.get('C')))
	case err != nil && t.own:
		return nil, errors.Join(err, r.s.Concluded(t.cmd.decision, t.review, postern.TrialLost, "the connection was lost as it was committed"))
	case err != nil: // the client's transaction goes with the connection
		return nil, errors.Join(err, r.s.Concluded(t.cmd.decision, t.review, postern.TrialRolledBack, "the connection was lost"))
	}
	state := postern.TrialCommitted
	if !t.own {
		state = postern.TrialReleased
	}
	if err := r.s.Concluded(t.cmd.decision, t.review, state, ""); err != nil {
		return nil, err
	}
	if err := r.s.Record(*t.shelf.ended); err != nil {
		return nil, err
	}
	return nil, r.hand(t.shelf)
}

// recordFailure records the server's error over a command that was held.
func (t *trial) recordFailure() error {
	return t.r.s.Record(postern.Event{Kind: postern.EventError, N: t.cmd.decision.N, Code: t.shelf.failed.get('C'), Text: clip(t.shelf.failed.get('M'))})
}

// refuse is the server's own error, for the client.
func (t *trial) refuse() *denial {
	return &denial{code: t.shelf.failed.get('C'), message: t.shelf.failed.get('M'), plain: true, as: t.shelf.failed}
}
