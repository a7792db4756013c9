package identity

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"postern"
)

// FactorStore keeps second factors.
type FactorStore interface {
	PutFactor(context.Context, postern.Factor) error
	Factors(ctx context.Context, account string) ([]postern.Factor, error)
	// UseFactor takes a code of a time step, once, in one step with the check
	// that no code of it or a later one was taken.
	UseFactor(ctx context.Context, account, kind, sealed string, step int64) error
	DeleteFactors(ctx context.Context, account string) (int, error)
}

// ErrCodeNeeded says that the password is right, and that a code of the second
// factor has to come with it.
var ErrCodeNeeded = errors.New("a code of the second factor is needed")

// Proof is what a local user shows to be who they say.
type Proof struct {
	Password postern.Secret
	Code     string // of their second factor; "": none is shown
}

// The codes of RFC 6238 as every authenticator app makes them.
const (
	totpKind   = "totp"
	totpPeriod = 30 * time.Second
	totpSecret = 20 // bytes
	// totpDrift is how many steps a code may be early or late: 30 seconds.
	totpDrift = 1
)

func purposeTOTP(account string) string { return "second factor of " + account }

// AuthenticatePerson verifies a local user's password and, where they have one,
// their second factor, presented from source. A code counts once. Nobody gets
// past a factor that they have: [ErrCodeNeeded] comes when the password is right
// and a code is missing. Nor does anybody enter a break-glass account alone: who
// has shown everything for one gets [ErrTwoPeople] with the identity.
//
// Its time says nothing about whether the user exists, as long as users' hashes
// have the cost that [HashPassword] gives them. [ErrTooMany] comes when this
// user failed too often from there.
func (s *Service) AuthenticatePerson(ctx context.Context, name string, p Proof, source netip.Addr) (postern.Identity, error) {
	source = place(source)
	pair := name + "\x00" + source.String()
	a, err := s.verifyPassword(ctx, name, p.Password, source, pair)
	if err != nil {
		return postern.Identity{}, err
	}
	err = s.verifyCode(ctx, a, p.Code)
	if err != nil && !errors.Is(err, ErrCodeNeeded) {
		return postern.Identity{}, err
	}
	s.passwords.sources.GiveBack(source.String())
	s.passwords.pairs.GiveBack(pair)
	if err != nil {
		return postern.Identity{}, err
	}
	if a.BreakGlass {
		return of(a), ErrTwoPeople
	}
	return of(a), nil
}

// verifyCode is nil for who has no second factor, and for whoever shows a code
// of theirs that is good now and wasn't taken yet.
func (s *Service) verifyCode(ctx context.Context, a postern.Account, code string) error {
	factors, err := s.cfg.Store.Factors(ctx, a.Name)
	if err != nil {
		return err
	}
	needed := false
	for _, f := range factors {
		if !f.Confirmed {
			continue
		}
		needed = true
		if code == "" {
			return ErrCodeNeeded
		}
		// Codes are short: whoever knows the password mustn't try them all, from
		// however many places.
		if !s.passwords.codes.Take(a.Name) {
			return ErrTooMany
		}
		err := s.takeCode(ctx, f, code)
		if err == nil {
			s.passwords.codes.GiveBack(a.Name)
		}
		if err == nil || !errors.Is(err, ErrUnauthenticated) {
			return err
		}
	}
	if needed {
		return fmt.Errorf("%w: wrong code for user %s, or one that was used", ErrUnauthenticated, a.Name)
	}
	return nil
}

