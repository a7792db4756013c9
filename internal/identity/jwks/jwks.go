// Package jwks fetches and keeps the public keys with which an issuer signs,
// and verifies what is signed with them.
//
// What an attacker sends can't make it fetch without bounds, take an algorithm
// that isn't for public keys, or follow a token to keys of its own: the address
// comes from the configuration or from the issuer's discovery document alone.
package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of what an issuer may say, and of how often it is asked.
const (
	maxDocument = 1 << 20 // bytes
	maxKeys     = 256
	maxToken    = 64 << 10
	fetchTime   = 10 * time.Second
	// freshFor is how long a key that the issuer has withdrawn may still verify.
	freshFor = 15 * time.Minute
	// staleFor is how long keys are good for while the issuer can't be reached.
	staleFor = 24 * time.Hour
	// askAgain is how soon the issuer is asked again: for a key that isn't known,
	// or after a failure.
	askAgain = 10 * time.Second
)

// ErrUnavailable says that there are no keys to verify with now: what was sent
// may be right, and can be sent again later.
var ErrUnavailable = errors.New("the issuer's keys can't be had now")

// Config says whose keys, and where they are.
type Config struct {
	Issuer string
	// URL is where the keys are. "": where a discovery document of Issuer says.
	URL string
	// Discovery are the paths of discovery documents that are tried, in order;
	// none: OpenID Connect's.
	Discovery []string
	HTTP      *http.Client     // nil: one that trusts the system's certificates
	Now       func() time.Time // nil: the system's clock
}

// Set is the keys of one issuer. Its methods may be called from several
// goroutines. Make it with [New].
type Set struct {
	cfg  Config
	turn chan struct{} // whoever holds its one value may look at, or change, what follows

	keys    []jose.JSONWebKey
	fetched time.Time // when keys came
	asked   time.Time // when they were last asked for
	failed  error     // of the last time, or nil
}

// New makes a set. It asks nobody yet.
func New(cfg Config) (*Set, error) {
	for _, address := range []string{cfg.Issuer, cfg.URL} {
		if err := checkURL(address); address != "" && err != nil {
			return nil, err
		}
	}
	if cfg.Issuer == "" {
		return nil, errors.New("jwks: there is no issuer")
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{}
	}
	client := *cfg.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.HTTP = &client
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.Discovery) == 0 {
		cfg.Discovery = []string{"/.well-known/openid-configuration"}
	}
	s := &Set{cfg: cfg, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s, nil
}

// checkURL takes https, and http to this machine.
func checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("jwks: %q is no URL", address)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return fmt.Errorf("jwks: %s: keys are fetched by https", address)
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// algorithms are those of public keys. With any other, "none" and those of
// shared secrets first of all, a token isn't even parsed.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// Signed is what a token says, once its signature was verified.
type Signed struct {
	Type    string // the typ header, lower case, without "application/"
	Payload []byte
}

// Verify verifies a token in compact form. An error is for the operator; it is
// [ErrUnavailable] when it may be the gateway's or the issuer's fault.
func (s *Set) Verify(ctx context.Context, token string) (Signed, error) {
	if len(token) > maxToken {
		return Signed{}, errors.New("the token is too long")
	}
	jws, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil {
		return Signed{}, fmt.Errorf("the token can't be parsed, or its algorithm isn't accepted: %w", err)
	}
	if len(jws.Signatures) != 1 {
		return Signed{}, errors.New("the token hasn't one signature")
	}
	header := jws.Signatures[0].Protected
	keys, err := s.find(ctx, header)
	if err != nil {
		return Signed{}, err
	}
	for _, key := range keys {
		if payload, err := jws.Verify(key); err == nil {
			typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
			return Signed{Type: strings.TrimPrefix(strings.ToLower(typ), "application/"), Payload: payload}, nil
		}
	}
	return Signed{}, errors.New("the token's signature is wrong")
}

// find returns the keys that may have made a signature.
func (s *Set) find(ctx context.Context, header jose.Header) ([]jose.JSONWebKey, error) {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	now := s.cfg.Now()
	found := match(s.keys, header)
	stale := now.Sub(s.fetched) > freshFor
	// A clock that was set back must not keep the issuer from being asked.
	may := s.asked.IsZero() || now.Sub(s.asked) >= askAgain || now.Before(s.asked)
	if (stale || len(found) == 0) && may {
		s.ask(ctx, now)
		found = match(s.keys, header)
	}
	switch {
	case now.Sub(s.fetched) > staleFor:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.failed)
	case len(found) > 0:
		return found, nil
	case s.failed != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.failed)
	case !may:
		// It may have been made since they were fetched.
		return nil, fmt.Errorf("%w: key %q isn't among them, and they were just fetched", ErrUnavailable, header.KeyID)
	}
	return nil, fmt.Errorf("key %q isn't among the issuer's", header.KeyID)
}

// match picks the keys that a header may mean. One that names none may mean any.
func match(keys []jose.JSONWebKey, header jose.Header) []jose.JSONWebKey {
	var found []jose.JSONWebKey
	for _, k := range keys {
		if (header.KeyID == "" || k.KeyID == header.KeyID) && (k.Algorithm == "" || k.Algorithm == header.Algorithm) {
			found = append(found, k)
		}
	}
	return found
}

// ask fetches the keys. Those that there are stay when that fails.
func (s *Set) ask(ctx context.Context, now time.Time) {
	s.asked = now
	// Whoever sent a token and went away must not spoil it for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	keys, err := s.fetch(ctx)
	if s.failed = err; err == nil {
		s.keys, s.fetched = keys, now
	}
}

func (s *Set) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	address := s.cfg.URL
	if address == "" {
		var err error
		if address, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, address, &doc); err != nil {
		return nil, err
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("%s holds more than %d keys", address, maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, raw := range doc.Keys {
		var k jose.JSONWebKey
		// Keys of a kind that isn't known, or for encryption, are others' business.
		if k.UnmarshalJSON(raw) == nil && k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no public key for signatures", address)
	}
	return keys, nil
}

// discover asks the issuer where its keys are.
func (s *Set) discover(ctx context.Context) (string, error) {
	var errs []error
	for _, path := range s.cfg.Discovery {
		var doc struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		address := strings.TrimSuffix(s.cfg.Issuer, "/") + path
		if err := s.get(ctx, address, &doc); err != nil {
			errs = append(errs, err)
			continue
		}
		if doc.Issuer != s.cfg.Issuer {
			return "", fmt.Errorf("%s is of issuer %q, and %q is configured", address, doc.Issuer, s.cfg.Issuer)
		}
		return doc.Keys, checkURL(doc.Keys)
	}
	return "", errors.Join(errs...)
}

func (s *Set) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.cfg.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", address, err)
	}
	if len(body) > maxDocument {
		return fmt.Errorf("%s is larger than %d bytes", address, maxDocument)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s is no JSON: %w", address, err)
	}
	return nil
}
