package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"postern"
)

// The cost of new hashes (19 MiB, two passes), and the limits within which a
// hash from a file is accepted.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	saltLen      = 16
	hashLen      = 32

	maxArgonMemory = 256 * 1024
	maxArgonTime   = 16
	minSaltLen     = 8
	maxSaltLen     = 64
	minHashLen     = 16
	maxHashLen     = 64
	maxPHC         = 512

	minPassword = 8
	maxPassword = 1024
)

// phc is an argon2id hash with its parameters.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, hash   []byte
}

// HashPassword hashes a password with argon2id and a new salt, as a PHC string:
// what password_hash in postern.yaml holds.
func HashPassword(password postern.Secret) (string, error) {
	if n := len(password.Reveal()); n < minPassword || n > maxPassword {
		return "", fmt.Errorf("%w: a password has %d to %d bytes", ErrInvalid, minPassword, maxPassword)
	}
	p := phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, saltLen), hash: make([]byte, hashLen)}
	_, _ = rand.Read(p.salt) // never returns an error
	p.hash = p.derive(password)
	return p.String(), nil
}

// CheckPasswordHash says what is wrong with a password_hash, if anything.
func CheckPasswordHash(text string) error {
	_, err := parsePHC(text)
	return err
}

func (p phc) derive(password postern.Secret) []byte {
	return argon2.IDKey([]byte(password.Reveal()), p.salt, p.time, p.memory, p.threads, uint32(len(p.hash)))
}

func (p phc) matches(password postern.Secret) bool {
	return subtle.ConstantTimeCompare(p.derive(password), p.hash) == 1
}

// String is the hash as a PHC string.
func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

// parsePHC reads an argon2id PHC string. Its error doesn't hold the text.
func parsePHC(text string) (phc, error) {
	bad := func(what string) (phc, error) {
		return phc{}, fmt.Errorf("%w: password hash: %s; make one with postern user hash-password", ErrInvalid, what)
	}
	if len(text) > maxPHC {
		return bad("it is too long")
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return bad("it is no argon2id hash of version 19")
	}
	var p phc
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 {
		return bad("it has no costs m, t and p")
	}
	var n [3]uint64
	for i, c := range []struct {
		name string
		max  uint64
	}{{"m=", maxArgonMemory}, {"t=", maxArgonTime}, {"p=", 16}} {
		digits, ok := strings.CutPrefix(costs[i], c.name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || v == 0 || v > c.max || strconv.FormatUint(v, 10) != digits {
			return bad("its cost " + c.name[:1] + " is none, or beyond the limit")
		}
		n[i] = v
	}
	p.memory, p.time, p.threads = uint32(n[0]), uint32(n[1]), uint8(n[2])
	if p.memory < 8*uint32(p.threads) {
		return bad("its cost m is too low for p")
	}
	var err error
	b64 := base64.RawStdEncoding.Strict()
	if p.salt, err = b64.DecodeString(parts[4]); err != nil || len(p.salt) < minSaltLen || len(p.salt) > maxSaltLen {
		return bad("its salt can't be read")
	}
	if p.hash, err = b64.DecodeString(parts[5]); err != nil || len(p.hash) < minHashLen || len(p.hash) > maxHashLen {
		return bad("its hash can't be read")
	}
	if p.String() != text {
		return bad("it isn't in its canonical form")
	}
	return p, nil
}

// maxWaiting is how many logins wait for a hasher before more are refused.
const maxWaiting = 64

// passwords verifies passwords: a few at a time, and not too often for one user
// from one place.
type passwords struct {
	slots   chan struct{}
	waiting atomic.Int64
	dummy   phc // verified in place of a user that doesn't exist
	pairs   *Limiter
	sources *Limiter
	codes   *Limiter // of second factors, by user
}

func newPasswords(hashers int, now func() time.Time) (*passwords, error) {
	if hashers < 0 {
		return nil, errors.New("identity: Hashers is negative")
	}
	p := &passwords{
		slots: make(chan struct{}, hashers),
		dummy: phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, saltLen), hash: make([]byte, hashLen)},
		// Ten failures of one user from one place, then ten a minute; of all
		// users from one place a hundred.
		pairs:   NewLimiter(10, 6*time.Second, now),
		sources: NewLimiter(100, 600*time.Millisecond, now),
		// Of a million codes three are good at a time: five wrong ones, then one
		// every two minutes, take a year to meet one at even odds.
		codes: NewLimiter(5, 2*time.Minute, now),
	}
	_, _ = rand.Read(p.dummy.hash) // no password has it
	return p, nil
}

// verify spends the same time whether or not there is a user.
func (p *passwords) verify(ctx context.Context, want phc, password postern.Secret) (bool, error) {
	if p.waiting.Add(1) > maxWaiting {
		p.waiting.Add(-1)
		return false, ErrTooMany
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-p.slots }()
	return want.matches(password), nil
}

// place is what tries are counted by: an IPv4 address, or the /64 network that
// one holder of IPv6 addresses has at least.
func place(source netip.Addr) netip.Addr {
	source = source.Unmap().WithZone("")
	if !source.Is6() {
		return source
	}
	network, err := source.Prefix(64)
	if err != nil {
		return source
	}
	return network.Addr()
}

// Place is what tries from an address are counted by.
func Place(source netip.Addr) string { return place(source).String() }

// placeOf is the place of an address as text. What is no address is one place.
func placeOf(source string) string {
	addr, err := netip.ParseAddr(source)
	if err != nil {
		return ""
	}
	return place(addr).String()
}

// AuthenticatePassword verifies a local user's password, presented from source,
// as [Service.AuthenticatePerson] does: who has a second factor doesn't get past
// it here.
func (s *Service) AuthenticatePassword(ctx context.Context, name string, password postern.Secret, source netip.Addr) (postern.Identity, error) {
	id, err := s.AuthenticatePerson(ctx, name, Proof{Password: password}, source)
	if err != nil {
		return postern.Identity{}, err
	}
	return id, nil
}

// verifyPassword returns the account whose password it is. What it took from
// the limits is given back by its caller, when all is right.
func (s *Service) verifyPassword(ctx context.Context, name string, password postern.Secret, source netip.Addr, pair string) (postern.Account, error) {
	if len(name) > maxName || len(password.Reveal()) > maxPassword {
		return postern.Account{}, fmt.Errorf("%w: name or password is too long", ErrUnauthenticated)
	}
	if !s.passwords.sources.Take(source.String()) || !s.passwords.pairs.Take(pair) {
		return postern.Account{}, ErrTooMany
	}
	a, err := s.cfg.Store.Account(ctx, postern.User, name)
	if err != nil && !errors.Is(err, postern.ErrNotFound) {
		return postern.Account{}, err
	}
	known := err == nil && a.SecretHash != ""
	want := s.passwords.dummy
	if known {
		if want, err = parsePHC(a.SecretHash); err != nil {
			return postern.Account{}, err
		}
	}
	matches, err := s.passwords.verify(ctx, want, password)
	switch {
	case err != nil:
		return postern.Account{}, err
	case !known:
		return postern.Account{}, fmt.Errorf("%w: there is no user %q with a password", ErrUnauthenticated, name)
	case !matches:
		return postern.Account{}, fmt.Errorf("%w: wrong password for user %s", ErrUnauthenticated, name)
	case a.Disabled:
		return postern.Account{}, fmt.Errorf("%w: account user:%s is disabled", ErrUnauthenticated, name)
	}
	return a, nil
}
