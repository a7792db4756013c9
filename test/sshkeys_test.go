package test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Keys that are registered, as OpenSSH's client uses them.
func TestRegisteredKeys(t *testing.T) {
	g := newShells(t, "")
	g.write("objects/petra.yaml", "{kind: Access, name: petra, to: [\"user:petra\"], on: {names: [web-1]}}\n")
	g.start()
	alice, dave, petra := g.login("alice"), g.login("dave"), g.login("petra")
	host, port, err := net.SplitHostPort(g.ssh)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for name, login := range map[string]string{"alices": alice, "daves": dave, "petras": petra, "nobodys": ""} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", g.path(name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if login == "" {
			continue
		}
		if ids[name], err = g.run(login, "ssh-key", "add", g.path(name+".pub")); err != nil {
			t.Fatal(err)
		}
	}
	// What is only the public half can be offered, and signs nothing.
	g.write("offered/alices", g.read("alices.pub"))
	if err := os.Rename(g.path("offered/alices"), g.path("offered/alices.pub")); err != nil {
		t.Fatal(err)
	}
	ssh := func(user string, keys ...string) []string {
		args := []string{
			"ssh", "-v", "-F", "/dev/null", "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + g.path("hosts"), "-l", user,
		}
		for _, k := range keys {
			args = append(args, "-i", g.path(k))
		}
		return append(args, host)
	}
	run := func(args []string) (out, said string, ok bool) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env, cmd.Dir = g.environ(""), g.dir
		var exit *exec.ExitError
		text, err := cmd.Output()
		if errors.As(err, &exit) {
			said = string(exit.Stderr)
		}
		return string(text), said, err == nil
	}
	in := func(identity, user string, keys ...string) {
		t.Helper()
		if out, said, ok := run(append(ssh(user, keys...), "echo in")); !ok || out != "in\n" {
			t.Errorf("%s by %v isn't let in: %q %s", user, keys, out, said)
		}
		if who, err := g.run(petra, "session", "ls", "--limit", "1", "-o", "json"); err != nil || !strings.Contains(who, `"identity": "`+identity+`"`) {
			t.Errorf("%s by %v is %s, %v", user, keys, who, err)
		}
	}
	out := func(user string, keys ...string) {
		t.Helper()
		if out, said, ok := run(append(ssh(user, keys...), "echo in")); ok || out != "" || !strings.Contains(said, "Permission denied") {
			t.Errorf("%s by %v: %v %q %s", user, keys, ok, out, said)
		}
	}
	in("alice", "alice@web-1", "alices")
	in("petra", "petra@web-1", "petras")
	out("alice@web-1", "daves")
	out("alice@web-1", "petras")
	out("petra@web-1", "alices")
	out("dave@web-1", "daves") // himself, without an access
	out("alice@web-1", "nobodys")
	out("alice@web-2", "alices")
	out("postern@web-1", "alices") // two may have registered one key: its owner is named

	// A key that was offered and didn't sign decides nothing, before another or after.
	out("alice@web-1", "offered/alices.pub")
	for _, keys := range [][]string{{"offered/alices.pub", "petras"}, {"petras", "offered/alices.pub"}} {
		out("alice@web-1", keys...)
		in("petra", "petra@web-1", keys...)
	}
	if _, said, _ := run(append(ssh("alice@web-1", "offered/alices.pub", "nobodys"), "echo in")); strings.Count(said, "Server accepts key") < 2 {
		t.Errorf("keys weren't offered: %s", said)
	}

	// Removed, a key lets nobody in, and ends what it opened; what another way opened goes on.
	byKey := g.begin(t, "", nil, append(ssh("alice@web-1", "alices"), "-tt", "echo ready; cat")...)
	byToken := g.begin(t, alice, nil, g.program, "connect", "web-1", "--", "-tt", "echo ready; cat")
	byKey.prints("ready")
	byToken.prints("ready")
	if _, err := g.run(petra, "ssh-key", "rm", ids["alices"]); err == nil {
		t.Error("petra removed alice's key")
	}
	byKey.types("not yet")
	byKey.prints("not yet")
	if _, err := g.run(alice, "ssh-key", "rm", ids["alices"]); err != nil {
		t.Fatal(err)
	}
	byKey.prints("postern: session ended: ")
	if err := byKey.cmd.Wait(); err == nil {
		t.Error("it ended as if it had been asked to")
	}
	byToken.types("it goes on")
	byToken.prints("it goes on")
	byToken.stop()
	out("alice@web-1", "alices")
	in("petra", "petra@web-1", "petras")
	log, err := g.run(petra, "audit", "search", "--action", "login", "--outcome", "refused", "-o", "json")
	if err != nil || !strings.Contains(log, "revoked") && !strings.Contains(log, "removed") {
		t.Errorf("the audit log doesn't say why: %v\n%s", err, log)
	}
}
