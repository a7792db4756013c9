// Package apitest is a gateway's API with all that is behind it, for tests: the
// real store, identities, reviews, recordings and audit log in a folder of their
// own. Only what needs a database behind the gateway is not there: sessions are
// put in place by [World.Session].
package apitest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/approval"
	"postern/internal/audit"
	"postern/internal/gate"
	"postern/internal/identity"
	"postern/internal/identity/authority"
	"postern/internal/identity/directory"
	"postern/internal/identity/oidc"
	"postern/internal/identity/signals/signalstest"
	"postern/internal/policy"
	"postern/internal/recording"
	"postern/internal/search"
	"postern/internal/store"
	"postern/internal/vault"
)

// Password is every user's.
const Password = "correct horse battery"

// objects are in force when a world begins.
const objects = `kind: Resource
name: orders-db
type: postgres
labels: {env: prod}
address: 127.0.0.1:5432
database: orders
credentials: {username: app, password: {env: ORDERS_DB_PASSWORD}}
---
kind: Resource
name: secret-db
type: postgres
address: 127.0.0.1:5432
credentials: {username: app, password: {env: SECRET_DB_PASSWORD}}
---
kind: Access
name: engineers
to: ["group:engineering", "group:dba"]
on: {names: [orders-db]}
---
kind: Access
name: ci-at-night
to: ["group:ci"]
on: {names: [orders-db]}
within: {networks: [192.0.2.0/24]}
---
kind: Rule
name: no-drop
when: command.verb == "drop"
then: deny
message: "Tables stay."
`

// OnRequest are accesses that a test may put in force: [World.Request] does.
const OnRequest = `kind: Access
name: night-work
to: ["group:engineering", "group:dba"]
on: {names: [orders-db]}
request: {approvers: ["group:dba"], max: 4h}
---
kind: Access
name: emergency
to: ["group:engineering"]
on: {names: [orders-db]}
break_glass: {approvers: ["group:dba"], approvals: 0, reviewers: ["group:dba"]}
---
kind: Access
name: emergency-of-two
to: ["group:engineering"]
on: {names: [orders-db]}
break_glass: {approvers: ["group:dba", "group:admins"], reviewers: ["group:auditors"], max: 30m}
`

// World is an API with all that is behind it.
type World struct {
	URL    string
	CAFile string
	Dir    string // where the store is

	Store      *store.DB
	Identity   *identity.Service
	Authority  *authority.Authority
	Reviews    *approval.Service
	Recordings *recording.Folder
	Search     *search.Index
	Audit      *FailingAudit
	Live       *Live
	Objects    *Objects
	Vault      *vault.Vault
	Directory  *directory.Directory
	Issuer     *signalstest.Issuer // of provider and transmitter "corp"
	Receivers  *api.Receivers
	Log        *Log
	Providers  oidc.Set // set it before Config is called again

	Server   *httptest.Server
	stopping chan struct{}
	stop     sync.Once
}

// Stop tells the API that the gateway stops.
func (w *World) Stop() { w.stop.Do(func() { close(w.stopping) }) }

// New makes a world with the users alice (engineering), dave (dba), adam
// (admins), audrey (auditors) and the service account ci (ci).
func New(t testing.TB) *World {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	w := &World{Dir: dir, Live: &Live{told: make(chan string, 100)}, stopping: make(chan struct{})}
	var err error
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Vault, err = vault.Open(dir, postern.Secret{})
	check(err)
	w.Store, err = store.Open(ctx, "sqlite", dir)
	check(err)
	t.Cleanup(func() { check(w.Store.Close()) })
	key, err := audit.OpenKey(ctx, w.Store, w.Vault, audit.Origin, rand.Reader)
	check(err)
	log, err := audit.Open(context.WithoutCancel(ctx), audit.Config{Store: w.Store, Key: key})
	check(err)
	t.Cleanup(func() { check(log.Close(context.WithoutCancel(ctx))) })
	w.Audit = &FailingAudit{Log: log}
	w.Identity, err = identity.New(identity.Config{Store: w.Store, End: func(_ time.Time, reason string, match func(postern.SessionInfo) bool) int {
		return w.Live.End(reason, match)
	}, Seal: w.Vault.Seal, Unseal: w.Vault.Unseal})
	check(err)
	w.Authority, err = authority.Open(ctx, authority.Config{Store: w.Store, Vault: w.Vault, Hosts: []string{"gw.example"}, Now: time.Now})
	check(err)
	w.Reviews, err = approval.New(approval.Config{Store: w.Store, Audit: w.Audit, Policy: func() *policy.Set { return w.Objects.Set() }})
	check(err)
	w.Recordings, err = recording.Open(recording.Config{Dir: filepath.Join(dir, "recordings"), Keys: w.Vault, MinFree: -1, Kept: w.Store})
	check(err)
	w.Search, err = search.New(search.Config{
		Store: w.Store, Recordings: w.Recordings, Key: bytes.Repeat([]byte{7}, 32), Live: w.Live.Live, Log: slog.New(slog.DiscardHandler),
	})
	check(err)
	w.Objects, err = newObjects(w.Store, []byte(objects))
	check(err)
	for user, groups := range map[string][]string{
		"alice": {"engineering"}, "dave": {"dba"}, "adam": {"admins"}, "audrey": {"auditors"}, "rita": {"admins"},
	} {
		_, err := w.Identity.PutUser(ctx, user, groups, postern.NewSecret(Password))
		check(err)
	}
	check(w.openProviders(t))
	handler, err := api.New(w.Config())
	check(err)
	w.Server = httptest.NewTLSServer(handler)
	t.Cleanup(func() {
		w.Stop()
		w.Server.Close()
	})
	w.URL = w.Server.URL
	w.CAFile = filepath.Join(dir, "ca.pem")
	check(os.WriteFile(w.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Server.Certificate().Raw}), 0o600))
	return w
}

