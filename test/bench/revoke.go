package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/signals/signalstest"
	"postern/internal/pgserver"
	"postern/internal/store"
)

// revoked is how fast live sessions end after an event.
type revoked struct {
	event    string
	sessions int
	// gateway is what the audit log says: from the moment at which the event was
	// accepted until a session's client was cut off and its backend was gone.
	gateway []time.Duration
	// client is what clients saw: from the moment at which the event was sent.
	client []time.Duration
	// last is when no query ran any more, by the server's own word.
	last time.Duration
	// silent are the clients that saw their connection break without being told
	// why: on a machine that is busy enough, the last word comes too late.
	silent int
}

// revokeGoal is the goal for the 99th percentile of the gateway's latency.
const revokeGoal = 250 * time.Millisecond

// revocations has its own gateway, and its own issuer.
type revocations struct {
	world   *world
	gateway *gateway
	issuer  *signalstest.Issuer
	https   *http.Client
	store   *store.DB
	people  *identity.Service
	scim    string            // the directory's token
	group   string            // the id of group engineering
	ids     map[string]string // of the directory's people, by name
}

const (
	eventAudience  = "https://gw.example/events/corp"
	logoutAudience = "the-gateways-client-id"
)

// measureRevocations ends cfg.sessions sessions that run a query, with one
// event of each kind.
func (w *world) measureRevocations(ctx context.Context) (all []revoked, err error) {
	r := &revocations{world: w, ids: map[string]string{}}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for i, event := range []struct {
		name string
		send func(ctx context.Context, person, subject string) error
	}{
		{"SCIM, active: false", r.deactivate},
		{"back-channel logout", r.logout},
		{"CAEP session-revoked", r.revoke},
	} {
		progress("%d sessions ended by %s", w.cfg.sessions, event.name)
		one, err := r.measure(ctx, event.name, fmt.Sprintf("person%d", i), fmt.Sprintf("sub-%d", i), event.send)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", event.name, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (r *revocations) open(ctx context.Context) (err error) {
	if r.issuer, err = signalstest.New(); err != nil {
		return err
	}
	config := fmt.Sprintf("identity:\n  oidc: [{name: corp, issuer: %q, client_id: %s}]\n  signals: [{name: corp, issuer: %q, audience: %q, provider: corp}]\n",
		r.issuer.URL, logoutAudience, r.issuer.URL, eventAudience)
	if r.gateway, err = r.world.startGateway(ctx, plan{config: config}); err != nil {
		return err
	}
	pem, err := os.ReadFile(r.gateway.ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	r.https = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "localhost"}}}
	out, err := r.gateway.cli(ctx, bootstrapKey, "scim-token", "create", "directory", "--provider", "corp", "--subjects", "external-id", "-o", "json")
	if err != nil {
		return err
	}
	var key struct{ Token string }
	if err := json.Unmarshal(out, &key); err != nil {
		return err
	}
	r.scim = key.Token
	// The gateway's own store, where people sign in: a provider with a browser is no part of what is measured.
	if r.store, err = store.Open(ctx, "sqlite", filepath.Join(r.gateway.dir, "data")); err != nil {
		return err
	}
	r.people, err = identity.New(identity.Config{
		Store: r.store, End: func(time.Time, string, func(postern.SessionInfo) bool) int { return 0 },
		Seal:   func(string, []byte) (string, error) { return "", errors.New("nothing is sealed here") },
		Unseal: func(string, string) ([]byte, error) { return nil, errors.New("nothing is sealed here") },
	})
	return err
}

func (r *revocations) close() error {
	var errs []error
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.gateway != nil {
		errs = append(errs, r.gateway.stop())
	}
	if r.issuer != nil {
		errs = append(errs, r.issuer.Close())
	}
	return errors.Join(errs...)
}

// measure has a person open sessions that run a query, sends an event about
// them, and waits for the ends.
func (r *revocations) measure(ctx context.Context, name, person, subject string, send func(ctx context.Context, person, subject string) error) (revoked, error) {
	out := revoked{event: name, sessions: r.world.cfg.sessions}
	t, err := r.signIn(ctx, person, subject)
	if err != nil {
		return out, err
	}
	var clients sync.WaitGroup
	ended := make([]time.Time, out.sessions)
	var silent atomic.Int64
	for i := range out.sessions {
		conn, err := t.connect(ctx)
		if err != nil {
			return out, err
		}
		clients.Go(func() {
			_, err := conn.Exec(ctx, "SELECT pg_sleep(600)").ReadAll()
			ended[i] = time.Now()
			var told *pgconn.PgError
			if !errors.As(err, &told) || told.Code != "57P01" {
				silent.Add(1)
			}
			_ = conn.Close(context.WithoutCancel(ctx)) // it is closed already
		})
	}
	watch, err := pgconn.Connect(ctx, r.world.server.DSN(pgserver.Superuser, r.world.server.Password, database))
	if err != nil {
		return out, err
	}
	defer func() { _ = watch.Close(context.WithoutCancel(ctx)) }()
	if err := running(ctx, watch, out.sessions, 100*time.Millisecond); err != nil {
		return out, err
	}
	began := time.Now()
	if err := send(ctx, person, subject); err != nil {
		return out, err
	}
	if err := running(ctx, watch, 0, 5*time.Millisecond); err != nil {
		return out, err
	}
	out.last = time.Since(began)
	clients.Wait()
	for _, at := range ended {
		out.client = append(out.client, at.Sub(began))
	}
	if out.gateway, err = r.latencies(ctx, person, out.sessions); err != nil {
		return out, err
	}
	out.silent = int(silent.Load())
	return out, nil
}

