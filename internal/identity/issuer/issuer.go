// Package issuer is the built-in identity provider: local users sign in at the
// gateway itself, by the same OpenID Connect that other providers speak, so
// that there is one way to sign in. The protocol is zitadel's op; what is here
// is its storage, which knows one client: the gateway.
//
// Who a person is, and the page that asks for their password, are its caller's
// business: a request that has begun waits in [Issuer.Pending] until
// [Issuer.Done] says whose it is.
package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	// Prefix is where the provider's paths begin.
	Prefix = "/issuer"
	// ClientID is who the gateway is at its own provider.
	ClientID = "postern"

	maxRequests = 1000             // that wait for their person at a time
	requestTTL  = 10 * time.Minute // for the person to sign in
	codeTTL     = time.Minute
	tokenTTL    = time.Minute
)

// Config is what an Issuer is made of. All but Now and Log are required.
type Config struct {
	// PublicURL is the gateway's own; the issuer is below it.
	PublicURL string
	Key       *ecdsa.PrivateKey // signs ID tokens; P-256
	Now       func() time.Time  // nil: the system's clock
	Log       *slog.Logger      // nil: no log
}

// Issuer is the provider: an [http.Handler] for the paths below Prefix.
type Issuer struct {
	url      string
	provider *op.Provider
	storage  *storage
	routes   http.Handler
}

// New makes the provider.
func New(cfg Config) (*Issuer, error) {
	if cfg.PublicURL == "" || cfg.Key == nil {
		return nil, errors.New("issuer: PublicURL and Key are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	i := &Issuer{url: cfg.PublicURL + Prefix}
	i.storage = newStorage(cfg, i.Callback())
	config := &op.Config{CodeMethodS256: true, SupportedScopes: []string{"openid", "profile", "email"}}
	_, _ = rand.Read(config.CryptoKey[:]) // never returns an error; codes live for a minute, in memory
	var err error
	i.provider, err = op.NewProvider(config, i.storage, op.StaticIssuer(i.url), op.WithCORSOptions(nil))
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	i.routes = http.StripPrefix(Prefix, op.CreateRouter(logging{i.provider, cfg.Log}))
	return i, nil
}

// logging is the provider with a log that is given to it.
type logging struct {
	*op.Provider
	log *slog.Logger
}

// Logger implements [op.OpenIDProvider].
func (l logging) Logger() *slog.Logger { return l.log }

// URL is the provider's own name for itself.
func (i *Issuer) URL() string { return i.url }

// Callback is where the provider sends browsers back to: the gateway's own page.
func (i *Issuer) Callback() string {
	return strings.TrimSuffix(i.url, Prefix) + "/auth/callback/local"
}

// paths are what the provider serves; the library has more.
func paths() []string {
	return []string{"/.well-known/openid-configuration", "/authorize", "/authorize/callback", "/oauth/token", "/keys", "/userinfo"}
}

// ServeHTTP implements [http.Handler].
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(paths(), strings.TrimPrefix(r.URL.Path, Prefix)) {
		http.NotFound(w, r)
		return
	}
	i.routes.ServeHTTP(w, r)
}

// Pending is the state of a request that waits for its person: whoever began it
// holds the same.
func (i *Issuer) Pending(id string) (state string, ok bool) {
	r, ok := i.storage.pending(id)
	return r.state, ok
}

// Done says whose a request is, once, and where to send their browser.
func (i *Issuer) Done(id, user string) (to string, ok bool) {
	if !i.storage.done(id, user) {
		return "", false
	}
	return op.AuthCallbackURL(i.provider)(op.ContextWithIssuer(context.Background(), i.url), id), true
}

// Transport calls the provider within the process, so that the gateway reaches
// it whatever its public address is.
func (i *Issuer) Transport() http.RoundTripper { return inProcess{i} }
