// Package config reads postern.yaml. Every key has a default, so an empty file
// is a working gateway on loopback; a key that isn't known is an error that
// names file, line and column, and all errors of a file are told at once.
package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"postern"
)

// Config is the whole configuration of a gateway, checked. Paths are absolute
// or relative to the working directory, never to the file any more. Get one
// from [Load] or [Default]: they fill every default in.
//
// The tags are what the decoder and docs/configuration.md are made of.
type Config struct {
	// File is where it was read from; "" for [Default].
	File string `yaml:"-"`

	DataDir        string        `yaml:"data_dir" path:"yes" doc:"The folder for everything the gateway keeps: store, recordings, audit log, keys, its own CA. Made at first start, mode 0700."`
	Store          Store         `yaml:"store" doc:"Where identities, tokens, sessions and reviews are kept."`
	Recordings     Recordings    `yaml:"recordings" doc:"Where recordings are kept."`
	Audit          Audit         `yaml:"audit" doc:"What becomes of the audit log besides being kept in the store."`
	Listen         Listen        `yaml:"listen" doc:"Addresses to listen on, one for HTTPS and one for each native protocol. \"off\" or an empty text disables one."`
	PublicURL      string        `yaml:"public_url" doc:"How people and programs reach the HTTPS listener; links in notices begin with it, and native hosts and ports are shown with its host. Absent: https://localhost with the port of listen.https."`
	TLS            TLS           `yaml:"tls" doc:"The certificate of all listeners. Absent: one from a CA that the gateway makes in data_dir."`
	AllowPlaintext bool          `yaml:"allow_plaintext" doc:"Let native clients in without TLS, on loopback addresses only."`
	Identity       Identity      `yaml:"identity" doc:"Who may sign in."`
	Roles          Roles         `yaml:"roles" doc:"Who may do what in the API, CLI and UI. Everybody else sees what is their own."`
	Objects        []string      `yaml:"objects" path:"yes" doc:"Folders of object files (resources, accesses, rules, masks …), applied at start and on change."`
	Notify         []Notify      `yaml:"notify" doc:"Where people are told of reviews."`
	Sessions       Sessions      `yaml:"sessions" doc:"How long tokens live."`
	Limits         Limits        `yaml:"limits" doc:"What protects the gateway from too many or too slow clients."`
	Log            Log           `yaml:"log" doc:"The gateway's own log, on stderr."`
	DrainTimeout   time.Duration `yaml:"drain_timeout" doc:"How long live sessions may go on after the gateway was told to stop, before they are ended."`
}

// Store says where identities, tokens, sessions and reviews are kept.
type Store struct {
	URL string `yaml:"url" doc:"\"sqlite\" is the file postern.db in data_dir."`
}

// Recordings says where recordings are kept.
type Recordings struct {
	URL     string `yaml:"url" doc:"\"file\" is the folder recordings in data_dir; \"file:PATH\" is another folder."`
	Sync    string `yaml:"sync" one:"flush chunk never" doc:"When a recording is forced to the disk: flush, before each command is forwarded, so that it survives a power cut; chunk, after each 256 KiB; never, left to the kernel. With all of them it survives the end of the process."`
	MinFree Bytes  `yaml:"min_free" doc:"Free space below which no new session is recorded, and so none opens."`
}

// Listen says where to listen. See [Config.Listeners] for the native protocols.
type Listen struct {
	// HTTPS is the address of API and UI; "" is off.
	HTTPS string
	// Native are the configured addresses by protocol; "" is off. A protocol
	// that isn't here has its default.
	Native map[string]string
	lines  map[string]position
}

// TLS is the listeners' certificate.
type TLS struct {
	CertFile string `yaml:"cert_file" path:"yes" doc:"PEM file with the certificate and its chain."`
	KeyFile  string `yaml:"key_file" path:"yes" doc:"PEM file with its private key."`
}

