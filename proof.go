package postern

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
)

// Proof is what a connection has proved of its client before any secret was
// sent: a TLS handshake or an SSH signature by a key, or an exchange that shows
// knowledge of a token without sending it. Whoever made the connection vouches
// for it; what it is worth, identity.Service says.
type Proof struct {
	// Key is the [Fingerprint] of a public key whose private key the client
	// has used within this connection; "": none.
	Key string
	// Alone: Key is what the client logs in with, by itself, where its owner has
	// registered it. The key of a TLS certificate isn't, whoever signed it.
	Alone bool
	// Certificate is the id of the certificate that the gateway itself issued
	// for Key, and that was in force; "": none. Whether it was revoked is in
	// the store alone.
	Certificate string
	// User is the name of the certificate's identity, for a listener that has
	// to choose whether to ask for a token, too.
	User string
	// Token is the id of a session token that the client has shown to know.
	Token string
}

// Fingerprint names a public key: "SHA256:" and the hash of its
// SubjectPublicKeyInfo, whatever format the key came in, so that a key is the
// same one in a TLS certificate, in an SSH certificate and on its own.
func Fingerprint(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("fingerprint: %w", err)
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), nil
}
