package notify_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"postern/internal/approval/notify"
)

// node is a JSON object under examination.
type node struct {
	t    *testing.T
	path string
	obj  map[string]any
}

func (n node) fail(format string, args ...any) {
	n.t.Helper()
	n.t.Errorf("%s: %s", n.path, fmt.Sprintf(format, args...))
}

// only says which keys there may be, those with a "!" must be.
func (n node) only(keys ...string) {
	n.t.Helper()
	var known []string
	for _, k := range keys {
		name, needed := strings.CutSuffix(k, "!")
		known = append(known, name)
		if _, there := n.obj[name]; needed && !there {
			n.fail("%s is missing", name)
		}
	}
	for k := range n.obj {
		if !slices.Contains(known, k) {
			n.fail("%s isn't in the format", k)
		}
	}
}

func (n node) text(key string, most int) string {
	n.t.Helper()
	s, ok := n.obj[key].(string)
	if !ok || s == "" || len([]rune(s)) > most {
		n.fail("%s is %q, want a text of 1 to %d letters", key, n.obj[key], most)
	}
	return s
}

func (n node) in(key string) node {
	n.t.Helper()
	o, ok := n.obj[key].(map[string]any)
	if !ok {
		n.fail("%s is no object", key)
	}
	return node{n.t, n.path + "." + key, o}
}

func (n node) list(key string, least, most int) []node {
	n.t.Helper()
	l, ok := n.obj[key].([]any)
	if !ok || len(l) < least || len(l) > most {
		n.fail("%s has %d elements, want %d to %d", key, len(l), least, most)
	}
	var all []node
	for i, e := range l {
		o, ok := e.(map[string]any)
		if !ok {
			n.fail("%s[%d] is no object", key, i)
		}
		all = append(all, node{n.t, fmt.Sprintf("%s.%s[%d]", n.path, key, i), o})
	}
	return all
}

func (n node) one(key string, of ...string) string {
	n.t.Helper()
	s, _ := n.obj[key].(string)
	if !slices.Contains(of, s) {
		n.fail("%s is %q, want one of %v", key, s, of)
	}
	return s
}

func (n node) https(key string, most int) {
	n.t.Helper()
	if u, err := url.Parse(n.text(key, most)); err != nil || u.Scheme != "https" || u.Host == "" {
		n.fail("%s is no https URL", key)
	}
}

func (n node) plainText(most int) {
	n.t.Helper()
	n.only("type!", "text!", "emoji")
	n.one("type", "plain_text")
	n.text("text", most)
}

// blockKit checks a message against the reference of Block Kit:
// docs.slack.dev/reference/block-kit, blocks header, section, rich text and
// actions, elements button and confirmation dialog, as of 2025.
func blockKit(t *testing.T, body []byte) node {
	t.Helper()
	root := node{t, "$", map[string]any{}}
	ok(t, json.Unmarshal(body, &root.obj))
	root.only("text!", "blocks!")
	root.text("text", 40000)
	for _, b := range root.list("blocks", 1, 50) {
		switch b.one("type", "header", "section", "rich_text", "actions") {
		case "header":
			b.only("type!", "text!", "block_id")
			b.in("text").plainText(150)
		case "section":
			b.only("type!", "fields!", "block_id")
			for _, f := range b.list("fields", 1, 10) {
				f.plainText(2000)
			}
		case "rich_text":
			b.only("type!", "elements!", "block_id")
			for _, e := range b.list("elements", 1, 100) {
				e.only("type!", "elements!", "border")
				e.one("type", "rich_text_preformatted")
				for _, x := range e.list("elements", 1, 100) {
					x.only("type!", "text!")
					x.one("type", "text")
					x.text("text", 3000)
				}
			}
		case "actions":
			b.only("type!", "elements!", "block_id")
			seen := map[string]bool{}
			for _, e := range b.list("elements", 1, 25) {
				button(e, seen)
			}
		}
	}
	return root
}

