package main

import (
	"context"
	"errors"
	"os"

	"postern/internal/api/client"
)

// deviceLogin signs in through a browser on any other machine.
func (a *app) deviceLogin(ctx context.Context, c *client.Client) (client.Tokens, error) {
	d, err := c.StartDevice(ctx, machine())
	if err != nil {
		return client.Tokens{}, err
	}
	a.ui.say("On any machine with a browser, open %s and type the code %s, or follow\n  %s", d.URL, d.UserCode, d.Complete)
	a.ui.say("Waiting until %s …", clock(d.Expires))
	t, err := c.WaitDevice(ctx, d)
	var says *client.OAuthError
	switch {
	case errors.As(err, &says) && says.Code == "access_denied":
		return t, &exitError{code: exitSignedIn, err: errors.New("the sign-in was denied in the browser")}
	case errors.As(err, &says) && says.Code == "expired_token", errors.Is(err, context.DeadlineExceeded):
		return t, errors.New("nobody approved the code in time; run postern login --device again")
	}
	return t, err
}

// machine is what this machine calls itself, for whoever approves its login.
func machine() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name[:min(len(name), 128)]
}
