package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity"
)

// deed is one call that does something which the store keeps.
type deed struct {
	request
	path   string // whole, in place of request.path below /api/v1
	action string // of its entry; empty: any
	// later says that something is written after the act's transaction, too, of
	// which a crash leaves nothing undone.
	later bool
	// intact is what must be true as long as the act hasn't happened.
	intact func(*testing.T)
}

// inMemory are routes whose act isn't in the store: its entry is written first,
// and a crash leaves nothing of the act undone.
var inMemory = map[string]string{
	"POST /sessions/{id}/kill":                "a crash ends the session, too",
	"POST /scim-tokens/{name}/allow-removals": "the limits count again after a crash",
	"POST /secrets/seal":                      "nobody has the sealed secret before its answer",
	"POST /resources/{name}/classify":         "it reads",
}

// noAct are routes with a verb that changes something, and which change nothing
// that anybody could do more or less by.
var noAct = map[string]string{
	"POST /objects/plan":               "it says what would be changed",
	"POST /policy/explain":             "it says what would be decided",
	"POST /policy/test":                "it says what would be decided",
	"POST /audit/verify":               "it reads",
	"POST /issuer/login":               "the provider's own page: GET /auth/callback/{provider} opens the login",
	"POST /oauth/authorize":            "a code lets nobody in: POST /oauth/token does, for whoever has its verifier",
	"POST /oauth/device_authorization": "a machine that waits is let in by nobody yet",
	"POST /integrations/slack/":        "it votes as POST /reviews/{id}/approve does: internal/approval",
}

// faults are the world's store as somebody has it who opens its file.
type faults struct {
	t  *testing.T
	db *sql.DB
	w  *apitest.World
}

// newFaults prepares the store to break on request: "log" refuses what is kept
// for the audit log, "act" all else that is written, and "after" all that is
// written once something was kept for the log.
func newFaults(t *testing.T, w *apitest.World) *faults {
	t.Helper()
	db := must(sql.Open("sqlite", "file:"+filepath.Join(w.Dir, "postern.db")+"?_busy_timeout=30000"))(t)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	f := &faults{t: t, db: db, w: w}
	f.exec(`CREATE TABLE fault (mode TEXT NOT NULL, armed INTEGER NOT NULL)`)
	f.exec(`INSERT INTO fault VALUES ('', 0)`)
	f.exec(`CREATE TRIGGER fault_log BEFORE INSERT ON audit_outbox WHEN (SELECT mode FROM fault) = 'log'
		BEGIN SELECT RAISE(ABORT, 'the log is broken'); END`)
	f.exec(`CREATE TRIGGER fault_arm AFTER INSERT ON audit_outbox WHEN (SELECT mode FROM fault) = 'after'
		BEGIN UPDATE fault SET armed = 1; END`)
	for _, table := range f.tables() {
		for _, verb := range []string{"INSERT", "UPDATE", "DELETE"} {
			f.exec(fmt.Sprintf(`CREATE TRIGGER fault_%s_%s BEFORE %s ON %s WHEN (SELECT mode = 'act' OR armed = 1 FROM fault)
				BEGIN SELECT RAISE(ABORT, 'the store is broken'); END`, table, verb, verb, table))
		}
	}
	return f
}

func (f *faults) exec(query string, args ...any) {
	f.t.Helper()
	if _, err := f.db.ExecContext(f.t.Context(), query, args...); err != nil {
		f.t.Fatal(err)
	}
}

func (f *faults) mode(mode string) {
	f.t.Helper()
	f.exec("UPDATE fault SET mode = $1, armed = 0", mode)
}

// rows are all that a query finds.
func (f *faults) rows(query string) (all [][]any) {
	f.t.Helper()
	rows, err := f.db.QueryContext(f.t.Context(), query)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns := must(rows.Columns())(f.t)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			f.t.Fatal(err)
		}
		all = append(all, values)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	return all
}

// tables are all but the audit log's own, and the index of recordings, which is
// made in the background.
func (f *faults) tables() []string {
	f.t.Helper()
	var all []string
	for _, row := range f.rows(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'audit%'
		AND name NOT LIKE 'search%' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%' AND name <> 'fault' ORDER BY name`) {
		all = append(all, fmt.Sprint(row...))
	}
	return all
}

// dump is all that the store holds, but for the audit log.
func (f *faults) dump() map[string]string {
	f.t.Helper()
	all := map[string]string{}
	for _, table := range f.tables() {
		var lines []string
		for _, row := range f.rows("SELECT * FROM " + table) {
			lines = append(lines, fmt.Sprint(row...))
		}
		slices.Sort(lines)
		all[table] = strings.Join(lines, "\n")
	}
	return all
}

