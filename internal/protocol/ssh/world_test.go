package ssh

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/gate/gatetest"
	"postern/internal/mask"
	"postern/internal/protocol"
	"postern/internal/sshserver"
)

// world is the protocol behind a listener, between clients and a real server.
type world struct {
	*gatetest.Harness
	t      testing.TB
	p      *Protocol
	server *sshserver.Server
	addr   string
	dir    string // the client's
}

// worldOptions say what a world is made of.
type worldOptions struct {
	options string // of the resource web-1, as YAML's inner part
	objects string // besides the resource; "": alice may do everything
	signIn  func(context.Context, string, string, netip.Addr) (protocol.SignIn, error)
	server  *sshserver.Server // nil: the shared one
}

const aliceMay = "\n---\n{kind: Access, name: alice, to: ['user:alice'], on: {names: [web-1]}}\n"

func newWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	if o.server == nil {
		o.server = server(t)
	}
	if o.objects == "" {
		o.objects = aliceMay
	}
	if o.options == "" {
		o.options = "host_key: '" + o.server.HostKey + "'"
	} else if !strings.Contains(o.options, "host_") {
		o.options += ", host_key: '" + o.server.HostKey + "'"
	}
	p := New(protocol.Options{Authority: theAuthority, SignIn: o.signIn})
	w := &world{t: t, p: p, server: o.server, dir: t.TempDir()}
	var detectors []string
	for _, d := range mask.Detectors() {
		detectors = append(detectors, d.Name)
	}
	w.Harness = gatetest.New(t, gatetest.Options{
		Objects: "{kind: Resource, name: web-1, type: ssh, address: '" + o.server.Addr + "', credentials: {username: " + o.server.User +
			", private_key: {env: X}}, options: {" + o.options + "}}" + o.objects,
		Protocols: protocol.PolicyTypes(p), Detectors: detectors,
		Identities: []postern.Identity{{Name: "alice", Kind: postern.User}, {Name: "bob", Kind: postern.User}},
		Logins:     map[string]postern.Login{o.server.User: {Username: o.server.User, PrivateKey: postern.NewSecret(o.server.Key)}},
	})
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = p.Serve(ctx, conn, w.Gate) })
		}
	})
	t.Cleanup(func() {
		stop()
		_ = l.Close()
		serving.Wait()
		if t.Failed() {
			t.Log(w.Log)
		}
	})
	w.writeClient()
	return w
}

// writeClient prepares OpenSSH's client: "web-1" leads through the gateway,
// "direct" to the server.
func (w *world) writeClient() {
	w.t.Helper()
	host, port, _ := net.SplitHostPort(w.addr)
	shost, sport, _ := net.SplitHostPort(w.server.Addr)
	w.write("askpass", "#!/bin/sh\necho token-alice\n", 0o700)
	w.write("key", w.server.Key, 0o600)
	hostKey := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(testKey(1).PublicKey())))
	w.write("known_hosts", fmt.Sprintf("[%s]:%s %s\nweb-1 %s\n[%s]:%s %s\n", host, port, hostKey, hostKey, shost, sport, w.server.HostKey), 0o600)
	w.write("config", fmt.Sprintf("Host *\n  UserKnownHostsFile %[1]s/known_hosts\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n"+
		"Host web-1\n  HostName %[2]s\n  Port %[3]s\n  User alice@web-1\n  PreferredAuthentications keyboard-interactive,password\n"+
		"Host gw\n  HostName %[2]s\n  Port %[3]s\n  User alice@web-1\n  PreferredAuthentications keyboard-interactive\n"+
		"Host direct\n  HostName %[4]s\n  Port %[5]s\n  User %[6]s\n  IdentityFile %[1]s/key\n", w.dir, host, port, shost, sport, w.server.User), 0o600)
}

func (w *world) write(name, content string, mode os.FileMode) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
}

// ran is what came of a client program.
type ran struct {
	out, err string
	code     int
}

// run runs a client program, which finds its configuration in $CONFIG.
func (w *world) run(stdin, program string, args ...string) ran {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = w.dir
	cmd.Env = w.environ()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		w.t.Fatalf("%s %q: it hangs\n%s%s", program, args, out.String(), errOut.String())
	}
	if cmd.ProcessState == nil {
		w.t.Fatalf("%s (scripts/deps test installs it): %v", program, err)
	}
	return ran{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

func (w *world) environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/bin:/bin", "HOME=" + w.dir, "DISPLAY=none", "LC_ALL=C.UTF-8", "CONFIG=" + filepath.Join(w.dir, "config"),
		"SSH_ASKPASS=" + filepath.Join(w.dir, "askpass"), "SSH_ASKPASS_REQUIRE=force", "TOKEN=token-alice",
	}
}

// ssh runs OpenSSH's client.
func (w *world) ssh(args ...string) ran {
	return w.run("", "ssh", append([]string{"-F", filepath.Join(w.dir, "config")}, args...)...)
}

// sh runs a shell script; $VIA is the host to use.
func (w *world) sh(via, script string) ran {
	return w.run("", "/bin/sh", "-c", "VIA="+via+"; "+script)
}

// events are those of the last session, of one kind.
func (w *world) events(kind postern.EventKind) []postern.Event {
	var all []postern.Event
	for _, e := range w.Recordings.Last().Events() {
		if e.Kind == kind {
			all = append(all, e)
		}
	}
	return all
}

// ended waits until no session is live, and returns the one that began last.
func (w *world) ended() postern.SessionInfo {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(w.Live()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("the session doesn't end")
		}
	}
	var last postern.SessionInfo
	for _, info := range w.Sessions.All() {
		if info.StartedAt.After(last.StartedAt) {
			last = info
		}
	}
	return last
}

// commands are the last session's commands, one a line: verb, verdict, objects.
func (w *world) commands() string {
	verdicts := map[int64]string{}
	for _, e := range w.events(postern.EventDecision) {
		verdicts[e.N] = e.Decision.Verdict.String()
	}
	var out strings.Builder
	for _, e := range w.events(postern.EventCommand) {
		fmt.Fprintf(&out, "%s %s", verdicts[e.N], e.Command.Verb)
		for _, o := range e.Command.Objects {
			out.WriteString(" " + o.Kind + ":" + o.Name)
		}
		out.WriteString("\n")
	}
	return out.String()
}
