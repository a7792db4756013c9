package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern"
)

const (
	// userCodeLetters are consonants without those that look or sound alike:
	// they spell no words. RFC 8628, section 6.1.
	userCodeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLen     = 8 // 20^8: 34 bits

	deviceTTL  = 10 * time.Minute
	codeTTL    = time.Minute
	maxDevices = 1000 // that wait at a time

	// PollEvery is how often a device may ask whether it was signed in.
	PollEvery = 5 * time.Second
)

// What a device that asks is told: RFC 8628, section 3.5.
var (
	ErrDevicePending = errors.New("nobody has decided over it yet")
	ErrDeviceTooFast = errors.New("it asks too often")
	ErrDeviceDenied  = errors.New("whoever was asked said no")
	ErrDeviceGone    = errors.New("the code is unknown, used up or expired")
)

// StartDevice begins the login of a machine without a browser: it shows the
// user code to its person, and asks with the device code whether they have
// approved it elsewhere.
func (s *Service) StartDevice(ctx context.Context, from Where) (postern.Secret, postern.Device, error) {
	from = from.clean()
	if !s.limits.devices.Take(placeOf(from.Source)) {
		return postern.Secret{}, postern.Device{}, ErrTooMany
	}
	now := s.cfg.Now().UTC()
	n, err := s.cfg.Store.WaitingDevices(ctx, now)
	if err != nil {
		return postern.Secret{}, postern.Device{}, err
	}
	if n >= maxDevices {
		return postern.Secret{}, postern.Device{}, ErrTooMany
	}
	code, err := mint(s.cfg.Rand, devicePrefix)
	if err != nil {
		return postern.Secret{}, postern.Device{}, err
	}
	user, err := randomFrom(s.cfg.Rand, userCodeLetters, userCodeLen)
	if err != nil {
		return postern.Secret{}, postern.Device{}, err
	}
	d := postern.Device{
		Hash: digest(code), UserCode: user, State: postern.DevicePending,
		Client: from.Client, Source: from.Source, CreatedAt: now, ExpiresAt: now.Add(deviceTTL),
	}
	return code, d, s.cfg.Store.AddDevice(ctx, d)
}

// ShowUserCode is a user code as people read it: "WDJB-MJHT".
func ShowUserCode(code string) string {
	if len(code) != userCodeLen {
		return code
	}
	return code[:userCodeLen/2] + "-" + code[userCodeLen/2:]
}

// readUserCode is a user code as it was typed, without what people add.
func readUserCode(text string) string {
	if len(text) > 4*userCodeLen {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(userCodeLetters, r) {
			return r
		}
		return -1
	}, strings.ToUpper(text))
}

// WaitingDevice finds the device that shows a user code, for a person who is
// signed in. Wrong codes are counted by person and by place: [ErrTooMany].
func (s *Service) WaitingDevice(ctx context.Context, by postern.Identity, userCode string, source netip.Addr) (postern.Device, error) {
	keys := []string{string(by.Kind) + ":" + by.Name, place(source).String()}
	for _, k := range keys {
		if !s.limits.userCodes.Take(k) {
			return postern.Device{}, ErrTooMany
		}
	}
	code := readUserCode(userCode)
	d, err := s.cfg.Store.DeviceByUserCode(ctx, code)
	if err != nil && !errors.Is(err, postern.ErrNotFound) {
		return postern.Device{}, err
	}
	if err != nil || d.State != postern.DevicePending || !d.ExpiresAt.After(s.cfg.Now()) {
		return postern.Device{}, ErrDeviceGone
	}
	for _, k := range keys {
		s.limits.userCodes.GiveBack(k)
	}
	return d, nil
}

// DecideDevice approves or denies a device. by is the person, as their browser's
// login says; the device is signed in as them.
func (s *Service) DecideDevice(ctx context.Context, by postern.Identity, userCode string, source netip.Addr, approve bool) (postern.Device, error) {
	d, err := s.WaitingDevice(ctx, by, userCode, source)
	if err != nil {
		return postern.Device{}, err
	}
	to := postern.DeviceDenied
	if approve {
		to = postern.DeviceApproved
	}
	err = s.cfg.Store.MoveDevice(ctx, d.Hash, postern.DevicePending, to, by, s.cfg.Now())
	if errors.Is(err, postern.ErrNotFound) {
		return postern.Device{}, ErrDeviceGone
	}
	d.State = to
	return d, err
}

