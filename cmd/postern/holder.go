package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
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
	key   crypto.Signer // an *ecdsa.PrivateKey, or a *tpmKey
	print string        // its fingerprint
}

func holderOf(key crypto.Signer) (holder, error) {
	print256, err := postern.Fingerprint(key.Public())
	return holder{key: key, print: print256}, err
}

// newHolder makes a key in memory.
func newHolder() (holder, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return holder{}, err
	}
	return holderOf(key)
}

// Where the key of a login is.
const (
	keyInTPM  = "tpm"
	keyInFile = "file"
)

// loginKey is the key of a new login. where says to its person where it is, and
// why it isn't in a TPM.
type loginKey struct {
	holder
	where string
}

// newLoginKey makes it where --key says; "": in this machine's TPM, if there is
// one that we may use.
func (a *app) newLoginKey(kind string) (loginKey, error) {
	where := "in a file"
	switch kind {
	case "", keyInTPM:
		key, err := a.newTPMKey()
		if err == nil {
			h, err := holderOf(key)
			return loginKey{holder: h, where: "in this machine's TPM"}, err
		}
		if kind == keyInTPM {
			return loginKey{}, fmt.Errorf("--key tpm: %w; without --key, the key would be in a file", err)
		}
		where += ": " + err.Error()
	case keyInFile:
	default:
		return loginKey{}, &usageError{err: fmt.Errorf("--key %s: it is tpm or file", kind), hint: "without --key it is in the TPM where there is one, else in a file"}
	}
	h, err := newHolder()
	return loginKey{holder: h, where: where}, err
}

// kept is the key as the stored login holds it: wrapped by its TPM; "": it is in
// none.
func (k loginKey) kept() (string, error) {
	if !k.inTPM() {
		return "", nil
	}
	text, err := k.file()
	return string(text), err
}

// holder is the key with which a command enters: that of the login, if a TPM
// has it, else a fresh one in memory.
func (a *app) holder(t target) (holder, error) {
	if t.login.TPMKey == "" {
		return newHolder()
	}
	key, err := a.readTPMKey(t.login.TPMKey)
	if err != nil {
		return holder{}, fmt.Errorf("the key of the login to %s is in a TPM: %w; sign in again with `postern login`", t.server, err)
	}
	return holderOf(key)
}

// inTPM says whether the key can't be handed to another program.
func (h holder) inTPM() bool {
	_, ok := h.key.(*tpmKey)
	return ok
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

// introduction is a certificate that only introduces the key. The handshake
// proves that the key is there; who signed the certificate doesn't matter.
func (h holder) introduction() ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "postern session"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return x509.CreateCertificate(rand.Reader, template, template, h.key.Public(), h.key)
}

// introduce writes the key and its introduction into a folder, for a program that
// shows them in its TLS handshake.
func (h holder) introduce(dir string) (certFile, keyFile string, err error) {
	der, err := h.introduction()
	if err != nil {
		return "", "", err
	}
	return h.write(dir, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// write keeps the key and its certificate in a folder, for their owner only.
func (h holder) write(dir string, cert []byte) (certFile, keyFile string, err error) {
	text, err := h.file()
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	if err := os.WriteFile(keyFile, text, 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, os.WriteFile(certFile, cert, 0o600)
}

// file is the key as a file holds it: in clear, or as its TPM has wrapped it.
func (h holder) file() ([]byte, error) {
	if key, ok := h.key.(*tpmKey); ok {
		return key.file()
	}
	der, err := x509.MarshalPKCS8PrivateKey(h.key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
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
	return h.shown(block.Bytes), nil
}

// shown is the key with a certificate, for a TLS handshake.
func (h holder) shown(der []byte) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: h.key}
}

// enroll keeps the key of a login and its certificate where the login is kept,
// for programs that a person runs by themselves: they last as long as the login,
// and end with it.
func (a *app) enroll(ctx context.Context, t target, token postern.Secret, k loginKey) error {
	at := a.credentials().path
	if at == "" {
		return errors.New("keep the key: neither HOME nor XDG_CONFIG_HOME is set")
	}
	dir := filepath.Join(filepath.Dir(at), "tls")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	t.token = token
	c, err := a.dial(t)
	if err != nil {
		return err
	}
	defer c.Close()
	issued, err := k.certify(ctx, c, "")
	if err != nil {
		return fmt.Errorf("get a certificate: %w", err)
	}
	certFile, keyFile, err := k.write(dir, []byte(issued.Certificate))
	if err != nil {
		return err
	}
	a.ui.say("key: %s", k.where)
	a.ui.say("certificate %s, until %s: sslcert=%s sslkey=%s", issued.ID, clock(issued.ExpiresAt), certFile, keyFile)
	if k.inTPM() {
		a.ui.say("enter through `postern proxy` and `postern connect`: few programs use a key in a TPM by themselves")
	}
	return nil
}

// forget removes what enroll has kept, and OpenSSH's certificate, whose key goes
// on: another login gets another certificate for it.
func (a *app) forget() error {
	at := a.credentials().path
	if at == "" {
		return nil
	}
	err := os.Remove(sshKeys{dir: filepath.Join(filepath.Dir(at), "ssh")}.cert())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(filepath.Dir(at), "tls")))
}
