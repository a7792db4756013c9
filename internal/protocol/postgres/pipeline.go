package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// reply is what a message that went to the server will be answered with.
type reply uint8

const (
	replyQuery    reply = iota + 1 // the results of a text, ReadyForQuery
	replyParse                     // ParseComplete
	replyBind                      // BindComplete
	replyClose                     // CloseComplete
	replyDescribe                  // of a statement: ParameterDescription, then as of a portal
	replyPortal                    // of a portal: RowDescription or NoData
	replyExecute                   // rows, then CommandComplete, PortalSuspended or EmptyQueryResponse
	replySync                      // ReadyForQuery
	replyCall                      // FunctionCallResponse, ReadyForQuery
	replyMarker                    // the error of the text that can't parse
)

// ends says whether the answer ends with ReadyForQuery.
func (k reply) ends() bool { return k == replyQuery || k == replySync || k == replyCall }

// expectation is one message on its way to the server, or there and not yet
// wholly answered. The client's side makes it; from push on it belongs to the
// server's side, but for what p.mu guards.
type expectation struct {
	kind reply
	// own says that the gateway sent the message: its answer isn't the client's.
	own bool
	// shown says of an own message that its error is the client's all the same.
	shown bool
	// results takes the answer to an own query, and fails is of the query whose
	// Parse or Bind it is.
	results, fails *results

	cmd       *command   // Query, Execute, FunctionCall; what is marked
	names     bool       // Parse, Bind, Close: it changes what name stands for
	name      string     // Parse, Bind, Close
	statement *statement // Parse, Describe
	portal    *portal    // Bind, Describe, Execute
	closes    byte       // Close: 'S' or 'P'
	denial    *denial    // marker: what its error is turned into

	// shelf keeps the answer from the client until it may be seen.
	shelf *shelf
	// counting counts the rows of a Query: its ReadyForQuery isn't the client's.
	counting *counting

	gaveWay bool // guarded by p.mu: it was cancelled for another session's sake

	segment  uint64 // how many Syncs went before it
	stateful bool   // how later names are understood depends on its answer
	settings bool   // it may change settings
	touches  bool   // it may change what the catalog says
	ends     bool   // it may end a transaction
	failed   bool   // it has been answered with an error

	copyIns int  // guarded by p.mu: how often the server asked for data
	done    bool // guarded by p.mu: answered, or dropped
}

// command is what was decided, and the results that come of it.
type command struct {
	decision   postern.Decision
	statements []sql.Statement
	env        *analysis.Env // that it was analysed with
	text       string
	params     []postern.Param
	exposes    bool // what the server says of it may quote values of masked columns
	// read says again what it would do, as of the relay's environment of then.
	read func() []sql.Statement
	// others is how often names had got another meaning in the database by then.
	others int64

	// What follows belongs to the server's side.
	index  int // of the statement that runs
	result *result
	bytes  int64 // that COPY took in; guarded by p.mu
}

// commands are what was decided over.
func (c *command) commands() []postern.Command {
	cmds := make([]postern.Command, len(c.statements))
	for i := range c.statements {
		cmds[i] = c.statements[i].Command
		cmds[i].Params = c.params
	}
	return cmds
}

// statement returns the one that runs, or nil.
func (c *command) statement() *sql.Statement {
	if c == nil || c.index >= len(c.statements) {
		return nil
	}
	return &c.statements[c.index]
}

// statement is a prepared statement.
type statement struct {
	text     string
	types    []byte // of the parameters, as in Parse
	encoding string // the settings that its text was read under
	scs      bool
	sql      bool // made by PREPARE: what runs is the inner statement of text
	tainted  bool // what the server keeps under its name may be another one
}

// portal is a bound statement, or a cursor that DECLARE made.
type portal struct {
	cmd     *command
	declare *statement     // of a cursor
	inner   *sql.Statement // of a cursor: what it runs, as of its declaration
	// meanings are p.meanings as of when it was decided over; others, of a cursor,
	// is its command's.
	meanings int
	others   int64
	// decided is when it was, and begun that it has been executed; of the client's side.
	decided time.Time
	begun   bool
	// described says that a Describe of it was sent in segment, and came
	// through if the segment is over.
	described bool
	segment   uint64
	// fields are what the server said of its columns; nil before it did.
	fields []field
}

// names is a namespace of the session: what each name stands for, as far as
// the server has confirmed it. The zero value has none.
type names[T any] struct {
	known  map[string]T
	flight map[string]int // messages under way that change the name
}

const maxNames = 16 << 10

