package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"postern"
	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// relayOptions are what relays need besides their two ends and their session.
// All of them are required. They are shared between the sessions of a Protocol.
type relayOptions struct {
	analyzer *analysis.Analyzer
	catalogs *catalogs
	log      *slog.Logger
	now      func() time.Time
	rand     io.Reader
	buffers  *buffers
	// fingerprint is the query that tells whether a catalog still holds.
	fingerprint string
	// turn is how long a change of names waits for commands of others, and then again
	// for those that it has cancelled.
	turn time.Duration
	// park is how long a side is silent until it is parked.
	park time.Duration
}

// A relay carries one session's messages between a client and its server, from
// the server's first ReadyForQuery on. It implements [canceler].
//
// One goroutine reads from the client, decides and forwards; it alone writes
// to the server. Another reads from the server, masks, records and forwards;
// it alone writes to the client, but for the gateway's own notices. Between them
// stands the pipeline: for every message that went to the server, what it will
// be answered with, in order.
type relay struct {
	client *clientConn
	up     *upstream
	s      *gate.Session
	o      relayOptions

	p        *pipeline
	fromUp   *frameReader
	fromHere *frameReader // from the client
	toServer *outbox
	toClient *outbox
	pid      uint32 // of the client's cancel key; set before start
	reserved string // the name of the gateway's own statements and portals

	// Of the server's side, and of the client's.
	upParking, hereParking parking

	// Of the client's side.
	catalog *catalogEntry
	opened  time.Time // when the session began, or something was approved, to have its catalog looked after
	// confirmed is when it last looked whether the catalog still holds, the zero
	// time if it never did; before confirmAt it needn't again.
	confirmed, confirmAt time.Time
	// alignAt is when the server may next be asked what it searches.
	alignAt time.Time
	roles   []seenRole
	facts   facts
	env     *analysis.Env // of facts; nil: to be made anew
	own     *ownView      // what the open transaction sees, if that was asked
	others  int64         // catalog.moved() as of env
	planned *moves        // as of when the server last threw its plans away; nil: it has none yet
	// temporary is the schema of the session's temporary tables, "" if there is
	// none or it isn't known. It stays the same once there is one.
	temporary string
	// filled is where the session has put text that masks look for, and filledNew
	// says that it put some where there was no table yet.
	filled    map[place]bool
	filledNew bool
	unsure    bool         // a name was asked for that depends on answers under way
	counting  *counting    // of the pipeline that is open
	control   string       // transaction control in it: "begin", or "over" for the end of one
	ran       bool         // something was executed in it besides
	spent     int          // messages of the client that were looked at ahead, and are done
	copying   *expectation // the last one that may ask for COPY data
	copyEnds  int          // how often the client has ended such data
	watching  *watch       // of the decision under way: watched, or nil
	watched   watch
	trying    trial        // of the decision under way
	waiting   gate.Waiting // what can be done during any
	// patience is what decisions wait for people with, until one was withdrawn.
	patience    context.Context
	endPatience context.CancelCauseFunc
	dropping    bool // an error is certain: the server drops all up to the next Sync
	// lastExposed is whether the last single statement exposed anything.
	lastExposed exposure

	// Of the server's side.
	locked bool // toClient.mu is held
	fatal  bool // the server has said its last word
	masked masking
	// exposedTx says that the open transaction has used values of masked columns.
	exposedTx bool
	// lastMasked is how the last result was masked, and lastFields what the last
	// RowDescription said, whose body was lastBody.
	lastMasked maskedAs
	lastFields []field
	lastBody   []byte

	loads    sync.WaitGroup // of the catalog
	left     atomic.Bool    // the client has
	baseline atomic.Pointer[postern.Decision]

	// abandoned says that a transaction of the gateway's own is to be rolled
	// back; guarded by p.mu.
	abandoned bool

	cancels atomic.Int64 // how often the client has asked to cancel what runs

	mu       sync.Mutex // guards what follows
	withdraw context.CancelCauseFunc
}

