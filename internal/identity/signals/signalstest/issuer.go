// Package signalstest is an issuer that signs what tests send: logout tokens
// and security event tokens, with keys that it publishes.
package signalstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer signs, and serves its discovery documents and public keys on loopback.
// Make one with [New] and Close it.
type Issuer struct {
	URL     string
	Fetches atomic.Int64 // of its keys
	Down    atomic.Bool  // it answers with an error

	server *http.Server
	serial atomic.Int64

	mu  sync.Mutex // guards what follows
	key *ecdsa.PrivateKey
	kid string
}

// New starts an issuer.
func New() (*Issuer, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &Issuer{URL: "http://" + listener.Addr().String()}
	if err := i.Rotate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	document := func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/jwks"})
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", document)
	mux.HandleFunc("GET /.well-known/ssf-configuration", document)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		i.Fetches.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: i.kid, Algorithm: "ES256", Use: "sig"}}})
	})
	i.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = i.server.Serve(listener) }() // until Close
	return i, nil
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	if i.Down.Load() {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// Close stops the issuer.
func (i *Issuer) Close() error { return i.server.Close() }

// Rotate replaces its only key.
func (i *Issuer) Rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.kid = key, fmt.Sprintf("key-%d", i.serial.Add(1))
	return nil
}

// Key is its key and the key's id.
func (i *Issuer) Key() (*ecdsa.PrivateKey, string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key, i.kid
}

// Sign signs claims as a token of a type ("" is none).
func (i *Issuer) Sign(typ string, claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	key, kid := i.Key()
	return SignWith(jose.ES256, key, kid, typ, payload)
}

// SignWith signs a payload in any way.
func SignWith(alg jose.SignatureAlgorithm, key any, kid, typ string, payload []byte) (string, error) {
	options := (&jose.SignerOptions{}).WithHeader("kid", kid)
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// ID is a new id for a token.
func (i *Issuer) ID() string { return fmt.Sprintf("id-%d", i.serial.Add(1)) }

// Logout makes a logout token. Without a session it means all of the subject's.
func (i *Issuer) Logout(audience, subject, session string) (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss": i.URL, "aud": audience, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": i.ID(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	if subject != "" {
		claims["sub"] = subject
	}
	if session != "" {
		claims["sid"] = session
	}
	return i.Sign("logout+jwt", claims)
}

// Event makes a security event token with one event about a subject of its own.
// family is "caep" or "risc".
func (i *Issuer) Event(audience, family, event, subject string) (string, error) {
	return i.Sign("secevent+jwt", i.EventClaims(audience, family, event, subject))
}

// EventClaims are those of Event, to be changed.
func (i *Issuer) EventClaims(audience, family, event, subject string) map[string]any {
	return map[string]any{
		"iss": i.URL, "aud": audience, "iat": time.Now().Unix(), "jti": i.ID(),
		"sub_id": map[string]any{"format": "iss_sub", "iss": i.URL, "sub": subject},
		"events": map[string]any{"https://schemas.openid.net/secevent/" + family + "/event-type/" + event: map[string]any{
			"event_timestamp": time.Now().Unix(), "initiating_entity": "admin",
		}},
	}
}
