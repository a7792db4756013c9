package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postern"
	"postern/internal/config"
	"postern/internal/gate"
	"postern/internal/policy"
	"postern/internal/store"
)

const (
	aResource = "kind: Resource\nname: orders-db\ntype: postgres\naddress: 127.0.0.1:1\n"
	aRule     = "kind: Rule\nname: no-drop\nuse: no-drop-table\nthen: deny\n"
)

// house is a folder with a configuration and objects, to make gateways in.
type house struct {
	t   *testing.T
	dir string
}

func newHouse(t *testing.T) house {
	h := house{t, t.TempDir()}
	h.write("postern.yaml", "data_dir: data\nlisten: {https: \"127.0.0.1:0\", postgres: \"127.0.0.1:0\", ssh: off}\n"+
		"recordings: {min_free: 1MiB}\nobjects: [objects]\ndrain_timeout: 1s\n")
	h.write("objects/resource.yaml", aResource)
	h.write("objects/rule.yaml", aRule)
	return h
}

func (h house) path(name string) string { return filepath.Join(h.dir, name) }

func (h house) write(name, text string) {
	h.t.Helper()
	must(h.t, os.MkdirAll(filepath.Dir(h.path(name)), 0o700))
	must(h.t, os.WriteFile(h.path(name), []byte(text), 0o600))
}

func (h house) open() (*Server, error) {
	h.t.Helper()
	cfg, err := config.Load(h.path("postern.yaml"))
	must(h.t, err)
	return New(h.t.Context(), cfg, Options{Version: "test"})
}

func (h house) mustOpen() *Server {
	h.t.Helper()
	s, err := h.open()
	must(h.t, err)
	h.t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func says(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error that says %q", err, want)
	}
}

func unaudited(_ []policy.Change, keep func(context.Context) error) error {
	return keep(context.Background())
}

// A change that doesn't hold up leaves the last good set, and says so until it does.
func TestBrokenChangeKeepsLastGoodSet(t *testing.T) {
	h := newHouse(t)
	s := h.mustOpen()
	before := s.objects.Set().Version()
	for name, c := range map[string]struct {
		breaks, mends func()
		want          string
	}{
		"a typo": {
			func() { h.write("objects/rule.yaml", strings.Replace(aRule, "deny", "dony", 1)) },
			func() { h.write("objects/rule.yaml", aRule) }, "rule.yaml:4",
		},
		"no folder": {
			func() { must(t, os.Rename(h.path("objects"), h.path("away"))) },
			func() { must(t, os.Rename(h.path("away"), h.path("objects"))) }, "no such file",
		},
		"an account that can't be": {
			func() { h.write("objects/account.yaml", "kind: ServiceAccount\nname: postern\n") },
			func() { must(t, os.Remove(h.path("objects/account.yaml"))) }, "reserved",
		},
		"a group that is there twice": {
			func() { h.write("objects/account.yaml", "kind: ServiceAccount\nname: ci\ngroups: [a, a]\n") },
			func() { must(t, os.Remove(h.path("objects/account.yaml"))) }, "twice",
		},
		"a pipe": {
			func() { must(t, syscall.Mkfifo(h.path("objects/pipe.yaml"), 0o600)) },
			func() { must(t, os.Remove(h.path("objects/pipe.yaml"))) }, "no plain file",
		},
		"a folder behind a link": {
			func() { must(t, os.Symlink(h.path("data"), h.path("objects/more"))) },
			func() { must(t, os.Remove(h.path("objects/more"))) }, "link to a folder",
		},
	} {
		c.breaks()
		says(t, s.objects.Reload(t.Context()), c.want)
		says(t, s.objects.Reload(t.Context()), c.want) // and again: nothing was taken over
		says(t, s.objects.Problem(), c.want)
		if got := s.objects.Set().Version(); got != before {
			t.Errorf("%s: another set is in force", name)
		}
		c.mends()
		if err := s.objects.Reload(t.Context()); err != nil || s.objects.Problem() != nil {
			t.Errorf("%s: mended, and yet %v, %v", name, err, s.objects.Problem())
		}
	}
}

