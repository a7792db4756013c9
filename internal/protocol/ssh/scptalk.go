package ssh

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// scpTalk is the far side of a conversation in scp's old protocol, which is what
// OpenSSH's scp.c does: one byte answers each record, 0 for yes, 1 before words.
type scpTalk struct {
	in     *bufio.Reader
	out    io.Writer
	files  *fileClient
	job    scpJob
	failed bool
}

// The bounds of what a client says in one record, and of folders in folders.
const (
	maxScpRecord = maxPath + 64
	maxScpDepth  = 256
)

// errScpOver ends a conversation: what there was to say is said.
var errScpOver = errors.New("scp: the conversation is over")

func newScpTalk(client io.ReadWriter, files *conversation, job scpJob) *scpTalk {
	return &scpTalk{in: bufio.NewReaderSize(client, pieceSize), out: client, files: newFileClient(files), job: job}
}

// run talks to the end, and returns the exit status.
func (t *scpTalk) run() uint32 {
	err := t.files.greet()
	switch {
	case err != nil:
	case t.job.takes:
		if err = t.take(t.job.path, t.job.folder, 0); errors.Is(err, io.EOF) {
			err = nil // it has no more
		}
	default:
		if err = t.answer(); err == nil || errors.Is(err, errScpSaidNo) {
			err = t.give(t.job.path, 0)
		}
	}
	if err != nil || t.failed {
		return 1
	}
	return 0
}

// complain tells the client what is wrong, as one record. It goes on, unless
// the client has gone.
func (t *scpTalk) complain(words string) error {
	t.failed = true
	words = strings.ReplaceAll(words, "\n", `\^J`)
	_, err := io.WriteString(t.out, "\x01scp: "+words+"\n")
	return err
}

// complainOf tells why something can't be done with a file.
func (t *scpTalk) complainOf(name string, err error) error {
	var status *statusError
	if !errors.As(err, &status) {
		return err // the conversation with the server is over
	}
	return t.complain(name + ": " + status.words())
}

// end complains, and ends the conversation.
func (t *scpTalk) end(words string) error {
	return errors.Join(t.complain(words), errScpOver)
}

func (t *scpTalk) yes() error {
	_, err := t.out.Write([]byte{0})
	return err
}

// errScpSaidNo is the client's answer to what it doesn't want.
var errScpSaidNo = errors.New("scp: the client says no")

// answer reads the client's answer.
func (t *scpTalk) answer() error {
	b, err := t.in.ReadByte()
	if err != nil || b == 0 {
		return err
	}
	t.failed = true
	if _, err := t.line(); err != nil {
		return err
	}
	if b == 2 {
		return errScpOver
	}
	return errScpSaidNo
}

// line reads what is left of a record.
func (t *scpTalk) line() (string, error) {
	var line []byte
	for {
		b, err := t.in.ReadByte()
		switch {
		case err != nil:
			return "", io.ErrUnexpectedEOF
		case b == '\n':
			return string(line), nil
		case b == 0 || len(line) >= maxScpRecord:
			return "", t.end("protocol error: bad record")
		}
		line = append(line, b)
	}
}

// scpRecord announces a file or a folder.
type scpRecord struct {
	folder       bool
	mode         uint32
	size         int64
	name         string
	timed        bool
	mtime, atime uint32
}

// take takes what the client sends into a file or a folder.
func (t *scpTalk) take(target string, mustBeFolder bool, depth int) error {
	attrs, err := t.files.stat(target)
	isFolder := err == nil && attrs.isFolder()
	if mustBeFolder && !isFolder {
		words := "Not a directory"
		var status *statusError
		if errors.As(err, &status) {
			words = status.words()
		}
		return t.end(target + ": " + words)
	}
	if depth > maxScpDepth {
		return t.end(target + ": too many folders in each other")
	}
	if err := t.yes(); err != nil {
		return err
	}
	var times scpRecord
	for {
		kind, err := t.in.ReadByte()
		if err != nil {
			return err
		}
		line, err := t.line()
		if err != nil {
			return err
		}
		switch kind {
		case 1:
			t.failed = true
		case 2:
			t.failed = true
			return errScpOver
		case 'E':
			if depth == 0 {
				return t.end("protocol error: unexpected end of a folder")
			}
			return t.yes()
		case 'T':
			if !times.setTimes(line) {
				return t.end("protocol error: bad times")
			}
			if err := t.yes(); err != nil {
				return err
			}
		case 'C', 'D':
			r, ok := readScpRecord(line)
			if !ok {
				return t.end("protocol error: bad record")
			}
			if r.name == "" || r.name == "." || r.name == ".." || strings.Contains(r.name, "/") {
				return t.end("error: unexpected filename: " + shown(r.name))
			}
			r.folder, r.timed, r.mtime, r.atime = kind == 'D', times.timed, times.mtime, times.atime
			times = scpRecord{}
			name := target
			if isFolder {
				name = path.Join(target, r.name)
			}
			if r.folder {
				err = t.takeFolder(name, r, depth)
			} else {
				err = t.takeFile(name, r)
			}
			if err != nil {
				return err
			}
		default:
			return t.end("protocol error: expected control record")
		}
	}
}

// setTimes reads "MTIME 0 ATIME 0".
func (r *scpRecord) setTimes(line string) bool {
	words := strings.Split(line, " ")
	if len(words) != 4 {
		return false
	}
	mtime, err := strconv.ParseUint(words[0], 10, 32)
	atime, err2 := strconv.ParseUint(words[2], 10, 32)
	r.timed, r.mtime, r.atime = true, uint32(mtime), uint32(atime)
	return err == nil && err2 == nil
}

