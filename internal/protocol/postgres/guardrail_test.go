package postgres

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern/test/pgcluster"
)

// guardrailDirect makes TestGuardrails run the attacks past the gateway too,
// and fail where one does not do what it is for.
const guardrailDirect = "POSTERN_GUARDRAILS_DIRECT"

// guardrailFiles is where the attacks expect the server's files.
const guardrailFiles = "/tmp/postern-guard"

// guardrail is a row of testdata/guardrails.jsonl.
type guardrail struct {
	attack
	Params []*string
}

// TestGuardrails tries to get round the shipped rules. What is to be blocked
// is refused and leaves no trace; what is to be allowed is not refused.
func TestGuardrails(t *testing.T) {
	file, err := os.Open("testdata/guardrails.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	guardrailCluster(t)
	lent := arenas{}
	parent := t
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var a guardrail
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		t.Run(a.ID, func(t *testing.T) { a.try(parent, t, lent) })
	}
}

func guardrailCluster(t *testing.T) {
	t.Helper()
	c := cluster.Get(t)
	seed, err := os.ReadFile("testdata/guardrails.sql")
	if err != nil {
		t.Fatal(err)
	}
	c.Exec(t, "postgres", "create database guardrails")
	c.Exec(t, "guardrails", string(seed))
	if err := os.MkdirAll(guardrailFiles, 0o777); err != nil { //nolint:gosec // the server's user writes there
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(guardrailFiles) })
	for _, err := range []error{
		os.Chmod(guardrailFiles, 0o777),                                            //nolint:gosec // as above
		os.WriteFile(guardrailFiles+"/canary.txt", []byte("CANARY-7f3a\n"), 0o644), //nolint:gosec // as above
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// guardrailOffice is a gateway in front of a copy of the database.
func guardrailOffice(t *testing.T, role, rules string) *office {
	t.Helper()
	return newOffice(t, databaseLike(t, "guardrails"), role, rules)
}

func (a *guardrail) try(parent, t *testing.T, lent arenas) {
	rules := fmt.Sprintf("kind: Rule\nname: guard\nuse: %s\nthen: deny\nmessage: Not here.\n", a.Policy)
	if a.Expect == "block" && os.Getenv(guardrailDirect) != "" {
		o := guardrailOffice(t, a.Role, rules)
		o.setUp(a.attack)
		before := o.trace(a)
		password := a.Role
		if a.Role == pgcluster.Superuser {
			password = o.cluster.Password
		}
		s := a.send(t, fmt.Sprintf("host=%s port=%s user=%s password='%s' dbname=%s", hostOf(o.cluster.Addr), portOf(o.cluster.Addr), a.Role, password, o.database()), o)
		if !o.hadEffect(a, before, s) {
			t.Errorf("not seen to do anything: %s\n%q %q", a.attack.Attack, s.errors, s.tags)
		}
	}
	o := lent[a.Role+rules]
	if o == nil || a.Setup != "" { // what others do isn't seen at once

		o = guardrailOffice(parent, a.Role, rules)
	}
	if a.Setup == "" {
		delete(lent, a.Role+rules)
	}
	o.t = t
	o.setUp(a.attack)
	if file, ok := strings.CutPrefix(a.Check, "file:"); ok {
		_ = os.Remove(file)
	}
	before := o.trace(a)
	s := a.send(t, "host="+o.door.host+" port="+o.door.port+" "+conninfo, o)
	if a.Expect == "allow" {
		if s.refused() {
			t.Errorf("refused: %s\n%q", a.attack.Attack, s.errors)
		}
		switch a.Policy {
		case "read-only", "no-copy-program", "no-file-read", "no-secrets-read":
			lent.giveBack(o, a.Role, rules) // such statements change nothing
		}
		return
	}
	if !s.refused() {
		t.Errorf("not refused: %s\n%q %q %q", a.attack.Attack, s.tags, s.rows, s.errors)
	}
	if a.Check != "ran" && a.Check != "asked" && o.hadEffect(a, before, s) {
		t.Errorf("had its effect: %s", a.attack.Attack)
	}
	if !t.Failed() && a.Setup == "" && (a.Check == "" || a.Check == "ran" || a.Check == "canary" || strings.HasPrefix(a.Check, "file:")) {
		lent.giveBack(o, a.Role, rules)
	}
}

// trace is what is compared when no other check is given.
func (o *office) trace(a *guardrail) string {
	if a.Check != "" {
		return ""
	}
	if a.Policy == "no-drop-table" {
		a.Effect = "table gone"
	}
	return o.fingerprint(a.attack)
}

// hadEffect says whether an attack did what it is for.
func (o *office) hadEffect(a *guardrail, before string, s seen) bool {
	o.t.Helper()
	switch check, rest, _ := strings.Cut(a.Check, ":"); check {
	case "file":
		_, err := os.Stat(rest)
		return err == nil
	case "canary":
		return bytes.Contains(s.raw, []byte("CANARY-7f3a"))
	case "sql":
		return o.cluster.Exec(o.t, o.database(), rest)[0][0] == "t"
	case "ran":
		return len(s.tags) > 0 || len(s.raw) > 0
	case "asked":
		return true // that the server is asked to is bad enough
	}
	// What the attack's session kept for itself goes with its backend, which may
	// still be leaving; an effect stays.
	gone := time.NewTimer(5 * time.Second)
	defer gone.Stop()
	for again := time.NewTicker(50 * time.Millisecond); ; {
		if o.trace(a) == before {
			again.Stop()
			return false
		}
		select {
		case <-again.C:
		case <-gone.C:
			again.Stop()
			return true
		}
	}
}

// send runs an attack over a connection of its own.
func (a *guardrail) send(t *testing.T, conninfo string, o *office) seen {
	t.Helper()
	p := newProbe(t, conninfo)
	defer func(c net.Conn) { _ = c.Close() }(p.conn)
	p.tap.mu.Lock()
	p.tap.raw.Reset()
	p.tap.mu.Unlock()
	var s seen
	for message := range strings.SplitSeq(a.attack.Attack, "\n--;;\n") {
		switch {
		case strings.HasPrefix(message, `\fastpath `):
			s.take(p.wire, o.fastpath(strings.Fields(message)[1:]))
		case a.Protocol == "extended":
			b := &pgproto3.Bind{}
			for _, param := range a.Params {
				if param == nil {
					b.Parameters = append(b.Parameters, nil)
				} else {
					b.Parameters = append(b.Parameters, []byte(*param))
				}
			}
			s.take(p.wire, parse("", message), b, &pgproto3.Describe{ObjectType: 'P'}, execute(""), syn())
		default:
			s.take(p.wire, q(message))
		}
	}
	p.tap.mu.Lock()
	defer p.tap.mu.Unlock()
	s.raw = bytes.Clone(p.tap.raw.Bytes())
	return s
}
