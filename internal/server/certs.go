package server

import (
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
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 30 * 24 * time.Hour
	clockSlack   = 5 * time.Minute
)

// certificates hands out the gateway's server certificate: the configured one,
// read again when its file changes, or one issued by the gateway's own CA and
// renewed before it ends.
type certificates struct {
	names []string // what issued certificates are valid for
	now   func() time.Time

	caCert *x509.Certificate // nil when certificates are configured
	caKey  *ecdsa.PrivateKey
	caFile string

	certFile, keyFile string

	mu      sync.Mutex
	leaf    *tls.Certificate
	renewAt time.Time
	modTime time.Time
}

// openCertificates reads the configured pair, or the CA in dir, which it makes
// at the first start.
func openCertificates(dir, certFile, keyFile string, names []string, now func() time.Time) (*certificates, error) {
	c := &certificates{names: names, now: now, certFile: certFile, keyFile: keyFile}
	if certFile != "" {
		_, err := c.get()
		return c, err
	}
	c.caFile = filepath.Join(dir, "ca.pem")
	keyPath := filepath.Join(dir, "ca.key")
	certPEM, err := os.ReadFile(c.caFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeCA(c.caFile, keyPath, now()); err != nil {
			return nil, fmt.Errorf("make a CA: %w", err)
		}
		certPEM, err = os.ReadFile(c.caFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return nil, fmt.Errorf("read CA key: %w", err)
	}
	if c.caCert, c.caKey, err = parseCA(certPEM, keyPEM); err != nil {
		return nil, fmt.Errorf("read CA %s: %w", c.caFile, err)
	}
	_, err = c.get()
	return c, err
}

// config is the TLS configuration of every listener.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get() },
	}
}

// get returns the certificate to show now.
func (c *certificates) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.certFile != "" {
		return c.configured()
	}
	// A clock that was set back finds a certificate of the future.
	if now := c.now(); c.leaf != nil && now.Before(c.renewAt) && !now.Before(c.leaf.Leaf.NotBefore) {
		return c.leaf, nil
	}
	leaf, err := c.issue()
	if err != nil {
		return nil, fmt.Errorf("issue the server certificate: %w", err)
	}
	c.leaf, c.renewAt = leaf, c.now().Add(leafLifetime*2/3)
	return leaf, nil
}

// configured reads the configured pair when it is new. A pair that can't be
// read keeps the last good one.
func (c *certificates) configured() (*tls.Certificate, error) {
	info, err := os.Stat(c.certFile)
	if err == nil && c.leaf != nil && info.ModTime().Equal(c.modTime) {
		return c.leaf, nil
	}
	pair, loadErr := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err := errors.Join(err, loadErr); err != nil {
		if c.leaf != nil {
			return c.leaf, nil
		}
		return nil, fmt.Errorf("read certificate %s: %w", c.certFile, err)
	}
	c.leaf, c.modTime = &pair, info.ModTime()
	return c.leaf, nil
}

func (c *certificates) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "postern gateway"},
		NotBefore: c.now().Add(-clockSlack), NotAfter: c.now().Add(leafLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.caCert, &key.PublicKey, c.caKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.caCert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// makeCA writes the key first: a certificate without its key would look made.
func makeCA(certPath, keyPath string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "postern CA"},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(caLifetime), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	// Everybody who connects needs the certificate.
	return os.WriteFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644) //nolint:gosec // public by nature
}

func parseCA(certPEM, keyPEM []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, errors.New("not PEM")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, errors.New("the key is not PKCS #8")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || !ec.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, errors.New("the key does not belong to the certificate")
	}
	return cert, ec, nil
}
