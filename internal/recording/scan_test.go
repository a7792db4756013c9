package recording

import (
	"errors"
	"fmt"
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
