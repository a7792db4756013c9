package recording

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ending is a recording whose last frame is in the kernel.
type ending struct {
	writer *Writer
	path   string
	err    error
	done   chan struct{} // closed when it is on the disk and in its day, or err says why not
}

// endsAtOnce is how many that end are made durable together without a wait for more.
const endsAtOnce = 4

// end makes a finished recording durable, and moves it to its day. Where others
// end, too, it waits for them: what makes their names durable is done once for all.
// One that none has ended shortly before doesn't wait.
func (f *Folder) end(w *Writer) error {
	e := &ending{writer: w, done: make(chan struct{})}
	f.mu.Lock()
	f.ends = append(f.ends, e)
	now := f.cfg.Now()
	alone := len(f.ends) == 1 && now.Sub(f.ended) >= f.cfg.ShareEnds
	f.ended = now
	full := !w.shares || alone || len(f.ends) >= endsAtOnce
	if len(f.ends) == 1 && !full {
		f.endAt = time.AfterFunc(f.cfg.ShareEnds, f.endAll)
	}
	f.mu.Unlock()
	if full {
		f.endAll()
	}
	<-e.done
	return e.err
}

// endAll ends the recordings that wait for it.
func (f *Folder) endAll() {
	f.mu.Lock()
	all := f.ends
	f.ends = nil
	if f.endAt != nil {
		f.endAt.Stop()
		f.endAt = nil
	}
	f.mu.Unlock()
	moved := map[string]error{} // by the folder that they are in now, what making that durable said
	for _, e := range all {
		if e.err = e.writer.sync(); e.err != nil {
			continue
		}
		if e.path, e.err = f.move(e.writer.header); e.err == nil {
			moved[filepath.Dir(e.path)] = nil
		}
	}
	for dir := range moved {
		moved[dir] = syncDir(dir)
	}
	var left error
	if len(moved) > 0 { // where they are must be durable before where they aren't any more
		left = syncDir(f.liveDir())
	}
	for _, e := range all {
		if e.err == nil {
			e.err = errors.Join(moved[filepath.Dir(e.path)], left)
		}
		close(e.done)
	}
}

// settle moves a finished file to its day.
func (f *Folder) settle(h *header, durable bool) error {
	path, err := f.move(h)
	if err != nil || !durable {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(path)), syncDir(f.liveDir()))
}

// move is settle without a wait for the disk. It returns where the file is.
func (f *Folder) move(h *header) (path string, err error) {
	path = f.dayPath(h.id, h.created)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	return path, os.Rename(f.livePath(h.id), path)
}
