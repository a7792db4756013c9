package ssh

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"postern"
)

const (
	// maxMasked bounds a file that is masked: it is held in memory whole, since
	// what is masked has another length.
	maxMasked = 8 << 20
	readSize  = 32 << 10
)

// contents is a file that was read and masked whole.
type contents struct {
	data  []byte
	attrs []byte // as the server sent them, with the size changed
}

// openMasked opens a file for reading where masks look at content, in the way
// that the resource's option says. handled is false where it may pass as it is.
func (f *files) openMasked(id uint32, p filePacket, o *file, d postern.Decision, cmd postern.Command) (handled bool, err error) {
	m := f.c.l.s.TerminalMasker(d)
	if m == nil || f.c.l.set.sftp == allow {
		return false, nil
	}
	no := func(words string) (bool, error) {
		f.c.say(words)
		if err := f.c.l.s.Overruled(d, []postern.Command{cmd}, "", "", words); err != nil {
			return true, err
		}
		return true, f.toClient(statusPacket(id, fxPermissionDenied, words))
	}
	switch {
	case f.c.l.set.sftp != masked:
		return no("postern: masks apply on " + f.c.l.s.Resource().Name + ", and files don't pass through them; the resource's option sftp: mask lets text files pass masked")
	case o.writes:
		return no("postern: where files are masked, one can't be read and written at once")
	}
	answer, err := f.ask(filePacket{kind: fxOpen, body: bytes.Clone(p.body)})
	if err != nil {
		return true, err
	}
	if answer.kind != fxHandle {
		answer.setID(id)
		return true, f.toClient(answer)
	}
	in := answer.fields()
	handle := in.text()
	if in.bad {
		return true, errMalformed
	}
	data, attrs, problem, err := f.fetch(handle)
	if err == nil {
		_, err = f.ask(pathPacket(fxClose, 0, handle))
	}
	if err != nil {
		return true, err
	}
	if problem == "" && (bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data)) {
		problem = "it isn't text, and masks look at text"
	}
	if problem != "" {
		return no("postern: " + shown(o.path) + " doesn't pass: " + problem)
	}
	out := m.Flush(m.Write(nil, data))
	f.c.l.s.Masked(int64(m.Hits()))
	o.contents = &contents{data: out, attrs: sized(attrs, len(out))}
	f.mu.Lock()
	f.next++
	own := fmt.Sprintf("postern-%d", f.next)
	f.open[own] = o
	f.mu.Unlock()
	return true, f.toClient(pathPacket(fxHandle, id, own))
}

// fetch reads a file whole. problem is for the person.
func (f *files) fetch(handle string) (data, attrs []byte, problem string, err error) {
	answer, err := f.ask(pathPacket(fxFstat, 0, handle))
	if err != nil {
		return nil, nil, "", err
	}
	if answer.kind == fxAttrs {
		attrs = answer.body[4:]
	}
	for {
		p := pathPacket(fxRead, 0, handle)
		p.body = binary.BigEndian.AppendUint64(p.body, uint64(len(data)))
		p.body = binary.BigEndian.AppendUint32(p.body, readSize)
		answer, err := f.ask(p)
		if err != nil {
			return nil, nil, "", err
		}
		in := answer.fields()
		switch answer.kind {
		case fxData:
			piece := in.bytes()
			if in.bad || len(piece) == 0 {
				return nil, nil, "", errMalformed
			}
			if data = append(data, piece...); len(data) > maxMasked {
				return nil, nil, fmt.Sprintf("only files of up to %d MiB are masked", maxMasked>>20), nil
			}
		case fxStatus:
			if code := in.uint32(); code == fxEOF {
				return data, attrs, "", nil
			}
			return nil, nil, "the server doesn't let it be read", nil
		default:
			return nil, nil, "", errMalformed
		}
	}
}

// sized are attributes with another size.
func sized(attrs []byte, n int) []byte {
	if len(attrs) < 12 || binary.BigEndian.Uint32(attrs)&attrSize == 0 {
		return []byte{0, 0, 0, 0} // nothing is known of it
	}
	out := bytes.Clone(attrs)
	binary.BigEndian.PutUint64(out[4:], uint64(n))
	return out
}

// onContents answers what is asked of a file that the gateway holds.
func (f *files) onContents(id uint32, p filePacket, o *file, in *fields) error {
	switch p.kind {
	case fxRead:
		offset, n := in.uint64(), in.uint32()
		if in.bad {
			return errMalformed
		}
		if offset >= uint64(len(o.contents.data)) {
			return f.toClient(statusPacket(id, fxEOF, "end of file"))
		}
		data := o.contents.data[offset:]
		data = data[:min(len(data), int(min(n, readSize)))]
		if err := o.may.pass(len(data)); err != nil {
			return f.refuse(id, err)
		}
		o.mu.Lock()
		o.read.add(offset, data)
		o.mu.Unlock()
		f.count(len(data))
		return f.toClient(pathPacket(fxData, id, string(data)))
	case fxFstat:
		return f.toClient(filePacket{kind: fxAttrs, body: append(binary.BigEndian.AppendUint32(nil, id), o.contents.attrs...)})
	case fxClose:
		if err := f.closed(o, "masked"); err != nil {
			return err
		}
		return f.toClient(statusPacket(id, fxOK, ""))
	}
	return f.toClient(statusPacket(id, fxPermissionDenied, "postern: it isn't open for that"))
}
