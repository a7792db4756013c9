package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"golang.org/x/crypto/ssh"

	"postern"
)

// maxOutstanding bounds the requests of a client that wait for the server.
const maxOutstanding = 1024

// maxHandles bounds the files and folders that a client has open.
const maxHandles = 1024

// files relays SFTP: it reads every request, has what it does decided over with
// the path that the server takes it for, and reads every answer.
//
// One goroutine handles the client's requests, one after the other: what was
// decided is what the server does next on this channel. Another reads answers.
type files struct {
	c    *channel
	st   state
	up   ssh.Channel
	near nearEnd // who asks
	// passes says that how the server's program ended is told to the client.
	passes bool
	home   string // where relative paths begin

	writing sync.Mutex // of answers to the client, which both goroutines send

	mu      sync.Mutex // guards what follows
	room    *sync.Cond // there may be room for another request
	next    uint32     // the id of the next request to the server
	waiting map[uint32]*question
	open    map[string]*file
	gone    error // why no more answers come
	total   int64
}

// nearEnd is where requests come from and answers go to.
type nearEnd interface {
	io.ReadWriter
	CloseWrite() error
}

// question is a request that the server hasn't answered yet.
type question struct {
	id     uint32 // the client's own
	file   *file  // that is opened, read, written or closed
	kind   byte
	offset uint64
	answer chan filePacket // set for the gateway's own; takes one
	done   func()          // called when it is answered, or never will be; nil: nobody waits
}

// file is an open file or folder of the server.
type file struct {
	path   string
	n      int64 // the command that opened it
	may    *standing
	folder bool
	reads  bool
	writes bool

	mu       sync.Mutex
	read     progress
	written  progress
	contents *contents // what it holds, masked; nil: it is read from the server
}

// progress sums a file that is read or written from its beginning to its end.
// One that isn't has no digest.
type progress struct {
	sum   *digester
	next  uint64
	bytes int64
	torn  bool
}

func (p *progress) add(offset uint64, data []byte) {
	p.bytes += int64(len(data))
	if p.torn || offset != p.next {
		p.torn = true
		return
	}
	if p.sum == nil {
		p.sum = newDigester()
	}
	p.sum.add(data)
	p.next += uint64(len(data))
}

func (p *progress) digest() string {
	if p.torn || p.sum == nil {
		return ""
	}
	digest, _ := p.sum.sum()
	return digest
}

// sftp serves the subsystem.
func (c *channel) sftp(st state) error {
	cmd := command("sftp", postern.Control, "subsystem sftp")
	d, err := c.decide(st.dress([]postern.Command{cmd}, "subsystem")...)
	if err != nil {
		return err
	}
	f, reqs, err := c.openFiles(d.N, st)
	if errors.Is(err, errNoSFTP) {
		return &refusal{words: "postern: " + c.l.s.Resource().Name + " has no SFTP", status: statusUnreachable}
	}
	if err != nil {
		return err
	}
	return f.serve(reqs, d.N)
}

// errNoSFTP is a server that doesn't offer the subsystem.
var errNoSFTP = errors.New("the server has no SFTP")

// openFiles starts SFTP on the server, for command n.
func (c *channel) openFiles(n int64, st state) (*files, <-chan *ssh.Request, error) {
	up, reqs, err := c.openUpstream(n)
	if err != nil {
		return nil, nil, err
	}
	ok, err := up.SendRequest("subsystem", true, ssh.Marshal(struct{ Text string }{"sftp"}))
	if err != nil || !ok {
		c.l.work.Go(func() { ssh.DiscardRequests(reqs) })
		_ = up.Close()
		return nil, nil, errors.Join(errNoSFTP, err)
	}
	f := &files{c: c, st: st, up: up, near: c.ch, passes: true, waiting: make(map[uint32]*question), open: make(map[string]*file)}
	f.room = sync.NewCond(&f.mu)
	return f, reqs, nil
}

