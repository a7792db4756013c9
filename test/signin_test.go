package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const signinFolder = "testdata/signin"

// nodeProgram is the Node that scripts/deps installed, or the distribution's
// where that is new enough.
func nodeProgram() string {
	own, err := filepath.Abs(filepath.Join(signinFolder, "node_modules/node/bin/node"))
	if err == nil {
		if _, err := os.Stat(own); err == nil {
			return own
		}
	}
	return "node"
}

// idp is npm's oidc-provider, a provider that nobody here wrote.
type idp struct {
	in  io.Writer
	out *bufio.Scanner
	url string
}

// startIDP runs the provider until the test ends.
func startIDP(t testing.TB, address, redirect, secret string) *idp {
	t.Helper()
	if _, err := os.Stat(filepath.Join(signinFolder, "node_modules")); err != nil {
		t.Fatal("the identity provider isn't installed; run ./scripts/deps test")
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nodeProgram(), "provider.mjs", port, redirect, secret)
	cmd.Dir = signinFolder
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends by that
		if err := cmd.Wait(); err != nil {
			t.Errorf("the provider ended with %v\n%s", err, said.String())
		}
	})
	p := &idp{in: in, out: bufio.NewScanner(out), url: "http://127.0.0.1:" + port}
	if line := p.line(); line != "ready" {
		t.Fatalf("the provider says %q\n%s", line, said.String())
	}
	return p
}

// line is the next line that isn't the library's own remark.
func (p *idp) line() string {
	for p.out.Scan() {
		if line := p.out.Text(); !strings.HasPrefix(line, "oidc-provider ") {
			return line
		}
	}
	return ""
}

// browse is a person at a real browser; see browser.mjs.
func browse(t testing.TB, url, provider, user, secret, code string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, nodeProgram(), "browser.mjs", url, provider, user, secret, code)
	cmd.Dir = signinFolder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the browser: %v\n%s", err, out)
	}
}

var (
	loginLink  = regexp.MustCompile(`\n  (http://127\.0\.0\.1:\d+/\S+)\n`)
	loginCode  = regexp.MustCompile(`shows the code ([A-Z-]+)\.`)
	deviceLink = regexp.MustCompile(`type the code ([A-Z-]+), or follow\n  (\S+)\n`)
)

// signIn runs `postern login` as a person of their own, with a browser beside it.
func (g *gateway) signIn(home, provider, user, secret string, flags ...string) []string {
	g.t.Helper()
	env := append(g.environ(""), "POSTERN_CONFIG="+g.path(home))
	cmd := exec.Command(g.program, append([]string{"login", "--no-browser"}, flags...)...)
	cmd.Env, cmd.Dir = env, g.dir
	log := &logBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	link, code := g.readLink(log, ended)
	browse(g.t, link, provider, user, secret, code)
	if err := <-ended; err != nil {
		g.t.Fatalf("postern login: %v\n%s", err, log.String())
	}
	return env
}

// readLink waits until `postern login` has said what to open, and with which code.
func (g *gateway) readLink(log *logBuffer, ended <-chan error) (link, code string) {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		said := log.String()
		if m := deviceLink.FindStringSubmatch(said); m != nil {
			return m[2], m[1]
		}
		if l, c := loginLink.FindStringSubmatch(said), loginCode.FindStringSubmatch(said); l != nil && c != nil {
			return l[1], c[1]
		}
		select {
		case err := <-ended:
			g.t.Fatalf("postern login ended: %v\n%s", err, said)
		case <-time.After(10 * time.Millisecond):
		}
	}
	g.t.Fatalf("postern login says no link\n%s", log.String())
	return "", ""
}

// as runs the CLI in somebody's own environment.
func (g *gateway) as(env []string, args ...string) (string, error) {
	cmd := exec.Command(g.program, args...)
	cmd.Env, cmd.Dir = env, g.dir
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// A browser login, and a device login, each give a psql session: at a provider
// that nobody here wrote, and at the built-in one. What the provider ends is
// over here.
func TestSignIn(t *testing.T) {
	g := newGateway(t, "")
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(g.https)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "the client's secret"
	g.extra = fmt.Sprintf("  oidc:\n    - {name: corp, issuer: %q, client_id: postern, client_secret: {file: oidc.secret}, groups_claim: groups}\n"+
		"sessions: {refresh_every: 2s}\n", "http://"+address)
	g.writeConfig()
	g.write("oidc.secret", secret+"\n")
	g.start() // while its provider is down
	if out, err := g.as(append(g.environ(""), "POSTERN_CONFIG="+g.path("home-x")), "whoami"); err == nil {
		t.Errorf("somebody is signed in: %s", out)
	}
	p := startIDP(t, address, "https://localhost:"+port+"/auth/callback/corp", secret)

	for _, c := range []struct {
		name, provider, user, password, subject string
		flags                                   []string
	}{
		{"browser", "corp", "erin", "any", "corp:erin", nil},
		{"device", "corp", "erin", "any", "corp:erin", []string{"--device"}},
		{"local", "local", "alice", password, "local:alice", nil},
		{"local device", "local", "alice", password, "local:alice", []string{"--device"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &gateway{
				t: t, dir: g.dir, program: g.program, https: g.https, postgres: g.postgres, ssh: g.ssh, upstream: g.upstream, database: g.database,
			}
			env := g.signIn("home "+c.name, c.provider, c.user, c.password, c.flags...)
			out, err := g.as(env, "whoami", "-o", "json")
			var who struct {
				Name, Subject string
				Groups        []string
			}
			if err != nil || json.Unmarshal([]byte(out), &who) != nil || who.Name != c.user || who.Subject != c.subject || len(who.Groups) != 1 || who.Groups[0] != "engineering" {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err = g.as(env, "connect", "orders-db", "--", "-At", "-c", "select 6 * 7")
			if err != nil || out != "42" {
				t.Errorf("psql: %v\n%s", err, out)
			}
		})
	}

	// Somebody whom the provider knows, and no policy does, is in and reaches nothing.
	mallory := g.signIn("home-mallory", "corp", "mallory", "any")
	if out, err := g.as(mallory, "connect", "orders-db", "--", "-c", "select 1"); err == nil {
		t.Errorf("mallory is let in: %s", out)
	}

	// The provider takes its word back: live sessions and logins of it end.
	erin := append(g.environ(""), "POSTERN_CONFIG="+g.path("home browser"))
	session := exec.Command(g.program, "connect", "orders-db", "--", "-At", "-c", "select pg_sleep(60)")
	session.Env, session.Dir = erin, g.dir
	log := &logBuffer{}
	session.Stderr = log
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); ; {
		out, err := g.as(erin, "session", "ls", "--live", "-o", "json")
		if err == nil && strings.Contains(out, "orders-db") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no live session: %v\n%s\n%s", err, out, log.String())
		}
		<-time.After(50 * time.Millisecond)
	}
	fmt.Fprintln(p.in, "revoke")
	if line := p.line(); !strings.HasPrefix(line, "revoked ") {
		t.Fatalf("the provider says %q", line)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(log.String(), "no longer stands by it") {
			t.Errorf("psql ended with %v\n%s", err, log.String())
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the session goes on")
	}
	var exit *exec.ExitError
	if out, err := g.as(erin, "ls"); err == nil || !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("erin is still signed in: %v\n%s", err, out)
	}
	if out, err := g.as(append(g.environ(""), "POSTERN_CONFIG="+g.path("home local")), "ls"); err != nil {
		t.Errorf("another provider's login ended, too: %v\n%s", err, out)
	}
}