// Config is the API's configuration over the world.
func (w *World) Config() api.Config {
	return api.Config{
		Identity: w.Identity, Authority: w.Authority, Store: w.Store, Live: w.Live, Votes: w.Reviews, Requests: w.Reviews, Offline: w.Reviews, Recordings: w.Recordings, Search: w.Search, Audit: w.Audit, Objects: w.Objects,
		Vault: w.Vault, Providers: w.Providers,
		Seal:      func(s postern.Secret) (string, error) { return w.Vault.SealSecret("", s) },
		Policy:    w.Objects.Set,
		Analyse:   analyse,
		Endpoint:  endpoint,
		Enter:     func(context.Context, string, netip.Addr) (net.Conn, bool, error) { return nil, false, nil },
		Directory: w.Directory, Receivers: w.Receivers, Log: slog.New(slog.NewTextHandler(w.Log, nil)),
		Admins: []postern.Principal{"group:admins"}, Auditors: []postern.Principal{"group:auditors"},
		PublicURL: "https://gw.example:8443", Version: "test", Stopping: w.stopping,
	}
}

// analyse takes a text's first word for its verb: what SQL really does is
// tested where it is analysed.
func analyse(resource postern.Resource, text string) []postern.Command {
	protocol := resource.Type
	verb, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), " ")
	return []postern.Command{{Protocol: protocol, Verb: verb, Verbs: []string{verb}, Access: postern.Read, Text: text}}
}

func endpoint(protocol string) (api.Endpoint, bool) {
	return api.Endpoint{Host: "gw.example", Port: 15432, DSN: func(user string, token postern.Secret, resource string) string {
		return "postgresql://" + user + ":" + token.Reveal() + "@gw.example:15432/" + resource + "?sslmode=verify-full"
	}}, protocol == "postgres"
}

