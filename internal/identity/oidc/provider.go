// Package oidc signs people in at OpenID Connect providers: the gateway is an
// OAuth client of each, with the authorization code flow, PKCE, state and
// nonce. What a provider says becomes an [identity.Vouched].
//
// A provider is discovered when it is needed, not at start: one that is down
// keeps people from signing in there, and nothing else.
package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"postern"
	"postern/internal/identity"
)

// Skew is how far a provider's clock may be from the gateway's.
const Skew = 60 * time.Second

const (
	callTime    = 10 * time.Second
	maxAnswer   = 1 << 20   // bytes of a provider's answer
	maxIDToken  = 128 << 10 // bytes of an ID token
	rediscover  = time.Hour
	retryAfter  = 5 * time.Second // a provider that was down is left alone so long
	defaultName = "preferred_username"
)

// Config is what a Provider is made of.
type Config struct {
	Name   string // a word of the gateway's own; begins its people's Subject
	Issuer string
	// Title is what people who choose a provider read; "": Name.
	Title    string
	ClientID string
	// Secret finds the client's secret, at each use; nil: the client has none.
	Secret func(context.Context) (postern.Secret, error)
	Scopes []string // none: openid, profile, email
	// NameClaim and GroupsClaim name the claims that the identity's name and
	// groups come from. "": preferred_username, and no groups.
	NameClaim, GroupsClaim string
	// Redirect is the callback that the provider sends browsers to.
	Redirect string
	// Place is where the provider is configured, for messages; "": it is built in.
	Place string
	// CAFile holds the certificates that the provider's is checked against, PEM;
	// "": the system's.
	CAFile string
	// Transport carries the calls to the provider; nil: the network.
	Transport http.RoundTripper
	Now       func() time.Time // nil: the system's clock
	Log       *slog.Logger     // nil: no log
}

// Provider is one OpenID Connect provider. Its methods may be called from
// several goroutines.
type Provider struct {
	cfg  Config
	http *http.Client
	keys *keysWatch

	mu       sync.Mutex // held while discovering: others wait for the same answer
	found    *discovered
	failed   error
	failedAt time.Time
}

// discovered is a provider's description of itself.
type discovered struct {
	provider *gooidc.Provider
	verifier *gooidc.IDTokenVerifier
	style    oauth2.AuthStyle
	signOut  string
	keys     string // where they are
	pkce     bool
	at       time.Time
}

// New makes a provider, and asks it nothing yet.
func New(cfg Config) (*Provider, error) {
	if err := identity.CheckProvider(cfg.Name); err != nil && cfg.Name != identity.LocalProvider {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.NameClaim == "" {
		cfg.NameClaim = defaultName
	}
	if cfg.Title == "" {
		cfg.Title = cfg.Name
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = []string{gooidc.ScopeOpenID, "profile", "email"}
	}
	if !slices.Contains(cfg.Scopes, gooidc.ScopeOpenID) {
		cfg.Scopes = append([]string{gooidc.ScopeOpenID}, cfg.Scopes...)
	}
	if cfg.Transport == nil {
		roots, err := readRoots(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", cfg.Name, err)
		}
		cfg.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: callTime,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		}
	}
	keys := &keysWatch{next: limited{cfg.Transport}, now: cfg.Now}
	client := &http.Client{
		Timeout:   callTime,
		Transport: keys,
		// A redirect would carry the client's secret to wherever it points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Provider{cfg: cfg, http: client, keys: keys}, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // no pool is the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file %s holds no certificate", file)
	}
	return pool, nil
}

// limited bounds what a provider can make the gateway read.
type limited struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

type limitedBody struct {
	io.ReadCloser
	left int
}

var errTooLarge = errors.New("the provider's answer is larger than 1 MiB")

// Read implements [io.Reader].
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// Name is the gateway's word for the provider.
func (p *Provider) Name() string { return p.cfg.Name }

// Title is what people read.
func (p *Provider) Title() string { return p.cfg.Title }

// Issuer is the provider's own name for itself.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// NameClaim is the claim that people's names come from.
func (p *Provider) NameClaim() string { return p.cfg.NameClaim }

// GroupsClaim is the claim that people's groups come from; "": they get none.
func (p *Provider) GroupsClaim() string { return p.cfg.GroupsClaim }

// Place is where the provider is configured; "": it is built in.
func (p *Provider) Place() string { return p.cfg.Place }

func (p *Provider) context(ctx context.Context) context.Context {
	return gooidc.ClientContext(ctx, p.http)
}

