package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity"
)

// late is an identity service in which something happens just before an act
// begins, after its asker was let in. Within the act nothing else can.
type late struct {
	*identity.Service
	before func()
}

func (l late) Exclusive(ctx context.Context) (held context.Context, release func()) {
	l.before()
	return l.Service.Exclusive(ctx)
}

// A key that is rotated, or a login that is ended, while its request is on the
// way, opens nothing afterwards.
func TestRevokedWhileMinting(t *testing.T) {
	w := apitest.New(t)
	_, key, err := w.Identity.CreateServiceAccount(t.Context(), "bot", []string{"engineering"})
	if err != nil {
		t.Fatal(err)
	}
	login := w.Token(t, "alice")
	for name, c := range map[string]struct {
		bearer postern.Secret
		revoke func() error
		kind   postern.IdentityKind
		of     string
	}{
		"rotate": {key, func() error { _, _, err := w.Identity.RotateKey(t.Context(), "bot"); return err }, postern.Service, "bot"},
		"logout": {login, func() error { return w.Identity.Logout(t.Context(), login) }, postern.User, "alice"},
	} {
		cfg := w.Config()
		cfg.Identity = late{w.Identity, func() {
			if err := c.revoke(); err != nil {
				t.Error(err)
			}
		}}
		handler, err := api.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "https://gw.example:8443/api/v1/tokens", strings.NewReader(`{"resource": "orders-db"}`))
		r.Header.Set("Authorization", "Bearer "+c.bearer.Reveal())
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		if answer.Code != http.StatusUnauthorized || strings.Contains(answer.Body.String(), "postern_st_") {
			t.Errorf("%s: got %d %s", name, answer.Code, answer.Body)
		}
		tokens, err := w.Identity.Tokens(t.Context(), c.kind, c.of)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range tokens {
			if token.Kind == postern.SessionToken && !token.Revoked {
				t.Errorf("%s: session token %s is good", name, token.ID)
			}
		}
	}
}

// Who follows the audit log or a session stops seeing it when their account is
// disabled, though the request was allowed when it began.
func TestStreamEndsWithItsReader(t *testing.T) {
	w := apitest.New(t)
	audrey := as(t, w, "audrey")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, rec := w.Session(t, "ss_1", "alice")
	defer func() { must(rec.Close())(t) }()
	for name, follow := range map[string]func() error{
		"audit":   func() error { return audrey.Audit(ctx, 1, true, func([]byte) error { return nil }) },
		"session": func() error { return audrey.Events(ctx, "ss_1", true, func([]byte) error { return nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.Identity.Enable(ctx, postern.User, "audrey"); err != nil {
				t.Fatal(err)
			}
			audrey = as(t, w, "audrey")
			ended := make(chan error, 1)
			go func() { ended <- follow() }()
			for size := w.Audit.Size(); name == "session" && w.Audit.Size() == size; {
				must(w.Audit.Tail(ctx, 0, 1))(t) // the reading is in the log before it begins
			}
			if _, err := w.Identity.Disable(ctx, postern.User, "audrey"); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil || ctx.Err() != nil {
				t.Errorf("the stream ended with %v; want it broken off", err)
			}
		})
	}
}

// A public URL is a name, and names have no case.
func TestPublicURLInCapitals(t *testing.T) {
	cfg := apitest.New(t).Config()
	cfg.PublicURL = "https://GW.Example:8443"
	handler, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "https://gw.example:8443/healthz", nil))
	if answer.Code != http.StatusOK {
		t.Errorf("got %d", answer.Code)
	}
}
