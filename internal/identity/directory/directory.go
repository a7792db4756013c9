// Package directory keeps what identity providers' directories say through
// SCIM, and brings accounts in line with it: people who are told of have one,
// with the groups that the directory puts them in; people who are deactivated,
// deleted or taken out of a group lose at once what they had by it.
//
// A directory is trusted with its own people only, and within bounds: how many
// it may take something from in an hour ([Limits]), and which names its groups
// may have.
package directory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"postern"
)

// Store keeps people and groups. Lookups of what isn't there return an error
// that is [postern.ErrNotFound].
type Store interface {
	PutDirectoryUser(context.Context, postern.DirectoryUser) error
	DirectoryUser(ctx context.Context, id string) (postern.DirectoryUser, error)
	DirectoryUsers(ctx context.Context, provider string) ([]postern.DirectoryUser, error)
	PutDirectoryGroup(context.Context, postern.DirectoryGroup) error
	DeleteDirectoryGroup(ctx context.Context, id string) error
	DirectoryGroups(ctx context.Context, provider string) ([]postern.DirectoryGroup, error)
}

// Accounts are everybody's. *identity.Service keeps them.
type Accounts interface {
	Provision(context.Context, postern.Identity) (postern.Account, error)
	Account(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
	Accounts(context.Context) ([]postern.Account, error)
	Disable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
	Enable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
}

// Limits bound what a directory may do by itself.
type Limits struct {
	// Removals is from how many people it may take something within an hour, and
	// Share the same in percent of those who are active. The larger counts.
	Removals, Share int
	// RenameToNamed lets it rename a group to a name that Named knows.
	RenameToNamed bool
}

// window is how long removals are counted together.
const window = time.Hour

// Bounds of what a directory may tell.
const (
	maxUsers   = 100_000
	maxGroups  = 10_000
	maxMembers = 50_000
	maxName    = 128 // bytes of a group's
)

// Errors that a directory is told apart. They come wrapped with the cause, in
// words for whoever operates it.
var (
	// ErrConflict says that a name is taken.
	ErrConflict = errors.New("it is taken already")
	// ErrInvalid says that something can't be as it was sent.
	ErrInvalid = errors.New("it can't be as it was sent")
	// ErrGuarded says that too many people would lose something at once.
	ErrGuarded = errors.New("too many people would lose something within an hour")
)

// Config is what a Directory is made of.
type Config struct {
	Store    Store
	Accounts Accounts
	Limits   Limits
	// Named says whether a policy or a role speaks of a group.
	Named func(group string) bool
	// Guarded is called when a directory is refused for its limits.
	Guarded func(provider string)
	Now     func() time.Time // nil: the system's clock
	Rand    io.Reader        // nil: the system's
	Log     *slog.Logger     // nil: no log
}

// Directory keeps what all directories say. Its methods may be called from
// several goroutines.
type Directory struct {
	cfg Config

	mu      sync.Mutex // one change at a time; guards what follows
	removed map[string]map[string]time.Time
	allowed map[string]time.Time // until when a provider's limits don't count
}

// New makes a Directory, or says what cfg lacks.
func New(cfg Config) (*Directory, error) {
	if cfg.Store == nil || cfg.Accounts == nil || cfg.Named == nil {
		return nil, errors.New("directory: a part of the configuration is missing")
	}
	if cfg.Guarded == nil {
		cfg.Guarded = func(string) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Directory{cfg: cfg, removed: map[string]map[string]time.Time{}, allowed: map[string]time.Time{}}, nil
}

// Source is who speaks: a provider's directory, by one of its tokens.
type Source struct {
	Provider string
	// SubjectIsExternalID says that the directory's own id of a person is what
	// the provider calls them when they sign in.
	SubjectIsExternalID bool
}

// AllowRemovals lifts a provider's limits until a moment.
func (d *Directory) AllowRemovals(provider string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allowed[provider] = until
	delete(d.removed, provider)
}

// guard says whether the directory may take something from these people now,
// and counts them. The caller holds mu.
func (d *Directory) guard(ctx context.Context, src Source, people []string) error {
	if len(people) == 0 {
		return nil
	}
	now := d.cfg.Now()
	if now.Before(d.allowed[src.Provider]) {
		return nil
	}
	recent := d.removed[src.Provider]
	if recent == nil {
		recent = map[string]time.Time{}
		d.removed[src.Provider] = recent
	}
	for id, at := range recent {
		if now.Sub(at) >= window {
			delete(recent, id)
		}
	}
	users, err := d.cfg.Store.DirectoryUsers(ctx, src.Provider)
	if err != nil {
		return err
	}
	active := 0
	for _, u := range users {
		// Those whom it has just removed were of its active people, too.
		if _, counted := recent[u.ID]; counted || u.Active && !u.Deleted {
			active++
		}
	}
	limit := max(d.cfg.Limits.Removals, active*d.cfg.Limits.Share/100)
	fresh := 0
	for _, id := range people {
		if _, counted := recent[id]; !counted {
			fresh++
		}
	}
	if len(recent)+fresh > limit {
		d.cfg.Guarded(src.Provider)
		d.cfg.Log.Error("directory refused: too many people would lose something within an hour", "provider", src.Provider,
			"people", fresh, "recent", len(recent), "limit", limit)
		return fmt.Errorf("%w: %d more after %d, and %d are the limit; if that is meant, an administrator of the gateway allows it with `postern scim-token allow-removals`",
			ErrGuarded, fresh, len(recent), limit)
	}
	for _, id := range people {
		recent[id] = now
	}
	return nil
}

func (d *Directory) newID(prefix string) (string, error) {
	var b [15]byte
	if _, err := io.ReadFull(d.cfg.Rand, b[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return prefix + hex.EncodeToString(b[:]), nil
}

// missing is the answer to whoever asks for what isn't there, or isn't theirs.
func missing(what string) error { return fmt.Errorf("%s: %w", what, postern.ErrNotFound) }

// Users returns a provider's people.
func (d *Directory) Users(ctx context.Context, src Source) ([]postern.DirectoryUser, error) {
	all, err := d.cfg.Store.DirectoryUsers(ctx, src.Provider)
	return slices.DeleteFunc(all, func(u postern.DirectoryUser) bool { return u.Deleted }), err
}

// User returns one of a provider's people.
func (d *Directory) User(ctx context.Context, src Source, id string) (postern.DirectoryUser, error) {
	u, err := d.cfg.Store.DirectoryUser(ctx, id)
	if err == nil && (u.Deleted || u.Provider != src.Provider) {
		err = missing("user")
	}
	return u, err
}

// Groups returns a provider's groups.
func (d *Directory) Groups(ctx context.Context, src Source) ([]postern.DirectoryGroup, error) {
	return d.cfg.Store.DirectoryGroups(ctx, src.Provider)
}

// Group returns one of a provider's groups.
func (d *Directory) Group(ctx context.Context, src Source, id string) (postern.DirectoryGroup, error) {
	all, err := d.cfg.Store.DirectoryGroups(ctx, src.Provider)
	if err != nil {
		return postern.DirectoryGroup{}, err
	}
	i := slices.IndexFunc(all, func(g postern.DirectoryGroup) bool { return g.ID == id })
	if i < 0 {
		return postern.DirectoryGroup{}, missing("group")
	}
	return all[i], nil
}

// same says whether names are too near to each other for two to have them.
func same(a, b string) bool { return strings.EqualFold(a, b) }
