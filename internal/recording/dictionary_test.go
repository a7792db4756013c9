package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/s2"
	"pgregory.net/rapid"

	"postern"
)

// liken has the next frame of a recording begin a dictionary, as in a busy session.
func liken(w *Writer) {
	w.mu.Lock()
	w.recent = busyEnough
	w.mu.Unlock()
}

// kinds counts the frames of a recording by their type.
func kinds(t testing.TB, f *Folder, id string) map[frameType]int {
	t.Helper()
	raw, err := os.ReadFile(f.dayPath(id, start))
	must(t, err)
	got := map[frameType]int{}
	for _, part := range split(t, raw)[1:] {
		got[frameType(part[typeAt])]++
	}
	return got
}

// Whatever is compressed by a dictionary is read again, by S2's own decoder.
func TestEncodeByDictionary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(
			rapid.SampledFrom([]string{"select 1", `","kind":"command","n":`, strings.Repeat("x", 300), strings.Repeat("ab", 999), "\x00\x00\x00\x00\x00\x00\x00\x00", ""}),
			rapid.StringN(0, 70, 200),
		)
		draw := func(name string, most int) []byte {
			text := strings.Join(rapid.SliceOfN(piece, 1, 60).Draw(t, name), "")
			return []byte(text[:min(len(text), most)])
		}
		var d dictionary
		for d.begin(nil); len(d.text) == 0; d.begin(draw("begin", maxDictionary)) {
		}
		reader := dictionary{}
		reader.begin(d.text[1:])
		for range 3 {
			text := draw("text", largestLike)
			// What a text has of the dictionary is as good as any: from any place, so long.
			if from := rapid.IntRange(0, len(d.text)-2).Draw(t, "from"); rapid.Bool().Draw(t, "of it") {
				text = append(text, d.text[1+from:min(len(d.text), 1+from+rapid.IntRange(0, 600).Draw(t, "long"))]...)
				text = append(text, draw("after", 20)...)
			}
			if len(text) == 0 || len(text) > largestLike {
				continue
			}
			dict := bytes.Clone(d.text)
			kind, packed := d.pack(nil, text)
			if kind != frameLike && kind != frameAdded {
				t.Fatalf("type %d", kind)
			}
			if most := s2.MaxEncodedLen(len(text)); len(packed) > most {
				t.Fatalf("%d bytes became %d, more than S2's %d", len(text), len(packed), most)
			}
			if got, err := s2.NewDict(dict).Decode(nil, packed); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("S2 reads %q, %v\nof %q", got, err, text)
			}
			if got, err := reader.unpack(kind, packed); err != nil || !bytes.Equal(got, text) {
				t.Fatalf("read %q, %v\nof %q", got, err, text)
			}
			if !bytes.Equal(reader.text, d.text) {
				t.Fatal("reader and writer have other dictionaries")
			}
		}
	})
}