func button(e node, seen map[string]bool) {
	e.t.Helper()
	e.only("type!", "text!", "action_id!", "url", "value", "style", "confirm")
	e.one("type", "button")
	e.in("text").plainText(75)
	if id := e.text("action_id", 255); seen[id] {
		e.fail("two elements have the action_id %s", id)
	} else {
		seen[id] = true
	}
	if _, there := e.obj["url"]; there {
		e.https("url", 3000)
	}
	if _, there := e.obj["value"]; there {
		e.text("value", 2000)
	}
	if _, there := e.obj["style"]; there {
		e.one("style", "primary", "danger")
	}
	if _, there := e.obj["confirm"]; there {
		c := e.in("confirm")
		c.only("title!", "text!", "confirm!", "deny!", "style")
		c.in("title").plainText(100)
		c.in("text").plainText(300)
		c.in("confirm").plainText(30)
		c.in("deny").plainText(30)
	}
}

// adaptiveCard checks a message against Microsoft's documentation of incoming
// webhooks and the Adaptive Card schema, version 1.4.
func adaptiveCard(t *testing.T, body []byte) node {
	t.Helper()
	const most = 28 << 10 // bytes that Teams takes
	if len(body) > most {
		t.Errorf("the message has %d bytes", len(body))
	}
	root := node{t, "$", map[string]any{}}
	ok(t, json.Unmarshal(body, &root.obj))
	root.only("type!", "attachments!")
	root.one("type", "message")
	attachment := root.list("attachments", 1, 1)[0]
	attachment.only("contentType!", "contentUrl", "content!")
	attachment.one("contentType", "application/vnd.microsoft.card.adaptive")
	card := attachment.in("content")
	card.only("$schema", "type!", "version!", "body!", "actions")
	card.one("$schema", "http://adaptivecards.io/schemas/adaptive-card.json")
	card.one("type", "AdaptiveCard")
	card.one("version", "1.4")
	for _, b := range card.list("body", 1, 100) {
		b.only("type!", "inlines!")
		b.one("type", "RichTextBlock")
		for _, run := range b.list("inlines", 1, 10) {
			run.only("type!", "text!", "weight", "size", "color", "fontType")
			run.one("type", "TextRun")
			run.text("text", 10000)
			run.one("weight", "", "Default", "Lighter", "Bolder")
			run.one("size", "", "Default", "Small", "Medium", "Large", "ExtraLarge")
			run.one("color", "", "Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention")
			run.one("fontType", "", "Default", "Monospace")
		}
	}
	for _, a := range card.list("actions", 1, 6) {
		a.only("type!", "title", "url!")
		a.one("type", "Action.OpenUrl")
		a.text("title", 100)
		a.https("url", 2000)
	}
	return card
}

// Payloads have the public format, whatever is in them.
func TestFormats(t *testing.T) {
	slack, teams := newPeer(t), newPeer(t)
	d := newDesk(t,
		notify.Channel{Name: "slack", Kind: notify.Slack, URL: secret(slack.URL), Secret: secret("s"), Roots: slack.roots(), ShowCommands: true},
		notify.Channel{Name: "teams", Kind: notify.Teams, URL: secret(teams.URL), Roots: teams.roots(), ShowCommands: true})
	long := open("rv_long", d.now)
	long.Command = strings.Repeat("é\x00\xff", 5000)
	long.Resource, long.Message, long.Rule = strings.Repeat("r", 253), strings.Repeat("<!channel>", 200), strings.Repeat("x", 500)
	for range 50 {
		long.Commands = append(long.Commands, long.Commands[0])
	}
	bare := open("rv_bare", d.now)
	bare.Command, bare.Message, bare.Commands = "", "", nil
	for _, r := range []string{"rv_1", "rv_2"} {
		d.submit(t, open(r, d.now))
	}
	d.submit(t, long)
	d.submit(t, bare)
	_, err := d.reviews.Vote(t.Context(), "rv_1", dora(), true, "fine")
	ok(t, err)
	_, err = d.reviews.Vote(t.Context(), "rv_2", dora(), false, "no")
	ok(t, err)
	d.Deliver(t.Context())
	approvable := 0
	for _, body := range slack.got(t, 6) {
		blockKit(t, body)
		if strings.Contains(string(body), "postern_approve") {
			approvable++
		}
		if strings.Contains(string(body), "mrkdwn") {
			t.Errorf("markup in %s", body)
		}
	}
	if approvable != 2 {
		t.Errorf("%d messages offer to approve, want the two that show all and are open", approvable)
	}
	for _, body := range teams.got(t, 6) {
		adaptiveCard(t, body)
		if strings.Contains(string(body), "Action.Submit") || strings.Contains(string(body), "Action.Execute") {
			t.Errorf("a card acts: %s", body)
		}
	}
}
