package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"postern/internal/api"
	"postern/internal/api/client"
)

// openssh is OpenSSH's client. It is given a configuration of its own, with the
// gateway's host CA, and asks a program for the token, which reads it from a file.
func openssh() native {
	return native{
		program: "ssh",
		install: "install OpenSSH's client: `apt-get install openssh-client`",
		arguments: func(_ api.SessionToken, command string) []string {
			if command == "" {
				return nil
			}
			return []string{command}
		},
		environ: func(api.SessionToken, string) []string { return nil },
		secretFile: func(dir string, token api.SessionToken) ([]string, error) {
			file, ask := filepath.Join(dir, "token"), filepath.Join(dir, "askpass")
			err := errors.Join(
				os.WriteFile(file, []byte(secretOf(token).Reveal()+"\n"), 0o600),
				os.WriteFile(ask, []byte("#!/bin/sh\nexec cat "+shellQuoted(file)+"\n"), 0o700), //nolint:gosec // it is a program
			)
			return []string{"SSH_ASKPASS=" + ask, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=" + displayOr(os.Getenv("DISPLAY"))}, err
		},
		secret:  func(token api.SessionToken) []string { return []string{"SSHPASS=" + secretOf(token).Reveal()} },
		prepare: sshConfigFile,
		drop:    []string{"SSH_ASKPASS", "DISPLAY="},
		passes:  true,
	}
}

// displayOr is what makes clients before OpenSSH 8.4 use SSH_ASKPASS at all.
func displayOr(display string) string {
	if display == "" {
		return "none"
	}
	return display
}

// sshConfigFile writes a configuration that leads to one resource and trusts
// the gateway alone, and returns the arguments that use it.
func sshConfigFile(ctx context.Context, c *client.Client, dir string, token api.SessionToken) ([]string, error) {
	authorities, err := c.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	hosts := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(hosts, []byte(certAuthority(token.Host, token.Port, authorities.SSHHostCA)), 0o600); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config")
	text := sshHost(token.Database, token.Host, token.Port, token.User) +
		"  UserKnownHostsFile " + sshQuoted(hosts) + "\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n" +
		"  PubkeyAuthentication no\n  PreferredAuthentications keyboard-interactive,password\n  NumberOfPasswordPrompts 1\n"
	return []string{"-F", config, token.Database}, os.WriteFile(config, []byte(text), 0o600)
}

// certAuthority is a line of known_hosts that trusts the gateway's host CA for
// the gateway's own address.
func certAuthority(host string, port int, ca string) string {
	if port != 22 {
		host = "[" + host + "]:" + strconv.Itoa(port)
	}
	return "@cert-authority " + host + " " + ca + "\n"
}

// sshHost begins a block for a resource.
func sshHost(resource, host string, port int, user string) string {
	return "Host " + resource + "\n  HostName " + host + "\n  Port " + strconv.Itoa(port) + "\n  User " + sshQuoted(user+"@"+resource) + "\n"
}

// sshQuoted writes a value of ssh_config.
func sshQuoted(value string) string {
	if strings.ContainsAny(value, " \t\"") {
		return `"` + strings.ReplaceAll(value, `"`, ``) + `"`
	}
	return value
}

func newSSHCommand(a *app) *cobra.Command {
	return group("ssh", "What OpenSSH's client needs to reach resources by their names",
		"  postern ssh config >> ~/.ssh/config\n  ssh web-1", newSSHConfigCommand(a), newSSHCertifyCommand(a), newSSHCACommand(a))
}

func newSSHConfigCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "config [RESOURCE…]",
		Short: "Print a block for ~/.ssh/config, so that `ssh web-1` just works",
		Long: "Print a block for ~/.ssh/config for these resources, or for all SSH resources that I can reach. The client then shows a\n" +
			"certificate, which `postern ssh certify` gets and renews by itself while the login lasts, and knows the gateway by its\n" +
			"host CA. The key, the certificate and the file known_hosts are kept beside the logins.\n\n" +
			"Where a TPM has the login's key there is no key in a file: the client connects by `postern proxy --stdio`, which enters\n" +
			"with that key. Print the block anew after a login whose key is elsewhere than the last one's.",
		Example: "  postern ssh config >> ~/.ssh/config\n  postern ssh config web-1 db-host",
		Args:    args(0, 1000, ""),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, t, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			me, err := c.Whoami(cmd.Context())
			if err != nil {
				return err
			}
			found, err := sshResources(cmd.Context(), c, given)
			if err != nil {
				return err
			}
			keys, err := a.sshKeys()
			if err != nil {
				return err
			}
			if t.login.keyIn() == keyInTPM {
				host, err := a.proxyHostKey()
				if err != nil {
					return err
				}
				if err := keys.trustProxy(host.PublicKey()); err != nil {
					return err
				}
				a.ui.line("%s", keys.proxyConfig(found, me.Identity.Name))
				return nil
			}
			if err := keys.trust(cmd.Context(), c, found); err != nil {
				return err
			}
			a.ui.line("%s", keys.config(found, me.Identity.Name))
			return nil
		},
	}
}