// newRelay makes a relay. It owns client and up from the moment that start is
// called until conclude has returned; it closes neither of them.
func newRelay(client *clientConn, up *upstream, s *gate.Session, o relayOptions) *relay {
	catalog := o.catalogs.entry(s)
	r := &relay{
		client: client, up: up, s: s, o: o, catalog: catalog, opened: o.now(),
		p:         newPipeline(up.txStatus, up.params, catalog.site.changed),
		upParking: parking{conn: up.conn, after: o.park}, hereParking: parking{conn: client.Conn, after: o.park},
		fromUp:   newFrameReader(up.conn, o.buffers),
		fromHere: newFrameReader(client.Conn, o.buffers),
		toServer: &outbox{conn: up.conn, pool: o.buffers},
		toClient: &outbox{conn: client.Conn, pool: o.buffers, records: client.records},
	}
	if client.records != nil {
		r.fromHere.over(client.Conn, client.records)
	}
	r.p.early = func(names []string) { catalog.site.doubt(r.p, names, false) }
	r.fromUp.unread(up.early)
	s.Testify(r.evidence)
	r.waiting = gate.Waiting{Tell: r.announce, Try: r.try}
	return r
}

// idle says whether nothing is under way, and no transaction is open.
func (r *relay) idle() bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.p.empty() && r.p.status == 'I'
}

// Reasons for which the relay's own context ends.
var (
	errOver      = errors.New("the relay is over")
	errCancelled = errors.New("the client has asked to cancel")
	errSkipped   = errors.New("an earlier message of the pipeline has failed")
)

// lastWordTime is how long the server may take to explain a broken connection,
// or to close it after its client has left.
const lastWordTime = 2 * time.Second

// endOnBug is deferred by each side, which ends with err: a bug there is the end of its
// session, and of no other.
func (r *relay) endOnBug(err *error) {
	if p := recover(); p != nil {
		r.o.log.Error("session broke on a bug", "session", r.s.ID(), "panic", p, "stack", string(debug.Stack()))
		*err = &refusal{code: codeInternal, message: "the gateway met a bug; tell an administrator", hint: "session " + r.s.ID()}
	}
}

// life is a relay's while it runs.
type life struct {
	r           *relay
	ctx         context.Context
	cancel      context.CancelCauseFunc
	stop        func() bool // undoes what is done once ctx ends
	interrupted chan struct{}
	hushed      func()
	served      chan error // what the server's side ended with
}

// over ends what runs beside the relay, and waits for it. It may be called again.
func (l *life) over() {
	l.cancel(errOver)
	if !l.stop() {
		<-l.interrupted
	}
	l.r.loads.Wait()
}

// start does what comes before the client's first message, and has the server's
// side relay. Whoever called it serves the client, and then calls conclude and part.
func (r *relay) start(ctx context.Context) (*life, error) {
	var name [12]byte
	if _, err := io.ReadFull(r.o.rand, name[:]); err != nil {
		return nil, fmt.Errorf("name the gateway's own statement: %w", err)
	}
	r.reserved = "postern_" + hex.EncodeToString(name[:])

	l := &life{r: r, interrupted: make(chan struct{}), served: make(chan error, 1)}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	r.readyToPark(l)
	l.stop = context.AfterFunc(l.ctx, func() {
		defer close(l.interrupted)
		// Whoever reads, or writes to the server, returns now. A message that is
		// on its way to the client may arrive: over TLS, a write that was broken
		// off is the last one, and there is still a goodbye to say.
		past := time.Unix(1, 0)
		r.hereParking.bound(func(client net.Conn) error { return client.SetReadDeadline(past) })
		_ = r.client.SetWriteDeadline(time.Now().Add(partingTime))
		r.upParking.bound(func(server net.Conn) error { return server.SetDeadline(past) })
	})
	l.hushed = r.s.Tell(r.tell)

	r.fromHere.beforeRead = r.toServer.flush
	r.fromUp.gathers = true
	r.fromUp.beforeRead, r.fromUp.afterRead = r.beforeServerRead, r.afterServerRead

	r.catalog.site.join(r)
	// The first command needs it; until then the client may take its time.
	if r.catalog.unread() {
		r.loads.Go(func() { r.catalog.get(l.ctx, r.s, &r.loads, false) })
	}
	go l.serveUpstream()
	return l, nil
}

