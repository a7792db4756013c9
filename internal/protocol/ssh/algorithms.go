package ssh

import (
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// algorithms are what both sides are offered. AES-GCM comes first, and where the
// processor has instructions for it ChaCha20 isn't offered at all: OpenSSH
// prefers it, and in Go on amd64 it takes several times as long. CTR is for old
// clients. Diffie-Hellman over SHA-1 is left out.
func algorithms() ssh.Config {
	supported := ssh.SupportedAlgorithms()
	config := ssh.Config{
		KeyExchanges:   supported.KeyExchanges,
		Ciphers:        supported.Ciphers,
		MACs:           slices.DeleteFunc(supported.MACs, func(mac string) bool { return mac == ssh.HMACSHA1 }),
		RekeyThreshold: 1 << 30, // as OpenSSH does
	}
	if cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ {
		config.Ciphers = slices.DeleteFunc(config.Ciphers, func(cipher string) bool { return cipher == ssh.CipherChaCha20Poly1305 })
	}
	return config
}
