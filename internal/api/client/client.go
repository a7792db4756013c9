// Package client calls the gateway's HTTP API. It is what the command line is
// made of.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"postern"
)

// Config says which gateway to call, and as whom.
type Config struct {
	// Server is the gateway's public URL. Clear text is for loopback only.
	Server string
	// Token is a login token or a service account's key; zero: not signed in.
	// A JWT of another issuer's is exchanged for a login with the first call.
	Token postern.Secret
	// Exchange is called in place of exchanging a JWT, so that its login can be
	// kept: a JWT counts once. nil: it is exchanged, and kept by this client.
	Exchange func(ctx context.Context, exchange func(context.Context) (Exchanged, error)) (postern.Secret, error)
	// Find finds the token at each call, in place of Token; nil: Token it is.
	Find func(context.Context) (postern.Secret, error)
	// CAFile holds the certificates that the gateway's is checked against, PEM;
	// "": the system's.
	CAFile string
	// UserAgent names the calling program.
	UserAgent string
}

// Client calls one gateway. Its methods may be called from several goroutines.
type Client struct {
	base      *url.URL
	token     postern.Secret
	find      func(context.Context) (postern.Secret, error)
	userAgent string
	http      *http.Client
	exchange  exchange
}

// Error is a problem document: the gateway's refusal, in words for people.
type Error struct {
	Status  int      // of HTTP
	Detail  string   // what is wrong
	Details []string // each mistake, where there are several
}

// Error is the detail, with each mistake on a line of its own.
func (e *Error) Error() string {
	if len(e.Details) == 0 {
		return e.Detail
	}
	return e.Detail + ":\n  " + strings.Join(e.Details, "\n  ")
}

// UnreachableError says that there was no answer from the gateway.
type UnreachableError struct {
	Server string
	Err    error
}

// Error says which gateway.
func (e *UnreachableError) Error() string { return fmt.Sprintf("reach %s: %v", e.Server, e.Err) }

// Unwrap is the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Bounds of answers.
const (
	maxAnswer  = 64 << 20
	maxProblem = 1 << 20
	callTime   = time.Minute
)

// New makes a client. It calls nothing yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(cfg.Server, "/"))
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("%q is no gateway's URL like https://gw.example:8443", cfg.Server)
	}
	if base.Scheme != "https" && (base.Scheme != "http" || !loopback(base.Hostname())) {
		return nil, fmt.Errorf("%s: a gateway is called by https", cfg.Server)
	}
	roots, err := readRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: callTime,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}
	return &Client{
		base: base, token: cfg.Token, find: cfg.Find, userAgent: cfg.UserAgent, exchange: exchange{keep: cfg.Exchange},
		http: &http.Client{
			Transport: transport,
			// A redirect would carry the token to wherever it points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // no pool is the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA certificates: %s holds none", file)
	}
	return pool, nil
}

// request is one call. body is sent as it is.
type request struct {
	method      string
	path        string // below /api/v1
	query       url.Values
	body        []byte
	contentType string
}

// send calls, and returns an answer that is no problem. The caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	u := *c.base
	u.Path += "/api/v1"
	target := u.String() + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.userAgent)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	bearer, err := c.bearer(ctx)
	if err != nil {
		return nil, err
	}
	if !bearer.IsZero() {
		req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, problem(resp)
	}
	return resp, nil
}

// do sends a request. Without an answer the error is an [*UnreachableError].
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return nil, &UnreachableError{Server: c.base.String(), Err: err}
}

// problem reads a problem document and closes the answer.
func problem(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }() // all that matters was read
	out := &Error{Status: resp.StatusCode, Detail: "the server answered " + resp.Status}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" {
		out.Detail += ", and not as a gateway does: is that its address?"
		return out
	}
	var doc struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&doc); err != nil || doc.Detail == "" {
		return out
	}
	out.Detail = doc.Detail
	for _, e := range doc.Errors {
		text := e.Message
		if e.Location != "" {
			text = strings.TrimPrefix(e.Location, "body.") + ": " + text
		}
		out.Details = append(out.Details, text)
	}
	return out
}

// call sends in as JSON, where there is any, and decodes the answer into a T.
func call[T any](ctx context.Context, c *Client, r request, in any) (T, error) {
	var out T
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return out, err
		}
		r.body, r.contentType = body, "application/json"
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out); err != nil {
		return out, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return out, nil
}

// none is the answer of a call that has nothing to say.
type none struct{}

// segment is a path's part, whatever is in it.
func segment(text string) string { return url.PathEscape(text) }
