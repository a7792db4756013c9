//go:build unix && !linux

package pgserver

import "syscall"

// childAttr runs the server as owner.
func childAttr(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner, Setpgid: true}
}
