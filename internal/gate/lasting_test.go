package gate_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/gate/gatetest"
	"postern/internal/policy"
)

// lastingHarness is a gate of one resource with a rule and an access.
func lastingHarness(t *testing.T, access, rule string) *gatetest.Harness {
	t.Helper()
	return gatetest.New(t, gatetest.Options{
		Objects:    lastingObjects(access, rule),
		Protocols:  []policy.ProtocolType{{Name: "postgres"}},
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User, Groups: []string{"engineering"}}},
	})
}

func lastingObjects(access, rule string) string {
	return `
kind: Resource
name: orders-db
type: postgres
address: db.internal:5432
---
kind: Access
name: engineers
to: ["group:engineering"]
on: {names: [orders-db]}
` + access + `
---
kind: Rule
name: careful
on: {names: [orders-db]}
when: ` + rule + `
then: deny
`
}

// verdicts decides over texts of one analysed statement, in turn.
func verdicts(t *testing.T, s *gate.Session, like postern.Command, texts ...string) (all []postern.Verdict) {
	t.Helper()
	for _, text := range texts {
		like.Text = text
		d, err := s.Decide(t.Context(), like)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Verdict)
	}
	return all
}

// TestLastingDecision: that a command was allowed opens nothing to one that
// differs in what some rule looks at.
func TestLastingDecision(t *testing.T) {
	const allow, deny = postern.Allow, postern.Deny
	like := command("select", "")
	for _, c := range []struct {
		name, rule string
		want       []postern.Verdict
	}{
		{"nothing of it", `command.verb == "drop"`, []postern.Verdict{allow, allow, allow, allow}},
		{"its text", `command.text.contains("secret")`, []postern.Verdict{allow, deny, allow, deny}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := lastingHarness(t, "", c.rule)
			s := open(t, h)
			if got := verdicts(t, s, like, "select 1", "select secret", "select 2", "select secret"); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	t.Run("parameters", func(t *testing.T) {
		h := lastingHarness(t, "", `command.params.exists(p, p == "secret")`)
		s := open(t, h)
		for _, c := range []struct {
			value string
			want  postern.Verdict
		}{{"a", allow}, {"secret", deny}, {"b", allow}, {"secret", deny}} {
			cmd := like
			cmd.Text, cmd.Params = "select $1", []postern.Param{{Value: []byte(c.value)}}
			d, err := s.Decide(t.Context(), cmd)
			if err != nil || d.Verdict != c.want {
				t.Errorf("%s: %v, %v; want %v", c.value, d.Verdict, err, c.want)
			}
		}
	})
	t.Run("another statement", func(t *testing.T) {
		h := lastingHarness(t, "", `command.objects.exists(o, o.name == "public.payments")`)
		s := open(t, h)
		other := command("select", "")
		other.Verbs = like.Verbs
		for _, c := range []struct {
			object string
			want   postern.Verdict
		}{{"public.orders", allow}, {"public.payments", deny}, {"public.orders", allow}} {
			other.Objects = []postern.Object{{Kind: "table", Name: c.object}}
			if got := verdicts(t, s, other, "select 1"); got[0] != c.want {
				t.Errorf("%s: %v, want %v", c.object, got[0], c.want)
			}
		}
	})
	t.Run("another policy", func(t *testing.T) {
		h := lastingHarness(t, "", `command.verb == "drop"`)
		s := open(t, h)
		if got := verdicts(t, s, like, "select 1", "select 1"); got[1] != allow {
			t.Fatalf("got %v", got)
		}
		h.SetObjects(lastingObjects("", `command.verb == "select"`))
		if got := verdicts(t, s, like, "select 1"); got[0] != deny {
			t.Errorf("after the policy forbade it, it is %v", got[0])
		}
	})
}

// TestLastingDecisionEnds: an access whose time is up allows nothing that it
// allowed before.
func TestLastingDecisionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := lastingHarness(t, "max_session: 1h", `command.verb == "drop"`)
		s := open(t, h)
		like := command("select", "")
		if got := verdicts(t, s, like, "select 1", "select 1"); got[1] != postern.Allow {
			t.Fatalf("got %v", got)
		}
		time.Sleep(time.Hour)
		if d := s.Preview(like); d.Verdict == postern.Allow {
			t.Errorf("after an hour it is %+v", d)
		}
	})
}
