package authority_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/identity/authority"
	"postern/internal/store"
	"postern/internal/vault"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

type world struct {
	*authority.Authority
	db  *store.DB
	v   *vault.Vault
	now time.Time
}

func open(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{now: start}
	var err error
	w.v, err = vault.Open(dir, postern.Secret{})
	ok(t, err)
	w.db, err = store.Open(t.Context(), "sqlite", dir)
	ok(t, err)
	t.Cleanup(func() { ok(t, w.db.Close()) })
	w.Authority = w.again(t)
	return w
}

func (w *world) again(t *testing.T) *authority.Authority {
	t.Helper()
	a, err := authority.Open(t.Context(), authority.Config{
		Store: w.db, Vault: w.v, Hosts: []string{"gw.example"}, Now: func() time.Time { return w.now },
	})
	ok(t, err)
	return a
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	return key
}

const id = "ct_0123456789abcdef0123456789abcd"

func (w *world) issue(t *testing.T, key crypto.PublicKey) authority.Issued {
	t.Helper()
	fingerprint, err := postern.Fingerprint(key)
	ok(t, err)
	issued, err := w.Issue(postern.Token{
		ID: id, Kind: postern.Certificate, Key: fingerprint, CreatedAt: w.now, ExpiresAt: w.now.Add(time.Hour),
		Identity: postern.Identity{Name: "ci:acme/shop, root", Kind: postern.Workload},
	}, key)
	ok(t, err)
	return issued
}

// handshake is what the gateway's end of a TLS connection has proved.
func (w *world) handshake(t *testing.T, c *tls.Config) (postern.Proof, error) {
	t.Helper()
	serverKey := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"gw.example"}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, serverKey.Public(), serverKey)
	ok(t, err)
	ours, theirs := net.Pipe()
	c.InsecureSkipVerify = true //nolint:gosec // the test is about the other direction
	client := tls.Client(theirs, c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.Handshake() // the server's end tells
		_, _ = io.Copy(io.Discard, client)
	}()
	server := tls.Server(ours, w.Listener(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: serverKey}},
	}))
	err = server.Handshake()
	state := server.ConnectionState()
	_ = ours.Close()
	<-done
	return w.Proof(&state), err
}

func certificate(t *testing.T, pemText []byte, key crypto.PrivateKey) tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(pemText)
	if block == nil {
		t.Fatal("no PEM")
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

func selfSigned(t *testing.T, key *ecdsa.PrivateKey, serial *big.Int) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: id}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ok(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLSProof(t *testing.T) {
	w := open(t)
	key := newKey(t)
	fingerprint, err := postern.Fingerprint(key.Public())
	ok(t, err)
	issued := certificate(t, w.issue(t, key.Public()).X509, key)
	serial, _ := new(big.Int).SetString(strings.TrimPrefix(id, "ct_"), 16)
	check := func(what string, c *tls.Config, want postern.Proof) {
		t.Helper()
		if len(c.Certificates) > 0 { // whatever the server says that it would like
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.Certificates[0], nil }
		}
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c := c.Clone()
			c.MinVersion, c.MaxVersion = version, version
			got, err := w.handshake(t, c)
			if err != nil || got != want {
				t.Errorf("%s, TLS %x: %+v, %v; want %+v", what, version, got, err, want)
			}
		}
	}
	check("no certificate", &tls.Config{}, postern.Proof{})
	check("ours", &tls.Config{Certificates: []tls.Certificate{issued}}, postern.Proof{Key: fingerprint, Certificate: id, User: "ci:acme/shop, root"})
	check("one that names our serial number and is self-signed", &tls.Config{Certificates: []tls.Certificate{selfSigned(t, key, serial)}}, postern.Proof{Key: fingerprint})
	w.now = start.Add(2 * time.Hour)
	check("ours, over its time", &tls.Config{Certificates: []tls.Certificate{issued}}, postern.Proof{Key: fingerprint})
	w.now = start

	// A copied certificate without its key proves nothing: the handshake fails.
	thief := issued
	thief.PrivateKey = newKey(t)
	if got, err := w.handshake(t, &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &thief, nil }}); err == nil {
		t.Errorf("a copied certificate proves %+v", got)
	}
	// Another gateway's is nobody's here, whatever it says.
	foreign := open(t)
	check("another gateway's", &tls.Config{Certificates: []tls.Certificate{certificate(t, foreign.issue(t, key.Public()).X509, key)}}, postern.Proof{Key: fingerprint})
	if got := w.Proof(nil); got != (postern.Proof{}) {
		t.Errorf("no TLS proves %+v", got)
	}
	if got := w.Proof(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}); got != (postern.Proof{}) {
		t.Errorf("an unfinished handshake proves %+v", got)
	}
}

