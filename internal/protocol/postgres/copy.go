package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"postern"
	"postern/internal/mask"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// mayCopy remembers a message whose answer may ask the client for data. While
// that is open, the server reads what follows with other eyes: nothing that
// needs a decision is sent before it is known.
func (r *relay) mayCopy(e *expectation, statements []sql.Statement) {
	for i := range statements {
		st := &statements[i]
		if st.Copy != nil && st.Copy.In || st.Command.Verb == postern.VerbUnknown {
			r.copying, r.copyEnds = e, 0
			return
		}
	}
}

// copyState waits until it is known whether the server waits for data.
func (r *relay) copyState(ctx context.Context) (inCopy bool, err error) {
	e := r.copying
	look := func() bool { return e.done || e.copyIns > r.copyEnds }
	r.p.mu.Lock()
	known := look()
	if !known && e.kind == replyExecute && e.copyIns > 0 {
		// An Execute asks once, and the client has ended its data.
		r.p.mu.Unlock()
		r.copying = nil
		return false, nil
	}
	r.p.mu.Unlock()
	if !known {
		if err := r.toServer.message('H', nil); err != nil {
			return false, err
		}
		if err := r.toServer.flush(); err != nil {
			return false, err
		}
		if err := r.p.wait(ctx, look); err != nil {
			return false, err
		}
	}
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if e.done {
		r.copying = nil
		return false, nil
	}
	return true, nil
}

// afterCopy refuses messages that need a decision while the server waits for
// data.
func (r *relay) afterCopy(ctx context.Context) error {
	if r.copying == nil {
		return nil
	}
	inCopy, err := r.copyState(ctx)
	if err == nil && inCopy {
		return &refusal{code: codeProtocol, message: "a message that is not allowed during COPY FROM STDIN"}
	}
	return err
}

// copyData forwards CopyData, CopyDone and CopyFail. Outside of a COPY the
// server ignores them.
func (r *relay) copyData(typ byte, size int) error {
	if r.copying == nil || r.dropped() {
		return r.fromHere.skip()
	}
	if typ != 'd' {
		r.copyEnds++
	}
	r.p.mu.Lock()
	if typ == 'd' && r.copying.cmd != nil {
		r.copying.cmd.bytes += int64(size)
	}
	r.p.mu.Unlock()
	r.toServer.begin(typ, size)
	if err := r.fromHere.stream(r.toServer.piece); err != nil {
		return err
	}
	r.toServer.end()
	if typ != 'd' {
		return r.endCount(r.copying)
	}
	return nil
}

// copyMessage handles CopyInResponse, CopyOutResponse and CopyDone.
func (r *relay) copyMessage(e *expectation, typ byte, body []byte) error {
	if e.kind != replyQuery && e.kind != replyExecute || e.own {
		return outOfStep(typ, e)
	}
	st := e.cmd.statement()
	if st == nil {
		return outOfStep(typ, e)
	}
	switch typ {
	case 'G':
		if st.Copy != nil && !st.Copy.In || st.Copy == nil && st.Command.Verb != postern.VerbUnknown {
			return outOfStep(typ, e)
		}
		r.p.mu.Lock()
		e.copyIns++
		r.p.wake()
		r.p.mu.Unlock()
	case 'H':
		if len(body) < 3 {
			return outOfStep(typ, e)
		}
		res := &result{}
		if len(e.cmd.decision.Masks) > 0 {
			out, err := r.newCopyOut(e.cmd, st, body)
			if err != nil {
				return err
			}
			res.copy = out
		}
		e.cmd.result = res
	case 'c':
		if res := e.cmd.result; res != nil && res.copy != nil {
			if err := r.copyRest(res); err != nil {
				return err
			}
		}
	}
	return r.pass(e, typ, body)
}

// maskableEncoding says whether COPY's fields can be told apart in an
// encoding: in some, a byte of a character may look like a delimiter.
func maskableEncoding(encoding, client string) bool {
	if encoding == "" {
		encoding = client
	}
	switch name := strings.ToUpper(strings.NewReplacer("-", "", "_", "", " ", "").Replace(encoding)); {
	case name == "", name == "UTF8", name == "UNICODE", name == "SQLASCII":
		return true
	case strings.HasPrefix(name, "LATIN"), strings.HasPrefix(name, "WIN1"), strings.HasPrefix(name, "ISO8859"), strings.HasPrefix(name, "KOI8"), name == "WIN866", name == "WIN874":
		return true
	}
	return false
}

