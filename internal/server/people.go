package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"postern"
	"postern/internal/config"
	"postern/internal/identity"
	"postern/internal/identity/issuer"
	"postern/internal/identity/oidc"
)

// people is how people sign in: at the providers of the configuration, and at
// the built-in one, which is there for local users or when there is no other.
type people struct {
	providers oidc.Set
	issuer    *issuer.Issuer // nil: there is none
}

// openPeople makes the providers. It asks none of them anything: one that is
// down keeps people from signing in there, and the gateway from nothing.
func (s *Server) openPeople(ctx context.Context) error {
	for _, p := range s.cfg.Identity.OIDC {
		provider, err := oidc.New(s.providerConfig(p))
		if err != nil {
			return fmt.Errorf("identity.oidc: %w", err)
		}
		s.people.providers = append(s.people.providers, provider)
	}
	if len(s.cfg.Identity.OIDC) > 0 && len(s.cfg.Identity.Local.Users) == 0 {
		return nil
	}
	key, err := s.issuerKey(ctx)
	if err != nil {
		return err
	}
	s.people.issuer, err = issuer.New(issuer.Config{PublicURL: s.cfg.PublicURL, Key: key, Now: s.now, Log: s.log})
	if err != nil {
		return err
	}
	local, err := oidc.New(oidc.Config{
		Name: identity.LocalProvider, Title: "Local user", Issuer: s.people.issuer.URL(), ClientID: issuer.ClientID,
		Redirect: s.people.issuer.Callback(), Transport: s.people.issuer.Transport(), Now: s.now, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.people.providers = append(s.people.providers, local)
	return nil
}

func (s *Server) providerConfig(p config.OIDC) oidc.Config {
	cfg := oidc.Config{
		Name: p.Name, Title: p.Title, Issuer: p.Issuer, ClientID: p.ClientID, Scopes: p.Scopes, NameClaim: p.NameClaim, GroupsClaim: p.GroupsClaim,
		CAFile: p.CAFile, Place: p.Place, Redirect: s.cfg.PublicURL + "/auth/callback/" + p.Name, Now: s.now, Log: s.log,
	}
	if ref := (postern.SecretRef{Env: p.ClientSecret.Env, File: p.ClientSecret.File}); !ref.IsZero() {
		cfg.Secret = func(ctx context.Context) (postern.Secret, error) { return s.secrets.Secret(ctx, ref) }
	}
	return cfg
}

// issuerKey signs the built-in provider's ID tokens. It is made once and sealed
// in the store, so that several gateways have the same.
func (s *Server) issuerKey(ctx context.Context) (*ecdsa.PrivateKey, error) {
	const name, purpose = "issuer-key", "issuer key"
	sealed, err := s.store.Meta(ctx, name)
	if errors.Is(err, postern.ErrNotFound) {
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, fmt.Errorf("make the issuer key: %w", err)
		}
		der, marshalErr := x509.MarshalECPrivateKey(key)
		if marshalErr != nil {
			return nil, fmt.Errorf("make the issuer key: %w", marshalErr)
		}
		fresh, sealErr := s.vault.Seal(purpose, der)
		if sealErr != nil {
			return nil, fmt.Errorf("seal the issuer key: %w", sealErr)
		}
		sealed, err = s.store.AddMeta(ctx, name, fresh)
	}
	if err != nil {
		return nil, fmt.Errorf("read the issuer key: %w", err)
	}
	der, err := s.vault.Unseal(purpose, sealed)
	if err != nil {
		return nil, fmt.Errorf("open the issuer key: %w", err)
	}
	return x509.ParseECPrivateKey(der)
}

// renewEvery is how often the gateway looks for logins to ask providers about.
const renewEvery = time.Minute

// renewLogins asks providers whether they still stand by their people.
func (s *Server) renewLogins(ctx context.Context) error {
	tick := time.NewTicker(min(renewEvery, s.cfg.Sessions.RefreshEvery))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.identity.RenewLogins(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("logins can't be renewed", "error", err)
			}
		}
	}
}

// noteUnasked writes what happens without anybody's doing into the audit log.
func (s *Server) noteUnasked(ctx context.Context, entry postern.AuditEntry) {
	entry.Time = s.now().UTC()
	if err := s.audit.Append(ctx, entry); err != nil {
		s.log.Error("audit log can't be written", "action", entry.Action, "error", err)
	}
}
