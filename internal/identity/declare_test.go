package identity_test

import (
	"slices"
	"strings"
	"testing"

	"postern"
	"postern/internal/identity"
)

const file = "policies/accounts.yaml"

func declaredService(groups ...string) postern.Account {
	return postern.Account{Name: "nightly", Kind: postern.Service, Groups: groups, Source: file}
}

func TestDeclareService(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	ok(t, h.Declare(ctx, []postern.Account{declaredService("ci")}))
	a := must(h.Account(ctx, postern.Service, "nightly"))(t)
	if a.SecretHash != "" || a.Source != file || a.Disabled || !a.CreatedAt.Equal(h.clock()) {
		t.Errorf("%+v", a)
	}
	_, key, err := h.RotateKey(ctx, "nightly")
	ok(t, err)
	id := must(h.AuthenticateBearer(ctx, key))(t)
	secret, _ := h.session(id, "db")
	h.opened(must(h.admit("nightly", "db", secret))(t))

	// The same again changes nothing.
	ok(t, h.Declare(ctx, []postern.Account{declaredService("ci")}))
	if h.liveIDs() != 1 {
		t.Error("a reload without a change ended a session")
	}
	ok(t, h.Declare(ctx, []postern.Account{declaredService("ci", "more")}))
	if id := must(h.AuthenticateBearer(ctx, key))(t); !slices.Equal(id.Groups, []string{"ci", "more"}) {
		t.Errorf("groups %v", id.Groups)
	}
	if h.liveIDs() != 0 {
		t.Error("a session with the old groups lives on")
	}
	h.opened(must(h.admit("nightly", "db", secret))(t))

	_, err = h.SetGroups(ctx, postern.Service, "nightly", []string{"admins"})
	is(t, err, identity.ErrDeclared, file)
	is(t, h.Delete(ctx, postern.Service, "nightly"), identity.ErrDeclared, file)

	ok(t, h.Declare(ctx, nil))
	_, err = h.AuthenticateBearer(ctx, key)
	is(t, err, identity.ErrUnauthenticated, "disabled")
	if h.liveIDs() != 0 {
		t.Error("a session of an account that is no longer declared lives on")
	}
	ok(t, h.Declare(ctx, []postern.Account{declaredService("ci")}))
	must(h.AuthenticateBearer(ctx, key))(t)
	_, err = h.admit("nightly", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "revoked")

	// What is gone from its file can be deleted.
	ok(t, h.Declare(ctx, nil))
	ok(t, h.Delete(ctx, postern.Service, "nightly"))
}

// What an administrator disabled, no reload enables.
func TestDisabledStaysSo(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	ok(t, h.Declare(ctx, []postern.Account{declaredService("ci")}))
	must(h.Disable(ctx, postern.Service, "nightly"))(t)
	for _, declared := range [][]postern.Account{{declaredService("ci", "x")}, nil, {declaredService("ci")}} {
		ok(t, h.Declare(ctx, declared))
		if a := must(h.Account(ctx, postern.Service, "nightly"))(t); !a.Disabled {
			t.Fatalf("enabled by declaring %v", declared)
		}
	}
}

// An object that was applied declares an account as a file does, and is not
// mistaken for one that was made by hand.
func TestDeclaredByAnAppliedObject(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	applied := declaredService("ci")
	applied.Source = "api"
	h.service("byhand")
	ok(t, h.Declare(ctx, []postern.Account{applied}))
	_, err := h.SetGroups(ctx, postern.Service, "nightly", nil)
	is(t, err, identity.ErrDeclared, "an applied object")
	ok(t, h.Declare(ctx, nil))
	if a := must(h.Account(ctx, postern.Service, "nightly"))(t); !a.Disabled {
		t.Error("the object is gone, and its account is enabled")
	}
	if a := must(h.Account(ctx, postern.Service, "byhand"))(t); a.Disabled {
		t.Error("an account made by hand was disabled")
	}
}

// A file may declare an account disabled, and enable it again.
func TestDeclaredDisabled(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	on, off := declaredService("ci"), declaredService("ci")
	off.Disabled = true
	ok(t, h.Declare(ctx, []postern.Account{on}))
	_, key, err := h.RotateKey(ctx, "nightly")
	ok(t, err)
	for _, step := range []struct {
		declared []postern.Account
		works    bool
	}{
		{[]postern.Account{on}, true},
		{[]postern.Account{off}, false},
		{[]postern.Account{off}, false},
		{[]postern.Account{on}, true},
		{[]postern.Account{off}, false},
		{nil, false},
		{[]postern.Account{off}, false},
		{[]postern.Account{on}, true},
	} {
		ok(t, h.Declare(ctx, step.declared))
		if _, err := h.AuthenticateBearer(ctx, key); (err == nil) != step.works {
			t.Fatalf("declared %+v: %v", step.declared, err)
		}
	}
	is(t, h.Delete(ctx, postern.Service, "nightly"), identity.ErrDeclared, "change it in "+file)
}

