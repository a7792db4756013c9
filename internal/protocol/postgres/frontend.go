package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"postern"
	"postern/internal/sql"
)

// Bounds of messages that have to be held whole.
const (
	maxText  = 64 << 20 // Query, Parse, Bind, FunctionCall
	maxNamed = 64 << 10 // Describe, Execute, Close
)

// serveClient relays from the client until it has left, something broke, or it is
// parked (errParked).
func (r *relay) serveClient(ctx context.Context) (err error) {
	defer r.endOnBug(&err)
	for {
		err := r.fromHere.await()
		if err == nil {
			err = r.clientMessage(ctx)
		}
		if err == nil {
			continue
		}
		var frame *frameError
		switch {
		case errors.Is(err, errParked):
			return errParked
		case errors.Is(err, errClientLeft):
			r.left.Store(true)
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			r.left.Store(true)
			return fmt.Errorf("%w without saying so", errClientGone)
		case errors.As(err, &frame):
			return &refusal{code: codeProtocol, message: "malformed message", cause: err}
		case ctx.Err() != nil:
			return errInterrupted
		case r.toServer.err != nil:
			return broken(errUpstreamGone, err)
		case isRefusal(err):
			return err
		}
		return broken(errClientGone, err)
	}
}

// errClientLeft: the client said goodbye.
var errClientLeft = errors.New("the client has left")

func isRefusal(err error) bool {
	var said *refusal
	return errors.As(err, &said) || isEnded(err)
}

// clientMessage handles the next message.
func (r *relay) clientMessage(ctx context.Context) error {
	typ, size, err := r.fromHere.next()
	if err != nil {
		return err
	}
	if r.p.crowded() {
		if err := r.toServer.flush(); err != nil {
			return err
		}
		if err := r.p.wait(ctx, r.p.thinned); err != nil {
			return err
		}
	}
	switch typ {
	case 'd', 'c', 'f':
		return r.copyData(typ, size)
	case 'X':
		if err := r.fromHere.skip(); err != nil {
			return err
		}
		if err := r.toServer.message('X', nil); err != nil {
			return err
		}
		return errClientLeft
	case 'H':
		if err := r.fromHere.skip(); err != nil {
			return err
		}
		return r.toServer.message('H', nil)
	case 'S':
		return r.sync(ctx)
	case 'Q', 'P', 'B', 'D', 'E', 'C', 'F':
	default:
		return &refusal{code: codeProtocol, message: fmt.Sprintf("invalid frontend message type %d", typ)}
	}
	if err := r.afterCopy(ctx); err != nil {
		return err
	}
	if err := r.closeAbandoned(); err != nil {
		return err
	}
	if r.spent > 0 {
		r.spent--
		return r.fromHere.skip()
	}
	if r.dropped() {
		return r.fromHere.skip()
	}
	limit := maxText
	if typ == 'D' || typ == 'E' || typ == 'C' {
		limit = maxNamed
	}
	if size > limit {
		if err := r.fromHere.skip(); err != nil {
			return err
		}
		return r.denyMessage(ctx, typ, &denial{
			code:    codeTooLarge,
			message: fmt.Sprintf("a message of %d bytes is larger than the %d that can be decided over", size, limit),
		})
	}
	body, err := r.fromHere.take()
	if err != nil {
		return err
	}
	if (typ == 'Q' || typ == 'F') && r.control != "" {
		r.control = "over" // it may end what was begun in the pipeline
	}
	if typ == 'B' || typ == 'E' || typ == 'F' {
		// It is needed after the decision, and while that waits, what the client
		// sends is read into the buffer.
		body = bytes.Clone(body)
	}
	if err := r.p.wait(ctx, r.p.undisturbed); err != nil {
		return err
	}
	r.p.begins()
	err = r.decideMessage(ctx, typ, body)
	r.p.decided()
	if errors.Is(err, errSkipped) {
		return nil
	}
	return err
}

