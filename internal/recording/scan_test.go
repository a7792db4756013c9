package recording

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern"
)

// A scan goes on where another stopped, over the frames of a recording that
// grows, and takes no place that isn't one.
func TestScan(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	var places []string
	n := 0
	write := func(flush bool) {
		n++
		must(t, w.Append(postern.Event{Kind: postern.EventNotice, N: int64(n), Text: strings.Repeat("x", n%7*1000)}))
		if flush {
			must(t, w.Flush())
		}
	}
	scan := func(from string) (seen []int64, finished bool) {
		t.Helper()
		finished, err := f.Scan("ss_1", from, func(e *postern.Event, after func() string) error {
			if e.Kind == postern.EventNotice {
				seen = append(seen, e.N)
			}
			if place := after(); place != "" {
				places = append(places, place)
			}
			return nil
		})
		must(t, err)
		return seen, finished
	}
	for i := range 100 {
		write(i%3 == 0)
	}
	must(t, w.Flush())
	seen, finished := scan("")
	if len(seen) != 100 || finished {
		t.Fatalf("%d events, finished %v", len(seen), finished)
	}
	last := places[len(places)-1]
	if seen, _ := scan(last); len(seen) != 0 {
		t.Errorf("after the last: %v", seen)
	}
	write(true)
	_, err := w.Close()
	must(t, err)
	if seen, finished := scan(last); fmt.Sprint(seen) != "[101]" || !finished {
		t.Errorf("after the last: %v, finished %v", seen, finished)
	}
	for _, place := range places {
		seen, finished := scan(place)
		if !finished || len(seen) > 0 && seen[len(seen)-1] != 101 {
			t.Errorf("from %s: %v, finished %v", place, seen, finished)
		}
	}
	none := func(*postern.Event, func() string) error { return nil }
	for _, place := range []string{"x", "1.2.3.ff", strings.Replace(last, ".", ".9", 1), last[:len(last)-64] + strings.Repeat("0", 64), "9" + last, "-1.0.0." + last[len(last)-64:]} {
		if _, err := f.Scan("ss_1", place, none); err == nil {
			t.Errorf("%s is a place", place)
		}
	}
	if _, err := f.Scan("ss_2", "", none); !errors.Is(err, postern.ErrNotFound) {
		t.Error(err)
	}
}

// A scan for texts tells of commands what a scan tells, and of nothing else, though
// it says it was a command.
func TestScanTexts(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	for i, text := range []string{"select 1", "caf\xe9 \xff\x00", `{"kind":"command"}`, "", "é\u2028\U0001F512"} {
		c := command(int64(i+1), text)
		c.Command.Params = []postern.Param{{Value: []byte(text), Type: 25}, {Null: true}, {Value: []byte{0, 0xff}, Binary: true}}
		must(t, w.Append(c))
		must(t, w.Append(postern.Event{Kind: postern.EventNotice, N: int64(i + 1), Text: `"kind":"command"`}))
	}
	_, err := w.Close()
	must(t, err)
	gather := func(scan func(string, string, func(*postern.Event, func() string) error) (bool, error)) (all []string, places int) {
		finished, err := scan("ss_1", "", func(e *postern.Event, after func() string) error {
			if after() != "" {
				places++
			}
			if e != nil && e.Kind == postern.EventCommand {
				all = append(all, fmt.Sprintf("%v %d %q %v", e.Time, e.N, e.Command.Text, e.Command.Params))
			}
			return nil
		})
		must(t, err)
		if !finished {
			t.Error("not finished")
		}
		return all, places
	}
	want, wantPlaces := gather(f.Scan)
	got, gotPlaces := gather(f.ScanTexts)
	if len(want) != 5 || !slices.Equal(got, want) || gotPlaces != wantPlaces {
		t.Errorf("got  %q, %d places\nwant %q, %d places", got, gotPlaces, want, wantPlaces)
	}
}

func BenchmarkScan(b *testing.B) {
	f := openFolder(b, nil)
	w := startWriter(b, f, "ss_1")
	for n := range int64(10000) {
		c := command(n+1, "select id, email, total from public.orders where customer_id = $1")
		must(b, w.Append(c))
		must(b, w.Append(postern.Event{Kind: postern.EventDecision, N: n + 1, Decision: &postern.Decision{Verdict: postern.Allow, Policy: "v1", Reason: "access app allows it"}}))
		must(b, w.Append(postern.Event{Kind: postern.EventResult, N: n + 1, Tag: "SELECT 1", Columns: []string{"id", "email"}, RowCount: 1}))
	}
	digestOf(b, w)
	for _, way := range []struct {
		name string
		scan func(string, string, func(*postern.Event, func() string) error) (bool, error)
	}{{"events", f.Scan}, {"texts", f.ScanTexts}} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				if finished, err := way.scan("ss_1", "", func(*postern.Event, func() string) error { return nil }); err != nil || !finished {
					b.Fatal(finished, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/command")
		})
	}
}