// serve relays until either side has ended.
func (f *files) serve(reqs <-chan *ssh.Request, n int64) error {
	var work sync.WaitGroup
	var answers error
	var end ending
	work.Go(func() { end = f.c.watch(reqs, f.passes) })
	work.Go(func() { f.c.relayErrors(f.up) })
	version, err := f.greet()
	if err == nil {
		work.Go(func() {
			answers = f.answers()
			f.lost(answers)
		})
		if err = f.findHome(version); err == nil {
			err = f.requests()
		}
	}
	_ = f.up.CloseWrite()
	if err != nil && !errors.Is(err, io.EOF) {
		_ = f.up.Close() // the conversation is out of step
	}
	work.Wait()
	_ = f.up.Close()
	f.forget()
	if rerr := f.c.l.s.Record(postern.Event{Kind: postern.EventResult, N: n, Tag: "exit", Code: end.code, Bytes: f.total}); rerr != nil {
		return rerr
	}
	switch {
	case errors.Is(err, errMalformed), errors.Is(answers, errMalformed):
		return &refusal{words: "postern: that isn't SFTP as the gateway knows it, so it doesn't pass", status: statusUnreachable, cause: errors.Join(err, answers)}
	case f.c.ctx.Err() != nil, errors.Is(err, io.EOF):
		err = nil // one side has ended it
	}
	return err
}

// relayErrors passes on what the server prints besides the protocol.
func (c *channel) relayErrors(up ssh.Channel) {
	_, _ = io.Copy(c.ch.Stderr(), io.LimitReader(up.Stderr(), 64<<10))
	_, _ = io.Copy(io.Discard, up.Stderr())
}

// greet exchanges versions. Extensions that the gateway doesn't know aren't offered.
func (f *files) greet() (filePacket, error) {
	p, _, err := readFilePacket(f.near, nil)
	if err != nil {
		return p, err
	}
	if p.kind != fxInit || len(p.body) < 4 {
		return p, errMalformed
	}
	hello := filePacket{kind: fxInit, body: []byte{0, 0, 0, 3}}
	if _, err := f.up.Write(hello.append(nil)); err != nil {
		return p, err
	}
	p, _, err = readFilePacket(f.up, nil)
	if err != nil {
		return p, err
	}
	if p.kind != fxVersion {
		return p, errMalformed
	}
	return offered(p)
}

// offered is the server's version with the extensions that can be decided over.
func offered(p filePacket) (filePacket, error) {
	if version, ok := p.id(); !ok || version != 3 {
		return p, errMalformed
	}
	out := filePacket{kind: fxVersion, body: []byte{0, 0, 0, 3}}
	for in := p.fields(); len(in.rest) > 0; {
		name, data := in.text(), in.text()
		if in.bad {
			return p, errMalformed
		}
		if knownExtension(name) {
			out.body = appendText(appendText(out.body, name), data)
		}
	}
	return out, nil
}

func knownExtension(name string) bool {
	switch name {
	case "posix-rename@openssh.com", "hardlink@openssh.com", "fsync@openssh.com", "lsetstat@openssh.com",
		"statvfs@openssh.com", "fstatvfs@openssh.com", "limits@openssh.com":
		return true
	}
	return false
}

// findHome asks the server where relative paths begin, before the client can
// ask anything, and then lets it.
func (f *files) findHome(version filePacket) error {
	home, status, err := f.realpath(".")
	if err != nil {
		return err
	}
	if status != nil || !path.IsAbs(home) {
		return fmt.Errorf("the server doesn't say where it begins: %w", errMalformed)
	}
	f.home = home
	return f.toClient(version)
}

// requests handles the client's requests, until it has no more.
func (f *files) requests() error {
	var buf []byte
	for {
		var p filePacket
		var err error
		if p, buf, err = readFilePacket(f.near, buf); err != nil {
			return err
		}
		if err := f.request(p); err != nil {
			return err
		}
	}
}

// toServer sends a request under an id of the gateway's own.
func (f *files) toServer(p filePacket, q *question) error {
	f.mu.Lock()
	for len(f.waiting) >= maxOutstanding && f.gone == nil {
		f.room.Wait()
	}
	if f.gone != nil {
		defer f.mu.Unlock()
		return f.gone
	}
	f.next++
	id := f.next
	f.waiting[id] = q
	f.mu.Unlock()
	p.setID(id)
	_, err := f.up.Write(p.append(nil))
	return err
}

func (f *files) toClient(p filePacket) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	_, err := f.near.Write(p.append(nil))
	return err
}

// ask asks the server something on the gateway's own account.
func (f *files) ask(p filePacket) (filePacket, error) {
	q := &question{kind: p.kind, answer: make(chan filePacket, 1)}
	if err := f.toServer(p, q); err != nil {
		return filePacket{}, err
	}
	answer, ok := <-q.answer
	if !ok {
		f.mu.Lock()
		defer f.mu.Unlock()
		return filePacket{}, f.gone
	}
	return answer, nil
}

