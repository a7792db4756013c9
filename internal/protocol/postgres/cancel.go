package postgres

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate"
)

// canceler is who acts on a client's cancel request: the session's relay. It
// stops what the client waits for: a review that is pending, or else the
// query that runs upstream, through [upstream.cancel]. It returns soon after
// ctx ends, and may be called from any goroutine, several at once.
type canceler interface {
	cancel(ctx context.Context) error
}

// cancelKey is what a client must show to have a query of its session
// cancelled. The gateway mints it; the server's own key stays here.
//
// The process id is 31 bits, as clients take it for a signed number: the upper
// 7 name the gateway that minted it (0 while there is one), the lower 24 are
// random. A gateway that is shown another one's key can tell whom to pass it to.
type cancelKey struct {
	pid    uint32
	secret []byte // 4 bytes in protocol 3.0, 32 from 3.2 on
}

const (
	cancelNodeShift = 24
	cancelTimeout   = 10 * time.Second
	// cancelAnswer is when every cancel request's connection is closed, so
	// that the time says nothing about the key. Clients wait for it: what is
	// cancelled by then can't hit their next query.
	cancelAnswer = 250 * time.Millisecond
	// maxCancelSecret is the longest that the protocol allows.
	maxCancelSecret = 256
)

// parseCancel decodes the body of a CancelRequest.
func parseCancel(body []byte) (*cancelKey, error) {
	if n := len(body) - 8; n < 4 || n > maxCancelSecret {
		return nil, &silentError{errors.New("malformed cancel request")}
	}
	return &cancelKey{pid: binary.BigEndian.Uint32(body[4:]), secret: body[8:]}, nil
}

// keyring holds the cancel keys of the live sessions.
type keyring struct {
	rand io.Reader
	node uint32

	mu      sync.Mutex // guards what follows
	holders map[uint32]*keyHolder
}

type keyHolder struct {
	secret   []byte
	session  *gate.Session
	target   canceler
	released context.Context // ends when the key is no longer good
	inflight sync.WaitGroup
}

func newKeyring(random io.Reader) *keyring {
	return &keyring{rand: random, holders: make(map[uint32]*keyHolder)}
}

// issue mints a key with which target is reached until release is called.
// release breaks off the cancel requests that are under way, and waits for them.
func (k *keyring) issue(minor uint32, s *gate.Session, target canceler) (key cancelKey, release func(), err error) {
	released, end := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			end()
		}
	}()
	h := &keyHolder{secret: make([]byte, 4), session: s, target: target, released: released}
	if minor >= 2 {
		h.secret = make([]byte, 32)
	}
	if _, err := io.ReadFull(k.rand, h.secret); err != nil {
		return cancelKey{}, nil, fmt.Errorf("mint a cancel key: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		var b [4]byte
		if _, err := io.ReadFull(k.rand, b[1:]); err != nil {
			return cancelKey{}, nil, fmt.Errorf("mint a cancel key: %w", err)
		}
		pid := k.node<<cancelNodeShift | binary.BigEndian.Uint32(b[:])
		if _, taken := k.holders[pid]; taken || pid == 0 {
			continue
		}
		k.holders[pid] = h
		release := func() {
			k.mu.Lock()
			delete(k.holders, pid)
			k.mu.Unlock()
			end()
			h.inflight.Wait()
		}
		return cancelKey{pid: pid, secret: h.secret}, release, nil
	}
}

// find returns the holder of key, to be let go with inflight.Done, or nil.
func (k *keyring) find(key *cancelKey) *keyHolder {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.holders[key.pid]
	if h == nil {
		return nil
	}
	if subtle.ConstantTimeCompare(h.secret, key.secret) != 1 {
		return nil
	}
	h.inflight.Add(1)
	return h
}

// serveCancel acts on a cancel request and closes conn. There is never an
// answer, and never a difference in time.
func (p *Protocol) serveCancel(ctx context.Context, conn net.Conn, key *cancelKey) error {
	timer := time.NewTimer(cancelAnswer)
	defer timer.Stop()
	acted := make(chan error, 1)
	go func() { acted <- p.cancelHolder(ctx, conn, key) }()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	closing := conn.Close()
	if err := <-acted; err != nil {
		return fmt.Errorf("cancel a query: %w", err)
	}
	return closing
}

func (p *Protocol) cancelHolder(ctx context.Context, conn net.Conn, key *cancelKey) error {
	h := p.keys.find(key)
	if h == nil {
		return nil
	}
	defer h.inflight.Done()
	ctx, cancel := context.WithTimeout(ctx, cancelTimeout)
	defer cancel()
	stop := context.AfterFunc(h.released, cancel)
	defer stop()
	err := h.session.Record(postern.Event{Kind: postern.EventNotice, Text: "cancel request from " + source(conn).Addr().String()})
	if err != nil {
		return err
	}
	return h.target.cancel(ctx)
}

// backendKeyData is the key as it is told to its client.
func (key cancelKey) backendKeyData() *pgproto3.BackendKeyData {
	return &pgproto3.BackendKeyData{ProcessID: key.pid, SecretKey: key.secret}
}

