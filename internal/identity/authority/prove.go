package authority

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"postern"
)

// Listener is base as a native listener shows it: it asks for a client's
// certificate, and takes any, as a handshake with one proves possession of its
// key, whoever signed it. What it is worth says [Authority.Proof]. A resumed
// session would prove that of an earlier connection: there are none.
func (a *Authority) Listener(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.ClientAuth = tls.RequestClientCert
	c.ClientCAs = a.clients // the names are a hint for clients that choose among several
	c.SessionTicketsDisabled = true
	return c
}

// Proof is what a TLS handshake has proved of the client.
func (a *Authority) Proof(state *tls.ConnectionState) postern.Proof {
	if state == nil || !state.HandshakeComplete || state.DidResume || len(state.PeerCertificates) == 0 {
		return postern.Proof{}
	}
	leaf := state.PeerCertificates[0]
	key, err := postern.Fingerprint(leaf.PublicKey)
	if err != nil {
		return postern.Proof{}
	}
	proof := postern.Proof{Key: key}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: a.clients, CurrentTime: a.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	id, ok := idOf(leaf.SerialNumber)
	if err == nil && ok && !leaf.IsCA {
		proof.Certificate, proof.User = id, userOf(leaf.URIs)
	}
	return proof
}

// userOf reads the identity's name that issueX509 wrote.
func userOf(uris []*url.URL) string {
	if len(uris) != 1 || uris[0].Scheme != "postern" {
		return ""
	}
	_, name, _ := strings.Cut(uris[0].Opaque, "/")
	name, err := url.PathUnescape(name)
	if err != nil {
		return ""
	}
	return name
}

// SSHProof is what an SSH signature by key has proved of the client: ask only
// for the key that has signed, never for one that was merely offered. key may be
// a plain key or a certificate of this gateway; any other certificate proves
// nothing. source-address and other critical options are never in ours, so that
// a certificate that has one isn't.
func (a *Authority) SSHProof(key ssh.PublicKey) postern.Proof {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		fingerprint, err := sshFingerprint(key)
		if err != nil {
			return postern.Proof{}
		}
		return postern.Proof{Key: fingerprint, Alone: true}
	}
	fingerprint, err := sshFingerprint(cert.Key)
	if err != nil || cert.CertType != ssh.UserCert || len(cert.CriticalOptions) > 0 {
		return postern.Proof{}
	}
	checker := &ssh.CertChecker{Clock: a.now, IsUserAuthority: a.isUserCA}
	if !a.isUserCA(cert.SignatureKey) || checker.CheckCert(cert.KeyId, cert) != nil {
		return postern.Proof{}
	}
	return postern.Proof{Key: fingerprint, Certificate: cert.KeyId}
}

func (a *Authority) isUserCA(key ssh.PublicKey) bool {
	return slices.Equal(key.Marshal(), a.userCA.PublicKey().Marshal())
}

// sshFingerprint is the fingerprint of a plain SSH key: the same as of its TLS
// form, where it has one. A security key has none, and is named by SSH's own.
func sshFingerprint(key ssh.PublicKey) (string, error) {
	if plain, ok := key.(ssh.CryptoPublicKey); ok {
		if fingerprint, err := postern.Fingerprint(plain.CryptoPublicKey()); err == nil {
			return fingerprint, nil
		}
	}
	return ssh.FingerprintSHA256(key), nil
}

// ReadSSHKey reads a line as in authorized_keys or a .pub file, and returns the
// key's fingerprint and comment. Options and certificates are refused.
func ReadSSHKey(line string) (fingerprint, comment string, err error) {
	if len(line) > maxRequest {
		return "", "", fmt.Errorf("%w is too long", ErrRequest)
	}
	key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || strings.TrimSpace(string(rest)) != "" {
		return "", "", fmt.Errorf("%w isn't one public key as ssh-keygen writes it", ErrRequest)
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return "", "", fmt.Errorf("%w is a certificate; register the key, or get one with postern login", ErrRequest)
	}
	if plain, ok := key.(ssh.CryptoPublicKey); ok {
		if why := unfit(plain.CryptoPublicKey()); why != "" {
			return "", "", fmt.Errorf("%w %s", ErrRequest, why)
		}
	}
	fingerprint, err = sshFingerprint(key)
	return fingerprint, comment, err
}

// HostSigners are the gateway's SSH host keys, best first: certified for its
// names, and plain for clients that know it by its key. Ask anew for each
// connection, or at least daily: the certificate is renewed. It is for the
// gateway's names, and for those that are given: of a resource that a client
// takes the gateway for, which it reached through it.
func (a *Authority) HostSigners(also ...string) ([]ssh.Signer, error) {
	hosts := slices.Concat(a.hosts, also)
	if len(hosts) == 0 {
		return nil, errors.New("authority: SSH host certificate: the gateway has no names, and one without names is for all")
	}
	now := a.now()
	cert := &ssh.Certificate{
		Key: a.hostKey.PublicKey(), CertType: ssh.HostCert, KeyId: "postern gateway", ValidPrincipals: hosts,
		ValidAfter: unix(now.Add(-clockSlack)), ValidBefore: unix(now.Add(hostLifetime)),
	}
	if err := cert.SignCert(rand.Reader, a.hostCA); err != nil {
		return nil, fmt.Errorf("authority: SSH host certificate: %w", err)
	}
	signer, err := ssh.NewCertSigner(cert, a.hostKey)
	if err != nil {
		return nil, fmt.Errorf("authority: SSH host certificate: %w", err)
	}
	return []ssh.Signer{signer, a.hostKey}, nil
}

// SSHServerCA signs the certificates with which the gateway logs in at SSH
// servers. It certifies nobody else's keys, so that a server which trusts it
// trusts the gateway alone.
func (a *Authority) SSHServerCA() (ssh.Signer, error) { return a.serverCA, nil }
