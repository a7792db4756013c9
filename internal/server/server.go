// Package server builds a gateway from its configuration, and runs it: it
// owns the listeners, the reload of objects and the way to a quiet end.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"postern"
	"postern/internal/approval"
	"postern/internal/approval/notify"
	"postern/internal/audit"
	"postern/internal/config"
	"postern/internal/gate"
	"postern/internal/identity"
	"postern/internal/identity/authority"
	"postern/internal/identity/workload"
	"postern/internal/mask"
	"postern/internal/policy"
	"postern/internal/protocol"
	"postern/internal/protocol/all"
	"postern/internal/recording"
	"postern/internal/search"
	"postern/internal/store"
	"postern/internal/upstream"
	"postern/internal/vault"
)

// Options are what a server takes from its process, besides the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	// MasterKey opens the vault; the zero Secret: the file in data_dir.
	MasterKey postern.Secret
	// BootstrapKey makes the service account `bootstrap` in an empty store.
	BootstrapKey postern.Secret
	Now          func() time.Time // nil: the system's clock
}

// LockFile is the file in data_dir that [LockDataDir] locks.
const LockFile = "lock"

// Server is a gateway. Make it with [New], run it with [Server.Run].
type Server struct {
	cfg     config.Config
	log     *slog.Logger
	now     func() time.Time
	version string

	store      *store.DB
	vault      *vault.Vault
	secrets    *vault.Resolver
	certs      *certificates
	audit      *audit.Log
	shippers   []shipper
	recordings *recording.Folder
	search     *search.Index
	identity   *identity.Service
	people     people
	authority  *authority.Authority
	workloads  *workload.Verifier
	reviews    *approval.Service
	notices    *notify.Service
	shadows    shadows
	objects    *objects
	gate       *gate.Gate
	metrics    *metrics
	protocols  []protocol.Protocol

	listeners []*listener
	slots     chan struct{} // one for each connection that may be open to those
	stopping  chan struct{} // closed when streams of the API must end
	https     net.Listener
	undo      []func() error // closes what is open, last first
}

// New opens everything that cfg names, and listens. It fails rather than
// start half: on a store that can't be opened, a log that doesn't verify,
// objects that don't hold up. The caller runs the server or closes it.
func New(ctx context.Context, cfg config.Config, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: o.Log, now: o.Now, version: o.Version, metrics: newMetrics(), stopping: make(chan struct{})}
	for _, open := range []func(context.Context, Options) error{
		s.openData, s.openAudit, s.openSinks, s.openRecordings, s.openIdentity, s.openAuthority, s.openSearch, s.openGate, s.openObjects, s.openGrants, s.recover, s.declare, s.listen,
	} {
		if err := open(ctx, o); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// openToOthers says whether others than its owner may do anything in a folder.
func openToOthers(dir string) (mode fs.FileMode, open bool, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, false, err
	}
	mode = info.Mode().Perm()
	return mode, mode&0o077 != 0 && runtime.GOOS != "windows", nil
}

func (s *Server) openData(ctx context.Context, o Options) error {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data_dir: %w", err)
	}
	if mode, open, err := openToOthers(s.cfg.DataDir); err == nil && open {
		s.log.Warn("data_dir is open to others", "dir", s.cfg.DataDir, "mode", fmt.Sprintf("%04o", mode))
	}
	unlock, err := LockDataDir(s.cfg.DataDir)
	if err != nil {
		return err
	}
	s.undo = append(s.undo, unlock)
	if s.vault, err = vault.Open(s.cfg.DataDir, o.MasterKey); err != nil {
		return fmt.Errorf("open the vault: %w", err)
	}
	if s.store, err = store.Open(ctx, s.cfg.Store.URL, s.cfg.DataDir); err != nil {
		return err
	}
	s.undo = append(s.undo, s.store.Close)
	s.secrets = &vault.Resolver{Vault: s.vault, Sealed: s.store, Log: s.log}
	s.certs, err = openCertificates(s.cfg.DataDir, s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile, s.names(), s.now)
	return err
}

// names are what the gateway's own certificate is valid for.
func (s *Server) names() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	add := func(host string) {
		if ip := net.ParseIP(host); host != "" && !(ip != nil && ip.IsUnspecified()) && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	if u, err := url.Parse(s.cfg.PublicURL); err == nil {
		add(u.Hostname())
	}
	for _, addr := range append([]string{s.cfg.Listen.HTTPS}, mapValues(s.cfg.Listen.Native)...) {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			add(host)
		}
	}
	return names
}

func mapValues(m map[string]string) []string {
	var all []string
	for _, v := range m {
		all = append(all, v)
	}
	slices.Sort(all)
	return all
}

func (s *Server) openIdentity(ctx context.Context, _ Options) error {
	err := s.openPeople(ctx)
	if err != nil {
		return err
	}
	s.identity, err = identity.New(identity.Config{
		Store: s.store, Now: s.now, Rand: rand.Reader,
		SessionTTL: s.cfg.Sessions.TokenTTL, MaxSessionTTL: s.cfg.Sessions.MaxTokenTTL, LoginTTL: s.cfg.Sessions.LoginTTL,
		RefreshEvery: s.cfg.Sessions.RefreshEvery, Renew: s.people.providers.Renew, Seal: s.vault.Seal, Unseal: s.vault.Unseal, Note: s.noteUnasked,
		End: func(since time.Time, reason string, match func(postern.SessionInfo) bool) int {
			return s.gate.EndSince(since, reason, match)
		},
		Reclaim: func(login string, claims postern.Claims) { s.gate.Reclaim(login, claims) },
	})
	if err != nil {
		return err
	}
	return s.openReviews()
}