// serveUpstream is the server's side, until it ends or is parked.
func (l *life) serveUpstream() {
	r := l.r
	err := r.serveUpstream()
	for errors.Is(err, errParked) {
		r.restUp()
		if r.upParking.park() {
			return
		}
		err = r.serveUpstream()
	}
	r.p.stop(errors.Join(errInterrupted, err))
	if err != nil || !r.left.Load() {
		l.cancel(errOver)
	}
	l.served <- err
}

// conclude ends both sides, of which the client's has ended with an error or nil. The
// error wraps [errClientGone] or [errUpstreamGone], or is a *[refusal] with a last word
// for the client. It is nil when the client left in an orderly manner, and when the server
// has told it why it ends.
func (r *relay) conclude(l *life, clientErr error) error {
	defer l.over()
	switch {
	case r.left.Load():
		// The session lasts as long as its last command does.
		r.leave()
	case errors.Is(clientErr, errUpstreamGone):
		r.boundLastWord()
	default:
		l.cancel(errOver)
	}
	serverErr := <-l.served
	l.cancel(errOver) // a client that takes nothing doesn't hold up whoever tells it something
	l.hushed()
	r.client.midMessage = r.toClient.inside
	r.fromHere.release()
	if below := r.fromHere.below; below != nil {
		below.release()
	}
	return r.verdict(clientErr, serverErr)
}

// part tells the others of the site that what this session has changed is as it will be:
// its server has stopped, or can't be stopped. Nobody needs to wait for its commands any more.
func (r *relay) part() {
	r.catalog.site.quit(r)
	r.p.part()
}

// verdict says with which error the relay ends: that of the side that broke,
// not of the one that was interrupted for it.
func (r *relay) verdict(clientErr, serverErr error) error {
	var said *refusal
	var ended *gate.EndedError
	switch {
	case errors.As(clientErr, &said), errors.As(clientErr, &ended):
		return clientErr
	case errors.As(serverErr, &said), errors.As(serverErr, &ended):
		return serverErr
	case r.fatal:
		return nil
	case r.left.Load():
		return clientErr
	case serverErr != nil && !errors.Is(serverErr, errInterrupted):
		return serverErr
	case errors.Is(clientErr, errInterrupted):
		return nil
	}
	return clientErr
}

var errInterrupted = errors.New("interrupted")

// broken words an error of reading or writing: as interrupted when it was a
// deadline, which only the end of the relay sets.
func broken(side, err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errInterrupted
	}
	return fmt.Errorf("%w: %w", side, err)
}

// leave tells the server that no more will come. It finishes what it is at, as
// it does for a client of its own.
func (r *relay) leave() {
	if err := r.toServer.flush(); err != nil {
		return
	}
	if half, ok := r.up.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if r.quiet() {
		r.boundLastWord()
	}
}

// boundLastWord bounds the wait for what the server still says.
func (r *relay) boundLastWord() {
	at := r.o.now().Add(lastWordTime)
	r.upParking.bound(func(server net.Conn) error { return server.SetReadDeadline(at) })
}

// cancel implements [canceler].
func (r *relay) cancel(ctx context.Context) error {
	r.mu.Lock()
	withdraw := r.withdraw
	if withdraw == nil {
		r.cancels.Add(1)
	}
	r.mu.Unlock()
	if withdraw != nil {
		withdraw(errCancelled)
		return nil
	}
	return r.up.cancel(ctx)
}

// masks is what binds the identity where no command says it. It may be called
// from both sides.
func (r *relay) masks() postern.Decision {
	old := r.baseline.Load()
	if old != nil && r.s.Current(*old) {
		return *old
	}
	d := r.s.Preview(postern.Command{Protocol: Name, Verb: "show", Verbs: []string{"show"}, Access: postern.Control})
	if old != nil && d.Verdict == postern.Deny && len(d.Masks) == 0 {
		// Nothing is open to this identity any more, and masks are no right to lose.
		d.Masks = old.Masks
	}
	r.baseline.Store(&d)
	return d
}
