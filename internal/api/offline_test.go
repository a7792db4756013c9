package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity"
)

func offlineBody(user, access string) string {
	return fmt.Sprintf(`{"user":%q,"resources":[{"resource":"orders-db","access":%q}],"reason":"on call"}`, user, access)
}

func useBody(user, code string) string {
	return fmt.Sprintf(`{"user":%q,"secret":%q,"reason":"all is down"}`, user, code)
}

// lines are what the audit log says of offline grants and broken glass.
func offlineLines(t *testing.T, w *apitest.World) []string {
	t.Helper()
	var all []string
	for _, e := range must(w.Audit.Tail(t.Context(), 0, 1000))(t) {
		if strings.HasPrefix(e.Action, "offline-grant") || strings.HasPrefix(e.Action, "break_glass") {
			all = append(all, e.Action+" "+e.Outcome+" "+e.Identity)
		}
	}
	return all
}

// An offline grant from its issue to its end, as those see it who have to do with it.
func TestOfflineGrant(t *testing.T) {
	w := apitest.New(t)
	ctx := t.Context()
	w.Request(t, "alice", "night-work") // puts the accesses in force
	adam, dave, alice := as(t, w, "adam"), as(t, w, "dave"), as(t, w, "alice")
	g := must(adam.IssueOfflineGrant(ctx, api.NewOfflineGrant{
		User: "alice", Resources: []api.OfflineReaches{{Resource: "orders-db", Access: "emergency-of-two"}}, Reason: "on call", For: "10m",
	}))(t)
	if g.State != "pending" || !regexp.MustCompile(`^postern_og_[0-9A-Za-z]{46}$`).MatchString(g.Code) || g.ExpiresAt.Sub(g.IssuedAt) != 90*24*time.Hour {
		t.Errorf("%+v", g.OfflineGrant)
	}
	use := api.OfflineCode{User: "alice", Secret: g.Code, Reason: "all is down"}
	nobody := as(t, w, "")
	for _, wrong := range []error{
		errorOf(nobody.UseOfflineGrant(ctx, use)),        // not approved
		errorOf(adam.ApproveOfflineGrant(ctx, g.ID, "")), // by who issued it
		errorOf(alice.ApproveOfflineGrant(ctx, g.ID, "")),
	} {
		if wrong == nil {
			t.Fatal("one person was enough")
		}
		t.Log(wrong)
	}
	mayApprove := func(when string, want map[string]bool) {
		t.Helper()
		for who, may := range want {
			if all := must(as(t, w, who).OfflineGrants(ctx, 0))(t); len(all) != 1 || all[0].MayApprove != may {
				t.Errorf("%s, %s: %+v", when, who, all)
			}
		}
	}
	mayApprove("pending", map[string]bool{"adam": false, "dave": true, "alice": false, "audrey": false})
	if got := must(dave.ApproveOfflineGrant(ctx, g.ID, "agreed"))(t); got.State != "ready" || got.MayApprove {
		t.Errorf("%+v", got)
	}
	mayApprove("approved", map[string]bool{"adam": false, "dave": false, "alice": false})
	for who, n := range map[string]int{"adam": 1, "dave": 1, "alice": 1, "audrey": 1} {
		status, body := do(t, w, request{path: "/api/v1/offline-grants", token: w.Token(t, who).Reveal()})
		if status != 200 || strings.Count(body, `"id":"og_`) != n || strings.Contains(body, g.Code) || strings.Contains(body, "hash") {
			t.Errorf("%s: %d %s", who, status, body)
		}
	}

	entry := must(nobody.UseOfflineGrant(ctx, use))(t)
	token := entry.Tokens[0]
	if entry.Identity.Name != "alice" || len(entry.Tokens) != 1 || token.Database != "orders-db" || !strings.Contains(token.DSN, token.Token) ||
		time.Until(entry.Until) > 10*time.Minute || token.ExpiresAt.After(entry.Until) {
		t.Errorf("%+v", entry)
	}
	// It enters this resource, as this person, and calls nothing.
	credential := postern.Credential{User: "alice", Resource: "orders-db", Secret: postern.NewSecret(token.Token)}
	adm := must(w.Identity.Admit(ctx, credential))(t)
	if adm.Identity.Name != "alice" || len(w.Reviews.Grants(adm.Identity)) != 1 {
		t.Errorf("%+v", adm.Identity)
	}
	for _, other := range []postern.Credential{
		{User: "alice", Resource: "night-db", Secret: credential.Secret}, {User: "dave", Resource: "orders-db", Secret: credential.Secret},
	} {
		if _, err := w.Identity.Admit(ctx, other); err == nil {
			t.Errorf("let in as %+v", other)
		}
	}
	if status, body := do(t, w, request{path: "/api/v1/whoami", token: token.Token}); status != 401 {
		t.Errorf("%d %s", status, body)
	}
	if err := errorOf(nobody.UseOfflineGrant(ctx, use)); err == nil || !strings.Contains(err.Error(), "it is used") {
		t.Errorf("%v", err)
	}

	// What came of it is an emergency, and ends with the request.
	rq := must(adam.Request(ctx, entry.Requests[0]))(t)
	if rq.State != "active" || !rq.BreakGlass || rq.Offline != g.ID || !rq.Unseen || rq.Reason != "all is down" {
		t.Errorf("%+v", rq)
	}
	must(adam.RevokeRequest(ctx, rq.ID, "over"))(t)
	if _, err := w.Identity.Admit(ctx, credential); err == nil {
		t.Error("the token outlived its emergency")
	}
	if got := strings.Join(offlineLines(t, w), "; "); got != "offline-grant.issue ok adam; offline-grant.use refused ; offline-grant.approve failed adam; "+
		"offline-grant.approve failed alice; offline-grant.approve ok dave; offline-grant.use ok alice; break_glass ok alice; offline-grant.use refused " {
		t.Errorf("logged %s", got)
	}
	if log := w.Log.String(); strings.Contains(log, g.Code) || !strings.Contains(log, "offline grant used") || !strings.Contains(log, "offline grant refused") {
		t.Error(log)
	}
}

