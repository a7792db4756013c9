//go:build !linux

package main

import (
	"errors"
	"runtime"

	"github.com/google/go-tpm/tpm2/transport"
)

// openTPM opens nothing: there is no other system on which we could try it.
func openTPM(string) (transport.TPMCloser, error) {
	return nil, errors.New("postern uses TPMs on Linux only, and this is " + runtime.GOOS)
}
