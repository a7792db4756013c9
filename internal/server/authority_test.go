package server

import (
	"postern/internal/identity/authority"
	"postern/internal/protocol/ssh"
)

// The authority has what protocols ask of it besides a TLS handshake's proof.
var _ ssh.Authority = (*authority.Authority)(nil)
