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
	"time"

	"postern"
	"postern/internal/api"
)

// Tokens are a login's secrets.
type Tokens struct {
	Token     postern.Secret
	ExpiresAt time.Time // of Token
	Refresh   postern.Secret
	LoginEnds time.Time
}

// OAuthError is a refusal of the gateway's authorization server.
type OAuthError struct {
	Status int
	Code   string // RFC 6749, section 5.2; RFC 8628, section 3.5
	Says   string
}

// Error implements error.
func (e *OAuthError) Error() string {
	if e.Says == "" {
		return e.Code
	}
	return e.Says
}

// Device is what a machine without a browser shows its person.
type Device struct {
	Code     postern.Secret
	UserCode string
	URL      string // to type
	Complete string // to follow, with the code in it
	Expires  time.Time
	Interval time.Duration
}

// AuthorizeURL is where a browser signs a program in, which listens at redirect
// and holds the verifier behind challenge.
func (c *Client) AuthorizeURL(challenge, state, redirect, machine string) string {
	u := *c.base
	u.Path += "/oauth/authorize"
	u.RawQuery = url.Values{
		"client_id": {api.CLIClient}, "response_type": {"code"}, "redirect_uri": {redirect}, "state": {state},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"}, "client": {machine},
	}.Encode()
	return u.String()
}

// DoneURL is a page that says that the browser is no longer needed.
func (c *Client) DoneURL() string { return c.base.String() + "/auth/done" }

// Redeem exchanges a code for a login.
func (c *Client) Redeem(ctx context.Context, code, verifier, redirect string) (Tokens, error) {
	return c.tokens(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirect},
	})
}

// Refresh exchanges a refresh token for the next one, and a token.
func (c *Client) Refresh(ctx context.Context, refresh postern.Secret) (Tokens, error) {
	return c.tokens(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.Reveal()}})
}

// StartDevice begins the login of a machine without a browser.
func (c *Client) StartDevice(ctx context.Context, machine string) (Device, error) {
	var out struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		URL        string `json:"verification_uri"`
		Complete   string `json:"verification_uri_complete"`
		ExpiresIn  int    `json:"expires_in"`
		Interval   int    `json:"interval"`
	}
	err := c.oauth(ctx, "/oauth/device_authorization", url.Values{"client": {machine}}, &out)
	if err == nil && (out.DeviceCode == "" || out.UserCode == "") {
		err = errors.New("the gateway's answer holds no device code")
	}
	return Device{
		Code: postern.NewSecret(out.DeviceCode), UserCode: out.UserCode, URL: out.URL, Complete: out.Complete,
		Expires: time.Now().Add(time.Duration(out.ExpiresIn) * time.Second), Interval: max(time.Second, time.Duration(out.Interval)*time.Second),
	}, err
}

// WaitDevice asks until a person has decided over the machine's login.
func (c *Client) WaitDevice(ctx context.Context, d Device) (Tokens, error) {
	ctx, cancel := context.WithDeadline(ctx, d.Expires)
	defer cancel()
	timer := time.NewTimer(d.Interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return Tokens{}, ctx.Err()
		case <-timer.C:
		}
		t, err := c.tokens(ctx, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.Code.Reveal()}})
		var says *OAuthError
		var lost *UnreachableError
		switch {
		case errors.As(err, &says) && says.Code == "authorization_pending":
		case errors.As(err, &says) && says.Code == "slow_down":
			d.Interval += 5 * time.Second
		case errors.As(err, &lost): // RFC 8628, section 3.5: ask less often
			d.Interval *= 2
		default:
			return t, err
		}
		timer.Reset(d.Interval)
	}
}

// EndLogin ends the login of a refresh token.
func (c *Client) EndLogin(ctx context.Context, refresh postern.Secret) error {
	return c.oauth(ctx, "/oauth/revoke", url.Values{"token": {refresh.Reveal()}}, &none{})
}

func (c *Client) tokens(ctx context.Context, form url.Values) (Tokens, error) {
	var out struct {
		Token     string    `json:"access_token"`
		ExpiresIn int       `json:"expires_in"`
		Refresh   string    `json:"refresh_token"`
		LoginEnds time.Time `json:"login_expires_at"`
	}
	if err := c.oauth(ctx, "/oauth/token", form, &out); err != nil {
		return Tokens{}, err
	}
	if out.Token == "" {
		return Tokens{}, errors.New("the gateway's answer holds no token")
	}
	return Tokens{
		Token: postern.NewSecret(out.Token), ExpiresAt: time.Now().Add(time.Duration(out.ExpiresIn) * time.Second),
		Refresh: postern.NewSecret(out.Refresh), LoginEnds: out.LoginEnds,
	}, nil
}

// oauth posts a form to the authorization server, and decodes its answer into out.
func (c *Client) oauth(ctx context.Context, path string, form url.Values, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	form.Set("client_id", api.CLIClient)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if resp.StatusCode == http.StatusOK {
		if json.Unmarshal(body, out) != nil { // its words could quote a token
			return fmt.Errorf("%s doesn't answer as a gateway does: is that its address?", c.base)
		}
		return nil
	}
	var says struct {
		Code string `json:"error"`
		Says string `json:"error_description"`
	}
	if json.Unmarshal(body, &says) != nil || says.Code == "" {
		return fmt.Errorf("%s answered %s, and not as a gateway does: is that its address?", c.base, resp.Status)
	}
	return &OAuthError{Status: resp.StatusCode, Code: says.Code, Says: says.Says}
}
