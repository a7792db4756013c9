package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern"
)

// LoginStore keeps logins, from sign-in to end. Conditional changes that come
// too late are [postern.ErrNotFound].
type LoginStore interface {
	AddLogin(context.Context, postern.LoginRecord) error
	Login(ctx context.Context, id string) (postern.LoginRecord, error)
	LoginsOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.LoginRecord, error)
	LoginsOfGrant(ctx context.Context, grant string) ([]postern.LoginRecord, error)
	SetLoginIdentity(ctx context.Context, id string, who postern.Identity) error
	EndLogin(ctx context.Context, id, reason string, at time.Time) error

	// AdvanceLogin keeps the hash of a login's next refresh token, and the id of
	// the token that goes with it, if from is the generation that is good now.
	AdvanceLogin(ctx context.Context, id string, from int, hash, token string) error
	RefreshToken(ctx context.Context, hash string) (login string, generation int, err error)
	TokenOfGeneration(ctx context.Context, login string, generation int) (postern.Token, error)

	PutGrant(context.Context, postern.LoginGrant) error
	Grant(ctx context.Context, id string) (postern.LoginGrant, error)
	GrantsOf(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.LoginGrant, error)
	DueGrants(ctx context.Context, before, now time.Time, limit int) ([]postern.LoginGrant, error)
	ClaimGrant(ctx context.Context, id string, since, now time.Time) error

	AddDevice(context.Context, postern.Device) error
	Device(ctx context.Context, hash string) (postern.Device, error)
	DeviceByUserCode(ctx context.Context, code string) (postern.Device, error)
	WaitingDevices(ctx context.Context, now time.Time) (int, error)
	MoveDevice(ctx context.Context, hash string, from, to postern.DeviceState, who postern.Identity, now time.Time) error

	AddLoginCode(context.Context, postern.LoginCode) error
	LoginCode(ctx context.Context, hash string) (postern.LoginCode, error)
	UseLoginCode(ctx context.Context, hash, login string, now time.Time) error

	// Spend marks a thing as used, and says whether this was the first time.
	Spend(ctx context.Context, what string, until time.Time) (bool, error)
	DeleteExpiredLogins(ctx context.Context, before, now time.Time) error
}

// Errors of logins.
var (
	// ErrReused says that a refresh token, or a code, came a second time. One of
	// the two who hold it isn't who it was given to, so the login has ended. It
	// is an [ErrUnauthenticated].
	ErrReused = fmt.Errorf("%w: used twice", ErrUnauthenticated)
	// ErrRaced says that another program renews the same login at this moment.
	ErrRaced = errors.New("the login is being renewed by another program; try again")
	// ErrProviderDown says that the identity provider gave no answer that counts:
	// the login stands, but can't be renewed.
	ErrProviderDown = errors.New("the identity provider can't be asked")
	// ErrGrantEnded says that the identity provider stands by a person no longer.
	ErrGrantEnded = errors.New("the identity provider ended the login")
)

// Vouched is what a provider says of a person who has just signed in there.
type Vouched struct {
	Identity postern.Identity // with the Subject "PROVIDER:SUB"
	Refresh  postern.Secret   // with which the provider is asked again; zero: it can't be
	SID      string           // the provider's id of its own session; may be empty
}

// Where is what a login comes from.
type Where struct {
	Client string // what the program says of itself; unverified
	Source string // its address
}

const loginIDPrefix = "lg_"

// maxClient bounds what a client says of itself.
const maxClient = 128

func (w Where) clean() Where {
	w.Client = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > '~' { // it is shown to whoever approves: nothing that turns text around
			return -1
		}
		return r
	}, w.Client)
	w.Client = w.Client[:min(len(w.Client), maxClient)]
	return w
}

// LoginTokens are a login's secrets, told this once.
type LoginTokens struct {
	Token     postern.Secret // calls the API
	Refresh   postern.Secret // gets the next Token; zero: sign in again instead
	Record    postern.LoginRecord
	ExpiresAt time.Time // of Token
}

// StartLogin signs in a person for whom a provider has just vouched: the login
// lasts for LoginTTL, as long as the provider stands by it. A browser's token is
// good as a cookie only; no login of this kind has a refresh token.
func (s *Service) StartLogin(ctx context.Context, kind postern.LoginKind, v Vouched, from Where) (LoginTokens, error) {
	id, err := s.vouch(ctx, v.Identity)
	if err != nil {
		return LoginTokens{}, err
	}
	now := s.cfg.Now().UTC()
	g := postern.LoginGrant{Kind: id.Kind, Name: id.Name, Subject: id.Subject, SID: v.SID, CreatedAt: now, CheckedAt: now}
	if g.ID, err = newID(s.cfg.Rand, "gr_"); err != nil {
		return LoginTokens{}, err
	}
	if g.Refresh, err = s.sealRefresh(g.ID, v.Refresh); err != nil {
		return LoginTokens{}, err
	}
	if err := s.cfg.Store.PutGrant(ctx, g); err != nil {
		return LoginTokens{}, err
	}
	login, err := newID(s.cfg.Rand, loginIDPrefix)
	if err != nil {
		return LoginTokens{}, err
	}
	out, err := s.openLogin(ctx, kind, g, id, from, login)
	if err != nil {
		return LoginTokens{}, err
	}
	if err := s.stillGranted(ctx, g); err != nil {
		return LoginTokens{}, errors.Join(err, s.EndLogin(context.WithoutCancel(ctx), login, "its provider has ended it"))
	}
	return out, nil
}

