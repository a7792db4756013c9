package recording

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"postern"
)

// decodeEvent reads one line as [appendEvent] wrote it. Members that it
// doesn't know are passed over: a later version may add some.
func decodeEvent(line []byte) (postern.Event, error) {
	f := parseFields(line)
	e := postern.Event{
		Time: f.time("t"), Kind: postern.EventKind(f.str("kind")), N: f.int("n"),
		Review: f.str("review"), State: f.str("state"), Tag: f.str("tag"), Columns: f.strs("columns"),
		RowCount: f.int("row_count"), Bytes: f.int("bytes"), Masked: f.int("masked"),
		Code: f.str("code"), Text: f.str("text"), Stream: f.str("stream"), Digest: f.str("digest"),
	}
	f.object("command", func(f *fields) { e.Command = f.command() })
	f.object("decision", func(f *fields) { e.Decision = f.decision() })
	f.object("session", func(f *fields) { e.Session = f.session() })
	e.Rows = list(f, "rows", func(raw []byte) ([]*string, error) {
		cells, err := elements(raw)
		if cells == nil || err != nil {
			return nil, err
		}
		row := make([]*string, len(cells))
		for i, cell := range cells {
			if isNull(cell) {
				continue
			}
			v, err := unquote(cell)
			if err != nil {
				return nil, err
			}
			row[i] = &v
		}
		return row, nil
	})
	if f.err == nil && e.Kind == "" {
		f.err = errors.New("it has no kind")
	}
	return e, f.err
}

// decodeText reads no more of a command's event than when it came, its number,
// text and parameters, and nothing of another event.
func decodeText(line []byte) (*postern.Event, error) {
	var w struct {
		Time    time.Time         `json:"t"`
		Kind    postern.EventKind `json:"kind"`
		N       int64             `json:"n"`
		Command *struct {
			Text   json.RawMessage `json:"text"`
			Params []postern.Param `json:"params"`
		} `json:"command"`
	}
	if err := json.Unmarshal(line, &w); err != nil {
		return nil, err
	}
	if w.Kind != postern.EventCommand || w.Command == nil {
		return nil, nil
	}
	e := &postern.Event{Time: w.Time.UTC(), Kind: w.Kind, N: w.N, Command: &postern.Command{Params: w.Command.Params}}
	var err error
	if len(w.Command.Text) > 0 {
		e.Command.Text, err = unquote(w.Command.Text)
	}
	return e, err
}

func (f *fields) command() *postern.Command {
	c := &postern.Command{
		Protocol: f.str("protocol"), Verb: f.str("verb"), Verbs: f.strs("verbs"), Access: f.access("access"),
		Text: f.str("text"), State: f.str("state"), Problem: f.str("problem"),
	}
	c.Objects = listOf(f, "objects", func(f *fields) postern.Object {
		return postern.Object{Kind: f.str("kind"), Name: f.str("name"), Write: f.bool("write")}
	})
	c.Attrs = listOf(f, "attrs", func(f *fields) postern.Attr {
		return postern.Attr{
			Name: f.str("name"), Kind: postern.AttrKind(f.uint("kind", 8)), Bool: f.bool("bool"), Int: f.int("int"),
			String: f.str("string"), Strings: f.strs("strings"),
		}
	})
	c.Params = listOf(f, "params", func(f *fields) postern.Param {
		return postern.Param{
			Null: f.bool("null"), Binary: f.bool("binary"), Type: uint32(f.uint("type", 32)), Value: f.bytes("value"),
		}
	})
	return c
}

func (f *fields) decision() *postern.Decision {
	d := &postern.Decision{
		Verdict: f.verdict("decision"), Rule: f.str("rule"), Reason: f.str("reason"),
		Policy: f.str("policy"), N: f.int("n"), Request: f.str("request"),
	}
	d.Shadow = listOf(f, "shadow", func(f *fields) postern.Shadow {
		return postern.Shadow{Rule: f.str("rule"), Verdict: f.verdict("verdict"), Reason: f.str("reason")}
	})
	f.object("review", func(f *fields) {
		d.Review = &postern.ReviewTerms{Approvals: int(f.int("approvals")), Timeout: time.Duration(f.int("timeout")), Evidence: f.str("evidence")}
		d.Review.Approvers = list(f, "approvers", func(raw []byte) (postern.Principal, error) {
			s, err := unquote(raw)
			return postern.Principal(s), err
		})
		f.object("commit", func(f *fields) {
			d.Review.Commit = &postern.CommitTerms{Hold: time.Duration(f.int("hold")), Rows: f.int("rows"), Sample: int(f.int("sample"))}
		})
	})
	f.object("transfer", func(f *fields) {
		d.Transfer = &postern.TransferLimit{Access: f.str("access"), Files: f.int("files"), Bytes: f.int("bytes")}
	})
	f.object("limit", func(f *fields) {
		d.Limit = &postern.RowLimit{Rows: f.int("rows"), Rule: f.str("rule"), Reason: f.str("reason")}
	})
	d.Masks = listOf(f, "masks", func(f *fields) postern.Mask {
		m := postern.Mask{
			Name: f.str("name"), Columns: f.strs("columns"), Detect: f.strs("detect"),
			With: postern.MaskStyle(f.str("with")),
		}
		f.object("bucket", func(f *fields) { m.Bucket = postern.Bucket{Number: f.int("number"), Date: f.str("date")} })
		return m
	})
	return d
}

