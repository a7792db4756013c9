package identity_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern"
	"postern/internal/identity"
)

// enrolled is alice with a second factor.
func enrolled(t *testing.T, h *house) (code func() string) {
	t.Helper()
	must(h.PutUser(t.Context(), "alice", []string{"eng"}, postern.NewSecret("correct horse")))(t)
	e := must(h.EnrolTOTP(t.Context(), "alice", "Postern gw.example"))(t)
	code = func() string {
		t.Helper()
		return must(totp.GenerateCode(e.Secret, h.clock()))(t)
	}
	// Until it is confirmed, it keeps nobody out.
	must(h.AuthenticatePassword(t.Context(), "alice", postern.NewSecret("correct horse"), home))(t)
	ok(t, h.ConfirmTOTP(t.Context(), "alice", code()))
	h.advance(30 * time.Second)
	return code
}

func proof(password, code string) identity.Proof {
	return identity.Proof{Password: postern.NewSecret(password), Code: code}
}

func TestSecondFactor(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	code := enrolled(t, h)
	_, err := h.AuthenticatePassword(ctx, "alice", postern.NewSecret("correct horse"), home)
	is(t, err, identity.ErrCodeNeeded, "")
	_, err = h.AuthenticatePerson(ctx, "alice", proof("wrong", ""), home)
	is(t, err, identity.ErrUnauthenticated, "wrong password") // and not a word of the factor
	_, err = h.AuthenticatePerson(ctx, "alice", proof("wrong", code()), home)
	is(t, err, identity.ErrUnauthenticated, "wrong password")
	_, err = h.AuthenticatePerson(ctx, "alice", proof("correct horse", "000000"), home)
	is(t, err, identity.ErrUnauthenticated, "wrong code")
	if id := must(h.AuthenticatePerson(ctx, "alice", proof("correct horse", code()), home))(t); id.Name != "alice" {
		t.Errorf("%+v", id)
	}
	_, err = h.AuthenticatePerson(ctx, "alice", proof("correct horse", code()), home)
	is(t, err, identity.ErrUnauthenticated, "") // replayed
	early := code()
	h.advance(30 * time.Second)
	must(h.AuthenticatePerson(ctx, "alice", proof("correct horse", " "+code()[:3]+" "+code()[3:]), home))(t)
	_, err = h.AuthenticatePerson(ctx, "alice", proof("correct horse", early), home)
	is(t, err, identity.ErrUnauthenticated, "") // an earlier one, after a later
	h.advance(10 * time.Minute)
	late := code()
	h.advance(30 * time.Second)
	must(h.AuthenticatePerson(ctx, "alice", proof("correct horse", late), home))(t) // half a minute late
	last := code()
	h.advance(2 * time.Minute)
	_, err = h.AuthenticatePerson(ctx, "alice", proof("correct horse", last), home)
	is(t, err, identity.ErrUnauthenticated, "") // too late

	// Nobody puts another in its place by having the password or a login alone.
	_, err = h.EnrolTOTP(ctx, "alice", "x")
	is(t, err, identity.ErrExists, "reset")
	ok(t, h.ResetFactors(ctx, "alice"))
	must(h.AuthenticatePassword(ctx, "alice", postern.NewSecret("correct horse"), home))(t)
}

// Codes are short: they can't all be tried, from however many places.
func TestCodesAreLimited(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	code := enrolled(t, h)
	limited := false
	for i := range 8 {
		from := home.Next()
		for range i {
			from = from.Next()
		}
		_, err := h.AuthenticatePerson(ctx, "alice", proof("correct horse", "000000"), from)
		limited = err == identity.ErrTooMany //nolint:errorlint // it is returned as it is
	}
	if !limited {
		t.Error("eight codes were tried")
	}
	_, err := h.AuthenticatePerson(ctx, "alice", proof("correct horse", code()), home)
	is(t, err, identity.ErrTooMany, "")
	// Who doesn't know the password can't use anybody's tries up.
	must(h.PutUser(ctx, "bob", nil, postern.NewSecret("battery staple")))(t)
	e := must(h.EnrolTOTP(ctx, "bob", "x"))(t)
	ok(t, h.ConfirmTOTP(ctx, "bob", must(totp.GenerateCode(e.Secret, h.clock()))(t)))
	h.advance(30 * time.Second)
	for range 8 {
		_, err := h.AuthenticatePerson(ctx, "bob", proof("guess", "000000"), home.Next().Next())
		is(t, err, identity.ErrUnauthenticated, "password")
	}
	must(h.AuthenticatePerson(ctx, "bob", proof("battery staple", must(totp.GenerateCode(e.Secret, h.clock()))(t)), home))(t)
}

