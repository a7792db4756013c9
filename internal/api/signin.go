package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/oidc"
)

const (
	// attemptCookie begins the name of a cookie that holds one attempt to sign
	// in, sealed: two that are made at once don't meet.
	attemptCookie  = "__Host-postern-signin-"
	attemptPurpose = "attempt to sign in"
	attemptTTL     = 10 * time.Minute
)

// attempt is one sign-in at a provider that has begun.
type attempt struct {
	oidc.Attempt
	Provider string    `json:"provider"`
	Return   string    `json:"return"`
	Expires  time.Time `json:"expires"`
}

// signInRoutes are the browser's: they aren't part of the described API.
func (a *api) signInRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /auth/postern.css", a.style)
	mux.HandleFunc("GET /auth/login", a.canonical(a.beginSignIn))
	mux.HandleFunc("GET /auth/callback/{provider}", a.finishSignIn)
	mux.HandleFunc("GET /auth/logout", a.canonical(a.askSignOut))
	mux.HandleFunc("POST /auth/logout", a.signOut)
	mux.HandleFunc("GET /auth/done", a.canonical(func(w http.ResponseWriter, _ *http.Request) {
		a.show(w, http.StatusOK, screen{Title: "Done", Text: "You can close this window and go back to your terminal."})
	}))
}

// beginSignIn sends a browser to a provider, or lets its person choose one.
func (a *api) beginSignIn(w http.ResponseWriter, r *http.Request) {
	back := localPath(r.URL.Query().Get("return"))
	name := r.URL.Query().Get("provider")
	if name == "" && len(a.Providers) == 1 {
		name = a.Providers[0].Name()
	}
	if name == "" {
		a.chooseProvider(w, back)
		return
	}
	p, ok := a.Providers.Provider(name)
	if !ok {
		a.show(w, http.StatusNotFound, screen{Title: "No such provider", Text: "This gateway has no identity provider of that name.", Link: &link{"Sign in", "/auth/login"}})
		return
	}
	if !a.limits.signIns.Take(identity.Place(sourceOf(r.RemoteAddr))) {
		a.tooMany(w)
		return
	}
	to, began, err := p.Begin(r.Context())
	if err != nil {
		a.Log.Warn("sign-in can't begin", "provider", name, "source", r.RemoteAddr, "error", err)
		a.show(w, http.StatusBadGateway, screen{
			Title: "The identity provider doesn't answer",
			Text:  "The gateway can't reach " + p.Title() + " now. Who is signed in stays so. Try again in a minute; if it goes on, tell an administrator.",
			Link:  &link{"Try again", r.URL.RequestURI()},
		})
		return
	}
	sealed, err := a.sealAttempt(attempt{Attempt: began, Provider: name, Return: back, Expires: a.Now().Add(attemptTTL)})
	if err != nil {
		a.Log.Error("sign-in can't be kept", "error", err)
		a.show(w, http.StatusInternalServerError, screen{Title: "That didn't work", Text: errInternal.Error()})
		return
	}
	setCookie(w, attemptCookie+began.State[:8], sealed, attemptTTL)
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // the configured provider's address
}

func (a *api) chooseProvider(w http.ResponseWriter, back string) {
	p := screen{Page: "choose", Title: "Sign in"}
	for _, provider := range a.Providers {
		q := url.Values{"provider": {provider.Name()}, "return": {back}}
		p.Choices = append(p.Choices, link{provider.Title(), "/auth/login?" + q.Encode()})
	}
	if len(p.Choices) == 0 {
		p = screen{Title: "Nobody can sign in here", Text: "This gateway has no identity provider. An administrator sets identity.oidc or identity.local in its configuration."}
	}
	a.show(w, http.StatusOK, p)
}

func (a *api) tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "60")
	a.show(w, http.StatusTooManyRequests, screen{Title: "Too many tries", Text: "Try again in a minute."})
}

func (a *api) sealAttempt(t attempt) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return a.Vault.Seal(attemptPurpose, text)
}

