package recording

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A window is a part of a file as memory of the process. What is copied there
// is the kernel's at once, as what is written is, and outlives the process; but
// nobody has to call the kernel for it, or can be held up by it. Its pages are
// made ready beforehand: to be first there, a copy would wait for the file
// system.
type window struct {
	mem   []byte
	at    int64         // where in the file mem begins
	ready int           // bytes of mem that can be copied to without a wait
	fence atomic.Uint32 // keeps stores in order
}

// openWindow maps the page of a file's end and what is to follow it. The file, of
// size bytes or more so far, then ends with the window, in zeros.
func openWindow(file *os.File, end, size int64) (*window, error) {
	info, err := file.Stat()
	if err == nil {
		err = uncut(info.Size(), size)
	}
	if err != nil {
		return nil, err
	}
	at := end &^ (int64(os.Getpagesize()) - 1)
	if err := file.Truncate(at + windowSize); err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(int(file.Fd()), at, windowSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	w := &window{mem: mem, at: at, ready: 2 * windowStep}
	if err := errors.Join(w.prepare(0), w.prepare(windowStep)); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// prepare makes the step ready that begins at from: it finds room on the disk for
// each page, or says that there is none.
func (v *window) prepare(from int) error {
	return os.NewSyscallError("madvise", unix.Madvise(v.mem[from:from+windowStep], unix.MADV_POPULATE_WRITE))
}

func (v *window) close() error { return os.NewSyscallError("munmap", unix.Munmap(v.mem)) }

// put copies a frame to a place in the file: its length first and its type last.
// Whoever reads meanwhile, or after a crash, finds nothing, or how much is to be
// there without a type, or the frame.
func (v *window) put(end int64, frame []byte) (err error) {
	// A file that somebody cut has no memory for this any more.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			fault, ok := p.(interface {
				error
				Addr() uintptr
			})
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("its file was cut, or can't be read: %w", fault)
		}
	}()
	dst := v.mem[end-v.at:][:len(frame)]
	copy(dst, frame[:typeAt])
	v.fence.Add(1)
	copy(dst[typeAt+1:], frame[typeAt+1:])
	v.fence.Add(1)
	dst[typeAt] = frame[typeAt]
	return nil
}