func (r *relay) decideMessage(ctx context.Context, typ byte, body []byte) error {
	switch typ {
	case 'Q':
		text, rest, ok := cutString(body)
		if !ok || len(rest) > 0 {
			return r.malformed(ctx, typ)
		}
		return r.query(ctx, text)
	case 'P':
		name, rest, ok := cutString(body)
		if !ok {
			return r.malformed(ctx, typ)
		}
		text, rest, ok := cutString(rest)
		if !ok || len(rest) < 2 || len(rest) != 2+4*int(binary.BigEndian.Uint16(rest)) {
			return r.malformed(ctx, typ)
		}
		return r.parse(ctx, name, text, rest, body)
	case 'B':
		b, ok := decodeBind(body)
		if !ok {
			return r.malformed(ctx, typ)
		}
		return r.bind(ctx, b, body)
	case 'D', 'C':
		if len(body) < 2 || body[0] != 'S' && body[0] != 'P' {
			return r.malformed(ctx, typ)
		}
		name, rest, ok := cutString(body[1:])
		if !ok || len(rest) > 0 {
			return r.malformed(ctx, typ)
		}
		if typ == 'C' {
			return r.close(body[0], name, body)
		}
		return r.describe(ctx, body[0], name, body)
	case 'E':
		name, rest, ok := cutString(body)
		if !ok || len(rest) != 4 {
			return r.malformed(ctx, typ)
		}
		return r.execute(ctx, name, body)
	default:
		call, ok := decodeCall(body)
		if !ok {
			return r.malformed(ctx, typ)
		}
		return r.call(ctx, call, body)
	}
}

// malformed refuses a message that isn't what its type says. Where it ends is known, so
// the session goes on, as the server's would.
func (r *relay) malformed(ctx context.Context, typ byte) error {
	return r.denyMessage(ctx, typ, &denial{code: codeProtocol, message: fmt.Sprintf("malformed message of type %q", typ)})
}

// dropped says whether the server drops what comes before the next Sync.
func (r *relay) dropped() bool {
	if r.dropping {
		return true
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.p.skipping
}

// forward sends a message once it is expected. It does nothing when the server
// would drop it.
func (r *relay) forward(e *expectation, typ byte, body []byte) error {
	if !r.p.push(e) {
		return nil
	}
	return r.toServer.message(typ, body)
}

func (r *relay) sync(ctx context.Context) error {
	if err := r.fromHere.skip(); err != nil {
		return err
	}
	if r.copying != nil {
		inCopy, err := r.copyState(ctx)
		if err != nil {
			return err
		}
		if inCopy {
			// The server ignores it there, unless an error is on its way: then
			// it drops all up to the Sync after the data's end.
			return nil
		}
	}
	r.dropping = false
	return r.syncCount()
}

// query handles a simple Query.
func (r *relay) query(ctx context.Context, text string) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	read := func() []sql.Statement { return r.o.analyzer.Analyze(text, r.env).Statements }
	statements, env, err := r.analyse(ctx, read)
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		// Nothing but comments: the server needn't see them.
		return r.forward(&expectation{kind: replyQuery, cmd: &command{}}, 'Q', []byte{0})
	}
	cmd := &command{statements: statements, env: env, text: text, read: read}
	ran, dn, err := r.decideBy(ctx, cmd, stride{})
	switch {
	case err != nil:
		return err
	case ran:
		return r.forward(&expectation{kind: replySync}, 'S', nil)
	}
	if dn != nil {
		if isUnknown(statements) {
			dn.text = text
		}
		return r.denyMessage(ctx, 'Q', dn)
	}
	if dn, err := r.turn(ctx, replyQuery, cmd); err != nil || dn != nil {
		return r.denyUnless(ctx, 'Q', dn, err)
	}
	e := &expectation{kind: replyQuery, cmd: cmd}
	if cmd.decision.Limit != nil {
		return r.limited(ctx, 'Q', e, append([]byte(text), 0))
	}
	r.effects(e, statements, nil)
	r.mayCopy(e, statements)
	if !r.p.push(e) {
		return nil
	}
	return r.toServer.text('Q', text)
}

