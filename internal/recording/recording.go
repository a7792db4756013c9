// Package recording keeps what happened in a session: one file per session,
// compressed, sealed with a key of its own, and chained so that no part of it
// can be changed, removed, moved or cut off unseen. docs/recording-format.md
// is the format's specification.
//
// A recording that is being written, or whose writer died, lies in the
// folder's "live" subfolder; a finished one in the folder of its day,
// YYYY/MM/DD (UTC), where nothing ever writes to it again.
package recording

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"postern"
)

// Keyring wraps the key of each recording. Both methods may be called from
// several goroutines; aad binds a wrapped key to its file.
type Keyring interface {
	Wrap(key, aad []byte) ([]byte, error)
	Unwrap(wrapped, aad []byte) ([]byte, error)
}

// Sync says when a recording is forced from the kernel to the disk. Whatever
// it says, Flush returns when the kernel has it: that survives the end of the
// process, though not of the machine.
type Sync string

// The ways to sync.
const (
	SyncChunk Sync = "chunk" // after each 256 KiB, and at the end; also the zero Sync
	SyncFlush Sync = "flush" // at each Flush
	SyncNever Sync = "never" // left to the kernel
)

// DefaultMinFree is the free space below which no recording starts.
const DefaultMinFree = 64 << 20

// Config is what a Folder is made of. Dir and Keys are required.
type Config struct {
	Dir  string // made when it isn't there, with mode 0700
	Keys Keyring
	Now  func() time.Time // nil: the system's clock
	Rand io.Reader        // nil: the system's randomness
	Sync Sync
	// MinFree is the free space, in bytes, below which no recording starts.
	// 0 is DefaultMinFree; less is no bound.
	MinFree int64
	// ShareEnds is how long the end of a recording may wait for others, to be made
	// durable with them. 0: it doesn't wait.
	ShareEnds time.Duration
	// Kept remembers what is condemned. nil: nothing is, and Condemn refuses.
	Kept Kept
}

// Kept keeps small values by name.
type Kept interface {
	PutMeta(ctx context.Context, name, value string) error
	// MetaNames are the names that begin with a text.
	MetaNames(ctx context.Context, prefix string) ([]string, error)
	DeleteMeta(ctx context.Context, name string) error
}

// Folder holds recordings. Its methods may be called from several goroutines,
// and several processes may share one folder.
type Folder struct {
	cfg     Config
	buffers sync.Pool // of *[]byte

	mu    sync.Mutex
	live  map[string]*Writer // of this process
	ends  []*ending          // that wait for others
	endAt *time.Timer        // when they wait no longer; nil when there are none
	ended time.Time          // when one last ended
}

