package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	// check says why the rest of the gateway can't take a set. It is asked before
	// anything is changed; nil: it takes any.
	check func(*policy.Set) error
	// changed is called, with the change lock held, after a new set came into force.
	changed func(context.Context, *policy.Set) error
	counted func(ok bool)

	current atomic.Pointer[policy.Set]

	mu      sync.Mutex // one change at a time; guards behind
	behind  bool       // changed failed for the set in force, and is to be tried again
	problem atomic.Pointer[error]
}

// Set is the policy in force.
func (o *objects) Set() *policy.Set { return o.current.Load() }

// Keys are what may stand in objects.
func (o *objects) Keys() []policy.Keys { return policy.KeyTable(o.options.Protocols...) }

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
	if err == nil && !o.behind && o.current.Load() != nil && set.Version() == o.current.Load().Version() {
		o.problem.Store(nil)
		return nil
	}
	if err != nil {
		o.counted(false)
		o.problem.Store(&err)
		if o.current.Load() != nil {
			o.log.Error("objects not changed: the last good set stays in force", "error", err)
		}
		return err
	}
	return o.install(ctx, set)
}

// install puts a set in force. An error says that it is, and that something
// which depends on it couldn't follow; the next reload tries that again.
func (o *objects) install(ctx context.Context, set *policy.Set) error {
	o.current.Store(set)
	for _, w := range set.Warnings() {
		o.log.Warn("object probably mistaken", "object", w)
	}
	o.log.Info("objects in force", "version", set.Version(), "objects", len(set.Objects()))
	err := o.changed(ctx, set)
	o.behind = err != nil
	o.counted(err == nil)
	if err != nil {
		err = fmt.Errorf("the objects are in force, but not all that depends on them: %w", err)
		o.log.Error("objects in force, but not all that depends on them", "error", err)
		o.problem.Store(&err)
		return err
	}
	o.problem.Store(nil)
	return nil
}

// make compiles objects into a set that the whole gateway can take.
func (o *objects) make(all []policy.Object) (*policy.Set, error) {
	set, err := policy.NewSet(all, o.options)
	if err != nil {
		return nil, err
	}
	if o.check != nil {
		if err := o.check(set); err != nil {
			return nil, err
		}
	}
	return set, nil
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
	return o.make(append(fromFiles, applied...))
}

// files parses every *.yaml and *.yml below the folders. All mistakes of all
// files are told together.
func (o *objects) files() ([]policy.Object, error) {
	var all []policy.Object
	var problems []error
	for _, folder := range o.folders {
		err := walk(folder, func(path string, d fs.DirEntry) error {
			ext := filepath.Ext(path)
			if d.IsDir() || (ext != ".yaml" && ext != ".yml") {
				return linkToFolder(path, d)
			}
			data, err := readObjects(path)
			if err != nil {
				return err
			}
			parsed, err := policy.Parse(path, data, o.options.Protocols...)
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

// walk visits all that isn't hidden below a folder, which may itself be a link.
func walk(folder string, visit func(path string, d fs.DirEntry) error) error {
	root, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return err
	}
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	if ext := filepath.Ext(folder); !info.IsDir() && ext != ".yaml" && ext != ".yml" {
		return fmt.Errorf("%s is neither a folder nor a .yaml file", folder)
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return visit(filepath.Join(folder, rel), d)
	})
}

// linkToFolder refuses a link to a folder: it isn't followed, and rules behind
// it that silently don't count would be worse than none.
func linkToFolder(path string, d fs.DirEntry) error {
	if d.Type()&fs.ModeSymlink == 0 {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a link to a folder, and links aren't followed: name the folder in `objects`", path)
	}
	return nil
}

// maxObjectFile bounds a file of objects, in bytes. What policy takes is less,
// and it says so.
const maxObjectFile = 2 << 20

// readObjects reads a file without ever waiting for a pipe or filling the
// memory with something that was put in its place.
func readObjects(path string) (_ []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file", path)
	}
	return io.ReadAll(io.LimitReader(f, maxObjectFile))
}

func (o *objects) applied(ctx context.Context) ([]policy.Object, error) {
	stored, err := o.store.Objects(ctx)
	if err != nil {
		return nil, fmt.Errorf("read applied objects: %w", err)
	}
	var all []policy.Object
	for _, s := range stored {
		parsed, err := policy.Parse(policy.SourceAPI, []byte(s.YAML), o.options.Protocols...)
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

// Apply keeps documents in the store, by act, and puts them in force.
func (o *objects) Apply(ctx context.Context, by string, documents []byte, act api.ObjectsAct) ([]policy.Change, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	set, changes, parsed, err := o.prepare(documents)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, nil
	}
	var put []postern.StoredObject
	for _, p := range parsed {
		put = append(put, postern.StoredObject{ObjectKey: postern.ObjectKey{Kind: p.Kind, Name: p.Name}, YAML: string(p.YAML), UpdatedBy: by, UpdatedAt: o.now().UTC()})
	}
	err = act(changes, func(ctx context.Context) error { return o.store.PutObjects(ctx, put, nil) })
	if err != nil {
		return nil, fmt.Errorf("store objects: %w", err)
	}
	return changes, o.install(ctx, set)
}

// prepare makes the set that applying documents would give.
func (o *objects) prepare(documents []byte) (*policy.Set, []policy.Change, []policy.Object, error) {
	parsed, err := policy.Parse(policy.SourceAPI, documents, o.options.Protocols...)
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
	set, err := o.make(after)
	if err != nil {
		return nil, nil, nil, err
	}
	return set, set.ChangesFrom(before), parsed, nil
}

// Delete takes an applied object out of force. It fails when others need it.
func (o *objects) Delete(ctx context.Context, kind, name string, act api.ObjectsAct) ([]policy.Change, error) {
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
	set, err := o.make(slices.Delete(slices.Clone(before), i, i+1))
	if err != nil {
		return nil, err
	}
	changes := set.ChangesFrom(before)
	err = act(changes, func(ctx context.Context) error {
		return o.store.PutObjects(ctx, nil, []postern.ObjectKey{{Kind: kind, Name: name}})
	})
	if err != nil {
		return nil, fmt.Errorf("store objects: %w", err)
	}
	return changes, o.install(ctx, set)
}

// settleTime is how long the folders must be quiet before they are read:
// editors and checkouts write in several steps.
const settleTime = 150 * time.Millisecond

// lookAgain is how soon a folder that couldn't be watched is looked for again.
const lookAgain = 5 * time.Second

// watch reloads whenever something in the folders changes, until ctx ends.
func (o *objects) watch(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch objects: %w", err)
	}
	defer func() { _ = w.Close() }() // nothing was written
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
			if !o.follow(w) {
				settle.Reset(lookAgain)
			}
			_ = o.Reload(ctx) // logged, and shown by Problem
		}
	}
}

// follow watches every folder below the object folders, also new ones. It says
// whether it could: a folder that is away can't be watched for its return.
func (o *objects) follow(w *fsnotify.Watcher) bool {
	all := true
	for _, folder := range o.folders {
		err := walk(folder, func(path string, d fs.DirEntry) error {
			if !d.IsDir() {
				return nil
			}
			return w.Add(path)
		})
		if err != nil {
			all = false
			o.log.Warn("watching objects", "folder", folder, "error", err)
		}
	}
	return all
}