// changed are the tables that two dumps differ in.
func changed(a, b map[string]string) []string {
	var all []string
	for _, table := range slices.Sorted(maps.Keys(a)) {
		if a[table] != b[table] {
			all = append(all, table)
		}
	}
	return all
}

// An act and its entry are one transaction, for every route that does something:
// where the entry can't be written nothing has happened, where the act can't be
// done no entry says that it was, and where everything that is written after
// both fails, as if the process had been killed there, the act is whole.
func TestEveryActAndItsEntryAreOne(t *testing.T) {
	w := apitest.New(t)
	f := newFaults(t, w)
	d := &deeds{t: t, w: w, tokens: map[string]string{}}
	d.prepare()
	all := d.all()
	for _, route := range mutating(t) {
		_, done := all[route]
		if done == (inMemory[route]+noAct[route] != "") {
			t.Errorf("%s: say in exactly one place what it does: a deed that is tried, an act in memory, or none", route)
		}
	}
	for _, route := range slices.Sorted(maps.Keys(all)) {
		t.Run(strings.ReplaceAll(route, "/", "·"), func(t *testing.T) {
			d.t, f.t = t, t
			f.try(route, all[route])
		})
	}
}

func (f *faults) try(route string, do func() deed) {
	t := f.t
	t.Helper()
	for _, mode := range []string{"log", "act", "after"} {
		deed := do()
		before, size := f.dump(), f.w.Audit.Size()
		f.mode(mode)
		status, body := call(t, f.w, deed)
		f.mode("")
		after := f.dump()
		claims := f.claims(size)
		happened := slices.ContainsFunc(claims, func(e postern.AuditRecord) bool { return deed.action == "" || e.Action == deed.action })
		switch mode {
		case "after":
			if status >= 400 && !deed.later || !happened || len(changed(before, after)) == 0 {
				t.Errorf("%s, and all that is written afterwards fails: %d %s; changed %v, the log has %+v", route, status, body, changed(before, after), claims)
			}
			continue
		case "log":
			if status < 500 {
				t.Errorf("%s without a log: %d %s", route, status, body)
			}
		case "act":
			if status < 400 {
				t.Errorf("%s without a store: %d %s", route, status, body)
			}
		}
		if happened || len(changed(before, after)) > 0 {
			t.Errorf("%s with a broken %s: changed %v, and the log claims %+v", route, mode, changed(before, after), claims)
		}
		if deed.intact != nil {
			deed.intact(t)
		}
	}
}

// claims are the new entries that say that something was done.
func (f *faults) claims(after int64) []postern.AuditRecord {
	f.t.Helper()
	all := must(f.w.Audit.Tail(f.t.Context(), after, 100))(f.t)
	return slices.DeleteFunc(all, func(r postern.AuditRecord) bool { return r.Outcome == "failed" || r.Outcome == "refused" })
}

func call(t *testing.T, w *apitest.World, d deed) (int, string) {
	t.Helper()
	if d.path != "" {
		d.request.path = d.path
	} else {
		d.request.path = "/api/v1" + d.request.path
	}
	return do(t, w, d.request)
}

// mutating are all routes whose verb changes something, and the one that does
// though its verb doesn't.
func mutating(t *testing.T) []string {
	t.Helper()
	all := []string{"GET /auth/callback/{provider}"}
	for route := range api.Rights() {
		if !strings.HasPrefix(route, http.MethodGet+" ") {
			all = append(all, route)
		}
	}
	plain := regexp.MustCompile(`mux\.Handle(?:Func)?\("((?:POST|PUT|PATCH|DELETE) [^"]+)"`)
	for _, file := range must(filepath.Glob("*.go"))(t) {
		for _, m := range plain.FindAllSubmatch(must(os.ReadFile(file))(t), -1) {
			all = append(all, string(m[1]))
		}
	}
	for _, kind := range []string{"Users", "Groups"} {
		all = append(all, "POST /scim/v2/"+kind, "PUT /scim/v2/"+kind+"/{id}", "PATCH /scim/v2/"+kind+"/{id}", "DELETE /scim/v2/"+kind+"/{id}")
	}
	slices.Sort(all)
	return all
}

// deeds make what the calls of the test are about, anew for each call.
type deeds struct {
	t      *testing.T
	w      *apitest.World
	n      int
	tokens map[string]string
	scim   string
}

