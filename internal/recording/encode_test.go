package recording

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"postern"
)

// fill sets every field reachable from v to something that isn't zero.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + strings.Repeat("x", *n%5))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint32:
		v.SetUint(uint64(*n))
	case reflect.Uint8:
		v.SetUint(2)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(start.Add(time.Duration(*n) * time.Millisecond)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("the vocabulary has a field of kind " + v.Kind().String())
	}
}

// A field added to the vocabulary must not be lost here.
func TestEveryFieldIsEncoded(t *testing.T) {
	var e postern.Event
	n := 0
	fill(reflect.ValueOf(&e).Elem(), &n)
	checkEncoding(t, &e)
}

// checkEncoding compares with encoding/json, and decodes what was encoded.
func checkEncoding(t interface {
	Helper()
	Fatalf(string, ...any)
}, e *postern.Event,
) {
	t.Helper()
	line := appendEvent(nil, e, nil)
	if bytes.IndexByte(line, '\n') >= 0 {
		t.Fatalf("a line holds a line end: %q", line)
	}
	said := stated(*e)
	reference, err := json.Marshal(said)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var got, want any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	if err := json.Unmarshal(reference, &want); err != nil {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("not what encoding/json says:\n%s", diff)
	}
	back, err := decodeEvent(line)
	if err != nil {
		t.Fatalf("decode %s: %v", line, err)
	}
	if diff := cmp.Diff(said, back); diff != "" {
		t.Fatalf("decoded to something else:\n%s", diff)
	}
}

func TestBytesThatAreNoTextAreKept(t *testing.T) {
	for _, s := range []string{
		"", "\x00", "\x80", "a\xffb", "\xc3", "\xed\xa0\x80", "\xed\xb2\x80", "é\xe9", "\uFFFD", "😀\xf0\x9f", `\udc80`, "\u2028<>&\"\\/\b\f\n\r\t\x7f",
	} {
		line := appendString(nil, s)
		if !json.Valid(line) {
			t.Errorf("%q is encoded as %s", s, line)
		}
		if back, err := unquote(line); err != nil || back != s {
			t.Errorf("%q became %s and then %q, %v", s, line, back, err)
		}
	}
	for in, want := range map[string]string{
		`"\u00e9"`: "é", `"\ud83d\ude00"`: "😀", `"\ud83d"`: "\uFFFD", `"\udc41"`: "\uFFFD", `"\udcff"`: "\xff", `"\/\b\f"`: "/\b\f",
		`"\ud83d\u0041"`: "\uFFFDA",
	} {
		if got, err := unquote([]byte(in)); err != nil || got != want {
			t.Errorf("%s became %q, %v", in, got, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, line := range []string{
		``, `null`, `[]`, `{}`, `{"t":1,"kind":"open"}`, `{"kind":"open","n":"1"}`, `{"kind":"open","n":1.5}`,
		`{"kind":"decision","decision":{"decision":"maybe"}}`, `{"kind":"command","command":{"access":"root"}}`,
		`{"kind":"command","command":[]}`, `{"kind":"result","rows":[[1]]}`, `{"kind":"result","rows":{}}`,
		`{"kind":"command","command":{"access":"read","params":[{"value":"!"}]}}`, `{"kind":"open"} {}`,
	} {
		if e, err := decodeEvent([]byte(line)); err == nil {
			t.Errorf("%s was read as %+v", line, e)
		}
	}
	e, err := decodeEvent([]byte(`{"t":"2026-11-24T09:30:00Z","kind":"weather","later":{"x":[1]},"text":"fine"}`))
	if err != nil || e.Kind != "weather" || e.Text != "fine" {
		t.Errorf("an event of a later version: %+v, %v", e, err)
	}
}

// drawEvent makes any event. Empty lists are nil where JSON leaves them out.
func drawEvent(t *rapid.T, anyBytes bool) postern.Event {
	text := rapid.String()
	if anyBytes {
		text = rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
	}
	str := func(name string) string { return text.Draw(t, name) }
	strs := func(name string) []string {
		if v := rapid.SliceOfN(text, 0, 3).Draw(t, name); len(v) > 0 {
			return v
		}
		return nil
	}
	num := func(name string) int64 { return rapid.Int64().Draw(t, name) }
	when := func(name string) time.Time {
		return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, name), rapid.Int64Range(0, 999999999).Draw(t, name+" ns")).UTC()
	}
	e := postern.Event{
		Time: when("t"), Kind: postern.EventKind("k" + str("kind")), N: num("n"), Tag: str("tag"), Columns: strs("columns"),
		RowCount: num("rows"), Bytes: num("bytes"), Masked: num("masked"), Code: str("code"), Text: str("text"),
	}
	if rapid.Bool().Draw(t, "has rows") {
		e.Rows = rapid.SliceOfN(rapid.SliceOfN(rapid.Ptr(text, true), 0, 4), 1, 4).Draw(t, "cells")
	}
	if rapid.Bool().Draw(t, "has command") {
		e.Command = &postern.Command{
			Protocol: str("protocol"), Verb: str("verb"), Verbs: strs("verbs"), Text: str("sql"), State: str("state"),
			Access: postern.Access(rapid.IntRange(0, 4).Draw(t, "access")), Problem: str("problem"),
			Attrs:  []postern.Attr{postern.BoolAttr(str("attr"), true), postern.StringsAttr("list", strs("attrs"))},
			Params: []postern.Param{{Value: rapid.SliceOf(rapid.Byte()).Draw(t, "value"), Type: rapid.Uint32().Draw(t, "type")}, {Null: true}},
		}
	}
	if rapid.Bool().Draw(t, "has decision") {
		e.Decision = &postern.Decision{
			Verdict: postern.Verdict(rapid.IntRange(0, 2).Draw(t, "verdict")), Rule: str("rule"), Reason: str("reason"), N: num("first"),
			Review: &postern.ReviewTerms{Approvals: 1, Timeout: time.Duration(num("timeout"))},
		}
	}
	if rapid.Bool().Draw(t, "has session") {
		e.Session = &postern.SessionInfo{ID: str("id"), Client: str("client"), StartedAt: when("started"), Denied: num("denied")}
	}
	return e
}

func TestEncodingAsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t, false)
		checkEncoding(t, &e)
	})
}

func TestAnyBytesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t, true)
		back, err := decodeEvent(appendEvent(nil, &e, nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(stated(e), back); diff != "" {
			t.Fatal(diff)
		}
	})
}

// stated is an event without the attributes that are zero.
func stated(e postern.Event) postern.Event {
	if e.Command == nil {
		return e
	}
	c := *e.Command
	c.Attrs = nil
	for _, a := range e.Command.Attrs {
		if a.Bool || a.Int != 0 || a.String != "" || len(a.Strings) > 0 {
			c.Attrs = append(c.Attrs, a)
		}
	}
	e.Command = &c
	return e
}

// TestEncodeRepeated: what is copied from the event before is what would have been
// written, whichever of the lists they share.
func TestEncodeRepeated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r repeated
		e := drawEvent(t, true)
		for range 6 {
			next := drawEvent(t, true)
			if a, b := e.Command, next.Command; a != nil && b != nil {
				keep := rapid.SliceOfN(rapid.Bool(), 6, 6).Draw(t, "kept")
				for i, share := range []func(){
					func() { b.Protocol = a.Protocol },
					func() { b.Verb = a.Verb },
					func() { b.Verbs = a.Verbs },
					func() { b.Access = a.Access },
					func() { b.Objects = a.Objects },
					func() { b.Attrs = a.Attrs },
				} {
					if keep[i] {
						share()
					}
				}
			}
			if a, b := e.Decision, next.Decision; a != nil && b != nil && rapid.Bool().Draw(t, "same decision") {
				b.Verdict, b.Rule, b.Reason, b.Masks = a.Verdict, a.Rule, a.Reason, a.Masks
			}
			if got, want := string(appendEvent(nil, &next, &r)), string(appendEvent(nil, &next, nil)); got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
			e = next
		}
	})
}

func BenchmarkEncodeEvent(b *testing.B) {
	e := command(1, "select id, email, total from public.orders where customer_id = $1 order by created_at desc limit 20")
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEvent(buf[:0], &e, nil)
	}
	b.SetBytes(int64(len(buf)))
}
