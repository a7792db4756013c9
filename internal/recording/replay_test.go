package recording

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ptr(s string) *string { return &s }

// shop is a session with one event of each kind.
func shop() []postern.Event {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	info := session("ss_1")
	info.Database, info.Client, info.Actor, info.Access = "shop", "psql", "copilot", "engineers-read"
	end := info
	end.Commands, end.Denied, end.MaskedValues = 4, 1, 2
	cmd := func(text string, params ...postern.Param) *postern.Command {
		return &postern.Command{Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read, Text: text, Params: params}
	}
	return []postern.Event{
		{Time: at(0), Kind: postern.EventOpen, Session: &info},
		{Time: at(1200), Kind: postern.EventCommand, N: 1, Command: cmd("SELECT id, name, email\n\tFROM customers\r\n WHERE id < $1 AND note <> $2", postern.Param{Value: []byte("3")}, postern.Param{Null: true})},
		{Time: at(1201), Kind: postern.EventDecision, N: 1, Decision: &postern.Decision{Verdict: postern.Allow, Rule: "engineers-read"}},
		{
			Time: at(1210), Kind: postern.EventResult, N: 1, Tag: "SELECT 5", RowCount: 5, Masked: 2, Columns: []string{"id", "name", "email"},
			Rows: [][]*string{{ptr("1"), ptr("Ada\x1b[2J\u202e"), ptr("a***@example.com")}, {ptr("2"), nil, ptr("b***@example.com")}},
		},
		{Time: at(3000), Kind: postern.EventCommand, N: 2, Command: cmd("DROP TABLE orders")},
		{Time: at(3001), Kind: postern.EventDecision, N: 2, Decision: &postern.Decision{Rule: "no-drop-table", Reason: "Ask the DBAs."}},
		{Time: at(3001), Kind: postern.EventError, N: 2, Code: "42501", Text: "postern: denied by rule \"no-drop-table\": Ask the DBAs."},
		{Time: at(5000), Kind: postern.EventCommand, N: 3, Command: cmd("UPDATE payments SET state = 'paid' WHERE id = $1", postern.Param{Binary: true, Value: []byte{0, 0, 0, 7}})},
		{Time: at(5001), Kind: postern.EventReview, N: 3, Review: "rv_9", State: "pending"},
		{Time: at(125001), Kind: postern.EventReview, N: 3, Review: "rv_9", State: "approved"},
		{Time: at(125002), Kind: postern.EventDecision, N: 3, Decision: &postern.Decision{Verdict: postern.Allow, Rule: "payments-reviewed", Reason: "approved in review rv_9"}},
		{Time: at(125010), Kind: postern.EventResult, N: 3, Tag: "UPDATE 1", RowCount: 1},
		{Time: at(125011), Kind: postern.EventNotice, Text: "a notice\x07 with a bell"},
		{Time: at(125020), Kind: postern.EventWatch, State: postern.WatchBegan, Text: "car\x1bol"},
		{Time: at(126000), Kind: postern.EventCommand, N: 4, Command: &postern.Command{Verb: "unknown", Text: "SELEC \xff", Problem: "syntax error at \"SELEC\""}},
		{Time: at(127000), Kind: postern.EventClose, Text: "the client closed the connection", Session: &end},
	}
}

func replay(t *testing.T, f *Folder, opts ReplayOptions) (string, error) {
	t.Helper()
	r, err := f.Read("ss_1")
	must(t, err)
	defer func() { must(t, r.Close()) }()
	var out bytes.Buffer
	err = Replay(t.Context(), &out, r, opts)
	return out.String(), err
}

func TestReplay(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(shop()...))
	digestOf(t, w)
	got, err := replay(t, f, ReplayOptions{})
	must(t, err)
	const golden = "testdata/replay.golden"
	if *update {
		must(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && (r < ' ' || r == 0x7f || r == '\u202e') }); i >= 0 {
		t.Errorf("the transcript holds a control character: %q", got[max(0, i-20):i+10])
	}
}

func TestReplayTiming(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(shop()...))
	digestOf(t, w)
	var total, longest time.Duration
	opts := ReplayOptions{Speed: 2, SkipIdle: 10 * time.Second, Sleep: func(_ context.Context, d time.Duration) error {
		total += d
		longest = max(longest, d)
		return nil
	}}
	if _, err := replay(t, f, opts); err != nil {
		t.Fatal(err)
	}
	if longest != 5*time.Second || total != 8500*time.Millisecond {
		t.Errorf("waited %v in all, %v at most", total, longest)
	}
	stop := errors.New("stopped")
	opts.Sleep = func(context.Context, time.Duration) error { return stop }
	if out, err := replay(t, f, opts); !errors.Is(err, stop) || !strings.Contains(out, "alice") {
		t.Errorf("a stopped replay returned %v after %q", err, out)
	}
}

func TestReplayOfTheUnfinished(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(shop()[:3]...))
	must(t, w.Flush())
	out, err := replay(t, f, ReplayOptions{})
	var unfinished *UnfinishedError
	if !errors.As(err, &unfinished) || !strings.Contains(out, "unfinished after 3 events") {
		t.Errorf("%v\n%s", err, out)
	}
	digestOf(t, w)
}

func TestExport(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	events := shop()
	must(t, w.Append(events...))
	digestOf(t, w)
	r, err := f.Read("ss_1")
	must(t, err)
	var out bytes.Buffer
	must(t, Export(&out, r))
	must(t, r.Close())
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(events) {
		t.Fatalf("%d lines for %d events", len(lines), len(events))
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, `{"t":"2026-11-24T09:3`) || !strings.Contains(line, `Z","kind":"`+string(events[i].Kind)+`"`) {
			t.Errorf("line %d: %s", i, line)
		}
		e, err := decodeEvent([]byte(line))
		must(t, err)
		if diff := cmp.Diff(events[i], e); diff != "" {
			t.Error(diff)
		}
	}
}
