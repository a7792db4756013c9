package workload

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"postern/internal/identity"
)

// Bounds of what issuers are asked for.
const (
	keysFresh   = 10 * time.Minute // after that they are asked for anew
	keysHold    = time.Hour        // for this long they count while the issuer doesn't answer
	keysPause   = 10 * time.Second // between two questions
	fetchTime   = 10 * time.Second
	maxDocument = 1 << 20 // bytes of an answer
	maxKeys     = 100
	minRSA      = 2048
)

// keys are the keys of one issuer, kept for a while. An unknown key id asks
// again, as issuers rotate; never more often than each keysPause, as anybody can
// make up a key id.
type keys struct {
	issuer, url, file string
	client            *http.Client
	now               func() time.Time

	fetching sync.Mutex // one at a time

	mu    sync.Mutex
	set   []jose.JSONWebKey
	got   time.Time // when set was read
	asked time.Time // when it was last asked for
	err   error     // of the last time
}

func newKeys(r Rule, cfg Config) (*keys, error) {
	k := &keys{issuer: r.Issuer, url: r.JWKSURL, file: r.JWKSFile, now: cfg.Now}
	transport := cfg.Transport
	if transport == nil {
		t := &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: fetchTime}).DialContext,
			TLSHandshakeTimeout: fetchTime, ResponseHeaderTimeout: fetchTime, MaxResponseHeaderBytes: 64 << 10,
			MaxConnsPerHost: 4, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
		}
		if r.CAFile != "" {
			pem, err := os.ReadFile(r.CAFile)
			if err != nil {
				return nil, fmt.Errorf("ca_file: %w", err)
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ca_file: %s holds no certificate", r.CAFile)
			}
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		}
		transport = t
	}
	k.client = &http.Client{
		Transport: transport, Timeout: fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects") },
	}
	if k.file != "" {
		_, err := k.fetch(context.Background())
		return k, err
	}
	return k, nil
}

// verify checks a token's signature and reads its claims.
func (k *keys) verify(ctx context.Context, token *jwt.JSONWebToken, into *map[string]any) error {
	header := token.Headers[0]
	for _, again := range []bool{false, true} {
		set, err := k.current(ctx, again)
		if err != nil {
			return err
		}
		known := false
		for i := range set {
			if !fits(&set[i], header) {
				continue
			}
			known = true
			if token.Claims(set[i].Key, into) == nil {
				return nil
			}
		}
		if known {
			return fmt.Errorf("its signature is none of %s's key %s", k.issuer, quoted(header.KeyID))
		}
	}
	return fmt.Errorf("%s has no key %s for %s", k.issuer, quoted(header.KeyID), header.Algorithm)
}

// fits says whether a key may have signed a token with this header.
func fits(key *jose.JSONWebKey, header jose.Header) bool {
	if header.KeyID != "" && key.KeyID != header.KeyID {
		return false
	}
	return key.Algorithm == "" || key.Algorithm == header.Algorithm
}

// current is the set of keys, asked for anew when it is old, or when again
// says that it lacks one.
func (k *keys) current(ctx context.Context, again bool) ([]jose.JSONWebKey, error) {
	set, err, good := k.kept(again)
	if good {
		return set, err
	}
	k.fetching.Lock()
	defer k.fetching.Unlock()
	if set, err, good := k.kept(again); good { // another has just asked
		return set, err
	}
	k.ask(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.answer()
}

// ask asks the issuer for its keys. The caller holds fetching.
func (k *keys) ask(ctx context.Context) {
	// Whoever comes next needs the answer, too: it isn't this caller's to cancel.
	fetched, err := k.fetch(context.WithoutCancel(ctx))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.err = k.now(), err
	if err == nil {
		k.set, k.got = fetched, k.asked
	}
}

// look asks the issuer for its keys when its last answer is old.
func (k *keys) look(ctx context.Context) {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	if k.answers().Old(k.now()) {
		k.ask(ctx)
	}
}

// answers is how the issuer answers.
func (k *keys) answers() identity.Answers {
	k.mu.Lock()
	defer k.mu.Unlock()
	return identity.Answers{Asked: k.asked, Good: k.got, Err: k.err}
}

// kept is the set as it is kept; not good when it should be asked for.
func (k *keys) kept(again bool) (set []jose.JSONWebKey, err error, good bool) { //nolint:revive // the error is a part of what is kept
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	fresh := !k.got.IsZero() && now.Sub(k.got) < keysFresh && !again
	if !fresh && (k.asked.IsZero() || now.Sub(k.asked) >= keysPause) {
		return nil, nil, false
	}
	set, err = k.answer()
	return set, err, true
}

// answer is what is known. The caller holds mu.
func (k *keys) answer() ([]jose.JSONWebKey, error) {
	if k.err != nil && (k.got.IsZero() || k.now().Sub(k.got) > keysHold) {
		return nil, fmt.Errorf("the keys of %s can't be read: %w", k.issuer, k.err)
	}
	return k.set, nil
}

func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	if k.file != "" {
		text, err := os.ReadFile(k.file)
		if err != nil {
			return nil, fmt.Errorf("jwks_file: %w", err)
		}
		return parseKeys(text)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	where := k.url
	if where == "" {
		var err error
		if where, err = k.discover(ctx); err != nil {
			return nil, err
		}
	}
	text, err := k.get(ctx, where)
	if err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// discover reads the issuer's discovery document (OpenID Connect Discovery 1.0,
// section 4), which must name the issuer exactly.
func (k *keys) discover(ctx context.Context) (string, error) {
	text, err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return "", errors.New("its discovery document is none")
	}
	u, err := url.Parse(doc.JWKSURI)
	switch {
	case doc.Issuer != k.issuer:
		return "", fmt.Errorf("its discovery document is of another issuer, %s", quoted(doc.Issuer))
	case err != nil || u.Scheme != "https" || u.Host == "":
		return "", errors.New("its discovery document has no https jwks_uri")
	}
	return doc.JWKSURI, nil
}

func (k *keys) get(ctx context.Context, where string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s", where, resp.Status)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", where, err)
	case len(text) > maxDocument:
		return nil, fmt.Errorf("%s answered more than %d bytes", where, maxDocument)
	}
	return text, nil
}

// parseKeys reads a JWK set. Keys that can't sign tokens are left out.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, errors.New("the key set is none")
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	var set []jose.JSONWebKey
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) != nil || !key.IsPublic() || !key.Valid() {
			continue // of a type that isn't known here
		}
		weak := false
		if r, ok := key.Key.(*rsa.PublicKey); ok {
			weak = r.N.BitLen() < minRSA
		}
		if (key.Use == "" || key.Use == "sig" || key.Use == "jwt-svid") && !weak {
			set = append(set, key)
		}
	}
	return set, nil
}

// usedID names a token among those that were used. One without jti is named by
// all that it says: by what is decoded, since one text can be encoded in
// several ways.
func usedID(s standard, text string) (string, error) {
	what := []byte(s.ID)
	if s.ID == "" {
		var err error
		if what, err = base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1]); err != nil {
			return "", errors.New("its claims can't be read")
		}
	}
	sum := sha256.Sum256(slices.Concat([]byte(s.Issuer+"\x00"), what))
	return "jwt:" + hex.EncodeToString(sum[:]), nil
}