func TestSSHProof(t *testing.T) {
	w := open(t)
	key := newKey(t)
	fingerprint, err := postern.Fingerprint(key.Public())
	ok(t, err)
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.issue(t, key.Public()).SSH))
	ok(t, err)
	cert := public.(*ssh.Certificate)
	if len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != id || cert.KeyId != id || len(cert.CriticalOptions) != 0 {
		t.Errorf("principals %q, key id %q, options %v", cert.ValidPrincipals, cert.KeyId, cert.CriticalOptions)
	}
	if strings.Contains(string(cert.Marshal()), "acme") {
		t.Error("a name that a person chose is in the SSH certificate")
	}
	if got, want := w.SSHProof(cert), (postern.Proof{Key: fingerprint, Certificate: id}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := w.SSHProof(cert.Key), (postern.Proof{Key: fingerprint, Alone: true}); got != want {
		t.Errorf("plain key: %+v, want %+v", got, want)
	}
	other, err := ssh.NewSignerFromKey(newKey(t))
	ok(t, err)
	for what, change := range map[string]func(*ssh.Certificate){
		"another CA":         func(c *ssh.Certificate) { ok(t, c.SignCert(rand.Reader, other)) },
		"another key id":     func(c *ssh.Certificate) { c.KeyId = "ct_ff" },
		"a host certificate": func(c *ssh.Certificate) { c.CertType = ssh.HostCert },
		"critical options":   func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"force-command": "id"} },
		"another key":        func(c *ssh.Certificate) { c.Key = other.PublicKey() },
	} {
		forged := *cert
		change(&forged)
		if got := w.SSHProof(&forged); got != (postern.Proof{}) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	w.now = start.Add(2 * time.Hour)
	if got := w.SSHProof(cert); got != (postern.Proof{}) {
		t.Errorf("over its time: %+v", got)
	}
}

func TestHostSigners(t *testing.T) {
	w := open(t)
	signers, err := w.HostSigners()
	ok(t, err)
	again, err := w.again(t).HostSigners()
	ok(t, err)
	cert, isCert := signers[0].PublicKey().(*ssh.Certificate)
	if len(signers) != 2 || !isCert || string(signers[1].PublicKey().Marshal()) != string(again[1].PublicKey().Marshal()) {
		t.Fatal("no host certificate, or another host key after a restart")
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(w.SSHHostCA()))
	ok(t, err)
	checker := ssh.CertChecker{
		Clock:           func() time.Time { return w.now },
		IsHostAuthority: func(key ssh.PublicKey, _ string) bool { return string(key.Marshal()) == string(ca.Marshal()) },
	}
	ok(t, checker.CheckHostKey("gw.example:12222", nil, cert))
	if checker.CheckHostKey("other.example:12222", nil, cert) == nil {
		t.Error("the host certificate is for any name")
	}
	if w.SSHHostCA() == w.SSHUserCA() || w.SSHProof(cert) != (postern.Proof{}) {
		t.Error("one CA for hosts and users")
	}
}

func TestReadRequest(t *testing.T) {
	key := newKey(t)
	request := func(key crypto.Signer) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		ok(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	good := request(key)
	got, err := authority.ReadRequest(good)
	ok(t, err)
	if !key.PublicKey.Equal(got) {
		t.Error("another key was read")
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	ok(t, err)
	_, err = authority.ReadRequest(request(edKey))
	ok(t, err)
	short, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // refused below
	ok(t, err)
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	ok(t, err)
	block, _ := pem.Decode(good)
	forged := append([]byte(nil), block.Bytes...)
	forged[len(forged)-1] ^= 1
	for says, text := range map[string][]byte{
		"isn't one PEM":      nil,
		"isn't one PEM bl":   append(append([]byte(nil), good...), good...),
		"can't be read":      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")}),
		"isn't one PEM bloc": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}),
		"2048":               request(short),
		"another curve":      request(odd),
		"too long":           make([]byte, 20<<10),
		"own key":            pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}),
	} {
		_, err := authority.ReadRequest(text)
		if !errors.Is(err, authority.ErrRequest) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestReadSSHKey(t *testing.T) {
	w := open(t)
	key := newKey(t)
	public, err := ssh.NewPublicKey(key.Public())
	ok(t, err)
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	want, err := postern.Fingerprint(key.Public())
	ok(t, err)
	fpr, comment, err := authority.ReadSSHKey(line + " me@laptop\n")
	if err != nil || fpr != want || comment != "me@laptop" {
		t.Errorf("%q %q %v", fpr, comment, err)
	}
	for _, text := range []string{"", "x", line + "\n" + line, `command="id" ` + line, w.issue(t, key.Public()).SSH, "cert-authority " + line, strings.Repeat("a", 20<<10)} {
		if _, _, err := authority.ReadSSHKey(text); !errors.Is(err, authority.ErrRequest) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// One that was registered for another key isn't issued.
func TestIssueChecksKey(t *testing.T) {
	w := open(t)
	if _, err := w.Issue(postern.Token{ID: id, Kind: postern.Certificate, Key: "SHA256:other"}, newKey(t).Public()); err == nil {
		t.Error("issued for another key")
	}
}

// What is sealed opens with the vault only, and nothing else is in the store.
func TestKeysAreSealed(t *testing.T) {
	w := open(t)
	for _, name := range []string{"client-ca-key", "ssh-user-ca-key", "ssh-host-ca-key", "ssh-host-key"} {
		sealed, err := w.db.Meta(t.Context(), name)
		ok(t, err)
		if !strings.HasPrefix(sealed, "pv1.") {
			t.Errorf("%s is not sealed", name)
		}
		if _, err := w.v.Unseal("another purpose", sealed); err == nil {
			t.Errorf("%s opens for another purpose", name)
		}
	}
}
