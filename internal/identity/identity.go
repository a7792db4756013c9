// Package identity says who acts. It keeps the accounts of everybody whom the
// gateway knows (service accounts, local users, people of an identity
// provider), verifies what they present (keys, passwords, login and session
// tokens), mints short-lived tokens, and ends what a revoked one has open.
//
// Every service account and every person stands or falls with their account:
// it is looked up at each use of what was minted for them, must be there, not
// be disabled, and belong to the same subject. People get theirs by
// [Service.SignIn], after their provider has vouched for them, or by
// [Service.Provision], from its directory. Workloads of a JWT issuer have no
// account; what they are was verified elsewhere.
package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	AccountBySubject(ctx context.Context, subject string) (postern.Account, error)
	Accounts(context.Context) ([]postern.Account, error)
	DeleteAccount(ctx context.Context, kind postern.IdentityKind, name string) error

	PutToken(context.Context, postern.Token) error
	Token(ctx context.Context, id string) (postern.Token, error)
	TokenRevoked(ctx context.Context, id string) (bool, error)
	TokenByHash(ctx context.Context, hash string) (postern.Token, error)
	TokensOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.Token, error)
	// TokensFrom lists what came of a login.
	TokensFrom(ctx context.Context, parent string) ([]postern.Token, error)
	DeleteToken(ctx context.Context, id string) error
	// NoteRefusal remembers that a token was refused to whoever presented it.
	NoteRefusal(ctx context.Context, id string, at time.Time, why string) error
	// UseToken counts a use, in one step with the check that there is one left.
	UseToken(ctx context.Context, id string, now time.Time) error
	// RevokeToken revokes a token and what came of it.
	RevokeToken(ctx context.Context, id string) error
	RevokeTokensOf(ctx context.Context, kind postern.IdentityKind, name string) (int, error)
	DeleteExpiredTokens(ctx context.Context, before time.Time) (int, error)
	// DeleteUsed forgets what was used once and can't be used again anyway.
	DeleteUsed(ctx context.Context, before time.Time) (int, error)

	LoginStore
	FactorStore
	BreakGlassStore

	// GrantsOfSession lists what a provider gave in one of its sessions.
	GrantsOfSession(ctx context.Context, provider, sid string) ([]postern.LoginGrant, error)
	// SeenEvent says whether something that a provider said was remembered;
	// RememberEvent remembers it until a moment.
	SeenEvent(ctx context.Context, issuer, id string) (bool, error)
	RememberEvent(ctx context.Context, issuer, id string, until time.Time) error
	PutSCIMToken(context.Context, postern.SCIMToken) error
	SCIMTokens(context.Context) ([]postern.SCIMToken, error)
	SCIMTokenByHash(ctx context.Context, hash string) (postern.SCIMToken, error)
	RevokeSCIMToken(ctx context.Context, name string) error

	// DeleteExpiredEvents forgets what was to be remembered until a moment that
	// has passed.
	DeleteExpiredEvents(ctx context.Context, before time.Time) (int, error)

	// After has f called once what is written with ctx is durable: now, unless an
	// act is going on.
	After(ctx context.Context, f func())
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
	// ErrTaken says that a name belongs to another person already.
	ErrTaken = errors.New("the name belongs to somebody else")
	// ErrDeclared says that an account is declared in a file, and must be changed there.
	ErrDeclared = errors.New("declared in a file")
)

// Config is what a Service is made of.
type Config struct {
	Store Store
	// End ends the live sessions that match, telling their clients why, and
	// says how many they were. since is when what ends them was accepted.
	End func(since time.Time, reason string, match func(postern.SessionInfo) bool) int
	// Reclaim tells the live sessions of a login which claims its person has now;
	// nil: there are none.
	Reclaim func(login string, claims postern.Claims)
	Now     func() time.Time // nil: the system's clock
	// Rand makes tokens, keys and ids. nil: the system's.
	Rand io.Reader
	// SessionTTL is a session token's life unless another is asked for; 0: 15 minutes.
	SessionTTL time.Duration
	// MaxSessionTTL is the longest that can be asked for; 0: 12 hours.
	MaxSessionTTL time.Duration
	// LoginTTL is how long a login lasts; 0: 12 hours.
	LoginTTL time.Duration
	// RefreshEvery is how often a program renews its login, and a provider is
	// asked whether it still stands by one; 0: 15 minutes.
	RefreshEvery time.Duration
	// Renew asks the provider of a subject ("PROVIDER:SUB") whether it stands by
	// a person, with the refresh token that it gave. [ErrGrantEnded] says that it
	// doesn't; any other error, that it didn't say. An Identity without a name
	// says that it does, and no more. nil: no provider can be asked.
	Renew func(ctx context.Context, subject string, refresh postern.Secret) (Vouched, error)
	// Seal and Unseal keep providers' refresh tokens; nil: they aren't kept.
	Seal   func(purpose string, plaintext []byte) (string, error)
	Unseal func(purpose, sealed string) ([]byte, error)
	// Note writes what happens unasked to the audit log; nil: nobody wants to know.
	Note func(context.Context, postern.AuditEntry)
	// Hashers is how many passwords are verified at once, each with 19 MiB; 0: 2.
	Hashers int
}

