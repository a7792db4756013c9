package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"postern"
)

// The TLS modes of a resource.
const (
	tlsDisable    = "disable"
	tlsRequire    = "require"     // encrypted; verified only as far as a CA is given
	tlsVerifyFull = "verify-full" // and with a certificate for the server's name
)

// upstreamTLS says how TLS is spoken to host; nil: not at all. There is no
// "prefer": a server without TLS is refused by every other mode.
func upstreamTLS(t postern.TLS, host string, login postern.Login) (*tls.Config, error) {
	if t.Mode == tlsDisable {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if config.ServerName == "" {
		config.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file %s holds no certificate", t.CAFile)
		}
	}
	switch t.Mode {
	case "", tlsVerifyFull:
	case tlsRequire:
		config.InsecureSkipVerify = true // what this mode means: encrypted, not verified
		if config.RootCAs != nil {
			config.VerifyConnection = verifyChain(config.RootCAs)
		}
	default:
		return nil, fmt.Errorf("tls.mode %q is none of disable, require, verify-full", t.Mode)
	}
	if !login.Certificate.IsZero() || !login.PrivateKey.IsZero() {
		pair, err := tls.X509KeyPair([]byte(login.Certificate.Reveal()), []byte(login.PrivateKey.Reveal()))
		if err != nil {
			return nil, errors.New("the client certificate and its private key don't fit or can't be read")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// verifyChain checks who signed the server's certificate, whatever its name.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}