func (d *deeds) prepare() {
	d.t.Helper()
	for _, user := range []string{"adam", "dave", "alice"} {
		d.tokens[user] = d.w.Token(d.t, user).Reveal()
	}
	d.scim = scimToken(d.t, d.w, "okta", "corp", "")
	d.w.Directory.AllowRemovals("corp", time.Now().Add(time.Hour))
	hash := must(identity.HashPassword(postern.NewSecret(apitest.Password)))(d.t)
	d.ok(d.w.Identity.Declare(d.t.Context(), []postern.Account{
		{Name: "glass-1", Kind: postern.User, SecretHash: hash, BreakGlass: true, Groups: []string{"admins"}, Source: "postern.yaml:1"},
		{Name: "glass-2", Kind: postern.User, SecretHash: hash, BreakGlass: true, Source: "postern.yaml:2"},
	}))
}

func (d *deeds) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// name is one that wasn't there before.
func (d *deeds) name(of string) string {
	d.n++
	return fmt.Sprintf("%s-%d", of, d.n)
}

func (d *deeds) as(user, method, path, body string) deed {
	return deed{request: request{method: method, path: path, body: body, token: d.tokens[user]}}
}

// engineer is a new local user of engineering, with a token.
func (d *deeds) engineer() postern.Identity {
	d.t.Helper()
	name := d.name("eng")
	must(d.w.Identity.PutUser(d.t.Context(), name, []string{"engineering"}, postern.Secret{}))(d.t)
	id := postern.Identity{Name: name, Kind: postern.User, Groups: []string{"engineering"}, Subject: "local:" + name}
	secret, _, err := d.w.Identity.MintLogin(d.t.Context(), id)
	d.ok(err)
	d.tokens[name] = secret.Reveal()
	return id
}

// person is a new one of provider corp, with a login of a kind.
func (d *deeds) person(kind postern.LoginKind) identity.LoginTokens {
	d.t.Helper()
	name := d.name("ann")
	return must(d.w.Identity.StartLogin(d.t.Context(), kind, identity.Vouched{
		Identity: postern.Identity{Name: name, Kind: postern.User, Subject: "corp:" + name, Email: name + "@example.com", Groups: []string{"engineering"}}, SID: "sid-" + name,
	}, identity.Where{}))(d.t)
}

// page is a call of one of the browser's own pages.
func (d *deeds) page(login identity.LoginTokens, path string, form url.Values) deed {
	d.t.Helper()
	cookie := http.Header{"Cookie": {"__Host-postern=" + login.Token.Reveal()}}
	_, body := do(d.t, d.w, request{path: "/api/v1/whoami", header: cookie})
	csrf := regexp.MustCompile(`"csrf":"([^"]+)"`).FindStringSubmatch(body)
	if csrf == nil {
		d.t.Fatalf("%s", body)
	}
	form.Set("csrf", csrf[1])
	cookie.Set("Content-Type", "application/x-www-form-urlencoded")
	return deed{path: path, request: request{method: http.MethodPost, header: cookie, body: form.Encode()}}
}

func (d *deeds) form(path, action string, form url.Values) deed {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	return deed{path: path, action: action, request: request{method: http.MethodPost, header: header, body: form.Encode()}}
}

func (d *deeds) directory(method, path, action, body string) deed {
	header := http.Header{"Content-Type": {"application/scim+json"}}
	return deed{path: "/scim/v2" + path, action: action, request: request{method: method, token: d.scim, header: header, body: body}}
}

func (a deed) of(action string) deed {
	a.action = action
	return a
}

func (d *deeds) all() map[string]func() deed {
	all := map[string]func() deed{}
	for _, some := range []map[string]func() deed{d.logins(), d.programs(), d.rights(), d.accounts(), d.people(), d.decisions(), d.things()} {
		maps.Copy(all, some)
	}
	return all
}

