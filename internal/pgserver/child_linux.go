package pgserver

import "syscall"

// childAttr runs the server as owner, and makes the kernel shut it down when
// its owner is killed.
func childAttr(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
}
