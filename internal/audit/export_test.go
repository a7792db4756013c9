package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"postern/internal/audit"
)

// exported is an export of 1,201 entries as lines, with trailers after 501,
// 1,001 and all.
func exported(t testing.TB) (lines []string, publicKey string) {
	t.Helper()
	p := newPlace(t)
	l := p.open(t, func(c *audit.Config) { c.CheckpointEntries = 500 })
	fill(t, l, 0, 1201)
	var out bytes.Buffer
	must(t, l.Export(t.Context(), &out))
	return strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n"), l.PublicKey()
}

func trailers(lines []string) []int {
	var at []int
	for i, line := range lines {
		if strings.HasPrefix(line, `{"checkpoint":`) {
			at = append(at, i)
		}
	}
	return at
}

func TestExport(t *testing.T) {
	lines, key := exported(t)
	lines[len(lines)-1] += "\n"
	report, err := audit.VerifyExport(t.Context(), strings.NewReader(strings.Join(lines, "")), key, audit.Against{})
	if err != nil || report.Entries != 1201 || report.Signed != 1201 || report.Checkpoints != 3 {
		t.Fatalf("%+v, %v", report, err)
	}
	ends := trailers(lines)
	for i, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("line %d is no JSON", i)
		}
	}
	firstOf := func(entry int) int { // the first entry of the stretch that a trailer covers
		first := 1
		for n, end := range ends {
			if covered := end - n; entry > covered {
				first = covered + 1
			}
		}
		return first
	}
	const victim = 800
	line := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf(`{"seq":%d,`, victim)) })
	end := ends[slices.IndexFunc(ends, func(e int) bool { return e > line })]
	check := func(name string, at int, change func([]string) []string) {
		t.Helper()
		text := strings.Join(change(slices.Clone(lines)), "")
		_, err := audit.VerifyExport(t.Context(), strings.NewReader(text), key, audit.Against{})
		if seq := tampered(t, err); seq != int64(at) {
			t.Errorf("%s: found at %d, want %d: %v", name, seq, at, err)
		}
	}
	edited := strings.Replace(lines[line], "alice", "mallory", 1)
	check("edit", victim, func(l []string) []string { l[line] = edited; return l })
	check("edit of spaces", victim, func(l []string) []string { l[line] = strings.Replace(l[line], ",", ", ", 1); return l })
	check("edit with its hash", firstOf(victim), func(l []string) []string {
		l[line] = edited
		l[end] = strings.Replace(l[end], `"hashes":["`, `"hashes":["A`, 1)
		return l
	})
	check("deletion", victim, func(l []string) []string { return slices.Delete(l, line, line+1) })
	check("deletion with new numbers", victim, func(l []string) []string {
		l = slices.Delete(l, line, line+1)
		for i := line; i < end-1; i++ {
			n := victim + i - line
			l[i] = strings.Replace(l[i], fmt.Sprintf(`"seq":%d,`, n+1), fmt.Sprintf(`"seq":%d,`, n), 1)
		}
		return l
	})
	check("insertion", victim+1, func(l []string) []string { return slices.Insert(l, line+1, l[line]) })
	check("swap", victim, func(l []string) []string { l[line], l[line+1] = l[line+1], l[line]; return l })
	check("a line that is no entry", victim, func(l []string) []string { l[line] = "{}\n"; return l })
	check("a line that is no JSON", victim, func(l []string) []string { l[line] = "x\n"; return l })
	check("cut in the middle", victim, func(l []string) []string { return l[:line] })
	check("cut after a trailer", end-slices.Index(ends, end)+1, func(l []string) []string { return l[:end+1] })
	check("cut before the last trailer", 1202, func(l []string) []string { return l[:len(l)-1] })
	check("torn last line", 1202, func(l []string) []string { l[len(l)-1] = l[len(l)-1][:40]; return l })
	check("nothing", 1, func([]string) []string { return nil })
	check("something after the end", 1202, func(l []string) []string { return append(l, l[0]) })
	check("a trailer removed with its entries", firstOf(victim), func(l []string) []string {
		return slices.Delete(l, firstOf(victim)+slices.Index(ends, end)-1, end+1)
	})
	check("a trailer in another's place", firstOf(victim), func(l []string) []string { l[end] = l[ends[len(ends)-1]]; return l })

	_, err = audit.VerifyExport(t.Context(), strings.NewReader(strings.Join(lines, "")), newPlace(t).key.Public(), audit.Against{})
	tampered(t, err)
	if _, err := audit.VerifyExport(t.Context(), strings.NewReader(""), "no key", audit.Against{}); err == nil {
		t.Error("no key was taken")
	}
}

func TestExportOfAnEmptyLog(t *testing.T) {
	p := newPlace(t)
	l := p.open(t, nil)
	var out bytes.Buffer
	must(t, l.Export(t.Context(), &out))
	if report, err := audit.VerifyExport(t.Context(), &out, l.PublicKey(), audit.Against{}); err != nil || report.Entries != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// An export that a forger signs by himself is none of this log's.
func TestForgedExport(t *testing.T) {
	p, forger := newPlace(t), newPlace(t)
	l := forger.open(t, nil)
	fill(t, l, 0, 3)
	var out bytes.Buffer
	must(t, l.Export(t.Context(), &out))
	_, err := audit.VerifyExport(t.Context(), &out, p.key.Public(), audit.Against{})
	tampered(t, err)
}

func FuzzVerifyExport(f *testing.F) {
	p := newPlace(f)
	l := p.open(f, nil)
	fill(f, l, 0, 5)
	var out bytes.Buffer
	must(f, l.Export(f.Context(), &out))
	whole, key := out.Bytes(), l.PublicKey()
	f.Add(whole, uint16(0), byte(0))
	f.Add(whole, uint16(100), byte(1))
	f.Add([]byte(`{"checkpoint":"x","hashes":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}`+"\n"), uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, text []byte, at uint16, change byte) {
		if int(at) < len(text) {
			text[at] ^= change
		}
		report, err := audit.VerifyExport(t.Context(), io.LimitReader(bytes.NewReader(text), 1<<20), key, audit.Against{})
		if err == nil && (report.Entries != 5 || !strings.Contains(string(whole), strings.TrimSuffix(firstLine(text), "\n"))) {
			t.Fatalf("verified as %+v:\n%s", report, text)
		}
	})
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}
