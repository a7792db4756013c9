package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"postern"
	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// Analyse implements [protocol.Analyser]. Names are looked up as in a session
// with the default search_path. Until a session has read the database's
// catalog, they are taken for tables of schema public.
func (p *Protocol) Analyse(r postern.Resource, text string) []postern.Command {
	env := &analysis.Env{
		Catalog: p.relay.catalogs.known(r), SearchPath: []string{"public"}, User: r.Credentials.Username, Database: r.Database,
		StandardConformingStrings: true, Offline: true,
	}
	a := p.relay.analyzer.Analyze(text, env)
	commands := make([]postern.Command, len(a.Statements))
	for i := range a.Statements {
		commands[i] = a.Statements[i].Command
		if env.Catalog == nil {
			commands[i].Objects = assumePublic(commands[i].Objects)
		}
	}
	return commands
}

// assumePublic gives names of no known schema the one they most likely have.
func assumePublic(objects []postern.Object) []postern.Object {
	objects = slices.Clone(objects)
	for i, o := range objects {
		if name, ok := strings.CutPrefix(o.Name, "?."); ok {
			objects[i].Name = "public." + name
		}
	}
	return objects
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
