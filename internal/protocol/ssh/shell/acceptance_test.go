package shell

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/policy"
)

// acceptanceFolder holds attacks that were seen to work on a bare server.
const acceptanceFolder = "../../../../../shared/acceptance"

// row is an attack, or something harmless that looks like one.
type row struct {
	ID     string `json:"id"`
	Policy string `json:"policy"`
	Attack string `json:"attack"`
	Expect string `json:"expect"` // block, allow
	Hard   bool   `json:"hard"`
	TTY    string `json:"tty"`
	Note   string `json:"note"`
}

func rows(t testing.TB, file string) []row {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		if strings.HasPrefix(file, acceptanceFolder) {
			t.Skip("SKIPPED, NOT TESTED: the acceptance data is not on this machine: ", err)
		}
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []row
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err, lines.Text())
		}
		if seen[r.ID] {
			t.Fatal("twice: ", r.ID)
		}
		seen[r.ID] = true
		all = append(all, r)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatal(file, err, len(all))
	}
	return all
}

const worldUnder = `
kind: Resource
name: web-1
type: ssh
address: 10.0.0.7:22
---
kind: Access
name: everyone-in
to: ["everyone"]
on: {names: [web-1]}
---
kind: Rule
name: guard
use: RULE
then: deny
message: Not here.
`

// under is a policy with one shipped rule.
func under(t testing.TB, rule string) *policy.Set {
	t.Helper()
	objects, err := policy.Parse("policy.yaml", []byte(strings.ReplaceAll(worldUnder, "RULE", rule)))
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.NewSet(objects, policy.Options{Protocols: []policy.ProtocolType{{Name: "ssh", Attrs: Attrs()}}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func decide(set *policy.Set, cmds []postern.Command) postern.Decision {
	return set.Decide(policy.Request{
		Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "web-1",
		Now: time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC),
	}, cmds)
}

// judge holds rows against the analyser and the shipped rules.
func judge(t *testing.T, all []row) {
	sets := map[string]*policy.Set{}
	for _, r := range all {
		set := sets[r.Policy]
		if set == nil {
			set = under(t, r.Policy)
			sets[r.Policy] = set
		}
		got := Analyse(r.Attack, State{})
		if joinedTexts(got.Commands) != r.Attack {
			t.Errorf("%s: the commands' texts aren't the text", r.ID)
		}
		d := decide(set, got.Commands)
		switch want := map[string]postern.Verdict{"block": postern.Deny, "allow": postern.Allow}[r.Expect]; {
		case d.Verdict == want:
		case r.Hard:
			t.Logf("hard: %s: %s: %q", r.ID, d.Verdict, r.Attack)
		default:
			t.Errorf("%s under %s: %s, want %s\n\t%q\n\t%s\n\t%+v", r.ID, r.Policy, d.Verdict, r.Expect, r.Attack, d.Reason, got.Commands)
		}
	}
}

func joinedTexts(cmds []postern.Command) string {
	var b strings.Builder
	for _, c := range cmds {
		b.WriteString(c.Text)
	}
	return b.String()
}

// TestAcceptance holds the analyser against attacks that others wrote.
func TestAcceptance(t *testing.T) {
	judge(t, rows(t, filepath.Join(acceptanceFolder, "guardrail-evasion-shell.jsonl")))
}
