package recording

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"postern"
)

// maxEvent bounds one event's JSON. A text of 16 MiB fits even when each of
// its bytes has to be escaped.
const maxEvent = 128 << 20

// flushWithin is how long an event waits for a Flush before it is written
// without one.
const flushWithin = time.Second

// file is what a Writer needs of an *os.File. Writes go to its end.
type file interface {
	io.Writer
	Sync() error
	io.Closer
}

// Writer writes one recording. Its methods may be called from several
// goroutines. After an error it is broken for good: every later call returns
// that error, and the file stays unfinished.
type Writer struct {
	folder *Folder
	header *header
	shares bool // its end waits for others

	mu       sync.Mutex
	file     file
	size     int64    // of the frames and the header: where the next frame goes
	windows  *windows // nil: the session isn't busy
	recent   int      // frames since the timer ran
	sealer   *sealer
	events   int64
	pending  *[]byte // lines not yet written; nil when there are none
	unsynced int
	syncing  chan error // has the outcome of a sync that is under way; nil: there is none
	armed    bool
	timer    *time.Timer
	repeated *repeated     // nil: nothing was written lately
	changed  chan struct{} // closed at the next write; nil when nobody follows
	closed   bool
	digest   string
	err      error
}

// newWriter continues a file that ends at size.
func (f *Folder) newWriter(h *header, file *os.File, size int64, s *sealer) *Writer {
	w := &Writer{folder: f, header: h, file: file, size: size, sealer: s}
	f.mu.Lock()
	f.live[h.id] = w
	f.mu.Unlock()
	return w
}

// Buffers are shared by all recordings of a folder, so that a silent session
// holds none. Those that grew for a large event are not kept.
const (
	newBuffer  = 4 << 10
	keepBuffer = 1 << 20
)

func (f *Folder) getBuffer() *[]byte {
	if b, ok := f.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, newBuffer)
	return &b
}

func (f *Folder) putBuffer(b *[]byte) {
	if cap(*b) > keepBuffer {
		return
	}
	*b = (*b)[:0]
	f.buffers.Put(b)
}

// ID is the session's id.
func (w *Writer) ID() string { return w.header.id }

// Append adds events in order. They reach the kernel with the next Flush, or
// within a second by themselves.
func (w *Writer) Append(events ...postern.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	for i := range events {
		if err := w.append(&events[i]); err != nil {
			return err
		}
	}
	if w.pending != nil && !w.armed {
		w.arm()
	}
	return nil
}

func (w *Writer) usable() error {
	if w.err == nil && w.closed {
		return ErrClosed
	}
	if w.err == nil && len(w.syncing) > 0 {
		return w.synced()
	}
	return w.err
}

func (w *Writer) append(e *postern.Event) error {
	if w.pending == nil {
		w.pending = w.folder.getBuffer()
	}
	if w.repeated == nil && e.Command != nil {
		w.repeated = &repeated{}
	}
	text := *w.pending
	before := len(text)
	text = append(appendEvent(text, e, w.repeated), '\n')
	*w.pending = text
	if n := len(text) - before; n > maxEvent {
		*w.pending = text[:before]
		return w.broken(fmt.Errorf("an event of %d bytes is larger than the %d that a recording takes", n, maxEvent))
	}
	w.events++
	if len(text) >= chunkSize {
		return w.write()
	}
	return nil
}

// arm sets the timer for what nobody flushes. It is left to run when a Flush
// comes first: stopping it would cost each command more.
func (w *Writer) arm() {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(flushWithin, w.flushLate)
	} else {
		w.timer.Reset(flushWithin)
	}
}

func (w *Writer) flushLate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.repeated = false, nil // a session that rests holds none
	if w.err != nil || w.closed {
		return
	}
	if w.intact() != nil {
		return // the error stays, for the next call to return
	}
	if w.pending != nil {
		_ = w.write() // likewise
	}
	busy := w.recent >= busyFrames
	if w.recent < busyEnough {
		w.sealer.like = nil
	}
	w.recent = 0
	if w.windows != nil && !busy {
		_ = w.rest()
	}
	if w.windows != nil || w.sealer.like != nil {
		w.arm()
		return
	}
	w.sealer.rest()
}

// Flush returns when all that was appended is in the kernel, and on the disk
// when the folder syncs at each flush.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	if w.pending == nil {
		return nil
	}
	if err := w.write(); err != nil {
		return err
	}
	if w.folder.cfg.Sync == SyncFlush {
		return w.sync()
	}
	return nil
}

