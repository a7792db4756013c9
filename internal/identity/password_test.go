package identity_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/identity"
)

var home = netip.MustParseAddr("192.0.2.1")

func TestPassword(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	right := postern.NewSecret("correct horse")
	must(h.PutUser(ctx, "alice", []string{"eng"}, right))(t)
	must(h.PutUser(ctx, "nopass", nil, postern.Secret{}))(t)
	_, _, err := h.CreateServiceAccount(ctx, "robot", nil)
	ok(t, err)
	id := must(h.AuthenticatePassword(ctx, "alice", right, home))(t)
	if id.Name != "alice" || id.Kind != postern.User || !id.InGroup("eng") {
		t.Errorf("%+v", id)
	}
	for _, c := range []struct {
		name     string
		password string
		says     string
	}{
		{"alice", "correct horsf", "wrong password"},
		{"alice", "", "wrong password"},
		{"alice", strings.Repeat("x", 2000), "too long"},
		{"bob", "correct horse", "no user"},
		{"nopass", "", "no user"},
		{"robot", "", "no user"},
		{strings.Repeat("x", 200), "x", "too long"},
	} {
		_, err := h.AuthenticatePassword(ctx, c.name, postern.NewSecret(c.password), home)
		is(t, err, identity.ErrUnauthenticated, c.says)
	}
	must(h.PutUser(ctx, "alice", []string{"ops"}, postern.Secret{}))(t) // keeps the password
	must(h.AuthenticatePassword(ctx, "alice", right, home))(t)
	must(h.Disable(ctx, postern.User, "alice"))(t)
	_, err = h.AuthenticatePassword(ctx, "alice", right, home)
	is(t, err, identity.ErrUnauthenticated, "disabled")
}

func TestPasswordAttemptsAreLimited(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	right, wrong := postern.NewSecret("correct horse"), postern.NewSecret("wrong")
	must(h.PutUser(ctx, "alice", nil, right))(t)
	for range 30 { // who succeeds is never limited
		must(h.AuthenticatePassword(ctx, "alice", right, home))(t)
	}
	for range 10 {
		_, err := h.AuthenticatePassword(ctx, "alice", wrong, home)
		is(t, err, identity.ErrUnauthenticated, "wrong")
	}
	_, err := h.AuthenticatePassword(ctx, "alice", right, home)
	is(t, err, identity.ErrTooMany, "")
	_, err = h.AuthenticatePassword(ctx, "alice", right, netip.MustParseAddr("::ffff:192.0.2.1"))
	is(t, err, identity.ErrTooMany, "") // the same place, spelled otherwise
	must(h.AuthenticatePassword(ctx, "alice", right, netip.MustParseAddr("192.0.2.2")))(t)
	h.advance(6 * time.Second)
	must(h.AuthenticatePassword(ctx, "alice", right, home))(t)
}

func TestPasswordAttemptsOverManyUsers(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	over, cancel := context.WithCancel(ctx)
	cancel()
	limited := 0
	for i := range 150 {
		// The context is over, so that no hash is computed; the attempt counts.
		_, err := h.AuthenticatePassword(over, "u"+strings.Repeat("x", i%100), postern.NewSecret("x"), home)
		if errors.Is(err, identity.ErrTooMany) {
			limited++
		}
	}
	if limited != 50 {
		t.Errorf("%d of 150 were refused, want 50", limited)
	}
}

func TestHashPassword(t *testing.T) {
	a := must(identity.HashPassword(postern.NewSecret("correct horse")))(t)
	b := must(identity.HashPassword(postern.NewSecret("correct horse")))(t)
	if a == b || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%s, %s", a, b)
	}
	ok(t, identity.CheckPasswordHash(a))
	for _, text := range []string{"", "short", strings.Repeat("x", 1025)} {
		_, err := identity.HashPassword(postern.NewSecret(text))
		is(t, err, identity.ErrInvalid, "bytes")
	}
	for _, bad := range []string{
		"", "hunter2", "$2b$10$abc", strings.Repeat("$", 600),
		strings.Replace(a, "argon2id", "argon2i", 1),
		strings.Replace(a, "v=19", "v=16", 1),
		strings.Replace(a, "m=19456", "m=4294967295", 1),
		strings.Replace(a, "m=19456", "m=019456", 1),
		strings.Replace(a, "t=2", "t=0", 1),
		strings.Replace(a, "t=2", "t=17", 1),
		strings.Replace(a, "p=1", "p=255", 1),
		strings.Replace(a, "m=19456", "m=7", 1),
		a + "=", a + "$", a[:len(a)-30], strings.Replace(a, "$m=", "$m=1,m=", 1),
	} {
		err := identity.CheckPasswordHash(bad)
		is(t, err, identity.ErrInvalid, "password hash")
		if len(bad) > 3 && strings.Contains(err.Error(), bad) {
			t.Error("the error holds the text")
		}
	}
}

// Known answer: a hash that the reference implementation's command line makes.
func TestReferenceHash(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	ok(t, h.Declare(ctx, []postern.Account{{Name: "alice", Kind: postern.User, SecretHash: reference, Source: "postern.yaml"}}))
	must(h.AuthenticatePassword(ctx, "alice", postern.NewSecret("password"), home))(t)
}