// Of however many who show one code at once, one gets in.
func TestCodeRaced(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	code := enrolled(t, h)()
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := h.AuthenticatePerson(ctx, "alice", proof("correct horse", code), home); err == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d got in with one code", in.Load())
	}
}

func TestBreakGlass(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	hash := must(identity.HashPassword(postern.NewSecret("correct horse")))(t)
	declare := func(second bool) {
		t.Helper()
		ok(t, h.Declare(ctx, []postern.Account{
			{Name: "glass-1", Kind: postern.User, SecretHash: hash, BreakGlass: true, Groups: []string{"admins"}, Source: "postern.yaml:1"},
			{Name: "glass-2", Kind: postern.User, SecretHash: hash, BreakGlass: true, Disabled: !second, Source: "postern.yaml:2"},
		}))
	}
	declare(true)
	id, err := h.AuthenticatePerson(ctx, "glass-1", proof("correct horse", ""), home)
	is(t, err, identity.ErrTwoPeople, "")
	if _, err := h.AuthenticatePassword(ctx, "glass-1", postern.NewSecret("correct horse"), home); err == nil {
		t.Error("let in alone")
	}
	second, err := h.AuthenticatePerson(ctx, "glass-2", proof("correct horse", ""), home)
	is(t, err, identity.ErrTwoPeople, "")
	begin := func() (postern.BreakGlassLogin, postern.Secret) {
		t.Helper()
		b, secret, err := h.BeginBreakGlass(ctx, id, "192.0.2.1")
		ok(t, err)
		_, _, _, err = h.TakeBreakGlass(ctx, secret)
		is(t, err, identity.ErrNotYet, "")
		return b, secret
	}
	b, secret := begin()
	_, err = h.ConfirmBreakGlass(ctx, b.ID, id)
	is(t, err, identity.ErrInvalid, "somebody else")
	_, err = h.ConfirmBreakGlass(ctx, b.ID, postern.Identity{Name: "robot", Kind: postern.Service})
	is(t, err, identity.ErrInvalid, "a person")
	must(h.ConfirmBreakGlass(ctx, b.ID, second))(t)
	_, err = h.ConfirmBreakGlass(ctx, b.ID, second)
	is(t, err, identity.ErrInvalid, "already")
	_, token, minted, err := h.TakeBreakGlass(ctx, secret)
	ok(t, err)
	if left := minted.ExpiresAt.Sub(h.clock()); left > time.Hour {
		t.Errorf("it lasts %v", left)
	}
	if who := must(h.AuthenticateBearer(ctx, token))(t); who.Name != "glass-1" {
		t.Errorf("%+v", who)
	}
	_, _, _, err = h.TakeBreakGlass(ctx, secret)
	is(t, err, identity.ErrUnauthenticated, "taken up before")

	b, secret = begin()
	h.advance(16 * time.Minute)
	_, err = h.ConfirmBreakGlass(ctx, b.ID, second)
	is(t, err, identity.ErrInvalid, "expired")
	_, _, _, err = h.TakeBreakGlass(ctx, secret)
	is(t, err, identity.ErrUnauthenticated, "expired")

	b, secret = begin()
	must(h.ConfirmBreakGlass(ctx, b.ID, second))(t)
	declare(false) // the second person is no more
	_, _, _, err = h.TakeBreakGlass(ctx, secret)
	is(t, err, identity.ErrUnauthenticated, "who confirmed")
	for _, bad := range []string{"", "x", "postern_bg_x"} {
		_, _, _, err = h.TakeBreakGlass(ctx, postern.NewSecret(bad))
		is(t, err, identity.ErrUnauthenticated, "")
	}
}
