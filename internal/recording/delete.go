package recording

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// condemnedMeta is the beginning of the names under which condemned recordings are kept.
const condemnedMeta = "condemned recording "

// Condemn keeps that a recording is to be deleted, as part of the act
// of ctx, and [Folder.DeleteCondemned] deletes it: should the process end in
// between, the next one does.
func (f *Folder) Condemn(ctx context.Context, id string) error {
	if f.cfg.Kept == nil {
		return errors.New("recording: nothing can be deleted: what is condemned isn't kept")
	}
	return f.cfg.Kept.PutMeta(ctx, condemnedMeta+id, f.cfg.Now().UTC().Format(time.RFC3339))
}

// Condemned are the sessions whose recordings are to be deleted, and aren't yet.
func (f *Folder) Condemned(ctx context.Context) ([]string, error) {
	if f.cfg.Kept == nil {
		return nil, nil
	}
	ids, err := f.cfg.Kept.MetaNames(ctx, condemnedMeta)
	for i := range ids {
		ids[i] = strings.TrimPrefix(ids[i], condemnedMeta)
	}
	return ids, err
}

// DeleteCondemned deletes what is condemned. What can't be deleted stays so.
func (f *Folder) DeleteCondemned(ctx context.Context) error {
	ids, err := f.Condemned(ctx)
	for _, id := range ids {
		e := f.Delete(id)
		if e == nil || errors.Is(e, fs.ErrNotExist) {
			e = f.cfg.Kept.DeleteMeta(ctx, condemnedMeta+id)
		}
		err = errors.Join(err, e)
	}
	return err
}

// Finished calls fn with each finished recording of the days before a time,
// oldest day first.
func (f *Folder) Finished(before time.Time, fn func(id string) error) error {
	days, err := filepath.Glob(filepath.Join(f.cfg.Dir, "[0-9][0-9][0-9][0-9]", "[0-9][0-9]", "[0-9][0-9]"))
	if err != nil {
		return fmt.Errorf("list finished recordings: %w", err)
	}
	for _, dir := range days { // Glob sorts
		rel, err := filepath.Rel(f.cfg.Dir, dir)
		if err != nil {
			return fmt.Errorf("list finished recordings: %w", err)
		}
		day, err := time.Parse("2006/01/02", filepath.ToSlash(rel))
		if err != nil || !day.Before(before) {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("list finished recordings: %w", err)
		}
		for _, e := range entries {
			if id, ok := strings.CutSuffix(e.Name(), suffix); ok && validID(id) {
				if err := fn(id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Delete destroys the key of a recording that nobody writes, so that nobody can read
// it whatever becomes of its blocks, and then removes the file: a finished one, and
// one that its writer left without an end. fs.ErrNotExist says that there is neither,
// and [ErrLive] that it is being written.
func (f *Folder) Delete(id string) error {
	if !validID(id) {
		return fmt.Errorf("delete recording: %q is no session's id", id)
	}
	// In this order: a live one may be finished meanwhile, and moves once.
	live, finished := f.deleteLive(id), f.deleteFinished(id)
	switch {
	case errors.Is(live, fs.ErrNotExist):
		live = nil // the other says so, or what is wrong with it
	case errors.Is(finished, fs.ErrNotExist):
		finished = nil
	}
	if err := errors.Join(live, finished); err != nil {
		return fmt.Errorf("delete recording of session %s: %w", id, err)
	}
	return nil
}

func (f *Folder) deleteFinished(id string) error {
	path, err := f.finished(id)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.deleteFile(file)
}

// deleteLive deletes what lies among the live ones, unless it is being written.
func (f *Folder) deleteLive(id string) error {
	file, err := os.OpenFile(f.livePath(id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = lock(file, false)
	if err == nil {
		_, err = os.Lstat(file.Name()) // another may have finished it before the lock was ours
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	return f.deleteFile(file)
}

// deleteFile destroys the key in an open file, and removes it by its name.
func (f *Folder) deleteFile(file *os.File) error {
	err := destroyKey(file)
	if errors.Is(err, errShortHeader) {
		err = nil // it has none
	}
	if err == nil {
		err = os.Remove(file.Name())
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file.Name()))
}

// destroyKey overwrites the wrapped key in a file with zeros.
func destroyKey(file *os.File) error {
	h, err := readHeader(file)
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(make([]byte, len(h.wrapped)), h.size()-int64(len(h.wrapped))); err != nil {
		return err
	}
	return file.Sync()
}