// isUnknown says whether a text could not be read, or holds something that isn't
// known: the server may know that it doesn't exist.
func isUnknown(statements []sql.Statement) bool {
	for i := range statements {
		if c := &statements[i].Command; c.Verb == postern.VerbUnknown || slices.Contains(c.Verbs, postern.VerbUnknown) || c.Attr("opaque_result").Bool {
			return true
		}
	}
	return false
}

// parse handles Parse. Nothing is decided: the parameters aren't known, and
// the server plans and runs nothing yet.
func (r *relay) parse(ctx context.Context, name, text string, types, body []byte) error {
	if r.isReserved(name) {
		return r.reservedName()
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	st := &statement{text: text, types: bytes.Clone(types), encoding: r.facts.encoding, scs: r.facts.scs}
	if err := r.foresee(ctx, st); err != nil {
		return err
	}
	if _, err := r.replan(ctx, nil); err != nil {
		return err
	}
	return r.forward(&expectation{kind: replyParse, names: true, name: name, statement: st}, 'P', body)
}

// foresee finds out what Bind of a statement will need to know, which can't be
// asked any more once the pipeline that begins here is open.
func (r *relay) foresee(ctx context.Context, st *statement) error {
	env, err := r.environment(ctx, false)
	if err != nil || !r.improvable(env) {
		return err
	}
	_, _, err = r.analyse(ctx, func() []sql.Statement { return r.analyseStatement(st).Statements })
	return err
}

func (r *relay) isReserved(name string) bool { return strings.HasPrefix(name, r.reserved) }

func (r *relay) reservedName() error {
	return &refusal{code: codeProtocol, message: "this name belongs to the gateway"}
}

// findStatement finds what a statement's name stands for when the server reads
// the next message.
func (r *relay) findStatement(ctx context.Context, name string) (*statement, error) {
	st, sure := r.p.lookupStatement(name)
	if sure && !r.isStateful() {
		return st, nil
	}
	if err := r.drained(ctx); err != nil {
		return nil, err
	}
	st, _ = r.p.lookupStatement(name)
	return st, nil
}

func (r *relay) findPortal(ctx context.Context, name string) (*portal, error) {
	po, sure := r.p.lookupPortal(name)
	if sure && !r.isStateful() {
		return po, nil
	}
	if err := r.drained(ctx); err != nil {
		return nil, err
	}
	po, _ = r.p.lookupPortal(name)
	return po, nil
}

func (r *relay) isStateful() bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.p.stateful > 0
}

// renew makes sure of a statement whose name may have got another meaning
// behind the gateway's back: it asks the server, or else prepares it again.
func (r *relay) renew(ctx context.Context, name string, st *statement) (*statement, error) {
	kept, err := r.kept(ctx, name, st)
	if kept || err != nil {
		return st, err
	}
	again := *st
	again.tainted, again.scs, again.encoding = false, r.facts.scs, r.facts.encoding
	if again.scs != st.scs || again.encoding != st.encoding {
		// Its text would be read differently now.
		return nil, nil
	}
	if err := r.forward(&expectation{kind: replyClose, own: true}, 'C', appendString([]byte{'S'}, name)); err != nil {
		return nil, err
	}
	body := appendString(appendString(nil, name), st.text)
	e := &expectation{kind: replyParse, own: true, shown: true, names: true, name: name, statement: &again}
	return &again, r.forward(e, 'P', append(body, st.types...))
}

