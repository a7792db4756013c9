package ssh

import (
	"crypto/ed25519"
	"crypto/tls"
	"testing"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/protocol"
)

// theAuthority has keys that the tests know.
var theAuthority = testAuthority{}

type testAuthority struct{}

func testKey(n byte) ssh.Signer {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		panic(err)
	}
	return s
}

func (testAuthority) Proof(*tls.ConnectionState) postern.Proof { return postern.Proof{} }

func (testAuthority) SSHProof(key ssh.PublicKey) postern.Proof {
	return postern.Proof{Key: ssh.FingerprintSHA256(key), Alone: true}
}

func (testAuthority) HostSigners(...string) ([]ssh.Signer, error) {
	return []ssh.Signer{testKey(1)}, nil
}

func (testAuthority) SSHServerCA() (ssh.Signer, error) { return testKey(2), nil }

// tlsOnly is an authority that knows nothing of SSH.
type tlsOnly struct{}

func (tlsOnly) Proof(*tls.ConnectionState) postern.Proof { return postern.Proof{Key: "k"} }

// With an authority that knows nothing of SSH no key lets anybody in, and no
// client is met with a host key that nobody vouches for.
func TestAuthorityWithoutSSH(t *testing.T) {
	for _, a := range []protocol.Authority{nil, tlsOnly{}} {
		p := New(protocol.Options{Authority: a})
		if got := p.authority.SSHProof(testKey(3).PublicKey()); got != (postern.Proof{}) {
			t.Errorf("%T: a key proves %+v", a, got)
		}
		if _, err := p.serverConfig(); err == nil {
			t.Errorf("%T: a host key", a)
		}
		if _, err := p.mint("id", []string{"deploy"}, "", nil); err == nil {
			t.Errorf("%T: a certificate for a server", a)
		}
	}
}
