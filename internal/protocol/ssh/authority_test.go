package ssh

import (
	"crypto/ed25519"
	"crypto/tls"

	"golang.org/x/crypto/ssh"

	"postern"
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