func errorOf[T any](_ T, err error) error { return err }

// Whom a code doesn't let in, though it is right.
func TestOfflineGrantIsRefused(t *testing.T) {
	w := apitest.New(t)
	ctx := t.Context()
	use := func(user, body string) (int, string) {
		return do(t, w, request{method: http.MethodPost, path: "/api/v1/login/offline", body: body})
	}
	for name, c := range map[string]struct {
		spoil  func(id string)
		user   string
		status int
		says   string
	}{
		"by somebody else":      {func(string) {}, "dave", 401, "opens nothing for this user"},
		"revoked":               {func(id string) { must(as(t, w, "adam").RevokeOfflineGrant(ctx, id, ""))(t) }, "", 409, "it is revoked"},
		"revoked by its holder": {func(id string) { must(as(t, w, "alice").RevokeOfflineGrant(ctx, id, ""))(t) }, "alice", 409, "it is revoked"},
		"its holder's name is another's now": {func(string) {
			if err := w.Identity.Delete(ctx, postern.User, "eng"); err != nil {
				t.Fatal(err)
			}
			must(w.Identity.PutUser(ctx, "eng", []string{"engineering"}, postern.Secret{}))(t)
		}, "eng", 403, "another one than it was issued for"},
		"its holder is disabled": {func(string) { must(w.Identity.Disable(ctx, postern.User, "eng-2"))(t) }, "eng-2", 403, "is disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			holder := c.user
			if holder == "" || holder == "dave" {
				holder = "alice"
			}
			if strings.HasPrefix(holder, "eng") {
				must(w.Identity.PutUser(ctx, holder, []string{"engineering"}, postern.Secret{}))(t)
			}
			id, code := w.Offline(t, holder, "emergency")
			c.spoil(id)
			user := holder
			if c.user == "dave" {
				user = "dave"
			}
			before := len(offlineLines(t, w))
			if status, body := use(user, useBody(user, code)); status != c.status || !strings.Contains(body, c.says) || strings.Contains(body, code) {
				t.Errorf("%d %s", status, body)
			}
			if lines := offlineLines(t, w); len(lines) != before+1 || lines[before] != "offline-grant.use refused " {
				t.Errorf("logged %q", lines[before:])
			}
		})
	}
	if status, body := use("alice", `{"user":"alice","secret":"postern_og_x"}`); status != 422 { // no reason
		t.Errorf("%d %s", status, body)
	}
}

// Whoever tries to issue one and may not, or not so, is in the audit log with what
// they tried and why it was refused; no code is in it.
func TestOfflineGrantIssueIsRefused(t *testing.T) {
	w := apitest.New(t)
	w.Request(t, "alice", "night-work") // puts the accesses in force
	issue := func(who, body string) (int, string) {
		return do(t, w, request{method: http.MethodPost, path: "/api/v1/offline-grants", token: w.Token(t, who).Reveal(), body: body})
	}
	for name, c := range map[string]struct {
		who, body string
		status    int
		outcome   string
		target    string
		says      string
	}{
		"by who isn't an admin": {"alice", offlineBody("alice", "emergency"), 403, "refused", "", "only admins may"},
		"by an auditor":         {"audrey", offlineBody("alice", "emergency"), 403, "refused", "", "only admins may"},
		"for nobody":            {"adam", offlineBody("nobody", "emergency"), 422, "failed", "user:nobody", "orders-db: "},
		"of no emergency":       {"adam", offlineBody("alice", "night-work"), 403, "failed", "user:alice", "orders-db: "},
		"for ever":              {"adam", strings.Replace(offlineBody("alice", "emergency"), `"reason"`, `"ttl":"90000h","reason"`, 1), 422, "failed", "user:alice", "at most 366 days"},
		"for no time":           {"adam", strings.Replace(offlineBody("alice", "emergency"), `"reason"`, `"for":"soon","reason"`, 1), 422, "failed", "user:alice", "no duration"},
		"of much": {
			"adam", strings.Replace(offlineBody("alice", "emergency"), `"orders-db"`, `"`+strings.Repeat("x", 250)+`"},{"resource":"`+strings.Repeat("y", 253)+`"`, 1),
			404, "failed", "user:alice", " …",
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := must(w.Audit.Tail(t.Context(), 0, 1000))(t)
			if status, body := issue(c.who, c.body); status != c.status {
				t.Errorf("%d %s", status, body)
			}
			after := must(w.Audit.Tail(t.Context(), 0, 1000))(t)
			if len(after) != len(before)+1 {
				t.Fatalf("%d entries", len(after)-len(before))
			}
			e := after[len(after)-1]
			if e.Action != "offline-grant.issue" || e.Outcome != c.outcome || e.Identity != c.who || e.Target != c.target || !strings.Contains(e.Reason, c.says) || len(e.Reason) > 510 {
				t.Errorf("%+v", e)
			}
		})
	}
	if all := must(as(t, w, "adam").OfflineGrants(t.Context(), 0))(t); len(all) != 0 {
		t.Errorf("issued: %+v", all)
	}
}