// newCopyOut plans the masking of a COPY TO STDOUT; nil when there is nothing
// to mask.
func (r *relay) newCopyOut(cmd *command, st *sql.Statement, body []byte) (*copyOut, error) {
	n := int(binary.BigEndian.Uint16(body[1:]))
	if st.Copy == nil || !st.Copy.Out || n > maxFields || body[0] > 1 || (body[0] == 1) != st.Copy.Binary {
		return nil, &refusal{code: codeDenied, message: "masks apply here, and this COPY can't be read by the gateway"}
	}
	outputs := outputsOf(st, n)
	all := make([]postern.Column, n)
	for i := range all {
		c := &all[i]
		c.Type, c.Binary = postern.TextValue, st.Copy.Binary
		if c.Binary {
			c.Type = postern.OpaqueValue
		}
		if outputs == nil {
			continue
		}
		c.Name, c.Sources, c.Proven, c.Plain = outputs[i].Name, outputs[i].Sources, outputs[i].Proven, outputs[i].Plain
		if typ, ok := plainType(outputs[i], cmd.env.Catalog); ok {
			c.Type, c.Elem, c.Width = cmd.env.Catalog.ValueType(typ)
		}
	}
	masker := r.s.Masker(cmd.decision, all)
	if masker == nil {
		return nil, nil
	}
	return &copyOut{masker: masker, form: *st.Copy, columns: n}, nil
}

// plainType is the type of an output that is a stored column itself.
func plainType(o sql.Output, catalog *analysis.Catalog) (uint32, bool) {
	if !o.Plain || !o.Proven || catalog == nil || len(o.Sources) == 0 {
		return 0, false
	}
	relation := catalog.Relation(o.Sources[0].Schema, o.Sources[0].Table)
	if relation == nil {
		return 0, false
	}
	for i := range relation.Columns {
		if !relation.Columns[i].Dropped && relation.Columns[i].Name == o.Sources[0].Column {
			return relation.Columns[i].Type, true
		}
	}
	return 0, false
}

// copyRow forwards CopyData to the client, masked.
func (r *relay) copyRow(size int) error {
	e := r.p.first()
	if e == nil || e.cmd == nil || e.cmd.result == nil || e.own {
		return outOfStep('d', e)
	}
	res := e.cmd.result
	res.bytes += int64(size)
	if err := r.s.Rows(size); err != nil {
		return err
	}
	if res.copy == nil {
		return r.forwardBody(r.toClient, 'd', size)
	}
	return r.fromUp.stream(func(piece []byte) error {
		if err := res.copy.write(piece); err != nil {
			return err
		}
		return r.sendCopy(res)
	})
}

// copyRest forwards what is left when the data has ended.
func (r *relay) copyRest(res *result) error {
	if err := res.copy.end(); err != nil {
		return err
	}
	return r.sendCopy(res)
}

// sendCopy sends the rows that are complete.
func (r *relay) sendCopy(res *result) error {
	c := res.copy
	res.masked += c.masked
	c.masked = 0
	if len(c.out) == 0 {
		return nil
	}
	err := r.toClient.message('d', c.out)
	if cap(c.out) > 4*fullBuffer {
		c.out = nil
	}
	c.out = c.out[:0]
	return err
}

// copyOut masks the fields of COPY TO STDOUT. Rows may begin and end anywhere
// in the data that it is given.
type copyOut struct {
	masker  *mask.Row
	form    sql.Copy
	columns int

	row    []byte // what has arrived of the row
	scan   int    // of it: bytes that were looked at
	quoted bool   // of CSV: scan is within quotes
	header bool   // the header has passed
	field  []byte // scratch
	masks  []byte // scratch
	out    []byte // complete rows
	masked int64
}

var errCopyTooLarge = &refusal{code: codeTooLarge, message: fmt.Sprintf("a row of this COPY is larger than the %d bytes that can be masked", maxMaskedMessage)}

// write takes data in and appends the rows that it completes to out.
func (c *copyOut) write(data []byte) error {
	if len(c.row)+len(data) > maxMaskedMessage+fullBuffer {
		return errCopyTooLarge
	}
	c.row = append(c.row, data...)
	begin := 0
	for {
		end, ok := c.rowEnd(begin)
		if !ok {
			break
		}
		var err error
		if c.form.Binary {
			err = c.binaryRow(c.row[begin:end])
		} else {
			err = c.textRow(c.row[begin:end])
		}
		if err != nil {
			return err
		}
		begin, c.scan, c.quoted = end, end, false
	}
	if begin > 0 {
		n := copy(c.row, c.row[begin:])
		c.row = c.row[:n]
		c.scan -= begin
	}
	return nil
}

// end takes the end of the data. What has no end can't be a row.
func (c *copyOut) end() error {
	if len(c.row) > 0 {
		return &refusal{code: codeProtocol, message: "the data of COPY ends within a row"}
	}
	return nil
}

// rowEnd finds where the row that begins at begin ends.
func (c *copyOut) rowEnd(begin int) (end int, ok bool) {
	switch {
	case c.form.Binary:
		return c.binaryEnd(begin)
	case c.form.CSV:
		c.scan, c.quoted, ok = c.csvIndex(c.row, c.scan, '\n', c.quoted)
	default:
		c.scan, ok = textIndex(c.row, c.scan, '\n')
	}
	return c.scan + 1, ok
}

// textIndex finds, from at on, the first stop that no backslash takes with it.
// Without one it returns false, and where to go on when more has arrived.
func textIndex(data []byte, at int, stop byte) (int, bool) {
	for next := -1; ; {
		if next < at {
			if next = bytes.IndexByte(data[at:], stop); next < 0 {
				next = len(data)
			} else {
				next += at
			}
		}
		escape := bytes.IndexByte(data[at:next], '\\')
		switch {
		case escape < 0:
			return next, next < len(data)
		case at+escape+1 == len(data):
			return at + escape, false
		}
		at += escape + 2
	}
}

// csvIndex finds, from at on, the first stop outside of quotes. Without one it
// returns false, and where to go on, and whether within quotes, when more has
// arrived.
func (c *copyOut) csvIndex(data []byte, at int, stop byte, quoted bool) (int, bool, bool) {
	quote, escape := c.form.Quote, c.form.Escape
	for ; at < len(data); at++ {
		switch b := data[at]; {
		case quoted && b == escape && escape != quote:
			// An escape is a quote, or stands before one: where the two differ
			// it takes the byte after it with it, within quotes.
			if at+1 == len(data) {
				return at, quoted, false
			}
			if next := data[at+1]; next == escape || next == quote {
				at++
			}
		case b == quote:
			quoted = !quoted
		case b == stop && !quoted:
			return at, quoted, true
		}
	}
	return at, quoted, false
}

// textRow masks a row in text or CSV format, its line end included.
func (c *copyOut) textRow(row []byte) error {
	line := row[:len(row)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' && c.form.CSV {
		line = line[:n-1]
	}
	if c.form.Header && !c.header {
		c.header = true
		c.out = append(c.out, row...)
		return nil
	}
	if c.columns == 0 {
		c.out = append(c.out, row...)
		return nil
	}
	sent, at := 0, 0
	for i := 0; ; i++ {
		end, more, ok := c.fieldEnd(line, at)
		if !ok || more != (i+1 < c.columns) {
			return errCopyShape
		}
		if c.masker.Touches(i) {
			// What stands before it is as it was.
			c.out = append(c.out, row[sent:at]...)
			c.textField(i, line[at:end])
			sent = end
		}
		if !more {
			c.out = append(c.out, row[sent:]...)
			return nil
		}
		at = end + 1
	}
}

var errCopyShape = &refusal{code: codeProtocol, message: "the data of COPY doesn't have the columns that it should"}

// fieldEnd finds the end of the field that begins at at, and whether another
// follows it. It isn't ok when the field has no end.
func (c *copyOut) fieldEnd(line []byte, at int) (end int, more, ok bool) {
	if c.form.CSV {
		end, quoted, more := c.csvIndex(line, at, c.form.Delim, false)
		return end, more, !quoted
	}
	if end, more = textIndex(line, at, c.form.Delim); !more {
		end = len(line)
	}
	return end, more, true
}