func (d *deeds) logins() map[string]func() deed {
	password := `{"user":%q,"password":"` + apitest.Password + `"}`
	begin := func() *api.BreakGlass {
		return must(as(d.t, d.w, "").Login(d.t.Context(), "glass-1", postern.NewSecret(apitest.Password), ""))(d.t).BreakGlass
	}
	factor := func(id postern.Identity) identity.Enrolment {
		_, err := d.w.Identity.PutUser(d.t.Context(), id.Name, []string{"engineering"}, postern.NewSecret(apitest.Password))
		d.ok(err)
		secret, _, err := d.w.Identity.MintLogin(d.t.Context(), id)
		d.ok(err)
		d.tokens[id.Name] = secret.Reveal()
		return must(d.w.Identity.EnrolTOTP(d.t.Context(), id.Name, "test"))(d.t)
	}
	return map[string]func() deed{
		"POST /login": func() deed { return d.as("", http.MethodPost, "/login", fmt.Sprintf(password, "alice")).of("login") },
		"POST /login (two people)": func() deed {
			return d.as("", http.MethodPost, "/login", fmt.Sprintf(password, "glass-1")).of("break-glass.request")
		},
		"POST /login/break-glass/{id}/confirm": func() deed {
			return d.as("", http.MethodPost, "/login/break-glass/"+begin().ID+"/confirm", fmt.Sprintf(password, "glass-2")).of("break-glass.confirm")
		},
		"POST /login/break-glass": func() deed {
			b := begin()
			d.ok(as(d.t, d.w, "").ConfirmBreakGlass(d.t.Context(), b.ID, "glass-2", postern.NewSecret(apitest.Password), ""))
			return d.as("", http.MethodPost, "/login/break-glass", `{"secret":"`+b.Secret+`"}`).of("break-glass.login")
		},
		"POST /factors/totp": func() deed { return d.as("alice", http.MethodPost, "/factors/totp", "").of("factor.enrol") },
		"POST /factors/totp/confirm": func() deed {
			id := d.engineer()
			code := must(totp.GenerateCode(factor(id).Secret, time.Now()))(d.t)
			return d.as(id.Name, http.MethodPost, "/factors/totp/confirm", `{"code":"`+code+`"}`).of("factor.confirm")
		},
		"DELETE /users/{name}/factors": func() deed {
			id := d.engineer()
			factor(id)
			return d.as("adam", http.MethodDelete, "/users/"+id.Name+"/factors", "").of("factor.reset")
		},
		"POST /logout": func() deed { return d.as(d.engineer().Name, http.MethodPost, "/logout", "").of("logout") },
		"DELETE /logins/{id}": func() deed {
			return d.as("adam", http.MethodDelete, "/logins/"+d.person(postern.CLILogin).Record.ID, "").of("login.end")
		},
	}
}

func (d *deeds) programs() map[string]func() deed {
	token := func(grant string, form url.Values) deed {
		form.Set("grant_type", grant)
		form.Set("client_id", api.CLIClient)
		return d.form("/oauth/token", "", form)
	}
	const verifier = "0123456789012345678901234567890123456789012"
	exchange := func() deed {
		return token("urn:ietf:params:oauth:grant-type:token-exchange", url.Values{
			"subject_token": {d.tokens["alice"]}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "audience": {"orders-db"},
		}).of("token.create")
	}
	device := func(login identity.LoginTokens, approve bool) (code postern.Secret, user string) {
		code, waiting, err := d.w.Identity.StartDevice(d.t.Context(), identity.Where{Client: "build-7"})
		d.ok(err)
		if approve {
			id := must(d.w.Identity.AuthenticateCookie(d.t.Context(), login.Token))(d.t)
			must(d.w.Identity.DecideDevice(d.t.Context(), id, waiting.UserCode, apitest.Loopback, true))(d.t)
		}
		return code, waiting.UserCode
	}
	return map[string]func() deed{
		"POST /oauth/token": exchange,
		"POST /oauth/token (code)": func() deed {
			id := must(d.w.Identity.AuthenticateCookie(d.t.Context(), d.person(postern.WebLogin).Token))(d.t)
			code := must(d.w.Identity.IssueCode(d.t.Context(), id, identity.Challenge(verifier), "http://127.0.0.1:4000/callback", identity.Where{}))(d.t)
			return token("authorization_code", url.Values{"code": {code.Reveal()}, "code_verifier": {verifier}, "redirect_uri": {"http://127.0.0.1:4000/callback"}}).of("login")
		},
		"POST /oauth/token (device)": func() deed {
			code, _ := device(d.person(postern.WebLogin), true)
			return token("urn:ietf:params:oauth:grant-type:device_code", url.Values{"device_code": {code.Reveal()}}).of("login")
		},
		// A browser's login is opened by the function that opens a program's.
		"GET /auth/callback/{provider}": func() deed {
			code, _ := device(d.person(postern.WebLogin), true)
			return token("urn:ietf:params:oauth:grant-type:device_code", url.Values{"device_code": {code.Reveal()}}).of("login")
		},
		"POST /oauth/revoke": func() deed {
			return d.form("/oauth/revoke", "logout", url.Values{"client_id": {api.CLIClient}, "token": {d.person(postern.CLILogin).Refresh.Reveal()}})
		},
		"POST /device": func() deed {
			login := d.person(postern.WebLogin)
			_, user := device(login, false)
			return d.page(login, "/device", url.Values{"user_code": {user}, "decision": {"approve"}}).of("device.approve")
		},
		"POST /auth/logout": func() deed { return d.page(d.person(postern.WebLogin), "/auth/logout", url.Values{}).of("logout") },
		"POST /events/{name}": func() deed {
			name := strings.TrimPrefix(d.person(postern.CLILogin).Record.Identity.Subject, "corp:")
			set := must(d.w.Issuer.Event(apitest.EventAudience, "risc", "account-disabled", name))(d.t)
			return deed{path: "/events/corp", later: true, request: request{method: http.MethodPost, body: set, header: http.Header{"Content-Type": {secevent}}}}
		},
		"POST /oauth/backchannel-logout/{provider}": func() deed {
			name := strings.TrimPrefix(d.person(postern.CLILogin).Record.Identity.Subject, "corp:")
			logout := must(d.w.Issuer.Logout(apitest.LogoutAudience, name, "sid-"+name))(d.t)
			out := d.form("/oauth/backchannel-logout/corp", "", url.Values{"logout_token": {logout}})
			out.later = true
			return out
		},
	}
}