// Token is a login token of a user.
func (w *World) Token(t testing.TB, user string) postern.Secret {
	t.Helper()
	id, err := w.Identity.AuthenticatePassword(t.Context(), user, postern.NewSecret(Password), netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := w.Identity.MintLogin(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// Session puts a live session of a user in place, with a recording that is
// still being written. The caller closes the recording.
func (w *World) Session(t testing.TB, id, user string) (postern.SessionInfo, *recording.Writer) {
	t.Helper()
	info := postern.SessionInfo{
		ID: id, Identity: user, Kind: postern.User, Resource: "orders-db", Protocol: "postgres", Database: "orders",
		Access: "engineers", Source: "127.0.0.1", Client: "psql", StartedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	rec, err := w.Recordings.Start(info)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Store.PutSession(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	w.Live.add(info)
	command := postern.Command{Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read, Text: "SELECT 1"}
	err = rec.Append(
		postern.Event{Time: info.StartedAt, Kind: postern.EventOpen, Session: &info},
		postern.Event{Time: info.StartedAt.Add(time.Second), Kind: postern.EventCommand, N: 1, Command: &command},
		postern.Event{Time: info.StartedAt.Add(2 * time.Second), Kind: postern.EventDecision, N: 1, Decision: &postern.Decision{Verdict: postern.Allow}},
	)
	if err == nil {
		err = rec.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return info, rec
}

// EndSession ends a session that Session put in place.
func (w *World) EndSession(t testing.TB, info postern.SessionInfo, rec *recording.Writer) {
	t.Helper()
	info.EndedAt, info.Commands, info.EndReason = info.StartedAt.Add(3*time.Second), 1, "the client went away"
	if err := rec.Append(postern.Event{Time: info.EndedAt, Kind: postern.EventClose, Text: info.EndReason, Session: &info}); err != nil {
		t.Fatal(err)
	}
	digest, err := rec.Close()
	if err != nil {
		t.Fatal(err)
	}
	info.Digest = digest
	if err := w.Store.PutSession(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	w.Live.remove(info.ID)
}

// Review puts a pending review of a user's command in place, for group:dba to decide.
func (w *World) Review(t testing.TB, id, user string) postern.Review {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	text := "UPDATE payments SET status = $1 WHERE id = 7"
	rv := postern.Review{
		ID: id, State: postern.ReviewPending, Session: "ss_1", N: 1, Identity: user, Kind: postern.User, Resource: "orders-db", Command: text,
		Commands: []postern.Command{{
			Protocol: "postgres", Verb: "update", Verbs: []string{"update"}, Access: postern.Write, Text: text,
			Params: []postern.Param{{Value: []byte("refunded")}},
		}},
		Rule: "payments", Message: "Payments need a second pair of eyes.", Approvers: []postern.Principal{"group:dba"}, Approvals: 1,
		Digest: "d1", Policy: "p1", CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}
	if err := w.Reviews.Submit(t.Context(), rv); err != nil {
		t.Fatal(err)
	}
	return rv
}

// Request asks for an access to orders-db on behalf of a user of engineering:
// for night-work, which group:dba approves, or for emergency, by breaking the
// glass.
func (w *World) Request(t testing.TB, user, access string) postern.Review {
	t.Helper()
	if _, err := w.Objects.Apply(t.Context(), "test", []byte(OnRequest), Unaudited); err != nil {
		t.Fatal(err)
	}
	rv, err := w.Reviews.Request(t.Context(), policy.Asking{
		Identity: postern.Identity{Name: user, Kind: postern.User, Groups: []string{"engineering"}, Subject: "local:" + user},
		Resource: "orders-db", Access: access, For: time.Hour, Reason: "the migration", BreakGlass: access == "emergency",
	})
	if err != nil {
		t.Fatal(err)
	}
	return rv
}

// Offline issues an offline grant of emergency or emergency-of-two for a user,
// by adam.
func (w *World) Offline(t testing.TB, user, access string) (id, code string) {
	t.Helper()
	if _, err := w.Objects.Apply(t.Context(), "test", []byte(OnRequest), Unaudited); err != nil {
		t.Fatal(err)
	}
	secret, hash, err := w.Identity.NewOfflineCode()
	if err != nil {
		t.Fatal(err)
	}
	holder, err := w.Identity.OfflineHolderNamed(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	g, err := w.Reviews.IssueOffline(t.Context(), approval.Offline{
		Holder: holder, By: postern.Identity{Name: "adam", Kind: postern.User, Subject: "local:adam"}, Hash: hash,
		Accesses: []postern.OfflineAccess{{Resource: "orders-db", Access: access}}, Reason: "on call",
	})
	if err != nil {
		t.Fatal(err)
	}
	return g.ID, secret.Reveal()
}

// Unaudited keeps objects as they are put in place before a test.
func Unaudited(_ []policy.Change, keep func(context.Context) error) error {
	return keep(context.Background())
}

// Loopback is where everybody comes from.
var Loopback = netip.MustParseAddr("127.0.0.1")

// Live is a list of live sessions.
type Live struct {
	mu       sync.Mutex
	sessions []postern.SessionInfo
	Reasons  []string // why sessions were ended
	told     chan string
	deaf     bool
}

func (l *Live) add(info postern.SessionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = append(l.sessions, info)
}

func (l *Live) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions = slices.DeleteFunc(l.sessions, func(s postern.SessionInfo) bool { return s.ID == id })
}

// Live implements api.Live.
func (l *Live) Live() []postern.SessionInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sessions)
}

// End implements api.Live.
func (l *Live) End(reason string, match func(postern.SessionInfo) bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.sessions)
	l.sessions = slices.DeleteFunc(l.sessions, match)
	ended := before - len(l.sessions)
	for range ended {
		l.Reasons = append(l.Reasons, reason)
	}
	return ended
}

// Watch implements api.Live.
func (l *Live) Watch(id, who string) (stop func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !slices.ContainsFunc(l.sessions, func(s postern.SessionInfo) bool { return s.ID == id }):
		return nil, postern.ErrNotFound
	case l.deaf:
		return nil, &gate.DeniedError{Reason: "the session's client can't be told."}
	}
	l.told <- who + " watches"
	return func() { l.told <- who + " has stopped watching" }, nil
}

// Deafen makes sessions that can't be told anything of theirs.
func (l *Live) Deafen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = true
}

// Told is what sessions are told next of who watches them; "" when nothing is told.
func (l *Live) Told() string {
	select {
	case words := <-l.told:
		return words
	default:
		return ""
	}
}

// WaitTold is Told for what comes.
func (l *Live) WaitTold(t testing.TB) string {
	t.Helper()
	select {
	case words := <-l.told:
		return words
	case <-time.After(20 * time.Second):
		t.Fatal("no session is told anything")
		return ""
	}
}

// FailingAudit is an audit log that can be made to fail.
type FailingAudit struct {
	*audit.Log
	mu   sync.Mutex
	fail error
}

// Fail makes every later Append return err; nil mends the log.
func (a *FailingAudit) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = err
}

// Err implements api.AuditLog.
func (a *FailingAudit) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return a.fail
	}
	return a.Log.Err()
}