// sshResources are the SSH resources of those names; with none, all.
func sshResources(ctx context.Context, c *client.Client, names []string) ([]api.Resource, error) {
	all, err := c.Resources(ctx)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(all, func(r api.Resource) bool {
		return r.Type != "ssh" || r.Host == "" || len(names) > 0 && !slices.Contains(names, r.Name)
	})
	for _, name := range names {
		if !slices.ContainsFunc(found, func(r api.Resource) bool { return r.Name == name }) {
			return nil, &usageError{err: fmt.Errorf("there is no SSH resource %s that you can reach", name), hint: "see `postern ls`"}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("there is no SSH resource that you can reach")
	}
	return found, nil
}

func newSSHCertifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "certify",
		Short: "Get or renew the certificate with which OpenSSH's client enters",
		Long: "Get a short-lived user certificate for a key that is made for it and stays on this machine. One that holds for another\n" +
			"minute is kept. `postern ssh config` has OpenSSH's client call this by itself.",
		Example: "  postern ssh certify",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := a.sshKeys()
			if err != nil {
				return err
			}
			found, err := a.found()
			if err != nil {
				return err
			}
			if keys.hold(a.now(), found.holder()) {
				return nil
			}
			c, t, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if t.login.keyIn() == keyInTPM {
				if _, err := os.Stat(keys.key()); errors.Is(err, fs.ErrNotExist) {
					return &usageError{
						err:  errors.New("a TPM has this login's key, and OpenSSH's client would need another one in a file"),
						hint: "enter by `postern proxy RESOURCE --stdio`, as `postern ssh config` writes it; or sign in with --key file",
					}
				}
				a.ui.say("note: this certificate is for the key in %s, not for the login's in the TPM: run `postern ssh config` again, and remove that file", keys.key())
			}
			return keys.renew(cmd.Context(), c, t.holder())
		},
	}
}

func newSSHCACommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ca",
		Short: "Print the key that servers trust, for their TrustedUserCAKeys",
		Long: "Print the key that signs the certificates with which the gateway logs in at SSH servers. A server with this key in\n" +
			"TrustedUserCAKeys needs no other of the gateway's.",
		Example: "  postern ssh ca | ssh root@web-1 'cat > /etc/ssh/postern_ca.pub'",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			authorities, err := c.Authorities(cmd.Context())
			if err != nil {
				return err
			}
			a.ui.line("%s", authorities.SSHServerCA)
			return nil
		},
	}
}

// sshKeys is the folder of the key and its certificate.
type sshKeys struct{ dir string }

func (a *app) sshKeys() (sshKeys, error) {
	at := a.credentials().path
	if at == "" {
		return sshKeys{}, errors.New("keep the key: neither HOME nor XDG_CONFIG_HOME is set")
	}
	keys := sshKeys{dir: filepath.Join(filepath.Dir(at), "ssh")}
	return keys, os.MkdirAll(keys.dir, 0o700)
}

func (k sshKeys) key() string        { return filepath.Join(k.dir, "id_ed25519") }
func (k sshKeys) cert() string       { return k.key() + "-cert.pub" }
func (k sshKeys) knownHosts() string { return filepath.Join(k.dir, "known_hosts") }

