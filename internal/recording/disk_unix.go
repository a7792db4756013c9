//go:build unix

package recording

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock marks a file as being written, until it is closed or the process ends.
// When another has it, lock waits, or returns ErrLive.
func lock(file *os.File, wait bool) error {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	err := unix.Flock(int(file.Fd()), how)
	for wait && errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(file.Fd()), how)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLive
	}
	return err
}

// intact says what somebody did to a file that is being written: it has no name any
// more, or less than what was written to it. nil: nothing.
func intact(file *os.File, size int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Nlink == 0 {
		return errors.New("its file was removed")
	}
	return uncut(st.Size, size)
}

// freeSpace is what an unprivileged writer may still use of a folder's disk.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // other systems have other widths
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
