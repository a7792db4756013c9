package ssh

import (
	"encoding/binary"
	"errors"
	"io"
)

// The packets of draft-ietf-secsh-filexfer-02, SFTP version 3, which is what
// OpenSSH and nearly everybody speaks.
const (
	fxInit          = 1
	fxVersion       = 2
	fxOpen          = 3
	fxClose         = 4
	fxRead          = 5
	fxWrite         = 6
	fxLstat         = 7
	fxFstat         = 8
	fxSetstat       = 9
	fxFsetstat      = 10
	fxOpendir       = 11
	fxReaddir       = 12
	fxRemove        = 13
	fxMkdir         = 14
	fxRmdir         = 15
	fxRealpath      = 16
	fxStat          = 17
	fxRename        = 18
	fxReadlink      = 19
	fxSymlink       = 20
	fxStatus        = 101
	fxHandle        = 102
	fxData          = 103
	fxName          = 104
	fxAttrs         = 105
	fxExtended      = 200
	fxExtendedReply = 201
)

// The flags of fxOpen.
const (
	fxfRead   = 1
	fxfWrite  = 2
	fxfAppend = 4
	fxfCreate = 8
	fxfTrunc  = 16
)

// The codes of fxStatus.
const (
	fxOK               = 0
	fxEOF              = 1
	fxNoSuchFile       = 2
	fxPermissionDenied = 3
	fxFailure          = 4
	fxBadMessage       = 5
	fxUnsupported      = 8
)

// attrSize is the flag of attributes that hold a size.
const attrSize = 1

const (
	// maxFilePacket bounds one packet: OpenSSH's own bound is 256 KiB.
	maxFilePacket = 256<<10 + 1024
	// maxPath bounds a path.
	maxPath = 8 << 10
)

var errMalformed = errors.New("malformed SFTP packet")

// filePacket is one packet: its type and what follows, with the request's id
// first but for fxInit and fxVersion.
type filePacket struct {
	kind byte
	body []byte
}

// readFilePacket reads a packet into buf, which it may replace by a larger one.
// The packet is valid until buf is used again.
func readFilePacket(r io.Reader, buf []byte) (filePacket, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return filePacket{}, buf, err
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n < 1 || n > maxFilePacket {
		return filePacket{}, buf, errMalformed
	}
	body := int(n) - 1
	if cap(buf) < body {
		buf = make([]byte, body, min(maxFilePacket, 2*body+512))
	}
	p := filePacket{kind: head[4], body: buf[:body]}
	if _, err := io.ReadFull(r, p.body); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return filePacket{}, buf, err
	}
	return p, buf, nil
}

// id is the request that the packet belongs to.
func (p *filePacket) id() (uint32, bool) {
	if len(p.body) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(p.body), true
}

// setID has the packet belong to another request.
func (p *filePacket) setID(id uint32) { binary.BigEndian.PutUint32(p.body, id) }

// append appends the packet as it is sent.
func (p *filePacket) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.body))+1)
	dst = append(dst, p.kind)
	return append(dst, p.body...)
}

// fields reads a packet's fields in order. The first that isn't there makes all
// later ones empty, and ok false.
type fields struct {
	rest []byte
	bad  bool
}

// fields are what follows the id.
func (p *filePacket) fields() *fields {
	if len(p.body) < 4 {
		return &fields{bad: true}
	}
	return &fields{rest: p.body[4:]}
}

func (f *fields) uint32() uint32 {
	if len(f.rest) < 4 {
		f.bad, f.rest = true, nil
		return 0
	}
	v := binary.BigEndian.Uint32(f.rest)
	f.rest = f.rest[4:]
	return v
}

func (f *fields) uint64() uint64 {
	high := f.uint32()
	return uint64(high)<<32 | uint64(f.uint32())
}

// bytes are not copied.
func (f *fields) bytes() []byte {
	n := f.uint32()
	if f.bad || uint64(n) > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	v := f.rest[:n]
	f.rest = f.rest[n:]
	return v
}

func (f *fields) text() string { return string(f.bytes()) }

// path reads a path; one that no server could take is malformed.
func (f *fields) path() string {
	b := f.bytes()
	if len(b) > maxPath {
		f.bad = true
		return ""
	}
	for _, c := range b {
		if c == 0 {
			f.bad = true
			return ""
		}
	}
	return string(b)
}

func appendText(dst []byte, text string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...)
}

// statusPacket answers a request with a code, and words for the person.
func statusPacket(id uint32, code uint32, words string) filePacket {
	body := binary.BigEndian.AppendUint32(nil, id)
	body = binary.BigEndian.AppendUint32(body, code)
	body = appendText(body, words)
	body = appendText(body, "en")
	return filePacket{kind: fxStatus, body: body}
}

// pathPacket asks something of a path.
func pathPacket(kind byte, id uint32, path string) filePacket {
	return filePacket{kind: kind, body: appendText(binary.BigEndian.AppendUint32(nil, id), path)}
}
