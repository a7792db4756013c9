package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/audit"
)

// Login signs in with a password.
func (c *Client) Login(ctx context.Context, user string, password postern.Secret, code string) (api.Login, error) {
	// The one place in which the password leaves this process.
	in := api.Credentials{User: user, Password: password.Reveal(), Code: code}
	return call[api.Login](ctx, c, request{method: http.MethodPost, path: "/login"}, in)
}

// Logout ends the login.
func (c *Client) Logout(ctx context.Context) error {
	_, err := call[none](ctx, c, request{method: http.MethodPost, path: "/logout"}, nil)
	return err
}

// Whoami says as whom the client calls.
func (c *Client) Whoami(ctx context.Context) (api.Whoami, error) {
	return call[api.Whoami](ctx, c, request{method: http.MethodGet, path: "/whoami"}, nil)
}

// Resources lists what can be reached and asked for.
func (c *Client) Resources(ctx context.Context) ([]api.Resource, error) {
	return items[api.Resource](ctx, c, request{method: http.MethodGet, path: "/resources"})
}

// CreateToken gets a session token.
func (c *Client) CreateToken(ctx context.Context, in api.TokenRequest) (api.SessionToken, error) {
	return call[api.SessionToken](ctx, c, request{method: http.MethodPost, path: "/tokens"}, in)
}

// Certify gets certificates for a key.
func (c *Client) Certify(ctx context.Context, in api.CertificateRequest) (api.Certificates, error) {
	return call[api.Certificates](ctx, c, request{method: http.MethodPost, path: "/certificates"}, in)
}

// Authorities are the keys that certificates are signed with.
func (c *Client) Authorities(ctx context.Context) (api.Authorities, error) {
	return call[api.Authorities](ctx, c, request{method: http.MethodGet, path: "/authorities"}, nil)
}

// Tokens lists tokens; identity "" is the caller's own.
func (c *Client) Tokens(ctx context.Context, identity string) ([]api.Token, error) {
	return items[api.Token](ctx, c, request{method: http.MethodGet, path: "/tokens", query: query("identity", identity)})
}

// RevokeToken revokes a token and ends the sessions that it opened.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/tokens/" + segment(id)}, nil)
	return err
}

// ServiceAccounts lists service accounts.
func (c *Client) ServiceAccounts(ctx context.Context) ([]postern.Account, error) {
	return items[postern.Account](ctx, c, request{method: http.MethodGet, path: "/service-accounts"})
}

// Users lists local users.
func (c *Client) Users(ctx context.Context) ([]postern.Account, error) {
	return items[postern.Account](ctx, c, request{method: http.MethodGet, path: "/users"})
}

// CreateServiceAccount makes a service account and returns its key.
func (c *Client) CreateServiceAccount(ctx context.Context, in api.NewServiceAccount) (api.ServiceKey, error) {
	return call[api.ServiceKey](ctx, c, request{method: http.MethodPost, path: "/service-accounts"}, in)
}

// RotateServiceAccount replaces a service account's key.
func (c *Client) RotateServiceAccount(ctx context.Context, name string) (api.ServiceKey, error) {
	return call[api.ServiceKey](ctx, c, request{method: http.MethodPost, path: "/service-accounts/" + segment(name) + "/rotate"}, nil)
}

// SetServiceAccount disables or enables a service account.
func (c *Client) SetServiceAccount(ctx context.Context, name string, disabled bool) (postern.Account, error) {
	return call[postern.Account](ctx, c, request{method: http.MethodPost, path: "/service-accounts/" + segment(name) + onOff(disabled)}, nil)
}

// SetUser disables or enables a local user.
func (c *Client) SetUser(ctx context.Context, name string, disabled bool) (postern.Account, error) {
	return call[postern.Account](ctx, c, request{method: http.MethodPost, path: "/users/" + segment(name) + onOff(disabled)}, nil)
}

func onOff(disabled bool) string {
	if disabled {
		return "/disable"
	}
	return "/enable"
}

// DeleteServiceAccount removes a service account.
func (c *Client) DeleteServiceAccount(ctx context.Context, name string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/service-accounts/" + segment(name)}, nil)
	return err
}

// Reviews lists reviews, newest first; state "" is any, limit 0 all.
func (c *Client) Reviews(ctx context.Context, state postern.ReviewState, identity string, limit int) ([]postern.Review, error) {
	return pages[postern.Review](ctx, c, "/reviews", query("state", string(state), "identity", identity), limit)
}

// Review returns a review.
func (c *Client) Review(ctx context.Context, id string) (postern.Review, error) {
	return call[postern.Review](ctx, c, request{method: http.MethodGet, path: "/reviews/" + segment(id)}, nil)
}

