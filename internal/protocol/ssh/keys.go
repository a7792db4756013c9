package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	clockSlack = 5 * time.Minute
	// certLifetime bounds how long a certificate for a server opens connections:
	// it is made for the one that is being opened.
	certLifetime = 5 * time.Minute
)

// mint makes a key, and a certificate for it, that open one connection to a
// server: as one user and in groups, from one address, for minutes.
func (p *Protocol) mint(keyID string, as []string, from string, extensions []string) (ssh.Signer, error) {
	for _, name := range as {
		if !validLogin(strings.TrimPrefix(name, "group:")) {
			return nil, errors.New("the remote user's name can't stand in a certificate")
		}
	}
	ca, err := p.authority.SSHServerCA()
	if err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	now := p.o.Now()
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: keyID, ValidPrincipals: as,
		ValidAfter: seconds(now.Add(-clockSlack)), ValidBefore: seconds(now.Add(certLifetime)),
		Permissions: ssh.Permissions{Extensions: make(map[string]string)},
	}
	if from != "" {
		cert.CriticalOptions = map[string]string{"source-address": from}
	}
	for _, name := range extensions {
		cert.Extensions[name] = ""
	}
	var serial [8]byte
	if _, err := rand.Read(serial[:]); err != nil {
		return nil, err
	}
	cert.Serial = binary.BigEndian.Uint64(serial[:])
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return ssh.NewCertSigner(cert, key)
}

func seconds(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }
