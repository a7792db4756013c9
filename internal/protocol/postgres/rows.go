package postgres

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern"
	"postern/internal/mask"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// Bounds of what a recording keeps of one result.
const (
	maxRecordedValue = 4 << 10
	maxRecordedRows  = 256 << 10 // bytes of values
	maxMaskedMessage = 64 << 20  // a message that has to be held whole to be masked
)

// result is what the client is being sent in answer to one statement.
type result struct {
	masker *mask.Row // nil: nothing to mask
	fields []field   // nil: not known
	copy   *copyOut  // COPY TO STDOUT; nil: forwarded as it is

	keep   int // rows still to be kept for the recording
	room   int // bytes of them
	rows   [][]*string
	count  int64
	masked int64
	bytes  int64 // that COPY sent

	tell  bool     // the client asked which values are masked
	cells [][2]int // row and column of those
}

// newResult begins the result of the statement that cmd runs now.
func (r *relay) newResult(cmd *command, fields []field) *result {
	res := &result{tell: r.client.tellMasked, fields: fields, keep: r.s.Resource().RecordRows, room: maxRecordedRows}
	if len(cmd.decision.Masks) > 0 {
		res.masker = r.masker(cmd, fields)
	}
	return res
}

// maskedAs is how the last result was masked, and all that this was made of.
type maskedAs struct {
	masks   []postern.Mask
	catalog *analysis.Catalog
	by      doubts
	outputs []sql.Output // nil: not known
	fields  []field
	masker  *mask.Row
}

// masker plans the masking of a result. One that is like the last, of the same
// analysis under the same masks, is masked as that was.
func (r *relay) masker(cmd *command, fields []field) *mask.Row {
	now := maskedAs{masks: cmd.decision.Masks, by: doubtsOf(cmd), fields: fields}
	if cmd.env != nil {
		now.catalog = cmd.env.Catalog
	}
	st := cmd.statement()
	now.outputs = outputsOf(st, len(fields))
	last := &r.lastMasked
	if last.fields != nil && last.catalog == now.catalog && last.by.views == now.by.views && slices.Equal(last.by.names, now.by.names) &&
		postern.Same(last.masks, now.masks) && postern.Same(last.outputs, now.outputs) && slices.Equal(last.fields, now.fields) {
		return last.masker
	}
	now.masker = r.s.Masker(cmd.decision, columns(fields, st, cmd.env, now.by))
	r.lastMasked = now
	return now.masker
}

// plain says whether a row can be forwarded without a look at it.
func (res *result) plain() bool { return res.masker == nil && res.keep <= 0 }

// row masks a DataRow's body into dst and keeps it for the recording. It
// returns false when the body isn't one.
func (res *result) row(dst, body []byte) (out []byte, ok bool) {
	if len(body) < 2 {
		return dst, false
	}
	n := int(binary.BigEndian.Uint16(body))
	if res.fields != nil && n != len(res.fields) {
		return dst, false
	}
	whole := body
	body = body[2:]
	var kept []*string
	if res.keep > 0 {
		res.keep--
		kept = make([]*string, 0, n)
	}
	sent := 0 // of whole: all before it is in dst
	for i := range n {
		value, null, rest, ok := cutValue(body)
		if !ok {
			return dst, false
		}
		if !null && res.masker != nil && res.masker.Touches(i) {
			end := len(whole) - len(rest)
			dst = append(dst, whole[sent:end-len(value)]...)
			sent = end
			at := len(dst)
			var masked bool
			dst, null, masked = res.masker.Field(i, dst, value)
			if null {
				dst = append(dst[:at-4], 0xff, 0xff, 0xff, 0xff)
			} else {
				binary.BigEndian.PutUint32(dst[at-4:], uint32(len(dst)-at))
			}
			if masked {
				res.masked++
				if res.tell && len(res.cells) < maxTold {
					res.cells = append(res.cells, [2]int{int(res.count) - 1, i})
				}
			}
			value = dst[at:]
		}
		if kept != nil {
			kept = append(kept, res.recorded(i, value, null))
		}
		body = rest
	}
	dst = append(dst, whole[sent:]...)
	if kept != nil {
		res.rows = append(res.rows, kept)
		if res.room <= 0 {
			res.keep = 0
		}
	}
	return dst, len(body) == 0
}

// recorded is a value as the recording keeps it; nil for NULL.
func (res *result) recorded(i int, value []byte, null bool) *string {
	if null {
		return nil
	}
	var s string
	switch {
	case i >= len(res.fields):
		s = readable(value)
	case res.fields[i].format == 1:
		s = binaryText(res.fields[i].typ, value)
	default:
		s = readable(value)
	}
	if len(s) > maxRecordedValue {
		s = strings.ToValidUTF8(s[:maxRecordedValue], "") + "…"
	}
	res.room -= len(s)
	return &s
}

// readable is value as text: itself, or in hexadecimal.
func readable(value []byte) string {
	if len(value) > maxRecordedValue+utf8.UTFMax {
		value = value[:maxRecordedValue+utf8.UTFMax]
		for i := 0; i < utf8.UTFMax && !utf8.Valid(value); i++ {
			value = value[:len(value)-1]
		}
	}
	if utf8.Valid(value) {
		return string(value)
	}
	return `\x` + hex.EncodeToString(value[:min(len(value), maxRecordedValue)])
}

// binaryText writes a value in binary format as text: that of the common types
// as the server would, others in hexadecimal.
func binaryText(typ uint32, value []byte) string {
	switch {
	case typ == oidBool && len(value) == 1:
		if value[0] != 0 {
			return "t"
		}
		return "f"
	case typ == oidInt2 && len(value) == 2:
		return strconv.FormatInt(int64(int16(binary.BigEndian.Uint16(value))), 10)
	case typ == oidInt4 && len(value) == 4:
		return strconv.FormatInt(int64(int32(binary.BigEndian.Uint32(value))), 10)
	case typ == oidInt8 && len(value) == 8:
		return strconv.FormatInt(int64(binary.BigEndian.Uint64(value)), 10)
	case typ == oidOID && len(value) == 4:
		return strconv.FormatUint(uint64(binary.BigEndian.Uint32(value)), 10)
	case typ == oidFloat4 && len(value) == 4:
		return strconv.FormatFloat(float64(math.Float32frombits(binary.BigEndian.Uint32(value))), 'g', -1, 32)
	case typ == oidFloat8 && len(value) == 8:
		return strconv.FormatFloat(math.Float64frombits(binary.BigEndian.Uint64(value)), 'g', -1, 64)
	case typ == oidText || typ == oidVarchar || typ == oidBPChar || typ == oidName || typ == oidJSON || typ == oidXML || typ == oidUnknown:
		return readable(value)
	case typ == oidJSONB && len(value) > 0 && value[0] == 1:
		return readable(value[1:])
	case typ == oidUUID && len(value) == 16:
		h := hex.EncodeToString(value)
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	}
	return `\x` + hex.EncodeToString(value[:min(len(value), maxRecordedValue)])
}

// Numbers of pg_type that never change.
const (
	oidBool    = 16
	oidName    = 19
	oidInt8    = 20
	oidInt2    = 21
	oidInt4    = 23
	oidText    = 25
	oidOID     = 26
	oidXID     = 28
	oidJSON    = 114
	oidXML     = 142
	oidFloat4  = 700
	oidFloat8  = 701
	oidUnknown = 705
	oidBPChar  = 1042
	oidVarchar = 1043
	oidOIDs    = 1028
	oidUUID    = 2950
	oidJSONB   = 3802
)

// finish records how the statement that x runs has ended. What is held has not ended
// yet.
func (r *relay) finish(x *expectation, tag string) error {
	cmd := x.cmd
	if cmd == nil || len(cmd.statements) == 0 {
		return nil
	}
	e := postern.Event{Kind: postern.EventResult, N: cmd.decision.N + int64(cmd.index), Tag: tag}
	if res := cmd.result; res != nil {
		for _, f := range res.fields {
			e.Columns = append(e.Columns, f.name)
		}
		e.Rows, e.RowCount, e.Masked, e.Bytes = res.rows, res.count, res.masked, res.bytes
		r.s.Masked(res.masked)
		if err := r.tellMasked(r.to(x), res.cells); err != nil {
			return err
		}
	}
	if e.RowCount == 0 {
		e.RowCount = tagCount(tag)
	}
	if e.Bytes == 0 {
		r.p.mu.Lock()
		e.Bytes, cmd.bytes = cmd.bytes, 0
		r.p.mu.Unlock()
	}
	cmd.result = nil
	if x.shelf != nil {
		ended := e
		x.shelf.ended = &ended
		return nil
	}
	return r.s.Record(e)
}

// tagCount is the number that ends a command's tag; 0 if there is none.
func tagCount(tag string) int64 {
	n, err := strconv.ParseInt(tag[strings.LastIndexByte(tag, ' ')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
