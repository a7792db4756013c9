package postgres

import (
	"net"

	"postern"
)

// maxShelf bounds the answer to a command that is held, in bytes.
const maxShelf = 1 << 20

// shelf keeps the answer to a command that has run and isn't committed yet: what it
// says isn't the client's before somebody has approved it. It belongs to the server's
// side until the answer is over, and then to the client's.
type shelf struct {
	out    outbox
	bytes  []byte
	over   bool // there was more than it holds
	failed serverError
	ended  *postern.Event // how the command ended, to be recorded once it has
}

func newShelf(pool *buffers) *shelf {
	s := &shelf{}
	s.out.conn, s.out.pool = shelved{shelf: s}, pool
	return s
}

// fail keeps the server's error.
func (s *shelf) fail(e serverError) { s.failed = e }

func (s *shelf) hasFailed() bool { return s.failed != nil }

// shelved is a shelf as an outbox writes to it.
type shelved struct {
	net.Conn
	shelf *shelf
}

// Write implements [net.Conn].
func (s shelved) Write(p []byte) (int, error) {
	if s.shelf.over || len(s.shelf.bytes)+len(p) > maxShelf {
		s.shelf.over, s.shelf.bytes = true, nil
		return len(p), nil
	}
	s.shelf.bytes = append(s.shelf.bytes, p...)
	return len(p), nil
}

// hand gives the client what was kept.
func (r *relay) hand(s *shelf) error {
	r.toClient.mu.Lock()
	defer r.toClient.mu.Unlock()
	if r.toClient.inside {
		return errClientGone // the relay is over: nobody ends that message any more
	}
	for rest := s.bytes; len(rest) > 0; {
		n := min(len(rest), fullBuffer/2)
		if err := r.toClient.piece(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return r.toClient.flush()
}
