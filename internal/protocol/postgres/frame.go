package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Sizes of what is read, kept and written.
const (
	restBuffer = 512      // of a side that can't be waited for without one
	busyRead   = 4 << 10  // a read after which more is likely
	fullBuffer = 64 << 10 // one read, one write
	maxMessage = 1 << 30  // the server's own bound, body included
	headerSize = 5
)

// How a result is read that streams. The server sends it in pieces of 8 KiB; to be
// woken for each costs several times what passing it on does.
const (
	gatherAfter  = 1 << 20                  // so much has come without a rest
	gatherSize   = 2 * fullBuffer           // what is waited for
	gatherMoment = time.Millisecond         // how long, at most
	gatherAgain  = gatherAfter - gatherSize // what counts as come, where that was in vain
)

// frameError is a message that can't be one.
type frameError struct {
	typ    byte
	length uint32
}

// Error implements error.
func (e *frameError) Error() string {
	return fmt.Sprintf("message of type %q with an impossible length of %d", e.typ, e.length)
}

// frameReader reads messages: a type byte, a length that counts itself, a
// body. It never allocates for a length before that much has arrived.
type frameReader struct {
	src   io.Reader
	wait  *waiter      // of src; nil: it can't be waited for without a buffer
	below *frameReader // what src decrypts, if it is TLS that holds no more than one record
	pool  *buffers     // where buf comes from, unless it grew
	// beforeRead is called whenever a read may have to wait, afterRead when it
	// is over: what was written for the messages so far has to leave first.
	beforeRead func() error
	afterRead  func()
	// lull is asked what becomes of a read from src that ended with an error: it
	// fails with what lull returns, or nil: it is made again. atRest is asked instead
	// where await reads. nil: nobody is asked.
	lull, atRest func(error) error

	buf   []byte // nil while there is nothing unread
	rest  []byte // what buf is while src is waited for with a buffer
	last  int    // how much the last read brought
	reads int    // how many have brought something
	r, w  int    // unread: buf[r:w]
	body  int    // of the message that next returned: bytes not yet taken

	// gathers is for a side that streams: what it sends is waited for together,
	// by gather, which is nil before the first time. A call of rests says when that is over.
	gathers bool
	gather  *gatherer
	flow    int  // how much has come since the last rest
	drained bool // the last read had more room than it filled: what it read from has no more
}

func newFrameReader(src io.Reader, pool *buffers) *frameReader {
	return &frameReader{
		src: src, wait: newWaiter(src), pool: pool,
		beforeRead: func() error { return nil }, afterRead: func() {},
	}
}

// unread puts bytes that were read already before all others.
func (f *frameReader) unread(p []byte) {
	if len(p) > 0 {
		f.buf, f.r, f.w = p, 0, len(p)
	}
}

// over has f, which reads from TLS, wait for the connection below. That is begun with:
// of the last record TLS may have some left.
func (f *frameReader) over(secured io.Reader, records *recordConn) {
	f.unread(records.early(secured))
	records.ahead = newFrameReader(records.Conn, f.pool)
	f.below, f.drained = records.ahead, true
}

// await waits for something to read. A call of next would do that, too: it has more
// on the stack meanwhile, which for most sessions is most of their life.
func (f *frameReader) await() error {
	from := f
	if f.below != nil && f.drained {
		from = f.below
	}
	if f.w > f.r || from.w > from.r || from.wait == nil {
		return nil
	}
	if from != f {
		f.release()
	}
	from.room(1)
	if err := f.beforeRead(); err != nil {
		return err
	}
	n, err := from.wait.read(from)
	for err != nil && f.atRest != nil {
		if err = f.atRest(err); err != nil {
			break
		}
		n, err = from.wait.read(from)
	}
	f.afterRead()
	return from.came(n, err)
}

