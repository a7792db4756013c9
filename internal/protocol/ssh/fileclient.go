package ssh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// conversation is one end of a pipe with two directions, in memory.
type conversation struct {
	*io.PipeReader
	*io.PipeWriter
}

func newConversation() (a, b *conversation) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return &conversation{ar, aw}, &conversation{br, bw}
}

// CloseWrite says that no more comes from this end.
func (c *conversation) CloseWrite() error { return c.PipeWriter.Close() }

// close ends both directions.
func (c *conversation) close() {
	_ = c.PipeWriter.Close() // never fails
	_ = c.PipeReader.Close()
}

// fileClient asks for files by SFTP. One goroutine may use it; it has another
// one read the answers, which ends with the conversation.
type fileClient struct {
	to   io.Writer
	from io.Reader
	next uint32

	reading sync.WaitGroup // the answers

	mu      sync.Mutex // guards what follows
	waiting map[uint32]chan filePacket
	gone    error
}

func newFileClient(with *conversation) *fileClient {
	return &fileClient{to: with.PipeWriter, from: with.PipeReader, waiting: make(map[uint32]chan filePacket)}
}

// statusError is what was answered in place of what was asked for.
type statusError struct {
	code    uint32
	message string
}

// Error implements error.
func (s *statusError) Error() string { return fmt.Sprintf("SFTP status %d: %s", s.code, s.message) }

// words are the status as programs say it.
func (s *statusError) words() string {
	switch s.code {
	case fxNoSuchFile:
		return "No such file or directory"
	case fxPermissionDenied:
		return "Permission denied"
	}
	if s.message == "" {
		return "Failure"
	}
	return strings.TrimPrefix(s.message, "postern: ")
}

// greet exchanges versions, and starts to read answers.
func (fc *fileClient) greet() error {
	hello := filePacket{kind: fxInit, body: []byte{0, 0, 0, 3}}
	if _, err := fc.to.Write(hello.append(nil)); err != nil {
		return err
	}
	p, _, err := readFilePacket(fc.from, nil)
	if err != nil {
		return err
	}
	if p.kind != fxVersion {
		return errMalformed
	}
	fc.reading.Go(fc.answers)
	return nil
}

func (fc *fileClient) answers() {
	for {
		p, _, err := readFilePacket(fc.from, nil)
		id, ok := p.id()
		if err == nil && !ok {
			err = errMalformed
		}
		fc.mu.Lock()
		if err != nil {
			fc.gone = fmt.Errorf("SFTP: %w", errors.Join(io.ErrUnexpectedEOF, err))
			for _, answer := range fc.waiting {
				close(answer)
			}
			clear(fc.waiting)
			fc.mu.Unlock()
			return
		}
		answer := fc.waiting[id]
		delete(fc.waiting, id)
		fc.mu.Unlock()
		if answer != nil {
			answer <- p
		}
	}
}

// send sends a request; what follows its id is in body. The answer comes once,
// or the channel is closed.
func (fc *fileClient) send(kind byte, body []byte) (<-chan filePacket, error) {
	answer := make(chan filePacket, 1)
	fc.mu.Lock()
	if fc.gone != nil {
		defer fc.mu.Unlock()
		return nil, fc.gone
	}
	fc.next++
	id := fc.next
	fc.waiting[id] = answer
	fc.mu.Unlock()
	p := filePacket{kind: kind, body: append(binary.BigEndian.AppendUint32(nil, id), body...)}
	_, err := fc.to.Write(p.append(nil))
	return answer, err
}

// receive waits for an answer of some kind. A status is an error, unless it says
// that all is well and no other kind is wanted.
func (fc *fileClient) receive(answer <-chan filePacket, want byte) (*fields, error) {
	p, ok := <-answer
	if !ok {
		fc.mu.Lock()
		defer fc.mu.Unlock()
		return nil, fc.gone
	}
	in := p.fields()
	if p.kind != fxStatus {
		if p.kind != want {
			return nil, errMalformed
		}
		return in, nil
	}
	s := &statusError{code: in.uint32(), message: in.text()}
	if s.code == fxOK && want == fxStatus {
		return in, nil
	}
	return nil, s
}

func (fc *fileClient) ask(kind byte, body []byte, want byte) (*fields, error) {
	answer, err := fc.send(kind, body)
	if err != nil {
		return nil, err
	}
	return fc.receive(answer, want)
}

// fileAttrs are what scp asks of a file.
type fileAttrs struct {
	size         uint64
	mode         uint32
	atime, mtime uint32
}