// Act implements api.AuditLog.
func (a *FailingAudit) Act(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error {
	if err := a.Err(); err != nil {
		return fmt.Errorf("%w: %w", postern.ErrUnaudited, err)
	}
	return a.Log.Act(ctx, entries, do)
}

// Append implements api.AuditLog.
func (a *FailingAudit) Append(ctx context.Context, e postern.AuditEntry) error {
	a.mu.Lock()
	err := a.fail
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return a.Log.Append(ctx, e)
}

// Actions are the actions in the log, in order, as "action outcome".
func (a *FailingAudit) Actions(t testing.TB) []string {
	t.Helper()
	records, err := a.Entries(t.Context(), postern.AuditFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range records {
		all = append(all, r.Action+" "+r.Outcome)
	}
	return all
}

// Objects holds objects in memory.
type Objects struct {
	store *store.DB
	mu    sync.Mutex
	set   *policy.Set
}

func newObjects(db *store.DB, documents []byte) (*Objects, error) {
	o := &Objects{store: db}
	parsed, err := policy.Parse("world.yaml", documents)
	if err != nil {
		return nil, err
	}
	o.set, err = policy.NewSet(parsed, options())
	return o, err
}

func options() policy.Options {
	return policy.Options{Protocols: []policy.ProtocolType{{Name: "postgres"}}, Detectors: []string{"email"}}
}

// Set is the policy in force.
func (o *Objects) Set() *policy.Set {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.set
}

// Problem implements api.Objects.
func (o *Objects) Problem() error { return nil }

// Keys implements [api.Objects].
func (*Objects) Keys() []policy.Keys { return policy.KeyTable(options().Protocols...) }

// Plan implements api.Objects.
func (o *Objects) Plan(_ context.Context, documents []byte) ([]policy.Change, error) {
	_, changes, err := o.with(documents)
	return changes, err
}

// Apply implements api.Objects.
func (o *Objects) Apply(_ context.Context, by string, documents []byte, act api.ObjectsAct) ([]policy.Change, error) {
	set, changes, err := o.with(documents)
	if err != nil {
		return nil, err
	}
	var put []postern.StoredObject
	for _, c := range changes {
		put = append(put, postern.StoredObject{ObjectKey: postern.ObjectKey{Kind: c.Kind, Name: c.Name}, YAML: "kept: by the gateway", UpdatedBy: by, UpdatedAt: time.Now()})
	}
	return changes, o.install(set, changes, act, func(ctx context.Context) error { return o.store.PutObjects(ctx, put, nil) })
}

func (o *Objects) install(set *policy.Set, changes []policy.Change, act api.ObjectsAct, keep func(context.Context) error) error {
	if err := act(changes, keep); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set = set
	return nil
}

func (o *Objects) with(documents []byte) (*policy.Set, []policy.Change, error) {
	parsed, err := policy.Parse(policy.SourceAPI, documents)
	if err != nil {
		return nil, nil, err
	}
	before := o.Set().Objects()
	after := slices.Clone(before)
	for _, p := range parsed {
		after = slices.DeleteFunc(after, func(e policy.Object) bool { return e.Ref() == p.Ref() })
		after = append(after, p)
	}
	set, err := policy.NewSet(after, options())
	if err != nil {
		return nil, nil, err
	}
	return set, set.ChangesFrom(before), nil
}

// Delete implements api.Objects.
func (o *Objects) Delete(_ context.Context, kind, name string, act api.ObjectsAct) ([]policy.Change, error) {
	before := o.Set().Objects()
	i := slices.IndexFunc(before, func(e policy.Object) bool { return e.Kind == kind && e.Name == name })
	if i < 0 {
		return nil, postern.ErrNotFound
	}
	if before[i].Source != policy.SourceAPI {
		return nil, &api.RefusedError{Reason: before[i].Ref() + " is kept in the file " + before[i].Source + "; delete it there"}
	}
	set, err := policy.NewSet(slices.Delete(slices.Clone(before), i, i+1), options())
	if err != nil {
		return nil, err
	}
	changes := set.ChangesFrom(before)
	return changes, o.install(set, changes, act, func(ctx context.Context) error {
		return o.store.PutObjects(ctx, nil, []postern.ObjectKey{{Kind: kind, Name: name}})
	})
}