// Identity says who may sign in.
type Identity struct {
	OIDC      []OIDC     `yaml:"oidc" doc:"OpenID Connect providers at which people sign in, in the order in which they are offered."`
	Workloads []Workload `yaml:"workloads" doc:"JWTs that programs already hold: of CI systems, Kubernetes, SPIFFE. See docs/workloads.md."`
	Local     Local      `yaml:"local" doc:"The built-in issuer, for trials."`
	Signals   []Signal   `yaml:"signals" doc:"Transmitters of security events (Shared Signals: CAEP, RISC) whose word ends sessions and disables accounts."`
	SCIM      SCIM       `yaml:"scim" doc:"What a provider's directory may do through SCIM, at PUBLIC_URL/scim/v2."`
}

// OIDC is an OpenID Connect provider at which people sign in.
type OIDC struct {
	Name         string   `yaml:"name" doc:"The gateway's word for it, required: lower-case letters, digits and . _ -. It is in callback URLs and in what identifies its people, so changing it makes everybody somebody else."`
	Title        string   `yaml:"title" doc:"What people who choose between providers read. Absent: the name."`
	Issuer       string   `yaml:"issuer" doc:"The provider's issuer URL, as its own /.well-known/openid-configuration spells it; required."`
	ClientID     string   `yaml:"client_id" doc:"Who the gateway is there; required. Register PUBLIC_URL/auth/callback/NAME as redirect URI."`
	ClientSecret Ref      `yaml:"client_secret" doc:"The client's secret. Absent: the client is a public one."`
	Scopes       []string `yaml:"scopes" doc:"What to ask for. Absent: openid, profile and email. Add offline_access where the provider gives a refresh token only then."`
	NameClaim    string   `yaml:"name_claim" doc:"The claim that a person's name comes from, at their first sign-in. Absent: preferred_username. email needs email_verified."`
	GroupsClaim  string   `yaml:"groups_claim" doc:"The claim that groups come from, in the ID token or else from userinfo; a.b is b within a. Absent: no groups."`
	CAFile       string   `yaml:"ca_file" path:"yes" doc:"PEM file that the provider's certificate is checked against. Absent: the system's."`
	// Place is where the provider is written, for messages.
	Place string `yaml:"-"`
}

// Ref says where a secret is kept. At most one field is set.
type Ref struct {
	Env  string `yaml:"env" doc:"The name of an environment variable."`
	File string `yaml:"file" path:"yes" doc:"The path of a file."`
}

// Local is the built-in issuer.
type Local struct {
	Users []User `yaml:"users" doc:"People who sign in with a password."`
}

// User is a person who signs in with a password.
type User struct {
	Name         string         `yaml:"name" doc:"The name to sign in with; required."`
	Groups       []string       `yaml:"groups" doc:"The groups that policies see."`
	Email        string         `yaml:"email" doc:"Shown to those who decide over requests."`
	PasswordHash postern.Secret `yaml:"password_hash" doc:"What \"postern user hash-password\" prints; required."`
	BreakGlass   bool           `yaml:"break_glass" doc:"For emergencies: a login takes a second person (another break-glass account, or an admin among the local users), lasts an hour, and is loud in log, audit log and metrics."`
	// Line is where the user is declared, for messages.
	Line int `yaml:"-"`
}

// Roles say who may do what in API, CLI and UI.
type Roles struct {
	Admins   []postern.Principal `yaml:"admins" doc:"May change objects and accounts, see everything, end any session."`
	Auditors []postern.Principal `yaml:"auditors" doc:"May see every session, recording, review and the audit log, and change nothing."`
}

// Sessions says how long tokens live.
type Sessions struct {
	TokenTTL    time.Duration `yaml:"token_ttl" doc:"How long a session token opens sessions when its asker doesn't say. It doesn't end a session that is open."`
	MaxTokenTTL time.Duration `yaml:"max_token_ttl" doc:"The longest life that an asker may choose."`
	LoginTTL    time.Duration `yaml:"login_ttl" doc:"How long a login lasts, from the moment when a provider vouched for its person."`
	// RefreshEvery is how often a login is renewed.
	RefreshEvery time.Duration `yaml:"refresh_every" doc:"How often the command line renews its token, and a provider is asked whether it still stands by a login."`
}

