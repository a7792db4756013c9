package ssh

import (
	"crypto/tls"
	"errors"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/protocol"
)

// Authority is what SSH needs of a [protocol.Authority] besides. Of one that
// hasn't it, no client's key proves anything, and there is no host key.
type Authority interface {
	protocol.Authority
	// SSHProof is what a signature by key, plain or certified, has proved. It
	// is for the key that has signed, never for one that was merely offered.
	SSHProof(key ssh.PublicKey) postern.Proof
	// HostSigners are the gateway's SSH host keys, best first. They are asked
	// for anew for each connection, as the host certificate is renewed. The
	// certificate is for the gateway's own names, and for those that are given.
	HostSigners(also ...string) ([]ssh.Signer, error)
	// SSHServerCA signs the certificates with which the gateway logs in at SSH
	// servers that trust it.
	SSHServerCA() (ssh.Signer, error)
}

func authorityOf(a protocol.Authority) Authority {
	if own, ok := a.(Authority); ok {
		return own
	}
	return nobody{}
}

// nobody is the Authority of a gateway without one.
type nobody struct{}

func (nobody) Proof(*tls.ConnectionState) postern.Proof { return postern.Proof{} }
func (nobody) SSHProof(ssh.PublicKey) postern.Proof     { return postern.Proof{} }
func (nobody) HostSigners(...string) ([]ssh.Signer, error) {
	return nil, errors.New("there is no SSH host key")
}
func (nobody) SSHServerCA() (ssh.Signer, error) { return nil, errors.New("there is no SSH CA") }
