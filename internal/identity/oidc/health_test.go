package oidc_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/internal/identity"
	"postern/internal/identity/oidc"
	"postern/internal/identity/oidc/oidctest"
)

// clocked is a provider whose clock stands still until it is moved.
func clocked(t *testing.T, at *oidctest.Provider) (*oidc.Provider, *time.Time) {
	t.Helper()
	now := time.Now()
	return newProvider(t, at, func(c *oidc.Config) { c.Now = func() time.Time { return now } }), &now
}

func answersAt(t *testing.T, what string, got identity.Answers, asked, good time.Time, says string) {
	t.Helper()
	if !got.Asked.Equal(asked) || !got.Good.Equal(good) {
		t.Errorf("%s: asked at %v, good at %v; want %v, %v", what, got.Asked, got.Good, asked, good)
	}
	if says == "" && got.Err != nil || says != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), says)) {
		t.Errorf("%s: error %v, want %q", what, got.Err, says)
	}
}

// What a provider answered last is told with its age, and whoever looks makes it
// answer once a minute, no more.
func TestHealth(t *testing.T) {
	at := oidctest.New(t)
	asked := map[string]int{}
	handler := at.Config.Handler
	at.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++ // one request at a time
		handler.ServeHTTP(w, r)
	})
	p, now := clocked(t, at)
	began := *now
	for range 3 {
		h := p.Look(t.Context())
		answersAt(t, "discovery", h.Discovery, began, began, "")
		answersAt(t, "keys", h.Keys, began, began, "")
	}
	if asked["/keys"] != 1 || asked["/.well-known/openid-configuration"] != 1 {
		t.Errorf("asked %v", asked)
	}
	at.Lock()
	at.Down = true
	at.Unlock()
	*now = began.Add(identity.LookAfter)
	h := p.Look(t.Context())
	answersAt(t, "discovery", h.Discovery, *now, began, "503")
	answersAt(t, "keys", h.Keys, *now, began, "/keys answered 503")
	at.Lock()
	at.Down = false
	at.Unlock()
	*now = now.Add(identity.LookAfter)
	h = p.Look(t.Context())
	answersAt(t, "discovery", h.Discovery, *now, *now, "")
	answersAt(t, "keys", h.Keys, *now, *now, "")
}

// What a sign-in asks for is seen, too; and one goes on after a look.
func TestHealthOfSignIns(t *testing.T) {
	at := oidctest.New(t)
	p, now := clocked(t, at)
	began := *now
	if _, err := signIn(t, p); err != nil {
		t.Fatal(err)
	}
	*now = began.Add(identity.LookAfter / 2)
	h := p.Look(t.Context())
	answersAt(t, "discovery", h.Discovery, began, began, "")
	answersAt(t, "keys", h.Keys, began, began, "")
	*now = began.Add(identity.LookAfter)
	p.Look(t.Context())
	if _, err := signIn(t, p); err != nil {
		t.Fatal(err)
	}
}

// A provider that never answered, answers something else, or has no keys.
func TestHealthOfTheWrong(t *testing.T) {
	for says, wrong := range map[string]func(*oidctest.Provider){
		"discovery: issuer":    func(p *oidctest.Provider) { p.Wrong = map[string]any{"issuer": "https://elsewhere.example"} },
		"discovery: 503":       func(p *oidctest.Provider) { p.Down = true },
		"keys: answered 404":   func(p *oidctest.Provider) { p.Wrong = map[string]any{"jwks_uri": p.URL + "/nothing"} },
		"keys: no set of keys": func(p *oidctest.Provider) { p.Wrong = map[string]any{"jwks_uri": p.URL + "/none"} },
		"keys: empty":          func(p *oidctest.Provider) { p.Wrong = map[string]any{"jwks_uri": p.URL + "/empty"} },
		"keys: larger":         func(p *oidctest.Provider) { p.Wrong = map[string]any{"jwks_uri": p.URL + "/huge"} },
	} {
		t.Run(says, func(t *testing.T) {
			at := oidctest.New(t)
			handler := at.Config.Handler
			at.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/none":
					_, _ = w.Write([]byte("<html>"))
				case "/empty":
					_, _ = w.Write([]byte(`{"keys": []}`))
				case "/huge":
					_, _ = w.Write([]byte(`{"keys": [` + strings.Repeat(" ", 2<<20) + `]}`))
				default:
					handler.ServeHTTP(w, r)
				}
			})
			wrong(at)
			p, now := clocked(t, at)
			h := p.Look(t.Context())
			what, text, _ := strings.Cut(says, ": ")
			if what == "discovery" {
				answersAt(t, "discovery", h.Discovery, *now, time.Time{}, text)
				answersAt(t, "keys", h.Keys, time.Time{}, time.Time{}, "")
				return
			}
			answersAt(t, "discovery", h.Discovery, *now, *now, "")
			answersAt(t, "keys", h.Keys, *now, time.Time{}, text)
		})
	}
}