// What is refused isn't stored either: the next start would trip over it.
func TestRefusedObjectIsNotStored(t *testing.T) {
	h := newHouse(t)
	s := h.mustOpen()
	_, err := s.objects.Apply(t.Context(), "user:dave", []byte("kind: ServiceAccount\nname: postern\n"), unaudited)
	says(t, err, "reserved")
	_, err = s.objects.Plan(t.Context(), []byte("kind: ServiceAccount\nname: postern\n"))
	says(t, err, "reserved")
	if stored, err := s.store.Objects(t.Context()); err != nil || len(stored) != 0 {
		t.Errorf("stored: %v, %v", stored, err)
	}
	must(t, s.Close())
	h.mustOpen()
}

// An object folder that is itself a link counts like any other: rules behind it
// must not be left out without a word.
func TestLinkedObjectFolder(t *testing.T) {
	h := newHouse(t)
	must(t, os.Rename(h.path("objects"), h.path("v1")))
	must(t, os.Symlink("v1", h.path("objects")))
	if got := len(h.mustOpen().objects.Set().Objects()); got != 2 {
		t.Errorf("%d objects are in force, want 2", got)
	}
}

// When accounts can't follow a change, sessions are still held against it, and
// the next reload tries again.
func TestHalfDoneChangeIsTriedAgain(t *testing.T) {
	h := newHouse(t)
	s := h.mustOpen()
	after := s.objects.changed
	broken := errors.New("disk full")
	s.objects.changed = func(ctx context.Context, set *policy.Set) error {
		return errors.Join(after(ctx, set), broken)
	}
	h.write("objects/rule.yaml", aRule+"message: no\n")
	says(t, s.objects.Reload(t.Context()), "disk full")
	says(t, s.objects.Reload(t.Context()), "disk full")
	broken = nil
	if err := s.objects.Reload(t.Context()); err != nil || s.objects.Problem() != nil {
		t.Errorf("%v, %v", err, s.objects.Problem())
	}
}

func TestApplyAndDelete(t *testing.T) {
	h := newHouse(t)
	s := h.mustOpen()
	document := []byte("kind: Rule\nname: from-api\nuse: no-truncate\nthen: deny\n")
	changes, err := s.objects.Apply(t.Context(), "user:dave", document, func([]policy.Change, func(context.Context) error) error { return errors.New("log full") })
	says(t, err, "log full")
	if len(changes) != 0 || len(s.objects.Set().Objects()) != 2 {
		t.Error("an object is in force that the log doesn't have")
	}
	_, err = s.objects.Apply(t.Context(), "user:dave", document, unaudited)
	must(t, err)
	must(t, s.Close())
	s = h.mustOpen()
	if got := len(s.objects.Set().Objects()); got != 3 {
		t.Fatalf("%d objects after a restart, want 3", got)
	}
	_, err = s.objects.Apply(t.Context(), "user:dave", []byte(aRule), unaudited)
	says(t, err, "kept in the file")
	_, err = s.objects.Delete(t.Context(), policy.KindRule, "no-drop", unaudited)
	says(t, err, "kept in the file")
	_, err = s.objects.Delete(t.Context(), policy.KindRule, "from-api", unaudited)
	must(t, err)
	_, err = s.objects.Delete(t.Context(), policy.KindRule, "from-api", unaudited)
	if !errors.Is(err, postern.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

// A second gateway on the same folder doesn't start, and leaves the sessions of
// the first alone.
func TestSecondGatewayOnOneFolder(t *testing.T) {
	h := newHouse(t)
	s := h.mustOpen()
	must(t, s.store.PutSession(t.Context(), postern.SessionInfo{ID: "ss_live", Identity: "alice", Kind: postern.User, StartedAt: time.Now()}))
	_, err := h.open()
	says(t, err, "another gateway runs on data_dir")
	if info, err := s.store.Session(t.Context(), "ss_live"); err != nil || !info.EndedAt.IsZero() {
		t.Errorf("the first gateway's session: %+v, %v", info, err)
	}
	must(t, s.Close())
	h.mustOpen()
}

// What a gateway that died left open is ended before the next one serves: its
// sessions, and the reviews that nobody waits for any more.
func TestLeftOpenIsEnded(t *testing.T) {
	h := newHouse(t)
	must(t, os.MkdirAll(h.path("data"), 0o700))
	db, err := store.Open(t.Context(), "sqlite", h.path("data"))
	must(t, err)
	now := time.Now().UTC()
	must(t, db.PutSession(t.Context(), postern.SessionInfo{ID: "ss_dead", Identity: "alice", Kind: postern.User, StartedAt: now}))
	for id, state := range map[string]postern.ReviewState{"rv_p": postern.ReviewPending, "rv_a": postern.ReviewApproved} {
		must(t, db.PutReview(t.Context(), postern.Review{
			ID: id, State: state, Session: "ss_dead", Identity: "alice", Kind: postern.User, Digest: "d", Approvals: 1,
			Approvers: []postern.Principal{"group:dba"}, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		}))
	}
	must(t, db.Close())
	s := h.mustOpen()
	if info, err := s.store.Session(t.Context(), "ss_dead"); err != nil || info.EndedAt.IsZero() {
		t.Errorf("the session: %+v, %v", info, err)
	}
	for id, want := range map[string]postern.ReviewState{"rv_p": postern.ReviewWithdrawn, "rv_a": postern.ReviewVoid} {
		if rv, err := s.store.Review(t.Context(), id); err != nil || rv.State != want {
			t.Errorf("review %s is %s, %v; want %s", id, rv.State, err, want)
		}
	}
}

// Told to stop, it stops, and leaves nothing that keeps the next one out.
func TestRunAndDrain(t *testing.T) {
	h := newHouse(t)
	s := h.mustOpen()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, nil) }()
	conn, err := net.Dial("tcp", s.Addr("postgres"))
	must(t, err)
	defer func() { _ = conn.Close() }()
	stop()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it doesn't stop while a client says nothing")
	}
	if entries, err := os.ReadDir(h.path("data/recordings/live")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	h.mustOpen()
}

// What net/http says of its own accord is a line of the log like any other.
func TestHTTPLog(t *testing.T) {
	h := newHouse(t)
	cfg, err := config.Load(h.path("postern.yaml"))
	must(t, err)
	var logged bytes.Buffer
	s, err := New(t.Context(), cfg, Options{Version: "test", Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, nil) }()
	conn, err := net.Dial("tcp", s.Addr("https"))
	must(t, err)
	_, err = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	must(t, err)
	_, err = io.ReadAll(conn)
	must(t, errors.Join(err, conn.Close()))
	stop()
	must(t, <-ended)
	if want := `level=DEBUG msg="https connection failed" error="http: TLS handshake error from `; !strings.Contains(logged.String(), want) {
		t.Errorf("no %s in:\n%s", want, logged.String())
	}
}

// A data folder that was there before, and is open to others, is used, and warned of.
func TestOpenDataDirIsWarnedOf(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o777: true, 0o750: true, 0o700: false} {
		h := newHouse(t)
		must(t, errors.Join(os.MkdirAll(h.path("data"), 0o700), os.Chmod(h.path("data"), mode)))
		cfg, err := config.Load(h.path("postern.yaml"))
		must(t, err)
		var logged bytes.Buffer
		s, err := New(t.Context(), cfg, Options{Version: "test", Log: slog.New(slog.NewTextHandler(&logged, nil))})
		must(t, err)
		must(t, s.Close())
		if line := fmt.Sprintf(`level=WARN msg="data_dir is open to others" dir=%s mode=%04o`, h.path("data"), mode); strings.Contains(logged.String(), line) != want {
			t.Errorf("%04o: warned %v, want %v:\n%s", mode, !want, want, logged.String())
		}
	}
}

// Everything in the data folder is its owner's alone, but for the certificate
// that clients are to trust.
func TestModes(t *testing.T) {
	h := newHouse(t)
	h.mustOpen()
	must(t, filepath.Walk(h.path("data"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 && filepath.Base(path) != "ca.pem" {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}))
}

// talker is a protocol whose connections last until they are let go.
type talker struct {
	open atomic.Int64
	let  chan struct{}
	came chan struct{}
}

func (p *talker) Name() string              { return "talk" }
func (p *talker) Attrs() []postern.AttrType { return nil }
func (p *talker) Serve(_ context.Context, conn net.Conn, _ *gate.Gate) error {
	p.open.Add(1)
	p.came <- struct{}{}
	<-p.let
	return conn.Close()
}

// Connections beyond the limit are closed at once, those within go on, and a
// place that becomes free is given away again.
func TestConnectionLimit(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &talker{let: make(chan struct{}), came: make(chan struct{}, 16)}
	l := &listener{Listener: socket, protocol: p, slots: make(chan struct{}, 2), log: slog.New(slog.DiscardHandler)}
	var running sync.WaitGroup
	running.Go(func() { _ = l.run(t.Context()) })
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", socket.Addr().String())
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	dial()
	<-p.came
	<-p.came
	third := dial()
	must(t, third.SetReadDeadline(time.Now().Add(20*time.Second)))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third connection is open: %v", err)
	}
	if n := p.open.Load(); n != 2 {
		t.Errorf("%d connections are served, want 2", n)
	}
	close(p.let)
	must(t, socket.Close())
	running.Wait()
}

