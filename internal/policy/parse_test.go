package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"postern"
)

// TestMistakes: each is told at its line, in words that say what was expected.
func TestMistakes(t *testing.T) {
	const rule = "kind: Rule\nname: r\n"
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", rule + "when: 'true'\nthen: deny\nmesage: x", `f.yaml:5: unknown key "mesage"; did you mean "message"?`},
		{"unknown key far from all", rule + "when: 'true'\nthen: deny\nfrobnicate: x", `f.yaml:5: unknown key "frobnicate"; known here: kind, name`},
		{"unknown inner key", "kind: Access\nname: a\nto: [everyone]\non: {nmaes: [x]}", `f.yaml:4: on: unknown key "nmaes"; did you mean "names"?`},
		{"key twice", rule + "when: 'true'\nthen: deny\nthen: allow", `f.yaml:5: then: this key is there twice`},
		{"inner key twice", rule + "on: {names: [a], names: [b]}\nwhen: 'true'\nthen: deny", `f.yaml:3: on.names: this key is there twice`},
		{"no kind", "name: x", `f.yaml:1: kind: is missing: every object has a kind: Resource, Access, Rule, Mask, Classification, ServiceAccount`},
		{"no name", "kind: Rule\nwhen: 'true'\nthen: deny", `f.yaml:1: name: is missing`},
		{"kind misspelt", "kind: Acess\nname: x", `f.yaml:1: kind: "Acess" is not a kind; expected one of Resource, Access, Rule, Mask, Classification, ServiceAccount, Recordings; did you mean "Access"?`},
		{"name with capitals", "kind: Rule\nname: Foo\nwhen: 'true'\nthen: deny", `f.yaml:2: name: "Foo" is not a name; expected 1 to 63 of a-z`},
		{"name is a number", "kind: Rule\nname: 17\nwhen: 'true'\nthen: deny", `f.yaml:2: name: expected text, found a number; put it in quotes`},
		{"name is null", "kind: Rule\nname:\nwhen: 'true'\nthen: deny", `f.yaml:2: name: expected text, found nothing`},
		{"name over lines", "kind: Rule\nname: \"a\\nb\"\nwhen: 'true'\nthen: deny", `f.yaml:2: name: "a\nb" is not a name`},
		{"label is a number", "kind: Resource\nname: r\ntype: postgres\naddress: h:1\nlabels: {version: 15}", `f.yaml:5: labels.version: expected text, found a number; put it in quotes if it is meant as text`},
		{"label is a mapping", "kind: Resource\nname: r\ntype: postgres\naddress: h:1\nlabels: {a: {b: c}}", `f.yaml:5: labels.a: expected text, found a mapping`},
		{"no address", "kind: Resource\nname: r\ntype: postgres", `f.yaml:1: address: is missing: where the resource is, as host:port`},
		{"address without port", "kind: Resource\nname: r\ntype: postgres\naddress: db.example", `f.yaml:4: address: "db.example" is no address; expected host:port`},
		{"port too large", "kind: Resource\nname: r\ntype: postgres\naddress: db:70000", `f.yaml:4: address: "db:70000" is no address`},
		{"one bad address of two", "kind: Resource\nname: r\ntype: postgres\naddress: 'a:1, b'", `f.yaml:4: address: "b" is no address`},
		{"both addresses", "kind: Resource\nname: r\ntype: postgres\naddress: a:1\naddresses: [b:1]", `f.yaml:5: addresses: give either`},
		{"tls mode", "kind: Resource\nname: r\ntype: postgres\naddress: a:1\ntls: {mode: prefer}", `f.yaml:5: tls.mode: expected one of disable, require, verify-full`},
		{"rows", "kind: Resource\nname: r\ntype: postgres\naddress: a:1\nrecording: {rows: -1}", `f.yaml:5: recording.rows: expected a number from 0 to 100000, found "-1"`},
		{"principal", "kind: Access\nname: a\nto: [alice]\non: {names: [x]}", `f.yaml:3: to: [0] "alice" names nobody; expected user:NAME`},
		{"to is no list", "kind: Access\nname: a\nto: everyone\non: {names: [x]}", `f.yaml:3: to: expected a list like [a, b], found text`},
		{"no to", "kind: Access\nname: a\non: {names: [x]}", `f.yaml:1: to: is missing`},
		{"no on", "kind: Access\nname: a\nto: [everyone]", `f.yaml:1: on: is missing`},
		{"empty on", "kind: Access\nname: a\nto: [everyone]\non: {}", `f.yaml:4: on: picks nothing`},
		{"empty allow", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nallow: []", `f.yaml:5: allow: the list is empty`},
		{"clause without verbs", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nallow:\n- {objects: [a.b]}", `f.yaml:6: allow[0].verbs: is missing`},
		{"broken pattern", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nallow:\n- {verbs: [select], objects: ['a..b']}", `f.yaml:6: allow[0].objects: "a..b": a part of the name is empty`},
		{"hours", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nwithin: {hours: always}", `f.yaml:5: within.hours: "always" are no days`},
		{"zone", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nwithin: {hours: '08:00-09:00 Europe/Berlln'}", `"Europe/Berlln" is no time zone`},
		{"network", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nwithin: {networks: [10.0.0.1/8]}", `f.yaml:5: within.networks: [0] "10.0.0.1/8" has bits behind its length; did you mean "10.0.0.0/8"?`},
		{"duration", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nmax_session: 8", `f.yaml:5: max_session: expected text, found a number`},
		{"duration without unit", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nmax_session: '8'", `f.yaml:5: max_session: "8" is no duration; expected one like 15m, 8h or 2d`},
		{"negative duration", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nmax_session: -8h", `f.yaml:5: max_session: "-8h" is no duration`},
		{"request without approvers", "kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\nrequest: {max: 1h}", `f.yaml:5: request.approvers: is missing: who may approve`},
		{"when and use", rule + "when: 'true'\nuse: read-only\nthen: deny", `f.yaml:3: when: expected either when`},
		{"neither when nor use", rule + "then: deny", `f.yaml:1: when: expected either when`},
		{"no then", rule + "when: 'true'", `f.yaml:1: then: is missing: what happens`},
		{"then", rule + "when: 'true'\nthen: dney", `f.yaml:4: then: expected one of allow, deny, review; did you mean "deny"?`},
		{"review without terms", rule + "when: 'true'\nthen: review", `f.yaml:1: review: is missing: who may approve`},
		{"no approvals", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], approvals: 0}", `f.yaml:5: review.approvals: expected a number from 1 to 20`},
		{"before what", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], before: comit}", `f.yaml:5: review.before: expected one of run, commit; did you mean "commit"?`},
		{"hold without commit", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], hold: 1m}", "f.yaml:5: review.hold: it has no meaning without `before: commit`"},
		{"rows before it runs", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], before: run, rows: 5}", "f.yaml:5: review.rows: it has no meaning without `before: commit`"},
		{"sample without commit", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], sample: 5}", "f.yaml:5: review.sample: it has no meaning without `before: commit`"},
		{"hold too long", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], before: commit, hold: 11m}", `f.yaml:5: review.hold: expected 1s to 10m0s: what the command has locked`},
		{"no rows", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], before: commit, rows: 0}", `f.yaml:5: review.rows: expected a number from 1 to 1000000`},
		{"large sample", rule + "when: 'true'\nthen: review\nreview: {approvers: [everyone], before: commit, sample: 51}", `f.yaml:5: review.sample: expected a number from 0 to 50`},
		{"shipped rule that allows", rule + "use: no-ddl\nthen: allow", `f.yaml:4: then: a shipped rule describes what is dangerous`},
		{"mask style", "kind: Mask\nname: m\ncolumns: [a.b.c]\nwith: parital", `f.yaml:4: with: expected one of redact, partial, hash, bucket, null; did you mean "partial"?`},
		{"mask of nothing", "kind: Mask\nname: m", `f.yaml:1: columns: expected columns, labels, detect or several of them`},
		{"mask column", "kind: Mask\nname: m\ncolumns: [email]", `f.yaml:3: columns: [0] "email" is no column; expected schema.table.column`},
		{"anchor", rule + "when: &x 'true'\nthen: deny", `f.yaml:3: anchors (&) and aliases (*) aren't supported`},
		{"alias as principal", "kind: Access\nname: a\nto: [*everyone]\non: {names: [x]}", `f.yaml:`},
		{"disabled", "kind: ServiceAccount\nname: s\ndisabled: yess", `f.yaml:3: disabled: expected true or false, found "yess"`},
		{"not a mapping", "- kind: Rule", `f.yaml:1: expected a mapping (key: value), found a list`},
		{"not YAML", "kind: Rule\nname: [", `this is not YAML`},
		{"not text", "kind: \xff", `f.yaml:1: the file is not UTF-8 text`},
		{"own tag", "kind: !go Rule\nname: x", `f.yaml:1: kind: expected text, found a value of another type`},
		{"merge key", "<<: {kind: Rule}\nname: x", `f.yaml:1: expected a word as key`},
		{"later document", "kind: Mask\nname: m\ndetect: [email]\n---\nkind: Rule\nname: r\nthen: deny\nwhen: 'true'\nx: 1", `f.yaml:9: unknown key "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := Parse("f.yaml", []byte(c.text))
			if err == nil {
				t.Fatalf("no mistake found in:\n%s", c.text)
			}
			if objects != nil {
				t.Error("objects beside a mistake")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("told:\n%v\nwant:\n%s", err, c.want)
			}
			var p *Problem
			if !errors.As(err, &p) || p.File != "f.yaml" || p.Line < 1 {
				t.Errorf("no problem with a place: %v", err)
			}
		})
	}
}

// TestAllMistakesAtOnce: one broken document doesn't hide those in the next.
func TestAllMistakesAtOnce(t *testing.T) {
	_, err := Parse("f.yaml", []byte("kind: Rule\nname: R\nthen: no\nwhenn: x\n---\nkind: [\n---\nkind: Mask\nname: m\nwith: hash\n"))
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, want := range []string{"f.yaml:1: when:", "f.yaml:2: name:", "f.yaml:3: then:", `f.yaml:4: unknown key "whenn"; did you mean "when"?`, "this is not YAML", "f.yaml:8: columns:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not told: %s\nin:\n%v", want, err)
		}
	}
}

// TestASecretInAnObject: a secret that was written into an object is refused,
// and not repeated.
func TestASecretInAnObject(t *testing.T) {
	for _, value := range []string{"hunter2", "[hunter2]", "{env: A, file: hunter2}", "{hunter2: x}", "{env: [hunter2]}", "{env: }"} {
		_, err := Parse("f.yaml", []byte("kind: Resource\nname: r\ntype: postgres\naddress: h:1\ncredentials:\n  username: app\n  password: "+value+"\n"))
		if err == nil {
			t.Fatalf("%s is accepted as a password", value)
		}
		if !strings.Contains(err.Error(), "f.yaml:7: credentials.password") || !strings.Contains(err.Error(), "{env: VARIABLE}") && !strings.Contains(err.Error(), "expected text") {
			t.Errorf("%s: told %v", value, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the secret is in the message: %v", value, err)
		}
	}
}

func TestDuplicates(t *testing.T) {
	const text = "kind: Mask\nname: m\ndetect: [email]\n"
	_, err := Parse("f.yaml", []byte(text+"---\n"+text))
	if err == nil || !strings.Contains(err.Error(), "f.yaml:5: Mask m is there twice: it is at f.yaml:1 too") {
		t.Errorf("in one file: %v", err)
	}
	a, err := Parse("a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse("b.yaml", []byte("\n\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	for _, objects := range [][]Object{append(a, b...), append(b, a...)} {
		_, err = NewSet(objects, testOptions())
		if err == nil || !strings.Contains(err.Error(), "Mask m is there twice") || !strings.Contains(err.Error(), "a.yaml:1") || !strings.Contains(err.Error(), "b.yaml:3") {
			t.Errorf("in two files: %v", err)
		}
	}
}

func TestLimits(t *testing.T) {
	if _, err := Parse("f.yaml", []byte("kind: Rule # "+strings.Repeat("x", maxFile))); err == nil || !strings.Contains(err.Error(), "the most is 1048576") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := Parse("f.yaml", []byte("a: ["+strings.Repeat("1,", maxNodes)+"]")); err == nil || !strings.Contains(err.Error(), "too many values") {
		t.Errorf("many values: %v", err)
	}
	if _, err := Parse("f.yaml", []byte(strings.Repeat("[", 100_000))); err == nil {
		t.Error("deep nesting is accepted")
	}
}

// everyKey is an object of each kind with all of its keys.
const everyKey = `
kind: Resource
name: orders-db
type: postgres
labels: {env: prod, "on": "yes", n: "17"}
addresses: ["10.0.0.5:5432", "[2001:db8::5]:5432"]
database: orders
tls: {mode: verify-full, ca_file: ca.pem, server_name: db.example}
credentials: {username: app, password: {env: A}, private_key: {file: /k}, certificate: {vault: "kv/x#y"}}
via: dc1
recording: {rows: 7}
options: {a: "null"}
---
kind: Access
name: a
to: ["user:x", "service:y", "workload:ci:*", "group:z", everyone]
on: {names: ["orders-*"], labels: {env: "*"}, types: [postgres]}
allow:
- {verbs: [select, insert], objects: ["metrics.*", 'public."a.b"', "function:public.f*", "file:/tmp/**"]}
- {verbs: ["*"]}
within: {hours: "Mon,Wed-Fri 08:00-12:30, 22:00-06:00 Europe/Berlin, Sat 00:00-24:00 UTC", networks: [10.0.0.0/8, "2001:db8::/32", 192.0.2.7]}
max_session: 90m
ssh: {hosts: [web-1, "two words"], only: "uptime; true", transfer: {files: 3, bytes: 1048576}}
request: {approvers: ["group:dba"], approvals: 2, max: 2d}
---
kind: Rule
name: r
on: {types: [postgres]}
to: [everyone]
except: ["group:dba"]
when: |
  command.verb == "delete" &&
    !command.has_where
then: review
message: "One line.\nAnother \"line\"."
review: {approvers: ["group:dba"], approvals: 2, timeout: 5m, before: commit, hold: 90s, rows: 17, sample: 0}
---
kind: Rule
name: s
use: read-only
then: deny
---
kind: Mask
name: m
on: {names: [orders-db]}
to: [everyone]
except: ["group:dba"]
columns: ["public.customers.email", "*.*.card_number"]
detect: [email, ssn]
with: null
---
kind: ServiceAccount
name: nightly-report
groups: [ci, "x:y"]
disabled: true
`

// TestRender: the canonical form reads as the same object, and is its own
// canonical form.
func TestRender(t *testing.T) {
	objects, err := Parse("f.yaml", []byte(everyKey), testOptions().Protocols...)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		rerendered(t, o)
	}
	if objects[4].Mask.With != postern.MaskNull {
		t.Errorf("with: null is read as %q", objects[4].Mask.With)
	}
	if _, err := NewSet(objects, testOptions()); err != nil {
		t.Errorf("compile: %v", err)
	}
	if want := "command.verb == \"delete\" &&\n  !command.has_where\n"; objects[2].Rule.When != want {
		t.Errorf("when is read as %q", objects[2].Rule.When)
	}
	if !strings.HasPrefix(string(objects[1].YAML), "---\nkind: Access") {
		t.Errorf("the document as it was written starts %.30q", objects[1].YAML)
	}
}

func rerendered(t *testing.T, o Object) {
	t.Helper()
	text := o.Render()
	again, err := Parse("again.yaml", text, testOptions().Protocols...)
	if err != nil {
		t.Fatalf("%s can't be read back: %v\n%s", o.Ref(), err, text)
	}
	if len(again) != 1 {
		t.Fatalf("%s is %d objects when read back:\n%s", o.Ref(), len(again), text)
	}
	b := again[0]
	if string(b.Render()) != string(text) {
		t.Errorf("rendered again:\n%s\nat first:\n%s", b.Render(), text)
	}
	if b.ServiceAccount != nil {
		b.ServiceAccount.Source = o.Source
	}
	if !reflect.DeepEqual([]any{o.Kind, o.Name, o.Resource, o.Rule, o.Mask, o.ServiceAccount}, []any{b.Kind, b.Name, b.Resource, b.Rule, b.Mask, b.ServiceAccount}) {
		t.Errorf("%s reads back differently:\n%s", o.Ref(), text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(contractObjects))
	f.Add([]byte(everyKey))
	f.Add([]byte("kind: Rule\nname: r\nwhen: \"a\\u2028b\"\nthen: deny\n--- \nkind: Mask\n..."))
	f.Add([]byte("%YAML 1.1\n---\nkind: Rule"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := Parse("f.yaml", data, testOptions().Protocols...)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\nf.yaml:") {
				line = strings.TrimPrefix(line, "f.yaml:")
				if line == "" || line[0] < '1' || line[0] > '9' {
					t.Fatalf("a mistake without a place: %q", line)
				}
			}
			return
		}
		for _, o := range objects {
			rerendered(t, o)
		}
	})
}
