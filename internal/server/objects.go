package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"postern"
	"postern/internal/api"
	"postern/internal/policy"
)

// objectStore keeps the objects that were applied through the API.
type objectStore interface {
	Objects(context.Context) ([]postern.StoredObject, error)
	PutObjects(ctx context.Context, put []postern.StoredObject, remove []postern.ObjectKey) error
}

// objects holds the policy in force. It is made from the object folders and
// from what was applied through the API, and replaced as a whole; a change that
// doesn't hold up leaves the last good one in force.
type objects struct {
	folders []string
	store   objectStore
	options policy.Options
	log     *slog.Logger
	now     func() time.Time
	// changed is called, with the change lock held, after a new set came into force.
	changed func(context.Context, *policy.Set) error
	counted func(ok bool)

	current atomic.Pointer[policy.Set]

	mu      sync.Mutex // one change at a time
	problem atomic.Pointer[error]
}

// Set is the policy in force.
func (o *objects) Set() *policy.Set { return o.current.Load() }

// Problem is why the latest change was refused, or nil.
func (o *objects) Problem() error {
	if p := o.problem.Load(); p != nil {
		return *p
	}
	return nil
}

// Reload reads folders and store again. On an error the last good set stays.
func (o *objects) Reload(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	set, err := o.load(ctx)
	if err == nil && o.current.Load() != nil && set.Version() == o.current.Load().Version() {
		o.problem.Store(nil)
		return nil
	}
	if err == nil {
		err = o.install(ctx, set)
	}
	o.counted(err == nil)
	if err != nil {
		o.problem.Store(&err)
		if o.current.Load() != nil {
			o.log.Error("objects not changed: the last good set stays in force", "error", err)
		}
		return err
	}
	o.problem.Store(nil)
	return nil
}

func (o *objects) install(ctx context.Context, set *policy.Set) error {
	o.current.Store(set)
	for _, w := range set.Warnings() {
		o.log.Warn("object probably mistaken", "object", w)
	}
	o.log.Info("objects in force", "version", set.Version(), "objects", len(set.Objects()))
	return o.changed(ctx, set)
}

func (o *objects) load(ctx context.Context) (*policy.Set, error) {
	fromFiles, err := o.files()
	if err != nil {
		return nil, err
	}
	applied, err := o.applied(ctx)
	if err != nil {
		return nil, err
	}
	return policy.NewSet(append(fromFiles, applied...), o.options)
}

// files parses every *.yaml and *.yml below the folders. All mistakes of all
// files are told together.
func (o *objects) files() ([]policy.Object, error) {
	var all []policy.Object
	var problems []error
	for _, folder := range o.folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			hidden := strings.HasPrefix(d.Name(), ".") && path != folder
			if d.IsDir() && hidden {
				return fs.SkipDir
			}
			if ext := filepath.Ext(path); d.IsDir() || hidden || (ext != ".yaml" && ext != ".yml") {
				return nil
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			parsed, err := policy.Parse(path, data)
			if err != nil {
				problems = append(problems, err)
			}
			all = append(all, parsed...)
			return nil
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("read objects: %w", err))
		}
	}
	return all, errors.Join(problems...)
}

func (o *objects) applied(ctx context.Context) ([]policy.Object, error) {
	stored, err := o.store.Objects(ctx)
	if err != nil {
		return nil, fmt.Errorf("read applied objects: %w", err)
	}
	var all []policy.Object
	for _, s := range stored {
		parsed, err := policy.Parse(policy.SourceAPI, []byte(s.YAML))
		if err != nil {
			return nil, fmt.Errorf("applied object %s %s: %w", s.Kind, s.Name, err)
		}
		all = append(all, parsed...)
	}
	return all, nil
}

// Plan says what applying documents would change, without changing anything.
func (o *objects) Plan(_ context.Context, documents []byte) ([]policy.Change, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, changes, _, err := o.prepare(documents)
	return changes, err
}