// next returns the type and the body's size of the next message, whose body
// must have been taken, streamed or skipped before the next call. It returns
// [io.EOF] only between messages.
func (f *frameReader) next() (typ byte, size int, err error) {
	if err := f.need(headerSize); err != nil {
		if errors.Is(err, io.EOF) && f.w > f.r {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	typ = f.buf[f.r]
	length := binary.BigEndian.Uint32(f.buf[f.r+1:])
	if length < 4 || length > maxMessage {
		return typ, 0, &frameError{typ: typ, length: length}
	}
	f.r += headerSize
	f.body = int(length) - 4
	return typ, f.body, nil
}

// between says whether nothing is unread, of a message or between them.
func (f *frameReader) between() bool { return f.r == f.w && f.body == 0 }

// buffered says whether the whole body has arrived.
func (f *frameReader) buffered() bool { return f.w-f.r >= f.body }

// peek returns the type and the body of a message that follows, at a distance from
// what is unread, and the distance of the one after it. It waits until the message is
// there; one larger than most is not looked at (typ is 0). What it returns is valid
// until the next call of any method.
func (f *frameReader) peek(at, most int) (typ byte, body []byte, after int, err error) {
	if err := f.need(at + headerSize); err != nil {
		return 0, nil, 0, err
	}
	typ = f.buf[f.r+at]
	length := binary.BigEndian.Uint32(f.buf[f.r+at+1:])
	if length < 4 || int64(length) > int64(most) {
		return 0, nil, 0, nil
	}
	after = at + 1 + int(length)
	if err := f.need(after); err != nil {
		return 0, nil, 0, err
	}
	return typ, f.buf[f.r+at+headerSize : f.r+after], after, nil
}

// take returns the body. It is valid until the next call of any method.
func (f *frameReader) take() ([]byte, error) {
	if err := f.need(f.body); err != nil {
		return nil, unexpected(err)
	}
	body := f.buf[f.r : f.r+f.body]
	f.r += f.body
	f.body = 0
	return body, nil
}

// stream hands the body over in pieces, which are valid during the call only.
func (f *frameReader) stream(write func([]byte) error) error {
	for f.body > 0 {
		if err := f.need(1); err != nil {
			return unexpected(err)
		}
		n := min(f.body, f.w-f.r)
		piece := f.buf[f.r : f.r+n]
		f.r += n
		f.body -= n
		if err := write(piece); err != nil {
			return err
		}
	}
	return nil
}

// skip drops the body.
func (f *frameReader) skip() error { return f.stream(func([]byte) error { return nil }) }

// need reads until n bytes are there.
func (f *frameReader) need(n int) error {
	for f.w-f.r < n {
		f.room(n)
		if err := f.read(); err != nil {
			return err
		}
	}
	return nil
}

// room makes space for at least one byte more. The buffer doubles with what
// has arrived, and goes back once all of it was taken and no more is likely.
func (f *frameReader) room(n int) {
	if f.r == f.w {
		f.r, f.w = 0, 0
		if len(f.buf) > fullBuffer && n <= fullBuffer || f.wait == nil && f.last < busyRead {
			f.release()
		}
	}
	switch {
	case f.w < len(f.buf) && (f.r == 0 || len(f.buf)-f.r >= n && f.w-f.r > busyRead):
	case f.r > 0:
		copy(f.buf, f.buf[f.r:f.w])
		f.r, f.w = 0, f.w-f.r
	}
	if f.w > 0 && f.w == len(f.buf) {
		f.grow()
	}
}

// grow makes the buffer larger.
func (f *frameReader) grow() {
	larger := f.pool.sized(max(2*len(f.buf), fullBuffer))
	copy(larger, f.buf[:f.w])
	f.pool.put(f.buf)
	f.buf = larger
}

// release gives the buffer back, with whatever is unread.
func (f *frameReader) release() {
	f.pool.put(f.buf)
	f.buf, f.r, f.w = nil, 0, 0
}

func (f *frameReader) read() error {
	if err := f.beforeRead(); err != nil {
		return err
	}
	n, err := f.fill()
	f.afterRead()
	return f.came(n, err)
}

// came takes what a read returned.
func (f *frameReader) came(n int, err error) error {
	f.w += n
	f.last = n
	f.flow += n
	f.drained = f.w < len(f.buf)
	if f.w > 0 && f.w == len(f.buf) && f.r == 0 && len(f.buf) < fullBuffer {
		// It came faster than it was read.
		f.grow()
	}
	switch {
	case n > 0:
		f.reads++
		return nil
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// Read implements [io.Reader], for what isn't messages.
func (f *frameReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.need(1); err != nil {
		return 0, err
	}
	n := copy(p, f.buf[f.r:f.w])
	f.r += n
	return n, nil
}

// fill reads once, into what room there is, and leaves the counting to came. With
// nothing unread, it takes a buffer when there is something to read, and not before.
func (f *frameReader) fill() (n int, err error) {
	switch {
	case f.wait != nil:
		for {
			n, err := f.pull()
			if err == nil || f.lull == nil {
				return n, err
			}
			if err := f.lull(err); err != nil {
				return n, err
			}
		}
	case f.buf != nil:
	case f.below != nil && f.below.w > f.below.r:
		f.buf = f.pool.get()
	default:
		if f.rest == nil {
			f.rest = make([]byte, restBuffer)
		}
		f.buf = f.rest
	}
	return f.src.Read(f.buf[f.w:])
}

// pull reads once, from a side that can be waited for without a buffer. Where it
// has sent much, and all of that was read, it waits a moment for more than a piece.
func (f *frameReader) pull() (n int, err error) {
	more := f.gathers && f.drained && f.flow >= gatherAfter
	if more && f.gather == nil {
		f.gather = newGatherer(f.src, gatherMoment)
		f.gathers = f.gather != nil
	}
	switch {
	case f.gather == nil:
		return f.wait.read(f)
	case !more:
		f.gather.over()
		return f.wait.read(f)
	}
	n, late, err := f.gather.read(f.wait, f)
	if late {
		f.flow = gatherAgain
	}
	return n, err
}

// rests says that the other side has sent all that it will before it is told more:
// what comes next is waited for by itself.
func (f *frameReader) rests() { f.flow = 0 }

// readAhead reads once, into what room there is. It returns false when there
// is none. It belongs to whoever watches a client that waits.
func (f *frameReader) readAhead() (bool, error) {
	if f.r > 0 && (f.r == f.w || f.w == len(f.buf)) {
		copy(f.buf, f.buf[f.r:f.w])
		f.r, f.w = 0, f.w-f.r
	}
	if f.w > 0 && f.w == len(f.buf) {
		if len(f.buf) >= fullBuffer {
			return false, nil
		}
		f.grow()
	}
	n, err := f.fill()
	err = f.came(n, err)
	if errors.Is(err, io.ErrNoProgress) {
		err = nil
	}
	return true, err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// mostDiscarded is how much is dropped, in bytes, of what a client that has left is
// answered: so much that what it has sent before is done. A server that found nobody
// to listen would end what it is at with the first write that fails.
const mostDiscarded = 1 << 20

var errNobodyListens = errors.New("the client has left, and its answer doesn't end")

// outbox gathers messages for one side and writes them together. Whoever
// appends holds mu, for whole messages.
type outbox struct {
	conn net.Conn
	pool *buffers // where buf comes from, unless it grew
	// records is what is below conn's TLS; nil: there is none.
	records *recordConn

	mu     sync.Mutex // guards what follows
	buf    []byte     // nil while there is nothing to write
	inside bool       // the last message was begun, and not yet ended
	err    error      // of the first write that failed
	// discard drops what is written: nobody listens any more.
	discard   bool
	discarded int // bytes
}

// flush writes what was gathered.
func (o *outbox) flush() error {
	if o.buf == nil {
		return nil
	}
	if !o.discard && o.err != nil && len(o.buf) > 0 {
		return o.err
	}
	var err error
	switch {
	case o.discard:
		if o.discarded += len(o.buf); o.discarded > mostDiscarded {
			err = errNobodyListens
		}
	case len(o.buf) == 0:
	case o.records != nil && len(o.buf) > maxRecord:
		err = o.records.together(func() error {
			_, err := o.conn.Write(o.buf)
			return err
		})
	default:
		_, err = o.conn.Write(o.buf)
	}
	o.pool.put(o.buf[:cap(o.buf)])
	o.buf = nil
	if err != nil {
		o.err, o.inside = err, true
	}
	return err
}

// room makes room for n bytes more, of which there may be more than fit.
func (o *outbox) room(n int) error {
	if len(o.buf)+n > fullBuffer {
		if err := o.flush(); err != nil {
			return err
		}
	}
	if o.buf == nil {
		o.buf = o.pool.sized(n)[:0]
	}
	return nil
}

// begin appends the header of a message whose body of the given size follows
// in pieces, and then a call of end.
func (o *outbox) begin(typ byte, size int) {
	o.inside = true
	if o.buf == nil {
		o.buf = o.pool.get()[:0]
	}
	o.buf = appendHeader(o.buf, typ, size)
}

func (o *outbox) piece(p []byte) error {
	if err := o.room(len(p)); err != nil {
		return err
	}
	o.buf = append(o.buf, p...)
	return nil
}

func (o *outbox) end() { o.inside = o.err != nil }

// message appends a whole message.
func (o *outbox) message(typ byte, body []byte) error {
	if err := o.room(headerSize + len(body)); err != nil {
		return err
	}
	o.buf = append(appendHeader(o.buf, typ, len(body)), body...)
	return nil
}

// text appends a whole message that is one text.
func (o *outbox) text(typ byte, text string) error {
	if err := o.room(headerSize + len(text) + 1); err != nil {
		return err
	}
	o.buf = appendString(appendHeader(o.buf, typ, len(text)+1), text)
	return nil
}

func appendHeader(dst []byte, typ byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, typ), uint32(size)+4)
}
