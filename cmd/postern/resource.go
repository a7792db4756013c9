package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/api/client"
)

func newLsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "Resources that I can reach, that I could ask for, and how",
		Example: "  postern ls\n  postern ls -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		resources, err := c.Resources(cmd.Context())
		if err != nil {
			return err
		}
		return a.ui.show(f, resources, func() {
			rows := [][]string{}
			for _, r := range resources {
				rows = append(rows, []string{r.Name, r.Type, reach(r), orAny(r.Verbs), strings.Join(r.Access, ", "), how(r)})
			}
			a.ui.table([]string{"NAME", "TYPE", "REACH", "MAY", "BY ACCESS", "HOW"}, rows)
		})
	}
	return cmd
}

func reach(r api.Resource) string {
	switch {
	case r.Open:
		return "open"
	case r.Requestable:
		return "on request"
	default:
		return "not now"
	}
}

func how(r api.Resource) string {
	switch {
	case r.Open:
		return "postern connect " + r.Name
	case r.Requestable:
		return "postern request " + r.Name
	}
	return ""
}

func orAny(verbs []string) string {
	if len(verbs) == 0 {
		return "anything"
	}
	return strings.Join(verbs, ", ")
}

// printedToken is what `postern token -o json` prints.
type printedToken struct {
	Token     string    `json:"token"`
	User      string    `json:"user"`
	Host      string    `json:"host"`
	Port      int       `json:"port"`
	Database  string    `json:"database"`
	ExpiresAt time.Time `json:"expires_at"`
	DSN       string    `json:"dsn"`
}

func newTokenCommand(a *app) *cobra.Command {
	var ttl time.Duration
	var in api.TokenRequest
	cmd := &cobra.Command{
		Use:   "token RESOURCE",
		Short: "Print a session token",
		Long: "Print a session token: the short-lived password with which any native client enters, for one resource.\n" +
			"Without -o it prints the token alone.",
		Example: "  postern token orders-db --ttl 5m --uses 1\n  psql \"$(postern token orders-db -o dsn)\"\n  eval \"$(postern token orders-db -o env)\" && psql",
		Args:    args(1, 1, "the RESOURCE to open"),
	}
	cmd.AddCommand(newTokenLsCommand(a), newTokenRevokeCommand(a))
	f := formatFlag(cmd, "token", "dsn", "json", "yaml", "env")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it opens sessions, like 15m (default: the gateway's)")
	cmd.Flags().IntVar(&in.Uses, "uses", 0, "how many sessions it opens; 0: any number")
	cmd.Flags().StringVar(&in.Key, "key", "", "bind it to a key: the fingerprint, SHA256:…, of the certificate or SSH key that clients must show with it")
	networks := cmd.Flags().StringArray("network", nil, "bind it to a network, like 192.0.2.0/24; may be repeated")
	delegationFlag(cmd, &in.Delegation)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, t, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if ttl < 0 || in.Uses < 0 {
			return &usageError{err: errors.New("--ttl and --uses are not negative")}
		}
		if ttl > 0 {
			in.TTL = ttl.String()
		}
		for _, text := range *networks {
			network, err := netip.ParsePrefix(text)
			if err != nil {
				return &usageError{err: fmt.Errorf("--network: %q is no network like 192.0.2.0/24", text)}
			}
			in.Networks = append(in.Networks, network)
		}
		in.Resource = given[0]
		token, err := mint(cmd, c, in)
		if err != nil {
			return err
		}
		token.DSN = withCA(token.DSN, t.caFile)
		return a.printToken(f, token, t.caFile)
	}
	return cmd
}

func (a *app) printToken(f *format, token api.SessionToken, caFile string) error {
	switch f.value {
	case "dsn":
		a.ui.line("%s", token.DSN)
	case "env":
		n, err := nativeFor(token.Protocol)
		if err != nil {
			return err
		}
		for _, v := range append(n.environ(token, caFile), n.secret(token)...) {
			name, value, _ := strings.Cut(v, "=")
			a.ui.line("export %s=%s", name, shellQuoted(value))
		}
	case "json", "yaml":
		return a.ui.show(f, printedToken{
			Token: token.Token, User: token.User, Host: token.Host, Port: token.Port, Database: token.Database,
			ExpiresAt: token.ExpiresAt, DSN: token.DSN,
		}, nil)
	default:
		a.ui.line("%s", token.Token)
	}
	return nil
}

// mint gets a session token. A resource that the caller can't reach is denied,
// whether it exists or not.
func mint(cmd *cobra.Command, c *client.Client, in api.TokenRequest) (api.SessionToken, error) {
	token, err := c.CreateToken(cmd.Context(), in)
	if isStatus(err, 404) {
		return token, &exitError{code: exitDenied, err: err}
	}
	return token, err
}

func delegationFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "delegation", "", "act for whoever granted this delegation, dg_…")
}

// withCA adds the CA file to a connection string that wants its server's
// certificate checked.
func withCA(dsn, caFile string) string {
	u, err := url.Parse(dsn)
	if err != nil || caFile == "" || !u.Query().Has("sslmode") {
		return dsn
	}
	return dsn + "&sslrootcert=" + strings.ReplaceAll(url.QueryEscape(caFile), "%2F", "/")
}

// shellQuoted is text as one word of a POSIX shell.
func shellQuoted(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// secretOf wraps the token that an answer holds.
func secretOf(token api.SessionToken) postern.Secret { return postern.NewSecret(token.Token) }
