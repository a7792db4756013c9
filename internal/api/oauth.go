package api

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// Words of RFC 8693, OAuth 2.0 Token Exchange.
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

	typeJWT    = "urn:ietf:params:oauth:token-type:jwt"
	typeID     = "urn:ietf:params:oauth:token-type:id_token"
	typeAccess = "urn:ietf:params:oauth:token-type:access_token"
	// typeDelegation is a delegation's id: no secret, as its actor proves by
	// the actor token who they are.
	typeDelegation = "urn:postern:params:oauth:token-type:delegation"
)

// exchanged is the answer of a token exchange. With an audience it is a session
// token, and says how to enter.
type exchanged struct {
	AccessToken string `json:"access_token"`
	Issued      string `json:"issued_token_type"`
	Type        string `json:"token_type"` // "Bearer" calls the API; "N_A" enters a native listener
	ExpiresIn   int64  `json:"expires_in"` // seconds
	User        string `json:"user"`
	*SessionToken
}

// oauthError is a refusal as RFC 6749, section 5.2, words it.
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *oauthError) Error() string { return e.Description }

func badRequest(description string) error {
	return &oauthError{Code: "invalid_request", Description: description}
}

// errGrant is all that is told of a token that isn't accepted; why is in the log
// and in the audit log.
var errGrant = &oauthError{Code: "invalid_grant", Description: "the token was not accepted; the gateway's audit log says why"}

// oauthToken is the token endpoint, for what programs hold already.
func (a *api) oauthToken(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	began := time.Now() // the system's clock: a timer waits by it
	form, err := oauthForm(r)
	var out exchanged
	if err == nil {
		out, err = a.exchange(ctx, caller{source: sourceOf(r.RemoteAddr)}, form)
	}
	status, body := http.StatusOK, any(out)
	if err != nil {
		status, body = a.oauthProblem(err)
	}
	if errors.Is(err, errGrant) {
		holdUntil(ctx, began.Add(refusalTime))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Pragma", "no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// oauthForm reads the parameters. One that is there twice could mean two things.
func oauthForm(r *http.Request) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return nil, badRequest("parameters come in the body, as application/x-www-form-urlencoded")
	}
	if err := r.ParseForm(); err != nil {
		return nil, badRequest("the parameters can't be read")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, badRequest(name + " is there twice")
		}
	}
	return r.PostForm, nil
}

// oauthProblem turns an error into an answer of the token endpoint.
func (a *api) oauthProblem(err error) (status int, body any) {
	var e *oauthError
	if errors.As(err, &e) {
		return http.StatusBadRequest, e
	}
	var known huma.StatusError
	if !errors.As(a.problem("POST /oauth/token", err), &known) {
		known = errInternal
	}
	code := "invalid_request"
	switch known.GetStatus() {
	case http.StatusForbidden, http.StatusNotFound:
		code = "invalid_target"
	case http.StatusUnauthorized:
		return http.StatusBadRequest, errGrant
	case http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return known.GetStatus(), &oauthError{Code: "server_error", Description: known.Error()}
	}
	return http.StatusBadRequest, &oauthError{Code: code, Description: known.Error()}
}

// exchange gives a token for a token: a login, or with an audience a session
// token for that resource.
func (a *api) exchange(ctx context.Context, c caller, form url.Values) (exchanged, error) {
	if grant := form.Get("grant_type"); grant != grantExchange {
		return exchanged{}, &oauthError{Code: "unsupported_grant_type", Description: "grant_type is " + grantExchange}
	}
	if want := form.Get("requested_token_type"); want != "" && want != typeAccess {
		return exchanged{}, badRequest("requested_token_type: only " + typeAccess + " is issued")
	}
	if form.Get("resource") != "" {
		return exchanged{}, badRequest("name the resource in audience; resource is for URLs")
	}
	delegation, who := "", "subject"
	if form.Get("subject_token_type") == typeDelegation {
		if delegation, who = form.Get("subject_token"), "actor"; delegation == "" || form.Get("audience") == "" {
			return exchanged{}, badRequest("with a delegation go its id in subject_token, and an audience: the resource to enter")
		}
	} else if form.Get("actor_token") != "" {
		return exchanged{}, badRequest("with an actor_token goes a delegation: subject_token_type " + typeDelegation)
	}
	c, err := a.party(ctx, c, form, who)
	if err != nil {
		return exchanged{}, err
	}
	if resource := form.Get("audience"); resource != "" {
		return a.exchangeSession(ctx, c, TokenRequest{Resource: resource, TTL: form.Get("ttl"), Delegation: delegation})
	}
	if !c.bearer.IsZero() {
		return exchanged{}, badRequest("what is a login already needs an audience: the resource to enter")
	}
	var out exchanged
	err = a.change(ctx, c, postern.AuditEntry{Action: "token.exchange", Target: c.ref(), Reason: "subject " + c.identity.Subject}, func(ctx context.Context) error {
		secret, token, err := a.Identity.MintLogin(ctx, c.identity)
		if err != nil {
			return err
		}
		out = exchanged{
			AccessToken: secret.Reveal(), Issued: typeAccess, Type: "Bearer", User: c.identity.Name,
			ExpiresIn: int64(token.ExpiresAt.Sub(a.Now()).Seconds()),
		}
		return nil
	})
	return out, err
}

func (a *api) exchangeSession(ctx context.Context, c caller, in TokenRequest) (exchanged, error) {
	session, err := a.mint(ctx, c, in)
	if err != nil {
		return exchanged{}, err
	}
	return exchanged{
		AccessToken: session.Token, Issued: typeAccess, Type: "N_A", User: session.User,
		ExpiresIn: int64(session.ExpiresAt.Sub(a.Now()).Seconds()), SessionToken: &session,
	}, nil
}

// party finds out who asks, by the subject token or the actor token.
func (a *api) party(ctx context.Context, c caller, form url.Values, who string) (caller, error) {
	token := postern.NewSecret(form.Get(who + "_token"))
	if token.IsZero() {
		return c, badRequest(who + "_token is missing")
	}
	var err error
	switch form.Get(who + "_token_type") {
	case typeJWT, typeID:
		if a.Workloads == nil {
			err = errors.New("no other issuer's tokens are trusted: identity.workloads is empty")
			break
		}
		c.identity, err = a.Workloads.Verify(ctx, token)
	case typeAccess:
		c.bearer = token
		c.identity, err = a.Identity.AuthenticateBearer(ctx, token)
	default:
		return c, badRequest(who + "_token_type is " + typeJWT + ", or " + typeAccess + " for a login token or a service account's key")
	}
	if err == nil && c.identity.Name != "" {
		return c, nil
	}
	return c, a.refuseGrant(ctx, caller{source: c.source}, err)
}

// refuseGrant tells the operator why a token isn't accepted, and the caller that
// it isn't.
func (a *api) refuseGrant(ctx context.Context, c caller, cause error) error {
	if cause == nil {
		cause = errors.New("it names nobody")
	}
	a.Log.Warn("token exchange refused", "source", c.source, "cause", cause)
	if err := a.note(ctx, c, postern.AuditEntry{Action: "token.exchange", Outcome: "refused", Reason: cause.Error()}); err != nil {
		return err
	}
	return errGrant
}