// kept asks the server whether a statement's name still stands for it. Preparing
// it again would hide that its plan is out of date, which drivers look for: "cached
// plan must not change result type". No SQL makes what from_sql denies, so the
// statement is the last one that was prepared through here. Within a transaction
// nothing is asked: SELECT takes a snapshot, and its failure would be the client's.
func (r *relay) kept(ctx context.Context, name string, st *statement) (bool, error) {
	if strings.ContainsAny(name, `'\`) {
		return false, nil
	}
	if err := r.drained(ctx); err != nil {
		return false, err
	}
	r.p.mu.Lock()
	idle := r.p.status == 'I' && !r.p.open
	r.p.mu.Unlock()
	if !idle {
		return false, nil
	}
	answers, err := r.ask(ctx, false, `SELECT statement FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.=) '`+name+`' AND NOT from_sql`)
	if err != nil {
		if ctx.Err() != nil || isBroken(err) {
			return false, err
		}
		return false, nil
	}
	rows := answers[0]
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] == nil || *rows[0][0] != st.text {
		return false, nil
	}
	known := *st
	known.tainted = false
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if _, ok := r.p.statements.known[name]; ok {
		r.p.statements.known[name] = &known
	}
	return true, nil
}

// bind handles Bind: from here on the server plans, and may compute.
func (r *relay) bind(ctx context.Context, b bindMessage, body []byte) error {
	if r.isReserved(b.statement) || r.isReserved(b.portal) {
		return r.reservedName()
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	st, err := r.findStatement(ctx, b.statement)
	if err != nil {
		return err
	}
	if st != nil && st.tainted {
		if st.sql {
			st = nil
		} else if st, err = r.renew(ctx, b.statement, st); err != nil {
			return err
		}
	}
	cmd := &command{params: b.params, read: func() []sql.Statement { return r.bound(b.statement, st) }}
	if st != nil {
		cmd.text = st.text
	}
	cmd.statements, cmd.env, err = r.analyse(ctx, cmd.read)
	if err != nil {
		return err
	}
	r.p.mu.Lock()
	po := &portal{cmd: cmd, meanings: r.p.meanings}
	r.p.mu.Unlock()
	e := &expectation{kind: replyBind, names: true, name: b.portal, portal: po, cmd: cmd}
	if len(cmd.statements) > 0 {
		ran, dn, err := r.decideBy(ctx, cmd, stride{bind: e, b: b, body: body})
		if err != nil || ran {
			return err
		}
		if dn != nil {
			if st == nil {
				dn.name, dn.kind = b.statement, 'S'
			}
			return r.denyMessage(ctx, 'B', dn)
		}
		po.decided = r.o.now()
		for i := range cmd.statements {
			if st := &cmd.statements[i]; st.Unsettles || changesNames(st) && isPlanned(st) {
				// Planning runs functions, of which it isn't known here which ones.
				if dn, err := r.turn(ctx, replyBind, cmd); err != nil || dn != nil {
					return r.denyUnless(ctx, 'B', dn, err)
				}
				r.effects(e, cmd.statements[i:i+1], nil)
			}
		}
	}
	return r.forward(e, 'B', body)
}

// bound is what Bind of a prepared statement, which is nil if it isn't known,
// makes ready to run.
func (r *relay) bound(name string, st *statement) []sql.Statement {
	switch {
	case st == nil:
		return []sql.Statement{opaque("Bind "+quoteName(name), "No prepared statement of this name is known to the gateway.")}
	case !st.sql:
		return r.analyseStatement(st).Statements
	}
	if inner := r.meaning(st); inner != nil {
		return []sql.Statement{*inner}
	}
	return []sql.Statement{opaque(st.text, "What was prepared can't be told.")}
}

// opaque describes what can't be told from any text.
func opaque(text, problem string) sql.Statement {
	return sql.Statement{
		Command: postern.Command{
			Protocol: Name, Verb: postern.VerbUnknown, Verbs: []string{postern.VerbUnknown}, Text: text, Problem: problem,
		},
		Unsettles: true, ChangesCatalog: true, Touches: []string{touchesAll},
	}
}

// describe forwards Describe: it runs nothing.
func (r *relay) describe(ctx context.Context, what byte, name string, body []byte) error {
	if r.isReserved(name) {
		return r.reservedName()
	}
	if what == 'S' {
		st, err := r.findStatement(ctx, name)
		if err != nil {
			return err
		}
		if st != nil && st.tainted && !st.sql {
			if st, err = r.renew(ctx, name, st); err != nil {
				return err
			}
		}
		return r.forward(&expectation{kind: replyDescribe, statement: st}, 'D', body)
	}
	po, err := r.findPortal(ctx, name)
	if err != nil {
		return err
	}
	return r.describePortal(po, name, false)
}

func (r *relay) describePortal(po *portal, name string, own bool) error {
	r.p.mu.Lock()
	if po != nil {
		po.described, po.segment = true, r.p.segment
	}
	r.p.mu.Unlock()
	e := &expectation{kind: replyPortal, portal: po, own: own, shown: own}
	return r.forward(e, 'D', appendString([]byte{'P'}, name))
}

// close forwards Close, which never fails.
func (r *relay) close(what byte, name string, body []byte) error {
	if r.isReserved(name) {
		return r.reservedName()
	}
	return r.forward(&expectation{kind: replyClose, names: true, name: name, closes: what}, 'C', body)
}

// execute handles Execute of a portal that was decided over when it was bound.
func (r *relay) execute(ctx context.Context, name string, body []byte) error {
	if r.isReserved(name) {
		return r.reservedName()
	}
	po, err := r.findPortal(ctx, name)
	if err != nil {
		return err
	}
	r.movedWhileStalled() // nothing was found out before
	cmd, dn, err := r.commandOf(ctx, po, name)
	if err != nil {
		return err
	}
	if dn != nil {
		if po == nil {
			dn.name, dn.kind = name, 'P'
		}
		return r.denyMessage(ctx, 'E', dn)
	}
	if po == nil {
		po = &portal{cmd: cmd}
	}
	if len(cmd.decision.Masks) > 0 && !r.isDescribed(po) {
		if err := r.describePortal(po, name, true); err != nil {
			return err
		}
	}
	problem, err := r.countExecute(ctx, cmd)
	switch {
	case err != nil:
		return err
	case problem != "":
		return r.refuseCount(ctx, 'E', cmd, problem)
	}
	if dn, err := r.turn(ctx, replyExecute, cmd); err != nil || dn != nil {
		return r.denyUnless(ctx, 'E', dn, err)
	}
	e := &expectation{kind: replyExecute, cmd: cmd, portal: po}
	po.begun = true
	r.ran = r.ran || len(cmd.statements) != 1 || cmd.statements[0].Transaction != "begin"
	r.effects(e, cmd.statements, po)
	r.mayCopy(e, cmd.statements)
	return r.forward(e, 'E', body)
}

// commandOf returns what Execute of a portal runs, decided over.
func (r *relay) commandOf(ctx context.Context, po *portal, name string) (*command, *denial, error) {
	var cmd command
	switch {
	case po == nil:
		cmd.statements = []sql.Statement{opaque("Execute "+quoteName(name), "No portal of this name is known to the gateway.")}
	case po.declare != nil:
		cmd.text = "FETCH ALL FROM " + quoteName(name)
	case len(po.cmd.statements) == 0:
		return po.cmd, nil, nil
	default:
		same, moved, err := r.asDecided(ctx, po)
		if err != nil || same && !moved && r.s.Current(po.cmd.decision) {
			return po.cmd, nil, err
		}
		cmd = command{statements: po.cmd.statements, text: po.cmd.text, params: po.cmd.params}
		if moved {
			cmd.statements = []sql.Statement{opaque(po.cmd.text, "It reads names as the session has them when it runs, and search_path or a name has changed since it was bound. Bind it again.")}
		}
	}
	if err := r.settle(ctx); err != nil {
		return nil, nil, err
	}
	known := cmd.statements
	var err error
	cmd.read = func() []sql.Statement {
		if known != nil {
			return r.asOfNow(known)
		}
		return r.o.analyzer.Analyze(cmd.text, r.env).Statements
	}
	cmd.statements, cmd.env, err = r.analyse(ctx, cmd.read)
	if err != nil {
		return nil, nil, err
	}
	if isLate(cmd.statements) && po != nil && po.declare == nil {
		cmd.read = po.cmd.read
	}
	dn, err := r.decide(ctx, &cmd, "it was bound before, and is asked about again")
	if err != nil || dn != nil {
		return nil, dn, err
	}
	if po != nil && po.declare == nil {
		r.p.mu.Lock()
		po.cmd, po.meanings, po.decided = &cmd, r.p.meanings, r.o.now()
		r.p.mu.Unlock()
	}
	return &cmd, nil, nil
}

// asDecided says whether the session's state is the same as when a portal was
// decided over, where that counts: an approval is for the state that was shown, and lasts
// no longer than people may take over it until it is begun to be used; and functions read
// names by the state of now. moved says that such a function may read
// others.
func (r *relay) asDecided(ctx context.Context, po *portal) (same, moved bool, err error) {
	late, review := isLate(po.cmd.statements), po.cmd.decision.Review
	if review == nil && !late {
		return true, false, nil
	}
	expired := review != nil && !po.begun && r.o.now().Sub(po.decided) > review.Timeout
	if err := r.settle(ctx); err != nil {
		return false, false, err
	}
	env, err := r.environment(ctx, false)
	if err != nil {
		return false, false, err
	}
	for i := range po.cmd.statements {
		moved = moved || r.movedSince(po, &po.cmd.statements[i])
	}
	if late && !moved && r.changedSince(po.cmd.others) {
		// What its functions read may be something else by now.
		statements, _, err := r.analyse(ctx, po.cmd.read)
		if err != nil {
			return false, false, err
		}
		moved = !reflect.DeepEqual(statements, po.cmd.statements)
	}
	return !expired && env.SearchPath != nil && po.cmd.statements[0].Command.State == env.State(), moved, nil
}

// isLate says whether any of statements is.
func isLate(statements []sql.Statement) bool {
	return slices.ContainsFunc(statements, func(st sql.Statement) bool { return st.Late })
}

// asOfNow are a portal's statements with the session's state of now. The names in
// them keep the meaning that they were bound with.
func (r *relay) asOfNow(bound []sql.Statement) []sql.Statement {
	statements := slices.Clone(bound)
	for i := range statements {
		statements[i].Command.State = r.env.State()
	}
	return statements
}

// isDescribed says whether the server has told, or will have by the time it
// executes, what the columns of a portal are.
func (r *relay) isDescribed(po *portal) bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return po.fields != nil || po.described && po.segment == r.p.segment
}

// drain waits until the server has answered everything that was sent.
func (r *relay) drain(ctx context.Context) error {
	r.p.mu.Lock()
	open, empty := r.p.open, r.p.empty()
	r.p.mu.Unlock()
	if empty {
		return nil
	}
	if open {
		if err := r.toServer.message('H', nil); err != nil {
			return err
		}
	}
	if err := r.toServer.flush(); err != nil {
		return err
	}
	defer r.stall()()
	return r.p.wait(ctx, r.p.empty)
}

// drained is drain for a message that runs only if all before it went well.
func (r *relay) drained(ctx context.Context) error {
	if err := r.drain(ctx); err != nil {
		return err
	}
	if r.dropped() {
		return errSkipped
	}
	return nil
}

func appendString(dst []byte, s string) []byte { return append(append(dst, s...), 0) }

// quoteName writes a name as SQL does.
func quoteName(name string) string {
	quoted := []byte{'"'}
	for i := range len(name) {
		if name[i] == '"' {
			quoted = append(quoted, '"')
		}
		quoted = append(quoted, name[i])
	}
	return string(append(quoted, '"'))
}