// Limits protect the gateway from too many or too slow clients.
type Limits struct {
	HandshakeTimeout time.Duration `yaml:"handshake_timeout" doc:"From a native client's first byte to its admission."`
	MaxConnections   int           `yaml:"max_connections" doc:"Connections of native clients at a time, over all listeners. HTTPS has as many of its own."`
}

// Log is the gateway's own log.
type Log struct {
	Level  string `yaml:"level" one:"debug info warn error" doc:"debug, info, warn or error."`
	Format string `yaml:"format" one:"text json" doc:"text or json."`
}

// Bytes is a size, written as "256MiB", "2GB" or a plain number.
type Bytes int64

// Default is the configuration of an empty file in the working directory.
func Default() Config {
	c := defaults()
	c.finish(nil)
	return c
}

func defaults() Config {
	return Config{
		DataDir:    "data",
		Store:      Store{URL: "sqlite"},
		Recordings: Recordings{URL: "file", Sync: "chunk", MinFree: 256 << 20},
		Audit:      Audit{First: "recording"},
		Listen:     Listen{HTTPS: "127.0.0.1:8443", Native: map[string]string{}},
		Roles: Roles{
			Admins:   []postern.Principal{"group:admins"},
			Auditors: []postern.Principal{"group:auditors"},
		},
		Identity:     Identity{SCIM: SCIM{MaxRemovals: 10, MaxShare: 20}},
		Sessions:     Sessions{TokenTTL: 15 * time.Minute, MaxTokenTTL: 12 * time.Hour, LoginTTL: 12 * time.Hour, RefreshEvery: 15 * time.Minute},
		Limits:       Limits{HandshakeTimeout: 15 * time.Second, MaxConnections: 4096},
		Log:          Log{Level: "info", Format: "text"},
		DrainTimeout: 30 * time.Second,
	}
}

// defaultPorts are the loopback ports of native protocols, 1 in front of each
// protocol's own. They are names that a file may use under listen, too.
func defaultPorts() map[string]string {
	return map[string]string{
		"postgres": "127.0.0.1:15432",
		"mysql":    "127.0.0.1:13306",
		"ssh":      "127.0.0.1:12222",
		"redis":    "127.0.0.1:16379",
		"mongodb":  "127.0.0.1:37017",
	}
}

// Listeners says where each of the binary's native protocols listens. One that
// is switched off is absent. It is an error to configure a listener for a
// protocol that the binary doesn't speak.
func (c *Config) Listeners(protocols []string) (map[string]string, error) {
	addrs := map[string]string{}
	ports := defaultPorts()
	for _, p := range protocols {
		addr, configured := c.Listen.Native[p]
		if !configured {
			addr = ports[p]
		}
		if addr != "" {
			addrs[p] = addr
		}
	}
	var errs Errors
	for p, addr := range c.Listen.Native {
		if _, ok := addrs[p]; !ok && addr != "" {
			errs = append(errs, Error{File: c.File, position: c.Listen.lines[p], Message: fmt.Sprintf(
				"listen.%s: this version doesn't speak %s; remove the line, or set it to off", p, p)})
		}
	}
	return addrs, errs.sorted()
}

// RecordingsFolder is the folder that recordings are kept in.
func (c *Config) RecordingsFolder() string {
	if _, path, ok := strings.Cut(c.Recordings.URL, ":"); ok {
		return path
	}
	return filepath.Join(c.DataDir, "recordings")
}

// publicURL is the default of public_url: localhost with the listener's port.
func publicURL(https string) string {
	_, port, err := net.SplitHostPort(https)
	if err != nil || port == "0" {
		return "https://localhost"
	}
	return "https://localhost:" + port
}