// Apply puts documents in force and keeps them in the store. audit is called
// with the changes before anything is changed; its error stops the change.
func (o *objects) Apply(ctx context.Context, by string, documents []byte, audit func([]policy.Change) error) ([]policy.Change, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	set, changes, parsed, err := o.prepare(documents)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, nil
	}
	if err := audit(changes); err != nil {
		return nil, err
	}
	var put []postern.StoredObject
	for _, p := range parsed {
		put = append(put, postern.StoredObject{ObjectKey: postern.ObjectKey{Kind: p.Kind, Name: p.Name}, YAML: string(p.YAML), UpdatedBy: by, UpdatedAt: o.now().UTC()})
	}
	if err := o.store.PutObjects(ctx, put, nil); err != nil {
		return nil, fmt.Errorf("store objects: %w", err)
	}
	return changes, o.install(ctx, set)
}

// prepare makes the set that applying documents would give.
func (o *objects) prepare(documents []byte) (*policy.Set, []policy.Change, []policy.Object, error) {
	parsed, err := policy.Parse(policy.SourceAPI, documents)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(parsed) == 0 {
		return nil, nil, nil, &api.RefusedError{Reason: "there is no object in what was sent"}
	}
	before := o.Set().Objects()
	after := slices.Clone(before)
	for _, p := range parsed {
		i := slices.IndexFunc(after, func(e policy.Object) bool { return e.Kind == p.Kind && e.Name == p.Name })
		switch {
		case i < 0:
			after = append(after, p)
		case after[i].Source != policy.SourceAPI:
			return nil, nil, nil, &api.RefusedError{Reason: fmt.Sprintf("%s is kept in the file %s; change it there", p.Ref(), after[i].Source)}
		default:
			after[i] = p
		}
	}
	set, err := policy.NewSet(after, o.options)
	if err != nil {
		return nil, nil, nil, err
	}
	return set, policy.Diff(before, set.Objects()), parsed, nil
}

// Delete takes an applied object out of force. It fails when others need it.
func (o *objects) Delete(ctx context.Context, kind, name string, audit func([]policy.Change) error) ([]policy.Change, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.Set().Objects()
	i := slices.IndexFunc(before, func(e policy.Object) bool { return e.Kind == kind && e.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s %s: %w", kind, name, postern.ErrNotFound)
	}
	if before[i].Source != policy.SourceAPI {
		return nil, &api.RefusedError{Reason: fmt.Sprintf("%s is kept in the file %s; delete it there", before[i].Ref(), before[i].Source)}
	}
	set, err := policy.NewSet(slices.Delete(slices.Clone(before), i, i+1), o.options)
	if err != nil {
		return nil, err
	}
	changes := policy.Diff(before, set.Objects())
	if err := audit(changes); err != nil {
		return nil, err
	}
	if err := o.store.PutObjects(ctx, nil, []postern.ObjectKey{{Kind: kind, Name: name}}); err != nil {
		return nil, fmt.Errorf("store objects: %w", err)
	}
	return changes, o.install(ctx, set)
}

// settleTime is how long the folders must be quiet before they are read:
// editors and checkouts write in several steps.
const settleTime = 150 * time.Millisecond

// watch reloads whenever something in the folders changes, until ctx ends.
func (o *objects) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch objects: %w", err)
	}
	defer func() { _ = w.Close() }() // nothing was written
	o.follow(w)
	settle := time.NewTimer(0)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.Events:
			if !ok {
				return errors.New("watch objects: the watcher stopped")
			}
			if event.Has(fsnotify.Chmod) && !event.Has(fsnotify.Write) {
				continue
			}
			settle.Reset(settleTime)
		case err := <-w.Errors:
			o.log.Warn("watching objects", "error", err)
			settle.Reset(settleTime)
		case <-settle.C:
			o.follow(w)
			_ = o.Reload(ctx) // logged, and shown by Problem
		}
	}
}

// follow watches every folder below the object folders, also new ones.
func (o *objects) follow(w *fsnotify.Watcher) {
	for _, folder := range o.folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			return w.Add(path)
		})
		if err != nil {
			o.log.Warn("watching objects", "folder", folder, "error", err)
		}
	}
}
