package search_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/recording"
	"postern/internal/search"
	"postern/internal/store"
	"postern/internal/vault"
)

// world is an index over the real store and real recordings.
type world struct {
	dir        string
	store      *store.DB
	recordings *recording.Folder
	index      *search.Index
	started    time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), started: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)}
	keys, err := vault.Open(w.dir, postern.Secret{})
	check(t, err)
	w.store, err = store.Open(t.Context(), "sqlite", w.dir)
	check(t, err)
	t.Cleanup(func() { check(t, w.store.Close()) })
	w.recordings, err = recording.Open(recording.Config{Dir: filepath.Join(w.dir, "recordings"), Keys: keys, MinFree: -1, Sync: recording.SyncNever})
	check(t, err)
	w.index, err = search.New(search.Config{
		Store: w.store, Recordings: w.recordings, Key: bytes.Repeat([]byte{1}, 32), Log: slog.New(slog.DiscardHandler),
		Live: func() []postern.SessionInfo { return nil },
	})
	check(t, err)
	return w
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin starts a session of somebody with a resource.
func (w *world) begin(t testing.TB, id, identity, resource string) (*recording.Writer, postern.SessionInfo) {
	t.Helper()
	w.started = w.started.Add(time.Minute)
	info := postern.SessionInfo{ID: id, Identity: identity, Kind: postern.User, Resource: resource, Protocol: "postgres", StartedAt: w.started}
	rec, err := w.recordings.Start(info)
	check(t, err)
	check(t, w.store.PutSession(t.Context(), info))
	return rec, info
}

// run records commands after those that were, each flushed as the gate does.
func run(t testing.TB, rec *recording.Writer, info *postern.SessionInfo, texts ...string) {
	t.Helper()
	for _, text := range texts {
		info.Commands++
		at := info.StartedAt.Add(time.Duration(info.Commands) * time.Millisecond)
		err := rec.Append(
			postern.Event{Time: at, Kind: postern.EventCommand, N: info.Commands, Command: &postern.Command{Protocol: "postgres", Text: text}},
			postern.Event{Time: at, Kind: postern.EventDecision, N: info.Commands, Decision: &postern.Decision{Verdict: postern.Allow}},
		)
		check(t, errors.Join(err, rec.Flush()))
	}
}

// session is a whole one, indexed.
func (w *world) session(t testing.TB, id, identity, resource string, texts ...string) {
	t.Helper()
	rec, info := w.begin(t, id, identity, resource)
	run(t, rec, &info, texts...)
	w.end(t, rec, info)
	check(t, w.index.Add(t.Context(), id))
}

func (w *world) end(t testing.TB, rec *recording.Writer, info postern.SessionInfo) {
	t.Helper()
	_, err := rec.Close()
	check(t, err)
	info.EndedAt = info.StartedAt.Add(time.Hour)
	check(t, w.store.PutSession(t.Context(), info))
}

func inClear(*postern.SessionInfo) func(*postern.Event) { return func(*postern.Event) {} }

// readable are all scopes of some identities; masked if so.
func (w *world) readable(t testing.TB, masked bool, identities ...string) []search.Readable {
	t.Helper()
	scopes, err := w.index.Scopes(t.Context())
	check(t, err)
	var in []search.Readable
	for _, s := range scopes {
		if len(identities) == 0 || slices.Contains(identities, s.Identity) {
			in = append(in, search.Readable{SearchScope: s, Masked: masked})
		}
	}
	return in
}

// find returns what is found, as "session#n", page by page.
func (w *world) find(t testing.TB, text string, in []search.Readable, limit int, show search.Show) []string {
	t.Helper()
	q, err := search.Parse(text)
	check(t, err)
	found := []string{}
	for cursor := ""; ; {
		hits, next, err := w.index.Search(t.Context(), q, in, cursor, limit, show)
		check(t, err)
		if len(hits) > limit {
			t.Fatalf("%d hits, where %d were asked for", len(hits), limit)
		}
		for _, h := range hits {
			if h.Verdict == nil || *h.Verdict != postern.Allow {
				t.Errorf("%s#%d was decided %v", h.Session.ID, h.N, h.Verdict)
			}
			found = append(found, fmt.Sprintf("%s#%d", h.Session.ID, h.N))
		}
		if cursor = next; next == "" {
			return found
		}
	}
}

