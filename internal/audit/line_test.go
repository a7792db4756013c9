package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postern"
)

// byTheBook is the line as encoding/json spells it.
func byTheBook(t *testing.T, seq int64, e postern.AuditEntry) string {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line{seq, e}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// Every member that an entry has is in its line, as encoding/json would have it.
func TestLineSaysWhatJSONSays(t *testing.T) {
	var whole postern.AuditEntry
	v := reflect.ValueOf(&whole).Elem()
	for i := range v.NumField() {
		alone := postern.AuditEntry{}
		for _, f := range []reflect.Value{v.Field(i), reflect.ValueOf(&alone).Elem().Field(i)} {
			switch f.Interface().(type) {
			case time.Time:
				f.Set(reflect.ValueOf(time.Date(2026, 11, 24, 9, 30, 0, 123456000, time.UTC)))
			case int64:
				f.SetInt(-42)
			case []string:
				f.Set(reflect.ValueOf([]string{"public.orders", "ü\"\\\n\x01<&>\u2028"}))
			default:
				f.SetString("some " + v.Type().Field(i).Name + " ü\"\\\t\x7f\x00<&>\u2028")
			}
		}
		if got, want := string(appendLine(nil, 7, &alone)), byTheBook(t, 7, alone); got != want {
			t.Errorf("%s:\n%s, want\n%s", v.Type().Field(i).Name, got, want)
		}
	}
	for _, e := range []postern.AuditEntry{{}, whole} {
		if got, want := string(appendLine(nil, 1<<40, &e)), byTheBook(t, 1<<40, e); got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("alice", "public.orders", "\xff\x00\u2028")
	f.Add("", "\"", "<>&\\")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		r, buf := appendRecord([]byte("before"), 3, postern.AuditEntry{Identity: a, Objects: []string{b, c}, Reason: c, Action: b})
		if string(r.Body) != byTheBook(t, 3, r.AuditEntry) || !utf8.Valid(r.Body) || bytes.ContainsAny(r.Body, "\n\x00") || !bytes.HasSuffix(buf, r.Body) {
			t.Fatalf("%q", r.Body)
		}
		again, err := decodeBody(r.Body)
		if err != nil || again.Identity != r.Identity || again.Reason != r.Reason || again.Objects[0] != r.Objects[0] {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
