package recording

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// sample is a finished file of several frames, taken apart.
type sample struct {
	folder *Folder
	raw    []byte
	frames [][]byte // the header first
}

func newSample(t testing.TB, id string) *sample {
	t.Helper()
	f := openFolder(t, nil)
	w := startWriter(t, f, id)
	for n := range int64(6) {
		if n == 2 {
			liken(w)
		}
		comment := strings.Repeat("x", int(n)*100)
		if n == 3 { // it is like no other
			for i := range 6 {
				comment += fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i)}))
			}
		}
		must(t, w.Append(command(n+1, fmt.Sprintf("select %d -- %s", n+1, comment))))
		must(t, w.Flush())
	}
	digestOf(t, w)
	if got := kinds(t, f, id); got[frameLike] == 0 || got[frameAdded] == 0 {
		t.Fatalf("types of frames: %v", got)
	}
	raw, err := os.ReadFile(f.dayPath(id, start))
	must(t, err)
	return &sample{folder: f, raw: raw, frames: split(t, raw)}
}

func split(t testing.TB, raw []byte) [][]byte {
	t.Helper()
	h, err := readHeader(bytes.NewReader(raw))
	must(t, err)
	parts := [][]byte{raw[:h.size()]}
	frames := frameReader{src: bytes.NewReader(raw), off: h.size(), chain: chain{sum: h.chain()}}
	for {
		f, err := frames.next()
		if err != nil {
			return parts
		}
		parts = append(parts, bytes.Clone(f.raw))
		frames.pass(f)
	}
}

// read returns the number of whole events, and the error that ended reading.
func (s *sample) read(raw []byte) (int, error) {
	r, err := s.folder.newReader(bytes.NewReader(raw), "ss_1")
	if err != nil {
		return 0, err
	}
	for n := 0; ; n++ {
		e, err := r.Next()
		if err != nil {
			return n, err
		}
		if !strings.HasPrefix(e.Command.Text, fmt.Sprintf("select %d ", n+1)) {
			return n, fmt.Errorf("event %d is not what was written: %q", n, e.Command.Text)
		}
	}
}

// frameOf is the number of the frame in which a byte lies; -1 is the header.
func (s *sample) frameOf(off int) int64 {
	for i, f := range s.frames {
		if off < len(f) {
			return int64(i) - 1
		}
		off -= len(f)
	}
	return int64(len(s.frames)) - 1
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	s := newSample(t, "ss_1")
	if n, err := s.read(s.raw); n != 6 || !errors.Is(err, io.EOF) {
		t.Fatalf("untouched: %d, %v", n, err)
	}
	for off := range s.raw {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			raw := bytes.Clone(s.raw)
			raw[off] ^= flip
			n, err := s.read(raw)
			frame := s.frameOf(off)
			var tampered *TamperedError
			switch {
			case err == nil || errors.Is(err, io.EOF):
				t.Fatalf("byte %d (frame %d) changed unseen", off, frame)
			case frame < 0: // the header: any error will do, as nothing is shown
				if n != 0 {
					t.Fatalf("byte %d of the header changed, and %d events were read: %v", off, n, err)
				}
			case !errors.As(err, &tampered) || tampered.Frame != frame || int64(n) != frame:
				t.Fatalf("byte %d changed in frame %d: %d events, then %v", off, frame, n, err)
			}
		}
	}
}

func TestEveryTruncationIsFound(t *testing.T) {
	s := newSample(t, "ss_1")
	for size := range s.raw {
		n, err := s.read(s.raw[:size])
		frame := s.frameOf(size)
		if frame < 0 {
			if !errors.Is(err, errShortHeader) {
				t.Fatalf("cut at %d, in the header: %v", size, err)
			}
			continue
		}
		whole := 0
		for _, f := range s.frames[:frame+1] {
			whole += len(f)
		}
		var unfinished *UnfinishedError
		if !errors.As(err, &unfinished) || int64(n) != frame || unfinished.Events != frame || unfinished.Torn != int64(size-whole) {
			t.Fatalf("cut at %d, %d bytes into frame %d: %d events, then %#v", size, size-whole, frame, n, err)
		}
	}
}

// A machine that stops can leave zeros where the disk had not been written.
func TestZerosAtTheEndAreTorn(t *testing.T) {
	s := newSample(t, "ss_1")
	end := len(s.raw) - len(s.frames[7]) // before the terminator
	for _, c := range []struct{ keep, zeros int }{
		{end, 1}, {end, 31}, {end, 32}, {end, 5000}, {end - 16, 16}, {end - 16, 4096}, {end - 20, 4000},
	} {
		raw := append(bytes.Clone(s.raw[:c.keep]), make([]byte, c.zeros)...)
		n, err := s.read(raw)
		want := 6
		if c.keep < end {
			want = 5
		}
		var unfinished *UnfinishedError
		if !errors.As(err, &unfinished) || n != want {
			t.Errorf("%d bytes and %d zeros: %d events, then %v", c.keep, c.zeros, n, err)
		}
	}
	// Zeros in the middle are no crash.
	raw := bytes.Clone(s.raw)
	clear(raw[len(s.frames[0])+len(s.frames[1]):][:len(s.frames[2])])
	var tampered *TamperedError
	if n, err := s.read(raw); n != 1 || !errors.As(err, &tampered) {
		t.Errorf("zeros in the middle: %d events, then %v", n, err)
	}
}

