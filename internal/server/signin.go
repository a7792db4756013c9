package server

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"postern"
	"postern/internal/identity"
	"postern/internal/protocol"
)

// signedInFor is how long a session token lasts that a client waits for.
const signedInFor = time.Minute

// signIn begins a login with a browser for a client that waits meanwhile. What
// the client gets is a token for one session on one resource, of whoever
// approved: the gate compares that with whom the client says it is.
func (s *Server) signIn(ctx context.Context, resource, client string, source netip.Addr) (protocol.SignIn, error) {
	code, device, err := s.identity.StartDevice(ctx, identity.Where{Client: client + " for " + resource, Source: source.String()})
	if err != nil {
		return protocol.SignIn{}, err
	}
	link := strings.TrimSuffix(s.cfg.PublicURL, "/") + "/device?user_code=" + identity.ShowUserCode(device.UserCode)
	return protocol.SignIn{Link: link, Token: func(ctx context.Context) (postern.Secret, error) {
		login, err := s.pollDevice(ctx, code)
		if err != nil {
			return postern.Secret{}, err
		}
		id, err := s.identity.AuthenticateBearer(ctx, login.Token)
		if err != nil {
			return postern.Secret{}, err
		}
		secret, _, err := s.identity.MintSession(ctx, id, identity.SessionTerms{Resource: resource, TTL: signedInFor, Uses: 1, Under: login.Token})
		return secret, err
	}}, nil
}

// pollDevice waits until a person has decided over a device.
func (s *Server) pollDevice(ctx context.Context, code postern.Secret) (identity.LoginTokens, error) {
	for {
		tokens, err := s.identity.PollDevice(ctx, code)
		if !errors.Is(err, identity.ErrDevicePending) && !errors.Is(err, identity.ErrDeviceTooFast) {
			return tokens, err
		}
		if !pause(ctx, identity.PollEvery) {
			return identity.LoginTokens{}, ctx.Err()
		}
	}
}
