// Package swtpm runs TPMs in software, for tests: the same code that clouds put
// into their virtual machines, with the same commands as a chip's.
package swtpm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Start runs a TPM 2.0 whose state is in dir, and which answers at a Unix socket
// there. Each folder is another machine's TPM.
func Start(dir string) (socket string, stop func(), err error) {
	program, err := exec.LookPath("swtpm")
	if err != nil {
		return "", nil, errors.New("swtpm isn't installed: `scripts/deps test`, or `apt-get install swtpm`")
	}
	socket = filepath.Join(dir, "tpm.sock")
	cmd := exec.Command(program, "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--server", "type=unixio,path="+socket, "--ctrl", "type=unixio,path="+filepath.Join(dir, "ctrl.sock"),
		"--flags", "not-need-init,startup-clear", "--log", "file="+filepath.Join(dir, "log"))
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	stop = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := os.Stat(socket); err == nil {
			return socket, stop, nil
		}
		select {
		case <-ended:
			log, err := os.ReadFile(filepath.Join(dir, "log"))
			return "", nil, errors.Join(fmt.Errorf("swtpm ended: %s", log), err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			stop()
			return "", nil, errors.New("swtpm doesn't listen")
		}
	}
}