// discover is what the provider says of itself, not longer ago than within. While
// it can't be asked again, what it said last counts.
func (p *Provider) discover(ctx context.Context, within time.Duration) (*discovered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if p.found != nil && now.Sub(p.found.at) < within {
		return p.found, nil
	}
	if p.failed != nil && now.Sub(p.failedAt) < retryAfter {
		return p.found, p.orLast(p.failed)
	}
	// Whoever waits for it may go away; others wait, too.
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	found, err := p.ask(p.context(ask))
	if err != nil {
		p.failed, p.failedAt = fmt.Errorf("%w: discover %s: %w", identity.ErrProviderDown, p.cfg.Issuer, err), now
		p.cfg.Log.Warn("identity provider can't be discovered", "provider", p.cfg.Name, "issuer", p.cfg.Issuer, "error", err)
		return p.found, p.orLast(p.failed)
	}
	if p.failed != nil || p.found == nil {
		p.cfg.Log.Info("identity provider discovered", "provider", p.cfg.Name, "issuer", p.cfg.Issuer)
	}
	found.at = now
	p.found, p.failed = found, nil
	p.keys.watch(found.keys)
	return found, nil
}

func (p *Provider) orLast(err error) error {
	if p.found != nil {
		return nil
	}
	return err
}

func (p *Provider) ask(ctx context.Context) (*discovered, error) {
	provider, err := gooidc.NewProvider(ctx, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var says struct {
		Auth    []string `json:"token_endpoint_auth_methods_supported"`
		PKCE    []string `json:"code_challenge_methods_supported"`
		SignOut string   `json:"end_session_endpoint"`
		Token   string   `json:"token_endpoint"`
		Start   string   `json:"authorization_endpoint"`
		Keys    string   `json:"jwks_uri"`
	}
	if err := provider.Claims(&says); err != nil {
		return nil, err
	}
	for name, endpoint := range map[string]string{"token_endpoint": says.Token, "authorization_endpoint": says.Start, "jwks_uri": says.Keys} {
		if err := checkEndpoint(p.cfg.Issuer, endpoint); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	found := &discovered{provider: provider, keys: says.Keys, pkce: len(says.PKCE) == 0 || slices.Contains(says.PKCE, "S256"), style: oauth2.AuthStyleInHeader}
	if checkEndpoint(p.cfg.Issuer, says.SignOut) == nil {
		found.signOut = says.SignOut
	}
	if p.cfg.Secret == nil || (len(says.Auth) > 0 && !slices.Contains(says.Auth, "client_secret_basic")) {
		found.style = oauth2.AuthStyleInParams
	}
	found.verifier = provider.VerifierContext(ctx, &gooidc.Config{
		ClientID: p.cfg.ClientID,
		// An ID token may be a little over when clocks differ.
		Now: func() time.Time { return p.cfg.Now().Add(-Skew) },
	})
	return found, nil
}

// checkEndpoint keeps a provider that is spoken to by TLS from sending secrets
// and people elsewhere in clear text.
func checkEndpoint(issuer, endpoint string) error {
	at, err := url.Parse(endpoint)
	if err != nil || at.Host == "" || (at.Scheme != "https" && at.Scheme != "http") {
		return errors.New("it is no address")
	}
	if from, err := url.Parse(issuer); err != nil || (from.Scheme == "https" && at.Scheme != "https") {
		return errors.New("it is no https address")
	}
	return nil
}

// oauth is the client that the gateway is to the provider.
func (p *Provider) oauth(ctx context.Context, found *discovered) (*oauth2.Config, error) {
	endpoint := found.provider.Endpoint()
	endpoint.AuthStyle = found.style
	c := &oauth2.Config{ClientID: p.cfg.ClientID, Endpoint: endpoint, RedirectURL: p.cfg.Redirect, Scopes: p.cfg.Scopes}
	if p.cfg.Secret != nil {
		secret, err := p.cfg.Secret(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: client_secret of provider %s: %w", identity.ErrProviderDown, p.cfg.Name, err)
		}
		c.ClientSecret = secret.Reveal()
	}
	return c, nil
}

// Check says whether people could sign in there now.
func (p *Provider) Check(ctx context.Context) error {
	found, err := p.discover(ctx, rediscover)
	if err != nil {
		return err
	}
	_, err = p.oauth(ctx, found)
	return err
}

// SignOut is where a browser ends its session at the provider, or "".
func (p *Provider) SignOut(back string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found == nil || p.found.signOut == "" {
		return ""
	}
	u, err := url.Parse(p.found.signOut)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", back)
	u.RawQuery = q.Encode()
	return u.String()
}
