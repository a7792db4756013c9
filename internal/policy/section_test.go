package policy

import (
	"strings"
	"testing"

	"postern"
)

// testSection is a section as a protocol would declare it.
type testSection struct {
	hosts        []string
	only         string
	files, bytes int64
}

func decodeTestSection(r *Reader) Section {
	s := &testSection{hosts: r.Texts("hosts"), only: r.Text("only")}
	if s.only == "never" {
		r.Fail("only", "%s is no command", Quote(s.only))
	}
	r.Inner("transfer", func(t *Reader) { s.files, s.bytes = int64(t.Number("files", 1, 100)), t.Size("bytes") })
	return s
}

func (s *testSection) Covers(c *postern.Command, whole string) (string, bool) {
	return "anything but " + Quote(s.only), s.only == "" || whole == s.only
}

func (s *testSection) Transfer() (files, bytes int64) { return s.files, s.bytes }

func (s *testSection) Render(w *Writer) {
	w.Texts("hosts", s.hosts)
	w.Text("only", s.only)
	w.Inner("transfer", func(t *Writer) {
		t.Number("files", s.files)
		t.Number("bytes", s.bytes)
	})
}

// What stands in a section is read as strictly as everything around it.
func TestSectionMistakes(t *testing.T) {
	both := append(testOptions().Protocols, ProtocolType{Name: "other", Section: &SectionType{Of: "other", Decode: decodeTestSection}})
	one := []ProtocolType{{Name: "one", Section: &SectionType{Of: "one", Decode: func(r *Reader) Section { return &testSection{only: r.Text("only")} }}}}
	for _, c := range []struct {
		section   string
		protocols []ProtocolType
		want      string
	}{
		{"ssh: {}", both, "f.yaml:5: ssh: says nothing; expected hosts, only or transfer"},
		{"one: {}", one, "f.yaml:5: one: says nothing; expected only"},
		{"ssh:", both, "f.yaml:5: ssh: expected a mapping (key: value), found nothing"},
		{"ssh: {only: a}\nssh: {only: b}", both, "f.yaml:6: ssh: this key is there twice"},
		{"ssh: [a]", both, "f.yaml:5: ssh: expected a mapping (key: value), found a list"},
		{"ssh:\n  onlyy: x", both, `f.yaml:6: ssh: unknown key "onlyy"; did you mean "only"?`},
		{"ssh:\n  only: never", both, `f.yaml:6: ssh.only: "never" is no command`},
		{"ssh:\n  only: 7", both, "f.yaml:6: ssh.only: expected text, found a number"},
		{"ssh:\n  transfer:\n    files: 101", both, "f.yaml:7: ssh.transfer.files: expected a number from 1 to 100"},
		{"ssh:\n  transfer:\n    bytes: many", both, `f.yaml:7: ssh.transfer.bytes: "many" is no size`},
		{"ssh: {only: a}\nother: {only: a}", both, "f.yaml:6: other: the access is narrowed by ssh already; make two of it"},
		{"postgres: {only: a}", both, `f.yaml:5: unknown key "postgres"`},
		{"ssh: {only: a}", nil, `f.yaml:5: unknown key "ssh"`},
	} {
		_, err := Parse("f.yaml", []byte("kind: Access\nname: a\nto: [everyone]\non: {names: [x]}\n"+c.section), c.protocols...)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.section, err, c.want)
		}
	}
}

// A section is for the resources of its protocol, and is looked at first.
func TestSectionNarrows(t *testing.T) {
	objects, err := Parse("f.yaml", []byte(ordersDB+`
{kind: Resource, name: web-1, type: ssh, address: "h:22"}
---
{kind: Access, name: a, to: ["user:alice"], on: {names: [orders-db, web-1]}, ssh: {only: "a; b"}}
---
{kind: Access, name: b, to: ["service:bot"], on: {names: [web-1]}}
`), testOptions().Protocols...)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(objects, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if want := `ssh: it is for shell resources alone, and so doesn't open "orders-db", which is of type postgres; make two accesses of it`; len(set.Warnings()) != 1 || !strings.HasSuffix(set.Warnings()[0], want) {
		t.Errorf("%q", set.Warnings())
	}
	r := asking(alice())
	if set.Open(r).Allowed {
		t.Error("it opens a resource of another type")
	}
	r.Resource = "web-1"
	check(t, set, r, "allow a", postern.Command{Verb: "a", Verbs: []string{"a"}, Access: postern.Write, Text: "a; "}, postern.Command{Verb: "b", Verbs: []string{"b"}, Access: postern.Write, Text: "b"})
	d := check(t, set, r, "deny a", cmd(postern.Control, "a"))
	if want := `anything but "a; b" isn't allowed here. Allowed is: what its section ssh is for.`; d.Reason != want {
		t.Errorf("%q, want %q", d.Reason, want)
	}
	// What can't be understood is restricted by a section that doesn't cover it.
	check(t, set, r, "deny a", cmd(postern.Unknown, "unknown"))

	r.Identity.Actor = &postern.Identity{Name: "bot", Kind: postern.Service}
	r.Identity.Scope = &postern.Scope{Delegation: "dg_1", Resources: []string{"web-1"}, Until: monday.AddDate(1, 0, 0)}
	rights := set.Rights(r)
	if len(rights) != 3 || len(rights[0].Sections) != 1 || rights[0].Sections[0] == nil || rights[1].Sections[0] != nil || rights[1].Delegated || !rights[2].Delegated {
		t.Errorf("%+v", rights)
	}
	r.Identity.Actor.Name = "nobody"
	if rights := set.Rights(r); rights != nil {
		t.Errorf("without one of the chain: %+v", rights)
	}
	if r.Resource = "none"; set.Rights(r) != nil {
		t.Error("rights on what isn't there")
	}
}