func (n *names[T]) set(name string, v T) {
	if n.known == nil {
		n.known = make(map[string]T)
	}
	if _, ok := n.known[name]; !ok && len(n.known) >= maxNames {
		// A forgotten name is an unknown statement: refused where anything is.
		for old := range n.known {
			delete(n.known, old)
			break
		}
	}
	n.known[name] = v
}

func (n *names[T]) sent(name string) {
	if n.flight == nil {
		n.flight = make(map[string]int)
	}
	n.flight[name]++
}

func (n *names[T]) arrived(name string) {
	if n.flight[name]--; n.flight[name] <= 0 {
		delete(n.flight, name)
	}
}

// pipeline is what the two sides of a relay share: what the server still owes,
// and what the session has come to.
type pipeline struct {
	mu    sync.Mutex // guards what follows
	queue []*expectation
	head  int // of queue
	// segment counts the Syncs that were sent; open says that messages which a
	// Sync is to end have been sent since.
	segment uint64
	open    bool
	// skipping says that the server drops everything up to the next Sync.
	skipping bool
	status   byte // of the last ReadyForQuery
	broken   error

	statements names[*statement]
	portals    names[*portal]
	stateful   int // messages under way that are

	// unsettled says that settings may differ from what is known; touched,
	// that they may have been changed in the transaction that is open, or will
	// be by one of the setters, the messages under way that may.
	unsettled bool
	touched   bool
	setters   int
	reported  reported
	// renamed are the names that this session may have given another meaning
	// and not committed yet; see [analysis.Env]. renamers counts the messages
	// under way that may, and renamedTx says that some were answered.
	renamed   []string
	spread    []string // of them those that others may see
	renamers  int
	renamedTx bool
	endedTx   bool // a transaction may have ended since the last ReadyForQuery
	// putOff is what the open transaction may do as it ends.
	putOff []putOff
	// renames changes whenever what the open transaction makes of names may have,
	// meanings when the session has given a name another meaning, and moves when it
	// has, or may have got an old one back.
	renames  int
	meanings int
	moves    int
	// commit takes them when all others see them, too. early takes them as soon as that
	// may be, and none once it is known whether it was; doubting, that it has some.
	commit   func(names []string)
	told     int64 // how often it has
	early    func(names []string)
	doubting bool
	// deciding says that a message is looked at, from before it is asked what names mean
	// until it is sent; turning, that it has taken its turn.
	deciding, turning bool
	// mayStall says that what is found out will be held against what others do meanwhile.
	mayStall bool
	// stalled is how things stood when the message first waited with what it had found
	// out; nil: it hasn't. It is the client's side's alone.
	stalled *standing
	// giving counts the others for whose sake the server is being asked to cancel.
	giving int

	// front is what the server answers now, for the server's side alone, which
	// is also who removes it: nil when it has to be looked up.
	front *expectation

	changed chan struct{} // closed when something that a waiter looks at has changed; nil: nobody waits
}

// reported are the settings by which texts are read, as the server reported them last.
type reported struct {
	encoding string
	scs      bool // standard_conforming_strings
}

// note takes one setting, whichever it is.
func (s *reported) note(name, value string) {
	switch name {
	case "client_encoding":
		s.encoding = value
	case "standard_conforming_strings":
		s.scs = value == "on"
	}
}

// newPipeline makes one for a session that has just begun, with what the server has
// reported of its settings.
func newPipeline(status byte, settings map[string]string, commit func(names []string)) *pipeline {
	p := &pipeline{status: status, unsettled: true, commit: commit}
	for name, value := range settings {
		p.reported.note(name, value)
	}
	return p
}

// maxFlight bounds the messages under way, each of which holds what it was decided
// by. Half of it is more than the server answers without a Sync before it sends
// what it has: 8 KiB, of which an answer takes five bytes at least. So waiting
// until there is room always ends, if only the client reads.
const maxFlight = 8 << 10

// crowded says whether they are that many.
func (p *pipeline) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)-p.head >= maxFlight
}

// thinned says whether there is room for many again. The caller holds p.mu.
func (p *pipeline) thinned() bool { return len(p.queue)-p.head < maxFlight/2 }

// push adds what a message will be answered with, before it is sent. It
// returns false when the server would drop the message.
func (p *pipeline) push(e *expectation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.skipping && e.kind != replySync {
		e.done = true
		return false
	}
	e.segment = p.segment
	switch e.kind {
	case replySync:
		p.skipping, p.open = false, false
		p.segment++
	case replyQuery, replyCall:
	default:
		p.open = true
	}
	p.track(e, 1)
	if p.head > 0 && len(p.queue) == cap(p.queue) {
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, e)
	return true
}

