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

// Condemn keeps that a finished recording is to be deleted, as part of the act
// of ctx, and [Folder.DeleteCondemned] deletes it: should the process end in
// between, the next one does.
func (f *Folder) Condemn(ctx context.Context, id string) error {
	if f.cfg.Kept == nil {
		return errors.New("recording: nothing can be deleted: what is condemned isn't kept")
	}
	return f.cfg.Kept.PutMeta(ctx, condemnedMeta+id, f.cfg.Now().UTC().Format(time.RFC3339))
}

// DeleteCondemned deletes what is condemned. What can't be deleted stays so.
func (f *Folder) DeleteCondemned(ctx context.Context) error {
	if f.cfg.Kept == nil {
		return nil
	}
	names, err := f.cfg.Kept.MetaNames(ctx, condemnedMeta)
	for _, name := range names {
		e := f.Delete(strings.TrimPrefix(name, condemnedMeta))
		if e == nil || errors.Is(e, fs.ErrNotExist) {
			e = f.cfg.Kept.DeleteMeta(ctx, name)
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

// Delete destroys the key of a finished recording, so that nobody can read it
// whatever becomes of its blocks, and then removes the file. fs.ErrNotExist says
// that it isn't there, or isn't finished.
func (f *Folder) Delete(id string) error {
	if err := f.Shred(id); err != nil {
		return err
	}
	path, err := f.finished(id)
	if err != nil {
		return fmt.Errorf("delete recording: %w", err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("delete recording of session %s: %w", id, err)
	}
	return syncDir(filepath.Dir(path))
}
