package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"postern"
)

// Audit says what becomes of the audit log besides being kept.
type Audit struct {
	First     string    `yaml:"first" one:"recording log" doc:"Where a decision to allow a command is durable before the command is forwarded: recording, in its session's recording, from which the log is completed after a crash; log, in the audit log itself, which adds the time of a commit to each command."`
	Sinks     []Sink    `yaml:"sinks" doc:"Where every entry is delivered, in order and at least once."`
	Witnesses []Witness `yaml:"witnesses" doc:"Where checkpoints are kept, out of reach of whoever has this machine."`
}

// Sink is one place where entries are delivered. Which keys it has depends on its type.
type Sink struct {
	Name     string       `yaml:"name" doc:"Its name in metrics, and under which the gateway remembers how far it came; required."`
	Type     string       `yaml:"type" one:"file syslog webhook otlp" doc:"file, JSON lines; syslog, RFC 5424 over TLS; webhook, HTTPS with a signature of Standard Webhooks; otlp, OpenTelemetry logs over HTTP."`
	Format   string       `yaml:"format" one:"json ocsf" doc:"json, the log's own lines; ocsf, events of the Open Cybersecurity Schema Framework. Absent: json."`
	Path     string       `yaml:"path" path:"yes" doc:"Of file: where to write."`
	MaxSize  Bytes        `yaml:"max_size" doc:"Of file: when another is begun. Absent: 100MiB."`
	Keep     int          `yaml:"keep" doc:"Of file: how many earlier ones stay. Absent: 10."`
	Address  string       `yaml:"address" doc:"Of syslog: HOST:PORT, usually 6514."`
	URL      string       `yaml:"url" doc:"Of webhook and otlp: where to post, such as https://collector:4318/v1/logs. Without TLS on loopback addresses only."`
	Secret   SecretSource `yaml:"secret" doc:"Of webhook: the key that signs. Of otlp: a bearer token, if there is one."`
	CAFile   string       `yaml:"ca_file" path:"yes" doc:"PEM file with who signs the other side's certificate. Absent: the system's."`
	CertFile string       `yaml:"cert_file" path:"yes" doc:"PEM file with the gateway's certificate for the other side."`
	KeyFile  string       `yaml:"key_file" path:"yes" doc:"PEM file with its private key."`
}

// Witness is one place where checkpoints are kept.
type Witness struct {
	Type      string        `yaml:"type" one:"file webhook s3" doc:"file, on another machine's disk; webhook, as for sinks; s3, a bucket with object lock."`
	Path      string        `yaml:"path" path:"yes" doc:"Of file: each checkpoint is added to it. The gateway doesn't start when its log isn't a continuation of the last."`
	URL       string        `yaml:"url" doc:"Of webhook: where to post {\"checkpoint\": …}. Of s3: https://ENDPOINT/BUCKET, and perhaps /PREFIX; each checkpoint is an object, and the gateway doesn't start when its log isn't a continuation of the last."`
	Region    string        `yaml:"region" doc:"Of s3: the bucket's region. Absent: it is asked for."`
	AccessKey string        `yaml:"access_key" doc:"Of s3: the access key's id, of an account that may put objects with a retention, list versions, get them, and get the bucket's object lock."`
	Retain    time.Duration `yaml:"retain" doc:"Of s3: how long nobody can change or delete a checkpoint, not even the account's owner. Absent: 8760h, a year."`
	Secret    SecretSource  `yaml:"secret" doc:"Of webhook: the key that signs. Of s3: the secret access key."`
	CAFile    string        `yaml:"ca_file" path:"yes" doc:"PEM file with who signs the other side's certificate. Absent: the system's."`
}

// SecretSource says where a secret is, so that it isn't here.
type SecretSource struct {
	Env  string `yaml:"env" doc:"The environment variable that holds it."`
	File string `yaml:"file" path:"yes" doc:"The file that holds it; a line end at its end is none of it."`
}

// IsZero says that there is none.
func (s SecretSource) IsZero() bool { return s == SecretSource{} }

// Read reads it. Its error doesn't hold it.
func (s SecretSource) Read() (postern.Secret, error) {
	var text string
	switch {
	case s.Env != "":
		text = os.Getenv(s.Env)
		if text == "" {
			return postern.Secret{}, fmt.Errorf("the environment variable %s isn't set", s.Env)
		}
	case s.File != "":
		raw, err := os.ReadFile(s.File)
		if err != nil {
			return postern.Secret{}, err
		}
		if text = strings.TrimRight(string(raw), "\r\n"); text == "" {
			return postern.Secret{}, fmt.Errorf("%s is empty", s.File)
		}
	}
	return postern.NewSecret(text), nil
}

// audit checks what goes together, and fills defaults in.
func (c *Config) audit(d *decoder) {
	names := map[string]bool{}
	for i := range c.Audit.Sinks {
		s := &c.Audit.Sinks[i]
		key := fmt.Sprintf("audit.sinks[%d]", i)
		if s.Format == "" {
			s.Format = "json"
		}
		if s.MaxSize == 0 {
			s.MaxSize = 100 << 20
		}
		if s.Keep == 0 {
			s.Keep = 10
		}
		if !validName(s.Name) {
			d.fail(key+".name", "a name is up to 128 letters, digits, and . _ - @ +, and begins with a letter or digit")
		} else if names[s.Name] {
			d.fail(key+".name", fmt.Sprintf("sink %q is there twice", s.Name))
		}
		names[s.Name] = true
		d.target(key, s.Type, s.Path, s.Address, s.URL, s.Secret)
		if (s.CertFile == "") != (s.KeyFile == "") {
			d.fail(key, "cert_file and key_file go together")
		}
	}
	for i := range c.Audit.Witnesses {
		w := &c.Audit.Witnesses[i]
		key := fmt.Sprintf("audit.witnesses[%d]", i)
		d.target(key, w.Type, w.Path, "", w.URL, w.Secret)
		if w.Type != "s3" {
			continue
		}
		if w.Retain == 0 {
			w.Retain = year
		}
		switch {
		case w.AccessKey == "" || w.Secret.IsZero():
			d.fail(key, "s3 needs access_key, and its secret: {env: NAME} or {file: PATH}")
		case !validLink(w.URL) || !hasPath(w.URL):
			d.fail(key, "s3 needs url: https://ENDPOINT/BUCKET, or http:// on a loopback address")
		case w.Retain < time.Hour:
			d.fail(key+".retain", "a checkpoint is to be kept for an hour at least")
		}
	}
}

const year = 365 * 24 * time.Hour

func hasPath(link string) bool {
	u, err := url.Parse(link)
	return err == nil && strings.Trim(u.Path, "/") != "" && u.RawQuery == ""
}

// target checks that what a type needs is there.
func (d *decoder) target(key, kind, path, address, link string, secret SecretSource) {
	if secret.Env != "" && secret.File != "" {
		d.fail(key+".secret", "it is in env or in file, not in both")
	}
	switch {
	case kind == "":
		d.fail(key, "type is missing")
	case kind == "file" && path == "":
		d.fail(key, "a file needs path")
	case kind == "syslog" && !validAddress(address):
		d.fail(key, "syslog needs address: HOST:PORT")
	case kind == "webhook" && secret.IsZero():
		d.fail(key, "a webhook needs secret, with which it is signed: {env: NAME} or {file: PATH}")
	case (kind == "webhook" || kind == "otlp") && !validLink(link):
		d.fail(key, kind+" needs url: https://HOST/PATH, or http:// on a loopback address")
	}
}

// validLink says whether entries may be posted there.
func validLink(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (err == nil && ip.IsLoopback() || u.Hostname() == "localhost")
}
