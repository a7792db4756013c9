// Package authority is the gateway's own certificate authority for clients: it
// certifies keys that never leave their holder, as X.509 client certificates
// and as SSH user certificates, and the gateway's SSH host key. What it signs
// is short-lived and names an entry of the store, which has the last word.
//
// It has five keys, each for one purpose: one signs client certificates, one
// SSH user certificates, one SSH host certificates, one is the host key itself,
// and one signs what the gateway shows to SSH servers. They are sealed by the
// vault and shared by all gateways on one store. None of them is the key of the
// CA behind the listeners' server certificates.
package authority

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
)

const (
	caLifetime = 10 * 365 * 24 * time.Hour
	// clockSlack is how far a client's clock may be behind ours.
	clockSlack = 5 * time.Minute
	// hostLifetime is an SSH host certificate's life; it is renewed in time.
	hostLifetime = 30 * 24 * time.Hour
)

// Store keeps the sealed keys. AddMeta keeps a value unless there is one
// already, and returns the one that is kept.
type Store interface {
	Meta(ctx context.Context, name string) (string, error)
	AddMeta(ctx context.Context, name, value string) (string, error)
}

// Vault seals the keys.
type Vault interface {
	Seal(purpose string, plaintext []byte) (string, error)
	Unseal(purpose, sealed string) ([]byte, error)
}

// Config is what an Authority is made of. Everything is required.
type Config struct {
	Store Store
	Vault Vault
	// Hosts are the names that clients know the gateway by.
	Hosts []string
	Now   func() time.Time
}

// Authority signs and verifies. Its methods may be called from several
// goroutines.
type Authority struct {
	hosts []string
	now   func() time.Time

	clientCA   *x509.Certificate
	clientKey  crypto.Signer
	clients    *x509.CertPool
	userCA     ssh.Signer
	hostCA     ssh.Signer
	hostKey    ssh.Signer
	serverCA   ssh.Signer
	clientsPEM []byte
}

// Open reads the keys from the store, which it puts there at the first start.
func Open(ctx context.Context, cfg Config) (*Authority, error) {
	if cfg.Store == nil || cfg.Vault == nil || cfg.Now == nil {
		return nil, errors.New("authority: a part of the configuration is missing")
	}
	a := &Authority{hosts: cfg.Hosts, now: cfg.Now}
	for _, k := range []struct {
		name  string
		fresh func() (crypto.Signer, error)
		use   func(crypto.Signer) error
	}{
		{"client-ca-key", newECDSA, func(s crypto.Signer) error { a.clientKey = s; return nil }},
		{"ssh-user-ca-key", newEd25519, sshSigner(&a.userCA)},
		{"ssh-host-ca-key", newEd25519, sshSigner(&a.hostCA)},
		{"ssh-host-key", newEd25519, sshSigner(&a.hostKey)},
		{"ssh-server-ca-key", newEd25519, sshSigner(&a.serverCA)},
	} {
		key, err := openKey(ctx, cfg, k.name, k.fresh)
		if err == nil {
			err = k.use(key)
		}
		if err != nil {
			return nil, fmt.Errorf("authority: %s: %w", k.name, err)
		}
	}
	if err := a.openClientCA(ctx, cfg.Store); err != nil {
		return nil, fmt.Errorf("authority: client CA: %w", err)
	}
	return a, nil
}

func newECDSA() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func sshSigner(into *ssh.Signer) func(crypto.Signer) error {
	return func(key crypto.Signer) (err error) {
		*into, err = ssh.NewSignerFromSigner(key)
		return err
	}
}

// openKey unseals a key, or makes and seals it. Of several gateways that start
// at once all get the same.
func openKey(ctx context.Context, cfg Config, name string, fresh func() (crypto.Signer, error)) (crypto.Signer, error) {
	sealed, err := cfg.Store.Meta(ctx, name)
	if errors.Is(err, postern.ErrNotFound) {
		sealed, err = sealKey(ctx, cfg, name, fresh)
	}
	if err != nil {
		return nil, err
	}
	der, err := cfg.Vault.Unseal(name, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is no private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it doesn't sign")
	}
	return signer, nil
}

func sealKey(ctx context.Context, cfg Config, name string, fresh func() (crypto.Signer, error)) (string, error) {
	key, err := fresh()
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	defer clear(der)
	sealed, err := cfg.Vault.Seal(name, der)
	if err != nil {
		return "", err
	}
	return cfg.Store.AddMeta(ctx, name, sealed)
}

// openClientCA reads the client CA's certificate, which is no secret, or makes it.
func (a *Authority) openClientCA(ctx context.Context, store Store) error {
	const name = "client-ca"
	text, err := store.Meta(ctx, name)
	if errors.Is(err, postern.ErrNotFound) {
		var der []byte
		if der, err = a.makeClientCA(); err != nil {
			return err
		}
		text, err = store.AddMeta(ctx, name, string(certificatePEM(der)))
	}
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return errors.New("it is not PEM")
	}
	if a.clientCA, err = x509.ParseCertificate(block.Bytes); err != nil {
		return err
	}
	public, ok := a.clientKey.Public().(*ecdsa.PublicKey)
	if !ok || !public.Equal(a.clientCA.PublicKey) {
		return errors.New("its certificate is another key's")
	}
	a.clients = x509.NewCertPool()
	a.clients.AddCert(a.clientCA)
	a.clientsPEM = certificatePEM(a.clientCA.Raw)
	return nil
}

func (a *Authority) makeClientCA() ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "postern client CA"},
		NotBefore: a.now().Add(-clockSlack), NotAfter: a.now().Add(caLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return x509.CreateCertificate(rand.Reader, template, template, a.clientKey.Public(), a.clientKey)
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ClientCA is the certificate that client certificates are signed with, PEM.
func (a *Authority) ClientCA() []byte { return a.clientsPEM }

// SSHUserCA is the key that SSH user certificates are signed with, as in
// authorized_keys.
func (a *Authority) SSHUserCA() string { return authorizedKey(a.userCA.PublicKey()) }

// SSHHostCA is the key that the gateway's SSH host certificate is signed with,
// for a client's @cert-authority line.
func (a *Authority) SSHHostCA() string { return authorizedKey(a.hostCA.PublicKey()) }

// SSHServerCAKey is the key that the gateway's own certificates are signed with,
// for the TrustedUserCAKeys of servers that it logs in at.
func (a *Authority) SSHServerCAKey() string { return authorizedKey(a.serverCA.PublicKey()) }

func authorizedKey(key ssh.PublicKey) string {
	line := ssh.MarshalAuthorizedKey(key)
	return string(line[:len(line)-1])
}