// The commands of a busy session, of a few kinds and with large ones between them,
// are read again as they were written, from any place; and take a fraction.
func TestBusySessionTakesLess(t *testing.T) {
	f := openFolder(t, nil)
	text := func(n int64) string {
		switch {
		case n%97 == 0:
			return fmt.Sprintf("insert into public.orders values (%d, '%s')", n, strings.Repeat("large ", 3000+int(n)))
		case n%5 == 0:
			return fmt.Sprintf("update public.orders set total = total + %d where customer_id = %d returning id, email, total", n*7919%1000, n)
		case n%3 == 0:
			return fmt.Sprintf("delete from public.sessions where expires_at < now() and id = %d", n)
		default:
			return fmt.Sprintf("select id, email, total from public.orders where customer_id = %d order by created_at desc", n)
		}
	}
	const commands = 1000
	write := func(id string, before func(*Writer)) (size int64) {
		w := startWriter(t, f, id)
		for n := int64(1); n <= commands; n++ {
			before(w)
			e := command(n, text(n))
			if n%5 == 0 {
				e.Command.Objects = []postern.Object{{Kind: "function", Name: "pg_catalog.something_else"}, {Kind: "column", Name: "accounting.balances.amount", Write: true}}
			}
			must(t, w.Append(e))
			must(t, w.Append(postern.Event{Time: start, Kind: postern.EventDecision, N: n, Decision: &postern.Decision{Verdict: postern.Allow, Rule: "engineers-read", Policy: "9f2c5b7a01d4"}}))
			must(t, w.Flush())
		}
		digestOf(t, w)
		return fileSize(t, f.dayPath(id, start))
	}
	busy := write("ss_1", func(*Writer) {})
	slow := write("ss_2", func(w *Writer) { w.mu.Lock(); w.recent = 0; w.mu.Unlock() })
	if busy > slow/2 {
		t.Errorf("%d bytes, where each frame by itself takes %d", busy, slow)
	}
	got := kinds(t, f, "ss_1")
	if got[frameLike] < commands*3/4 || got[frameAdded] < 2 || got[frameText]+got[frameS2] < commands/groupFrames {
		t.Errorf("types of frames: %v", got)
	}
	if got := kinds(t, f, "ss_2"); got[frameLike]+got[frameAdded] > 0 {
		t.Errorf("types of a slow session's frames: %v", got)
	}
	var places []string
	scan := func(from string) (n int64) {
		t.Helper()
		finished, err := f.Scan("ss_1", from, func(e *postern.Event, after func() string) error {
			if e.Kind == postern.EventCommand {
				if n == 0 {
					n = e.N - 1
				}
				if n++; e.N != n || e.Command.Text != text(n) {
					return fmt.Errorf("event %d is %d: %.50q", n, e.N, e.Command.Text)
				}
			}
			if place := after(); from == "" && place != "" && e.Kind == postern.EventDecision {
				places = append(places, place)
			}
			return nil
		})
		if err != nil || !finished {
			t.Fatalf("from %q: finished %v, %v", from, finished, err)
		}
		return n
	}
	if n := scan(""); n != commands || len(places) != commands {
		t.Fatalf("%d commands, %d places", n, len(places))
	}
	for i := 0; i < commands-1; i += 7 {
		if n := scan(places[i]); n != commands {
			t.Errorf("from place %d: up to %d", i, n)
		}
	}
}

// A session that rests has no dictionary, and one that goes on has another.
func TestRestingSessionHasNoDictionary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFolder(t, func(c *Config) { c.Sync = SyncFlush }) // and no windows
		w := startWriter(t, f, "ss_1")
		n := int64(0)
		some := func(count int) {
			for range count {
				n++
				must(t, w.Append(command(n, fmt.Sprintf("select %d", n))))
				must(t, w.Flush())
			}
		}
		has := func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.sealer.like != nil
		}
		some(busyEnough)
		if has() {
			t.Error("a session that isn't busy has a dictionary")
		}
		some(50)
		if !has() {
			t.Error("a busy session has none")
		}
		time.Sleep(flushWithin) // it was busy within this second
		some(1)
		if !has() {
			t.Error("it is gone before the session rests")
		}
		time.Sleep(2 * flushWithin)
		if has() {
			t.Error("a session that rests has a dictionary")
		}
		some(busyEnough + 5)
		digestOf(t, w)
		events, err := readAll(t, f, "ss_1")
		if !errors.Is(err, io.EOF) || int64(len(events)) != n || events[n-1].Command.Text != fmt.Sprintf("select %d", n) {
			t.Errorf("%d events, %v", len(events), err)
		}
	})
}

