package pgcluster

import "syscall"

// room is what a server of the tests may need.
const room = 2 << 30

// inMemory is a folder kept in memory, "" if there is none with room: tests make
// and drop databases by the hundred, which file systems on disks are slow at.
func inMemory() string {
	const shm = "/dev/shm"
	var fs syscall.Statfs_t
	if err := syscall.Statfs(shm, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room { //nolint:gosec // a size
		return ""
	}
	return shm
}
