package server

import (
	"context"

	"postern/internal/identity/authority"
)

// openAuthority opens the CA that certifies clients' keys and the SSH host key.
func (s *Server) openAuthority(ctx context.Context, _ Options) error {
	var err error
	s.authority, err = authority.Open(ctx, authority.Config{Store: s.store, Vault: s.vault, Hosts: s.names(), Now: s.now})
	return err
}