// What refers to a dictionary that isn't there, or to more of one than there is, is
// refused, though it was sealed with the right key.
func TestDictionariesThatArent(t *testing.T) {
	line := []byte(`{"t":"2026-11-24T09:30:00Z","kind":"open"}` + "\n")
	long := func(size int) []byte {
		begin, end := `{"t":"2026-11-24T09:30:00Z","kind":"notice","text":"`, `"}`+"\n"
		return []byte(begin + strings.Repeat("x", size-len(begin)-len(end)) + end)
	}
	by := func(dict, text []byte) []byte {
		var d dictionary
		d.begin(dict)
		return d.encode(nil, text)
	}
	type sealed struct {
		kind frameType
		body []byte
	}
	for name, c := range map[string]struct {
		frames []sealed
		want   error
	}{
		"first":      {[]sealed{{frameLike, by(line, line)}}, errNoDictionary},
		"added":      {[]sealed{{frameAdded, by(line, line)}}, errNoDictionary},
		"too short":  {[]sealed{{frameText, line[:minDictionary-1]}, {frameLike, by(line, line)}}, errNoDictionary},
		"too long":   {[]sealed{{frameText, long(maxDictionary + 1)}, {frameLike, by(line, line)}}, errNoDictionary},
		"beyond it":  {[]sealed{{frameText, line}, {frameLike, []byte{10, 9<<2 | s2Copy2, 0xff, 0xff}}}, errTextPacked},
		"no content": {[]sealed{{frameText, line}, {frameLike, nil}}, errTextLength},
		"bomb":       {[]sealed{{frameText, line}, {frameLike, []byte("\xff\xff\xff\x7f\x00a")}}, errTextLength},
		"full":       {[]sealed{{frameText, long(maxDictionary)}, {frameAdded, by(line, line)}}, errDictionarySize},
	} {
		f := openFolder(t, nil)
		h := &header{version: version, id: "ss_1", created: start}
		s, err := f.newKey(h)
		must(t, err)
		raw := h.bytes()
		for _, fr := range c.frames {
			if raw, err = s.seal(raw, fr.kind, fr.body); err != nil {
				t.Fatal(err)
			}
		}
		r, err := f.newReader(bytes.NewReader(raw), "ss_1")
		must(t, err)
		for err == nil {
			_, err = r.Next()
		}
		var tampered *TamperedError
		if !errors.As(err, &tampered) || tampered.Frame != int64(len(c.frames)-1) || tampered.Reason != c.want.Error() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A recording of version 1 is read, and one that its writer left is finished as one.
func TestVersion1(t *testing.T) {
	page := "testdata/version1.md"
	raw := annotated(t, example(t, page, "hex"))
	parts := split(t, raw)
	for name, c := range map[string]struct {
		raw    []byte
		digest string
	}{
		"finished":   {raw, strings.TrimSpace(example(t, page, "digest"))},
		"unfinished": {bytes.Join(parts[:len(parts)-1], nil), ""},
	} {
		f := openFolder(t, func(c *Config) { c.Keys, c.Rand = openKeyring{}, &counting{} })
		must(t, os.WriteFile(f.livePath("ss_example"), c.raw, 0o600))
		info, err := f.Finish("ss_example")
		if err != nil || c.digest != "" && info.Digest != c.digest {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		r, err := f.Read("ss_example")
		must(t, err)
		var export bytes.Buffer
		must(t, Export(&export, r))
		must(t, r.Close())
		if lines := example(t, page, "jsonl"); !strings.HasPrefix(export.String(), lines) || strings.Contains(export.String(), interrupted) != (c.digest == "") {
			t.Errorf("%s reads as\n%s", name, export.String())
		}
		if r.Digest() != info.Digest {
			t.Errorf("%s: the digest is %s, not %s", name, r.Digest(), info.Digest)
		}
	}
	later := bytes.Clone(raw)
	later[len(magic)+1] = version + 1
	if _, err := readHeader(bytes.NewReader(later)); err == nil || !strings.Contains(err.Error(), "format version 3; this program reads 1 to 2") {
		t.Errorf("version 3: %v", err)
	}
}

// Places that an earlier version said are places still.
func TestPlaceOfAnEarlierVersion(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	m, err := parseMark("1234.7.9." + sum)
	if want := "1234.7.9.0." + sum; err != nil || m.String() != want {
		t.Errorf("%v, %v; want %s", m, err, want)
	}
}
