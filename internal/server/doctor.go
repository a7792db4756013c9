package server

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"postern"
	"postern/internal/audit"
	"postern/internal/config"
	"postern/internal/gate"
	"postern/internal/policy"
	"postern/internal/protocol"
	"postern/internal/protocol/all"
	"postern/internal/recording"
	"postern/internal/store"
	"postern/internal/upstream"
	"postern/internal/vault"
)

// Finding is what one check of [Examine] found.
type Finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	Mending string `json:"mending,omitempty"` // what to do, when it isn't OK
}

// examination collects findings over a gateway that may be running meanwhile:
// it changes nothing that a gateway keeps.
type examination struct {
	cfg      config.Config
	o        Options
	findings []Finding

	vault *vault.Vault
	store *store.DB
}

const checkTimeout = 15 * time.Second

// Examine checks everything that a gateway with cfg depends on.
func Examine(ctx context.Context, cfg config.Config, o Options) []Finding {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	x := &examination{cfg: cfg, o: o}
	x.note("configuration", fileOr(cfg.File, "defaults"), nil, "")
	x.data()
	if x.openStore(ctx) {
		defer func() { _ = x.store.Close() }() // nothing was written
		x.auditLog(ctx)
	}
	x.clock()
	x.certificate()
	x.recordings()
	x.providers(ctx)
	x.objects(ctx)
	return x.findings
}

func fileOr(file, other string) string {
	if file == "" {
		return other
	}
	return file
}

func (x *examination) note(check, detail string, err error, mending string) bool {
	f := Finding{Check: check, OK: err == nil, Detail: detail}
	if err != nil {
		f.Detail, f.Mending = err.Error(), mending
	}
	x.findings = append(x.findings, f)
	return err == nil
}

func (x *examination) data() {
	mode, open, err := openToOthers(x.cfg.DataDir)
	if err == nil && open {
		err = fmt.Errorf("others can read %s (mode %04o)", x.cfg.DataDir, mode)
	}
	x.note("data_dir", x.cfg.DataDir, err, "start the gateway once, which makes it; else `chmod 700` it and make it the gateway's user's")
}

func (x *examination) openStore(ctx context.Context) bool {
	if _, err := os.Stat(filepath.Join(x.cfg.DataDir, "postern.db")); err != nil {
		return x.note("store", "", err, "start the gateway once, which makes it")
	}
	var err error
	if x.vault, err = vault.Open(x.cfg.DataDir, x.o.MasterKey); !x.note("vault", "opens with its master key", err, "give the master key with which it was made") {
		return false
	}
	if x.store, err = store.Open(ctx, x.cfg.Store.URL, x.cfg.DataDir); err == nil {
		err = x.store.Ping(ctx)
	}
	return x.note("store", x.cfg.Store.URL, err, "restore it from a backup, or look at the disk")
}

func (x *examination) auditLog(ctx context.Context) {
	key, err := audit.OpenKey(ctx, x.store, x.vault, auditOrigin, rand.Reader)
	detail := ""
	if err == nil {
		detail = key.Public()
	}
	x.note("audit key", detail, err, "the vault doesn't open what it sealed: give the master key with which it did")
}

// clock compares with the file system's clock, which on a network disk is
// another one, and looks for a clock that was never set.
func (x *examination) clock() {
	now := x.o.Now()
	err := clockTrusted()
	if now.Year() < 2024 {
		err = errors.Join(err, fmt.Errorf("it says %s", now.UTC().Format(time.RFC3339)))
	}
	x.note("clock", now.UTC().Format(time.RFC3339), err, "run a time service (chrony, systemd-timesyncd): tokens and reviews end by the clock")
}

func (x *examination) certificate() {
	if _, err := os.Stat(filepath.Join(x.cfg.DataDir, "ca.pem")); err != nil && x.cfg.TLS.CertFile == "" {
		x.note("certificate", "", err, "start the gateway once, which makes its own")
		return
	}
	s := &Server{cfg: x.cfg}
	c, err := openCertificates(x.cfg.DataDir, x.cfg.TLS.CertFile, x.cfg.TLS.KeyFile, s.names(), x.o.Now)
	detail := ""
	if err == nil {
		leaf, getErr := c.get()
		err = getErr
		if err == nil {
			detail, err = x.leaf(leaf.Leaf)
		}
	}
	x.note("certificate", detail, err, "renew tls.cert_file and tls.key_file; without them the gateway makes its own")
}

func (x *examination) leaf(leaf *x509.Certificate) (string, error) {
	if leaf == nil {
		return "", errors.New("it can't be read")
	}
	if x.o.Now().After(leaf.NotAfter) {
		return "", fmt.Errorf("it ended on %s", leaf.NotAfter.Format(time.RFC3339))
	}
	if err := leaf.VerifyHostname((&Server{cfg: x.cfg}).publicHost()); err != nil {
		return "", err
	}
	return "good until " + leaf.NotAfter.UTC().Format(time.RFC3339), nil
}

func (x *examination) recordings() {
	if x.vault == nil {
		return
	}
	folder, err := recording.Open(recording.Config{Dir: recordingsDir(x.cfg), Keys: x.vault, MinFree: int64(x.cfg.Recordings.MinFree)})
	if err == nil {
		err = folder.Ready()
	}
	x.note("recordings", recordingsDir(x.cfg), err, "free some space, or lower recordings.min_free: without room no session opens")
}

