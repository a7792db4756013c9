package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/api"
	"postern/internal/identity/jwks"
	"postern/internal/identity/signals"
)

// receivers take what providers say about their people: ends of logins from
// those that people sign in through, and events from transmitters.
func (s *Server) receivers() (*api.Receivers, error) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_provider_events_total", Help: "What providers said about their people, by receiver, event and outcome (acted, ignored, replayed, refused, failed).",
	}, []string{"receiver", "event", "outcome"})
	s.metrics.registry.MustRegister(events)
	out := &api.Receivers{
		Logouts: map[string]*signals.Receiver{}, Events: map[string]*signals.Receiver{}, Revoker: s.identity,
		Took: func(receiver, event, outcome string) { events.WithLabelValues(receiver, event, outcome).Inc() },
	}
	if err := s.logoutReceivers(out.Logouts); err != nil {
		return nil, err
	}
	for _, t := range s.cfg.Identity.Signals {
		keys, err := jwks.New(jwks.Config{
			Issuer: t.Issuer, URL: t.JWKSURL, Now: s.now,
			Discovery: []string{"/.well-known/ssf-configuration", "/.well-known/openid-configuration"},
		})
		if err != nil {
			return nil, fmt.Errorf("identity.signals %s: %w", t.Name, err)
		}
		out.Events[t.Name], err = signals.New(signals.Config{
			Issuer: t.Issuer, Audience: t.Audience, Keys: keys, Memory: s.store, MaxAge: t.MaxAge, Now: s.now,
			Provider: t.Provider, SubIssuer: s.issuerOf(t.Provider),
		})
		if err != nil {
			return nil, fmt.Errorf("identity.signals %s: %w", t.Name, err)
		}
	}
	return out, nil
}

// logoutReceivers take the ends of logins at the providers that people sign in
// through.
func (s *Server) logoutReceivers(out map[string]*signals.Receiver) error {
	for _, p := range s.cfg.Identity.OIDC {
		client, err := issuerClient(p.CAFile)
		if err != nil {
			return fmt.Errorf("provider %s: %w", p.Name, err)
		}
		keys, err := jwks.New(jwks.Config{Issuer: p.Issuer, Now: s.now, HTTP: client})
		if err != nil {
			return fmt.Errorf("provider %s: %w", p.Name, err)
		}
		out[p.Name], err = signals.New(signals.Config{Issuer: p.Issuer, Audience: p.ClientID, Keys: keys, Memory: s.store, Now: s.now, Provider: p.Name})
		if err != nil {
			return fmt.Errorf("provider %s: %w", p.Name, err)
		}
	}
	return nil
}

// issuerClient calls issuers, whose certificates are checked against those of a
// file; "": the system's.
func issuerClient(file string) (*http.Client, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate", file)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	return &http.Client{Transport: transport}, nil
}

// issuerOf is a provider's issuer, as subjects name it; "" when people don't
// sign in through it.
func (s *Server) issuerOf(name string) string {
	for _, p := range s.cfg.Identity.OIDC {
		if p.Name == name {
			return p.Issuer
		}
	}
	return ""
}