// cancel asks the server, over a connection of its own, to stop what runs on
// this one. It waits until the server has taken the request, or ctx ends. It
// may be called from any goroutine.
func (u *upstream) cancel(ctx context.Context) error {
	conn, err := u.session.Dial(ctx, u.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	defer interrupt(ctx, conn)()
	if u.tls != nil {
		if conn, err = u.secure(ctx, conn); err != nil {
			return fmt.Errorf("cancel at %s: %w", u.session.Resource().Name, err)
		}
	}
	packet := binary.BigEndian.AppendUint32(nil, uint32(12+len(u.secret)))
	packet = binary.BigEndian.AppendUint32(packet, cancelRequestCode)
	packet = binary.BigEndian.AppendUint32(packet, u.pid)
	if _, err := conn.Write(append(packet, u.secret...)); err != nil {
		return fmt.Errorf("cancel at %s: %w", u.session.Resource().Name, err)
	}
	// The server closes when it has signalled the backend.
	_, _ = io.CopyN(io.Discard, conn, 1)
	return nil
}

const (
	// cancelAgain is how long a server may take to end what was cancelled before it
	// is asked again: a request that overtakes its query on the way is lost.
	cancelAgain = 150 * time.Millisecond
	// overtakenAgain is the same where the server has said that nothing ran.
	overtakenAgain = 10 * time.Millisecond
	// resetAgain is how long after a reset the second cancel request comes.
	resetAgain = 50 * time.Millisecond
)

// errRunsOn: a server didn't end a command that was cancelled.
var errRunsOn = errors.New("the server didn't end the command in time")

// stop sees to it that nothing runs on upstream, and returns once that is
// certain, or when ctx ends: nothing ran; or the server has answered the command
// that did, by its error or what it had left; or it has closed the connection,
// which it does when it has come back from whatever it was at. Nobody else reads
// from or writes to conn any more.
func (u *upstream) stop(ctx context.Context, together *mass) error {
	raw := bare(u.conn)
	if deadline, ok := ctx.Deadline(); ok {
		if err := u.conn.SetDeadline(deadline); err != nil {
			return nil //nolint:nilerr // the connection is gone already
		}
	}
	switch {
	case u.owed == 0:
		closeWrite(raw)
		return nil
	case u.owed > 1:
		return u.reset(ctx, raw, together)
	}
	ended := make(chan error, 1)
	go func() { ended <- u.awaitEnd() }()
	for {
		again, err := together.cancel(ctx, u)
		if again < cancelAgain {
			// It may never have had the whole command.
			closeWrite(raw)
		}
		late := time.NewTimer(again)
		select {
		case err := <-ended:
			late.Stop()
			return err
		case <-late.C:
			// After a cancel request: a pooler forgets the key of a client that has left.
			closeWrite(raw)
		case <-ctx.Done():
			late.Stop()
			_ = raw.Close()
			return errors.Join(<-ended, err)
		}
	}
}

// awaitEnd reads and drops what the server still says, until the end of the
// command that it is at, or of the connection. An error says that neither came.
func (u *upstream) awaitEnd() error {
	f := u.unread
	f.beforeRead, f.afterRead = func() error { return nil }, func() {}
	for {
		var typ byte
		err := f.skip()
		if err == nil {
			typ, _, err = f.next()
		}
		var frame *frameError
		if errors.As(err, &frame) {
			_, err = io.Copy(io.Discard, f.src) // its end is all that can be made out
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
			return errRunsOn
		case err != nil, frame != nil, typ == 'Z':
			return nil //nolint:nilerr // the connection has ended, and what ran there with it
		}
	}
}

// closeWrite tells the server that no more will come.
func closeWrite(raw net.Conn) {
	if half, ok := raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails only when all is over
	}
}

// reset stops a pipeline: what stands behind the running command would run when
// that is cancelled. With its connection reset first, the server can't answer
// the cancelled one, and ends the backend for it.
func (u *upstream) reset(ctx context.Context, raw net.Conn, together *mass) error {
	if tcp, ok := raw.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
	err := together.request(ctx, u)
	again := time.NewTimer(resetAgain)
	defer again.Stop()
	select {
	case <-again.C:
		// For a command that was on its way when the first request came.
		err = errors.Join(err, together.request(ctx, u))
	case <-ctx.Done():
	}
	return err
}

// secure asks the server for TLS and starts it, with the session's own terms.
func (u *upstream) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	request := binary.BigEndian.AppendUint32(nil, 8)
	if _, err := conn.Write(binary.BigEndian.AppendUint32(request, sslRequestCode)); err != nil {
		return nil, err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errors.New("the server refused TLS")
	}
	secured := tls.Client(conn, u.tls)
	return secured, secured.HandshakeContext(ctx)
}

// interrupt makes reading from and writing to conn fail once ctx ends. undo
// stops that, and waits if it is happening; conn's deadlines are then as they are.
func interrupt(ctx context.Context, conn net.Conn) (undo func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(time.Unix(1, 0)) // fails only on a closed connection
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}