func (f *fields) session() *postern.SessionInfo {
	return &postern.SessionInfo{
		ID: f.str("id"), Identity: f.str("identity"), Kind: postern.IdentityKind(f.str("kind")), Actor: f.str("actor"),
		Resource: f.str("resource"), Protocol: f.str("protocol"), Database: f.str("database"), Token: f.str("token"), Login: f.str("login"),
		Access: f.str("access"), Grant: f.str("grant"), Source: f.str("source"), Client: f.str("client"),
		StartedAt: f.time("started_at"), EndedAt: f.time("ended_at"),
		Commands: f.int("commands"), Denied: f.int("denied"), MaskedValues: f.int("masked_values"),
		EndReason: f.str("end_reason"), Digest: f.str("digest"),
	}
}

// fields are the members of one JSON object, not yet decoded. The first
// mistake stays in err.
type fields struct {
	members map[string]json.RawMessage
	err     error
}

func parseFields(raw []byte) *fields {
	f := &fields{}
	f.err = json.Unmarshal(raw, &f.members)
	if f.err == nil && f.members == nil {
		f.err = errors.New("it is no object")
	}
	return f
}

// get returns a member's text, and whether there is one to decode.
func (f *fields) get(name string) (json.RawMessage, bool) {
	raw, ok := f.members[name]
	return raw, ok && f.err == nil && !isNull(raw)
}

func (f *fields) failed(name string, err error) {
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%s: %w", name, err)
	}
}

func (f *fields) str(name string) string {
	raw, ok := f.get(name)
	if !ok {
		return ""
	}
	s, err := unquote(raw)
	f.failed(name, err)
	return s
}

func (f *fields) strs(name string) []string { return list(f, name, unquote) }

func (f *fields) int(name string) int64 {
	raw, ok := f.get(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	f.failed(name, err)
	return n
}

func (f *fields) uint(name string, bits int) uint64 {
	raw, ok := f.get(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(string(raw), 10, bits)
	f.failed(name, err)
	return n
}

func (f *fields) bool(name string) bool {
	raw, ok := f.get(name)
	if !ok {
		return false
	}
	v, err := strconv.ParseBool(string(raw))
	f.failed(name, err)
	return v
}

func (f *fields) bytes(name string) []byte {
	raw, ok := f.get(name)
	if !ok {
		return nil
	}
	s, err := unquote(raw)
	f.failed(name, err)
	b, err := base64.StdEncoding.DecodeString(s)
	f.failed(name, err)
	return b
}

func (f *fields) time(name string) time.Time {
	s := f.str(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	f.failed(name, err)
	return t.UTC()
}

func (f *fields) verdict(name string) postern.Verdict {
	s := f.str(name)
	for _, v := range []postern.Verdict{postern.Deny, postern.NeedsReview, postern.Allow} {
		if v.String() == s {
			return v
		}
	}
	f.failed(name, errors.New("is no decision"))
	return postern.Deny
}

func (f *fields) access(name string) postern.Access {
	s := f.str(name)
	for a := postern.Unknown; a <= postern.Admin; a++ {
		if a.String() == s {
			return a
		}
	}
	f.failed(name, errors.New("is no level of access"))
	return postern.Unknown
}

func (f *fields) object(name string, decode func(*fields)) {
	raw, ok := f.get(name)
	if !ok {
		return
	}
	inner := parseFields(raw)
	decode(inner)
	f.failed(name, inner.err)
}

// list decodes an array. No array, and null, are nil.
func list[T any](f *fields, name string, item func([]byte) (T, error)) []T {
	raw, ok := f.get(name)
	if !ok {
		return nil
	}
	items, err := elements(raw)
	f.failed(name, err)
	out := make([]T, 0, len(items))
	for _, it := range items {
		v, err := item(it)
		f.failed(name, err)
		out = append(out, v)
	}
	return out
}

func listOf[T any](f *fields, name string, item func(*fields) T) []T {
	return list(f, name, func(raw []byte) (T, error) {
		inner := parseFields(raw)
		v := item(inner)
		return v, inner.err
	})
}

func elements(raw []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	err := json.Unmarshal(raw, &items)
	return items, err
}

func isNull(raw []byte) bool { return string(raw) == "null" }

var errString = errors.New("is no text")

// unquote reads a JSON string that encoding/json has found well formed. A lone
// surrogate \udc80 … \udcff is the byte that it stands for.
func unquote(raw []byte) (string, error) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", errString
	}
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw), nil
	}
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			out = append(out, raw...)
			break
		}
		out = append(out, raw[:i]...)
		raw = raw[i:]
		if len(raw) < 2 {
			return "", errString
		}
		c := raw[1]
		if c == 'u' {
			r, rest, err := unquoteRune(raw)
			if err != nil {
				return "", err
			}
			if raw = rest; r >= 0xdc80 && r <= 0xdcff {
				out = append(out, byte(r))
			} else {
				out = utf8.AppendRune(out, r) // U+FFFD for any other surrogate
			}
			continue
		}
		j := bytes.IndexByte([]byte(`"\/bfnrt`), c)
		if j < 0 {
			return "", errString
		}
		out = append(out, "\"\\/\b\f\n\r\t"[j])
		raw = raw[2:]
	}
	return string(out), nil
}

// unquoteRune reads \uXXXX, or two of them that are one surrogate pair.
func unquoteRune(raw []byte) (rune, []byte, error) {
	hex := func(raw []byte) (rune, bool) {
		if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
		return rune(n), err == nil
	}
	r, ok := hex(raw)
	if !ok {
		return 0, nil, errString
	}
	raw = raw[6:]
	if low, ok := hex(raw); ok && r >= 0xd800 && r <= 0xdbff && low >= 0xdc00 && low <= 0xdfff {
		return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000, raw[6:], nil
	}
	return r, raw, nil
}
