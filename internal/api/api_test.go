package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/api/client"
	"postern/internal/audit"
)

// as is a client that calls as a user; "" is not signed in.
func as(t *testing.T, w *apitest.World, user string) *client.Client {
	t.Helper()
	token := postern.Secret{}
	if user != "" {
		token = w.Token(t, user)
	}
	return with(t, w, token)
}

func with(t *testing.T, w *apitest.World, token postern.Secret) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: w.URL, Token: token, CAFile: w.CAFile, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// must is v, where err is none.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantStatus checks that the gateway refused with a status, and returns its words.
func wantStatus(t *testing.T, err error, status int) string {
	t.Helper()
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != status {
		t.Fatalf("got %v, want status %d", err, status)
	}
	return refused.Error()
}

func TestLogin(t *testing.T) {
	w := apitest.New(t)
	c := as(t, w, "")
	login := must(c.Login(t.Context(), "alice", postern.NewSecret(apitest.Password), ""))(t)
	if login.Identity.Name != "alice" || login.ExpiresAt.Before(time.Now()) {
		t.Errorf("login %+v", login)
	}
	signedIn := with(t, w, postern.NewSecret(login.Token))
	if who := must(signedIn.Whoami(t.Context()))(t); who.Name != "alice" || !slices.Equal(who.Groups, []string{"engineering"}) || len(who.Roles) != 0 {
		t.Errorf("whoami %+v", who)
	}
	if who := must(as(t, w, "adam").Whoami(t.Context()))(t); !slices.Equal(who.Roles, []string{"admin", "auditor"}) {
		t.Errorf("roles %v", who.Roles)
	}
	if err := signedIn.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := signedIn.Whoami(t.Context())
	wantStatus(t, err, 401)
	if got := w.Audit.Actions(t); !slices.Contains(got, "login ok") || !slices.Contains(got, "logout ok") {
		t.Errorf("audit log has %v", got)
	}
}

// A wrong password and a user that doesn't exist can't be told apart, by words
// or by time.
func TestRefusedLoginsAreAlike(t *testing.T) {
	w := apitest.New(t)
	var bodies []string
	for _, user := range []string{"alice", "nobody-by-that-name"} {
		began := time.Now()
		status, body := do(t, w, request{method: "POST", path: "/api/v1/login", body: `{"user": "` + user + `", "password": "wrong password"}`})
		if took := time.Since(began); took < time.Second {
			t.Errorf("%s took %v", user, took)
		}
		if status != 401 {
			t.Errorf("%s: status %d", user, status)
		}
		bodies = append(bodies, body)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("%s\n%s", bodies[0], bodies[1])
	}
	if got := w.Audit.Actions(t); !slices.Equal(got, []string{"login refused", "login refused"}) {
		t.Errorf("audit log has %v", got)
	}
}

