package server

import (
	"context"
	"fmt"

	"postern/internal/identity/oidc"
	"postern/internal/vault"
)

// providers asks each identity provider what it says of itself, as a sign-in
// would, and looks for the client's secret.
func (x *examination) providers(ctx context.Context) {
	s := &Server{cfg: x.cfg, log: x.o.Log, now: x.o.Now, secrets: &vault.Resolver{Log: x.o.Log}}
	for _, p := range x.cfg.Identity.OIDC {
		check := "identity provider " + p.Name
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		provider, err := oidc.New(s.providerConfig(p))
		if err == nil {
			err = provider.Check(ctx)
		}
		cancel()
		x.note(check, fmt.Sprintf("%s answers; its redirect URI for the gateway is %s", p.Issuer, s.providerConfig(p).Redirect), err,
			"nobody can sign in there meanwhile; compare issuer with the provider's own /.well-known/openid-configuration, its certificate with ca_file, and look for client_secret")
	}
}
