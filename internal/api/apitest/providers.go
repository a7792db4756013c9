package apitest

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"postern/internal/api"
	"postern/internal/identity/directory"
	"postern/internal/identity/jwks"
	"postern/internal/identity/signals"
	"postern/internal/identity/signals/signalstest"
)

// EventAudience is the aud of the events that the world takes; LogoutAudience
// that of its logout tokens.
const (
	EventAudience  = "https://gw.example:8443/events/corp"
	LogoutAudience = "client-of-corp"
)

// openProviders makes what takes the word of a provider "corp".
func (w *World) openProviders(t testing.TB) error {
	t.Helper()
	w.Log = &Log{}
	var err error
	w.Directory, err = directory.New(directory.Config{
		Store: w.Store, Accounts: w.Identity, Limits: directory.Limits{Removals: 3, Share: 20},
		Named: func(group string) bool { return strings.Contains(objects, group) || group == "admins" },
	})
	if err != nil {
		return err
	}
	if w.Issuer, err = signalstest.New(); err != nil {
		return err
	}
	t.Cleanup(func() { _ = w.Issuer.Close() })
	keys, err := jwks.New(jwks.Config{Issuer: w.Issuer.URL})
	if err != nil {
		return err
	}
	w.Receivers = &api.Receivers{Revoker: w.Identity, Logouts: map[string]*signals.Receiver{}, Events: map[string]*signals.Receiver{}}
	for audience, receivers := range map[string]map[string]*signals.Receiver{EventAudience: w.Receivers.Events, LogoutAudience: w.Receivers.Logouts} {
		receivers["corp"], err = signals.New(signals.Config{Issuer: w.Issuer.URL, Audience: audience, Keys: keys, Memory: w.Store, Provider: "corp"})
		if err != nil {
			return err
		}
	}
	return nil
}

// Log is what the API logged.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