// Vote approves or denies a review.
func (c *Client) Vote(ctx context.Context, id string, approve bool, reason string) (postern.Review, error) {
	verb := "/deny"
	if approve {
		verb = "/approve"
	}
	return call[postern.Review](ctx, c, request{method: http.MethodPost, path: "/reviews/" + segment(id) + verb}, api.Opinion{Reason: reason})
}

// Sessions lists sessions, newest first; limit 0 is all.
func (c *Client) Sessions(ctx context.Context, f postern.SessionFilter) ([]postern.SessionInfo, error) {
	q := query("identity", f.Identity, "resource", f.Resource)
	if f.Live != nil {
		q.Set("live", strconv.FormatBool(*f.Live))
	}
	return pages[postern.SessionInfo](ctx, c, "/sessions", q, f.Limit)
}

// SearchCommands returns commands that a filter picks, newest first.
func (c *Client) SearchCommands(ctx context.Context, f api.CommandFilter) ([]api.FoundCommand, error) {
	return pages[api.FoundCommand](ctx, c, "/commands", query("text", f.Text, "identity", f.Identity, "resource", f.Resource), f.Limit)
}

// Session returns a session.
func (c *Client) Session(ctx context.Context, id string) (postern.SessionInfo, error) {
	return call[postern.SessionInfo](ctx, c, request{method: http.MethodGet, path: "/sessions/" + segment(id)}, nil)
}

// Events calls fn with each event of a session, as a JSON line. Where the
// recording can't be read to its end, the error is a [*StreamError].
func (c *Client) Events(ctx context.Context, id string, follow bool, fn func(line []byte) error) error {
	q := url.Values{}
	if follow {
		q.Set("follow", "true")
	}
	return c.lines(ctx, request{method: http.MethodGet, path: "/sessions/" + segment(id) + "/events", query: q}, fn)
}

// Replay writes a session's transcript to w, at a speed; 0 is all at once.
func (c *Client) Replay(ctx context.Context, id string, speed float64, skipIdle time.Duration, w io.Writer) error {
	q := query("speed", strconv.FormatFloat(speed, 'f', -1, 64), "skip_idle", strconv.Itoa(int(skipIdle/time.Second)))
	return c.copyText(ctx, request{path: "/sessions/" + segment(id) + "/replay", query: q}, w)
}

// Kill ends a live session.
func (c *Client) Kill(ctx context.Context, id, reason string) (api.Killed, error) {
	return call[api.Killed](ctx, c, request{method: http.MethodPost, path: "/sessions/" + segment(id) + "/kill"}, api.Farewell{Reason: reason})
}

// DeleteRecording destroys a recording's key, and removes it.
func (c *Client) DeleteRecording(ctx context.Context, id, reason string) error {
	_, err := call[none](ctx, c, request{method: http.MethodDelete, path: "/sessions/" + segment(id) + "/recording", query: query("reason", reason)}, nil)
	return err
}

// Objects lists the objects in force; kind "" is all.
func (c *Client) Objects(ctx context.Context, kind string) ([]api.Document, error) {
	return items[api.Document](ctx, c, request{method: http.MethodGet, path: "/objects", query: query("kind", kind)})
}

// Object returns an object.
func (c *Client) Object(ctx context.Context, kind, name string) (api.Document, error) {
	return call[api.Document](ctx, c, request{method: http.MethodGet, path: "/objects/" + segment(kind) + "/" + segment(name)}, nil)
}

// Plan says what applying YAML documents would change.
func (c *Client) Plan(ctx context.Context, documents []byte) (api.Changes, error) {
	return call[api.Changes](ctx, c, yamlRequest("/objects/plan", documents), nil)
}

// Apply puts YAML documents in force.
func (c *Client) Apply(ctx context.Context, documents []byte) (api.Changes, error) {
	return call[api.Changes](ctx, c, yamlRequest("/objects/apply", documents), nil)
}

// DeleteObject takes an object out of force.
func (c *Client) DeleteObject(ctx context.Context, kind, name string) (api.Changes, error) {
	return call[api.Changes](ctx, c, request{method: http.MethodDelete, path: "/objects/" + segment(kind) + "/" + segment(name)}, nil)
}

// Seal seals a secret for a {sealed: …} reference.
func (c *Client) Seal(ctx context.Context, secret postern.Secret) (api.Sealed, error) {
	// As with a login, the secret leaves this process here.
	return call[api.Sealed](ctx, c, request{method: http.MethodPost, path: "/secrets/seal"}, api.Unsealed{Secret: secret.Reveal()})
}

// Explain says what would be decided over a command, and why.
func (c *Client) Explain(ctx context.Context, q api.Question) (api.Answer, error) {
	return call[api.Answer](ctx, c, request{method: http.MethodPost, path: "/policy/explain"}, q)
}