// What the console opens for a page takes one place, gives one back, and leaves no
// goroutine that would take another's.
func TestConsolePlace(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p := &talker{let: make(chan struct{}), came: make(chan struct{}, 16)}
	l := &listener{protocol: p, slots: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
	s := &Server{listeners: []*listener{l}}
	from := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		conn, ok, err := s.enter(t.Context(), "talk", from)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		<-p.came
		if _, _, err := s.enter(t.Context(), "talk", from); err == nil {
			t.Error("two are in, where there is place for one")
		}
		p.let <- struct{}{}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("it goes on")
		}
		must(t, conn.Close())
		l.slots <- struct{}{} // once it is free
		<-l.slots
	}
}

// HTTPS has a limit, too, and gives places that become free away again.
func TestHTTPSConnectionLimit(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b := &bounded{Listener: socket, slots: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
	defer func() { _ = b.Close() }()
	accepted := make(chan net.Conn)
	go func() {
		for conn, err := b.Accept(); err == nil; conn, err = b.Accept() {
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", socket.Addr().String())
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		return conn
	}
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the second connection is open: %v", err)
	}
	must(t, first.Close())
	_ = first.Close() // gives back no second place
	dial()
	second := <-accepted
	if len(b.slots) != 1 {
		t.Errorf("%d places are taken, want 1", len(b.slots))
	}
	must(t, second.Close())
}

// The gateway's own certificate is renewed before it ends, by the same CA, and
// also when the clock turns out to have been ahead.
func TestCertificateRenewal(t *testing.T) {
	now := time.Now()
	c, err := openCertificates(t.TempDir(), "", "", []string{"localhost"}, func() time.Time { return now })
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(c.caCert)
	valid := func(at time.Time) string {
		t.Helper()
		now = at
		leaf, err := c.get()
		must(t, err)
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, DNSName: "localhost"}); err != nil {
			t.Errorf("at %v: %v", at, err)
		}
		return leaf.Leaf.SerialNumber.String()
	}
	start := now
	first := valid(start)
	if valid(start.Add(time.Hour)) != first {
		t.Error("it is renewed with every connection")
	}
	late := valid(start.Add(leafLifetime))
	if late == first {
		t.Error("it isn't renewed at its end")
	}
	valid(start.Add(time.Minute)) // the clock was set back
}

// A configured pair that can't be read keeps the last good one.
func TestConfiguredCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	must(t, makeCA(certFile, keyFile, time.Now()))
	c, err := openCertificates(dir, certFile, keyFile, nil, time.Now)
	must(t, err)
	first, err := c.get()
	must(t, err)
	must(t, os.WriteFile(certFile, []byte("half of it"), 0o600))
	must(t, os.Chtimes(certFile, time.Now(), time.Now().Add(time.Minute)))
	if again, err := c.get(); err != nil || again != first {
		t.Errorf("a broken pair isn't passed over: %v", err)
	}
	must(t, makeCA(certFile, keyFile, time.Now()))
	must(t, os.Chtimes(certFile, time.Now(), time.Now().Add(2*time.Minute)))
	if next, err := c.get(); err != nil || next == first {
		t.Errorf("a new pair isn't read: %v", err)
	}
}

// The doctor, who may be root, makes nothing that the gateway would then have
// to live with.
func TestDoctorMakesNothing(t *testing.T) {
	h := newHouse(t)
	must(t, os.MkdirAll(h.path("data"), 0o700))
	cfg, err := config.Load(h.path("postern.yaml"))
	must(t, err)
	Examine(t.Context(), cfg, Options{})
	if entries, err := os.ReadDir(h.path("data")); err != nil || len(entries) != 0 {
		t.Errorf("it made %v, %v", entries, err)
	}
}

// An odd file among the live recordings is told of, and keeps no gateway down.
func TestStartsBesideAnOddRecording(t *testing.T) {
	h := newHouse(t)
	must(t, os.MkdirAll(h.path("data/recordings/live"), 0o700))
	must(t, os.Symlink("ss_odd.prec", h.path("data/recordings/live/ss_odd.prec")))
	s := h.mustOpen()
	must(t, s.recover(t.Context(), Options{}))
}
