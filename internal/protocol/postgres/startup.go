package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Request codes that stand in place of a protocol version (Message Formats:
// CancelRequest, SSLRequest, GSSENCRequest).
const (
	cancelRequestCode = 80877102
	sslRequestCode    = 80877103
	gssencRequestCode = 80877104
)

// maxStartupPacket is the server's own bound on a startup packet.
const maxStartupPacket = 10000

// The protocol versions that are spoken: 3.0 and 3.2. There is no 3.1.
const newestMinor = 2

// A startupMessage is a decoded StartupMessage.
type startupMessage struct {
	minor  uint32            // the protocol version asked for: 3.minor
	params map[string]string // without the _pq_. options
	pq     []string          // the names of the _pq_. options that aren't known here, in order

	tellMasked bool // maskedOption
}

// readPacket reads one packet without a type byte: its length, then the body.
// It reads not a byte more, so that what follows is left to whoever speaks
// next: the TLS handshake, if that is agreed upon. first holds bytes that
// were read already, at most 4.
func readPacket(r io.Reader, first ...byte) (body []byte, err error) {
	var head [4]byte
	n := copy(head[:], first)
	if _, err := io.ReadFull(r, head[n:]); err != nil {
		if n > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 8 || length > maxStartupPacket {
		return nil, &refusal{code: codeProtocol, message: fmt.Sprintf("invalid length of startup packet: %d", length)}
	}
	body = make([]byte, length-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return body, nil
}

// parseStartup decodes the body of a StartupMessage. Whatever the server might
// read in two ways is refused.
func parseStartup(body []byte) (startupMessage, error) {
	malformed := func(what string) (startupMessage, error) {
		return startupMessage{}, &refusal{code: codeProtocol, message: "malformed startup packet: " + what}
	}
	if len(body) < 4 {
		return malformed("too short")
	}
	version := binary.BigEndian.Uint32(body)
	major, minor := version>>16, version&0xffff
	if major != 3 {
		return startupMessage{}, &refusal{
			code:    codeUnsupported,
			message: fmt.Sprintf("unsupported frontend protocol %d.%d: this gateway speaks 3.0 to 3.%d", major, minor, newestMinor),
		}
	}
	msg := startupMessage{minor: minor, params: make(map[string]string)}
	rest := body[4:]
	for {
		name, more, ok := cutString(rest)
		if !ok {
			return malformed("no terminator")
		}
		rest = more
		if name == "" {
			break
		}
		value, more, ok := cutString(rest)
		if !ok {
			return malformed("a parameter without a value")
		}
		rest = more
		if !validParamName(name) {
			return malformed("a parameter's name")
		}
		if name == maskedOption {
			msg.tellMasked = value == "on"
			continue
		}
		if strings.HasPrefix(name, "_pq_.") {
			msg.pq = append(msg.pq, name)
			continue
		}
		if _, twice := msg.params[name]; twice {
			return malformed("parameter " + name + " is given twice")
		}
		msg.params[name] = value
	}
	if len(rest) > 0 {
		return malformed("bytes after the terminator")
	}
	for _, name := range []string{"user", "database", "application_name"} {
		if !utf8.ValidString(msg.params[name]) {
			return malformed(name + " is not UTF-8")
		}
	}
	return msg, nil
}

// cutString takes a NUL-terminated string off b.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}

// validParamName says whether name could name a setting: printable ASCII
// without spaces, quotes or signs that have a meaning elsewhere.
func validParamName(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c != '.' && c != '$' && (c < '0' || c > '9')) {
			return false
		}
	}
	return true
}

// agreedMinor is the version that is spoken when a client asked for 3.minor.
func agreedMinor(minor uint32) uint32 {
	switch {
	case minor < 2:
		return 0
	default:
		return newestMinor
	}
}

// admit takes a connection from its first byte to its startup message: one of
// SSLRequest and direct TLS at most, one GSSENCRequest at most, and then one
// startup message or one cancel request. Reading and writing are bounded by
// conn's deadline.
func (p *Protocol) admit(ctx context.Context, conn net.Conn) (*clientConn, *cancelKey, error) {
	client := &clientConn{Conn: conn}
	var askedTLS, askedGSS bool
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return client, nil, err
	}
	head := first[:]
	if first[0] == tlsRecordHandshake {
		if err := p.startDirectTLS(ctx, client, first[0]); err != nil {
			return client, nil, err
		}
		head = nil
	}
	for {
		body, err := readPacket(client.Conn, head...)
		head = nil
		if err != nil {
			return client, nil, err
		}
		switch binary.BigEndian.Uint32(body) {
		case cancelRequestCode:
			key, err := parseCancel(body)
			return client, key, err
		case sslRequestCode:
			if len(body) != 4 || askedTLS || client.tls != nil {
				return client, nil, &refusal{code: codeProtocol, message: "TLS was asked for twice"}
			}
			askedTLS = true
			if err := p.answerSSLRequest(ctx, client); err != nil {
				return client, nil, err
			}
		case gssencRequestCode:
			if len(body) != 4 || askedGSS || client.tls != nil {
				return client, nil, &refusal{code: codeProtocol, message: "GSSAPI encryption was asked for at the wrong time"}
			}
			askedGSS = true
			if _, err := client.Write([]byte{'N'}); err != nil {
				return client, nil, err
			}
		default:
			return client, nil, p.begin(client, body)
		}
	}
}

// begin takes up the startup message.
func (p *Protocol) begin(client *clientConn, body []byte) error {
	msg, err := parseStartup(body)
	if err != nil {
		return err
	}
	if client.tls == nil && !p.mayBePlain(client) {
		return errPlaintext
	}
	client.params, client.minor, client.tellMasked = msg.params, agreedMinor(msg.minor), msg.tellMasked
	if client.minor == msg.minor && len(msg.pq) == 0 {
		return nil
	}
	negotiate := &pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 3<<16 | client.minor, UnrecognizedOptions: msg.pq}
	out, err := negotiate.Encode(nil)
	if err != nil {
		return err
	}
	_, err = client.Write(out)
	return err
}

// replicates says whether the startup message asks for a replication
// connection. What the server wouldn't read as a no is a yes.
func replicates(params map[string]string) bool {
	value, ok := params["replication"]
	if !ok {
		return false
	}
	switch strings.ToLower(value) {
	case "false", "off", "no", "0", "f", "n":
		return false
	}
	return true
}

// settings are the startup parameters that the server is to see.
func settings(params map[string]string) map[string]string {
	out := make(map[string]string, len(params))
	for name, value := range params {
		switch strings.ToLower(name) {
		case "user", "database", "replication", "password":
		default:
			out[name] = value
		}
	}
	return out
}

// target is what the startup message asks to open: RESOURCE or
// RESOURCE/DATABASE. As everywhere, the database's name defaults to the user's.
func target(params map[string]string) (resource, database string) {
	name := params["database"]
	if name == "" {
		name = params["user"]
	}
	resource, database, _ = strings.Cut(name, "/")
	return resource, database
}

// clientName is the program's name for itself, fit for a list: the server cuts
// it at 63 bytes, too.
func clientName(params map[string]string) string {
	name := params["application_name"]
	if len(name) > 63 {
		name = strings.ToValidUTF8(name[:63], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}