// track counts what e may change while it is under way.
func (p *pipeline) track(e *expectation, by int) {
	if e.stateful {
		p.stateful += by
	}
	if e.settings {
		p.setters += by
	}
	if e.touches {
		p.renamers += by
		p.renamedTx = p.renamedTx || by < 0
	}
	p.endedTx = p.endedTx || e.ends && by < 0
	if !e.names {
		return
	}
	switch {
	case e.kind == replyParse || e.kind == replyClose && e.closes == 'S':
		if by > 0 {
			p.statements.sent(e.name)
		} else {
			p.statements.arrived(e.name)
		}
	case e.kind == replyBind || e.kind == replyClose:
		if by > 0 {
			p.portals.sent(e.name)
		} else {
			p.portals.arrived(e.name)
		}
	}
}

// first returns what the server answers now, or nil. Only the server's side
// asks: once for each answer, not for each of its rows.
func (p *pipeline) first() *expectation {
	if p.front != nil {
		return p.front
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head < len(p.queue) {
		p.front = p.queue[p.head]
	}
	return p.front
}

// pop ends e, the first.
func (p *pipeline) pop(e *expectation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove()
	if !e.failed {
		p.settle(e)
	}
	p.wake()
}

func (p *pipeline) remove() {
	e := p.queue[p.head]
	p.queue[p.head], p.front = nil, nil
	p.head++
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
	e.done = true
	p.track(e, -1)
}

// settle makes what a message did to names known.
func (p *pipeline) settle(e *expectation) {
	if !e.names {
		return
	}
	switch e.kind {
	case replyParse:
		p.statements.set(e.name, e.statement)
	case replyBind:
		p.portals.set(e.name, e.portal)
	case replyClose:
		if e.closes == 'S' {
			delete(p.statements.known, e.name)
		} else {
			delete(p.portals.known, e.name)
		}
	}
}

// fail ends e, the first, with an error of the extended protocol: the server
// drops everything up to the next Sync, and what was expected of it with it.
func (p *pipeline) fail(e *expectation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.failed = true
	p.failed()
	p.remove()
	p.skipping = true
	for p.head < len(p.queue) {
		if p.queue[p.head].kind == replySync {
			p.skipping = false
			break
		}
		if r := p.queue[p.head].results; r != nil {
			r.fail(errSkipped)
		}
		p.remove()
	}
	p.wake()
}

// failed notes that the server has undone something.
func (p *pipeline) failed() {
	if p.touched {
		p.unsettled = true
	}
}

// ready ends e, the first, with a ReadyForQuery.
func (p *pipeline) ready(e *expectation, status byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove()
	// With one transaction committed, the next one may be open already.
	ended := status == 'I' || p.status == 'I' || p.endedTx
	p.status, p.endedTx = status, false
	defer p.resolve()
	if ended && p.renamedTx {
		p.tellOthers()
	}
	if status == 'I' {
		if p.empty() {
			p.putOff = nil
		}
		p.renames++
		if p.touched {
			p.unsettled, p.touched = true, p.setters > 0
		}
		if p.renamedTx {
			p.renamedTx = false
			if p.renamers == 0 {
				p.renamed, p.spread = nil, nil
			}
		}
		// No bound portal outlives its transaction; a cursor may.
		for name, po := range p.portals.known {
			if po == nil || po.declare == nil {
				delete(p.portals.known, name)
			}
		}
	}
	p.wake()
}

// resolve ends doubt once nothing is under way, or about to be. The caller holds p.mu.
func (p *pipeline) resolve() {
	if p.doubting && p.empty() && !p.open && !p.turning {
		p.doubting = false
		p.early(nil)
	}
}

// tellOthers has them know of what this session has changed. The caller holds p.mu.
func (p *pipeline) tellOthers() {
	p.told++
	p.commit(p.renamed)
}

// part notes that nothing more will be known of what this session has changed.
func (p *pipeline) part() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.renamed) > 0 {
		p.tellOthers()
		p.renamed = nil
	}
	if p.doubting {
		p.doubting = false
		p.early(nil)
	}
	p.wake()
}

