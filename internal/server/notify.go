package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"postern"
	"postern/internal/approval"
	"postern/internal/approval/notify"
	"postern/internal/config"
)

// openNotify makes what tells people of reviews.
func (s *Server) openNotify() error {
	var channels []notify.Channel
	for _, n := range s.cfg.Notify {
		c, err := s.channel(n)
		if err != nil {
			return fmt.Errorf("notify %s: %w", n.Name, err)
		}
		channels = append(channels, c)
	}
	var err error
	s.notices, err = notify.New(notify.Config{
		Channels: channels, Store: s.store, ReviewURL: s.reviewURL, Identity: s.named, Cast: s.reviews.Cast, Now: s.now, Log: s.log,
		Count: func(channel, outcome string) { s.metrics.notifications.WithLabelValues(channel, outcome).Inc() },
	})
	return err
}

// channel makes a channel of its configuration. Secrets are read at each use,
// so that one that is changed counts at once.
func (s *Server) channel(n config.Notify) (notify.Channel, error) {
	roots, err := rootsOf(n.CAFile)
	if err != nil {
		return notify.Channel{}, err
	}
	c := notify.Channel{
		Name: n.Name, Kind: n.Kind, For: n.For, ShowCommands: n.ShowCommands, URL: secretAt(n.URL), Secret: secretAt(n.Secret), Roots: roots, Team: n.Team,
		People: map[string]string{},
		Mail: notify.Mail{
			Host: n.SMTP.Host, Port: n.SMTP.Port, TLS: n.SMTP.TLS, From: n.From, To: n.To, Username: n.SMTP.Username, Password: secretAt(n.SMTP.Password),
			Roots: roots,
		},
	}
	for _, step := range n.Steps {
		c.Steps = append(c.Steps, approval.Step(step))
	}
	for _, p := range n.People {
		c.People[p.Slack] = p.Identity
	}
	return c, nil
}

func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // no pool is the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate")
	}
	return pool, nil
}

// secretAt reads a secret where the configuration says it is; nil: there is none.
func secretAt(source config.SecretSource) func(context.Context) (postern.Secret, error) {
	if source.IsZero() {
		return nil
	}
	return func(context.Context) (postern.Secret, error) { return source.Read() }
}

// named is whom "user:NAME" stands for now.
func (s *Server) named(ctx context.Context, ref string) (postern.Identity, error) {
	kind, name, _ := strings.Cut(ref, ":")
	return s.identity.Named(ctx, postern.IdentityKind(kind), name)
}
