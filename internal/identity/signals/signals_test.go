package signals_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/internal/identity/jwks"
	"postern/internal/identity/signals"
	"postern/internal/identity/signals/signalstest"
)

const audience = "https://gw.example/events/corp"

// memory remembers in memory.
type memory struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (m *memory) SeenEvent(_ context.Context, issuer, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.seen[issuer+" "+id]
	return ok, nil
}

func (m *memory) RememberEvent(_ context.Context, issuer, id string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[issuer+" "+id] = until
	return nil
}

type house struct {
	*signals.Receiver
	issuer *signalstest.Issuer
	now    time.Time
	t      *testing.T
}

func newHouse(t *testing.T) *house {
	t.Helper()
	issuer, err := signalstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	h := &house{issuer: issuer, now: time.Now(), t: t}
	clock := func() time.Time { return h.now }
	keys, err := jwks.New(jwks.Config{Issuer: issuer.URL, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	h.Receiver, err = signals.New(signals.Config{
		Issuer: issuer.URL, Audience: audience, Keys: keys, Memory: &memory{seen: map[string]time.Time{}}, Provider: "corp", Now: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func must(token string, err error) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want an error that says %q", err, says)
	}
}

func TestLogout(t *testing.T) {
	h := newHouse(t)
	token := must(h.issuer.Logout(audience, "42", "s1"))(t)
	e, err := h.Logout(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if want := (signals.Subject{Provider: "corp", Subject: "42", Session: "s1"}); e.About != want || e.Act != signals.Revoke || e.Type != "backchannel-logout" {
		t.Errorf("%+v", e)
	}
	// Until it was acted upon, sending again counts; afterwards it doesn't.
	if _, err := h.Logout(t.Context(), token); err != nil {
		t.Error(err)
	}
	if err := h.Done(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Logout(t.Context(), token); !errors.Is(err, signals.ErrReplayed) {
		t.Errorf("replayed: %v", err)
	}
	if e.Until.Before(time.Now().Add(2 * time.Minute)) {
		t.Error("it is forgotten while it is still good")
	}
}

// What is wrong with a logout token is told to the operator, one by one.
func TestBadLogout(t *testing.T) {
	h := newHouse(t)
	now := h.now
	good := map[string]any{
		"iss": h.issuer.URL, "aud": []string{"other", audience}, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "j", "sub": "42",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	with := func(changes map[string]any) string {
		claims := maps.Clone(good)
		for k, v := range changes {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		return must(h.issuer.Sign("logout+jwt", claims))(t)
	}
	if _, err := h.Logout(t.Context(), with(nil)); err != nil {
		t.Fatal(err)
	}
	event := func(name string, v any) map[string]any { return map[string]any{"events": map[string]any{name: v}} }
	const logout = "http://schemas.openid.net/event/backchannel-logout"
	for _, c := range []struct{ token, says string }{
		{"", "parsed"},
		{"a.b.c", "parsed"},
		{strings.Repeat("x", 1<<20), "too long"},
		{with(map[string]any{"iss": "https://evil.example"}), "issuer"},
		{with(map[string]any{"iss": h.issuer.URL + "/"}), "issuer"},
		{with(map[string]any{"aud": "https://other.example"}), "audience"},
		{with(map[string]any{"aud": nil}), "audience"},
		{with(map[string]any{"jti": nil}), "jti"},
		{with(map[string]any{"jti": strings.Repeat("x", 600)}), "jti"},
		{with(map[string]any{"iat": nil}), "when it was issued"},
		{with(map[string]any{"iat": "yesterday"}), "can't be read"},
		{with(map[string]any{"iat": now.Add(2 * time.Minute).Unix()}), "future"},
		{with(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}), "isn't valid yet"},
		{with(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "expired"},
		{with(map[string]any{"exp": now.Add(48 * time.Hour).Unix()}), "more than a day"},
		{with(map[string]any{"exp": nil, "iat": now.Add(-10 * time.Minute).Unix()}), "too old"},
		{with(map[string]any{"nonce": "n"}), "nonce"},
		{with(map[string]any{"nonce": ""}), "nonce"},
		{with(map[string]any{"sub": nil}), "neither"},
		{with(map[string]any{"events": nil}), "0 events"},
		{with(event("https://schemas.openid.net/secevent/caep/event-type/session-revoked", map[string]any{})), "no logout token"},
		{with(event(logout, "yes")), "no logout token"},
		{must(h.issuer.Sign("at+jwt", good))(t), "type"},
		{must(h.issuer.Sign("secevent+jwt", good))(t), "type"},
	} {
		_, err := h.Logout(t.Context(), c.token)
		refused(t, err, c.says)
	}
	// A clock that is apart by less than a minute is no reason.
	for _, token := range []string{
		with(map[string]any{"iat": now.Add(50 * time.Second).Unix()}), with(map[string]any{"exp": now.Add(-50 * time.Second).Unix()}),
		with(map[string]any{"exp": nil}), must(h.issuer.Sign("", good))(t), must(h.issuer.Sign("JWT", good))(t),
	} {
		if _, err := h.Logout(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
}

// TestSignatures: no other key, no other algorithm, no key that the token brings.
func TestSignatures(t *testing.T) {
	h := newHouse(t)
	claims, err := json.Marshal(h.issuer.EventClaims(audience, "caep", "session-revoked", "42"))
	if err != nil {
		t.Fatal(err)
	}
	key, kid := h.issuer.Key()
	foreign, err := signalstest.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	other, _ := foreign.Key()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	good := must(signalstest.SignWith(jose.ES256, key, kid, "secevent+jwt", claims))(t)
	if _, err := h.Events(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding
	none := b64.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt","kid":"`+kid+`"}`)) + "." + b64.EncodeToString(claims) + "."
	parts := strings.Split(good, ".")
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: other}, (&jose.SignerOptions{EmbedJWK: true}).WithType("secevent+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	brought, err := embedded.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	withKey, err := brought.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(time.Minute) // so that an unknown key is asked for
	for _, c := range []struct{ name, token, says string }{
		{"none", none, "algorithm"},
		{"none, with a signature", none + parts[2], "algorithm"},
		{"the public key as a shared secret", must(signalstest.SignWith(jose.HS256, public, kid, "secevent+jwt", claims))(t), "algorithm"},
		{"another issuer's key under that id", must(signalstest.SignWith(jose.ES256, other, kid, "secevent+jwt", claims))(t), "signature"},
		{"an RSA key under that id", must(signalstest.SignWith(jose.RS256, rsaKey, kid, "secevent+jwt", claims))(t), "isn't among"},
		{"a key of the token's own", withKey, "signature"},
		{"another payload", parts[0] + "." + b64.EncodeToString([]byte(strings.Replace(string(claims), `"42"`, `"43"`, 1))) + "." + parts[2], "signature"},
		{"no signature", parts[0] + "." + parts[1] + ".", "signature"},
		{"a key that isn't known", must(signalstest.SignWith(jose.ES256, other, "unknown", "secevent+jwt", claims))(t), "isn't among"},
	} {
		_, err := h.Events(t.Context(), c.token)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

// TestKeysAreFetchedRarely: strangers can't make the gateway ask, a rotation is
// noticed, and an issuer that is down spoils nothing that was known.
func TestKeysAreFetchedRarely(t *testing.T) {
	h := newHouse(t)
	event := func() string { return must(h.issuer.Event(audience, "caep", "session-revoked", "42"))(t) }
	for range 20 {
		if _, err := h.Events(t.Context(), event()); err != nil {
			t.Fatal(err)
		}
	}
	key, _ := h.issuer.Key()
	for range 20 {
		forged := must(signalstest.SignWith(jose.ES256, key, "made-up", "secevent+jwt", []byte("{}")))(t)
		if _, err := h.Events(t.Context(), forged); !errors.Is(err, jwks.ErrUnavailable) {
			t.Errorf("a key that may have been made just now: %v", err)
		}
	}
	if n := h.issuer.Fetches.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if err := h.issuer.Rotate(); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(11 * time.Second)
	if _, err := h.Events(t.Context(), event()); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	h.issuer.Down.Store(true)
	h.now = h.now.Add(time.Hour)
	if _, err := h.Events(t.Context(), must(h.issuer.Event(audience, "caep", "session-revoked", "42"))(t)); err != nil {
		t.Errorf("while the issuer is down: %v", err)
	}
	h.now = h.now.Add(48 * time.Hour)
	if _, err := h.Events(t.Context(), event()); !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("with keys of two days ago: %v", err)
	}
}

// TestKeysComeFromTheirIssuerOnly: not from where it redirects, and not with
// another's name.
func TestKeysComeFromTheirIssuerOnly(t *testing.T) {
	h := newHouse(t)
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, h.issuer.URL+r.URL.Path, http.StatusFound)
		},
		func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"issuer": "` + h.issuer.URL + `", "jwks_uri": "` + h.issuer.URL + `/jwks"}`))
		},
		func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 2<<20))) },
	} {
		server := httptest.NewServer(answer)
		keys, err := jwks.New(jwks.Config{Issuer: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Verify(t.Context(), must(h.issuer.Event(audience, "caep", "session-revoked", "42"))(t)); !errors.Is(err, jwks.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		server.Close()
	}
	for _, bad := range []string{"http://idp.example", "ftp://idp.example", "idp.example", "https://u:p@idp.example", ""} {
		if _, err := jwks.New(jwks.Config{Issuer: bad}); err == nil {
			t.Errorf("issuer %q is taken", bad)
		}
	}
}

func TestEvents(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		family, event string
		act           signals.Act
	}{
		{"caep", "session-revoked", signals.Revoke},
		{"caep", "credential-change", signals.Revoke},
		{"caep", "token-claims-change", signals.Revoke},
		{"risc", "account-disabled", signals.Disable},
		{"risc", "account-purged", signals.Disable},
		{"risc", "account-enabled", signals.Ignore}, // nothing is given back on a provider's word
		{"ssf", "verification", signals.Verify},
		{"caep", "something-new", signals.Ignore},
	} {
		all, err := h.Events(t.Context(), must(h.issuer.Event(audience, c.family, c.event, "42"))(t))
		if err != nil {
			t.Errorf("%s: %v", c.event, err)
			continue
		}
		want := signals.Subject{Provider: "corp", Subject: "42"}
		if c.act == signals.Ignore || c.act == signals.Verify {
			want = signals.Subject{}
		}
		if len(all) != 1 || all[0].Act != c.act || all[0].Type != c.event || all[0].About != want {
			t.Errorf("%s: %+v", c.event, all)
		}
	}
}

func TestBadEvents(t *testing.T) {
	h := newHouse(t)
	sign := func(typ string, change func(map[string]any)) string {
		claims := h.issuer.EventClaims(audience, "caep", "session-revoked", "42")
		change(claims)
		return must(h.issuer.Sign(typ, claims))(t)
	}
	for _, c := range []struct {
		says   string
		change func(map[string]any)
	}{
		{"audience", func(c map[string]any) { c["aud"] = "https://other.example/events/corp" }},
		{"issuer", func(c map[string]any) { c["iss"] = "https://evil.example" }},
		{"older", func(c map[string]any) { c["iat"] = time.Now().Add(-8 * 24 * time.Hour).Unix() }},
		{"future", func(c map[string]any) { c["iat"] = time.Now().Add(time.Hour).Unix() }},
		{"names no subject", func(c map[string]any) { delete(c, "sub_id") }},
		{"may speak of", func(c map[string]any) {
			c["sub_id"] = map[string]any{"format": "iss_sub", "iss": "https://other.example", "sub": "42"}
		}},
		{"empty", func(c map[string]any) { c["sub_id"] = map[string]any{"format": "opaque"} }},
		{"isn't understood", func(c map[string]any) { c["sub_id"] = map[string]any{"format": "phone_number", "phone_number": "+1"} }},
		{"isn't understood", func(c map[string]any) {
			c["sub_id"] = map[string]any{"tenant": map[string]any{"format": "opaque", "id": "all"}}
		}},
		{"aliases", func(c map[string]any) { c["sub_id"] = map[string]any{"format": "aliases", "identifiers": []any{}} }},
		{"too long", func(c map[string]any) {
			c["sub_id"] = map[string]any{"format": "opaque", "id": strings.Repeat("x", 600)}
		}},
		{"can't be read", func(c map[string]any) { c["sub_id"] = "42" }},
		{"events", func(c map[string]any) { c["events"] = map[string]any{} }},
	} {
		_, err := h.Events(t.Context(), sign("secevent+jwt", c.change))
		refused(t, err, c.says)
	}
	same := func(map[string]any) {}
	for _, typ := range []string{"", "JWT", "logout+jwt"} {
		_, err := h.Events(t.Context(), sign(typ, same))
		refused(t, err, "type")
	}
	key, kid := h.issuer.Key()
	twice := `{"iss":"` + h.issuer.URL + `","aud":"` + audience + `","iat":` + "1" + `,"iat":9999999999,"jti":"x","events":{"e":{}}}`
	_, err := h.Events(t.Context(), must(signalstest.SignWith(jose.ES256, key, kid, "secevent+jwt", []byte(twice)))(t))
	refused(t, err, "twice")
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	_, err = h.Events(t.Context(), must(signalstest.SignWith(jose.ES256, key, kid, "secevent+jwt", []byte(deep)))(t))
	refused(t, err, "deep")
	if _, err := h.Events(t.Context(), sign("application/secevent+jwt", same)); err != nil {
		t.Error(err)
	}
}

// TestSubjects: the ways in which providers name people and their sessions.
func TestSubjects(t *testing.T) {
	h := newHouse(t)
	person := map[string]any{"format": "iss_sub", "iss": h.issuer.URL, "sub": "42"}
	for _, c := range []struct {
		subject any
		want    signals.Subject
	}{
		{person, signals.Subject{Provider: "corp", Subject: "42"}},
		{map[string]any{"subject_type": "iss-sub", "iss": h.issuer.URL, "sub": "42"}, signals.Subject{Provider: "corp", Subject: "42"}},
		{map[string]any{"format": "opaque", "id": "42"}, signals.Subject{Provider: "corp", Subject: "42"}},
		{map[string]any{"format": "email", "email": "a@b.example"}, signals.Subject{Provider: "corp", Email: "a@b.example"}},
		{map[string]any{"format": "account", "uri": "acct:a@b.example"}, signals.Subject{Provider: "corp", Email: "a@b.example"}},
		{map[string]any{"format": "complex", "user": person, "session": map[string]any{"format": "opaque", "id": "s1"}}, signals.Subject{Provider: "corp", Subject: "42", Session: "s1"}},
		{map[string]any{"session": map[string]any{"format": "opaque", "id": "s1"}}, signals.Subject{Provider: "corp", Session: "s1"}},
		{map[string]any{"user": person, "device": map[string]any{"format": "opaque", "id": "d"}}, signals.Subject{Provider: "corp", Subject: "42"}},
		{map[string]any{"format": "aliases", "identifiers": []any{
			map[string]any{"format": "phone_number"}, map[string]any{"format": "email", "email": "a@b.example"}, person,
		}}, signals.Subject{Provider: "corp", Subject: "42"}},
	} {
		claims := h.issuer.EventClaims(audience, "caep", "session-revoked", "42")
		claims["sub_id"] = c.subject
		all, err := h.Events(t.Context(), must(h.issuer.Sign("secevent+jwt", claims))(t))
		if err != nil || all[0].About != c.want {
			t.Errorf("%v: %v, %v", c.subject, all, err)
		}
		// Drafts had it within the event.
		delete(claims, "sub_id")
		claims["events"] = map[string]any{"https://schemas.openid.net/secevent/caep/event-type/session-revoked": map[string]any{
			"subject": c.subject, "reason_admin": map[string]any{"de": "verloren", "en": "device lost"},
		}}
		all, err = h.Events(t.Context(), must(h.issuer.Sign("secevent+jwt", claims))(t))
		if err != nil || all[0].About != c.want || all[0].Reason != "device lost" {
			t.Errorf("%v: %v, %v", c.subject, all, err)
		}
	}
}

func FuzzEvents(f *testing.F) {
	issuer, err := signalstest.New()
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = issuer.Close() }()
	keys, err := jwks.New(jwks.Config{Issuer: issuer.URL})
	if err != nil {
		f.Fatal(err)
	}
	r, err := signals.New(signals.Config{Issuer: issuer.URL, Audience: audience, Keys: keys, Memory: &memory{seen: map[string]time.Time{}}, Provider: "corp"})
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(issuer.EventClaims(audience, "caep", "session-revoked", "42"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"iss":1,"aud":[[]],"events":{"":null}}`))
	key, kid := issuer.Key()
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := signalstest.SignWith(jose.ES256, key, kid, "secevent+jwt", payload)
		if err != nil {
			t.Skip()
		}
		all, err := r.Events(t.Context(), token)
		for _, e := range all {
			if err == nil && (e.Act == signals.Revoke || e.Act == signals.Disable) && e.About.IsZero() {
				t.Errorf("an event about nobody: %+v", e)
			}
		}
	})
}
