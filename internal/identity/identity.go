// Package identity says who acts. It keeps the identities that the gateway
// itself knows (service accounts and local users), verifies what they present
// (keys, passwords, login and session tokens), mints short-lived tokens, and
// ends what a revoked one has open.
//
// People of an identity provider and workloads of a JWT issuer become an
// [postern.Identity] elsewhere; tokens are minted for them here in the same way.
// Their Subject names the issuer; an identity without one, or with the Subject
// that this package gives, stands or falls with its account here.
package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"postern"
)

// Store keeps accounts and tokens. Lookups of what isn't there return an error
// that is [postern.ErrNotFound].
type Store interface {
	PutAccount(context.Context, postern.Account) error
	Account(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
	AccountByKey(ctx context.Context, hash string) (postern.Account, error)
	Accounts(context.Context) ([]postern.Account, error)
	DeleteAccount(ctx context.Context, kind postern.IdentityKind, name string) error

	PutToken(context.Context, postern.Token) error
	Token(ctx context.Context, id string) (postern.Token, error)
	TokenByHash(ctx context.Context, hash string) (postern.Token, error)
	TokensOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.Token, error)
	// UseToken counts a use, in one step with the check that there is one left.
	UseToken(ctx context.Context, id string, now time.Time) error
	RevokeToken(ctx context.Context, id string) error
	RevokeTokensOf(ctx context.Context, kind postern.IdentityKind, name string) (int, error)
	DeleteExpiredTokens(ctx context.Context, before time.Time) (int, error)

	Meta(ctx context.Context, name string) (string, error)
	PutMeta(ctx context.Context, name, value string) error
}

// Errors that a caller may want to tell apart. They come wrapped with the
// cause, which is for the operator, and for whoever is signed in already.
var (
	// ErrUnauthenticated says that what was presented proves nobody's identity.
	// A client is told no more than that.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrTooMany says that too many attempts were made: try again later.
	ErrTooMany = errors.New("too many attempts; try again in a minute")
	// ErrInvalid says that an argument isn't acceptable.
	ErrInvalid = errors.New("invalid")
	// ErrExists says that an account of that kind and name is there already.
	ErrExists = errors.New("already exists")
	// ErrDeclared says that an account is declared in a file, and must be changed there.
	ErrDeclared = errors.New("declared in a file")
)

// Config is what a Service is made of.
type Config struct {
	Store Store
	// End ends the live sessions that match, telling their clients why, and
	// says how many they were.
	End func(reason string, match func(postern.SessionInfo) bool) int
	Now func() time.Time // nil: the system's clock
	// Rand makes tokens, keys and ids. nil: the system's.
	Rand io.Reader
	// SessionTTL is a session token's life unless another is asked for; 0: 15 minutes.
	SessionTTL time.Duration
	// MaxSessionTTL is the longest that can be asked for; 0: 12 hours.
	MaxSessionTTL time.Duration
	// LoginTTL is a login token's life; 0: 12 hours.
	LoginTTL time.Duration
	// Hashers is how many passwords are verified at once, each with 19 MiB; 0: 2.
	Hashers int
}

// Service is the gateway's own issuer. Its methods may be called from several
// goroutines.
type Service struct {
	cfg       Config
	passwords *passwords

	mu sync.Mutex // one change of accounts at a time
}

// New makes a Service, or says what cfg lacks.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.End == nil {
		return nil, errors.New("identity: Store and End are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	or := func(d *time.Duration, fallback time.Duration) {
		if *d == 0 {
			*d = fallback
		}
	}
	or(&cfg.SessionTTL, 15*time.Minute)
	or(&cfg.MaxSessionTTL, 12*time.Hour)
	or(&cfg.LoginTTL, 12*time.Hour)
	if cfg.SessionTTL < 0 || cfg.LoginTTL < 0 || cfg.SessionTTL > cfg.MaxSessionTTL {
		return nil, fmt.Errorf("identity: a session token's default life (%v) must lie between 0 and the longest (%v)", cfg.SessionTTL, cfg.MaxSessionTTL)
	}
	if cfg.Hashers == 0 {
		cfg.Hashers = 2
	}
	p, err := newPasswords(cfg.Hashers, cfg.Now)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, passwords: p}, nil
}

// localSubject is the Subject of an identity that has an account here.
func localSubject(name string) string { return "local:" + name }

// isLocal says whether an identity stands or falls with an account here.
func isLocal(id postern.Identity) bool {
	return id.Kind == postern.Service || id.Subject == "" || strings.HasPrefix(id.Subject, localSubject(""))
}

// of is the identity of an account.
func of(a postern.Account) postern.Identity {
	return postern.Identity{Name: a.Name, Kind: a.Kind, Subject: localSubject(a.Name), Groups: a.Groups}
}

// maxActors bounds a chain of identities that act for each other.
const maxActors = 4

// fresh is the identity as its account says now: with the groups of today, or
// an error when the account is gone or disabled. The same holds for its actor.
func (s *Service) fresh(ctx context.Context, id postern.Identity) (postern.Identity, error) {
	return s.freshen(ctx, id, maxActors)
}

func (s *Service) freshen(ctx context.Context, id postern.Identity, depth int) (postern.Identity, error) {
	if depth == 0 {
		return postern.Identity{}, fmt.Errorf("%w: more than %d identities act for each other", ErrUnauthenticated, maxActors)
	}
	if isLocal(id) {
		a, err := s.cfg.Store.Account(ctx, id.Kind, id.Name)
		switch {
		case errors.Is(err, postern.ErrNotFound):
			return postern.Identity{}, fmt.Errorf("%w: there is no account %s:%s", ErrUnauthenticated, id.Kind, id.Name)
		case err != nil:
			return postern.Identity{}, err
		case a.Disabled:
			return postern.Identity{}, fmt.Errorf("%w: account %s:%s is disabled", ErrUnauthenticated, id.Kind, id.Name)
		}
		id.Groups = a.Groups
	}
	if id.Actor != nil {
		actor, err := s.freshen(ctx, *id.Actor, depth-1)
		if err != nil {
			return postern.Identity{}, fmt.Errorf("actor: %w", err)
		}
		id.Actor = &actor
	}
	return id, nil
}