// PollDevice says whether a device was signed in, and if so gives it its
// tokens, once.
func (s *Service) PollDevice(ctx context.Context, code postern.Secret) (LoginTokens, error) {
	if !wellFormed(code.Reveal(), devicePrefix) {
		return LoginTokens{}, ErrDeviceGone
	}
	hash := digest(code)
	d, err := s.cfg.Store.Device(ctx, hash)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return LoginTokens{}, ErrDeviceGone
	case err != nil:
		return LoginTokens{}, err
	case !d.ExpiresAt.After(s.cfg.Now()) || d.State == postern.DeviceSpent:
		return LoginTokens{}, ErrDeviceGone
	case !s.limits.polls.Take(hash):
		return LoginTokens{}, ErrDeviceTooFast
	case d.State == postern.DeviceDenied:
		return LoginTokens{}, ErrDeviceDenied
	case d.State != postern.DeviceApproved:
		return LoginTokens{}, ErrDevicePending
	}
	err = s.cfg.Store.MoveDevice(ctx, hash, postern.DeviceApproved, postern.DeviceSpent, d.Identity, s.cfg.Now())
	if errors.Is(err, postern.ErrNotFound) {
		return LoginTokens{}, ErrDeviceGone
	}
	if err != nil {
		return LoginTokens{}, err
	}
	login, err := newID(s.cfg.Rand, loginIDPrefix)
	if err != nil {
		return LoginTokens{}, err
	}
	return s.derive(ctx, d.Identity, postern.DeviceLogin, Where{Client: d.Client, Source: d.Source}, login)
}

// derive makes a login for a program of the browser's login in which its person
// approved it. It ends when that one's time is up, or its provider says so; the
// browser may sign out before.
func (s *Service) derive(ctx context.Context, by postern.Identity, kind postern.LoginKind, from Where, login string) (LoginTokens, error) {
	id, err := s.fresh(ctx, by)
	if err != nil {
		return LoginTokens{}, err
	}
	r, err := s.living(ctx, by.Login)
	if err != nil {
		return LoginTokens{}, err
	}
	g, err := s.cfg.Store.Grant(ctx, r.Grant)
	if err != nil {
		return LoginTokens{}, err
	}
	if !g.EndedAt.IsZero() {
		return LoginTokens{}, fmt.Errorf("%w: %w", ErrUnauthenticated, ErrGrantEnded)
	}
	return s.openLogin(ctx, kind, g, id, from, login)
}

// Challenge is the code challenge of a verifier: RFC 7636, section 4.2, S256.
func Challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ValidChallenge says whether text can be an S256 challenge.
func ValidChallenge(text string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(raw) == sha256.Size
}

// IssueCode makes the one-time code that a program exchanges for a login of by,
// who approved it in a browser. The program proves with the verifier behind
// challenge that it is the one that was approved.
func (s *Service) IssueCode(ctx context.Context, by postern.Identity, challenge, redirect string, from Where) (postern.Secret, error) {
	from = from.clean()
	if !ValidChallenge(challenge) {
		return postern.Secret{}, fmt.Errorf("%w: no S256 code challenge", ErrInvalid)
	}
	if _, err := s.fresh(ctx, by); err != nil {
		return postern.Secret{}, err
	}
	code, err := mint(s.cfg.Rand, codePrefix)
	if err != nil {
		return postern.Secret{}, err
	}
	return code, s.cfg.Store.AddLoginCode(ctx, postern.LoginCode{
		Hash: digest(code), Challenge: challenge, Redirect: redirect, Client: from.Client, Source: from.Source,
		Identity: by, ExpiresAt: s.cfg.Now().UTC().Add(codeTTL),
	})
}

// RedeemCode exchanges a code for a login. A code that comes a second time ends
// the login that it was exchanged for: RFC 6749, section 4.1.2.
func (s *Service) RedeemCode(ctx context.Context, code postern.Secret, verifier, redirect string) (LoginTokens, error) {
	if !wellFormed(code.Reveal(), codePrefix) {
		return LoginTokens{}, fmt.Errorf("%w: no code", ErrUnauthenticated)
	}
	c, err := s.cfg.Store.LoginCode(ctx, digest(code))
	if errors.Is(err, postern.ErrNotFound) {
		return LoginTokens{}, fmt.Errorf("%w: the code is unknown", ErrUnauthenticated)
	}
	if err != nil {
		return LoginTokens{}, err
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(Challenge(verifier)), []byte(c.Challenge)) != 1:
		return LoginTokens{}, fmt.Errorf("%w: the verifier is not that of the code", ErrUnauthenticated)
	case redirect != c.Redirect:
		return LoginTokens{}, fmt.Errorf("%w: the code was sent elsewhere", ErrUnauthenticated)
	case c.Login != "":
		reused := fmt.Errorf("%w: a code of %s:%s", ErrReused, c.Identity.Kind, c.Identity.Name)
		if err := s.EndLogin(ctx, c.Login, "the code that it came of was used twice; sign in again"); err != nil {
			return LoginTokens{}, errors.Join(reused, err)
		}
		return LoginTokens{}, &postern.DoneError{Err: reused}
	case !c.ExpiresAt.After(s.cfg.Now()):
		return LoginTokens{}, fmt.Errorf("%w: the code has expired", ErrUnauthenticated)
	}
	login, err := newID(s.cfg.Rand, loginIDPrefix)
	if err != nil {
		return LoginTokens{}, err
	}
	// Marked before the login is there: of two that race one has nothing.
	err = s.cfg.Store.UseLoginCode(ctx, c.Hash, login, s.cfg.Now())
	if errors.Is(err, postern.ErrNotFound) {
		return LoginTokens{}, fmt.Errorf("%w: the code has just been used", ErrUnauthenticated)
	}
	if err != nil {
		return LoginTokens{}, err
	}
	return s.derive(ctx, c.Identity, postern.CLILogin, Where{Client: c.Client, Source: c.Source}, login)
}