// Classify says what the columns of a resource hold.
func (c *Client) Classify(ctx context.Context, resource string) (api.Classified, error) {
	return call[api.Classified](ctx, c, request{method: http.MethodPost, path: "/resources/" + url.PathEscape(resource) + "/classify"}, nil)
}

// TestPolicy holds the policy in force against a YAML file of expectations.
func (c *Client) TestPolicy(ctx context.Context, tests []byte) (api.TestRun, error) {
	return call[api.TestRun](ctx, c, yamlRequest("/policy/test", tests), nil)
}

// Status says how the gateway is.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return call[api.Status](ctx, c, request{method: http.MethodGet, path: "/status"}, nil)
}

func yamlRequest(path string, documents []byte) request {
	return request{method: http.MethodPost, path: path, body: documents, contentType: "application/yaml"}
}

// query makes parameters of names and values; empty values are left out.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// items is a list that comes in one page.
func items[T any](ctx context.Context, c *Client, r request) ([]T, error) {
	page, err := call[api.Page[T]](ctx, c, r, nil)
	return page.Items, err
}

// pageSize is how much a list asks for at a time.
const pageSize = 100

// pages reads a list page by page, up to limit; 0 is all of it.
func pages[T any](ctx context.Context, c *Client, path string, q url.Values, limit int) ([]T, error) {
	all := []T{}
	for {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-len(all))
		}
		q.Set("limit", strconv.Itoa(size))
		page, err := call[api.Page[T]](ctx, c, request{method: http.MethodGet, path: path, query: q}, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" || (limit > 0 && len(all) >= limit) {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

// Audit calls fn with the last n entries of the audit log, and with follow goes
// on as entries are written. Each is a JSON line.
func (c *Client) Audit(ctx context.Context, n int, follow bool, fn func(line []byte) error) error {
	q := url.Values{"limit": {strconv.Itoa(n)}}
	if follow {
		q.Set("follow", "true")
	}
	return c.lines(ctx, request{method: http.MethodGet, path: "/audit", query: q}, fn)
}

// ExportAudit writes the whole audit log to w.
func (c *Client) ExportAudit(ctx context.Context, w io.Writer) error {
	return c.copyText(ctx, request{path: "/audit/export"}, w)
}

// VerifyAudit checks the whole audit log against its checkpoints, and each
// session's recording, if recordings is true, against the log.
func (c *Client) VerifyAudit(ctx context.Context, recordings bool) (api.AuditReport, error) {
	var report api.AuditReport
	q := url.Values{"recordings": {strconv.FormatBool(recordings)}}
	// It may take minutes: the answer begins at once, and is a stream.
	resp, err := c.send(ctx, request{method: http.MethodPost, path: "/audit/verify", query: q})
	if err != nil {
		return report, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&report); err != nil {
		return report, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return report, nil
}

// SearchAudit returns entries of the audit log that a filter picks, newest first.
func (c *Client) SearchAudit(ctx context.Context, f postern.AuditFilter) ([]postern.AuditRecord, error) {
	q := query("identity", f.Identity, "actor", f.Actor, "resource", f.Resource, "session", f.Session, "action", f.Action,
		"outcome", f.Outcome, "verb", f.Verb, "object", f.Object, "rule", f.Rule, "target", f.Target, "text", f.Text)
	for name, t := range map[string]time.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return pages[postern.AuditRecord](ctx, c, "/audit/search", q, f.Limit)
}

// AuditCheckpoint has what the audit log holds now signed, and returns that.
func (c *Client) AuditCheckpoint(ctx context.Context) (string, error) {
	signed, err := call[api.AuditCheckpoint](ctx, c, request{method: http.MethodGet, path: "/audit/checkpoint"}, nil)
	return signed.Checkpoint, err
}

// AuditProof proves that an entry is in the audit log.
func (c *Client) AuditProof(ctx context.Context, seq int64) (audit.Proof, error) {
	return call[audit.Proof](ctx, c, request{method: http.MethodGet, path: "/audit/entries/" + strconv.FormatInt(seq, 10) + "/proof"}, nil)
}

// AuditExtension proves that the audit log is a continuation of what it was
// when it had a number of entries.
func (c *Client) AuditExtension(ctx context.Context, from int64) (audit.Extension, error) {
	q := url.Values{"from": {strconv.FormatInt(from, 10)}}
	return call[audit.Extension](ctx, c, request{method: http.MethodGet, path: "/audit/consistency", query: q}, nil)
}

// AuditKey returns the key that verifies the audit log's checkpoints.
func (c *Client) AuditKey(ctx context.Context) (api.AuditKey, error) {
	return call[api.AuditKey](ctx, c, request{method: http.MethodGet, path: "/audit/key"}, nil)
}