// vouch is the person as their account says. Those who have their secret here
// have an account already.
func (s *Service) vouch(ctx context.Context, id postern.Identity) (postern.Identity, error) {
	if strings.HasPrefix(id.Subject, localSubject("")) {
		return s.fresh(ctx, id)
	}
	return s.SignIn(ctx, id)
}

// openLogin makes a login of a grant, with its first tokens.
func (s *Service) openLogin(ctx context.Context, kind postern.LoginKind, g postern.LoginGrant, id postern.Identity, from Where, login string) (LoginTokens, error) {
	from = from.clean()
	id.Login, id.Expires = "", time.Time{}
	r := postern.LoginRecord{
		ID: login, Kind: kind, Identity: id, Grant: g.ID, Client: from.Client, Source: from.Source,
		CreatedAt: s.cfg.Now().UTC(), ExpiresAt: g.CreatedAt.Add(s.cfg.LoginTTL),
	}
	if err := s.cfg.Store.AddLogin(ctx, r); err != nil {
		return LoginTokens{}, err
	}
	if kind == postern.CLILogin || kind == postern.DeviceLogin {
		return s.nextTokens(ctx, r)
	}
	out, _, err := s.mintToken(ctx, r, r.ExpiresAt.Sub(r.CreatedAt))
	return out, err
}

// mintToken mints what calls the API for a login, and says what its id is.
func (s *Service) mintToken(ctx context.Context, r postern.LoginRecord, ttl time.Duration) (LoginTokens, string, error) {
	id := r.Identity
	id.Login, id.Expires = r.ID, r.ExpiresAt
	prefix, kind := loginPrefix, postern.LoginToken
	if r.Kind == postern.WebLogin {
		prefix, kind = webPrefix, postern.WebToken
	}
	secret, t, err := s.mint(ctx, prefix, postern.Token{Kind: kind, Identity: id}, ttl)
	r.Identity = t.Identity
	return LoginTokens{Token: secret, Record: r, ExpiresAt: t.ExpiresAt}, t.ID, err
}

// nextTokens gives a login its next refresh token, and a token to go with it.
func (s *Service) nextTokens(ctx context.Context, r postern.LoginRecord) (LoginTokens, error) {
	refresh, err := mint(s.cfg.Rand, refreshPrefix)
	if err != nil {
		return LoginTokens{}, err
	}
	out, id, err := s.mintToken(ctx, r, s.cfg.RefreshEvery)
	if err != nil {
		return LoginTokens{}, err
	}
	err = s.cfg.Store.AdvanceLogin(ctx, r.ID, r.Generation, digest(refresh), id)
	if errors.Is(err, postern.ErrNotFound) {
		err = ErrRaced
	}
	if err != nil {
		return LoginTokens{}, errors.Join(err, s.cfg.Store.RevokeToken(ctx, id))
	}
	out.Refresh = refresh
	return out, nil
}

// RefreshLogin exchanges a refresh token for the next one. Each is good once:
// one that comes again ends the login, because two hold it, unless its answer
// seems never to have arrived, for nobody has used what was in it. The provider
// is asked whether it stands by the login when it wasn't for a while.
func (s *Service) RefreshLogin(ctx context.Context, secret postern.Secret) (LoginTokens, error) {
	if !wellFormed(secret.Reveal(), refreshPrefix) {
		return LoginTokens{}, fmt.Errorf("%w: no refresh token", ErrUnauthenticated)
	}
	id, generation, err := s.cfg.Store.RefreshToken(ctx, digest(secret))
	if errors.Is(err, postern.ErrNotFound) {
		return LoginTokens{}, fmt.Errorf("%w: the refresh token is unknown", ErrUnauthenticated)
	}
	if err != nil {
		return LoginTokens{}, err
	}
	r, err := s.living(ctx, id)
	if err != nil {
		return LoginTokens{}, err
	}
	if err := s.checkGeneration(ctx, r, generation); err != nil {
		return LoginTokens{}, err
	}
	g, err := s.cfg.Store.Grant(ctx, r.Grant)
	if err != nil {
		return LoginTokens{}, err
	}
	if err := s.renew(ctx, g); err != nil {
		return LoginTokens{}, err
	}
	return s.nextTokens(ctx, r)
}

