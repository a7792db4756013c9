package main

import (
	"os"

	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// openTPM opens a device, or the Unix socket of a TPM in software.
func openTPM(path string) (transport.TPMCloser, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		return linuxudstpm.Open(path)
	}
	return linuxtpm.Open(path)
}
