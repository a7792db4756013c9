package recording

import (
	"context"
	"errors"
	"io"

	"postern"
)

// Follow calls fn with each event of a recording, and goes on while this
// process writes it. It returns nil after the end of the recording, the
// context's error when that ends first, fn's error when it returns one, and an
// [*UnfinishedError] when nobody in this process writes what has no end.
func (f *Folder) Follow(ctx context.Context, id string, fn func(postern.Event) error) error {
	r, err := f.Read(id)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read
	for {
		// Asked for before reading: what is written after that wakes us.
		changed, live := f.changes(id)
		err := r.each(fn)
		var unfinished *UnfinishedError
		if errors.Is(err, io.EOF) {
			return nil
		}
		if !errors.As(err, &unfinished) || !live {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (r *Reader) each(fn func(postern.Event) error) error {
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}

// changes returns a channel that is closed at the next write of a live
// recording, or at its end.
func (f *Folder) changes(id string) (<-chan struct{}, bool) {
	f.mu.Lock()
	w := f.live[id]
	f.mu.Unlock()
	if w == nil {
		return nil, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.err != nil {
		return nil, false
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed, true
}