// running waits until that many queries run, by the server's own word.
func running(ctx context.Context, watch *pgconn.PgConn, want int, every time.Duration) error {
	for {
		results, err := watch.Exec(ctx, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'").ReadAll()
		if err != nil {
			return err
		}
		if string(results[0].Rows[0][0]) == fmt.Sprint(want) {
			return nil
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// signIn makes a person known by their directory, and returns the way in with a
// session token of theirs.
func (r *revocations) signIn(ctx context.Context, person, subject string) (target, error) {
	id, err := r.create(ctx, "/Users", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": %q, "externalId": %q, "active": true}`, person, subject))
	if err != nil {
		return target{}, err
	}
	r.ids[person] = id
	if r.group == "" {
		r.group, err = r.create(ctx, "/Groups", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "engineering"}`)
		if err != nil {
			return target{}, err
		}
	}
	member := fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "add", "path": "members", "value": [{"value": %q}]}]}`, id)
	if _, err := r.directory(ctx, http.MethodPatch, "/Groups/"+r.group, member); err != nil {
		return target{}, err
	}
	login, err := r.people.StartLogin(ctx, postern.CLILogin, identity.Vouched{
		Identity: postern.Identity{Name: person, Kind: postern.User, Subject: "corp:" + subject}, SID: "session of " + person,
	}, identity.Where{})
	if err != nil {
		return target{}, err
	}
	token, err := r.gateway.cli(ctx, login.Token.Reveal(), "token", "orders-db", "--ttl", "1h")
	if err != nil {
		return target{}, err
	}
	r.gateway.tokens[person+" orders-db"] = strings.TrimSpace(string(token))
	return r.gateway.through(person, "orders-db", true), nil
}

// create makes a resource of the directory, and returns its id.
func (r *revocations) create(ctx context.Context, path, body string) (string, error) {
	answer, err := r.directory(ctx, http.MethodPost, path, body)
	if err != nil {
		return "", err
	}
	var made struct{ ID string }
	return made.ID, errors.Join(json.Unmarshal(answer, &made), err)
}

func (r *revocations) directory(ctx context.Context, method, path, body string) ([]byte, error) {
	return r.post(ctx, method, "/scim/v2"+path, "application/scim+json", body, r.scim)
}

func (r *revocations) post(ctx context.Context, method, path, contentType, body, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+r.gateway.https+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.https.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, err
}

func (r *revocations) deactivate(ctx context.Context, person, _ string) error {
	_, err := r.directory(ctx, http.MethodPatch, "/Users/"+r.ids[person],
		`{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "replace", "path": "active", "value": false}]}`)
	return err
}

func (r *revocations) logout(ctx context.Context, person, subject string) error {
	token, err := r.issuer.Logout(logoutAudience, subject, "session of "+person)
	if err != nil {
		return err
	}
	_, err = r.post(ctx, http.MethodPost, "/oauth/backchannel-logout/corp", "application/x-www-form-urlencoded", url.Values{"logout_token": {token}}.Encode(), "")
	return err
}

func (r *revocations) revoke(ctx context.Context, _, subject string) error {
	event, err := r.issuer.Event(eventAudience, "caep", "session-revoked", subject)
	if err != nil {
		return err
	}
	_, err = r.post(ctx, http.MethodPost, "/events/corp", "application/secevent+jwt", event, "")
	return err
}

// latencies are those of a person's sessions, as the audit log tells them. It
// waits until all of them are written.
func (r *revocations) latencies(ctx context.Context, person string, want int) ([]time.Duration, error) {
	for {
		out, err := r.gateway.cli(ctx, bootstrapKey, "audit", "export")
		if err != nil {
			return nil, err
		}
		var all []time.Duration
		for line := range bytes.Lines(out) {
			var e struct {
				Action, Identity, Outcome string
				LatencyUS                 int64 `json:"latency_us"`
			}
			if json.Unmarshal(line, &e) == nil && e.Action == "session.close" && e.Identity == person && e.Outcome == "ended" {
				all = append(all, time.Duration(e.LatencyUS)*time.Microsecond)
			}
		}
		if len(all) == want {
			return all, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// percentile is the smallest of all that p percent don't exceed.
func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

func (r *report) revocations(b *strings.Builder) {
	if len(r.revoked) == 0 {
		return
	}
	b.WriteString("\n| sessions that run a query, ended by | how many | p50 | p99 | goal | clients saw p50 | p99 | without a word | no query ran after |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1e3) }
	for _, one := range r.revoked {
		p99 := percentile(one.gateway, 99)
		fmt.Fprintf(b, "| %s | %d | %s | %s ms | < %s | %s | %s | %d | %s |\n", one.event, one.sessions, ms(percentile(one.gateway, 50)),
			against(float64(p99.Microseconds())/1e3, float64(revokeGoal.Milliseconds()), false, "%.0f"), ms(revokeGoal),
			ms(percentile(one.client, 50)), ms(percentile(one.client, 99)), one.silent, ms(one.last))
	}
}