func (d *deeds) rights() map[string]func() deed {
	alice := postern.Identity{Name: "alice", Kind: postern.User, Groups: []string{"engineering"}, Subject: "local:alice"}
	sshKey := func() (line, fingerprint string) {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		d.ok(err)
		key := must(ssh.NewPublicKey(public))(d.t)
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), ssh.FingerprintSHA256(key)
	}
	bot := func() string {
		name := d.name("bot")
		_, _, err := d.w.Identity.CreateServiceAccount(d.t.Context(), name, nil)
		d.ok(err)
		return name
	}
	return map[string]func() deed{
		"POST /tokens": func() deed {
			return d.as("alice", http.MethodPost, "/tokens", `{"resource":"orders-db"}`).of("token.create")
		},
		"DELETE /tokens/{id}": func() deed {
			_, token, err := d.w.Identity.MintSession(d.t.Context(), alice, identity.SessionTerms{Resource: "orders-db"})
			d.ok(err)
			return d.as("alice", http.MethodDelete, "/tokens/"+token.ID, "")
		},
		"POST /certificates": func() deed {
			key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(d.t)
			csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))(d.t)})
			return d.as("alice", http.MethodPost, "/certificates", fmt.Sprintf(`{"csr":%q}`, csr)).of("certificate.create")
		},
		"DELETE /certificates/{id}": func() deed {
			_, fingerprint := sshKey()
			token := must(d.w.Identity.RegisterCertificate(d.t.Context(), alice, identity.CertificateTerms{Key: fingerprint}))(d.t)
			return d.as("alice", http.MethodDelete, "/certificates/"+token.ID, "").of("certificate.revoke")
		},
		"POST /ssh-keys": func() deed {
			line, _ := sshKey()
			return d.as("alice", http.MethodPost, "/ssh-keys", fmt.Sprintf(`{"public_key":%q}`, line)).of("ssh-key.add")
		},
		"DELETE /ssh-keys/{id}": func() deed {
			_, fingerprint := sshKey()
			token := must(d.w.Identity.AddSSHKey(d.t.Context(), alice, fingerprint, "", 0))(d.t)
			return d.as("alice", http.MethodDelete, "/ssh-keys/"+token.ID, "").of("ssh-key.remove")
		},
		"POST /delegations": func() deed {
			return d.as("alice", http.MethodPost, "/delegations", `{"to":"service:`+bot()+`","resources":["orders-db"]}`).of("delegation.grant")
		},
		"DELETE /delegations/{id}": func() deed {
			token := must(d.w.Identity.Delegate(d.t.Context(), alice, identity.Consent{
				Actor: postern.Identity{Kind: postern.Service, Name: bot()}, Resources: []string{"orders-db"},
			}))(d.t)
			return d.as("alice", http.MethodDelete, "/delegations/"+token.ID, "").of("delegation.end")
		},
	}
}