// The kinds of file within a mode.
const (
	modeKind    = 0o170000
	modeFolder  = 0o040000
	modeRegular = 0o100000
)

func (a fileAttrs) isFolder() bool  { return a.mode&modeKind == modeFolder }
func (a fileAttrs) isRegular() bool { return a.mode&modeKind == modeRegular }

// The flags of attributes, besides attrSize.
const (
	attrOwner = 2
	attrMode  = 4
	attrTimes = 8
)

func (f *fields) attrs() (a fileAttrs) {
	flags := f.uint32()
	if flags&attrSize != 0 {
		a.size = f.uint64()
	}
	if flags&attrOwner != 0 {
		f.uint32()
		f.uint32()
	}
	if flags&attrMode != 0 {
		a.mode = f.uint32()
	}
	if flags&attrTimes != 0 {
		a.atime, a.mtime = f.uint32(), f.uint32()
	}
	if flags&(1<<31) != 0 {
		for range min(f.uint32(), 64) {
			f.bytes()
			f.bytes()
		}
	}
	return a
}

func (fc *fileClient) stat(name string) (fileAttrs, error) {
	return fc.attrs(fxStat, name)
}

func (fc *fileClient) statHandle(handle string) (fileAttrs, error) {
	return fc.attrs(fxFstat, handle)
}

func (fc *fileClient) attrs(kind byte, of string) (fileAttrs, error) {
	in, err := fc.ask(kind, appendText(nil, of), fxAttrs)
	if err != nil {
		return fileAttrs{}, err
	}
	a := in.attrs()
	if in.bad {
		return a, errMalformed
	}
	return a, nil
}

func (fc *fileClient) handle(kind byte, body []byte) (string, error) {
	in, err := fc.ask(kind, body, fxHandle)
	if err != nil {
		return "", err
	}
	handle := in.text()
	if in.bad {
		return "", errMalformed
	}
	return handle, nil
}

func modeAttrs(body []byte, mode uint32) []byte {
	body = binary.BigEndian.AppendUint32(body, attrMode)
	return binary.BigEndian.AppendUint32(body, mode)
}

func (fc *fileClient) open(name string) (string, error) {
	body := binary.BigEndian.AppendUint32(appendText(nil, name), fxfRead)
	return fc.handle(fxOpen, binary.BigEndian.AppendUint32(body, 0))
}

// create opens a file for writing, which may be there already.
func (fc *fileClient) create(name string, mode uint32) (string, error) {
	body := binary.BigEndian.AppendUint32(appendText(nil, name), fxfWrite|fxfCreate)
	return fc.handle(fxOpen, modeAttrs(body, mode))
}

func (fc *fileClient) close(handle string) error {
	_, err := fc.ask(fxClose, appendText(nil, handle), fxStatus)
	return err
}

func (fc *fileClient) makeFolder(name string, mode uint32) error {
	_, err := fc.ask(fxMkdir, modeAttrs(appendText(nil, name), mode), fxStatus)
	return err
}

func (fc *fileClient) setMode(name string, mode uint32) error {
	_, err := fc.ask(fxSetstat, modeAttrs(appendText(nil, name), mode), fxStatus)
	return err
}

func (fc *fileClient) setTimes(name string, atime, mtime uint32) error {
	body := binary.BigEndian.AppendUint32(appendText(nil, name), attrTimes)
	body = binary.BigEndian.AppendUint32(body, atime)
	_, err := fc.ask(fxSetstat, binary.BigEndian.AppendUint32(body, mtime), fxStatus)
	return err
}

// finish gives a file that was written its size, its mode and its times, as
// scp's sink does: without -p a new file has the mode that the server gave it,
// and only an owner who may not write is told so.
func (fc *fileClient) finish(handle string, r scpRecord, exists, preserve bool) error {
	flags := uint32(attrSize)
	body := binary.BigEndian.AppendUint64(nil, uint64(r.size))
	readOnly := r.mode&0o200 == 0
	mode, set := r.mode, preserve && (exists || readOnly)
	if !preserve && readOnly {
		set, mode = true, r.mode&^commonUmask
		if !exists {
			now, err := fc.statHandle(handle)
			if err != nil {
				return err
			}
			mode = now.mode & 0o7777 &^ 0o200
		}
	}
	if set {
		flags |= attrMode
		body = binary.BigEndian.AppendUint32(body, mode)
	}
	if r.timed {
		flags |= attrTimes
		body = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(body, r.atime), r.mtime)
	}
	request := binary.BigEndian.AppendUint32(appendText(nil, handle), flags)
	_, err := fc.ask(fxFsetstat, slices.Concat(request, body), fxStatus)
	return err
}

