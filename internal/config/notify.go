package config

import (
	"fmt"
	"strings"

	"postern"
)

// Notify is one place where people are told of reviews.
type Notify struct {
	Name         string              `yaml:"name" doc:"The channel's name, in logs, lists and Slack's request URL; required."`
	Kind         string              `yaml:"kind" one:"slack teams webhook email" doc:"slack, teams, webhook or email; required."`
	For          []postern.Principal `yaml:"for" doc:"Only of reviews that one of these may decide, as the policy spells them. Absent: all. Emergencies are told everywhere."`
	Steps        []string            `yaml:"steps" one:"submitted approved denied timed_out withdrawn spent void revoked ended looked_over" doc:"Of which steps. Absent: submitted, approved, denied, timed_out, revoked, looked_over."`
	ShowCommands bool                `yaml:"show_commands" doc:"Let the texts of commands leave for this channel; parameters and rows never do. Slack offers to approve a command only where its whole text is shown."`
	URL          SecretSource        `yaml:"url" doc:"Where the address is kept that messages are posted to: slack, teams and webhook."`
	Secret       SecretSource        `yaml:"secret" doc:"Where the secret is kept: of webhooks the one that signs them, 24 bytes or more, perhaps as whsec_ and base64; of Slack the app's signing secret, without which nothing can be decided there."`
	CAFile       string              `yaml:"ca_file" path:"yes" doc:"Certificates to check the peer's against, PEM. Absent: the system's."`
	Team         string              `yaml:"team" doc:"The only Slack workspace whose clicks count, by its id."`
	People       []SlackPerson       `yaml:"people" doc:"Who decides in Slack."`
	From         string              `yaml:"from" doc:"The sender of e-mail."`
	To           []string            `yaml:"to" doc:"The recipients of e-mail."`
	SMTP         SMTP                `yaml:"smtp" doc:"The mail server."`
}

// SlackPerson says whose clicks a Slack user's are.
type SlackPerson struct {
	Slack    string `yaml:"slack" doc:"A Slack user's id, like U024BE7LH."`
	Identity string `yaml:"identity" doc:"Whose vote that user's clicks are: user:NAME. The identity has to have an account here."`
}

// SMTP is a mail server.
type SMTP struct {
	Host     string       `yaml:"host" doc:"The server's name."`
	Port     int          `yaml:"port" doc:"Absent: what fits tls, 587 or 465."`
	TLS      string       `yaml:"tls" one:"starttls implicit none" doc:"starttls (needed, not tried), implicit, or none: on loopback only. Absent: starttls."`
	Username string       `yaml:"username" doc:"Absent: the server asks for none."`
	Password SecretSource `yaml:"password" doc:"Where the password is kept."`
}

// finishNotify checks the channels.
func (c *Config) finishNotify(d *decoder) {
	seen := map[string]bool{}
	for i := range c.Notify {
		n, key := &c.Notify[i], fmt.Sprintf("notify[%d]", i)
		switch {
		case n.Name == "":
			d.fail(key, "name is missing")
		case !validName(n.Name) || strings.ContainsAny(n.Name, "@+"):
			d.fail(key+".name", "a name is up to 128 letters, digits, and . _ -, and begins with a letter or digit")
		case seen[n.Name]:
			d.fail(key+".name", "another channel has this name")
		}
		seen[n.Name] = true
		switch n.Kind {
		case "email":
			n.finishMail(d, key)
		case "":
			d.fail(key, "kind is missing: slack, teams, webhook or email")
		default:
			if n.URL.IsZero() {
				d.fail(key, "url is missing: where its address is kept, as {env: VARIABLE} or {file: PATH}")
			}
			if n.Kind == "webhook" && n.Secret.IsZero() {
				d.fail(key, "secret is missing: a webhook is signed")
			}
		}
		for what, source := range map[string]SecretSource{"url": n.URL, "secret": n.Secret, "smtp.password": n.SMTP.Password} {
			if source.Env != "" && source.File != "" {
				d.fail(key+"."+what, "it is kept in one place: env or file")
			}
		}
		n.finishPeople(d, key)
	}
}

func (n *Notify) finishMail(d *decoder, key string) {
	for what, missing := range map[string]bool{"from": n.From == "", "to": len(n.To) == 0, "smtp.host": n.SMTP.Host == ""} {
		if missing {
			d.fail(key, what+" is missing")
		}
	}
	if n.SMTP.Username != "" && n.SMTP.Password.IsZero() {
		d.fail(key+".smtp", "username and password go together")
	}
}

func (n *Notify) finishPeople(d *decoder, key string) {
	if len(n.People) > 0 && (n.Kind != "slack" || n.Secret.IsZero()) {
		d.fail(key+".people", "people decide in Slack only, and only with the app's signing secret")
	}
	known := map[string]bool{}
	for i, p := range n.People {
		at := fmt.Sprintf("%s.people[%d]", key, i)
		kind, name, ok := strings.Cut(p.Identity, ":")
		if p.Slack == "" || !ok || kind != "user" || name == "" {
			d.fail(at, "expected a Slack user's id and whose it is: {slack: U024BE7LH, identity: user:dora}")
		}
		if known[p.Slack] {
			d.fail(at, "this Slack user is somebody else already")
		}
		known[p.Slack] = true
	}
}