// config is the block for ~/.ssh/config.
func (k sshKeys) config(resources []api.Resource, user string) string {
	var b strings.Builder
	names := make([]string, len(resources))
	for i, r := range resources {
		names[i] = r.Name
	}
	program, err := os.Executable()
	if err != nil {
		program = "postern"
	}
	b.WriteString("# Written by `postern ssh config`.\n")
	fmt.Fprintf(&b, "Match originalhost %s exec \"%s ssh certify\"\n", strings.Join(names, ","), shellQuoted(program))
	for _, r := range resources {
		b.WriteString(sshHost(r.Name, r.Host, r.Port, user))
		fmt.Fprintf(&b, "  IdentityFile %s\n  CertificateFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n",
			sshQuoted(k.key()), sshQuoted(k.cert()), sshQuoted(k.knownHosts()))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// proxyAlias is the name that the local proxy's host key has in known_hosts.
const proxyAlias = "postern-proxy"

func (k sshKeys) proxyHosts() string { return k.knownHosts() + "_proxy" }

// proxyConfig is the block where a TPM has the login's key.
func (k sshKeys) proxyConfig(resources []api.Resource, user string) string {
	program, err := os.Executable()
	if err != nil {
		program = "postern"
	}
	var b strings.Builder
	b.WriteString("# Written by `postern ssh config`.\n")
	for _, r := range resources {
		b.WriteString(sshHost(r.Name, r.Host, r.Port, user))
		fmt.Fprintf(&b, "  ProxyCommand %s proxy %s --stdio\n  HostKeyAlias %s\n  UserKnownHostsFile %s\n  StrictHostKeyChecking yes\n",
			strings.ReplaceAll(shellQuoted(program), "%", "%%"), shellQuoted(r.Name), proxyAlias, sshQuoted(k.proxyHosts()))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// trustProxy writes known_hosts for the local proxy.
func (k sshKeys) trustProxy(host ssh.PublicKey) error {
	return os.WriteFile(k.proxyHosts(), append([]byte(proxyAlias+" "), ssh.MarshalAuthorizedKey(host)...), 0o600)
}

// trust writes known_hosts: the gateway's host CA, for its own addresses.
func (k sshKeys) trust(ctx context.Context, c *client.Client, resources []api.Resource) error {
	authorities, err := c.Authorities(ctx)
	if err != nil {
		return err
	}
	var lines []string
	for _, r := range resources {
		lines = append(lines, certAuthority(r.Host, r.Port, authorities.SSHHostCA))
		lines = append(lines, certAuthority(r.Name, 22, authorities.SSHHostCA)) // through ProxyJump
	}
	slices.Sort(lines)
	return os.WriteFile(k.knownHosts(), []byte(strings.Join(slices.Compact(lines), "")), 0o600)
}

// holder tells one login from another, in the comment of the certificate that
// was got by it: a certificate ends with its login.
func (t target) holder() string {
	if t.user == "" {
		sum := sha256.Sum256([]byte(t.token.Reveal()))
		return t.server + " token " + hex.EncodeToString(sum[:8])
	}
	ends := t.login.LoginEnds
	if ends.IsZero() { // it isn't renewed
		ends = t.login.ExpiresAt
	}
	return t.server + " " + t.user + " until " + ends.UTC().Format(time.RFC3339Nano)
}

// hold says whether the certificate is there, of this login, and holds for a
// while yet.
func (k sshKeys) hold(now time.Time, holder string) bool {
	text, err := os.ReadFile(k.cert())
	if err != nil {
		return false
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey(text)
	cert, ok := key.(*ssh.Certificate)
	if err != nil || !ok || comment != holder {
		return false
	}
	if _, err := os.Stat(k.key()); err != nil {
		return false
	}
	return uint64(max(now.Add(time.Minute).Unix(), 0)) < cert.ValidBefore
}

// renew gets a certificate for the key, which it makes when there is none.
func (k sshKeys) renew(ctx context.Context, c *client.Client, holder string) error {
	private, err := k.private()
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return err
	}
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	issued, err := c.Certify(ctx, api.CertificateRequest{CSR: string(request)})
	if err != nil {
		return err
	}
	// Another ssh may read it meanwhile.
	fresh := k.cert() + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(fresh, []byte(issued.SSHCertificate+" "+holder+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, k.cert())
}

func (k sshKeys) private() (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(k.key())
	if errors.Is(err, fs.ErrNotExist) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(private, "postern")
		if err != nil {
			return nil, err
		}
		return private, os.WriteFile(k.key(), pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if private, ok := key.(*ed25519.PrivateKey); ok && err == nil {
		return *private, nil
	}
	return nil, fmt.Errorf("%s is no key that postern made; remove it", k.key())
}
