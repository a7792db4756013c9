package recording

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by a writer that was closed.
var ErrClosed = errors.New("the recording is closed")

// ErrShredded says that the key of a recording was destroyed: nobody can read
// it any more. Its digest can still be verified.
var ErrShredded = errors.New("the key of the recording was destroyed")

// ErrLive says that a recording is still being written.
var ErrLive = errors.New("the recording is still being written")

// ErrUnended says that a recording could be read, and not be ended: its disk is full,
// say. It can be tried again.
var ErrUnended = errors.New("its end can't be written")

// UnfinishedError says that a recording ends without its terminator: it is
// still being written, or its writer died. Every event before it is whole.
type UnfinishedError struct {
	Events int64 // that could be read
	Frames int64
	Torn   int64 // bytes after the last whole event, which were lost
}

// Error says how much there is.
func (e *UnfinishedError) Error() string {
	s := fmt.Sprintf("the recording is unfinished after %d events", e.Events)
	if e.Torn > 0 {
		s += fmt.Sprintf(", and %d bytes of what followed are torn", e.Torn)
	}
	return s
}

// TamperedError says that a recording isn't what was written.
type TamperedError struct {
	Frame  int64 // the first frame that isn't, from 0
	Reason string
}

// Error names the frame.
func (e *TamperedError) Error() string {
	return fmt.Sprintf("the recording was tampered with or damaged at frame %d: %s", e.Frame, e.Reason)
}
