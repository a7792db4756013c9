package policy

import (
	"strings"
	"testing"

	"postern"
)

// The objects of the contract, word for word where it gives them.
const contractObjects = `
kind: Resource
name: orders-db
type: postgres                     # postgres mysql ssh kubernetes http redis mongodb …
labels: {env: prod, team: payments}
address: 10.0.0.5:5432
database: orders
tls: {mode: verify-full, ca_file: /etc/postern/orders-ca.pem}       # disable | require | verify-full
credentials: {username: app, password: {env: ORDERS_DB_PASSWORD}}   # or {file: …}, {vault: …}, {sealed: …}; ssh: private_key / certificate
via: dc1                           # a relay; absent: dialled directly
---
kind: Access
name: ci-reads-metrics
to: ["group:ci"]                   # user:NAME, service:NAME, workload:GLOB, group:NAME, everyone
on: {names: [metrics-db], labels: {env: prod}}
allow:                             # what may be done; absent: anything that no rule denies
  - {verbs: [select], objects: ["metrics.*"]}
within: {hours: "Mon-Fri 08:00-19:00 Europe/Berlin", networks: [10.0.0.0/8]}
max_session: 8h
request: {approvers: ["group:dba"], approvals: 1, max: 2h}          # present: only just in time
---
kind: Rule
name: no-unbounded-delete
on: {labels: {env: prod}}
when: command.verb in ["delete", "update"] && !command.has_where     # CEL
then: deny                         # allow | deny | review
message: "Add a WHERE clause."
review: {approvers: ["group:dba"], approvals: 1, timeout: 15m}       # with then: review
---
kind: Rule
name: prod-read-only
on: {labels: {env: prod}}
use: read-only                     # a shipped rule in place of when; see below
then: deny
---
kind: Mask
name: customer-pii
on: {names: [orders-db]}
except: ["group:privacy-office"]
columns: ["public.customers.email", "*.*.card_number"]               # by lineage, whatever alias or expression wraps it
detect: [email, credit_card, iban, ssn, phone, secret]               # by content, in any text that leaves
with: partial                      # redact | partial | hash (stable, keyed) | null
---
kind: ServiceAccount
name: nightly-report
groups: [ci]
`

func TestTheContractsObjects(t *testing.T) {
	set := mustSet(t, contractObjects+"---"+engineersOpen)
	if got := len(set.Objects()); got != 7 {
		t.Errorf("%d objects, want 7", got)
	}
	accounts := set.Accounts()
	if len(accounts) != 1 || accounts[0].Name != "nightly-report" || accounts[0].Groups[0] != "ci" {
		t.Errorf("service accounts: %+v", accounts)
	}
	warnings := strings.Join(set.Warnings(), "\n")
	for _, want := range []string{`test.yaml:15: Access ci-reads-metrics: on.names[0]: there is no resource "metrics-db"`, "`then: review`"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning %q in:\n%s", want, warnings)
		}
	}
	r := asking(alice())
	d := check(t, set, r, "deny no-unbounded-delete", cmd(postern.Write, "delete", written("public.orders"), postern.BoolAttr("has_where", false)))
	if d.Reason != "Add a WHERE clause." {
		t.Errorf("reason %q", d.Reason)
	}
	check(t, set, r, "deny prod-read-only", cmd(postern.Write, "delete", written("public.orders"), postern.BoolAttr("has_where", true)))
	d = check(t, set, r, "allow engineers", cmd(postern.Read, "select", table("public.customers")))
	if len(d.Masks) != 1 || d.Masks[0].Name != "customer-pii" || d.Masks[0].With != postern.MaskPartial {
		t.Errorf("masks: %+v", d.Masks)
	}
}
