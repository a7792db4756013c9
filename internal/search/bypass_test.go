package search_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"postern"
	"postern/internal/search"
)

// counting counts what a search does.
type counting struct {
	search.Store
	search.Recordings
	looks, parts, reads int
}

func (c *counting) LatestPart(ctx context.Context, word, or, at int64) (int64, error) {
	c.looks++
	return c.Store.LatestPart(ctx, word, or, at)
}

func (c *counting) SearchPart(ctx context.Context, id int64) (postern.SearchPart, error) {
	c.parts++
	return c.Store.SearchPart(ctx, id)
}

func (c *counting) Scan(id, from string, fn func(*postern.Event, func() string) error) (bool, error) {
	c.reads++
	return c.Recordings.Scan(id, from, fn)
}

// effort is what a search for text costs.
func effort(t *testing.T, w *world, text string, in []search.Readable) (looks, parts, reads int) {
	t.Helper()
	c := &counting{Store: w.store, Recordings: w.recordings}
	index, err := search.New(search.Config{Store: c, Recordings: c, Key: []byte(strings.Repeat("\x01", 32)), Log: slog.New(slog.DiscardHandler), Live: func() []postern.SessionInfo { return nil }})
	check(t, err)
	q, err := search.Parse(text)
	check(t, err)
	if _, _, err := index.Search(t.Context(), q, in, "", 100, inClear); err != nil {
		t.Fatal(err)
	}
	return c.looks, c.parts, c.reads
}

// What others' sessions hold doesn't show in what a search does: not one look
// more, no recording opened. A word that isn't anywhere costs the same.
func TestNothingOfOthersShows(t *testing.T) {
	w := newWorld(t)
	w.session(t, "ss_1", "mallory", "orders-db", "select 1")
	for _, id := range []string{"ss_2", "ss_3", "ss_4"} {
		w.session(t, id, "alice", "orders-db", "select takeover", "select takeover")
	}
	hers := w.readable(t, false, "mallory")
	looks, parts, reads := effort(t, w, "takeover", hers)
	absent, absentParts, absentReads := effort(t, w, "nosuchword", hers)
	if looks != absent || parts != absentParts || reads != absentReads || reads != 0 {
		t.Errorf("of others' word: %d looks, %d parts, %d reads; of none: %d, %d, %d", looks, parts, reads, absent, absentParts, absentReads)
	}
}

// A value that a mask may hide can't be looked for by whom masks bind: not in
// the text, not in a parameter, and not by how long it takes.
func TestMaskedWordsAreNotLookedFor(t *testing.T) {
	w := newWorld(t)
	rec, info := w.begin(t, "ss_1", "alice", "orders-db")
	run(t, rec, &info, "select * from cards where number = '4111111111111111' and owner = 'quuxley@example.com'")
	check(t, rec.Append(postern.Event{Time: info.StartedAt, Kind: postern.EventCommand, N: 2, Command: &postern.Command{
		Text: "select $1", Params: []postern.Param{{Value: []byte("tremendous")}, {Value: []byte{0xff}}, {Null: true}},
	}}))
	w.end(t, rec, info)
	check(t, w.index.Add(t.Context(), "ss_1"))
	for _, text := range []string{"4111111111111111", "quuxley", "tremendous"} {
		if _, _, reads := effort(t, w, text, w.readable(t, false)); reads != 1 {
			t.Errorf("%q in the clear: %d reads", text, reads)
		}
		looks, parts, reads := effort(t, w, text, w.readable(t, true))
		absent, _, _ := effort(t, w, "nosuchword", w.readable(t, true))
		if looks != absent || parts != 0 || reads != 0 {
			t.Errorf("%q masked: %d looks, %d parts, %d reads; a word that isn't there: %d looks", text, looks, parts, reads, absent)
		}
	}
	if _, _, reads := effort(t, w, "cards", w.readable(t, true)); reads != 1 {
		t.Errorf("what isn't sensitive: %d reads", reads)
	}
	// What is shown decides, whatever the index says.
	hide := func(*postern.SessionInfo) func(*postern.Event) {
		return func(e *postern.Event) {
			c := *e.Command
			c.Text, c.Params = "[redacted]", nil
			e.Command = &c
		}
	}
	want(t, "hidden when shown", w.find(t, "cards", w.readable(t, false), 10, hide))
}
