package sshserver

import "syscall"

// childAttr makes the kernel shut it down when
// its owner is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
