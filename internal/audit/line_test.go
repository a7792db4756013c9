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

// Whatever stands in the store's index, reading it neither panics nor leaves the
// segment; what was written is found, and nothing else is.
func FuzzFind(f *testing.F) {
	s := newSegment(0)
	for n := range 300 {
		s.add(&postern.AuditEntry{Action: "command", Identity: "alice", Verb: "select", Session: strings.Repeat("s", n%7+1), N: int64(n)})
	}
	for _, bucket := range s.stored().Buckets {
		f.Add(bucket, uint64(fieldAction.term("command")), uint16(3), byte(1))
	}
	f.Fuzz(func(t *testing.T, bucket []byte, wanted uint64, at uint16, change byte) {
		if int(at) < len(bucket) {
			bucket[at] ^= change
		}
		set, err := find(bucket, term(wanted))
		last := segmentSize
		set.backward(func(place int) bool {
			if place >= last || err == nil && len(bucket) == 0 {
				t.Errorf("place %d after %d", place, last)
			}
			last = place
			return true
		})
	})
}

func TestPostingsAreFoundAgain(t *testing.T) {
	s := newSegment(3)
	for n := range segmentSize {
		e := &postern.AuditEntry{Action: "command", Identity: []string{"alice", "bob", "carol"}[n%3], N: int64(n)}
		if n%1000 == 7 {
			e.Rule = "rare"
		}
		if n == 4 {
			e = nil // it can't be read
		}
		s.add(e)
	}
	stored := s.stored()
	check := func(of term, want func(n int) bool) {
		t.Helper()
		set, err := find(stored.Buckets[of.bucket()], of)
		if err != nil {
			t.Fatal(err)
		}
		n := segmentSize
		set.backward(func(place int) bool {
			for n--; n > place; n-- {
				if want(n) {
					t.Errorf("place %d is missing", n)
				}
			}
			if !want(place) {
				t.Errorf("place %d is one too many", place)
			}
			return true
		})
	}
	check(fieldAction.term("COMMAND"), func(n int) bool { return n != 4 })
	check(fieldWho.term("bob"), func(n int) bool { return n%3 == 1 && n != 4 })
	check(fieldRule.term("rare"), func(n int) bool { return n%1000 == 7 })
	check(fieldRule.term("rarer"), func(int) bool { return false })
	check(fieldWord.term("rare"), func(n int) bool { return n%1000 == 7 })
}