func want(t testing.TB, what string, got []string, wanted ...string) {
	t.Helper()
	if !slices.Equal(got, append([]string{}, wanted...)) {
		t.Errorf("%s: %v, want %v", what, got, wanted)
	}
}

func TestSearch(t *testing.T) {
	w := newWorld(t)
	w.session(t, "ss_1", "alice", "orders-db", "SELECT 1", "SELECT * FROM public.orders WHERE customer_email = 'x'", "delete  from\n orders where id = 7")
	w.session(t, "ss_2", "bob", "orders-db", "select name from customers", "update orders set note = 'delete me from here'")
	w.session(t, "ss_3", "alice", "other-db", "SELECT ünïcode FROM Orders", "nothing else")
	all := w.readable(t, false)
	for _, c := range []struct {
		text  string
		found []string
	}{
		{"select", []string{"ss_3#1", "ss_2#1", "ss_1#2", "ss_1#1"}},
		{"ORDERS", []string{"ss_3#1", "ss_2#2", "ss_1#3", "ss_1#2"}},
		{"orders customers", nil},
		{"email", []string{"ss_1#2"}},
		{"customer_email", []string{"ss_1#2"}},
		{"customer", []string{"ss_1#2"}},
		{"delete from", []string{"ss_2#2", "ss_1#3"}},
		{`"delete from" orders`, []string{"ss_1#3"}},
		{`"delete from orders"`, []string{"ss_1#3"}},
		{"ÜNÏCODE", []string{"ss_3#1"}},
		{"order", nil},
	} {
		for _, limit := range []int{1, 3, 100} {
			want(t, fmt.Sprintf("%s by %d", c.text, limit), w.find(t, c.text, all, limit, inClear), c.found...)
		}
	}
	want(t, "bob's", w.find(t, "orders", w.readable(t, false, "bob"), 10, inClear), "ss_2#2")
	want(t, "nobody's", w.find(t, "orders", nil, 10, inClear))
	for _, text := range []string{"", "!? …", strings.Repeat("a b c d e f g h ", 9) + "i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8"} {
		if _, err := search.Parse(text); err == nil {
			t.Errorf("%q is a query", text)
		}
	}
	q, _ := search.Parse("orders")
	for _, cursor := range []string{"x", "1", "-1.0", "1.-1", "0.0"} {
		if _, _, err := w.index.Search(t.Context(), q, all, cursor, 1, inClear); !errors.Is(err, search.ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// An open session is found as far as it went, and each command once.
func TestOpenSession(t *testing.T) {
	w := newWorld(t)
	rec, info := w.begin(t, "ss_1", "alice", "orders-db")
	var wanted []string
	for i := range 700 { // three parts, and what came between two looks
		run(t, rec, &info, fmt.Sprintf("select needle, w%d", i))
		wanted = append([]string{fmt.Sprintf("ss_1#%d", i+1)}, wanted...)
		if i%97 == 0 || i == 699 {
			check(t, w.index.Add(t.Context(), "ss_1"))
			want(t, "while it is open", w.find(t, "needle", w.readable(t, false), 500, inClear), wanted...)
		}
	}
	if ids, err := w.store.Unsearched(t.Context(), "", 10); err != nil || len(ids) != 0 {
		t.Errorf("to index: %v, %v", ids, err)
	}
	run(t, rec, &info, "select needle, last")
	w.end(t, rec, info)
	if ids, err := w.store.Unsearched(t.Context(), "", 10); err != nil || len(ids) != 1 {
		t.Errorf("to index: %v, %v", ids, err)
	}
	for range 2 {
		check(t, w.index.Add(t.Context(), "ss_1"))
		want(t, "ended", w.find(t, "needle", w.readable(t, false), 500, inClear), append([]string{"ss_1#701"}, wanted...)...)
	}
	want(t, "in the second part", w.find(t, "w300", w.readable(t, false), 10, inClear), "ss_1#301")
	if ids, err := w.store.Unsearched(t.Context(), "", 10); err != nil || len(ids) != 0 {
		t.Errorf("to index: %v, %v", ids, err)
	}
}

// What is deleted is found no more, and isn't indexed again.
func TestForget(t *testing.T) {
	w := newWorld(t)
	w.session(t, "ss_1", "alice", "orders-db", "select zebra")
	w.session(t, "ss_2", "alice", "orders-db", "select zebra")
	check(t, w.index.Forget(t.Context(), "ss_1"))
	check(t, w.index.Add(t.Context(), "ss_1"))
	want(t, "forgotten", w.find(t, "zebra", w.readable(t, false), 10, inClear), "ss_2#1")

	// By other means than the gateway's.
	check(t, w.recordings.Delete("ss_2"))
	want(t, "gone", w.find(t, "zebra", w.readable(t, false), 10, inClear))

	rec, info := w.begin(t, "ss_3", "alice", "orders-db")
	run(t, rec, &info, "select zebra")
	w.end(t, rec, info)
	check(t, w.index.Forget(t.Context(), "ss_3")) // before anybody indexed it
	check(t, w.index.Add(t.Context(), "ss_3"))
	want(t, "never indexed", w.find(t, "zebra", w.readable(t, false), 10, inClear))
}

// The store holds no word of a command, in whatever usual form.
func TestNoWordInTheStore(t *testing.T) {
	w := newWorld(t)
	const secret = "xyzzyplugh"
	w.session(t, "ss_1", "alice", "orders-db", "select '"+secret+"', 'quuxley@example.com'")
	want(t, "found", w.find(t, secret, w.readable(t, false), 10, inClear), "ss_1#1")
	for _, file := range []string{"postern.db", "postern.db-wal"} {
		text, err := os.ReadFile(filepath.Join(w.dir, file))
		check(t, err)
		for _, word := range []string{secret, "quuxley", "example.com"} {
			if bytes.Contains(bytes.ToLower(text), []byte(word)) {
				t.Errorf("%s holds %q", file, word)
			}
		}
	}
}

// A recording that is indexed piece by piece, each as small as can be, is found as
// one that is indexed at once; and what ended meanwhile waits for one piece alone.
func TestPieceByPiece(t *testing.T) {
	w := newWorld(t)
	rec, info := w.begin(t, "ss_large", "ann", "orders-db")
	texts := make([]string, 50)
	for i := range texts {
		texts[i] = fmt.Sprintf("select %d from orders", 1000+i)
	}
	run(t, rec, &info, texts...)
	w.end(t, rec, info)
	past := time.Unix(1, 0)
	pieces := 0
	for more := true; more; pieces++ {
		var err error
		more, err = w.index.AddUntil(t.Context(), "ss_large", past)
		check(t, err)
		if pieces > 2*len(texts)+2 {
			t.Fatal("it comes to no end")
		}
		if pieces == 0 {
			if got := w.find(t, "1000", w.readable(t, false), 10, inClear); len(got) != 1 {
				t.Errorf("the first piece's command isn't found: %q", got)
			}
			if got := w.find(t, "1049", w.readable(t, false), 10, inClear); len(got) != 0 {
				t.Errorf("all was indexed at once: %q", got)
			}
		}
	}
	if pieces < 10 {
		t.Errorf("%d pieces", pieces)
	}
	for i := range texts {
		want := fmt.Sprintf("ss_large#%d", i+1)
		if got := w.find(t, fmt.Sprint(1000+i), w.readable(t, false), 10, inClear); len(got) != 1 || got[0] != want {
			t.Errorf("found %q, not %s", got, want)
		}
	}
	// An ended recording that is indexed wholly isn't begun again.
	more, err := w.index.AddUntil(t.Context(), "ss_large", past)
	check(t, err)
	if more {
		t.Error("there is more of it")
	}
}
