package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity/oidc"
	"postern/internal/identity/oidc/oidctest"
	"postern/internal/identity/workload"
	"postern/internal/identity/workload/issuertest"
)

// TestTrust tells auditors whose word counts and how they answer, what nobody
// else is told, and no secret.
func TestTrust(t *testing.T) {
	w := apitest.New(t)
	up, issuer := oidctest.New(t), issuertest.New(t)
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "\x1b[2J\u202egnorw "+strings.Repeat("long ", 1000), http.StatusTeapot)
	}))
	t.Cleanup(down.Close)
	for name, where := range map[string]string{"up": up.URL, "down": down.URL} {
		p, err := oidc.New(oidc.Config{
			Name: name, Issuer: where, ClientID: oidctest.Client, GroupsClaim: "groups", Place: "postern.yaml:" + name,
			Secret: func(context.Context) (postern.Secret, error) { return postern.NewSecret(oidctest.Secret), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Providers = append(w.Providers, p)
	}
	if w.Providers[0].Name() != "up" {
		w.Providers[0], w.Providers[1] = w.Providers[1], w.Providers[0]
	}
	cfg := w.Config()
	var err error
	cfg.Workloads, err = workload.New(workload.Config{Store: w.Store, Rules: []workload.Rule{{
		Name: "github", Issuer: issuer.URL, Audience: "https://gw.example", Match: `claims.repository_id == "123"`, Identity: "ci:{{claims.repository}}",
		Groups: []string{"ci"}, CAFile: issuer.CAFile, Place: "postern.yaml:7",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Server.Config.Handler = handler
	for user, want := range map[string]int{"alice": 403, "dave": 403, "adam": 200, "audrey": 200} {
		if status, body := do(t, w, request{path: "/api/v1/trust", token: w.Token(t, user).Reveal()}); status != want {
			t.Errorf("as %s: %d %s", user, status, body)
		}
	}
	_, body := do(t, w, request{path: "/api/v1/trust", token: w.Token(t, "audrey").Reveal()})
	for _, secret := range []string{oidctest.Secret, url.QueryEscape(oidctest.Secret)} {
		if strings.Contains(body, secret) {
			t.Error("the client's secret is told")
		}
	}
	if strings.Contains(body, "\\u001b") || strings.Contains(body, "\u202e") || len(body) > 4<<10 {
		t.Errorf("what a provider answers is told as it comes: %s", body)
	}
	var got api.Trust
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Providers) != 2 || len(got.Workloads) != 1 {
		t.Fatalf("%v %s", err, body)
	}
	good, bad, rule := got.Providers[0], got.Providers[1], got.Workloads[0]
	lately := func(at time.Time) bool { return time.Since(at) < time.Minute }
	if good.Name != "up" || good.KeptIn != "postern.yaml:up" || good.NameClaim != "preferred_username" || good.GroupsClaim != "groups" ||
		good.Discovery.State != "answers" || good.Keys.State != "answers" || !lately(good.Discovery.GoodAt) || !lately(good.Keys.GoodAt) {
		t.Errorf("%+v", good)
	}
	if bad.Discovery.State != "fails" || !strings.Contains(bad.Discovery.Error, "418") || !bad.Discovery.GoodAt.IsZero() || bad.Keys.State != "unasked" {
		t.Errorf("%+v", bad)
	}
	if rule.Name != "github" || rule.Identity != "ci:{{claims.repository}}" || rule.TTL != "1h0m0s" || rule.KeptIn != "postern.yaml:7" || rule.Keys.State != "answers" || !lately(rule.Keys.GoodAt) {
		t.Errorf("%+v", rule)
	}
}
