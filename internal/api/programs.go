package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern"
	"postern/internal/identity"
)

// CLIClient is the OAuth client that the command line is.
const CLIClient = "postern-cli"

// The grants that programs ask for: RFC 6749, sections 4.1.3 and 6; RFC 8628,
// section 3.4.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
)

// programError is a refusal as RFC 6749, section 5.2, has it. What it says is for
// whoever asked; cause is for the operator.
type programError struct {
	Status int    `json:"-"`
	Code   string `json:"error"`
	Says   string `json:"error_description,omitempty"`
	cause  error
}

func (e *programError) Error() string { return e.Code + ": " + e.Says }

// programTokens are a login's tokens: RFC 6749, section 5.1.
type programTokens struct {
	AccessToken  string    `json:"access_token"`
	TokenType    string    `json:"token_type"`
	ExpiresIn    int       `json:"expires_in"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	LoginEnds    time.Time `json:"login_expires_at"`
}

// grant is one way to get tokens at the token endpoint.
type grant func(ctx context.Context, c caller, form url.Values) (any, error)

// grants are the ways, by grant_type.
func (a *api) grants() map[string]grant {
	return map[string]grant{grantCode: a.redeemCode, grantRefresh: a.refresh, grantDevice: a.pollDevice}
}

// programRoutes are the gateway's own authorization server, for the command line:
// it gets its login off a browser's, and never sees the provider.
func (a *api) programRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /oauth/authorize", a.canonical(a.askProgram))
	mux.HandleFunc("POST /oauth/authorize", a.decideProgram)
	mux.HandleFunc("POST /oauth/device_authorization", a.startDevice)
	mux.HandleFunc("POST /oauth/revoke", a.revokeLogin)
	mux.HandleFunc("GET /device", a.canonical(a.askDevice))
	mux.HandleFunc("POST /device", a.decideDevice)
	grants := a.grants()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		// What it asks for is read twice: who holds something already is served elsewhere.
		if form, err := programForm(r); err != nil || grants[form.Get("grant_type")] == nil {
			a.oauthToken(w, r)
			return
		}
		a.endpoint(w, r, func(ctx context.Context, c caller, form url.Values) (any, error) {
			return grants[form.Get("grant_type")](ctx, c, form)
		})
	})
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		types := append(slices.Sorted(maps.Keys(grants)), grantExchange)
		writeJSON(w, http.StatusOK, map[string]any{ // RFC 8414
			"issuer": a.PublicURL, "authorization_endpoint": a.PublicURL + "/oauth/authorize", "token_endpoint": a.PublicURL + "/oauth/token",
			"device_authorization_endpoint": a.PublicURL + "/oauth/device_authorization", "revocation_endpoint": a.PublicURL + "/oauth/revoke",
			"response_types_supported": []string{"code"}, "grant_types_supported": types, "code_challenge_methods_supported": []string{"S256"},
			"token_endpoint_auth_methods_supported": []string{"none"}, "authorization_response_iss_parameter_supported": true,
		})
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// endpoint serves one endpoint that programs post a form to.
func (a *api) endpoint(w http.ResponseWriter, r *http.Request, do grant) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	c := caller{source: sourceOf(r.RemoteAddr)}
	form, err := programForm(r)
	var out any
	if err == nil {
		out, err = do(ctx, c, form)
	}
	if err == nil {
		writeJSON(w, http.StatusOK, out)
		return
	}
	e := a.programProblem(ctx, c, r.URL.Path, err)
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "60")
	}
	writeJSON(w, e.Status, e)
}

// programForm is a program's form: no parameter twice, none in the query.
func programForm(r *http.Request) (url.Values, error) {
	bad := func(says string) error { return &programError{Status: 400, Code: "invalid_request", Says: says} }
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, bad("send application/x-www-form-urlencoded")
	}
	if err := r.ParseForm(); err != nil {
		return nil, bad("the form can't be read")
	}
	for name, values := range r.PostForm {
		if len(values) != 1 {
			return nil, bad("a parameter is there twice: " + name[:min(len(name), 40)])
		}
	}
	return r.PostForm, nil
}

// programProblem words an error. Who guesses, or replays, is told no more than
// that it doesn't hold.
func (a *api) programProblem(ctx context.Context, c caller, path string, err error) *programError {
	var e *programError
	known := errors.As(err, &e)
	if !known {
		e = &programError{Status: 400, Code: "invalid_grant", Says: "it is unknown, used, expired or not yours", cause: err}
		switch {
		case errors.Is(err, identity.ErrDevicePending):
			return &programError{Status: 400, Code: "authorization_pending"}
		case errors.Is(err, identity.ErrDeviceTooFast):
			return &programError{Status: 400, Code: "slow_down"}
		case errors.Is(err, identity.ErrDeviceDenied):
			return &programError{Status: 400, Code: "access_denied"}
		case errors.Is(err, identity.ErrDeviceGone):
			return &programError{Status: 400, Code: "expired_token"}
		case errors.Is(err, identity.ErrTooMany):
			return &programError{Status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Says: identity.ErrTooMany.Error()}
		case errors.Is(err, identity.ErrRaced):
			return &programError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Says: identity.ErrRaced.Error()}
		case errors.Is(err, identity.ErrProviderDown):
			e = &programError{
				Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", cause: err,
				Says: "the identity provider can't be asked whether it stands by this login; try again in a minute",
			}
		case errors.Is(err, identity.ErrUnauthenticated):
		case errors.Is(err, errUnaudited):
			return &programError{Status: http.StatusServiceUnavailable, Code: "server_error", Says: errUnaudited.Error()}
		default:
			e = &programError{Status: http.StatusInternalServerError, Code: "server_error", Says: errInternal.Error(), cause: err}
		}
	}
	if e.cause != nil {
		a.Log.Warn("program's login refused", "path", path, "source", c.source, "cause", e.cause)
	}
	if errors.Is(err, identity.ErrReused) {
		entry := postern.AuditEntry{Action: "login.reuse", Outcome: "refused", Reason: err.Error()}
		if err := a.note(ctx, c, entry); err != nil {
			a.Log.Error("copied login not in the audit log", "source", c.source)
		}
	}
	return e
}

func (a *api) answer(t identity.LoginTokens) programTokens {
	return programTokens{
		AccessToken: t.Token.Reveal(), TokenType: "Bearer", ExpiresIn: int(t.ExpiresAt.Sub(a.Now()) / time.Second),
		RefreshToken: t.Refresh.Reveal(), LoginEnds: t.Record.ExpiresAt.UTC(),
	}
}

func ourClient(form url.Values) error {
	if form.Get("client_id") != CLIClient {
		return &programError{Status: http.StatusUnauthorized, Code: "invalid_client", Says: "the only client is " + CLIClient}
	}
	return nil
}

func (a *api) redeemCode(ctx context.Context, _ caller, form url.Values) (any, error) {
	if err := ourClient(form); err != nil {
		return nil, err
	}
	t, err := a.openLogin(ctx, "cli", func(ctx context.Context) (identity.LoginTokens, error) {
		return a.Identity.RedeemCode(ctx, postern.NewSecret(form.Get("code")), form.Get("code_verifier"), form.Get("redirect_uri"))
	})
	if err != nil {
		return nil, err
	}
	return a.answer(t), nil
}

func (a *api) refresh(ctx context.Context, _ caller, form url.Values) (any, error) {
	if err := ourClient(form); err != nil {
		return nil, err
	}
	t, err := a.Identity.RefreshLogin(ctx, postern.NewSecret(form.Get("refresh_token")))
	if err != nil {
		return nil, err
	}
	return a.answer(t), nil
}

func (a *api) pollDevice(ctx context.Context, _ caller, form url.Values) (any, error) {
	if err := ourClient(form); err != nil {
		return nil, err
	}
	t, err := a.openLogin(ctx, "device", func(ctx context.Context) (identity.LoginTokens, error) {
		return a.Identity.PollDevice(ctx, postern.NewSecret(form.Get("device_code")))
	})
	if err != nil {
		return nil, err
	}
	return a.answer(t), nil
}

// revokeLogin ends the login of a refresh or login token: RFC 7009. What it is
// doesn't matter afterwards, so nothing is told.
func (a *api) revokeLogin(w http.ResponseWriter, r *http.Request) {
	a.endpoint(w, r, func(ctx context.Context, c caller, form url.Values) (any, error) {
		if err := ourClient(form); err != nil {
			return nil, err
		}
		token := postern.NewSecret(form.Get("token"))
		login, err := a.Identity.LoginOf(ctx, token)
		if errors.Is(err, postern.ErrNotFound) || err == nil && !login.EndedAt.IsZero() {
			return struct{}{}, nil // strangers' guesses are nothing for the audit log
		}
		if err != nil {
			return nil, err
		}
		c.identity = login.Identity
		return struct{}{}, a.change(ctx, c, postern.AuditEntry{Action: "logout", Target: c.ref(), Reason: login.ID}, func(ctx context.Context) error {
			return a.Identity.Logout(ctx, token)
		})
	})
}

// program is what a program asks for at the authorization endpoint.
type program struct {
	Redirect  string
	Origin    string // of Redirect
	Challenge string
	State     string
	Client    string // what it says of its machine
}

const maxState = 256

// readProgram reads and checks an authorization request. A request that is wrong
// is never answered by a redirect: nobody knows whose it is.
func readProgram(q url.Values) (program, error) {
	for name, values := range q {
		if len(values) != 1 {
			return program{}, fmt.Errorf("the parameter %s is there twice", name[:min(len(name), 40)])
		}
	}
	p := program{Redirect: q.Get("redirect_uri"), Challenge: q.Get("code_challenge"), State: q.Get("state"), Client: q.Get("client")}
	switch {
	case q.Get("client_id") != CLIClient:
		return p, errors.New("the client isn't " + CLIClient)
	case q.Get("response_type") != "code":
		return p, errors.New("the response type isn't code")
	case q.Get("code_challenge_method") != "S256" || !identity.ValidChallenge(p.Challenge):
		return p, errors.New("there is no S256 code challenge")
	case p.State == "" || len(p.State) > maxState:
		return p, errors.New("there is no state")
	case len(p.Client) > 128:
		return p, errors.New("the client's name is too long")
	}
	u, err := url.Parse(p.Redirect)
	if err != nil || u.Scheme != "http" || u.Path != "/callback" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Opaque != "" {
		return p, errors.New("the redirect isn't http://127.0.0.1:PORT/callback")
	}
	at, err := netip.ParseAddrPort(u.Host) // a name could be anybody's: RFC 8252, section 8.3
	if err != nil || !at.Addr().IsLoopback() || at.Port() < 1024 {
		return p, errors.New("the redirect isn't http://127.0.0.1:PORT/callback")
	}
	p.Origin = "http://" + at.String()
	if p.Redirect != p.Origin+"/callback" {
		return p, errors.New("the redirect isn't http://127.0.0.1:PORT/callback")
	}
	return p, nil
}

// ConfirmCode is what a program and the page that signs it in both show, so
// that a person can tell their own program's page from another's.
func ConfirmCode(challenge string) string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	sum := sha256.Sum256([]byte("postern confirm v1\x00" + challenge))
	var out strings.Builder
	for i, b := range sum[:8] {
		if i == 4 {
			out.WriteByte('-')
		}
		out.WriteByte(letters[int(b)%len(letters)])
	}
	return out.String()
}

// recent is who looks at a page that signs a program in. Whoever signed in a
// while ago does so again: most providers then don't ask, but know.
func (a *api) recent(w http.ResponseWriter, r *http.Request) (caller, bool) {
	c, ok := a.visitor(r)
	if ok {
		login, err := a.Identity.Login(r.Context(), c.identity.Login)
		ok = err == nil && a.Now().Sub(login.CreatedAt) < freshLogin
	}
	if !ok {
		to := url.Values{"return": {r.URL.RequestURI()}}
		http.Redirect(w, r, "/auth/login?"+to.Encode(), http.StatusSeeOther)
	}
	return c, ok
}

// askProgram asks the person in the browser whether the program is theirs.
func (a *api) askProgram(w http.ResponseWriter, r *http.Request) {
	p, err := readProgram(r.URL.Query())
	if err != nil {
		a.badProgram(w, r, err)
		return
	}
	c, ok := a.recent(w, r)
	if !ok {
		return
	}
	hidden := map[string]string{"csrf": csrfOf(c.bearer)}
	for name, values := range r.URL.Query() {
		hidden[name] = values[0]
	}
	a.show(w, http.StatusOK, screen{
		Page: "program", Title: "Sign in the command line?", Who: c.identity.Name, Code: ConfirmCode(p.Challenge),
		Client: p.Client, Redirect: p.Origin, Hidden: hidden,
	})
}

func (a *api) badProgram(w http.ResponseWriter, r *http.Request, err error) {
	a.Log.Warn("program's request refused", "source", r.RemoteAddr, "cause", err)
	a.show(w, http.StatusBadRequest, screen{Title: "That request is wrong", Text: "It isn't one that `postern login` makes: " + err.Error() + ". Nothing was done."})
}

// decideProgram sends the program its code, or that its person said no.
func (a *api) decideProgram(w http.ResponseWriter, r *http.Request) {
	c, ok := a.form(w, r)
	if !ok {
		return
	}
	form := url.Values{}
	for name, values := range r.PostForm {
		if name != "csrf" && name != "decision" {
			form[name] = values
		}
	}
	p, err := readProgram(form)
	if err != nil {
		a.badProgram(w, r, err)
		return
	}
	back := url.Values{"state": {p.State}, "iss": {a.PublicURL}} // RFC 9207
	if r.PostForm.Get("decision") != "approve" {
		back.Set("error", "access_denied")
	} else {
		code, err := a.Identity.IssueCode(r.Context(), c.identity, p.Challenge, p.Redirect, identity.Where{Client: p.Client, Source: c.source.String()})
		if err != nil {
			a.Log.Error("program can't be signed in", "identity", c.identity.Name, "error", err)
			a.show(w, http.StatusServiceUnavailable, screen{Title: "That didn't work", Text: "The gateway couldn't sign the command line in. Run postern login again."})
			return
		}
		back.Set("code", code.Reveal())
	}
	w.Header().Set("Content-Security-Policy", pagePolicy(p.Origin))
	http.Redirect(w, r, p.Redirect+"?"+back.Encode(), http.StatusSeeOther)
}

// startDevice begins the login of a machine without a browser.
func (a *api) startDevice(w http.ResponseWriter, r *http.Request) {
	a.endpoint(w, r, func(ctx context.Context, c caller, form url.Values) (any, error) {
		if err := ourClient(form); err != nil {
			return nil, err
		}
		code, d, err := a.Identity.StartDevice(ctx, identity.Where{Client: form.Get("client"), Source: c.source.String()})
		if err != nil {
			return nil, err
		}
		shown := identity.ShowUserCode(d.UserCode)
		at := a.PublicURL + "/device"
		return map[string]any{
			"device_code": code.Reveal(), "user_code": shown, "verification_uri": at,
			"verification_uri_complete": at + "?user_code=" + shown,
			"expires_in":                int(d.ExpiresAt.Sub(a.Now()) / time.Second), "interval": int(identity.PollEvery / time.Second),
		}, nil
	})
}

// askDevice asks for a user code, or shows the machine that has it.
func (a *api) askDevice(w http.ResponseWriter, r *http.Request) {
	c, ok := a.recent(w, r)
	if !ok {
		return
	}
	code := r.URL.Query().Get("user_code")
	if code == "" {
		a.show(w, http.StatusOK, screen{Page: "code", Title: "Sign in another machine", CSRF: csrfOf(c.bearer)})
		return
	}
	a.showDevice(w, r, c, code)
}

func (a *api) showDevice(w http.ResponseWriter, r *http.Request, c caller, code string) {
	d, err := a.Identity.WaitingDevice(r.Context(), c.identity, code, c.source)
	if err != nil {
		a.noDevice(w, c, err)
		return
	}
	a.show(w, http.StatusOK, screen{
		Page: "device", Title: "Sign in another machine?", Who: c.identity.Name, Code: identity.ShowUserCode(d.UserCode),
		Client: d.Client, Source: d.Source, Asked: clockText(d.CreatedAt), CSRF: csrfOf(c.bearer),
	})
}

func (a *api) noDevice(w http.ResponseWriter, c caller, err error) {
	p := screen{Page: "code", Title: "Sign in another machine", CSRF: csrfOf(c.bearer)}
	status := http.StatusNotFound
	switch {
	case errors.Is(err, identity.ErrTooMany):
		a.Log.Warn("user codes are being guessed", "identity", c.identity.Name, "source", c.source)
		a.tooMany(w)
		return
	case errors.Is(err, identity.ErrDeviceGone):
		p.Wrong = "No machine shows that code now. Codes last for ten minutes and are good once."
	default:
		a.Log.Error("device can't be looked up", "error", err)
		p.Wrong, status = "The gateway couldn't look the code up. Try again.", http.StatusServiceUnavailable
	}
	a.show(w, status, p)
}

// decideDevice approves or denies a machine, or shows it first.
func (a *api) decideDevice(w http.ResponseWriter, r *http.Request) {
	c, ok := a.form(w, r)
	if !ok {
		return
	}
	code, decision := r.PostForm.Get("user_code"), r.PostForm.Get("decision")
	if decision != "approve" && decision != "deny" {
		a.showDevice(w, r, c, code)
		return
	}
	var d postern.Device
	waiting, err := a.Identity.WaitingDevice(r.Context(), c.identity, code, c.source)
	if err == nil {
		entry := postern.AuditEntry{
			Action: "device." + decision, Target: "device:" + strconv.Quote(waiting.Client), Reason: "at " + waiting.Source,
		}
		err = a.change(r.Context(), c, entry, func(ctx context.Context) error {
			var err error
			d, err = a.Identity.DecideDevice(ctx, c.identity, code, c.source, decision == "approve")
			return err
		})
	}
	switch {
	case err != nil:
		a.noDevice(w, c, err)
	case d.State == postern.DeviceApproved:
		a.show(w, http.StatusOK, screen{Title: "Signed in", Text: "The machine at " + d.Source + " is signed in as " + c.identity.Name + ". You can close this window."})
	default:
		a.show(w, http.StatusOK, screen{Title: "Denied", Text: "The machine at " + d.Source + " was told no. If you didn't begin this, tell an administrator."})
	}
}
