package server

import (
	"context"
	"errors"

	"postern"
	"postern/internal/config"
	"postern/internal/identity"
	"postern/internal/identity/authority"
	"postern/internal/identity/workload"
)

// openAuthority opens the CA that certifies clients' keys and the SSH host key,
// and compiles whose other tokens are trusted.
func (s *Server) openAuthority(ctx context.Context, _ Options) error {
	var err error
	s.authority, err = authority.Open(ctx, authority.Config{Store: s.store, Vault: s.vault, Hosts: s.names(), Now: s.now})
	if err != nil {
		return err
	}
	s.workloads, err = workload.New(workload.Config{Rules: workloadRules(s.cfg), Store: s.store, Now: s.now})
	return err
}

// workloadRules are the configured rules.
func workloadRules(cfg config.Config) []workload.Rule {
	var rules []workload.Rule
	for _, w := range cfg.Identity.Workloads {
		rules = append(rules, workload.Rule{
			Name: w.Name, Issuer: w.Issuer, Audience: w.Audience, Match: w.Match, Identity: w.Identity, Groups: w.Groups,
			Life: w.TTL, Reuse: w.Reuse, JWKSURL: w.JWKSURL, JWKSFile: w.JWKSFile, CAFile: w.CAFile, Place: w.Place,
		})
	}
	return rules
}

// admit lets the gate's clients in, and counts refusals of what is known: a
// token that was copied shows there.
func (s *Server) admit(ctx context.Context, cred postern.Credential) (postern.Admission, error) {
	adm, err := s.identity.Admit(ctx, cred)
	var refused *identity.RefusedError
	if errors.As(err, &refused) {
		s.metrics.misused.WithLabelValues(string(refused.Token.Kind)).Inc()
	}
	return adm, err
}
