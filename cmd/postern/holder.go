package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api"
	"postern/internal/api/client"
)

// holder is a key of this machine's, made here and sent nowhere. What is bound
// to it is worth nothing without it.
type holder struct {
	key   *ecdsa.PrivateKey
	print string // its fingerprint
}

func newHolder() (holder, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return holder{}, err
	}
	print256, err := postern.Fingerprint(key.Public())
	return holder{key: key, print: print256}, err
}

// mint gets a session token that is bound to the key, where the resource's own
// client can show one. What another protocol's client is given isn't used.
func (h holder) mint(cmd *cobra.Command, c *client.Client, in api.TokenRequest) (api.SessionToken, error) {
	bound := in
	bound.Key = h.print
	token, err := mint(cmd, c, bound)
	if err != nil {
		return token, err
	}
	if n, err := nativeFor(token.Protocol); err != nil || n.showsKey != nil {
		return token, err
	}
	return mint(cmd, c, in)
}

// introduce writes the key, and a certificate that only introduces it, into a
// folder, for a program that shows them in its TLS handshake. The handshake
// proves that the key is there; who signed the certificate doesn't matter.
func (h holder) introduce(dir string) (certFile, keyFile string, err error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "postern session"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, h.key.Public(), h.key)
	if err != nil {
		return "", "", err
	}
	return h.write(dir, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// write keeps the key and its certificate in a folder, for their owner only.
func (h holder) write(dir string, cert []byte) (certFile, keyFile string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(h.key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.WriteFile(certFile, cert, 0o600)
}

// certify gets a certificate for the key. resource "" is all that its owner may
// open.
func (h holder) certify(ctx context.Context, c *client.Client, resource string) (api.Certificates, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, h.key)
	if err != nil {
		return api.Certificates{}, err
	}
	return c.Certify(ctx, api.CertificateRequest{
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), Resource: resource,
	})
}

// pair is the key with an issued certificate, for a TLS handshake.
func (h holder) pair(issued api.Certificates) (tls.Certificate, error) {
	block, _ := pem.Decode([]byte(issued.Certificate))
	if block == nil {
		return tls.Certificate{}, errors.New("the gateway's certificate is no PEM")
	}
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: h.key}, nil
}

// enroll keeps a fresh key and its certificate where `postern login` keeps the
// login, for programs that a person runs by themselves: they last as long as the
// login, and end with it.
func (a *app) enroll(ctx context.Context, t target, token postern.Secret) error {
	at := a.credentials().path
	if at == "" {
		return errors.New("keep the key: neither HOME nor XDG_CONFIG_HOME is set")
	}
	dir := filepath.Join(filepath.Dir(at), "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	h, err := newHolder()
	if err != nil {
		return err
	}
	t.token = token
	c, err := a.dial(t)
	if err != nil {
		return err
	}
	defer c.Close()
	issued, err := h.certify(ctx, c, "")
	if err != nil {
		return fmt.Errorf("get a certificate: %w", err)
	}
	certFile, keyFile, err := h.write(dir, []byte(issued.Certificate))
	if err == nil {
		a.ui.say("certificate %s, until %s: sslcert=%s sslkey=%s", issued.ID, clock(issued.ExpiresAt), certFile, keyFile)
	}
	return err
}

// forget removes what enroll has kept.
func (a *app) forget() error {
	at := a.credentials().path
	if at == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(filepath.Dir(at), "tls"))
}
