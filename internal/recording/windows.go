package recording

import (
	"errors"
	"os"
)

const (
	windowSize = 64 << 10
	// largestPut bounds the frames that are copied: larger ones are written. So
	// much of a window may stay empty.
	largestPut = windowSize / 4
	// busyFrames is how many frames within flushWithin make a session a busy one,
	// which gets windows. One that does little holds none.
	busyFrames = 16
)

// windows are where a busy session's frames go: the window of now, and the one
// after it, which somebody else makes ready.
type windows struct {
	file *os.File
	now  *window
	last *window      // not needed any more
	next chan opening // nil: nobody is at it
}

type opening struct {
	window *window
	err    error
}

// openWindows begins at the file's end, behind which there are zeros from now on.
func openWindows(file *os.File, end int64) (*windows, error) {
	now, err := openWindow(file, end)
	if err != nil {
		return nil, err
	}
	return &windows{file: file, now: now}, nil
}

// put adds a frame of largestPut bytes at most at the file's end. It returns
// false when there is no window to add it in.
func (v *windows) put(end int64, frame []byte) (bool, error) {
	if end+largestPut > v.now.at+windowSize && !v.advance() {
		return false, nil
	}
	if v.next == nil && end-v.now.at > windowSize/2 {
		v.prepare()
	}
	return true, v.now.put(end, frame)
}

// prepare has the next window opened. They overlap by a half: where the last
// frame in this one ends isn't known yet.
func (v *windows) prepare() {
	v.next = make(chan opening, 1)
	go func(file *os.File, at int64, last *window, next chan<- opening) {
		if err := closeWindow(last); err != nil {
			next <- opening{err: err}
			return
		}
		w, err := openWindow(file, at)
		next <- opening{w, err}
	}(v.file, v.now.at+windowSize/2, v.last, v.next)
	v.last = nil
}

// advance goes on in the next window. When that isn't ready, the disk is behind
// and waited for, which holds up nobody else.
func (v *windows) advance() bool {
	if v.next == nil {
		v.prepare()
	}
	next := <-v.next
	v.next = nil
	if next.err != nil {
		return false
	}
	v.last, v.now = v.now, next.window
	return true
}

// close gives the windows back. Zeros follow the file's end until it is cut.
func (v *windows) close() error {
	err := errors.Join(closeWindow(v.last), closeWindow(v.now))
	if v.next == nil {
		return err
	}
	next := <-v.next
	return errors.Join(err, closeWindow(next.window))
}

func closeWindow(w *window) error {
	if w == nil {
		return nil
	}
	return w.close()
}
