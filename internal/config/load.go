package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads a file. Its error, where the file could be read at all, is
// [Errors]: every mistake with its place.
func Load(file string) (Config, error) {
	f, err := os.Open(file)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	if len(text) > maxFile {
		return Config{}, Errors{{File: file, Message: "the file is larger than 1 MiB"}}
	}
	return parse(file, text)
}

// parse decodes a file's text over the defaults and checks the whole.
func parse(file string, text []byte) (Config, error) {
	c := defaults()
	c.File = file
	d := decoder{file: file, folder: filepath.Dir(file)}
	root, err := document(file, text)
	if err != nil {
		return Config{}, err
	}
	c.DataDir = d.path(c.DataDir)
	d.root(root, &c)
	c.finish(&d)
	if err := d.errs.sorted(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// document parses text as a single YAML document. An empty one is nil.
func document(file string, text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		err = dec.Decode(&more)
		if err == nil {
			return nil, Errors{{File: file, position: position{more.Line, more.Column}, Message: "a configuration is a single document; objects have files of their own"}}
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		message := strings.TrimPrefix(err.Error(), "yaml: ")
		var at position
		if _, scanErr := fmt.Sscanf(message, "line %d:", &at.Line); scanErr == nil {
			_, message, _ = strings.Cut(message, ": ")
			at.Column = 1
		}
		return nil, Errors{{File: file, position: at, Message: message}}
	}
	return doc.Content[0], nil
}

// finish fills in what depends on other keys, and checks what is more than the
// form of one value. Errors go to d, which may be nil for the defaults.
func (c *Config) finish(d *decoder) {
	if c.PublicURL == "" {
		c.PublicURL = publicURL(c.Listen.HTTPS)
	}
	if d == nil {
		return
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		d.fail("public_url", "it is https://HOST or https://HOST:PORT, without a path")
	}
	d.scheme("store.url", c.Store.URL, "sqlite", "postgres", "postgresql")
	if path, ok := strings.CutPrefix(c.Recordings.URL, "file:"); ok && path != "" {
		c.Recordings.URL = "file:" + d.path(strings.TrimPrefix(path, "//"))
	} else {
		d.scheme("recordings.url", c.Recordings.URL, "file", "s3", "gs", "azblob")
	}
	c.finishWorkloads(d)
	c.audit(d)
	c.finishNotify(d)
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		d.fail("tls", "cert_file and key_file go together")
	}
	if c.Sessions.TokenTTL > c.Sessions.MaxTokenTTL {
		d.fail("sessions.token_ttl", "it is longer than sessions.max_token_ttl")
	}
	c.checkProviders(d)
	seen := map[string]bool{}
	for i, u := range c.Identity.Local.Users {
		key := fmt.Sprintf("identity.local.users[%d]", i)
		switch {
		case u.Name == "":
			d.fail(key, "name is missing")
		case !validName(u.Name):
			d.fail(key+".name", "a name is up to 128 letters, digits, and . _ - @ +, and begins with a letter or digit")
		case u.Name == "postern":
			d.fail(key+".name", "postern is the name that any client may give in place of its own; choose another")
		case seen[u.Name]:
			d.fail(key+".name", fmt.Sprintf("user %q is there twice", u.Name))
		}
		seen[u.Name] = true
		if hash := u.PasswordHash.Reveal(); hash == "" {
			d.fail(key, "password_hash is missing; `postern user hash-password` makes one")
		} else if !strings.HasPrefix(hash, "$argon2id$") {
			d.fail(key+".password_hash", "it is no argon2id hash; `postern user hash-password` makes one")
		}
		c.Identity.Local.Users[i].Line = d.at[key].Line
	}
	c.finishRevocation(d)
	for list, principals := range map[string][]string{"roles.admins": texts(c.Roles.Admins), "roles.auditors": texts(c.Roles.Auditors)} {
		for i, p := range principals {
			if p == "everyone" && list == "roles.admins" {
				d.fail(fmt.Sprintf("%s[%d]", list, i), "everyone can't be an admin")
			}
		}
	}
}

// checkProviders says what is wrong with the identity providers.
func (c *Config) checkProviders(d *decoder) {
	seen := map[string]bool{}
	for i, p := range c.Identity.OIDC {
		key := fmt.Sprintf("identity.oidc[%d]", i)
		c.Identity.OIDC[i].Place = d.place(key)
		switch {
		case p.Name == "":
			d.fail(key, "name is missing")
		case !validProvider(p.Name):
			d.fail(key+".name", "a provider's name is up to 64 lower-case letters, digits, and . _ -")
		case p.Name == "local":
			d.fail(key+".name", "local is the built-in provider; choose another name")
		case seen[p.Name]:
			d.fail(key+".name", fmt.Sprintf("provider %q is there twice", p.Name))
		}
		seen[p.Name] = true
		switch u, err := url.Parse(p.Issuer); {
		case p.Issuer == "":
			d.fail(key, "issuer is missing")
		case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || (u.Scheme != "https" && !loopbackURL(u)):
			d.fail(key+".issuer", "it is https://HOST with an optional path; http only on a loopback address")
		}
		if p.ClientID == "" {
			d.fail(key, "client_id is missing")
		}
		if p.ClientSecret.Env != "" && p.ClientSecret.File != "" {
			d.fail(key+".client_secret", "it is kept in env or in file, not in both")
		}
	}
}

func validProvider(name string) bool {
	return len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

func loopbackURL(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// scheme checks a storage's name. Those of later versions are told apart from mistakes.
func (d *decoder) scheme(key, value, known string, later ...string) {
	name, _, _ := strings.Cut(value, ":")
	switch {
	case value == known:
	case slices.Contains(later, name):
		d.fail(key, fmt.Sprintf("%s isn't supported by this version; it has %q", name, known))
	default:
		d.fail(key, fmt.Sprintf("%q is not what this version has: %q", name, known))
	}
}

// validName says whether a user can have this name. It ends up in connection
// strings, log lines and policies.
func validName(name string) bool {
	if len(name) > 128 {
		return false
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-@+", r)) {
			return false
		}
	}
	return name != ""
}

// validAddress says whether text is HOST:PORT to listen on. The host may be a
// name or missing.
func validAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	if _, err := netip.ParseAddrPort("127.0.0.1:" + port); err != nil {
		return false
	}
	return !strings.ContainsAny(host, " /@")
}