func (s *Server) openGate(ctx context.Context, _ Options) error {
	key, err := s.kept(ctx, "mask-key", randomKey)
	if err != nil {
		return err
	}
	s.shadows = shadows{queue: make(chan postern.ShadowCount, shadowQueue), store: s.store}
	s.objects = &objects{
		folders: s.cfg.Objects, store: s.store, log: s.log, now: s.now,
		check:   func(set *policy.Set) error { return identity.CheckDeclared(s.declared(set)) },
		changed: s.objectsChanged, counted: s.metrics.reloaded,
	}
	s.gate, err = gate.New(gate.Config{
		Policy: s.objects.Set, Admit: s.admit, Still: s.identity.Still, Verifier: s.identity.Verifier, Secrets: s.secrets.Resolve,
		Dial: upstream.Direct{}.Dial,
		StartRecording: func(info postern.SessionInfo) (gate.Recording, error) {
			w, err := s.recordings.Start(info)
			return &searched{Writer: w, ended: s.search.Ended}, err
		},
		Audit: s.audit, AuditFirst: s.cfg.Audit.First == "log", Reviews: s.reviews, Allowances: s.store, MaskKey: postern.NewSecret(string(key)),
		Seal:      s.vault.Seal,
		ReviewURL: s.reviewURL, RequestURL: s.askURL, Grants: s.reviews.Grants, Shadowed: s.shadowed,
		Now: s.now, Rand: rand.Reader, Log: s.log, Metrics: s.metrics,
	})
	return err
}

func (s *Server) openObjects(ctx context.Context, _ Options) error {
	s.protocols = all.List(protocol.Options{
		TLS: s.authority.Listener(s.certs.config()), Authority: s.authority, AllowPlaintext: s.cfg.AllowPlaintext, HandshakeTimeout: s.cfg.Limits.HandshakeTimeout,
		Kept: s.keptFor, SignIn: s.signIn, Log: s.log, Rand: rand.Reader, Now: s.now,
	})
	s.objects.options = policyOptions(s.protocols)
	return s.objects.Reload(ctx)
}

// policyOptions say what a policy may speak of.
func policyOptions(protocols []protocol.Protocol) policy.Options {
	o := policy.Options{Protocols: protocol.PolicyTypes(protocols...)}
	for _, d := range mask.Detectors() {
		o.Detectors = append(o.Detectors, d.Name)
	}
	return o
}

// objectsChanged brings what depends on the policy in line with a new set.
func (s *Server) objectsChanged(ctx context.Context, set *policy.Set) error {
	err := s.identity.Declare(ctx, s.declared(set))
	// Whatever became of the accounts, the policy is in force.
	if ended := s.gate.Recheck(); ended > 0 {
		s.log.Info("sessions ended by a change of objects", "sessions", ended)
	}
	if err != nil {
		return fmt.Errorf("declare accounts: %w", err)
	}
	return nil
}

// declared are the accounts that files speak of.
func (s *Server) declared(set *policy.Set) []postern.Account {
	var accounts []postern.Account
	for _, a := range set.Accounts() {
		accounts = append(accounts, postern.Account{Name: a.Name, Kind: postern.Service, Groups: a.Groups, Disabled: a.Disabled, Source: a.Source})
	}
	for _, u := range s.cfg.Identity.Local.Users {
		accounts = append(accounts, postern.Account{
			Name: u.Name, Kind: postern.User, Groups: u.Groups, Email: u.Email, SecretHash: u.PasswordHash.Reveal(), BreakGlass: u.BreakGlass,
			Source: fmt.Sprintf("%s:%d", s.cfg.File, u.Line),
		})
	}
	return accounts
}

func (s *Server) declare(ctx context.Context, o Options) error {
	if o.BootstrapKey.IsZero() {
		return nil
	}
	made, err := s.identity.Bootstrap(ctx, o.BootstrapKey)
	if err != nil {
		return fmt.Errorf("POSTERN_BOOTSTRAP_KEY: %w", err)
	}
	if made {
		s.log.Info("service account made from POSTERN_BOOTSTRAP_KEY", "identity", identity.BootstrapName)
	}
	return nil
}

// Close closes what is open. Run does so by itself.
func (s *Server) Close() error {
	var errs []error
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo())
	}
	s.undo = nil
	return errors.Join(errs...)
}

// CAFile is the file of the CA that clients are to trust, or "" when the
// certificate was configured.
func (s *Server) CAFile() string { return s.certs.caFile }

// Identity manages the accounts that the gateway keeps itself.
func (s *Server) Identity() *identity.Service { return s.identity }

// recordingsDir is the folder that the configuration names.
func recordingsDir(cfg config.Config) string {
	if path, ok := strings.CutPrefix(cfg.Recordings.URL, "file:"); ok {
		return path
	}
	return filepath.Join(cfg.DataDir, "recordings")
}

// shareEnds is how long the end of a session's recording waits for others: as
// long again as its entry in the audit log may.
const shareEnds = 50 * time.Millisecond

func (s *Server) openRecordings(context.Context, Options) error {
	var err error
	s.recordings, err = recording.Open(recording.Config{
		Dir: recordingsDir(s.cfg), Keys: s.vault, Now: s.now, Rand: rand.Reader,
		Sync: recording.Sync(s.cfg.Recordings.Sync), ShareEnds: shareEnds, MinFree: int64(s.cfg.Recordings.MinFree), Kept: s.store,
	})
	return err
}

// publicHost is the host name that people reach the gateway under.
func (s *Server) publicHost() string {
	u, err := url.Parse(s.cfg.PublicURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
