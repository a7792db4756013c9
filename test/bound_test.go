package test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
)

// ownKey is a client's key with a certificate that nobody vouches for.
func ownKey(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := postern.Fingerprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint
}

// showing makes a connection's handshake show a certificate, whatever the
// gateway would like.
func showing(cert tls.Certificate) func(*pgconn.Config) {
	return func(c *pgconn.Config) {
		c.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
}

// A token that is bound to a key is worth nothing to whoever copied it; one
// that is bound to a network isn't elsewhere; one for one use isn't twice. The
// owner's log names each.
func TestCopiedTokenIsWorthless(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	alice := g.login("alice")
	mine, fingerprint := ownKey(t)
	thiefs, _ := ownKey(t)
	mint := func(args ...string) string {
		t.Helper()
		token, err := g.run(alice, append([]string{"token", "orders-db"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	enters := func(what, token string, change func(*pgconn.Config), want bool) {
		t.Helper()
		conn, err := g.connect("alice", token, change)
		if (err == nil) != want {
			t.Errorf("%s: %v", what, err)
		}
		if err == nil {
			_ = conn.Close(t.Context())
		} else if !strings.Contains(err.Error(), "login refused") {
			t.Errorf("%s: %v", what, err)
		}
	}
	bound := mint("--key", fingerprint)
	enters("a copy without a key", bound, nil, false)
	enters("a copy with another key", bound, showing(thiefs), false)
	stolenCert := mine
	stolenCert.PrivateKey = thiefs.PrivateKey
	if _, err := g.connect("alice", bound, showing(stolenCert)); err == nil {
		t.Error("a copied certificate without its key enters")
	}
	enters("its holder", bound, showing(mine), true)
	enters("from another network", mint("--network", "192.0.2.0/24"), nil, false)
	enters("from its network", mint("--network", "127.0.0.0/8"), nil, true)
	once := mint("--uses", "1")
	enters("once", once, nil, true)
	enters("twice", once, nil, false)
	if out, err := g.run(alice, "token", "ls"); err != nil || !strings.Contains(out, "is bound to another key") || !strings.Contains(out, "from 127.0.0.1: ") {
		t.Errorf("its owner isn't shown who was refused: %s, %v", out, err)
	}
	if out, err := g.run(alice, "whoami"); err != nil || !strings.Contains(out, "REFUSED") || !strings.Contains(out, "is bound to another key") {
		t.Errorf("whoami doesn't show who was refused: %s, %v", out, err)
	}
	if out, err := g.run(g.login("dave"), "whoami"); err != nil || strings.Contains(out, "REFUSED") {
		t.Errorf("another is shown it: %s, %v", out, err)
	}
	after := mint()
	if _, err := g.run(alice, "logout"); err != nil {
		t.Fatal(err)
	}
	enters("after the owner's logout", after, nil, false)
	log, err := g.run(g.login("dave"), "audit", "tail", "-n", "60", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range []string{"the client has shown none", "bound to another key", "bound to other networks", "is used up", "its person signed out"} {
		found := false
		for line := range strings.Lines(log) {
			found = found || strings.Contains(line, cause) && strings.Contains(line, `"identity":"alice"`) && strings.Contains(line, `"target":"token:tk_`)
		}
		if !found {
			t.Errorf("the log doesn't say %q of alice's token:\n%s", cause, log)
		}
	}
}

// psql as it is enters with the certificate of `postern login`, without any
// password; a copy of the certificate without the key doesn't, nor does
// anything after logout.
func TestLoginCertificate(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	alice := g.login("alice")
	dir := filepath.Join(g.path("home-alice"), "tls")
	psql := func(certFile, keyFile, user string) (string, error) {
		cmd := exec.Command("psql", "--no-psqlrc", "--no-password", "-Atc", "SELECT count(*) > 0 FROM orders")
		cmd.Env = append(g.environ(""), "PGUSER="+user, "PGSSLCERT="+certFile, "PGSSLKEY="+keyFile)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	certFile, keyFile := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if out, err := psql(certFile, keyFile, "alice"); err != nil || out != "t" {
		t.Fatalf("%s, %v", out, err)
	}
	if out, err := psql(certFile, keyFile, "dave"); err == nil {
		t.Errorf("alice enters as dave: %s", out)
	}
	// A thief has the certificate, and a key of their own.
	other, _ := ownKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(other.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	g.write("thief.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if out, err := psql(certFile, g.path("thief.key"), "alice"); err == nil {
		t.Errorf("a copied certificate enters: %s", out)
	}
	// Its key under a certificate that names the entry, signed by nobody.
	text, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	issued, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	forged := &x509.Certificate{SerialNumber: issued.SerialNumber, Subject: issued.Subject, URIs: issued.URIs, NotBefore: issued.NotBefore, NotAfter: issued.NotAfter}
	der, err = x509.CreateCertificate(rand.Reader, forged, forged, &other.PrivateKey.(*ecdsa.PrivateKey).PublicKey, other.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	g.write("forged.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if out, err := psql(g.path("forged.crt"), g.path("thief.key"), "alice"); err == nil {
		t.Errorf("a forged certificate enters: %s", out)
	}
	if out, err := g.run(alice, "connect", "orders-db", "--", "-Atc", "SELECT 1"); err != nil || out != "1" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := g.run(alice, "logout"); err != nil {
		t.Fatal(err)
	}
	if out, err := psql(certFile, keyFile, "alice"); err == nil {
		t.Errorf("after logout it enters: %s", out)
	}
}

// Whatever connects to the proxy's port enters as who runs it.
func TestProxy(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	cmd := exec.Command(g.program, "proxy", "orders-db")
	cmd.Env, cmd.Dir = g.environ(g.login("alice")), g.dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for _, as := range []string{"user=anybody password=x dbname=whatever", "user=alice dbname=orders-db sslmode=prefer", "user=x dbname=orders-db/" + g.database} {
		psql := exec.Command("psql", "--no-psqlrc", "-Atc", "SELECT count(*) > 0 FROM orders", "host="+host+" port="+port+" "+as)
		psql.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir}
		if out, err := psql.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "t" {
			t.Errorf("%s: %s, %v", as, out, err)
		}
	}
	list, err := g.run(g.login("dave"), "session", "ls", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []struct{ Identity, Resource string }
	if err := json.Unmarshal([]byte(list), &sessions); err != nil || len(sessions) != 3 {
		t.Fatalf("%v: %s", err, list)
	}
	for _, s := range sessions {
		if s.Identity != "alice" {
			t.Errorf("%+v", s)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// With the token's id in the user's name a client shows that it knows the token,
// and never sends it; its TLS is bound to what it shows.
func TestTokenNeverSent(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	alice := g.login("alice")
	out, err := g.run(alice, "token", "orders-db")
	if err != nil {
		t.Fatal(err)
	}
	list, err := g.run(alice, "token", "ls", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var tokens []struct{ ID, Kind string }
	if err := json.Unmarshal([]byte(list), &tokens); err != nil {
		t.Fatal(err)
	}
	id := ""
	for _, tk := range tokens {
		if tk.Kind == "session" {
			id = tk.ID
		}
	}
	psql := func(user, password string, options ...string) (string, error) {
		cmd := exec.Command("psql", "--no-psqlrc", "--no-password", "-Atc", "SELECT 1")
		cmd.Env = append(append(g.environ(""), "PGUSER="+user, "PGPASSWORD="+password), options...)
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	for _, options := range [][]string{
		{"PGCHANNELBINDING=require"}, {"PGCHANNELBINDING=prefer"}, {"PGCHANNELBINDING=disable"}, {"PGSSLMODE=disable"},
	} {
		if out, err := psql("alice+"+id, out, options...); err != nil || out != "1" {
			t.Errorf("%v: %s, %v", options, out, err)
		}
	}
	if out, err := psql("postern+"+id, out); err != nil || out != "1" {
		t.Errorf("as postern: %s, %v", out, err)
	}
	for what, c := range map[string][2]string{
		"another password":       {"alice+" + id, "postern_st_wrong"},
		"the id as the password": {"alice+" + id, id},
		"another user":           {"dave+" + id, out},
		"another id":             {"alice+tk_" + strings.Repeat("0", 30), out},
		"no id":                  {"alice+tk_", out},
	} {
		if said, err := psql(c[0], c[1]); err == nil || !strings.Contains(said, "login refused") {
			t.Errorf("%s: %s, %v", what, said, err)
		}
	}
	// What the store has of it lets nobody in.
	if out, err := psql("alice+"+id, "SCRAM-SHA-256$4096"); err == nil {
		t.Errorf("%s", out)
	}
	log, err := g.run(g.login("dave"), "audit", "tail", "-n", "60", "-o", "json")
	if err != nil || !strings.Contains(log, "the client doesn't know the token") || strings.Contains(log, out) {
		t.Errorf("%v: %s", err, log)
	}
}