// Service is the gateway's own issuer. Its methods may be called from several
// goroutines.
type Service struct {
	cfg       Config
	passwords *passwords
	decoy     [32]byte // makes the verifiers of tokens that aren't there
	limits    limits

	mu sync.Mutex // one change of accounts at a time; locked before the store's writing side
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
	or(&cfg.RefreshEvery, 15*time.Minute)
	cfg.RefreshEvery = min(cfg.RefreshEvery, cfg.LoginTTL)
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
	if cfg.Reclaim == nil {
		cfg.Reclaim = func(string, postern.Claims) {}
	}
	if cfg.Note == nil {
		cfg.Note = func(context.Context, postern.AuditEntry) {}
	}
	s := &Service{cfg: cfg, passwords: p, limits: newLimits(cfg.Now)}
	if _, err := io.ReadFull(cfg.Rand, s.decoy[:]); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return s, nil
}

// limits count what strangers may do.
type limits struct {
	devices   *Limiter // that begin to be signed in, by place
	userCodes *Limiter // that were wrong, by person and by place
	polls     *Limiter // by device
	offline   *Limiter // codes of offline grants that were wrong, by place
}

func newLimits(now func() time.Time) limits {
	return limits{
		devices: NewLimiter(10, 30*time.Second, now),
		// Ten wrong ones, then ten a minute: against 34 bits and at most a
		// thousand codes that are good at a time.
		userCodes: NewLimiter(10, 6*time.Second, now),
		// A second of grace, for whose clock runs a little fast.
		polls:   NewLimiter(1, PollEvery-time.Second, now),
		offline: NewLimiter(10, 30*time.Second, now),
	}
}

// LocalProvider is the provider of the identities that have their secret here.
const LocalProvider = "local"

// localSubject is the Subject of an identity that has its secret here.
func localSubject(name string) string { return LocalProvider + ":" + name }

// subjectOf is the Subject of an account's identity.
func subjectOf(a postern.Account) string {
	if a.Subject == "" {
		return localSubject(a.Name)
	}
	return a.Subject
}

// of is the identity of an account.
func of(a postern.Account) postern.Identity {
	return postern.Identity{Name: a.Name, Kind: a.Kind, Subject: subjectOf(a), Email: a.Email, Groups: a.Groups}
}

// maxActors bounds a chain of identities that act for each other.
const maxActors = 4

// fresh is the identity as its account says now: with the groups of today, or
// an error when the account is gone or disabled, or the login over that it came
// of. The same holds for its actor.
func (s *Service) fresh(ctx context.Context, id postern.Identity) (postern.Identity, error) {
	return s.freshen(ctx, id, maxActors)
}

func (s *Service) freshen(ctx context.Context, id postern.Identity, depth int) (postern.Identity, error) {
	if depth == 0 {
		return postern.Identity{}, fmt.Errorf("%w: more than %d identities act for each other", ErrUnauthenticated, maxActors)
	}
	if id.Kind != postern.Workload { // the zero identity, too: a lookup of nobody
		a, err := s.standing(ctx, id)
		if err != nil {
			return postern.Identity{}, err
		}
		id.Subject, id.Email, id.Groups = subjectOf(a), a.Email, a.Groups
	}
	if id.Login != "" {
		r, err := s.living(ctx, id.Login)
		if err != nil {
			return postern.Identity{}, err
		}
		if r.Identity.Kind != id.Kind || r.Identity.Name != id.Name {
			return postern.Identity{}, fmt.Errorf("%w: login %s is another's", ErrUnauthenticated, id.Login)
		}
		id.Claims, id.Expires = r.Identity.Claims, r.ExpiresAt
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

// standing is the account that an identity stands with. An identity without a
// Subject is one of those that have their secret here.
func (s *Service) standing(ctx context.Context, id postern.Identity) (postern.Account, error) {
	a, err := s.cfg.Store.Account(ctx, id.Kind, id.Name)
	subject := id.Subject
	if subject == "" {
		subject = localSubject(id.Name)
	}
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return postern.Account{}, fmt.Errorf("%w: there is no account %s:%s", ErrUnauthenticated, id.Kind, id.Name)
	case err != nil:
		return postern.Account{}, err
	case subject != subjectOf(a):
		return postern.Account{}, fmt.Errorf("%w: account %s:%s belongs to another subject now", ErrUnauthenticated, id.Kind, id.Name)
	case a.Disabled:
		return postern.Account{}, fmt.Errorf("%w: account %s:%s is disabled", ErrUnauthenticated, id.Kind, id.Name)
	}
	return a, nil
}
