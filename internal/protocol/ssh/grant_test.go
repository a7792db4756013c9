package ssh

import (
	"strings"
	"testing"
	"time"

	"postern"
)

const twoWaysIn = `
---
{kind: Access, name: standing, to: ['user:alice'], on: {names: [web-1]}, allow: [{verbs: [login, head, echo]}]}
---
{kind: Access, name: fixes, to: ['user:alice'], on: {names: [web-1]}, allow: [{verbs: [login, head, cat]}], request: {approvers: ['user:carol'], max: 4h}}
`

// fixesGranted is what alice was granted for an hour.
func fixesGranted(w *world) postern.Grant {
	return postern.Grant{
		Request: "rq_1", Access: "fixes", Terms: w.Terms("web-1", "fixes"), Resource: "web-1",
		By: []postern.Being{{Kind: postern.User, Name: "alice"}}, From: time.Now(), Until: time.Now().Add(time.Hour),
	}
}

// A grant's end ends what only it carried, in a session that another access
// opens as well; what that one allows, too, goes on, and so does the session.
func TestGrantEndsWithinASession(t *testing.T) {
	w := newWorld(t, worldOptions{objects: twoWaysIn})
	w.SetGrants(fixesGranted(w))
	cat := w.sit(t, "cat")
	cat.typing("typed\r")
	cat.sees("typed")
	head := sitAt(t, cat.client, "head -n 2")
	head.typing("one\r")
	head.sees("one")
	w.SetGrants()
	if n := w.Recheck(); n != 0 {
		t.Fatalf("%d sessions ended, and an access opens each", n)
	}
	cat.sees("postern: the policy has changed for what runs here") // nothing is typed: it is noticed
	if err := cat.session.Wait(); err == nil {
		t.Error("cat ended well")
	}
	head.typing("two\r")
	head.sees("two")
	if err := head.session.Wait(); err != nil {
		t.Errorf("head, which the other access allows: %v", err)
	}
	if out, err := cat.client.Do(t.Context(), "echo on"); err != nil || !strings.Contains(out, "on") {
		t.Errorf("the session doesn't go on: %q %v", out, err)
	}
	if out, err := cat.client.Do(t.Context(), "cat /etc/hostname"); err == nil {
		t.Errorf("cat runs without the grant: %q", out)
	}
}

// A session that was opened by an access that has gone lasts while another
// opens it, and ends with the last of them.
func TestLastAccessEndsTheSession(t *testing.T) {
	w := newWorld(t, worldOptions{objects: twoWaysIn})
	w.SetGrants(fixesGranted(w))
	head := w.sit(t, "head -n 3")
	head.typing("one\r")
	head.sees("one")
	only := func(access string) {
		t.Helper()
		w.SetObjects("{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User +
			", private_key: {env: X}}, options: {host_key: '" + w.server.HostKey + "'}}" + access)
	}
	_, rest, _ := strings.Cut(twoWaysIn, "standing")
	_, fixes, _ := strings.Cut(rest, "---\n")
	only("\n---\n" + fixes)
	w.SetGrants(fixesGranted(w))
	if n := w.Recheck(); n != 0 {
		t.Fatalf("%d sessions ended, and a grant opens each", n)
	}
	head.typing("two\r")
	head.sees("two")
	w.SetGrants()
	if n := w.Recheck(); n != 1 {
		t.Errorf("%d sessions ended, and nothing opens any", n)
	}
	head.sees("postern: session ended: the access that opened it is gone")
	if err := head.session.Wait(); err == nil {
		t.Error("head ended well")
	}
}