// realpath asks the server what a path really is. When it can't say, status is
// its answer.
func (f *files) realpath(name string) (found string, status *filePacket, err error) {
	answer, err := f.ask(pathPacket(fxRealpath, 0, name))
	if err != nil {
		return "", nil, err
	}
	if answer.kind == fxStatus {
		return "", &answer, nil
	}
	in := answer.fields()
	if answer.kind != fxName || in.uint32() != 1 {
		return "", nil, errMalformed
	}
	if found = in.path(); in.bad || found == "" {
		return "", nil, errMalformed
	}
	return found, nil, nil
}

// answers reads the server's answers until it has no more.
func (f *files) answers() error {
	var buf []byte
	for {
		var p filePacket
		var err error
		if p, buf, err = readFilePacket(f.up, buf); err != nil {
			return err
		}
		id, ok := p.id()
		if !ok {
			return errMalformed
		}
		f.mu.Lock()
		q := f.waiting[id]
		delete(f.waiting, id)
		f.room.Signal()
		f.mu.Unlock()
		if q == nil {
			return fmt.Errorf("an answer to nothing: %w", errMalformed)
		}
		if q.done != nil {
			q.done()
		}
		if q.answer != nil {
			q.answer <- filePacket{kind: p.kind, body: append([]byte(nil), p.body...)}
			continue
		}
		if err := f.answer(q, p); err != nil {
			return err
		}
	}
}

// lost tells whoever waits that no more answers come.
func (f *files) lost(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone = err; err == nil {
		f.gone = io.EOF
	}
	for _, q := range f.waiting {
		if q.answer != nil {
			close(q.answer)
		}
		if q.done != nil {
			q.done()
		}
	}
	clear(f.waiting)
	f.room.Broadcast()
	// The client may wait for an answer for ever: its channel ends.
	f.c.cancel(fmt.Errorf("the server's SFTP has ended: %w", context.Canceled))
	_ = f.near.CloseWrite()
}

// answer looks at an answer and passes it on.
func (f *files) answer(q *question, p filePacket) error {
	switch {
	case p.kind == fxHandle && (q.kind == fxOpen || q.kind == fxOpendir):
		in := p.fields()
		handle := in.text()
		if in.bad || len(handle) > 256 {
			return errMalformed
		}
		f.mu.Lock()
		f.open[handle] = q.file
		f.mu.Unlock()
	case p.kind == fxData && q.kind == fxRead:
		in := p.fields()
		data := in.bytes()
		if in.bad {
			return errMalformed
		}
		if err := q.file.may.pass(len(data)); err != nil {
			return f.refuse(q.id, err)
		}
		q.file.mu.Lock()
		q.file.read.add(q.offset, data)
		q.file.mu.Unlock()
		f.count(len(data))
	case p.kind == fxHandle || p.kind == fxData:
		return errMalformed // not what was asked for
	}
	p.setID(q.id)
	return f.toClient(p)
}

// refuse answers a request for what isn't allowed any more.
func (f *files) refuse(id uint32, why error) error {
	words := f.c.l.worded(why).words
	f.c.say(words)
	return f.toClient(statusPacket(id, fxPermissionDenied, words))
}

func (f *files) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total += int64(n)
}

// forget records what is still open when the channel ends.
func (f *files) forget() {
	f.mu.Lock()
	left := f.open
	f.open = make(map[string]*file)
	f.mu.Unlock()
	for _, o := range left {
		_ = f.closed(o, "the channel ended before it was closed") // an error has ended the session
	}
}

// closed records what became of a file.
func (f *files) closed(o *file, how string) error {
	if o.folder {
		return nil
	}
	o.mu.Lock()
	read, written := o.read.bytes, o.written.bytes
	event := postern.Event{Kind: postern.EventResult, N: o.n, Tag: "closed", Bytes: read + written, Text: how}
	if o.writes {
		event.Digest = o.written.digest()
	}
	if o.reads && written == 0 {
		event.Digest = o.read.digest()
	}
	o.mu.Unlock()
	return f.c.l.s.Record(event)
}

// absolute is a path as the client means it.
func (f *files) absolute(name string) string {
	if name == "" {
		name = "."
	}
	if !path.IsAbs(name) {
		name = f.home + "/" + name
	}
	return name
}
