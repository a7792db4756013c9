//go:build unix && !linux

package sshserver

import "syscall"

// childAttr keeps the terminal's signals from the server.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
