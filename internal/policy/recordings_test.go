package policy

import (
	"strings"
	"testing"
	"time"

	"postern"
)

const recordingObjects = `
kind: Resource
name: orders-db
type: postgres
labels: {env: prod}
address: 127.0.0.1:1
---
kind: Resource
name: web-1
type: postgres
address: 127.0.0.1:1
---
kind: Recordings
name: keep-all
keep: 30d
---
kind: Recordings
name: prod
on: {labels: {env: prod}}
view: ["group:security"]
watch: ["group:oncall"]
keep: 365d
---
kind: Recordings
name: case-17
on: {names: ["orders-*"]}
of: ["user:mallory"]
hold: court order 17
`

func actsFor(id, actor postern.Identity) postern.Identity {
	id.Actor = &actor
	return id
}

func TestKeeping(t *testing.T) {
	objects, err := Parse("f.yaml", []byte(recordingObjects))
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(objects, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	person := func(name string, groups ...string) postern.Identity {
		return postern.Identity{Name: name, Kind: postern.User, Groups: groups}
	}
	agent := person("claude")
	delegated := person("sue", "security")
	delegated.Actor = &agent
	for _, c := range []struct {
		resource string
		of       string
		viewer   postern.Identity
		limited  bool
		view     bool
		keep     time.Duration
		hold     bool
		watch    bool
	}{
		{"orders-db", "alice", person("sue", "security"), true, true, 365 * day, false, false},
		{"orders-db", "alice", person("audrey", "auditors"), true, false, 365 * day, false, false},
		{"orders-db", "alice", delegated, true, false, 365 * day, false, false},
		{"orders-db", "mallory", person("audrey", "auditors"), true, false, 365 * day, true, false},
		{"web-1", "mallory", person("audrey", "auditors"), false, false, 30 * day, false, false},
		// To watch is another right than to view, and each who acts must have it.
		{"orders-db", "alice", person("otto", "oncall"), true, false, 365 * day, false, true},
		{"web-1", "alice", person("otto", "oncall"), false, false, 30 * day, false, false},
		{"orders-db", "alice", actsFor(person("otto", "oncall"), person("claude")), true, false, 365 * day, false, false},
		{"orders-db", "alice", actsFor(person("otto", "oncall"), person("robo", "oncall")), true, false, 365 * day, false, true},
		{"orders-old", "alice", person("otto", "oncall"), true, false, 30 * day, false, false},
		// It is gone: whatever could have been said of it still protects it.
		{"orders-old", "mallory", person("sue", "security"), true, false, 30 * day, true, false},
	} {
		k := set.Keeping(c.resource, person(c.of), c.viewer)
		if k.Watch != c.watch || (len(k.Viewers) > 0) != c.limited || k.View != c.view || k.Keep != c.keep || (k.Hold != "") != c.hold {
			t.Errorf("%s of %s for %s: %+v", c.resource, c.of, c.viewer.Name, k)
		}
	}
	if set.ShortestKeep() != 30*day {
		t.Errorf("the shortest is %v", set.ShortestKeep())
	}
	for text, want := range map[string]string{
		"kind: Recordings\nname: r":                                "the object says nothing",
		"kind: Recordings\nname: r\nof: [\"group:x\"]\nkeep: 1d":   "is a group",
		"kind: Recordings\nname: r\nkeep: soon":                    "is no duration",
		"kind: Recordings\nname: r\nkeep: 1d\nview: [\"alice\"]":   "names nobody",
		"kind: Recordings\nname: r\nkeep: 1d\ndelete: immediately": "delete",
	} {
		if _, err := Parse("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, o := range objects {
		again, err := Parse("g.yaml", o.Render())
		if err != nil || string(again[0].Render()) != string(o.Render()) {
			t.Errorf("%s rendered: %v\n%s", o.Ref(), err, o.Render())
		}
	}
}
