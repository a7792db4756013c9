package recording

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"postern"
)

// interrupted is the end reason of a session whose gateway died.
const interrupted = "interrupted: the gateway stopped before the session's end"

// Unfinished lists the sessions whose recordings nobody writes any more,
// though they have no end: their writers died. What can't be looked at is listed,
// too: Finish says what is wrong with it.
func (f *Folder) Unfinished() ([]string, error) {
	entries, err := os.ReadDir(f.liveDir())
	if err != nil {
		return nil, fmt.Errorf("list unfinished recordings: %w", err)
	}
	var ids []string
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || !validID(id) {
			continue
		}
		if live, err := f.written(e, id); err == nil && live || errors.Is(err, fs.ErrNotExist) {
			continue // or it was finished meanwhile
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// written says whether somebody writes a live recording.
func (f *Folder) written(e fs.DirEntry, id string) (bool, error) {
	if !e.Type().IsRegular() {
		return false, nil // a pipe would be waited for
	}
	file, err := os.Open(f.livePath(id))
	if err != nil {
		return false, err
	}
	err = lock(file, false)
	return errors.Is(err, ErrLive), file.Close()
}

// Finish ends a recording whose writer died: it cuts off what is torn, appends
// a close event that says so, and the terminator. It returns the session as the
// recording tells it, with its digest. A recording that was tampered with is
// left alone; one that is being written is [ErrLive]; what the disk refuses is
// [ErrUnended], with the session as far as it could be read. A file that ends within
// its header held nothing, and is removed.
func (f *Folder) Finish(id string) (postern.SessionInfo, error) {
	info, err := f.finish(id)
	if err != nil {
		return info, fmt.Errorf("finish recording of session %s: %w", id, err)
	}
	return info, nil
}

func (f *Folder) finish(id string) (postern.SessionInfo, error) {
	info := postern.SessionInfo{ID: id, EndReason: interrupted}
	if !validID(id) {
		return info, errors.New("that is no session's id")
	}
	file, err := os.OpenFile(f.livePath(id), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		if r, readErr := f.Read(id); readErr == nil {
			_ = r.summarize(&info)
			return info, errors.Join(unended(err), r.Close())
		}
		return info, err
	}
	if err := lock(file, false); err != nil {
		return info, errors.Join(err, file.Close())
	}
	// Another may have finished it before the lock was ours.
	if _, err := os.Lstat(f.livePath(id)); err != nil {
		return info, errors.Join(err, file.Close())
	}
	w, err := f.resume(file, id, &info)
	if errors.Is(err, errShortHeader) {
		return info, errors.Join(os.Remove(f.livePath(id)), file.Close())
	}
	if err != nil {
		return info, errors.Join(err, file.Close())
	}
	if w == nil { // it had its end already, and only had to be moved
		return info, file.Close()
	}
	closing := info
	err = w.Append(postern.Event{Time: f.cfg.Now().UTC(), Kind: postern.EventClose, Text: info.EndReason, Session: &closing})
	digest, closeErr := w.Close()
	info.Digest = digest
	return info, unended(cmp.Or(closeErr, err))
}

// unended is err as an ErrUnended; nil if that is nil.
func unended(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnended, err)
}

// resume reads the file to its end and returns a writer that continues it, or
// nil when there is nothing to continue.
func (f *Folder) resume(file *os.File, id string, info *postern.SessionInfo) (*Writer, error) {
	r, err := f.newReader(file, id)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(file)
	if err != nil {
		return nil, err
	}
	err = r.summarize(info)
	if errors.Is(err, io.EOF) {
		info.Digest = r.digest()
		return nil, unended(f.settle(h, f.cfg.Sync != SyncNever))
	}
	var unfinished *UnfinishedError
	if !errors.As(err, &unfinished) {
		return nil, err
	}
	if unfinished.Torn > 0 {
		info.EndReason += fmt.Sprintf(" (%d torn bytes were dropped)", unfinished.Torn)
	}
	if err := file.Truncate(r.whole.off); err != nil {
		return nil, unended(err)
	}
	s := &sealer{aead: r.aead, chain: r.whole.chain}
	if _, err := io.ReadFull(f.cfg.Rand, s.base[:]); err != nil {
		return nil, err
	}
	w := f.newWriter(h, file, r.whole.off, s)
	w.events = r.events
	return w, nil
}

// summarize reads to the end and gathers what the events say of the session.
// It returns the error that ended the reading.
func (r *Reader) summarize(info *postern.SessionInfo) error {
	var undecided int64 // commands since the last decision, which is over all of them
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		switch e.Kind {
		case postern.EventOpen:
			if e.Session != nil {
				reason := info.EndReason
				*info = *e.Session
				info.EndReason = reason
			}
		case postern.EventCommand:
			info.Commands++
			undecided++
		case postern.EventDecision:
			if e.Decision != nil && e.Decision.Verdict == postern.Deny {
				info.Denied += max(undecided, 1)
			}
			undecided = 0
		case postern.EventClose:
			if e.Session != nil {
				*info = *e.Session
			}
		}
		info.MaskedValues += e.Masked
		info.EndedAt = e.Time
	}
}

// Shred destroys the key of a finished recording: nobody can read it any more,
// while its digest can still be verified. The bytes are overwritten in place; a
// disk, a file system or a backup that keeps old versions may still have them,
// wrapped by the vault's key.
func (f *Folder) Shred(id string) error {
	if !validID(id) {
		return fmt.Errorf("shred recording: %q is no session's id", id)
	}
	path, err := f.finished(id)
	if err != nil {
		return fmt.Errorf("shred recording: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("shred recording: %w", err)
	}
	if err := errors.Join(destroyKey(file), file.Close()); err != nil {
		return fmt.Errorf("shred recording of session %s: %w", id, err)
	}
	return nil
}
