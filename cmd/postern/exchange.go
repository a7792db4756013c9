package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"postern"
	"postern/internal/api/client"
)

// exchanging keeps the login that a JWT in POSTERN_TOKEN was exchanged for, as a
// JWT counts once and a job runs several commands. It is kept where `postern
// login` keeps logins, under the JWT's hash.
func (a *app) exchanging(t target) func(context.Context, func(context.Context) (client.Exchanged, error)) (postern.Secret, error) {
	if !client.IsJWT(t.token) {
		return nil
	}
	sum := sha256.Sum256([]byte(t.server + "\x00" + t.token.Reveal()))
	name := hex.EncodeToString(sum[:])
	kept := func() (postern.Secret, bool) {
		stored, err := a.credentials().read()
		login, ok := stored.Exchanged[name]
		if err != nil || !ok || !a.now().Before(login.ExpiresAt) {
			return postern.Secret{}, false
		}
		return postern.NewSecret(login.Token), true
	}
	return func(ctx context.Context, exchange func(context.Context) (client.Exchanged, error)) (postern.Secret, error) {
		if token, ok := kept(); ok {
			return token, nil
		}
		got, err := exchange(ctx)
		var refused *client.GrantError
		if errors.As(err, &refused) { // by now a command beside this one may have a login for it
			if token, ok := kept(); ok {
				return token, nil
			}
		}
		if err != nil {
			return postern.Secret{}, err
		}
		// Where it can't be kept, this command goes on; the next needs a new JWT.
		if a.credentials().path != "" {
			err = a.credentials().change(func(s *storedLogins) {
				for other, login := range s.Exchanged {
					if !a.now().Before(login.ExpiresAt) {
						delete(s.Exchanged, other)
					}
				}
				if s.Exchanged == nil {
					s.Exchanged = map[string]storedLogin{}
				}
				s.Exchanged[name] = storedLogin{User: got.User, Token: got.Token.Reveal(), ExpiresAt: got.ExpiresAt}
			})
			if err != nil {
				a.ui.say("warning: "+"the login can't be kept, so that the next command needs a new token: %v", err)
			}
		}
		return got.Token, nil
	}
}
