package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"postern"
)

// Exchanged is the login that a JWT was exchanged for.
type Exchanged struct {
	Token     postern.Secret
	User      string
	ExpiresAt time.Time
}

// exchange is how a client that was given a JWT comes to a login.
type exchange struct {
	keep func(context.Context, func(context.Context) (Exchanged, error)) (postern.Secret, error)

	mu    sync.Mutex
	login postern.Secret
}

// IsJWT says whether a token is of another issuer's, and has to be exchanged.
func IsJWT(token postern.Secret) bool {
	return strings.HasPrefix(token.Reveal(), "eyJ") && strings.Count(token.Reveal(), ".") == 2
}

// bearer is what the client calls the API with.
func (c *Client) bearer(ctx context.Context) (postern.Secret, error) {
	if c.find != nil {
		return c.find(ctx)
	}
	if !IsJWT(c.token) {
		return c.token, nil
	}
	c.exchange.mu.Lock()
	defer c.exchange.mu.Unlock()
	if !c.exchange.login.IsZero() {
		return c.exchange.login, nil
	}
	var err error
	if c.exchange.keep != nil {
		c.exchange.login, err = c.exchange.keep(ctx, c.exchangeJWT)
	} else {
		var got Exchanged
		got, err = c.exchangeJWT(ctx)
		c.exchange.login = got.Token
	}
	return c.exchange.login, err
}

// GrantError says that the gateway doesn't accept a JWT.
type GrantError struct{ Description string }

// Error is the gateway's own description.
func (e *GrantError) Error() string { return e.Description }

// exchangeJWT exchanges the client's JWT for a login (RFC 8693).
func (c *Client) exchangeJWT(ctx context.Context) (Exchanged, error) {
	answer, err := c.Grant(ctx, url.Values{
		"subject_token":      {c.token.Reveal()},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	})
	return Exchanged{
		Token: postern.NewSecret(answer.AccessToken), User: answer.User, ExpiresAt: time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second),
	}, err
}

// Granted is an answer of the token endpoint.
type Granted struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"`
	User        string `json:"user"`
}

// Grant asks the token endpoint for an exchange. A refusal of the token is a
// [*GrantError].
func (c *Client) Grant(ctx context.Context, form url.Values) (Granted, error) {
	form.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return Granted{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.do(req)
	if err != nil {
		return Granted{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body := io.LimitReader(resp.Body, maxProblem)
	if resp.StatusCode == http.StatusOK {
		var out Granted
		if err := json.NewDecoder(body).Decode(&out); err != nil || out.AccessToken == "" {
			return Granted{}, fmt.Errorf("%s answered without a token", c.base)
		}
		return out, nil
	}
	var refused struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(body).Decode(&refused); err != nil || refused.Description == "" {
		return Granted{}, fmt.Errorf("%s answered %s, and not as a gateway does: is that its address?", c.base, resp.Status)
	}
	if refused.Code == "invalid_grant" {
		return Granted{}, &GrantError{Description: refused.Description}
	}
	return Granted{}, errors.New(refused.Description)
}