// takeCode takes a code of a factor, once.
func (s *Service) takeCode(ctx context.Context, f postern.Factor, code string) error {
	secret, err := s.unsealFactor(f)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	matched := int64(-1)
	for drift := -totpDrift; drift <= totpDrift; drift++ {
		at := now.Add(time.Duration(drift) * totpPeriod)
		want, err := totp.GenerateCodeCustom(secret, at, totp.ValidateOpts{Period: uint(totpPeriod / time.Second), Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return fmt.Errorf("second factor of %s: %w", f.Account, err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			matched = at.Unix() / int64(totpPeriod/time.Second)
		}
	}
	if matched < 0 {
		return fmt.Errorf("%w: wrong code", ErrUnauthenticated)
	}
	err = s.cfg.Store.UseFactor(ctx, f.Account, f.Kind, f.Sealed, matched)
	if errors.Is(err, postern.ErrNotFound) {
		return fmt.Errorf("%w: the code was used before", ErrUnauthenticated)
	}
	return err
}

func (s *Service) unsealFactor(f postern.Factor) (string, error) {
	if s.cfg.Unseal == nil {
		return "", errors.New("identity: second factors can't be opened: there is no vault")
	}
	secret, err := s.cfg.Unseal(purposeTOTP(f.Account), f.Sealed)
	if err != nil {
		return "", fmt.Errorf("open the second factor of %s: %w", f.Account, err)
	}
	return string(secret), nil
}

// Enrolment is a new second factor, shown this once.
type Enrolment struct {
	Secret string // base32, to be typed
	URL    string // otpauth://…, to be scanned
}

// EnrolTOTP begins a second factor for a local user. It counts from the moment
// at which its holder has shown a code of it with [Service.ConfirmTOTP]; until
// then it neither opens nor keeps out. Who has one already keeps it: an
// administrator takes it away first ([Service.ResetFactors]).
func (s *Service) EnrolTOTP(ctx context.Context, name, issuer string) (Enrolment, error) {
	defer s.lock(ctx)()
	a, err := s.cfg.Store.Account(ctx, postern.User, name)
	if err != nil {
		return Enrolment{}, err
	}
	factors, err := s.cfg.Store.Factors(ctx, name)
	if err != nil {
		return Enrolment{}, err
	}
	for _, f := range factors {
		if f.Confirmed {
			return Enrolment{}, fmt.Errorf("user:%s has a second factor, which %w; an administrator can reset it", name, ErrExists)
		}
	}
	if a.Subject != "" || a.SecretHash == "" {
		return Enrolment{}, fmt.Errorf("%w: user:%s has no password here, and needs no second factor here", ErrInvalid, name)
	}
	if s.cfg.Seal == nil {
		return Enrolment{}, errors.New("identity: second factors can't be kept: there is no vault")
	}
	raw := make([]byte, totpSecret)
	if _, err := io.ReadFull(s.cfg.Rand, raw); err != nil {
		return Enrolment{}, fmt.Errorf("make a second factor: %w", err)
	}
	secret := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)
	sealed, err := s.cfg.Seal(purposeTOTP(name), []byte(secret))
	if err != nil {
		return Enrolment{}, fmt.Errorf("seal a second factor: %w", err)
	}
	if err := s.cfg.Store.PutFactor(ctx, postern.Factor{Account: name, Kind: totpKind, Sealed: sealed, CreatedAt: s.cfg.Now().UTC()}); err != nil {
		return Enrolment{}, err
	}
	query := url.Values{"secret": {secret}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	return Enrolment{Secret: secret, URL: "otpauth://totp/" + url.PathEscape(issuer+":"+name) + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")}, nil
}

// ConfirmTOTP makes the second factor count that its holder began, with a code
// of it. The logins that were made without it end.
func (s *Service) ConfirmTOTP(ctx context.Context, name, code string) error {
	if !s.passwords.codes.Take(name) {
		return ErrTooMany
	}
	defer s.lock(ctx)()
	factors, err := s.cfg.Store.Factors(ctx, name)
	if err != nil {
		return err
	}
	for _, f := range factors {
		if f.Kind != totpKind || f.Confirmed {
			continue
		}
		if err := s.takeCode(ctx, f, code); err != nil {
			return err
		}
		s.passwords.codes.GiveBack(name)
		_, _, err := s.RevokeAll(ctx, postern.User, name, "its person has a second factor now; sign in with it")
		return err
	}
	return fmt.Errorf("second factor that waits for its first code: %w", postern.ErrNotFound)
}

// HasFactor says whether a local user has a second factor that counts.
func (s *Service) HasFactor(ctx context.Context, name string) (bool, error) {
	factors, err := s.cfg.Store.Factors(ctx, name)
	for _, f := range factors {
		if f.Confirmed {
			return true, err
		}
	}
	return false, err
}

// ResetFactors takes a person's second factors away, for who has lost theirs,
// and ends what they have open.
func (s *Service) ResetFactors(ctx context.Context, name string) error {
	defer s.lock(ctx)()
	if _, err := s.cfg.Store.Account(ctx, postern.User, name); err != nil {
		return err
	}
	if _, err := s.cfg.Store.DeleteFactors(ctx, name); err != nil {
		return err
	}
	_, _, err := s.RevokeAll(ctx, postern.User, name, "its second factor was reset")
	return err
}