// Nobody gets past a second factor that they have, nor alone into a break-glass
// account.
func TestOfflineGrantAndFactors(t *testing.T) {
	w := apitest.New(t)
	ctx := t.Context()
	_, code := w.Offline(t, "alice", "emergency")
	e := must(w.Identity.EnrolTOTP(ctx, "alice", "test"))(t)
	now := must(totp.GenerateCode(e.Secret, time.Now().Add(-30*time.Second)))(t)
	if err := w.Identity.ConfirmTOTP(ctx, "alice", now); err != nil {
		t.Fatal(err)
	}
	use := api.OfflineCode{User: "alice", Secret: code, Reason: "all is down"}
	if err := errorOf(as(t, w, "").UseOfflineGrant(ctx, use)); err == nil || !strings.Contains(err.Error(), api.CodeNeeded) {
		t.Errorf("%v", err)
	}
	use.Code = now // used before
	if err := errorOf(as(t, w, "").UseOfflineGrant(ctx, use)); err == nil {
		t.Error("a code counted twice")
	}
	use.Code = must(totp.GenerateCode(e.Secret, time.Now()))(t)
	must(as(t, w, "").UseOfflineGrant(ctx, use))(t)

	hash := must(identity.HashPassword(postern.NewSecret(apitest.Password)))(t)
	if err := w.Identity.Declare(ctx, []postern.Account{{Name: "glass", Kind: postern.User, SecretHash: hash, BreakGlass: true, Groups: []string{"engineering"}, Source: "x:1"}}); err != nil {
		t.Fatal(err)
	}
	status, body := do(t, w, request{method: http.MethodPost, path: "/api/v1/offline-grants", token: w.Token(t, "adam").Reveal(), body: offlineBody("glass", "emergency")})
	if status != 422 || !strings.Contains(body, "nobody enters alone") {
		t.Errorf("%d %s", status, body)
	}
}

// Many who use one code at once: one gets in, and there is one emergency.
func TestOfflineGrantRace(t *testing.T) {
	w := apitest.New(t)
	_, code := w.Offline(t, "alice", "emergency")
	statuses := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			status, _ := do(t, w, request{method: http.MethodPost, path: "/api/v1/login/offline", body: useBody("alice", code)})
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	all.Wait()
	requests := must(w.Store.Reviews(t.Context(), postern.ReviewFilter{Of: "request"}))(t)
	logins := must(w.Identity.Logins(t.Context(), postern.User, "alice"))(t)
	if statuses[200] != 1 || statuses[409] != 5 || len(requests) != 1 || len(logins) != 1 {
		t.Errorf("%v, %d requests, %d logins", statuses, len(requests), len(logins))
	}
}

// Who guesses codes is slowed down, and told the same whether or not the user
// exists; what is no code fills no log.
func TestOfflineGrantGuesses(t *testing.T) {
	w := apitest.New(t)
	_, code := w.Offline(t, "alice", "emergency")
	other, _, err := w.Identity.NewOfflineCode()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]bool{}
	for i := range 12 {
		user := []string{"alice", "nobody-of-that-name"}[i%2]
		secret := []string{"postern_og_x", other.Reveal(), code + "_"}[i%3]
		status, body := do(t, w, request{method: http.MethodPost, path: "/api/v1/login/offline", body: useBody(user, secret)})
		if want := map[bool]int{true: 401, false: 429}[i < 10]; status != want {
			t.Fatalf("guess %d: %d %s", i, status, body)
		}
		if status == 401 {
			answers[body] = true
		}
	}
	if len(answers) != 1 {
		t.Errorf("guesses are told apart: %v", answers)
	}
	if lines := offlineLines(t, w); len(lines) != 0 {
		t.Errorf("%q", lines)
	}
	// While that place is slowed down, the code doesn't work from there either.
	if status, body := do(t, w, request{method: http.MethodPost, path: "/api/v1/login/offline", body: useBody("alice", code)}); status != 429 {
		t.Errorf("%d %s", status, body)
	}
	var spec struct{ Paths map[string]json.RawMessage }
	_, body := do(t, w, request{path: "/api/openapi.json"})
	if err := json.Unmarshal([]byte(body), &spec); err != nil || spec.Paths["/login/offline"] == nil {
		t.Error("the route isn't described")
	}
}
