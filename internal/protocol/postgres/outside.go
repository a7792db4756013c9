package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"postern"
	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// Analyse implements [protocol.Analyser]. Names are looked up as a session
// would that has the default search_path, and no catalog.
func (p *Protocol) Analyse(text string) []postern.Command {
	a := p.relay.analyzer.Analyze(text, &analysis.Env{SearchPath: []string{"public"}, StandardConformingStrings: true})
	commands := make([]postern.Command, len(a.Statements))
	for i := range a.Statements {
		commands[i] = a.Statements[i].Command
	}
	return commands
}

// DSN implements [protocol.Addresser].
func (*Protocol) DSN(host string, port int, user string, token postern.Secret, resource string) string {
	u := url.URL{
		Scheme: "postgresql", User: url.UserPassword(user, token.Reveal()),
		Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/" + resource, RawQuery: "sslmode=verify-full",
	}
	return u.String()
}

// Check implements [protocol.Checker].
func (*Protocol) Check(ctx context.Context, s *gate.Session) error {
	conn, err := dialUpstream(ctx, s, s.Database(), nil)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT 1").ReadAll(); err != nil {
		return fmt.Errorf("ask %s: %w", s.Resource().Name, err)
	}
	return conn.Close(ctx)
}