// readScpRecord reads "0644 SIZE NAME".
func readScpRecord(line string) (r scpRecord, ok bool) {
	mode, rest, ok := strings.Cut(line, " ")
	size, name, ok2 := strings.Cut(rest, " ")
	bits, err := strconv.ParseUint(mode, 8, 12)
	n, err2 := strconv.ParseInt(size, 10, 64)
	return scpRecord{mode: uint32(bits), size: n, name: name}, ok && ok2 && len(mode) == 4 && err == nil && err2 == nil && n >= 0
}

func (t *scpTalk) takeFolder(name string, r scpRecord, depth int) error {
	if !t.job.recursive {
		return t.end("received directory without -r")
	}
	attrs, err := t.files.stat(name)
	exists := err == nil
	switch {
	case exists && !attrs.isFolder():
		return t.complain(name + ": Not a directory")
	case !exists:
		// Something is to be put into it, whatever it may be in the end.
		if err := t.files.makeFolder(name, r.mode|0o700); err != nil {
			return t.complainOf(name, err)
		}
	case t.job.times:
		if err := t.files.setMode(name, r.mode); err != nil {
			return t.complainOf(name, err)
		}
	}
	if err := t.take(name, false, depth+1); err != nil {
		return err
	}
	if r.timed {
		if err := t.files.setTimes(name, r.atime, r.mtime); err != nil {
			return t.complainOf(name, err)
		}
	}
	if t.job.times || !exists {
		if err := t.files.setMode(name, r.mode); err != nil {
			return t.complainOf(name, err)
		}
	}
	return nil
}

// commonUmask is what a server takes from the modes of files that are there
// already, where nobody can tell.
const commonUmask = 0o022

func (t *scpTalk) takeFile(name string, r scpRecord) error {
	before, err := t.files.stat(name)
	exists := err == nil
	if exists && before.isFolder() {
		return t.complain(name + ": Is a directory")
	}
	if !exists && strings.HasSuffix(name, "/") {
		return t.complain(name + ": Is a directory")
	}
	handle, err := t.files.create(name, r.mode|0o200)
	if err != nil {
		return t.complainOf(name, err)
	}
	if err := t.yes(); err != nil {
		return err
	}
	writing := t.files.write(handle, io.LimitReader(t.in, r.size), r.size)
	if !onlyStatus(writing) {
		return writing
	}
	if err := t.answer(); err != nil && !errors.Is(err, errScpSaidNo) {
		return err
	}
	if writing == nil && (!exists || before.isRegular()) {
		writing = t.files.finish(handle, r, exists, t.job.times)
	}
	if err := t.files.close(handle); writing == nil {
		writing = err
	}
	if writing != nil {
		return t.complainOf(name, writing)
	}
	return t.yes()
}

// onlyStatus says whether nothing but a status is wrong, if anything is.
func onlyStatus(err error) bool {
	var status *statusError
	return err == nil || errors.As(err, &status)
}

// give sends a file, or a folder with all that is in it.
func (t *scpTalk) give(name string, depth int) error {
	for len(name) > 1 && strings.HasSuffix(name, "/") {
		name = name[:len(name)-1]
	}
	attrs, err := t.files.stat(name)
	switch {
	case err != nil:
		return t.complainOf(name, err)
	case attrs.isFolder() && t.job.recursive && depth > maxScpDepth:
		return t.complain(name + ": too many folders in each other")
	case attrs.isFolder() && t.job.recursive:
		return t.giveFolder(name, attrs, depth)
	case !attrs.isRegular():
		return t.complain(name + ": not a regular file")
	}
	handle, err := t.files.open(name)
	if err != nil {
		return t.complainOf(name, err)
	}
	err = t.giveFile(name, handle)
	if cerr := t.files.close(handle); err == nil && !onlyStatus(cerr) {
		err = cerr
	}
	return err
}

// announce sends a record, after the times if they are wanted. It says whether
// the client takes it.
func (t *scpTalk) announce(kind byte, name string, attrs fileAttrs, size uint64) (bool, error) {
	var records []string
	if t.job.times {
		records = append(records, fmt.Sprintf("T%d 0 %d 0\n", attrs.mtime, attrs.atime))
	}
	base := strings.ReplaceAll(path.Base(name), "\n", `\^J`) // as OpenSSH's does
	records = append(records, fmt.Sprintf("%c%04o %d %s\n", kind, attrs.mode&0o6777, size, base))
	for _, r := range records {
		if _, err := io.WriteString(t.out, r); err != nil {
			return false, err
		}
		if err := t.answer(); err != nil {
			if errors.Is(err, errScpSaidNo) {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

func (t *scpTalk) giveFile(name, handle string) error {
	attrs, err := t.files.statHandle(handle) // as it will be read, which masks may have changed
	if err != nil {
		return t.complainOf(name, err)
	}
	if takes, err := t.announce('C', name, attrs, attrs.size); !takes {
		return err
	}
	reading := t.files.read(handle, t.out, attrs.size)
	if !onlyStatus(reading) {
		return reading
	}
	if reading != nil {
		err = t.complainOf(name, reading)
	} else {
		err = t.yes()
	}
	if err != nil {
		return err
	}
	if err := t.answer(); err != nil && !errors.Is(err, errScpSaidNo) {
		return err
	}
	return nil
}

func (t *scpTalk) giveFolder(name string, attrs fileAttrs, depth int) error {
	names, err := t.files.list(name)
	if err != nil {
		return t.complainOf(name, err)
	}
	if takes, err := t.announce('D', name, attrs, 0); !takes {
		return err
	}
	for _, inner := range names {
		if err := t.give(path.Join(name, inner), depth+1); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(t.out, "E\n"); err != nil {
		return err
	}
	if err := t.answer(); err != nil && !errors.Is(err, errScpSaidNo) {
		return err
	}
	return nil
}