// wake tells whoever waits to look again.
func (p *pipeline) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// wait returns when what holds, which is called with p.mu held; or with the
// error that ended the server's side, or when ctx ends.
func (p *pipeline) wait(ctx context.Context, what func() bool) error {
	for {
		p.mu.Lock()
		if p.broken != nil {
			p.mu.Unlock()
			return p.broken
		}
		if what() {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stop ends every wait, now and later.
func (p *pipeline) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
	p.wake()
}

// empty says whether the server owes nothing. The caller holds p.mu.
func (p *pipeline) empty() bool { return p.head == len(p.queue) }

// owed is how many ends of commands (ReadyForQuery) the server owes; at least
// one where it owes anything.
func (p *pipeline) owed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.empty() {
		return 0
	}
	ends := 0
	for _, e := range p.queue[p.head:] {
		if e.kind.ends() {
			ends++
		}
	}
	return max(ends, 1)
}

// lookupStatement finds a prepared statement as the server will find it when
// it reads the next message. sure is false when that depends on answers that
// are still under way.
func (p *pipeline) lookupStatement(name string) (st *statement, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.statements.flight[name] > 0 {
		for i := len(p.queue) - 1; i >= p.head; i-- {
			e := p.queue[i]
			if !e.names || e.name != name || e.kind != replyParse && (e.kind != replyClose || e.closes != 'S') {
				continue
			}
			// Within its segment, what follows it runs only if it went well.
			return e.statement, e.segment == p.segment
		}
	}
	return p.statements.known[name], true
}

// lookupPortal does the same for portals.
func (p *pipeline) lookupPortal(name string) (po *portal, sure bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.portals.flight[name] > 0 {
		for i := len(p.queue) - 1; i >= p.head; i-- {
			e := p.queue[i]
			if !e.names || e.name != name || e.kind != replyBind && (e.kind != replyClose || e.closes != 'P') {
				continue
			}
			return e.portal, e.segment == p.segment
		}
	}
	return p.portals.known[name], true
}

// completed notes that a statement has run, and what it did to names.
func (p *pipeline) completed(cmd *command, st *sql.Statement) {
	if st.Prepares == "" && st.Declares == "" && st.Forgets == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	made := &statement{
		text: st.Command.Text, encoding: cmd.env.Encoding, scs: cmd.env.StandardConformingStrings, sql: true,
		tainted: cmd.unsettledAfter(st),
	}
	if st.Prepares != "" {
		p.statements.set(st.Prepares, made)
	}
	if st.Declares != "" {
		p.portals.set(st.Declares, &portal{declare: made, inner: st.Inner, meanings: p.meanings, others: cmd.others})
	}
	if st.Forgets == "" {
		return
	}
	if st.Command.Verb == "deallocate" || st.Command.Verb == "discard" {
		forget(&p.statements, st.Forgets, func(*statement) bool { return true })
	}
	if st.Command.Verb != "deallocate" {
		forget(&p.portals, st.Forgets, func(*portal) bool { return true })
	}
}

// unsettledAfter says whether a later statement of the same text may change
// what st made.
func (c *command) unsettledAfter(st *sql.Statement) bool {
	after := false
	for i := range c.statements {
		if after && c.statements[i].Unsettles {
			return true
		}
		after = after || &c.statements[i] == st
	}
	return false
}

// forget removes a name, or with "*" all that are of the given sort and have
// a name.
func forget[T any](n *names[T], name string, of func(T) bool) {
	if name != "*" {
		delete(n.known, name)
		return
	}
	for known, v := range n.known {
		if known != "" && of(v) {
			delete(n.known, known)
		}
	}
}

// taint notes that what runs next may give names another meaning: that of
// cursors is forgotten, and statements are prepared again before their next
// use. The portal that runs keeps its meaning, and so do the unnamed ones,
// which no statement can reach.
func (p *pipeline) taint(running *portal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, st := range p.statements.known {
		if name != "" {
			p.statements.known[name] = st.asTainted()
		}
	}
	forget(&p.portals, "*", func(po *portal) bool { return po != running })
	for _, e := range p.queue[p.head:] {
		if !e.names || e.name == "" {
			continue
		}
		switch e.kind {
		case replyParse:
			e.statement = e.statement.asTainted()
		case replyBind:
			if e.portal != running {
				e.portal = nil
			}
		}
	}
}

func (s *statement) asTainted() *statement {
	if s == nil || s.tainted {
		return s
	}
	t := *s
	t.tainted = true
	return &t
}

// protocolError says that the server answered what nobody asked.
func protocolError(typ byte, e *expectation) error {
	kind := reply(0)
	if e != nil {
		kind = e.kind
	}
	return fmt.Errorf("upstream sent a message of type %q where it can't be (%d)", typ, kind)
}
