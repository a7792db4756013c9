package recording

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"postern"
)

// openKeyring wraps nothing, so that the example can be read by anyone.
type openKeyring struct{}

func (openKeyring) Wrap(key, _ []byte) ([]byte, error)       { return bytes.Clone(key), nil }
func (openKeyring) Unwrap(wrapped, _ []byte) ([]byte, error) { return bytes.Clone(wrapped), nil }

// counting is the example's randomness: 00 01 02 …
type counting struct{ next byte }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = c.next
		c.next++
	}
	return len(b), nil
}

const specification = "../../docs/recording-format.md"

// example returns a fenced block of a page by its label.
func example(t *testing.T, path, label string) string {
	t.Helper()
	page, err := os.ReadFile(path)
	must(t, err)
	_, rest, ok := strings.Cut(string(page), "```"+label+"\n")
	if !ok {
		t.Fatalf("%s has no block %q", path, label)
	}
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatalf("block %q has no end", label)
	}
	return block
}

// annotated reads bytes in hexadecimal, each line up to its first "#".
func annotated(t *testing.T, block string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(block) {
		digits, _, _ := strings.Cut(line, "#")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		must(t, err)
		out = append(out, b...)
	}
	return out
}

// The specification's example is what this package writes and reads.
func TestSpecificationsExample(t *testing.T) {
	f := openFolder(t, func(c *Config) { c.Keys, c.Rand = openKeyring{}, &counting{} })
	var events []postern.Event
	lines := example(t, specification, "jsonl")
	for line := range strings.Lines(lines) {
		e, err := decodeEvent([]byte(line))
		must(t, err)
		events = append(events, e)
	}
	w := startWriter(t, f, "ss_example")
	for i, e := range events {
		if i == 2 {
			liken(w)
		}
		must(t, w.Append(e))
		must(t, w.Flush())
	}
	digest := digestOf(t, w)
	written, err := os.ReadFile(f.dayPath("ss_example", start))
	must(t, err)
	want := annotated(t, example(t, specification, "hex"))
	if *update {
		t.Fatalf("for the specification:\n%s\n%s", dump(t, written), digest)
	}
	// From the first compressed frame on, the bytes are the compressor's choice.
	parts := split(t, want)
	same := bytes.Join(parts[:3], nil)
	if !bytes.HasPrefix(written, same) {
		t.Error("the package writes other bytes than the specification's example")
	}
	var types []byte
	for _, part := range parts[1:] {
		types = append(types, part[typeAt])
	}
	if !slices.Equal(types, []byte{1, 1, 2, 5, 4, 3}) {
		t.Errorf("the example has other frames than this test is about: types %d", types)
	}

	r, err := f.newReader(bytes.NewReader(want), "ss_example")
	must(t, err)
	var export bytes.Buffer
	must(t, Export(&export, r))
	if export.String() != lines {
		t.Errorf("the example reads as\n%s", export.String())
	}
	if said := strings.TrimSpace(example(t, specification, "digest")); said != r.digest() {
		t.Errorf("the example's digest is %s; the specification says %s", r.digest(), said)
	}

	// The specification says what a reader makes of the example without its last frame.
	r, err = f.newReader(bytes.NewReader(bytes.Join(parts[:len(parts)-1], nil)), "ss_example")
	must(t, err)
	var unfinished *UnfinishedError
	if err := Export(io.Discard, r); !errors.As(err, &unfinished) || unfinished.Torn != 0 || unfinished.Events != int64(len(events)) {
		t.Errorf("the example without its end: %v", err)
	}
}

// dump prints a file as the specification shows it.
func dump(t *testing.T, raw []byte) string {
	var b strings.Builder
	for i, part := range split(t, raw) {
		fmt.Fprintf(&b, "part %d\n", i)
		for len(part) > 0 {
			n := min(16, len(part))
			fmt.Fprintf(&b, "% x\n", part[:n])
			part = part[n:]
		}
	}
	return b.String()
}