// Open makes the folder ready.
func Open(cfg Config) (*Folder, error) {
	if cfg.Dir == "" || cfg.Keys == nil {
		return nil, errors.New("recording: a folder needs a path and a keyring")
	}
	switch cfg.Sync {
	case SyncChunk, SyncFlush, SyncNever:
	case "":
		cfg.Sync = SyncChunk
	default:
		return nil, fmt.Errorf("recording: sync is %q; it can be chunk, flush or never", cfg.Sync)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.MinFree == 0 {
		cfg.MinFree = DefaultMinFree
	}
	f := &Folder{cfg: cfg, live: make(map[string]*Writer)}
	if err := os.MkdirAll(f.liveDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of recordings: %w", err)
	}
	return f, nil
}

const suffix = ".prec"

func (f *Folder) liveDir() string           { return filepath.Join(f.cfg.Dir, "live") }
func (f *Folder) livePath(id string) string { return filepath.Join(f.liveDir(), id+suffix) }

// dayPath is where a finished recording lies.
func (f *Folder) dayPath(id string, created time.Time) string {
	return filepath.Join(f.cfg.Dir, filepath.FromSlash(created.UTC().Format("2006/01/02")), id+suffix)
}

// Start begins the recording of a session. It fails when there is a recording
// of that session already, and when the disk is nearly full.
func (f *Folder) Start(info postern.SessionInfo) (*Writer, error) {
	if !validID(info.ID) {
		return nil, fmt.Errorf("record: %q is no session's id", info.ID)
	}
	if err := f.checkFree(); err != nil {
		return nil, err
	}
	h := &header{version: version, id: info.ID, created: info.StartedAt.UTC()}
	if h.created.Year() < 1970 || h.created.Year() > 2200 {
		h.created = f.cfg.Now().UTC()
	}
	if _, err := os.Lstat(f.dayPath(h.id, h.created)); err == nil {
		return nil, fmt.Errorf("record session %s: %w", h.id, fs.ErrExist)
	}
	s, err := f.newKey(h)
	if err != nil {
		return nil, fmt.Errorf("record session %s: %w", h.id, err)
	}
	file, err := os.OpenFile(f.livePath(h.id), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("record session %s: %w", h.id, err)
	}
	if err = f.begin(file, h); err != nil {
		return nil, errors.Join(fmt.Errorf("record session %s: %w", h.id, err), file.Close(), os.Remove(f.livePath(h.id)))
	}
	w := f.newWriter(h, file, h.size(), s)
	w.shares = true
	return w, nil
}

// begin makes a new file a live recording.
func (f *Folder) begin(file *os.File, h *header) error {
	if err := lock(file, true); err != nil {
		return err
	}
	// Until the lock was ours, another process could take the empty file for
	// what a crash left behind, and remove it.
	mine, err := file.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Lstat(f.livePath(h.id)); err != nil || !os.SameFile(mine, named) {
		return errors.Join(errors.New("its file was removed while it was made"), err)
	}
	if _, err := file.Write(h.bytes()); err != nil {
		return err
	}
	if f.cfg.Sync != SyncFlush {
		return nil
	}
	return errors.Join(file.Sync(), syncDir(f.liveDir()))
}

// newKey fills in the header's salt and wrapped key, and returns the sealer.
func (f *Folder) newKey(h *header) (*sealer, error) {
	var random [saltSize + keySize + nonceSize]byte
	defer clear(random[:])
	if _, err := io.ReadFull(f.cfg.Rand, random[:]); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	key := random[saltSize : saltSize+keySize]
	h.salt = [saltSize]byte(random[:])
	var err error
	if h.wrapped, err = f.cfg.Keys.Wrap(key, h.bound()); err != nil {
		return nil, fmt.Errorf("wrap its key: %w", err)
	}
	if len(h.wrapped) == 0 || len(h.wrapped) > maxWrappedKey || h.shredded() {
		return nil, errors.New("wrap its key: the keyring returned no usable key")
	}
	s := &sealer{chain: chain{sum: h.chain()}, base: [nonceSize]byte(random[saltSize+keySize:])}
	return s, s.sealWith(key)
}

// unwrap returns the cipher of a recording.
func (f *Folder) unwrap(h *header) (*sealer, error) {
	s := &sealer{chain: chain{sum: h.chain()}}
	if h.shredded() {
		return nil, ErrShredded
	}
	key, err := f.cfg.Keys.Unwrap(h.wrapped, h.bound())
	if err != nil {
		return nil, fmt.Errorf("unwrap its key: %w", err)
	}
	defer clear(key)
	return s, s.sealWith(key)
}

// Ready says why a recording couldn't start now: the disk is nearly full. nil: it could.
func (f *Folder) Ready() error { return f.checkFree() }

func (f *Folder) checkFree() error {
	if f.cfg.MinFree < 0 {
		return nil
	}
	free, err := freeSpace(f.cfg.Dir)
	if err != nil {
		return fmt.Errorf("record: look at free space: %w", err)
	}
	if free < f.cfg.MinFree {
		return fmt.Errorf("record: the disk of the recordings has %d MiB left, less than the %d MiB that must be free",
			free>>20, f.cfg.MinFree>>20)
	}
	return nil
}

// open opens the file of a recording, live or finished. Live ones move only
// once, to their day: looking there second finds each.
func (f *Folder) open(id string) (*os.File, error) {
	if !validID(id) {
		return nil, fmt.Errorf("%q is no session's id", id)
	}
	file, err := os.Open(f.livePath(id))
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	path, err := f.finished(id)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// finished finds a finished recording, looking at the latest days first.
func (f *Folder) finished(id string) (string, error) {
	var found string
	var descend func(dir string, depth int) error
	descend = func(dir string, depth int) error {
		if depth == 0 {
			path := filepath.Join(dir, id+suffix)
			if _, err := os.Lstat(path); err == nil {
				found = path
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(b.Name(), a.Name()) })
		for _, e := range entries {
			if !e.IsDir() || strings.Trim(e.Name(), "0123456789") != "" {
				continue
			}
			if err := descend(filepath.Join(dir, e.Name()), depth-1); err != nil || found != "" {
				return err
			}
		}
		return nil
	}
	if path := f.dayPath(id, f.cfg.Now()); exists(path) {
		return path, nil // as most that are asked for
	}
	if err := descend(f.cfg.Dir, 3); err != nil {
		return "", err
	}
	if found == "" {
		return "", fmt.Errorf("recording of session %s: %w", id, fs.ErrNotExist)
	}
	return found, nil
}