func TestDeclareLeavesOthersAlone(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	_, key := h.service("ci", "g")
	ok(t, h.Declare(ctx, nil))
	must(h.AuthenticateBearer(ctx, key))(t)
}

// Whether files are read before or after, the first start makes it, and no
// reload takes it away.
func TestBootstrapBesideDeclared(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	key := postern.NewSecret(strings.Repeat("k", 24))
	ok(t, h.Declare(ctx, []postern.Account{declaredService("ci")}))
	if made := must(h.Bootstrap(ctx, key))(t); !made {
		t.Error("not made beside a declared account")
	}
	ok(t, h.Declare(ctx, nil))
	must(h.AuthenticateBearer(ctx, key))(t)
}

func TestDeclareUser(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	hash := must(identity.HashPassword(postern.NewSecret("correct horse")))(t)
	alice := postern.Account{Name: "alice", Kind: postern.User, Groups: []string{"eng"}, SecretHash: hash, Source: "postern.yaml"}
	ok(t, h.Declare(ctx, []postern.Account{alice}))
	id := must(h.AuthenticatePassword(ctx, "alice", postern.NewSecret("correct horse"), home))(t)
	login, _, err := h.MintLogin(ctx, id)
	ok(t, err)
	_, err = h.PutUser(ctx, "alice", nil, postern.NewSecret("another password"))
	is(t, err, identity.ErrDeclared, "postern.yaml")

	alice.SecretHash = must(identity.HashPassword(postern.NewSecret("battery staple")))(t)
	ok(t, h.Declare(ctx, []postern.Account{alice}))
	_, err = h.AuthenticateBearer(ctx, login)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	must(h.AuthenticatePassword(ctx, "alice", postern.NewSecret("battery staple"), home))(t)
}

func TestDeclareRefuses(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	good := declaredService("ci")
	for _, c := range []struct {
		bad  postern.Account
		says string
	}{
		{postern.Account{Name: "a b", Kind: postern.Service, Source: file}, "only letters"},
		{postern.Account{Name: "x", Kind: postern.Service, Source: file, SecretHash: "h"}, "rotate"},
		{postern.Account{Name: "x", Kind: postern.User, Source: file, SecretHash: "plain"}, "argon2id"},
		{postern.Account{Name: "x", Kind: postern.Workload, Source: file}, "only services and users"},
		{postern.Account{Name: "x", Kind: postern.Service}, "must name where"},
		{declaredService("other"), "declared twice"},
	} {
		is(t, h.Declare(ctx, []postern.Account{good, c.bad}), identity.ErrInvalid, c.says)
	}
	if all := must(h.Accounts(ctx))(t); len(all) != 0 {
		t.Errorf("a refused declaration left %v", all)
	}
}

func TestBootstrap(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	for text, says := range map[string]string{
		"":                                      "at least 24",
		strings.Repeat("k", 23):                 "at least 24",
		strings.Repeat("k", 24) + "\n":          "newline",
		"postern_sk_" + strings.Repeat("k", 30): "cut off",
	} {
		_, err := h.Bootstrap(ctx, postern.NewSecret(text))
		is(t, err, identity.ErrInvalid, says)
		if text != "" && strings.Contains(err.Error(), text) {
			t.Error("the error holds the key")
		}
	}
	key := postern.NewSecret(strings.Repeat("k", 24))
	if made := must(h.Bootstrap(ctx, key))(t); !made {
		t.Fatal("not made on an empty store")
	}
	id := must(h.AuthenticateBearer(ctx, key))(t)
	if id.Name != "bootstrap" || id.Kind != postern.Service || !id.InGroup("admins") {
		t.Errorf("%+v", id)
	}
	other := postern.NewSecret(strings.Repeat("j", 24))
	if made := must(h.Bootstrap(ctx, other))(t); made {
		t.Error("made twice")
	}
	_, err := h.AuthenticateBearer(ctx, other)
	is(t, err, identity.ErrUnauthenticated, "unknown")
	ok(t, h.Delete(ctx, postern.Service, "bootstrap"))
	if made := must(h.Bootstrap(ctx, key))(t); made {
		t.Error("came back after it was deleted")
	}
}

func TestBootstrapOnlyOnAnEmptyStore(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	h.service("ci")
	if made := must(h.Bootstrap(ctx, postern.NewSecret(strings.Repeat("k", 24))))(t); made {
		t.Error("made beside an account")
	}
}