func TestEveryRearrangementIsFound(t *testing.T) {
	s, other := newSample(t, "ss_1"), newSample(t, "ss_2")
	check := func(what string, firstBad int64, frames [][]byte) {
		t.Helper()
		n, err := s.read(slices.Concat(frames...))
		var tampered *TamperedError
		if !errors.As(err, &tampered) || tampered.Frame != firstBad || int64(n) > firstBad {
			t.Errorf("%s: %d events, then %v; want tampering at frame %d", what, n, err, firstBad)
		}
	}
	last := len(s.frames) - 1
	for i := 1; i < last; i++ {
		check(fmt.Sprintf("frame %d deleted", i-1), int64(i-1), slices.Delete(slices.Clone(s.frames), i, i+1))
		check(fmt.Sprintf("frame %d doubled", i-1), int64(i), slices.Insert(slices.Clone(s.frames), i, s.frames[i]))
		swapped := slices.Clone(s.frames)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		check(fmt.Sprintf("frame %d swapped with the next", i-1), int64(i-1), swapped)
		spliced := slices.Clone(s.frames)
		spliced[i] = other.frames[i]
		check(fmt.Sprintf("frame %d of another recording", i-1), int64(i-1), spliced)
		if i < last-1 {
			check(fmt.Sprintf("end after frame %d", i-1), int64(i), append(slices.Clone(s.frames[:i+1]), s.frames[last]))
		}
	}
	check("frames after the end", int64(last), append(slices.Clone(s.frames), s.frames[1]))
	check("a byte after the end", int64(last), append(slices.Clone(s.frames), []byte{0}))
	if n, err := s.read(other.raw); n != 0 || err == nil {
		t.Errorf("the file of another session was read: %d events, %v", n, err)
	}
	key := slices.Clone(s.frames)
	key[0] = other.frames[0]
	if n, err := s.read(slices.Concat(key...)); n != 0 || err == nil {
		t.Errorf("the header of another recording: %d events, %v", n, err)
	}
}

// Who has the key can write a valid frame, but not one that keeps the digest.
func TestDigestBindsTheWholeFile(t *testing.T) {
	seen := make(map[string]bool)
	for range 4 {
		f := openFolder(t, nil)
		w := startWriter(t, f, "ss_1")
		must(t, w.Append(command(1, "select 1")))
		digest := digestOf(t, w)
		if seen[digest] {
			t.Fatal("two recordings have the same digest")
		}
		seen[digest] = true
	}
}

func FuzzReader(f *testing.F) {
	s := newSample(f, "ss_1")
	f.Add(s.raw, uint16(0), byte(0))
	f.Add(s.raw[:len(s.raw)/2], uint16(40), byte(3))
	f.Add(s.frames[0], uint16(0), byte(1))
	f.Add([]byte(magic), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, raw []byte, at uint16, change byte) {
		if int(at) < len(raw) {
			raw[at] ^= change
		}
		r, err := s.folder.newReader(bytes.NewReader(raw), "ss_1")
		if err != nil {
			return
		}
		var n int64
		for {
			_, err := r.Next()
			if errors.Is(err, io.EOF) && n != 6 {
				t.Fatalf("a finished recording of %d events", n)
			}
			if err != nil {
				break
			}
			n++
		}
		if n > 6 {
			t.Fatalf("%d events from a file of 6", n)
		}
		if cap(r.text) > 4*(len(raw)+chunkSize) {
			t.Fatalf("a file of %d bytes took %d", len(raw), cap(r.text))
		}
	})
}

// FuzzFrames feeds frames that were sealed with the right key, as a hostile
// holder of the key, or a bug, might write them.
func FuzzFrames(f *testing.F) {
	folder := openFolder(f, nil)
	f.Add([]byte(`{"t":"2026-11-24T09:30:00Z","kind":"open"}`+"\n"), byte(1), []byte(nil), byte(3))
	f.Add([]byte("\x05\x10hello"), byte(2), []byte("{}\n"), byte(1))
	f.Add([]byte("\xff\xff\xff\xff\x0f"), byte(2), []byte{}, byte(3))
	f.Add([]byte(`{"t":"2026-11-24T09:30:00Z","kind":"open"}`+"\n"), byte(1), []byte("\x08\x11\x00\x00\n"), byte(4))
	f.Add([]byte(`{"t":"2026-11-24T09:30:00Z","kind":"open"}`+"\n"), byte(1), []byte("\x0a\x26\x2b\x00"), byte(5))
	f.Fuzz(func(t *testing.T, one []byte, oneKind byte, two []byte, twoKind byte) {
		h := &header{version: version, id: "ss_1", created: start}
		s, err := folder.newKey(h)
		must(t, err)
		raw := h.bytes()
		for _, fr := range []struct {
			kind byte
			text []byte
		}{{oneKind, one}, {twoKind, two}} {
			if len(fr.text) > chunkSize {
				return
			}
			if raw, err = s.seal(raw, frameType(fr.kind), fr.text); err != nil {
				t.Fatal(err)
			}
		}
		r, err := folder.newReader(bytes.NewReader(raw), "ss_1")
		must(t, err)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	e := command(1, "select 1")
	f.Add(appendEvent(nil, &e, nil))
	f.Add([]byte(`{"kind":"result","rows":[["a",null],null],"text":"\ud83d\udcff"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decodeEvent(line)
		if err != nil {
			return
		}
		again, err := decodeEvent(appendEvent(nil, &e, nil))
		if err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
		if string(appendEvent(nil, &again, nil)) != string(appendEvent(nil, &e, nil)) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}
