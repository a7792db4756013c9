package sink_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"postern"
	"postern/internal/audit"
	"postern/internal/audit/sink"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record is entry n, as the log reads it.
func record(n int64) postern.AuditRecord {
	e := postern.AuditEntry{
		Time: time.Date(2026, 11, 24, 9, 30, 0, 123456000, time.UTC).Add(time.Duration(n) * time.Second), Action: "command", Identity: "alice",
		Kind: postern.User, Resource: "orders-db", Session: "ss_1", N: n, Verb: "select", Objects: []string{"public.orders"},
		Outcome: "allow", Rule: "engineers-read", Source: "10.0.0.7",
	}
	if n%5 == 0 {
		e.Outcome, e.Rule, e.Verb, e.Reason = "deny", "no-drop-table", "drop", "Tables aren't dropped here … ü \"]\\"
	}
	body, err := json.Marshal(struct {
		Seq int64 `json:"seq"`
		postern.AuditEntry
	}{n, e})
	if err != nil {
		panic(err)
	}
	return postern.AuditRecord{Seq: n, AuditEntry: e, Body: body}
}

func records(from, to int64) []postern.AuditRecord {
	var all []postern.AuditRecord
	for n := from; n <= to; n++ {
		all = append(all, record(n))
	}
	return all
}

// source is a log of some entries.
type source struct {
	mu   sync.Mutex
	size int64
	more chan struct{}
}

func newSource(size int64) *source { return &source{size: size, more: make(chan struct{})} }

func (s *source) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *source) grow(to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = to
	close(s.more)
	s.more = make(chan struct{})
}

func (s *source) Next(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error) {
	for {
		s.mu.Lock()
		size, more := s.size, s.more
		s.mu.Unlock()
		if size > after {
			return records(after+1, min(size, after+int64(limit))), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-more:
		}
	}
}

// offsets is a store of offsets.
type offsets struct{ sync.Map }

func (o *offsets) Meta(_ context.Context, name string) (string, error) {
	if v, ok := o.Load(name); ok {
		return v.(string), nil
	}
	return "", postern.ErrNotFound
}

func (o *offsets) PutMeta(_ context.Context, name, value string) error {
	o.Store(name, value)
	return nil
}

// flaky takes entries into memory, and fails when it is told to.
type flaky struct {
	mu    sync.Mutex
	down  bool
	taken []int64
}

func (f *flaky) Deliver(_ context.Context, records []postern.AuditRecord) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range records {
		if f.down && i == len(records)/2 {
			return errors.New("it went away in the middle")
		}
		f.taken = append(f.taken, r.Seq)
	}
	return nil
}

func (f *flaky) Close() error { return nil }

func (f *flaky) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// last are the n entries that came last.
func (f *flaky) last(n int) []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.taken[len(f.taken)-n:])
}

// seen are the entries without those that were delivered again.
func (f *flaky) seen(t *testing.T) (distinct int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, seq := range f.taken {
		if i > 0 && seq > f.taken[i-1]+1 || i == 0 && seq != 1 {
			t.Errorf("entry %d came after %v", seq, f.taken[:i])
		}
		distinct = max(distinct, seq)
	}
	return distinct
}

