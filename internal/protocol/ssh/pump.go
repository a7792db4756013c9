package ssh

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"postern"
	"postern/internal/gate"
)

// pieceSize is how much is copied at a time. It is what a channel's packets
// hold, or more: fewer, larger reads are cheaper.
const pieceSize = 128 << 10

// output copies what a command prints to its client: masked, recorded, and
// then sent.
type output struct {
	s      *gate.Session
	d      postern.Decision // over what prints it
	n      int64            // its first number
	abort  func()           // ends what prints it
	stream string           // what its standard output is called in the recording
	keep   int64            // of each stream; negative: everything

	standing *standing
	bytes    atomic.Int64
	hits     atomic.Int64
	typed    *typed // compares what is typed with what is shown; nil: nobody types

	mu   sync.Mutex // guards what follows
	echo *held      // what waits for more, unless somebody typed it; nil: nothing is masked
}

func (o *output) setEcho(h *held) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.echo = h
}

// expect tells that keys were pressed, whose echo may come.
func (o *output) expect(keys []byte) {
	o.mu.Lock()
	h := o.echo
	o.mu.Unlock()
	if h != nil {
		h.typed(keys)
	}
}

// newOutput makes the output of the command that d allowed. All that a terminal
// shows is recorded.
func (c *channel) newOutput(d postern.Decision, terminal bool, abort func(), cmds ...postern.Command) *output {
	o := &output{s: c.l.s, abort: abort, d: d, n: d.N, keep: c.l.set.keep, standing: c.l.stand(d, abort, cmds...)}
	if terminal {
		o.stream, o.keep = "terminal", -1
		o.typed = &typed{record: func(e postern.Event) error {
			e.Kind, e.N = postern.EventInput, d.N
			return o.s.Record(e)
		}}
	}
	return o
}

func (o *output) total() int64  { return o.bytes.Load() }
func (o *output) masked() int64 { return o.hits.Load() }

// pump copies one stream until it ends.
func (o *output) pump(from io.Reader, to io.Writer, stream string) error {
	k := &keeper{o: o, stream: stream, to: to, left: o.keep}
	if m := o.s.TerminalMasker(o.d); m != nil {
		return o.pumpMasked(from, k, m)
	}
	buf := make([]byte, pieceSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if werr := k.write(buf[:n]); werr != nil {
				return o.stop(from, werr)
			}
		}
		if err != nil {
			return nil //nolint:nilerr // it has ended; that the connection went is told elsewhere
		}
	}
}

// stop ends a stream that can't go on: the client has gone, or it can't be
// recorded. What else the server prints is read and dropped, so that it can end.
func (o *output) stop(from io.Reader, err error) error {
	o.abort()
	_, _ = io.Copy(io.Discard, from)
	return err
}

// keeper records what it then sends on.
type keeper struct {
	o      *output
	stream string
	to     io.Writer
	left   int64 // how much of it is recorded yet; negative: everything
	cut    bool
}

func (k *keeper) write(p []byte) error {
	if err := k.o.standing.pass(len(p)); err != nil {
		return err
	}
	k.o.bytes.Add(int64(len(p)))
	if err := k.record(p); err != nil {
		return err
	}
	_, err := k.to.Write(p)
	return err
}

func (k *keeper) record(p []byte) error {
	if k.stream == "terminal" {
		if err := k.o.typed.shown(p); err != nil {
			return err
		}
	}
	kept := p
	if k.left >= 0 {
		kept = p[:min(int64(len(p)), k.left)]
		k.left -= int64(len(kept))
	}
	if len(kept) > 0 {
		if err := k.o.s.Record(postern.Event{Kind: postern.EventOutput, N: k.o.n, Stream: k.stream, Text: string(kept)}); err != nil {
			return err
		}
	}
	if len(kept) < len(p) && !k.cut {
		k.cut = true
		return k.o.s.Record(postern.Event{Kind: postern.EventNotice, N: k.o.n, Text: "more output follows than the recording keeps; its size is in the result"})
	}
	return nil
}

// digester sums a stream that comes in order.
type digester struct {
	mu   sync.Mutex
	hash hash.Hash
	size int64
}

func newDigester() *digester { return &digester{hash: sha256.New()} }

func (d *digester) add(p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = d.hash.Write(p) // a hash never returns an error
	d.size += int64(len(p))
}

func (d *digester) sum() (digest string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return "sha256:" + hex.EncodeToString(d.hash.Sum(nil)), d.size
}