func TestWrongBearers(t *testing.T) {
	w := apitest.New(t)
	alice := as(t, w, "alice")
	session := must(alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	for name, header := range map[string]string{
		"none": "", "another scheme": "Basic YTpi", "empty": "Bearer ", "unknown": "Bearer pst_nothing",
		"session token": "Bearer " + session.Token, "huge": "Bearer " + strings.Repeat("x", 100<<10),
	} {
		resp := send(t, w, request{path: "/api/v1/whoami", header: http.Header{"Authorization": {header}}})
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: status %d, challenge %q", name, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestResources(t *testing.T) {
	w := apitest.New(t)
	got := must(as(t, w, "alice").Resources(t.Context()))(t)
	if len(got) != 1 || got[0].Name != "orders-db" || !got[0].Open || got[0].Host != "gw.example" || got[0].Port != 15432 {
		t.Errorf("alice reaches %+v", got)
	}
	if got := must(as(t, w, "audrey").Resources(t.Context()))(t); len(got) != 0 {
		t.Errorf("audrey reaches %+v", got)
	}
	_, body := do(t, w, request{path: "/api/v1/resources", token: w.Token(t, "alice").Reveal()})
	for _, secret := range []string{"127.0.0.1:5432", "ORDERS_DB_PASSWORD", "app"} {
		if strings.Contains(body, secret) {
			t.Errorf("the answer tells %s: %s", secret, body)
		}
	}
}

func TestCreateToken(t *testing.T) {
	w := apitest.New(t)
	alice := as(t, w, "alice")
	got := must(alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db", TTL: "5m", Uses: 2}))(t)
	want := "postgresql://alice:" + got.Token + "@gw.example:15432/orders-db?sslmode=verify-full"
	if got.User != "alice" || got.Host != "gw.example" || got.Port != 15432 || got.Database != "orders-db" || got.DSN != want {
		t.Errorf("token %+v", got)
	}
	if left := time.Until(got.ExpiresAt); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("it lives for %v", left)
	}
	adm := must(w.Identity.Admit(t.Context(), postern.Credential{User: "alice", Secret: postern.NewSecret(got.Token), Resource: "orders-db"}))(t)
	if adm.Identity.Name != "alice" || adm.Token != got.ID {
		t.Errorf("admission %+v", adm)
	}
	records := must(w.Audit.Entries(t.Context(), postern.AuditFilter{Action: "token.create", Limit: 10}))(t)
	if len(records) != 1 || bytes.Contains(records[0].Body, []byte(got.Token)) || records[0].Identity != "alice" || records[0].Resource != "orders-db" {
		t.Errorf("audit log has %s", records[0].Body)
	}
	tokens := must(alice.Tokens(t.Context(), ""))(t)
	if len(tokens) != 2 { // and the login
		t.Errorf("tokens %+v", tokens)
	}
	_, err := as(t, w, "dave").Tokens(t.Context(), "alice")
	wantStatus(t, err, 403)
	wantStatus(t, as(t, w, "dave").RevokeToken(t.Context(), got.ID), 404)
	if err := alice.RevokeToken(t.Context(), got.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Identity.Admit(t.Context(), postern.Credential{User: "alice", Secret: postern.NewSecret(got.Token), Resource: "orders-db"}); err == nil {
		t.Error("a revoked token still enters")
	}
	for _, ttl := range []string{"soon", "-1m", "0s", "1000h"} {
		_, err := alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db", TTL: ttl})
		wantStatus(t, err, 422)
	}
}

// A resource that isn't the caller's to know of is told like one that doesn't exist.
func TestHiddenResources(t *testing.T) {
	w := apitest.New(t)
	alice := as(t, w, "alice")
	_, err := alice.CreateToken(t.Context(), api.TokenRequest{Resource: "secret-db"})
	hidden := wantStatus(t, err, 404)
	_, err = alice.CreateToken(t.Context(), api.TokenRequest{Resource: "no-such-db"})
	if missing := wantStatus(t, err, 404); missing != hidden {
		t.Errorf("hidden: %s\nmissing: %s", hidden, missing)
	}
	_, err = alice.Explain(t.Context(), api.Question{Resource: "secret-db", Command: "select"})
	hidden = wantStatus(t, err, 404)
	_, err = alice.Explain(t.Context(), api.Question{Resource: "no-such-db", Command: "select"})
	if missing := wantStatus(t, err, 404); missing != hidden {
		t.Errorf("hidden: %s\nmissing: %s", hidden, missing)
	}
	// One that the caller may know of is refused with the reason.
	key := must(as(t, w, "adam").CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "ci", Groups: []string{"ci"}}))(t)
	_, err = with(t, w, postern.NewSecret(key.Key)).CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"})
	if text := wantStatus(t, err, 403); !strings.Contains(text, "network") {
		t.Errorf("refused without a reason: %s", text)
	}
}

func TestServiceAccounts(t *testing.T) {
	w := apitest.New(t)
	adam := as(t, w, "adam")
	created := must(adam.CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "ci", Groups: []string{"ci"}}))(t)
	ci := with(t, w, postern.NewSecret(created.Key))
	if who := must(ci.Whoami(t.Context()))(t); who.Name != "ci" || who.Kind != postern.Service {
		t.Errorf("whoami %+v", who)
	}
	_, err := adam.CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "ci"})
	wantStatus(t, err, 409)
	_, err = adam.CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "a b"})
	wantStatus(t, err, 422)
	rotated := must(adam.RotateServiceAccount(t.Context(), "ci"))(t)
	_, err = ci.Whoami(t.Context())
	wantStatus(t, err, 401)
	ci = with(t, w, postern.NewSecret(rotated.Key))
	if account := must(adam.SetServiceAccount(t.Context(), "ci", true))(t); !account.Disabled {
		t.Error("not disabled")
	}
	_, err = ci.Whoami(t.Context())
	wantStatus(t, err, 401)
	must(adam.SetServiceAccount(t.Context(), "ci", false))(t)
	must(ci.Whoami(t.Context()))(t)
	_, body := do(t, w, request{path: "/api/v1/service-accounts", token: w.Token(t, "adam").Reveal()})
	if strings.Contains(strings.ToLower(body), "hash") || strings.Contains(body, rotated.Key) || !strings.Contains(body, `"ci"`) {
		t.Errorf("the list is %s", body)
	}
	if err := adam.DeleteServiceAccount(t.Context(), "ci"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, adam.DeleteServiceAccount(t.Context(), "ci"), 404)
	_, err = adam.SetUser(t.Context(), "adam", true)
	wantStatus(t, err, 409)
	must(adam.SetUser(t.Context(), "alice", true))(t)
	want := []string{
		"service-account.create ok", "service-account.create failed", "service-account.rotate ok",
		"service-account.disable ok", "service-account.enable ok", "service-account.delete ok",
		"service-account.delete failed", "user.disable ok",
	}
	if got := w.Audit.Actions(t); !slices.Equal(got, want) {
		t.Errorf("audit log has\n%v, want\n%v", got, want)
	}
}

