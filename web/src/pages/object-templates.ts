/** What a new object of each kind begins as. */
export const templates: Record<string, string> = {
  Resource: `kind: Resource
name: orders-db
type: postgres
labels: {env: prod}
address: 10.0.0.5:5432
database: orders
tls: {mode: verify-full}
credentials: {username: app, password: {env: ORDERS_DB_PASSWORD}}
`,
  Access: `kind: Access
name: engineers-read
to: ["group:engineering"]
on: {labels: {env: prod}}
allow:
  - {verbs: [select]}
max_session: 8h
`,
  Rule: `kind: Rule
name: no-unbounded-delete
on: {labels: {env: prod}}
use: no-delete-without-where
then: deny
message: "Add a WHERE clause."
`,
  Mask: `kind: Mask
name: customer-pii
on: {names: [orders-db]}
except: ["group:privacy-office"]
columns: ["public.customers.email"]
detect: [email, credit_card, iban]
with: partial
`,
  Classification: `kind: Classification
name: orders-columns
on: {names: [orders-db]}
columns:
  public.customers.email: [pii.email]
`,
  Recordings: `kind: Recordings
name: production
on: {labels: {env: prod}}
view: ["group:security"]
watch: ["group:security"]
keep: 365d
`,
  ServiceAccount: `kind: ServiceAccount
name: nightly-report
groups: [ci]
`,
};