// openAttempt opens what sealAttempt sealed, in time.
func (a *api) openAttempt(sealed string) (attempt, error) {
	var t attempt
	text, err := a.Vault.Unseal(attemptPurpose, sealed)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err == nil && !t.Expires.After(a.Now()) {
		err = errors.New("the sign-in took too long")
	}
	return t, err
}

// takeAttempt finds the attempt that an answer belongs to, in the browser that
// began it, and takes the cookie away.
func (a *api) takeAttempt(w http.ResponseWriter, r *http.Request, provider, state string) (attempt, error) {
	var t attempt
	if len(state) < 8 || strings.ContainsFunc(state, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '2' || r > '7') }) {
		return t, errors.New("the answer has no state of ours")
	}
	cookie, err := r.Cookie(attemptCookie + state[:8])
	if err != nil {
		return t, errors.New("this browser didn't begin a sign-in with that state, or too long ago")
	}
	setCookie(w, cookie.Name, "", 0)
	if t, err = a.openAttempt(cookie.Value); err != nil {
		return t, err
	}
	switch {
	case t.Provider != provider:
		return t, errors.New("the sign-in was begun at another provider: " + t.Provider)
	case t.State != state:
		return t, errors.New("the state is not that of the attempt")
	}
	// What follows is done once for an attempt, whoever sends it how often.
	first, err := a.Identity.SpendOnce(r.Context(), "sign-in:"+identity.Challenge(state), t.Expires)
	if err == nil && !first {
		err = errors.New("the sign-in's answer came a second time")
	}
	return t, err
}

// finishSignIn is where a provider sends the browser back to.
func (a *api) finishSignIn(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	name, q := r.PathValue("provider"), r.URL.Query()
	c := caller{source: sourceOf(r.RemoteAddr)}
	if !a.limits.signIns.Take(identity.Place(c.source)) {
		a.tooMany(w)
		return
	}
	p, ok := a.Providers.Provider(name)
	if !ok {
		a.show(w, http.StatusNotFound, screen{Title: "No such provider", Text: "This gateway has no identity provider of that name."})
		return
	}
	t, err := a.takeAttempt(w, r, name, q.Get("state"))
	if err != nil { // nothing of ours: not in the audit log, which strangers must not fill
		a.Log.Warn("sign-in refused", "provider", name, "source", c.source, "cause", err)
		a.show(w, http.StatusBadRequest, screen{Title: "That sign-in is over", Text: "It was begun elsewhere, is finished, or took too long.", Link: &link{"Sign in again", "/auth/login"}})
		return
	}
	if says := q.Get("error"); says != "" {
		err = errors.New("the provider answered " + says[:min(len(says), 100)])
	}
	var login identity.LoginTokens
	if err == nil {
		login, err = a.signedIn(ctx, p, t, oidc.Answer{State: q.Get("state"), Code: q.Get("code"), Issuer: q.Get("iss")}, r)
	}
	if err != nil {
		a.refuseSignIn(ctx, w, c, p, err)
		return
	}
	if old := cookieOf(r.Header.Get("Cookie")); !old.IsZero() { // a browser has one login
		if err := a.Identity.Logout(ctx, old); err != nil {
			a.Log.Warn("browser's earlier login not ended", "error", err)
		}
	}
	setCookie(w, sessionCookie, login.Token.Reveal(), login.ExpiresAt.Sub(a.Now()))
	http.Redirect(w, r, t.Return, http.StatusSeeOther)
}

// signedIn makes the login of a person for whom the provider vouches.
func (a *api) signedIn(ctx context.Context, p *oidc.Provider, t attempt, answer oidc.Answer, r *http.Request) (identity.LoginTokens, error) {
	v, err := p.Finish(ctx, t.Attempt, answer)
	if err != nil {
		return identity.LoginTokens{}, err
	}
	from := identity.Where{Client: r.UserAgent(), Source: sourceOf(r.RemoteAddr).String()}
	return a.openLogin(ctx, "web, "+p.Name(), func(ctx context.Context) (identity.LoginTokens, error) {
		return a.Identity.StartLogin(ctx, postern.WebLogin, v, from)
	})
}