func (d *deeds) accounts() map[string]func() deed {
	service := func(disabled bool) string {
		name := d.name("svc")
		_, _, err := d.w.Identity.CreateServiceAccount(d.t.Context(), name, []string{"ci"})
		d.ok(err)
		if disabled {
			must(d.w.Identity.Disable(d.t.Context(), postern.Service, name))(d.t)
		}
		return "/service-accounts/" + name
	}
	post := func(path, action string) deed { return d.as("adam", http.MethodPost, path, "").of(action) }
	return map[string]func() deed{
		"POST /service-accounts": func() deed {
			return d.as("adam", http.MethodPost, "/service-accounts", `{"name":"`+d.name("svc")+`"}`).of("service-account.create")
		},
		"POST /service-accounts/{name}/rotate":  func() deed { return post(service(false)+"/rotate", "service-account.rotate") },
		"POST /service-accounts/{name}/disable": func() deed { return post(service(false)+"/disable", "service-account.disable") },
		"POST /service-accounts/{name}/enable":  func() deed { return post(service(true)+"/enable", "service-account.enable") },
		"DELETE /service-accounts/{name}": func() deed {
			return d.as("adam", http.MethodDelete, service(false), "").of("service-account.delete")
		},
		"POST /users/{name}/disable": func() deed { return post("/users/"+d.engineer().Name+"/disable", "user.disable") },
		"POST /users/{name}/enable": func() deed {
			name := d.engineer().Name
			must(d.w.Identity.Disable(d.t.Context(), postern.User, name))(d.t)
			return post("/users/"+name+"/enable", "user.enable")
		},
		"POST /scim-tokens": func() deed {
			return d.as("adam", http.MethodPost, "/scim-tokens", `{"name":"`+d.name("dir")+`","provider":"corp"}`).of("scim-token.create")
		},
		"DELETE /scim-tokens/{name}": func() deed {
			name := d.name("dir")
			_, _, err := d.w.Identity.CreateSCIMToken(d.t.Context(), name, "corp", "", "user:adam", 0)
			d.ok(err)
			return d.as("adam", http.MethodDelete, "/scim-tokens/"+name, "").of("scim-token.revoke")
		},
	}
}

// people are kept by a directory.
func (d *deeds) people() map[string]func() deed {
	user := func(name string, active bool) string {
		return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"active":%v}`, name, active)
	}
	group := func(name string, members ...string) string {
		var list []string
		for _, m := range members {
			list = append(list, `{"value":"`+m+`"}`)
		}
		return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":%q,"members":[%s]}`, name, strings.Join(list, ","))
	}
	patch := func(operation string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operation + `]}`
	}
	created := func(path, body string) string {
		status, answer := call(d.t, d.w, d.directory(http.MethodPost, path, "", body))
		id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(answer)
		if status != http.StatusCreated || id == nil {
			d.t.Fatalf("%d %s", status, answer)
		}
		return id[1]
	}
	someone := func() (name, path string) {
		name = d.name("bob")
		return name, "/Users/" + created("/Users", user(name, true))
	}
	some := func() (name, member, path string) {
		_, at := someone()
		name, member = d.name("team"), strings.TrimPrefix(at, "/Users/")
		return name, member, "/Groups/" + created("/Groups", group(name, member))
	}
	return map[string]func() deed{
		"POST /scim/v2/Users": func() deed {
			return d.directory(http.MethodPost, "/Users", "scim.user.create", user(d.name("bob"), true))
		},
		"PUT /scim/v2/Users/{id}": func() deed {
			name, path := someone()
			return d.directory(http.MethodPut, path, "scim.user.deactivate", user(name, false))
		},
		"PATCH /scim/v2/Users/{id}": func() deed {
			_, path := someone()
			return d.directory(http.MethodPatch, path, "scim.user.deactivate", patch(`{"op":"replace","path":"active","value":false}`))
		},
		"DELETE /scim/v2/Users/{id}": func() deed {
			_, member, _ := some() // of a group, which they leave
			return d.directory(http.MethodDelete, "/Users/"+member, "scim.user.delete", "")
		},
		"POST /scim/v2/Groups": func() deed {
			_, path := someone()
			return d.directory(http.MethodPost, "/Groups", "", group(d.name("team"), strings.TrimPrefix(path, "/Users/")))
		},
		"PUT /scim/v2/Groups/{id}": func() deed {
			name, _, path := some()
			return d.directory(http.MethodPut, path, "scim.group.replace", group(name))
		},
		"PATCH /scim/v2/Groups/{id}": func() deed {
			_, member, path := some()
			return d.directory(http.MethodPatch, path, "scim.group.replace", patch(`{"op":"remove","path":"members[value eq \"`+member+`\"]"}`))
		},
		"DELETE /scim/v2/Groups/{id}": func() deed {
			_, _, path := some()
			return d.directory(http.MethodDelete, path, "scim.group.delete", "")
		},
	}
}

