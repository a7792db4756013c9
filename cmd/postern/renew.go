package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"postern"
	"postern/internal/api/client"
)

// renewBefore is how long before its end a login's token is renewed.
const renewBefore = 30 * time.Second

// renewing finds the token of a stored login at each call, and renews it when
// it is about to end. nil: the login can't be renewed.
func (a *app) renewing(t target) func(context.Context) (postern.Secret, error) {
	if t.login.Refresh == "" {
		return nil
	}
	var mu sync.Mutex
	login := t.login
	return func(ctx context.Context) (postern.Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		if !a.fresh(login) {
			next, err := a.renew(ctx, t)
			if err != nil {
				return postern.Secret{}, err
			}
			login = next
		}
		return postern.NewSecret(login.Token), nil
	}
}

func (a *app) fresh(login storedLogin) bool {
	return login.Token != "" && a.now().Add(renewBefore).Before(login.ExpiresAt)
}

// renew renews a stored login. A refresh token is good once, so of several
// commands at a time one renews, and the others take what it got.
func (a *app) renew(ctx context.Context, t target) (storedLogin, error) {
	unlock, err := a.credentials().lock(ctx)
	if err != nil {
		return storedLogin{}, fmt.Errorf("renew the login: %w", err)
	}
	defer unlock()
	stored, err := a.credentials().read()
	if err != nil {
		return storedLogin{}, err
	}
	login, err := a.kept(t.server, stored.Logins[t.server])
	switch {
	case err != nil:
		return storedLogin{}, err
	case a.fresh(login):
		return login, nil
	case login.Refresh == "":
		return storedLogin{}, &signedOutError{server: t.server, expired: true}
	}
	c, err := client.New(client.Config{Server: t.server, CAFile: t.caFile, UserAgent: "postern/" + version()})
	if err != nil {
		return storedLogin{}, err
	}
	defer c.Close()
	got, err := c.Refresh(ctx, postern.NewSecret(login.Refresh))
	var refused *client.OAuthError
	if errors.As(err, &refused) && refused.Code == "invalid_grant" {
		return storedLogin{}, errors.Join(&signedOutError{server: t.server, expired: true}, a.forgetLogin(t.server))
	}
	if err != nil {
		return storedLogin{}, err
	}
	login.Token, login.ExpiresAt = got.Token.Reveal(), got.ExpiresAt
	login.Refresh, login.LoginEnds = got.Refresh.Reveal(), got.LoginEnds
	current := stored.Current
	if err := a.keep(t.server, login); err != nil {
		return storedLogin{}, err
	}
	if current != t.server { // another login is the one in use
		err = a.credentials().change(func(s *storedLogins) { s.Current = current })
	}
	return login, err
}
