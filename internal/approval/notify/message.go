package notify

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern"
	"postern/internal/approval"
)

// Message is word of a step of a review, before a channel words it. It holds no
// row and no parameter's value; a command's text only for channels that show it.
type Message struct {
	Step     string    `json:"step"`
	Review   string    `json:"review"`
	Digest   string    `json:"digest"`
	Title    string    `json:"title"`
	Facts    []Fact    `json:"facts"`
	Shown    string    `json:"shown,omitempty"` // the command's text, or what is asked for
	Whole    bool      `json:"whole"`           // Shown is all that an approval would let happen
	Open     bool      `json:"open"`            // it waits to be decided
	Urgent   bool      `json:"urgent"`          // an emergency
	URL      string    `json:"url"`
	At       time.Time `json:"at"`
	Resource string    `json:"resource"`
	Identity string    `json:"identity"`
}

// Fact is one thing that is said of a review.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const (
	maxShown = 2000 // bytes of a command's text
	maxFact  = 300
	maxTitle = 140
)

// message words a step for people. showCommands says whether the text of
// commands may leave for this channel.
func message(step approval.Step, rv postern.Review, url string, showCommands bool, now time.Time) Message {
	m := Message{
		Step: string(step), Review: rv.ID, Digest: rv.Digest, URL: url, At: now.UTC(), Resource: rv.Resource, Identity: rv.Identity,
		Open: step == approval.Submitted && rv.State == postern.ReviewPending,
	}
	who := string(rv.Kind) + ":" + rv.Identity
	if rv.Actor != "" {
		who += " through " + rv.Actor
	}
	m.fact("Who", who)
	m.fact("Resource", rv.Resource)
	if rv.Request != nil {
		m.request(step, rv)
	} else {
		m.command(rv, showCommands)
	}
	if m.Open {
		m.fact("Approvers", principals(rv.Approvers))
		m.fact("Waits until", rv.ExpiresAt.UTC().Format(time.RFC3339))
	}
	for _, v := range rv.Votes {
		m.fact("Decided by", v.By)
	}
	m.Title = cut(m.Title, maxTitle)
	return m
}

func (m *Message) request(step approval.Step, rv postern.Review) {
	r := rv.Request
	m.Urgent = r.BreakGlass
	what := "Access request"
	if r.BreakGlass {
		what = "EMERGENCY access"
	}
	m.Title = what + " by " + rv.Identity + " to " + rv.Resource + ": " + word(step, rv)
	m.fact("Access", r.Access)
	m.fact("For", (time.Duration(r.Seconds) * time.Second).String())
	if len(r.Verbs) > 0 {
		m.fact("Verbs", strings.Join(r.Verbs, ", "))
	}
	if r.Ticket != "" {
		m.fact("Ticket", r.Ticket)
	}
	if r.Grant != nil {
		m.fact("Granted until", r.Grant.Until.UTC().Format(time.RFC3339))
	}
	m.Shown, m.Whole = cut(r.Reason, maxShown), len(r.Reason) <= maxShown && !strings.ContainsFunc(r.Reason, hidden)
}

func (m *Message) command(rv postern.Review, show bool) {
	m.Title = "Command of " + rv.Identity + " on " + rv.Resource + ": " + word(approval.Step(m.Step), rv)
	m.fact("Rule", rv.Rule)
	m.fact("Why", rv.Message)
	var objects []string
	params := 0
	for i := range rv.Commands {
		params += len(rv.Commands[i].Params)
		for _, o := range rv.Commands[i].Objects {
			if o.Kind == "table" || o.Write {
				objects = append(objects, o.Name)
			}
		}
	}
	m.fact("Does", strings.Join(postern.VerbsOf(rv.Commands), ", "))
	m.fact("To", strings.Join(objects, ", "))
	if len(rv.Commands) > 0 {
		m.fact("In", rv.Commands[0].State)
	}
	if show {
		m.Shown = cut(rv.Command, maxShown)
		m.Whole = rv.Command != "" && params == 0 && len(rv.Command) <= maxShown && plain(rv.Command)
	}
}

// plain says whether a text looks like what it is: nothing in it hides,
// reorders or imitates other text.
func plain(text string) bool {
	for _, r := range text {
		if r != '\n' && r != '\t' && (r < ' ' || r > '~') {
			return false
		}
	}
	return true
}

// hidden says whether a letter is one that isn't seen, or turns others around.
func hidden(r rune) bool { return unicode.Is(unicode.Cf, r) }

func (m *Message) fact(name, value string) {
	if value != "" {
		m.Facts = append(m.Facts, Fact{Name: name, Value: cut(strings.Join(strings.Fields(value), " "), maxFact)})
	}
}

// word is what happened, in a few words.
func word(step approval.Step, rv postern.Review) string {
	switch step {
	case approval.Submitted:
		if rv.State == postern.ReviewPending {
			return "waits for approval"
		}
		return "access was taken"
	case approval.Approved:
		return "approved"
	case approval.TimedOut:
		return "not decided in time"
	case approval.Ended:
		return "the grant has ended"
	case approval.LookedOver:
		return "looked at afterwards"
	}
	return strings.ReplaceAll(string(step), "_", " ")
}

func principals(ps []postern.Principal) string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = string(p)
	}
	return strings.Join(all, ", ")
}

// cut shortens a text, between letters.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) <= most {
		return text
	}
	at := most - len("…")
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + "…"
}