// list names what is in a folder.
func (fc *fileClient) list(name string) ([]string, error) {
	handle, err := fc.handle(fxOpendir, appendText(nil, name))
	if err != nil {
		return nil, err
	}
	var names []string
	for err == nil {
		var in *fields
		if in, err = fc.ask(fxReaddir, appendText(nil, handle), fxName); err != nil {
			break
		}
		for range in.uint32() {
			inner := in.path()
			in.bytes()
			in.attrs()
			if in.bad || strings.Contains(inner, "/") {
				return nil, errMalformed
			}
			if inner != "." && inner != ".." && inner != "" {
				names = append(names, inner)
			}
		}
	}
	var status *statusError
	if errors.As(err, &status) && status.code == fxEOF {
		err = nil
	}
	if cerr := fc.close(handle); err == nil {
		err = cerr
	}
	return names, err
}

// inFlight is how many pieces of a file are asked for before the first is there.
const inFlight = 64

// read copies size bytes of a file. A file that has become shorter meanwhile,
// or can't be read on, is filled up, and a status says so.
func (fc *fileClient) read(handle string, to io.Writer, size uint64) error {
	var pending []<-chan filePacket
	var wanted []uint32
	var asked, done uint64
	var failed error
	for done < size {
		for failed == nil && asked < size && len(pending) < inFlight {
			n := uint32(min(readSize, size-asked))
			body := binary.BigEndian.AppendUint64(appendText(nil, handle), asked)
			answer, err := fc.send(fxRead, binary.BigEndian.AppendUint32(body, n))
			if err != nil {
				return err
			}
			pending, wanted = append(pending, answer), append(wanted, n)
			asked += uint64(n)
		}
		n := uint32(min(readSize, size-done))
		var data []byte
		if len(pending) > 0 {
			in, err := fc.receive(pending[0], fxData)
			n, pending, wanted = wanted[0], pending[1:], wanted[1:]
			switch {
			case !onlyStatus(err):
				return err
			case err != nil:
				failed = errors.Join(failed, err)
			default:
				if data = in.bytes(); in.bad || len(data) > int(n) {
					return errMalformed
				}
			}
		}
		for failed == nil && len(data) < int(n) {
			more, err := fc.piece(handle, done+uint64(len(data)), n-uint32(len(data)))
			if !onlyStatus(err) {
				return err
			}
			if failed = err; len(more) == 0 && err == nil {
				failed = &statusError{code: fxFailure}
			}
			data = append(slices.Clone(data), more...)
		}
		data = append(data, make([]byte, int(n)-len(data))...)
		if _, err := to.Write(data); err != nil {
			return err
		}
		done += uint64(n)
	}
	return failed
}

// piece reads up to n bytes.
func (fc *fileClient) piece(handle string, offset uint64, n uint32) ([]byte, error) {
	body := binary.BigEndian.AppendUint64(appendText(nil, handle), offset)
	in, err := fc.ask(fxRead, binary.BigEndian.AppendUint32(body, n), fxData)
	if err != nil {
		return nil, err
	}
	data := in.bytes()
	if in.bad || len(data) > int(n) {
		return nil, errMalformed
	}
	return data, nil
}

// write writes what comes, size bytes, from a file's beginning on. After a
// status, the rest is read and dropped.
func (fc *fileClient) write(handle string, from io.Reader, size int64) error {
	var pending []<-chan filePacket
	var failed error
	settle := func(most int) error {
		for len(pending) > most {
			_, err := fc.receive(pending[0], fxStatus)
			pending = pending[1:]
			if !onlyStatus(err) {
				return err
			}
			if failed == nil {
				failed = err
			}
		}
		return nil
	}
	buf := make([]byte, readSize)
	for at := int64(0); at < size; {
		piece := buf[:min(int64(len(buf)), size-at)]
		if _, err := io.ReadFull(from, piece); err != nil {
			return io.ErrUnexpectedEOF
		}
		if err := settle(inFlight - 1); err != nil {
			return err
		}
		if failed == nil {
			body := binary.BigEndian.AppendUint64(appendText(nil, handle), uint64(at))
			body = append(binary.BigEndian.AppendUint32(body, uint32(len(piece))), piece...)
			answer, err := fc.send(fxWrite, body)
			if err != nil {
				return err
			}
			pending = append(pending, answer)
		}
		at += int64(len(piece))
	}
	if err := settle(0); err != nil {
		return err
	}
	return failed
}