func (d *deeds) decisions() map[string]func() deed {
	review := func() string { return "/reviews/" + d.w.Review(d.t, d.name("rv"), d.name("asker")).ID }
	asked := func() string { return "/requests/" + d.w.Request(d.t, d.name("asker"), "night-work").ID }
	post := func(user, path, body, action string) deed { return d.as(user, http.MethodPost, path, body).of(action) }
	dave := postern.Identity{Name: "dave", Kind: postern.User, Groups: []string{"dba"}, Subject: "local:dave"}
	return map[string]func() deed{
		"POST /reviews/{id}/approve":  func() deed { return post("dave", review()+"/approve", "{}", "review.approve") },
		"POST /reviews/{id}/deny":     func() deed { return post("dave", review()+"/deny", "{}", "review.deny") },
		"POST /requests/{id}/approve": func() deed { return post("dave", asked()+"/approve", "{}", "request.approve") },
		"POST /requests/{id}/deny":    func() deed { return post("dave", asked()+"/deny", "{}", "request.deny") },
		"POST /requests/{id}/revoke":  func() deed { return post("dave", asked()+"/revoke", "{}", "grant.revoke") },
		"POST /requests": func() deed {
			asked() // puts the access in place
			return post(d.engineer().Name, "/requests", `{"resource":"orders-db","access":"night-work","reason":"x"}`, "request.submit")
		},
		"POST /requests (break glass)": func() deed {
			asked()
			return post(d.engineer().Name, "/requests", `{"resource":"orders-db","access":"emergency","reason":"x","break_glass":true}`, "break_glass")
		},
		"POST /requests/{id}/extend": func() deed {
			id := d.engineer()
			rv := d.w.Request(d.t, id.Name, "night-work")
			must(d.w.Reviews.Cast(d.t.Context(), rv.ID, dave, postern.Ballot{Approve: true, Seconds: 1800}))(d.t)
			return post(id.Name, "/requests/"+rv.ID+"/extend", `{"for":"10m","reason":"x"}`, "request.submit")
		},
		"POST /requests/{id}/look-over": func() deed {
			rv := d.w.Request(d.t, d.name("asker"), "emergency")
			must(d.w.Reviews.Revoke(d.t.Context(), rv.ID, dave, "over"))(d.t)
			return post("dave", "/requests/"+rv.ID+"/look-over", `{"in_order":true,"words":"x"}`, "break_glass.review")
		},
		"POST /offline-grants": func() deed {
			asked()
			return post("adam", "/offline-grants", offlineBody(d.engineer().Name, "emergency"), "offline-grant.issue")
		},
		"POST /offline-grants/{id}/approve": func() deed {
			id, _ := d.w.Offline(d.t, d.engineer().Name, "emergency-of-two")
			return post("dave", "/offline-grants/"+id+"/approve", "{}", "offline-grant.approve")
		},
		"POST /offline-grants/{id}/revoke": func() deed {
			id, _ := d.w.Offline(d.t, d.engineer().Name, "emergency")
			return post("adam", "/offline-grants/"+id+"/revoke", "{}", "offline-grant.revoke")
		},
		"POST /login/offline": func() deed {
			user := d.engineer().Name
			_, code := d.w.Offline(d.t, user, "emergency")
			return post("", "/login/offline", useBody(user, code), "offline-grant.use")
		},
		"POST /requests/{id}/revoke (offline)": func() deed {
			user := d.engineer().Name
			_, code := d.w.Offline(d.t, user, "emergency")
			out := must(as(d.t, d.w, "").UseOfflineGrant(d.t.Context(), api.OfflineCode{User: user, Secret: code, Reason: "x"}))(d.t)
			revoke := post("adam", "/requests/"+out.Requests[0]+"/revoke", "{}", "grant.revoke")
			revoke.later = true // the login ends by an act of its own
			return revoke
		},
		"POST /notifications/{id}/retry": func() deed {
			d.ok(d.w.Store.AddNotification(d.t.Context(), postern.Notification{Channel: "hook", Review: d.name("rv"), Step: "submitted"}))
			latest := must(d.w.Store.Notifications(d.t.Context(), "", 1))(d.t)[0]
			return post("adam", fmt.Sprintf("/notifications/%d/retry", latest.ID), "", "notification.retry")
		},
	}
}