func TestReviews(t *testing.T) {
	w := apitest.New(t)
	w.Review(t, "rv_1", "alice")
	alice, dave := as(t, w, "alice"), as(t, w, "dave")
	ids := func(c *client.Client) []string {
		var all []string
		for _, rv := range must(c.Reviews(t.Context(), "", "", 0))(t) {
			all = append(all, rv.ID)
		}
		return all
	}
	for user, want := range map[string]int{"alice": 1, "dave": 1, "audrey": 1, "adam": 1} {
		if got := ids(as(t, w, user)); len(got) != want {
			t.Errorf("%s sees %v", user, got)
		}
	}
	other := must(as(t, w, "adam").CreateServiceAccount(t.Context(), api.NewServiceAccount{Name: "other"}))(t)
	if got := ids(with(t, w, postern.NewSecret(other.Key))); len(got) != 0 {
		t.Errorf("a stranger sees %v", got)
	}
	_, err := with(t, w, postern.NewSecret(other.Key)).Vote(t.Context(), "rv_1", true, "")
	wantStatus(t, err, 404)
	_, err = alice.Vote(t.Context(), "rv_1", true, "")
	wantStatus(t, err, 403)
	_, err = as(t, w, "adam").Vote(t.Context(), "rv_1", true, "")
	wantStatus(t, err, 403)
	shown := must(dave.Review(t.Context(), "rv_1"))(t)
	if len(shown.Commands) != 1 || string(shown.Commands[0].Params[0].Value) != "refunded" || shown.Digest == "" {
		t.Errorf("dave is shown %+v", shown)
	}
	rv := must(dave.Vote(t.Context(), "rv_1", true, "ticket 4711"))(t)
	if rv.State != postern.ReviewApproved || len(rv.Votes) != 1 || rv.Votes[0].By != "dave" {
		t.Errorf("voted %+v", rv)
	}
	_, err = dave.Vote(t.Context(), "rv_1", false, "")
	wantStatus(t, err, 409)
	if got := w.Audit.Actions(t); !slices.Contains(got, "review.approve ok") || !slices.Contains(got, "review.approve refused") {
		t.Errorf("audit log has %v", got)
	}
}

