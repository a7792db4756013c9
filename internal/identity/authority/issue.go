package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/identity"
)

// maxRequest bounds a certificate request, in bytes of PEM.
const maxRequest = 16 << 10

// ErrRequest says that a certificate request can't be granted; the words are
// for whoever made it.
var ErrRequest = errors.New("the certificate request")

// ReadRequest reads a PKCS #10 request in PEM and returns the key that it is
// about. The request is signed with that key, which proves that whoever made it
// has it; nothing else in it counts.
func ReadRequest(text []byte) (crypto.PublicKey, error) {
	fail := func(why string) (crypto.PublicKey, error) { return nil, fmt.Errorf("%w %s", ErrRequest, why) }
	if len(text) > maxRequest {
		return fail("is too long")
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || strings.TrimSpace(string(rest)) != "" {
		return fail("isn't one PEM block of type CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fail("can't be read")
	}
	if why := unfit(request.PublicKey); why != "" {
		return fail(why)
	}
	if request.CheckSignature() != nil {
		return fail("isn't signed with its own key")
	}
	return request.PublicKey, nil
}

// unfit says why a key isn't certified, or "".
func unfit(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if bits := k.Curve.Params().BitSize; bits != 256 && bits != 384 {
			return "has a key on another curve than P-256 and P-384"
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > 4096 {
			return "has an RSA key of other than 2048 to 4096 bits"
		}
	default:
		return "has a key that is neither ECDSA, Ed25519 nor RSA"
	}
	return ""
}

// Issued are the certificates of one key.
type Issued struct {
	X509 []byte // PEM
	SSH  string // a line for a -cert.pub file
}

// Issue certifies a key as the registered certificate t says. The id is the
// X.509 serial number and SSH's key id; nothing that a person chose is in the
// SSH certificate, so that no name of theirs can mean anything to a server
// that should come to trust our key.
func (a *Authority) Issue(t postern.Token, key crypto.PublicKey) (Issued, error) {
	fingerprint, err := postern.Fingerprint(key)
	if err != nil {
		return Issued{}, err
	}
	if t.Kind != postern.Certificate || t.Key != fingerprint {
		return Issued{}, errors.New("authority: the certificate was registered for another key")
	}
	x, err := a.issueX509(t, key)
	if err != nil {
		return Issued{}, fmt.Errorf("authority: X.509: %w", err)
	}
	s, err := a.issueSSH(t, key)
	if err != nil {
		return Issued{}, fmt.Errorf("authority: SSH: %w", err)
	}
	return Issued{X509: x, SSH: s}, nil
}

func (a *Authority) issueX509(t postern.Token, key crypto.PublicKey) ([]byte, error) {
	serial, err := serialOf(t.ID)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: t.ID, Organization: []string{"postern"}},
		NotBefore: t.CreatedAt.Add(-clockSlack), NotAfter: t.ExpiresAt,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, URIs: []*url.URL{identityURI(t.Identity)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.clientCA, key, a.clientKey)
	if err != nil {
		return nil, err
	}
	return certificatePEM(der), nil
}

// identityURI names an identity in a certificate, for people and for listeners
// that choose how to ask: postern:user/alice. The store knows whose it is.
func identityURI(id postern.Identity) *url.URL {
	return &url.URL{Scheme: "postern", Opaque: url.PathEscape(string(id.Kind)) + "/" + url.PathEscape(id.Name)}
}

// serialOf is a certificate's id as a serial number, and idOf the way back.
func serialOf(id string) (*big.Int, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(id, identity.CertificatePrefix))
	if err != nil || len(b) != idBytes {
		return nil, errors.New("the id is no serial number")
	}
	return new(big.Int).SetBytes(b), nil
}

const idBytes = 15

func idOf(serial *big.Int) (string, bool) {
	if serial.Sign() <= 0 || serial.BitLen() > idBytes*8 {
		return "", false
	}
	var b [idBytes]byte
	serial.FillBytes(b[:])
	return identity.CertificatePrefix + hex.EncodeToString(b[:]), true
}

func (a *Authority) issueSSH(t postern.Token, key crypto.PublicKey) (string, error) {
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		return "", err
	}
	cert := &ssh.Certificate{
		Key: public, CertType: ssh.UserCert, KeyId: t.ID, ValidPrincipals: []string{t.ID},
		ValidAfter: unix(t.CreatedAt.Add(-clockSlack)), ValidBefore: unix(t.ExpiresAt),
		Permissions: ssh.Permissions{Extensions: map[string]string{
			"permit-pty": "", "permit-port-forwarding": "", "permit-agent-forwarding": "",
		}},
	}
	if err := cert.SignCert(rand.Reader, a.userCA); err != nil {
		return "", err
	}
	return authorizedKey(cert), nil
}

func unix(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) } //nolint:gosec // never negative