func (d *deeds) things() map[string]func() deed {
	rule := func() (name, document string) {
		name = d.name("rule")
		return name, "kind: Rule\nname: " + name + "\nwhen: command.verb == \"truncate\"\nthen: deny\n"
	}
	force := func(name string, wanted bool) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			in := slices.ContainsFunc(must(as(t, d.w, "adam").Objects(t.Context(), "Rule"))(t), func(o api.Document) bool { return o.Name == name })
			if in != wanted {
				t.Errorf("%s is in force: %v", name, in)
			}
		}
	}
	return map[string]func() deed{
		"POST /objects/apply": func() deed {
			name, document := rule()
			out := d.as("adam", http.MethodPost, "/objects/apply", document).of("object.apply")
			out.intact = force(name, false)
			return out
		},
		"DELETE /objects/{kind}/{name}": func() deed {
			name, document := rule()
			must(d.w.Objects.Apply(d.t.Context(), "test", []byte(document), apitest.Unaudited))(d.t)
			out := d.as("adam", http.MethodDelete, "/objects/Rule/"+name, "").of("object.delete")
			out.intact = force(name, true)
			return out
		},
		"DELETE /sessions/{id}/recording": func() deed {
			info, rec := d.w.Session(d.t, strings.ReplaceAll(d.name("ss"), "-", "_"), "alice")
			d.w.EndSession(d.t, info, rec)
			out := d.as("adam", http.MethodDelete, "/sessions/"+info.ID+"/recording?reason=x", "").of("recording.delete")
			out.later = true // that it is deleted is forgotten
			out.intact = func(t *testing.T) {
				t.Helper()
				if _, err := d.w.Recordings.Digest(info.ID); err != nil {
					t.Errorf("the recording is gone: %v", err)
				}
			}
			return out
		},
	}
}

// What is condemned with its entry is deleted by the next process, should the
// one that condemned it have been killed.
func TestCondemnedRecordingsAreDeletedLater(t *testing.T) {
	w := apitest.New(t)
	info, rec := w.Session(t, "ss_1", "alice")
	w.EndSession(t, info, rec)
	err := w.Audit.Act(t.Context(), func() []postern.AuditEntry { return nil },
		func(ctx context.Context) error { return w.Recordings.Condemn(ctx, info.ID) })
	if err != nil {
		t.Fatal(err)
	}
	must(w.Recordings.Digest(info.ID))(t)
	if err := w.Recordings.DeleteCondemned(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recordings.Digest(info.ID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if names := must(w.Store.MetaNames(t.Context(), "condemned"))(t); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// A session that is opened while its right is taken away must not outlive that:
// sessions are ended when the act is durable, and not before.
func TestSessionsEndAfterTheCommit(t *testing.T) {
	w := apitest.New(t)
	info, rec := w.Session(t, "ss_1", "alice")
	defer func() { _, _ = rec.Close() }()
	live := func() bool {
		return slices.ContainsFunc(w.Live.Live(), func(s postern.SessionInfo) bool { return s.ID == info.ID })
	}
	undone := errors.New("undone")
	disable := func(then error) error {
		ctx, release := w.Identity.Exclusive(t.Context())
		defer release()
		return w.Audit.Act(ctx, func() []postern.AuditEntry { return nil }, func(ctx context.Context) error {
			if _, err := w.Identity.Disable(ctx, postern.User, "alice"); err != nil {
				return err
			}
			if !live() {
				t.Error("ended before what takes its right away is durable")
			}
			return then
		})
	}
	if err := disable(undone); !errors.Is(err, undone) || !live() {
		t.Errorf("%v, live %v", err, live())
	}
	if err := disable(nil); err != nil || live() {
		t.Errorf("%v, live %v", err, live())
	}
}

// The test's own means find what they are to find.
func TestDumpsAreCompared(t *testing.T) {
	w := apitest.New(t)
	f := newFaults(t, w)
	before := f.dump()
	if len(before) < 15 || len(changed(before, f.dump())) > 0 {
		t.Errorf("%d tables, changed %v", len(before), changed(before, f.dump()))
	}
	if err := w.Store.PutMeta(t.Context(), "a", "b"); err != nil || !slices.Equal(changed(before, f.dump()), []string{"meta"}) {
		t.Errorf("%v, changed %v", err, changed(before, f.dump()))
	}
	f.mode("act")
	if err := w.Store.PutMeta(t.Context(), "a", "c"); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("written: %v", err)
	}
}