// Every entry arrives, in order, whether the other side or the gateway was away.
func TestAtLeastOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, store, to := newSource(1203), &offsets{}, &flaky{}
		var behind int64
		failures := 0
		var mu sync.Mutex
		run := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			s := sink.New(sink.Config{
				Name: "siem", Sink: to, Source: log, Store: store,
				Report: func(_ int, b int64, err error) {
					mu.Lock()
					defer mu.Unlock()
					if behind = b; err != nil {
						failures++
					}
				},
			})
			go func() { done <- s.Run(ctx) }()
			return func() {
				cancel()
				must(t, <-done)
			}
		}
		stop := run()
		time.Sleep(time.Minute) // synctest's clock
		mu.Lock()
		if got := to.seen(t); got != 1203 || behind != 0 {
			t.Errorf("%d entries arrived, %d behind", got, behind)
		}
		mu.Unlock()
		to.set(true)
		log.grow(1300)
		time.Sleep(time.Minute) // synctest's clock
		mu.Lock()
		if failures < 3 || behind != 97 {
			t.Errorf("%d failures, %d behind", failures, behind)
		}
		mu.Unlock()
		stop() // while it is away
		to.set(false)
		log.grow(1400)
		stop = run()
		time.Sleep(time.Minute) // synctest's clock
		if got := to.seen(t); got != 1400 {
			t.Errorf("%d entries arrived after the restart", got)
		}
		stop()
		stop = run()
		log.grow(1401)
		time.Sleep(time.Minute) // synctest's clock
		if last := to.last(3); last[2] != 1401 || last[1] != 1400 {
			t.Errorf("after a quiet restart came %v", last)
		}
		stop()
		// A store that was set back knows of fewer entries than the offset says.
		log.grow(7)
		stop = run()
		time.Sleep(time.Minute) // synctest's clock
		if last := to.last(7); last[6] != 7 || last[0] != 1 {
			t.Errorf("after going back came %v", last)
		}
		stop()
	})
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	line := int64(len(record(1).Body) + 1)
	f := &sink.File{Path: path, MaxSize: 10 * line, Keep: 2, Format: sink.JSON}
	for n := int64(1); n <= 40; n += 4 {
		must(t, f.Deliver(t.Context(), records(n, n+3)))
	}
	must(t, f.Close())
	found, err := filepath.Glob(path + "*")
	must(t, err)
	if len(found) != 3 {
		t.Errorf("files: %v", found)
	}
	text := ""
	for _, name := range append(found[1:], found[0]) {
		part, err := os.ReadFile(name)
		must(t, err)
		text += string(part)
		if st, err := os.Stat(name); err != nil || st.Size() > 10*line+200 || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v", name, st.Size(), st.Mode())
		}
	}
	next := int64(0)
	for l := range strings.Lines(text) {
		var r postern.AuditRecord
		must(t, json.Unmarshal([]byte(l), &r))
		if next++; next == 1 {
			next = r.Seq
		}
		if r.Seq != next {
			t.Errorf("entry %d stands after %d", r.Seq, next-1)
		}
	}
	if next != 40 {
		t.Errorf("the last is %d", next)
	}

	// A crash tore the last line: it is taken back, and delivered again.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = file.WriteString(`{"seq":41,"ti`)
	must(t, errors.Join(err, file.Close()))
	must(t, f.Deliver(t.Context(), records(41, 41)))
	must(t, f.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(whole)), "\n")
	if last := lines[len(lines)-1]; last != string(record(41).Body) || strings.Contains(string(whole), `"ti{`) {
		t.Errorf("the last line is %s", last)
	}
}

func TestWebhook(t *testing.T) {
	key := "a key of the webhook's, 32 bytes"
	var got [][]byte
	status := http.StatusNoContent
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		wh, keyErr := webhooks.NewWebhookRaw([]byte(key))
		if err = errors.Join(err, keyErr); err == nil {
			err = wh.Verify(body, r.Header)
		}
		if err != nil {
			t.Error(err)
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "https://elsewhere.example/")
		}
		w.WriteHeader(status)
		got = append(got, body)
	}))
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	hook := &sink.Webhook{
		Poster: sink.NewPoster(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}), Name: "siem", URL: server.URL + "/postern",
		Key: postern.NewSecret(key), Now: time.Now, Format: sink.JSON,
	}
	must(t, hook.Deliver(t.Context(), records(1, 3)))
	if want := fmt.Sprintf("%s\n%s\n%s\n", record(1).Body, record(2).Body, record(3).Body); string(got[0]) != want {
		t.Errorf("posted %s", got[0])
	}
	for _, status = range []int{http.StatusInternalServerError, http.StatusFound, http.StatusForbidden} {
		if err := hook.Deliver(t.Context(), records(4, 4)); err == nil || !strings.Contains(err.Error(), strconv.Itoa(status)) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d posts: a redirect was followed", len(got))
	}
	hook.Poster = sink.NewPoster(nil)
	if err := hook.Deliver(t.Context(), records(4, 4)); err == nil {
		t.Error("a stranger's certificate was taken")
	}
	must(t, hook.Close())
}