// openLogin opens a login, as one transaction with its entry in the audit log.
func (a *api) openLogin(ctx context.Context, how string, open func(context.Context) (identity.LoginTokens, error)) (identity.LoginTokens, error) {
	var login identity.LoginTokens
	err := a.changeAs(ctx, func() []postern.AuditEntry {
		id := login.Record.Identity
		return []postern.AuditEntry{a.about(caller{identity: id, source: parseAddr(login.Record.Source)}, postern.AuditEntry{
			Action: "login", Target: ref(id.Kind, id.Name), Reason: how + ", " + login.Record.ID,
		})}
	}, func(ctx context.Context) (err error) {
		login, err = open(ctx)
		return err
	})
	if err != nil {
		return identity.LoginTokens{}, err
	}
	return login, nil
}

// refuseSignIn tells the operator which check failed, and the person where to
// ask: the two are joined by a word that says nothing else.
func (a *api) refuseSignIn(ctx context.Context, w http.ResponseWriter, c caller, p *oidc.Provider, cause error) {
	reference := rand.Text()[:8]
	a.Log.Warn("sign-in refused", "provider", p.Name(), "source", c.source, "reference", reference, "cause", cause)
	entry := postern.AuditEntry{Action: "login", Outcome: "refused", Target: "provider:" + p.Name(), Reason: cause.Error() + " (" + reference + ")"}
	if err := a.note(ctx, c, entry); err != nil {
		a.Log.Error("refused sign-in not in the audit log", "reference", reference)
	}
	if errors.Is(cause, identity.ErrProviderDown) {
		a.show(w, http.StatusBadGateway, screen{
			Title: "The identity provider doesn't answer", Text: "The gateway can't finish the sign-in at " + p.Title() + " now. Try again in a minute; if it goes on, tell an administrator " + reference + ".",
			Link: &link{"Try again", "/auth/login"},
		})
		return
	}
	a.show(w, http.StatusForbidden, screen{
		Title: "You aren't signed in", Text: "The sign-in at " + p.Title() + " didn't lead in here. An administrator finds the reason in the gateway's log under " + reference + ".",
		Link: &link{"Sign in again", "/auth/login"},
	})
}

func (a *api) askSignOut(w http.ResponseWriter, r *http.Request) {
	c, ok := a.visitor(r)
	if !ok {
		a.signedOut(w, "")
		return
	}
	a.show(w, http.StatusOK, screen{Page: "logout", Title: "Sign out", Who: c.identity.Name, CSRF: csrfOf(c.bearer)})
}

func (a *api) signOut(w http.ResponseWriter, r *http.Request) {
	c, ok := a.form(w, r)
	if !ok {
		return
	}
	err := a.change(r.Context(), c, postern.AuditEntry{Action: "logout", Target: c.ref()}, func(ctx context.Context) error {
		return a.Identity.Logout(ctx, c.bearer)
	})
	if err != nil {
		a.Log.Error("browser can't be signed out", "error", err)
		a.show(w, http.StatusServiceUnavailable, screen{Title: "You are still signed in", Text: "The gateway couldn't sign you out. Try again.", Link: &link{"Try again", "/auth/logout"}})
		return
	}
	setCookie(w, sessionCookie, "", 0)
	provider, _, _ := strings.Cut(c.identity.Subject, ":")
	a.signedOut(w, provider)
}

// signedOut says so, and where the provider's own session can be ended.
func (a *api) signedOut(w http.ResponseWriter, provider string) {
	p := screen{Title: "You are signed out", Text: "This browser is no longer signed in to the gateway.", Link: &link{"Sign in", "/auth/login"}}
	if at, ok := a.Providers.Provider(provider); ok {
		if to := at.SignOut(a.PublicURL + "/auth/logout"); to != "" {
			p.Text += " The identity provider may still know you: it would let whoever sits here sign in again without asking."
			p.Link = &link{"Sign out of " + at.Title() + ", too", to}
		}
	}
	a.show(w, http.StatusOK, p)
}
