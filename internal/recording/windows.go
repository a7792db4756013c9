package recording

import (
	"errors"
	"os"
)

const (
	windowSize = 256 << 10
	// largestPut bounds the frames that are copied: larger ones are written. So
	// much of a window may stay empty.
	largestPut = 16 << 10
	// windowStep is how much of a window is made ready at once. Not more: what
	// forces the file to the disk makes all that is ready less so.
	windowStep = 32 << 10
	// busyFrames is how many frames within flushWithin make a session a busy one,
	// which gets windows. With fewer, calls cost little, and windows memory.
	busyFrames = 100
)

// windows are where a busy session's frames go. All that they need the file
// system for, but for the first, somebody else does beforehand.
type windows struct {
	file *os.File
	now  *window
	next *window          // where it goes on when now is full; nil: not opened yet
	last *window          // not needed any more
	work chan preparation // has what is under way, once it is done; nil: nothing is
}

// preparation is a window that was opened, or more of the one of now.
type preparation struct {
	window *window
	ready  int
	err    error
}

// openWindows begins at the file's end, behind which there are zeros from now on.
func openWindows(file *os.File, end int64) (*windows, error) {
	now, err := openWindow(file, end, end)
	if err != nil {
		return nil, err
	}
	return &windows{file: file, now: now}, nil
}

// put adds a frame of largestPut bytes at most at the file's end. It returns
// false when there is no window to add it in. It waits for nothing but for
// what is under way, when the disk is behind.
func (v *windows) put(end int64, frame []byte) (bool, error) {
	for {
		at := int(end - v.now.at)
		full := at+largestPut > windowSize
		switch {
		case full && v.next != nil:
			v.last, v.now, v.next = v.now, v.next, nil
			continue
		case !full && at+len(frame) <= v.now.ready:
			v.prepare(at)
			return true, v.now.put(end, frame)
		}
		v.prepare(at)
		if v.work != nil && !v.done(<-v.work) {
			return false, nil
		}
	}
}

// prepare sees to it that there is room for some frames more, and takes what was
// prepared.
func (v *windows) prepare(at int) {
	select {
	case p := <-v.work:
		if !v.done(p) {
			return // that it failed is known when there is no room
		}
	default:
	}
	switch {
	case v.work != nil || at+windowStep <= v.now.ready:
	case v.now.ready < windowSize:
		v.work = make(chan preparation, 1)
		go func(w *window, ready int, work chan<- preparation) {
			work <- preparation{ready: ready, err: w.prepare(ready - windowStep)}
		}(v.now, v.now.ready+windowStep, v.work)
	case v.next == nil:
		// They overlap: where the last frame in this one ends isn't known yet.
		v.work = make(chan preparation, 1)
		go func(file *os.File, at int64, last *window, work chan<- preparation) {
			err := closeWindow(last)
			w, openErr := openWindow(file, at, at+2*largestPut)
			work <- preparation{window: w, err: errors.Join(err, openErr)}
		}(v.file, v.now.at+windowSize-2*largestPut, v.last, v.work)
		v.last = nil
	}
}

// done takes what was prepared, or returns false.
func (v *windows) done(p preparation) bool {
	v.work = nil
	switch {
	case p.window != nil:
		v.next = p.window
	case p.err == nil:
		v.now.ready = p.ready
	}
	return p.err == nil
}

// close gives the windows back. Zeros follow the file's end until it is cut.
func (v *windows) close() error {
	if v.work != nil {
		v.done(<-v.work)
	}
	return errors.Join(closeWindow(v.last), closeWindow(v.now), closeWindow(v.next))
}

func closeWindow(w *window) error {
	if w == nil {
		return nil
	}
	return w.close()
}