// write seals and writes all that is pending.
func (w *Writer) write() error {
	text := w.pending
	w.pending = nil
	defer w.folder.putBuffer(text)
	out := w.folder.getBuffer()
	defer w.folder.putBuffer(out)
	for rest := *text; len(rest) > 0; {
		n := min(len(rest), chunkSize)
		if err := w.writeFrame(out, frameText, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	if w.folder.cfg.Sync == SyncChunk && w.unsynced >= chunkSize {
		return w.syncSoon()
	}
	return nil
}

// syncSoon has a chunk forced to the disk while the session goes on: the kernel
// has it already. A disk that is a chunk behind is waited for.
func (w *Writer) syncSoon() error {
	if err := w.synced(); err != nil {
		return err
	}
	if err := w.intact(); err != nil {
		return err
	}
	w.unsynced, w.syncing = 0, make(chan error, 1)
	go func(file file, done chan<- error) { done <- file.Sync() }(w.file, w.syncing)
	return nil
}

// synced waits for the sync that is under way, if one is.
func (w *Writer) synced() error {
	if w.syncing == nil {
		return nil
	}
	err := <-w.syncing
	w.syncing = nil
	if err != nil {
		return w.broken(err)
	}
	return nil
}

func (w *Writer) writeFrame(out *[]byte, kind frameType, text []byte) error {
	need := frameHeader + s2.MaxEncodedLen(len(text)) + 2*tagSize + frameHeader + len(w.sealer.chain.sum)
	if cap(*out) < need {
		*out = make([]byte, 0, need)
	}
	if w.recent >= busyEnough && w.sealer.like == nil && w.header.version >= 2 {
		w.sealer.like = &dictionary{}
	}
	frame, err := w.sealer.seal((*out)[:0], kind, text)
	if err != nil {
		return w.broken(err)
	}
	return w.put(frame)
}

// put adds a frame to the file. Then it is the kernel's.
func (w *Writer) put(frame []byte) error {
	w.recent++
	if w.windows == nil && w.recent > busyFrames && len(frame) <= largestPut && w.folder.cfg.Sync != SyncFlush {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.windows != nil && len(frame) <= largestPut {
		done, err := w.windows.put(w.size, frame)
		if err != nil {
			return w.broken(err)
		}
		if done {
			w.unsynced += len(frame)
			w.size += int64(len(frame))
			return nil
		}
	}
	if err := w.rest(); err != nil {
		return err
	}
	n, err := w.file.Write(frame)
	w.unsynced += n
	w.size += int64(n)
	if err != nil {
		return w.broken(err)
	}
	return nil
}

// open gives a busy session windows, if the system and its disk have any. An error
// says that the file can't even be written any more.
func (w *Writer) open() error {
	file, ok := w.file.(*os.File)
	if !ok {
		return nil
	}
	var err error
	if w.windows, err = openWindows(file, w.size); err != nil {
		// It is written, then; what the disk can't take, that will tell.
		w.windows, w.recent = nil, 0
		return w.cut()
	}
	if !w.armed {
		w.arm()
	}
	return nil
}

// rest takes the windows from a session. Its file ends with the last frame then.
func (w *Writer) rest() error {
	if w.windows == nil {
		return nil
	}
	cut := w.intact() // before what is under way makes it longer
	err := w.windows.close()
	w.windows, w.recent = nil, 0
	switch {
	case cut != nil:
		return cut
	case err != nil:
		return w.broken(err)
	}
	return w.cut()
}

// intact looks whether the file still is what was written. A frame goes wherever the
// file ends by then, or into a page that has lost it, and the disk reports neither.
func (w *Writer) intact() error {
	file, ok := w.file.(*os.File)
	if !ok {
		return nil
	}
	if err := intact(file, w.size); err != nil {
		return w.broken(err)
	}
	return nil
}

// cut ends the file where its frames end. It doesn't make a file longer that
// somebody has cut before that.
func (w *Writer) cut() error {
	file, ok := w.file.(*os.File)
	if !ok {
		return nil
	}
	info, err := file.Stat()
	if err == nil {
		err = uncut(info.Size(), w.size)
	}
	if err == nil {
		err = file.Truncate(w.size)
	}
	if err != nil {
		return w.broken(err)
	}
	return nil
}

// uncut is an error where a file has less than what was written to it.
func uncut(size, written int64) error {
	if size < written {
		return fmt.Errorf("its file was cut to %d bytes, and had %d", size, written)
	}
	return nil
}

func (w *Writer) sync() error {
	w.unsynced = 0
	if err := w.file.Sync(); err != nil {
		return w.broken(err)
	}
	return nil
}

// broken makes err the answer to every later call.
func (w *Writer) broken(err error) error {
	w.err = fmt.Errorf("write recording of session %s: %w", w.header.id, err)
	if w.pending != nil {
		w.folder.putBuffer(w.pending)
		w.pending = nil
	}
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	return w.err
}

// Close writes the terminator, waits for the disk (unless the folder never
// syncs), and moves the file to its day. It returns the recording's digest,
// and the same again when called again.
func (w *Writer) Close() (digest string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.digest, w.err
	}
	if w.err == nil && w.pending != nil {
		_ = w.write() // finish looks at w.err
	}
	if err := w.synced(); err == nil {
		w.finish()
	}
	if w.windows != nil {
		// It is broken. Whoever finishes the file cuts it; a window would hold its lock.
		_ = w.windows.close()
		w.windows = nil
	}
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.folder.mu.Lock()
	delete(w.folder.live, w.header.id)
	w.folder.mu.Unlock()
	// The lock goes with the descriptor: only now may another finish a broken file.
	if err := w.file.Close(); err != nil && w.err == nil {
		w.err = fmt.Errorf("close recording of session %s: %w", w.header.id, err)
	}
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
	if w.err != nil {
		return "", w.err
	}
	return w.digest, nil
}

func (w *Writer) finish() {
	if w.err != nil {
		return
	}
	if w.rest() != nil || w.intact() != nil {
		return
	}
	out := w.folder.getBuffer()
	defer w.folder.putBuffer(out)
	if w.writeFrame(out, frameEnd, w.sealer.end(w.events)) != nil {
		return
	}
	settle := w.folder.end
	if w.folder.cfg.Sync == SyncNever {
		settle = func(w *Writer) error { return w.folder.settle(w.header, false) }
	}
	if err := settle(w); err != nil {
		if w.err == nil {
			_ = w.broken(err)
		}
		return
	}
	w.digest = w.sealer.chain.digest()
}