// objects checks that they hold up, and each resource.
func (x *examination) objects(ctx context.Context) {
	protocols := all.List(protocol.Options{Log: x.o.Log})
	o := &objects{folders: x.cfg.Objects, store: noObjects{}, options: policyOptions(protocols)}
	if x.store != nil {
		o.store = x.store
	}
	set, err := o.load(ctx)
	detail := ""
	if err == nil {
		detail = fmt.Sprintf("%d objects, version %.12s", len(set.Objects()), set.Version())
	}
	if !x.note("objects", detail, err, "mend the file at that line; the running gateway keeps the last good set") {
		return
	}
	for _, w := range set.Warnings() {
		x.note("objects", "", errors.New(w), "is that what you meant?")
	}
	for _, r := range set.Resources() {
		err := x.resource(ctx, set, protocols, r)
		x.note("resource "+r.Name, "reached, and it lets the gateway in", err, "check its address, tls and credentials, and that the network lets this machine through")
	}
}

// resource opens a session on it, as clients do, through a gate of its own.
func (x *examination) resource(ctx context.Context, set *policy.Set, protocols []protocol.Protocol, r postern.Resource) error {
	var checker protocol.Checker
	for _, p := range protocols {
		if c, ok := p.(protocol.Checker); ok && p.Name() == r.Type {
			checker = c
		}
	}
	if checker == nil {
		return fmt.Errorf("this version can't check a resource of type %s", r.Type)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	g, err := x.gate(set, r, policyOptions(protocols))
	if err != nil {
		return err
	}
	caller, err := g.Authenticate(ctx, postern.Credential{User: doctorName, Resource: r.Name, Protocol: r.Type, Source: netip.MustParseAddrPort("127.0.0.1:1")})
	if err != nil {
		return err
	}
	session, err := caller.Open(ctx, postern.Target{Resource: r.Name, Client: "postern doctor"})
	if err != nil {
		return err
	}
	err = checker.Check(ctx, session)
	return errors.Join(err, session.Close("checked"))
}

const doctorName = "postern-doctor"

// gate lets the doctor, and nobody else, open the resource; nothing is kept.
func (x *examination) gate(set *policy.Set, r postern.Resource, o policy.Options) (*gate.Gate, error) {
	access, err := policy.Parse("doctor", []byte("kind: Access\nname: "+doctorName+"\nto: [\"service:"+doctorName+"\"]\non: {names: ["+r.Name+"]}\n"))
	if err != nil {
		return nil, err
	}
	resources := access
	for _, object := range set.Objects() {
		if object.Kind == policy.KindResource {
			resources = append(resources, object)
		}
	}
	own, err := policy.NewSet(resources, o)
	if err != nil {
		return nil, err
	}
	secrets := &vault.Resolver{Vault: x.vault, Log: x.o.Log}
	if x.store != nil {
		secrets.Sealed = x.store
	}
	return gate.New(gate.Config{
		Policy: func() *policy.Set { return own },
		Admit: func(_ context.Context, cred postern.Credential) (postern.Admission, error) {
			return postern.Admission{Identity: postern.Identity{Name: doctorName, Kind: postern.Service}, Resource: cred.Resource}, nil
		},
		Secrets: secrets.Resolve, Dial: upstream.Direct{}.Dial,
		StartRecording: func(postern.SessionInfo) (gate.Recording, error) { return unrecorded{}, nil },
		Audit:          nothing{}, Reviews: nothing{}, MaskKey: postern.NewSecret(doctorName),
		ReviewURL: func(string) string { return "" }, Now: x.o.Now, Rand: rand.Reader, Log: x.o.Log,
	})
}

// nothing keeps nothing. A session of the doctor's runs no command.
type nothing struct{}

var errNothing = errors.New("the doctor's sessions run no commands")

func (nothing) Append(context.Context, postern.AuditEntry) error { return nil }
func (nothing) Queue(postern.AuditEntry) error                   { return errNothing }
func (nothing) Submit(context.Context, postern.Review) error     { return errNothing }
func (nothing) Spend(context.Context, string, string) error      { return errNothing }
func (nothing) Void(context.Context, string, string) error       { return errNothing }
func (nothing) AppendSession(context.Context, postern.AuditEntry, postern.SessionInfo) error {
	return nil
}

func (nothing) AppendSessionSoon(context.Context, postern.AuditEntry, postern.SessionInfo) error {
	return nil
}

func (nothing) Wait(context.Context, string) (postern.Review, error) {
	return postern.Review{}, errNothing
}

// unrecorded is the recording of a session in which nothing happens.
type unrecorded struct{}

func (unrecorded) Append(...postern.Event) error { return nil }
func (unrecorded) Flush() error                  { return nil }
func (unrecorded) Close() (string, error)        { return "", nil }

// noObjects is a store that can't be asked.
type noObjects struct{}

func (noObjects) Objects(context.Context) ([]postern.StoredObject, error) { return nil, nil }
func (noObjects) PutObjects(context.Context, []postern.StoredObject, []postern.ObjectKey) error {
	return errNothing
}