// What a collector gets is what OpenTelemetry's own definition of the protocol reads.
func TestOTLP(t *testing.T) {
	var got logs.LogsData
	var auth string
	answer := `{"partialSuccess":{}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		must(t, errors.Join(err, protojson.Unmarshal(body, &got)))
		auth = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	o := &sink.OTLP{Poster: sink.NewPoster(nil), URL: server.URL + "/v1/logs", Bearer: postern.NewSecret("token"), Version: "1", Host: "gw", Format: sink.JSON}
	must(t, o.Deliver(t.Context(), records(4, 5)))
	if auth != "Bearer token" || len(got.GetResourceLogs()) != 1 {
		t.Fatalf("%q, %v", auth, &got)
	}
	all := got.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords()
	if len(all) != 2 || all[0].GetBody().GetStringValue() != string(record(4).Body) ||
		all[0].GetSeverityNumber() != logs.SeverityNumber_SEVERITY_NUMBER_INFO || all[1].GetSeverityNumber() != logs.SeverityNumber_SEVERITY_NUMBER_WARN ||
		all[1].GetTimeUnixNano() != uint64(record(5).Time.UnixNano()) || all[1].GetEventName() != "postern.command" {
		t.Errorf("%v", all)
	}
	attributes := map[string]string{}
	for _, a := range all[1].GetAttributes() {
		attributes[a.GetKey()] = a.GetValue().GetStringValue()
		if a.GetKey() == "postern.seq" && a.GetValue().GetIntValue() != 5 {
			t.Errorf("%v", a)
		}
	}
	if attributes["postern.rule"] != "no-drop-table" || attributes["enduser.id"] != "alice" || attributes["client.address"] != "10.0.0.7" {
		t.Errorf("%v", attributes)
	}
	answer = "welcome to the portal"
	if err := o.Deliver(t.Context(), records(6, 6)); err == nil {
		t.Error("a portal's page was taken for a collector's answer")
	}
	must(t, o.Close())
}

// authority makes certificates for the tests' servers.
func authority(t *testing.T) (dir string, pool *x509.CertPool) {
	t.Helper()
	dir = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), certificate, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return dir, pool
}

// rsyslog understands each part of a message.
func TestSyslog(t *testing.T) {
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/rsyslogd")
	}
	if err != nil {
		t.Fatal("rsyslog isn't installed: run `scripts/deps test`")
	}
	dir, pool := authority(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	_, port, _ := strings.Cut(address, ":")
	must(t, l.Close())
	out := filepath.Join(dir, "out")
	config := fmt.Sprintf(`global(workDirectory="%[1]s" DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="%[1]s/cert.pem"
		DefaultNetstreamDriverCertFile="%[1]s/cert.pem" DefaultNetstreamDriverKeyFile="%[1]s/key.pem" maxMessageSize="64k")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" port="%[2]s" address="127.0.0.1")
template(name="parts" type="string" string="%%syslogfacility-text%%|%%syslogseverity-text%%|%%timestamp:::date-rfc3339%%|%%hostname%%|%%app-name%%|%%msgid%%|%%structured-data%%|%%msg%%\n")
action(type="omfile" file="%[1]s/out" template="parts" fileCreateMode="0644")
`, dir, port)
	must(t, os.WriteFile(filepath.Join(dir, "rsyslog.conf"), []byte(config), 0o600))
	var said bytes.Buffer
	daemon := exec.Command(program, "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
	daemon.Stdout, daemon.Stderr = &said, &said
	must(t, daemon.Start())
	defer func() { _, _ = daemon.Process.Kill(), daemon.Wait() }()

	s := &sink.Syslog{Address: address, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, Host: "gw 1", Format: sink.JSON}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err = s.Deliver(ctx, records(4, 5)); err != nil && ctx.Err() == nil; err = s.Deliver(ctx, records(4, 5)) {
		time.Sleep(50 * time.Millisecond) // until the daemon listens
	}
	must(t, err)
	must(t, s.Deliver(ctx, records(6, 6)))
	want := fmt.Sprintf("audit|info|2026-11-24T09:30:04.123456Z|gw1|postern|command|[meta sequenceId=\"4\"]|%s\n"+
		"audit|warning|2026-11-24T09:30:05.123456Z|gw1|postern|command|[meta sequenceId=\"5\"]|%s\n"+
		"audit|info|2026-11-24T09:30:06.123456Z|gw1|postern|command|[meta sequenceId=\"6\"]|%s\n", record(4).Body, record(5).Body, record(6).Body)
	var got []byte
	for ctx.Err() == nil && strings.Count(string(got), "\n") < 3 {
		got, _ = os.ReadFile(out)         // it may not be there yet
		time.Sleep(20 * time.Millisecond) // the daemon is writing
	}
	if text := strings.ReplaceAll(string(got), "\xEF\xBB\xBF", ""); text != want {
		t.Errorf("rsyslog read\n%s, want\n%s%s", text, want, &said)
	}
	must(t, daemon.Process.Kill())
	_ = daemon.Wait() // it was killed
	for err = nil; err == nil && ctx.Err() == nil; err = s.Deliver(ctx, records(7, 7)) {
		time.Sleep(20 * time.Millisecond) // until the connection tells
	}
	if err == nil {
		t.Error("entries were taken by nobody")
	}
	must(t, s.Close())
	stranger := &sink.Syslog{Address: address, TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Host: "gw", Format: sink.JSON}
	if err := stranger.Deliver(ctx, records(1, 1)); err == nil {
		t.Error("it was taken without a certificate that we trust")
	}
}

// The mapping, as docs/audit-log.md has it.
func TestOCSF(t *testing.T) {
	check := func(change func(*postern.AuditEntry), want map[string]any) {
		t.Helper()
		r := record(1)
		change(&r.AuditEntry)
		text, err := audit.OCSF(&r)
		must(t, err)
		var got map[string]any
		must(t, json.Unmarshal(text, &got))
		for path, value := range want {
			at := any(got)
			for key := range strings.SplitSeq(path, ".") {
				m, _ := at.(map[string]any)
				at = m[key]
			}
			if at != value {
				t.Errorf("%s is %v, want %v in %s", path, at, value, text)
			}
		}
		for _, required := range []string{"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"} {
			if got[required] == nil {
				t.Errorf("%s is missing in %s", required, text)
			}
		}
	}
	check(func(*postern.AuditEntry) {}, map[string]any{
		"class_uid": 6003.0, "category_uid": 6.0, "activity_id": 2.0, "type_uid": 600302.0, "api.operation": "select", "status_id": 1.0,
		"actor.user.name": "alice", "actor.user.type_id": 1.0, "metadata.version": "1.3.0", "metadata.sequence": 1.0, "src_endpoint.ip": "10.0.0.7",
		"policy.name": "engineers-read", "action_id": 1.0, "severity_id": 1.0, "session.uid": "ss_1", "time": float64(record(1).Time.UnixMilli()),
	})
	check(func(e *postern.AuditEntry) { e.Outcome, e.Verb, e.Actor = "deny", "drop,select", "claude" }, map[string]any{
		"activity_id": 4.0, "type_uid": 600304.0, "status_id": 2.0, "action_id": 2.0, "disposition_id": 2.0, "severity_id": 3.0, "actor.app_name": "claude",
	})
	check(func(e *postern.AuditEntry) { e.Action, e.Outcome = "session.close", "ok" }, map[string]any{
		"class_uid": 3002.0, "category_uid": 3.0, "activity_id": 2.0, "type_uid": 300202.0, "user.name": "alice", "service.name": "orders-db",
	})
	check(func(e *postern.AuditEntry) {
		e.Action, e.Target, e.Source, e.Outcome = "service-account.create", "service:ci", "", "ok"
	}, map[string]any{"activity_id": 1.0, "api.operation": "service-account.create", "unmapped.target": "service:ci", "src_endpoint.name": "postern"})
	check(func(e *postern.AuditEntry) { e.Action, e.Outcome = "audit.outage", "failed" }, map[string]any{"severity_id": 4.0, "activity_id": 99.0})
}