// checkGeneration says whether a login's refresh token of this generation is
// good, or ends the login.
func (s *Service) checkGeneration(ctx context.Context, r postern.LoginRecord, generation int) error {
	if generation == r.Generation {
		return nil
	}
	if generation == r.Generation-1 {
		t, err := s.cfg.Store.TokenOfGeneration(ctx, r.ID, r.Generation)
		if err != nil && !errors.Is(err, postern.ErrNotFound) { // forgotten: it has expired, and may have been used
			return err
		}
		if err == nil && t.Uses == 0 {
			return s.cfg.Store.RevokeToken(ctx, t.ID)
		}
	}
	const reason = "its refresh token was used twice, so it may have been copied; sign in again"
	if err := s.EndLogin(ctx, r.ID, reason); err != nil {
		return err
	}
	return fmt.Errorf("%w: a refresh token of login %s of %s:%s, which has ended", ErrReused, r.ID, r.Identity.Kind, r.Identity.Name)
}

// living is a login that goes on.
func (s *Service) living(ctx context.Context, id string) (postern.LoginRecord, error) {
	r, err := s.cfg.Store.Login(ctx, id)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return r, fmt.Errorf("%w: login %s is unknown", ErrUnauthenticated, id)
	case err != nil:
		return r, err
	case !r.EndedAt.IsZero():
		return r, fmt.Errorf("%w: login %s was ended: %s", ErrUnauthenticated, id, r.EndReason)
	case !r.ExpiresAt.After(s.cfg.Now()):
		return r, fmt.Errorf("%w: login %s has expired", ErrUnauthenticated, id)
	}
	return r, nil
}

// Login returns one login, ended or not.
func (s *Service) Login(ctx context.Context, id string) (postern.LoginRecord, error) {
	return s.cfg.Store.Login(ctx, id)
}

// LoginOf returns the login of a refresh, login or browser's token. A token that
// is of none, or unknown, is [postern.ErrNotFound].
func (s *Service) LoginOf(ctx context.Context, secret postern.Secret) (postern.LoginRecord, error) {
	text, id := secret.Reveal(), ""
	switch {
	case wellFormed(text, refreshPrefix):
		login, _, err := s.cfg.Store.RefreshToken(ctx, digest(secret))
		if err != nil {
			return postern.LoginRecord{}, err
		}
		id = login
	case wellFormed(text, loginPrefix), wellFormed(text, webPrefix):
		t, err := s.cfg.Store.TokenByHash(ctx, digest(secret))
		if err != nil {
			return postern.LoginRecord{}, err
		}
		id = t.Identity.Login
	}
	return s.cfg.Store.Login(ctx, id)
}

// Logins lists an identity's logins, newest first.
func (s *Service) Logins(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.LoginRecord, error) {
	return s.cfg.Store.LoginsOf(ctx, kind, name)
}

// EndLogin ends a login, what came of it, and the sessions that were opened
// with that. Ending it again is no error.
func (s *Service) EndLogin(ctx context.Context, id, reason string) error {
	if err := s.cfg.Store.EndLogin(ctx, id, reason, s.cfg.Now().UTC()); err != nil {
		return err
	}
	s.end(ctx, "the login that it came of was ended: "+reason, func(i postern.SessionInfo) bool { return i.Login == id })
	return nil
}

// EndGrants ends the logins that came of a provider's sessions: of all that a
// subject ("PROVIDER:SUB") has there, or of the one with this sid. It says how
// many grants it ended; an identity that isn't known has none.
func (s *Service) EndGrants(ctx context.Context, subject, sid, reason string) (int, error) {
	a, err := s.cfg.Store.AccountBySubject(ctx, subject)
	if errors.Is(err, postern.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	grants, err := s.cfg.Store.GrantsOf(ctx, a.Kind, a.Name)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, g := range grants {
		if g.Subject != subject || (sid != "" && g.SID != sid) {
			continue
		}
		if err := s.endGrant(ctx, g, reason); err != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}

func (s *Service) endGrant(ctx context.Context, g postern.LoginGrant, reason string) error {
	g.EndedAt, g.Refresh = s.cfg.Now().UTC(), ""
	if err := s.cfg.Store.PutGrant(ctx, g); err != nil {
		return err
	}
	logins, err := s.cfg.Store.LoginsOfGrant(ctx, g.ID)
	if err != nil {
		return err
	}
	for _, r := range logins {
		if err := s.EndLogin(ctx, r.ID, reason); err != nil {
			return err
		}
	}
	return nil
}

// endLogins ends every login of an identity.
func (s *Service) endLogins(ctx context.Context, kind postern.IdentityKind, name, reason string) error {
	grants, err := s.cfg.Store.GrantsOf(ctx, kind, name)
	for _, g := range grants {
		err = errors.Join(err, s.endGrant(ctx, g, reason))
	}
	return err
}

// SpendOnce says whether a thing, like the state of a sign-in, is used for the
// first time. It is remembered until then.
func (s *Service) SpendOnce(ctx context.Context, what string, until time.Time) (bool, error) {
	return s.cfg.Store.Spend(ctx, what, until)
}
