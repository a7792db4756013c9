package postgres

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"postern/internal/socket"
)

// parkAfter is how long nothing happens on one side of a session until it is parked: no
// goroutine waits for it. Whoever works more often pays nothing for that.
const parkAfter = time.Second

// errParked is what a side ends with to be parked.
var errParked = errors.New("this side is parked")

// parking is how one side of a session waits for its peer. Reading has a deadline, so that
// the goroutine sees now and then whether anything has happened since the last time.
type parking struct {
	conn  net.Conn      // whose deadline it is
	raw   syscall.Conn  // the kernel's, which is waited for; nil: it is never parked
	after time.Duration // how long
	wake  func()        // begins to read again

	mu      sync.Mutex // guards what follows
	bounded bool       // the deadline is the session's end
	paused  bool       // the deadline is for whoever reads to stop
	parked  bool       // nobody reads
	reads   int        // how much had been read, as last seen
}

// arm sets the next deadline, and ends a pause.
func (k *parking) arm() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.paused = false
	k.rearm()
}

// rearm is called with mu held.
func (k *parking) rearm() {
	var at time.Time
	switch {
	case k.bounded:
		return
	case k.raw != nil:
		at = time.Now().Add(k.after)
	}
	_ = k.conn.SetReadDeadline(at) // fails only on a closed connection, which reading tells
}

// pause has whoever reads stop, until arm is called.
func (k *parking) pause() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.paused = true
	if !k.bounded {
		_ = k.conn.SetReadDeadline(time.Unix(1, 0)) // as in rearm
	}
}

// bound has reading end at a time, and somebody read until then. set sets the deadline.
func (k *parking) bound(set func(net.Conn) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bounded = true
	_ = set(k.conn) // as in rearm
	if k.parked && socket.Forget(k.raw) {
		k.parked = false
		k.wake()
	}
}

// over says what becomes of a read that ended with err: it fails with what over returns,
// or nil: it is made again. quiet says that the side may be parked, and reads how much
// was read.
func (k *parking) over(err error, quiet bool, reads int) error {
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bounded || k.paused {
		return err
	}
	k.rearm()
	if quiet && reads == k.reads {
		return errParked
	}
	k.reads = reads
	return nil
}

// park lets the goroutine go that has waited. It returns false if that has to go on.
func (k *parking) park() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bounded || k.raw == nil {
		return false
	}
	if socket.Await(k.raw, k.woken) != nil {
		k.raw = nil
		k.rearm()
		return false
	}
	k.parked = true
	return true
}

// woken is called when there is something to read.
func (k *parking) woken() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parked = false
	k.rearm()
	k.wake()
}

// readyToPark prepares both sides for it.
func (r *relay) readyToPark(l *life) {
	r.upParking.wake = func() { go l.serveUpstream() }
	if r.fromUp.wait != nil {
		r.upParking.raw = plainConn(r.fromUp.src)
		r.fromUp.lull = func(err error) error {
			return r.upParking.over(err, r.quiet() && r.fromUp.between(), r.fromUp.reads)
		}
		r.upParking.arm()
	}
	from := r.fromHere
	if from.below != nil {
		from = from.below
	}
	if from.wait == nil || r.hereParking.wake == nil {
		return
	}
	r.hereParking.raw = plainConn(from.src)
	from.lull = func(err error) error { return r.hereParking.over(err, false, from.reads) }
	r.fromHere.atRest = func(err error) error { return r.hereParking.over(err, r.quiet(), from.reads) }
	r.hereParking.arm()
}

// restHere lets go of what the client's side makes anew when it is needed. Above all that
// is a catalog: of sessions that rest, each would keep the one of when it last worked.
func (r *relay) restHere() { r.env = nil }

// restUp is restHere for the server's side.
func (r *relay) restUp() { r.lastMasked, r.lastFields, r.lastBody = maskedAs{}, nil, nil }

// quiet says whether nothing is under way.
func (r *relay) quiet() bool {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	return r.p.empty()
}
