package test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"postern"
)

// Whoever watches the log elsewhere sees each entry, through restarts and kills.
func TestAuditSinks(t *testing.T) {
	g := newGateway(t, `audit:
  first: log
  sinks:
    - {name: local, type: file, path: ./out/audit.jsonl}
    - {name: events, type: file, path: ./out/ocsf.jsonl, format: ocsf}
  witnesses:
    - {type: file, path: ./out/checkpoints}
`)
	g.write("out/.keep", "")
	g.start()
	conn := g.mustConnect("alice", g.sessionToken(g.login("alice")))
	for range 20 {
		if _, err := conn.Exec(t.Context(), "SELECT 1").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "DROP TABLE orders").ReadAll(); err == nil {
		t.Fatal("the table was dropped")
	}
	g.kill()
	g.start()
	dave := g.login("dave")
	exported, err := g.run(dave, "audit", "export")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.SplitSeq(exported, "\n") {
		if !strings.HasPrefix(line, `{"checkpoint"`) {
			want = append(want, line)
		}
	}
	lines := func(name string, n int) []string {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); ; {
			text, err := os.ReadFile(g.path("out/" + name))
			got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
			if err == nil && len(got) >= n {
				return got
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has %d lines of %d, %v\n%s", name, len(got), n, err, g.logged())
			}
			time.Sleep(20 * time.Millisecond) // the gateway is writing
		}
	}
	// Some may be there twice: at least once is what a sink is promised.
	got := lines("audit.jsonl", len(want))
	seen := map[string]bool{}
	for _, line := range got {
		seen[line] = true
	}
	for _, line := range want {
		if !seen[line] {
			t.Errorf("the sink hasn't got %s", line)
		}
	}
	denied := 0
	for _, line := range lines("ocsf.jsonl", len(want)) {
		var e struct {
			Class    int `json:"class_uid"`
			Action   int `json:"action_id"`
			Metadata struct {
				Code string `json:"event_code"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if e.Class == 6003 && e.Action == 2 && e.Metadata.Code == "command" {
			denied++
		}
	}
	if denied == 0 {
		t.Error("the denial is no event of OCSF")
	}
	printed, err := g.run(dave, "audit", "export", "--format", "ocsf")
	if err != nil || !strings.Contains(printed, `"event_code":"session.open"`) {
		t.Errorf("%v\n%s", err, printed)
	}
	if err := g.ask("/metrics"); err != nil {
		t.Error(err)
	}
	if out, err := g.run(dave, "audit", "verify", "--since", g.path("out/checkpoints")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	var last postern.AuditRecord
	if err := json.Unmarshal([]byte(want[len(want)-1]), &last); err != nil || last.Action != "audit.export" {
		t.Errorf("the last entry is %+v, %v", last, err)
	}
}
