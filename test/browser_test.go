package test

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"postern/internal/identity/workload/issuertest"
)

// chromium is the browser that pages are tested in, where CHROMIUM names no other.
var chromium = cmp.Or(os.Getenv("CHROMIUM"), "/usr/bin/chromium-headless-shell")

// node runs one of the console's scripts, and fails with what it printed.
func (g *gateway) node(t *testing.T, script string, args ...string) string {
	t.Helper()
	for _, need := range []string{chromium, "../web/node_modules/playwright-core/package.json"} {
		if _, err := os.Stat(need); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: run `make testdeps build`", need)
			}
			t.Skipf("SKIPPED, NOT TESTED: %s is missing: run `make testdeps build`", need)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{script}, args...)...)
	cmd.Dir = "../web"
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", script, err, out.String(), g.logged())
	}
	return out.String()
}

// lateAccess is what alice has only when she asks.
const lateAccess = `kind: Resource
name: late-db
type: postgres
labels: {env: late}
address: %s
database: %s
tls: {mode: disable}
credentials: {username: shop, password: {file: %q}}
---
kind: Access
name: late
to: ["group:engineering"]
on: {names: [late-db]}
request: {approvers: ["group:dba"], approvals: 1, max: 2h}
---
kind: Access
name: late-emergency
to: ["group:engineering"]
on: {names: [late-db]}
break_glass: {reviewers: ["group:auditors"]}
---
kind: Access
name: late-emergency-of-two
to: ["group:engineering"]
on: {names: [late-db]}
break_glass: {approvers: ["user:petra", "group:dba"], approvals: 1, reviewers: ["group:auditors"]}
`

// heldOrders has changes of orders shown before they are committed.
const heldOrders = `kind: Rule
name: hold-orders
when: command.verb == "update" && command.objects.exists(o, o.name == "public.orders")
then: review
review: {approvers: ["group:dba"], before: commit}
`

// shells is a server with OpenSSH.
const shells = `kind: Resource
name: web-1
type: ssh
address: %s
credentials: {username: %s, private_key: {file: %q}}
options: {host_key: %q, shell: record}
---
{kind: Access, name: web, to: ["group:engineering"], on: {names: [web-1]}}
`

// trustedPrograms are rules about the tokens of an issuer that answers, and of one
// that doesn't.
const trustedPrograms = `  workloads:
    - name: pipelines
      issuer: %s
      ca_file: %s
      match: 'claims.repository_id == "123"'
      identity: "ci:{{claims.repository}}"
      groups: [ci]
    - name: cluster
      issuer: https://127.0.0.1:1
      match: 'claims.sub == "system:serviceaccount:shop:report"'
      identity: "pod:{{claims.sub}}"
`

// TestConsole walks through the console in a real browser: web/e2e/console.mjs
// says what people do there and what they must see.
func TestConsole(t *testing.T) {
	issuer := issuertest.New(t)
	g := newShells(t, fmt.Sprintf(trustedPrograms, issuer.URL, issuer.CAFile))
	g.write("objects/watch.yaml", "{kind: Recordings, name: on-call, watch: [\"user:dave\"]}\n")
	g.write("objects/held.yaml", heldOrders)
	g.write("objects/late.yaml", fmt.Sprintf(lateAccess, g.upstream.Addr, g.database, g.path("db.password")))
	g.start()
	if _, err := g.run(g.login("dave"), "offline-grant", "issue", "alice", "--resource", "late-db=late-emergency", "--reason", "on call"); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + g.node(t, "e2e/console.mjs", g.publicURL(), password))
}

// publicURL is where browsers find the gateway.
func (g *gateway) publicURL() string {
	_, port, _ := net.SplitHostPort(g.https)
	return "https://localhost:" + port
}

// TestFirstRun leads from an empty gateway to the first masked query.
func TestFirstRun(t *testing.T) {
	g := newGateway(t, "")
	for _, file := range []string{"resources.yaml", "policies.yaml"} {
		if err := os.Remove(g.path("objects/" + file)); err != nil {
			t.Fatal(err)
		}
	}
	g.start()
	resource := fmt.Sprintf("kind: Resource\nname: first-db\ntype: postgres\naddress: %s\ndatabase: %s\ntls: {mode: disable}\ncredentials: {username: shop, password: {file: %q}}\n",
		g.upstream.Addr, g.database, g.path("db.password"))
	t.Log("\n" + g.node(t, "e2e/first-run.mjs", g.publicURL(), password, resource))
}