// TestEvidenceIsForApprovers: whoever asked is shown no number of the server's
// over their own command, whatever else they are; nobody has approved it.
func TestEvidenceIsForApprovers(t *testing.T) {
	w := apitest.New(t)
	rows := int64(42)
	sealed, err := w.Vault.Seal(postern.SealSample, []byte(`{"table": "public.payments", "columns": ["id"], "rows": [{"before": ["7"], "after": [null]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for id, user := range map[string]string{"rv_a": "alice", "rv_d": "dave", "rv_u": "audrey"} {
		rv := w.Review(t, "of_"+id, user)
		rv.ID, rv.Evidence = id, &postern.Evidence{
			Formatted: "UPDATE payments", Plan: []postern.PlanStep{{}}, Rows: &rows,
			Effects: []string{"a trigger"}, Missing: []string{"no count of refunds"}, Recent: []postern.Recent{{}},
			Trial: &postern.Trial{Tag: "UPDATE 1", Rows: 1, Sealed: sealed},
		}
		if err := w.Reviews.Submit(t.Context(), rv); err != nil {
			t.Fatal(err)
		}
	}
	for user, sees := range map[string]map[string]bool{
		"alice":  {"rv_a": false},
		"dave":   {"rv_a": true, "rv_d": false, "rv_u": true},
		"audrey": {"rv_a": true, "rv_d": true, "rv_u": false},
	} {
		c := as(t, w, user)
		listed := map[string]*postern.Evidence{}
		for _, rv := range must(c.Reviews(t.Context(), "", "", 0))(t) {
			listed[rv.ID] = rv.Evidence
		}
		for id, all := range sees {
			whole := must(c.Review(t.Context(), id))(t).Evidence
			if opened := whole.Trial != nil && whole.Trial.Sample != nil && *whole.Trial.Sample.Rows[0].Before[0] == "7" && whole.Trial.Sample.Rows[0].After[0] == nil; opened != all {
				t.Errorf("%s is shown rows of %s: %+v", user, id, whole.Trial)
			}
			for _, e := range []*postern.Evidence{listed[id], whole} {
				if (e.Trial != nil) != all || e.Trial != nil && e.Trial.Sealed != "" {
					t.Errorf("%s is shown of %s %+v", user, id, e.Trial)
				}
				if e == nil || e.Formatted == "" || len(e.Recent) != 1 {
					t.Fatalf("%s of %s: %+v", user, id, e)
				}
				if (e.Rows != nil) != all || (len(e.Plan) > 0) != all || (len(e.Effects) > 0) != all || (len(e.Missing) > 0) != all {
					t.Errorf("%s is shown of %s %+v", user, id, e)
				}
			}
		}
	}
}

func TestSessions(t *testing.T) {
	w := apitest.New(t)
	first, rec := w.Session(t, "ss_1", "alice")
	w.EndSession(t, first, rec)
	_, rec2 := w.Session(t, "ss_2", "alice")
	defer func() { must(rec2.Close())(t) }()
	_, rec3 := w.Session(t, "ss_3", "dave")
	defer func() { must(rec3.Close())(t) }()
	list := func(user string, f postern.SessionFilter) string {
		var all []string
		for _, s := range must(as(t, w, user).Sessions(t.Context(), f))(t) {
			all = append(all, s.ID)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	yes, no := true, false
	for _, test := range []struct {
		user   string
		filter postern.SessionFilter
		want   string
	}{
		{"alice", postern.SessionFilter{}, "ss_1 ss_2"},
		{"dave", postern.SessionFilter{}, "ss_3"},
		{"audrey", postern.SessionFilter{}, "ss_1 ss_2 ss_3"},
		{"adam", postern.SessionFilter{Live: &yes}, "ss_2 ss_3"},
		{"adam", postern.SessionFilter{Live: &no}, "ss_1"},
		{"adam", postern.SessionFilter{Identity: "dave"}, "ss_3"},
		{"adam", postern.SessionFilter{Resource: "secret-db"}, ""},
	} {
		if got := list(test.user, test.filter); got != test.want {
			t.Errorf("%s with %+v sees %q, want %q", test.user, test.filter, got, test.want)
		}
	}
	_, err := as(t, w, "alice").Sessions(t.Context(), postern.SessionFilter{Identity: "dave"})
	wantStatus(t, err, 403)
	_, err = as(t, w, "alice").Session(t.Context(), "ss_3")
	foreign := wantStatus(t, err, 404)
	_, err = as(t, w, "alice").Session(t.Context(), "ss_none")
	if missing := wantStatus(t, err, 404); missing != foreign {
		t.Errorf("foreign: %s\nmissing: %s", foreign, missing)
	}
	_, err = as(t, w, "alice").Kill(t.Context(), "ss_3", "")
	wantStatus(t, err, 404)
	_, err = as(t, w, "audrey").Kill(t.Context(), "ss_3", "")
	wantStatus(t, err, 404)
	if killed := must(as(t, w, "adam").Kill(t.Context(), "ss_3", "lunch"))(t); !killed.Ended {
		t.Errorf("killed %+v", killed)
	}
	if killed := must(as(t, w, "adam").Kill(t.Context(), "ss_1", ""))(t); killed.Ended {
		t.Errorf("killed again %+v", killed)
	}
	if !slices.Equal(w.Live.Reasons, []string{"ended by adam: lunch"}) {
		t.Errorf("told %q", w.Live.Reasons)
	}
}

func TestPages(t *testing.T) {
	w := apitest.New(t)
	var want []string
	for _, id := range []string{"ss_a", "ss_b", "ss_c", "ss_d", "ss_e"} {
		info, rec := w.Session(t, id, map[bool]string{true: "alice", false: "dave"}[id == "ss_b" || id == "ss_e"])
		w.EndSession(t, info, rec)
		want = append([]string{id}, want...)
	}
	token := w.Token(t, "audrey").Reveal()
	var got []string
	cursor := ""
	for range 10 {
		_, body := do(t, w, request{path: "/api/v1/sessions?limit=2&cursor=" + url.QueryEscape(cursor), token: token})
		var page api.Page[postern.SessionInfo]
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Items {
			got = append(got, s.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages hold %v, want %v", got, want)
	}
	if all := must(as(t, w, "alice").Sessions(t.Context(), postern.SessionFilter{Limit: 1}))(t); len(all) != 1 || all[0].ID != "ss_e" {
		t.Errorf("alice's latest is %+v", all)
	}
}

func TestEvents(t *testing.T) {
	w := apitest.New(t)
	info, rec := w.Session(t, "ss_1", "alice")
	alice := as(t, w, "alice")
	var kinds []string
	collect := func(line []byte) error {
		var e postern.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		kinds = append(kinds, string(e.Kind))
		return nil
	}
	// Without following, the end that isn't there is told.
	var early *client.StreamError
	if err := alice.Events(t.Context(), "ss_1", false, collect); !errors.As(err, &early) || !strings.Contains(early.Reason, "unfinished") {
		t.Errorf("got %v, want that the recording is unfinished", err)
	}
	if want := []string{"open", "command", "decision"}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
	// Following goes on to the end.
	kinds = nil
	seen := make(chan struct{})
	followed := make(chan error, 1)
	go func() {
		followed <- alice.Events(t.Context(), "ss_1", true, func(line []byte) error {
			err := collect(line)
			if len(kinds) == 3 {
				close(seen)
			}
			return err
		})
	}()
	<-seen
	w.EndSession(t, info, rec)
	if err := <-followed; err != nil {
		t.Fatal(err)
	}
	if want := []string{"open", "command", "decision", "close"}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
	var text bytes.Buffer
	if err := alice.Replay(t.Context(), "ss_1", 0, 0, &text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "SELECT 1") || !strings.Contains(text.String(), "alice (user)") {
		t.Errorf("replay:\n%s", text.String())
	}
	wantStatus(t, as(t, w, "dave").Events(t.Context(), "ss_1", false, collect), 404)
	if err := as(t, w, "audrey").Events(t.Context(), "ss_1", false, collect); err != nil {
		t.Fatal(err)
	}
	records := must(w.Audit.Entries(t.Context(), postern.AuditFilter{Action: "session.read", Limit: 10}))(t)
	if len(records) != 4 || records[3].Identity != "audrey" || records[3].Target != "user:alice" {
		t.Errorf("who read is %+v", records)
	}
}

func TestAudit(t *testing.T) {
	w := apitest.New(t)
	audrey := as(t, w, "audrey")
	alice := as(t, w, "alice")
	must(alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	var lines []postern.AuditRecord
	collect := func(line []byte) error {
		var r postern.AuditRecord
		err := json.Unmarshal(line, &r)
		lines = append(lines, r)
		return err
	}
	if err := audrey.Audit(t.Context(), 20, false, collect); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || lines[0].Action != "token.create" || lines[0].Seq != 1 {
		t.Errorf("tail %+v", lines)
	}
	ctx, stop := context.WithCancel(t.Context())
	lines = nil
	started, followed := make(chan struct{}), make(chan error, 1)
	go func() {
		followed <- audrey.Audit(ctx, 1, true, func(line []byte) error {
			err := collect(line)
			switch len(lines) {
			case 1:
				close(started)
			case 2:
				stop()
			}
			return err
		})
	}()
	<-started
	must(alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(lines) != 2 || lines[1].Seq != 2 {
		t.Errorf("followed %+v", lines)
	}
	if report := must(audrey.VerifyAudit(t.Context(), true))(t); !report.Verified || report.Entries != 2 || report.Root == "" {
		t.Errorf("report %+v", report)
	}
	key := must(audrey.AuditKey(t.Context()))(t)
	var export bytes.Buffer
	if err := audrey.ExportAudit(t.Context(), &export); err != nil {
		t.Fatal(err)
	}
	if report := must(audit.VerifyExport(t.Context(), &export, key.Key, audit.Against{}))(t); report.Entries != 3 { // exporting is an act, too
		t.Errorf("the export has %d entries", report.Entries)
	}
	checkpoint := must(audrey.AuditCheckpoint(t.Context()))(t)
	proof := must(audrey.AuditProof(t.Context(), 2))(t)
	if r, err := audit.VerifyProof(proof, key.Key); err != nil || r.Seq != 2 || r.Action != "token.create" {
		t.Errorf("the proof of entry 2: %+v, %v", r, err)
	}
	extension := must(audrey.AuditExtension(t.Context(), 3))(t)
	if _, to, err := audit.VerifyExtension(checkpoint, extension, key.Key); err != nil || to != 3 {
		t.Errorf("the extension: %d, %v", to, err)
	}
	_, err := audrey.AuditProof(t.Context(), 99)
	wantStatus(t, err, http.StatusNotFound)
}

func TestAuditSearch(t *testing.T) {
	w := apitest.New(t)
	alice, audrey := as(t, w, "alice"), as(t, w, "audrey")
	for range 5 {
		must(alice.CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	}
	must(as(t, w, "dave").CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	for name, c := range map[string]struct {
		filter postern.AuditFilter
		want   int
	}{
		"all":        {postern.AuditFilter{}, 6},
		"limit":      {postern.AuditFilter{Limit: 3}, 3},
		"identity":   {postern.AuditFilter{Identity: "alice"}, 5},
		"two":        {postern.AuditFilter{Identity: "dave", Action: "token.create"}, 1},
		"words":      {postern.AuditFilter{Text: "orders db user:dave"}, 1},
		"time":       {postern.AuditFilter{From: time.Now().Add(time.Hour)}, 0},
		"not theirs": {postern.AuditFilter{Identity: "dave", Target: "user:alice"}, 0},
	} {
		found := must(audrey.SearchAudit(t.Context(), c.filter))(t)
		if len(found) != c.want || len(found) > 0 && found[0].Action != "token.create" {
			t.Errorf("%s: found %+v, want %d", name, found, c.want)
		}
	}
	_, err := audrey.SearchAudit(t.Context(), postern.AuditFilter{Text: "…"})
	wantStatus(t, err, http.StatusUnprocessableEntity)
	_, err = alice.SearchAudit(t.Context(), postern.AuditFilter{})
	wantStatus(t, err, http.StatusForbidden)
}

// A gateway that stops ends the streams that would go on for ever.
func TestStoppingEndsStreams(t *testing.T) {
	w := apitest.New(t)
	must(as(t, w, "alice").CreateToken(t.Context(), api.TokenRequest{Resource: "orders-db"}))(t)
	started, followed := make(chan struct{}), make(chan error, 1)
	audrey := as(t, w, "audrey")
	go func() {
		followed <- audrey.Audit(t.Context(), 1, true, func([]byte) error {
			close(started)
			return nil
		})
	}()
	<-started
	w.Stop()
	if err := <-followed; err != nil {
		t.Errorf("the stream broke off: %v", err)
	}
}

func TestObjects(t *testing.T) {
	w := apitest.New(t)
	adam := as(t, w, "adam")
	rule := []byte("kind: Rule\nname: no-truncate\nwhen: command.verb == \"truncate\"\nthen: deny\n")
	plan := must(adam.Plan(t.Context(), rule))(t)
	if len(plan.Changes) != 1 || plan.Changes[0].Action != "create" || plan.Changes[0].Diff == "" {
		t.Errorf("plan %+v", plan)
	}
	applied := must(adam.Apply(t.Context(), rule))(t)
	if len(applied.Changes) != 1 || applied.Policy == plan.Policy {
		t.Errorf("applied %+v", applied)
	}
	if again := must(adam.Apply(t.Context(), rule))(t); len(again.Changes) != 0 {
		t.Errorf("applied again %+v", again)
	}
	object := must(adam.Object(t.Context(), "rule", "no-truncate"))(t)
	if object.Source != "api" || !strings.Contains(object.YAML, "truncate") {
		t.Errorf("object %+v", object)
	}
	if rules := must(adam.Objects(t.Context(), "rule"))(t); len(rules) != 2 {
		t.Errorf("rules %+v", rules)
	}
	_, err := adam.Apply(t.Context(), []byte("kind: Rule\nname: bad\nwhen: command.nothing\nthen: perhaps\n"))
	if text := wantStatus(t, err, 422); !strings.Contains(text, "api:4") || !strings.Contains(text, "then") {
		t.Errorf("mistakes: %s", text)
	}
	_, err = adam.DeleteObject(t.Context(), "rule", "no-drop")
	if text := wantStatus(t, err, 409); !strings.Contains(text, "world.yaml") {
		t.Errorf("refused with %s", text)
	}
	_, err = adam.DeleteObject(t.Context(), "rule", "nothing")
	wantStatus(t, err, 404)
	if gone := must(adam.DeleteObject(t.Context(), "rule", "no-truncate"))(t); len(gone.Changes) != 1 {
		t.Errorf("deleted %+v", gone)
	}
	_, err = adam.Object(t.Context(), "rule", "no-truncate")
	wantStatus(t, err, 404)
	if got := w.Audit.Actions(t); !slices.Equal(got, []string{"object.apply ok", "object.delete ok"}) {
		t.Errorf("audit log has %v", got)
	}
	sealed := must(adam.Seal(t.Context(), postern.NewSecret("hunter2")))(t)
	if sealed.Sealed == "" || strings.Contains(sealed.Sealed, "hunter2") {
		t.Errorf("sealed %q", sealed.Sealed)
	}
}

func TestExplain(t *testing.T) {
	w := apitest.New(t)
	got := must(as(t, w, "alice").Explain(t.Context(), api.Question{Resource: "orders-db", Command: "DROP TABLE orders"}))(t)
	if got.Decision != postern.Deny || got.Rule != "no-drop" || len(got.Commands) != 1 || len(got.Steps) == 0 {
		t.Errorf("explained %+v", got)
	}
	for _, s := range got.Steps {
		if !s.Applies || s.Source != "" || s.Name == "ci-at-night" {
			t.Errorf("alice is told of %+v", s)
		}
	}
	got = must(as(t, w, "audrey").Explain(t.Context(), api.Question{Resource: "orders-db", Command: "SELECT 1", As: "alice"}))(t)
	if got.Decision != postern.Allow || got.Access != "engineers" ||
		!slices.ContainsFunc(got.Steps, func(s api.Step) bool { return s.Name == "ci-at-night" && !s.Applies && s.Source != "" }) {
		t.Errorf("explained %+v", got)
	}
	for source, want := range map[string]postern.Verdict{"192.0.2.7": postern.Allow, "198.51.100.1": postern.Deny} {
		got := must(as(t, w, "audrey").Explain(t.Context(), api.Question{
			Resource: "orders-db", Command: "SELECT 1", As: "service:ci", Groups: []string{"ci"}, Source: source,
		}))(t)
		if got.Decision != want {
			t.Errorf("from %s: %s, want %s", source, got.Decision, want)
		}
	}
	_, err := as(t, w, "alice").Explain(t.Context(), api.Question{Resource: "orders-db", Command: "SELECT 1", As: "dave"})
	wantStatus(t, err, 403)
	_, err = as(t, w, "alice").Explain(t.Context(), api.Question{Resource: "orders-db", Command: "SELECT 1", At: "noon"})
	wantStatus(t, err, 422)
	// Groups that the asker makes up count for others only.
	_, err = as(t, w, "alice").Explain(t.Context(), api.Question{Resource: "secret-db", Command: "SELECT 1", Groups: []string{"admins"}})
	wantStatus(t, err, 404)
}

func TestPolicyTests(t *testing.T) {
	w := apitest.New(t)
	run := must(as(t, w, "audrey").TestPolicy(t.Context(), []byte(`cases:
  - {as: alice, groups: [engineering], resource: orders-db, command: DROP TABLE x, expect: deny, rule: no-drop}
  - {as: alice, groups: [engineering], resource: orders-db, command: SELECT 1, expect: deny}
`)))(t)
	if run.Passed != 1 || run.Failed != 1 || run.Cases[1].Problem == "" || run.Cases[1].Line != 3 {
		t.Errorf("run %+v", run)
	}
	_, err := as(t, w, "audrey").TestPolicy(t.Context(), []byte("cases: [{as: alice, expect: perhaps}]\n"))
	wantStatus(t, err, 422)
}

func TestStatus(t *testing.T) {
	w := apitest.New(t)
	_, rec := w.Session(t, "ss_1", "alice")
	defer func() { must(rec.Close())(t) }()
	status := must(as(t, w, "audrey").Status(t.Context()))(t)
	if status.Sessions != 1 || status.Resources != 2 || status.Version != "test" || status.Policy == "" {
		t.Errorf("status %+v", status)
	}
}
