package server

import (
	"fmt"

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

// issuerOf is a provider's issuer, as subjects name it; "" when people don't
// sign in through it.
func (s *Server) issuerOf(string) string { return "" }
