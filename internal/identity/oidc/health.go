package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"postern/internal/identity"
)

// Health is how a provider answers: about itself, and when it is asked for its
// keys.
type Health struct{ Discovery, Keys identity.Answers }

// Look says how the provider answers. It asks where the last answer is older
// than [identity.LookAfter].
func (p *Provider) Look(ctx context.Context) Health {
	found, _ := p.discover(ctx, identity.LookAfter) // its error is kept
	if found != nil && p.keys.answers().Old(p.cfg.Now()) {
		ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
		defer cancel()
		p.askKeys(ask, found.keys)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := Health{Keys: p.keys.answers()}
	if p.found != nil {
		h.Discovery.Asked, h.Discovery.Good = p.found.at, p.found.at
	}
	if p.failed != nil {
		h.Discovery.Asked, h.Discovery.Err = p.failedAt, p.failed
	}
	return h
}

// askKeys asks for the keys, for no more than keysWatch to see the answer.
func (p *Provider) askKeys(ctx context.Context, where string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return // discover has checked the address
	}
	if resp, err := p.http.Do(req); err == nil {
		_ = resp.Body.Close() // it was read
	}
}

// keysWatch notes how the provider answers whoever asks for its keys: a verifier
// that lacks one, or Look.
type keysWatch struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	at   string // where the keys are; "": that isn't known yet
	last identity.Answers
}

// RoundTrip implements [http.RoundTripper].
func (w *keysWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if r.Method != http.MethodGet || r.URL.String() != w.address() {
		return resp, err
	}
	if err != nil {
		w.note(fmt.Errorf("get %s: %w", r.URL, err))
		return nil, err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it was read
	if err != nil {
		w.note(fmt.Errorf("read %s: %w", r.URL, err))
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	if resp.StatusCode != http.StatusOK {
		w.note(fmt.Errorf("%s answered %s", r.URL, resp.Status))
		return resp, nil
	}
	w.note(checkKeys(text))
	return resp, nil
}

// checkKeys says why a text is no set of keys to verify with.
func checkKeys(text []byte) error {
	var set jose.JSONWebKeySet
	switch {
	case json.Unmarshal(text, &set) != nil:
		return errors.New("what it answers is no set of keys (RFC 7517)")
	case len(set.Keys) == 0:
		return errors.New("its set of keys is empty")
	}
	return nil
}

func (w *keysWatch) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last.Asked, w.last.Err = w.now(), err
	if err == nil {
		w.last.Good = w.last.Asked
	}
}

func (w *keysWatch) answers() identity.Answers {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *keysWatch) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// watch says where the keys are from now on.
func (w *keysWatch) watch(at string) {
	if u, err := url.Parse(at); err == nil {
		at = u.String() // as requests spell it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = at
}
