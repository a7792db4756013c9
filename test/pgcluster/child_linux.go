package pgcluster

import "syscall"

// childAttr runs the server as owner, and makes the kernel shut it down when
// the tests are killed.
func childAttr(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
}