// textField appends field i, which is to be masked.
func (c *copyOut) textField(i int, raw []byte) {
	if string(raw) == c.form.Null {
		c.out = append(c.out, raw...)
		return
	}
	value := raw
	switch {
	case c.form.CSV:
		c.field = c.unquote(c.field[:0], raw)
		value = c.field
	case bytes.IndexByte(raw, '\\') >= 0:
		c.field = unescape(c.field[:0], raw)
		value = c.field
	}
	var null, masked bool
	c.masks, null, masked = c.masker.Field(i, c.masks[:0], value)
	if !masked {
		c.out = append(c.out, raw...)
		return
	}
	c.masked++
	switch {
	case null:
		c.out = append(c.out, c.form.Null...)
	case c.form.CSV:
		c.out = c.quote(c.out, c.masks)
	default:
		c.out = escape(c.out, c.masks, c.form.Delim)
	}
}

// unescape undoes the text format's escapes.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		if b != '\\' || i+1 == len(raw) {
			dst = append(dst, b)
			continue
		}
		i++
		switch b = raw[i]; b {
		case 'b':
			b = '\b'
		case 'f':
			b = '\f'
		case 'n':
			b = '\n'
		case 'r':
			b = '\r'
		case 't':
			b = '\t'
		case 'v':
			b = '\v'
		}
		dst = append(dst, b)
	}
	return dst
}

// escape writes a value as the text format does.
func escape(dst, value []byte, delim byte) []byte {
	for _, b := range value {
		switch b {
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\v':
			dst = append(dst, '\\', 'v')
		case '\\', delim:
			dst = append(dst, '\\', b)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// unquote undoes CSV's quotes.
func (c *copyOut) unquote(dst, raw []byte) []byte {
	quoted := false
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		if quoted && b == c.form.Escape && i+1 < len(raw) && (raw[i+1] == c.form.Escape || raw[i+1] == c.form.Quote) {
			i++
			dst = append(dst, raw[i])
			continue
		}
		if b == c.form.Quote {
			quoted = !quoted
			continue
		}
		dst = append(dst, b)
	}
	return dst
}

// quote writes a value as CSV does, always in quotes: it may look like NULL.
func (c *copyOut) quote(dst, value []byte) []byte {
	dst = append(dst, c.form.Quote)
	for _, b := range value {
		if b == c.form.Quote || b == c.form.Escape {
			dst = append(dst, c.form.Escape)
		}
		dst = append(dst, b)
	}
	return append(dst, c.form.Quote)
}

// copySignature begins the binary format (COPY, Binary Format).
const copySignature = "PGCOPY\n\xff\r\n\x00"

// binaryEnd finds the end of a row, of the header or of the trailer.
func (c *copyOut) binaryEnd(begin int) (int, bool) {
	data := c.row[begin:]
	if !c.header {
		n := len(copySignature) + 8
		if len(data) < n {
			return 0, false
		}
		extension := int(binary.BigEndian.Uint32(data[n-4:]))
		if len(data) < n+extension {
			return 0, false
		}
		return begin + n + extension, true
	}
	if len(data) < 2 {
		return 0, false
	}
	at := 2
	for range max(int(int16(binary.BigEndian.Uint16(data))), 0) {
		if len(data) < at+4 {
			return 0, false
		}
		n := int32(binary.BigEndian.Uint32(data[at:]))
		at += 4 + max(int(n), 0)
		if len(data) < at {
			return 0, false
		}
	}
	return begin + at, true
}

// binaryRow masks a row in binary format.
func (c *copyOut) binaryRow(row []byte) error {
	if !c.header {
		// Flags beyond the known ones would change the rows.
		if string(row[:len(copySignature)]) != copySignature || binary.BigEndian.Uint32(row[len(copySignature):]) != 0 {
			return errCopyShape
		}
		c.header = true
		c.out = append(c.out, row...)
		return nil
	}
	n := int16(binary.BigEndian.Uint16(row))
	c.out = append(c.out, row[:2]...)
	if n == -1 {
		return nil
	}
	if int(n) != c.columns {
		return errCopyShape
	}
	rest := row[2:]
	for i := range int(n) {
		value, null, after, ok := cutValue(rest)
		if !ok {
			return errCopyShape
		}
		at := len(c.out)
		c.out = append(c.out, rest[:4]...)
		rest = after
		switch {
		case null:
		case !c.masker.Touches(i):
			c.out = append(c.out, value...)
		default:
			var masked bool
			c.out, null, masked = c.masker.Field(i, c.out, value)
			if null {
				c.out = append(c.out[:at], 0xff, 0xff, 0xff, 0xff)
			} else {
				binary.BigEndian.PutUint32(c.out[at:], uint32(len(c.out)-at-4))
			}
			if masked {
				c.masked++
			}
		}
	}
	return nil
}
