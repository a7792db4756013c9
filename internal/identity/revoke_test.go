package identity_test

import (
	"testing"

	"postern"
	"postern/internal/identity"
)

// inSession starts a login of a person within a provider's session.
func (h *house) inSession(t *testing.T, name, subject, session string) (identity.LoginTokens, error) {
	t.Helper()
	return h.StartLogin(t.Context(), postern.CLILogin, identity.Vouched{Identity: person(name, subject), SID: session}, identity.Where{})
}

// The end of one session at a provider takes what came of it, and nothing else.
func TestEndProviderSession(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	first := must(h.inSession(t, "alice", "corp:1", "s1"))(t)
	second := must(h.inSession(t, "alice", "corp:1", "s2"))(t)
	secret, _ := h.session(must(h.AuthenticateBearer(ctx, first.Token))(t), "db")
	h.opened(must(h.admit("alice", "db", secret))(t))
	kept, _ := h.session(must(h.AuthenticateBearer(ctx, second.Token))(t), "db")
	h.opened(must(h.admit("alice", "db", kept))(t))

	_, err := h.EndProviderSession(ctx, "corp", "2", "s1", "gone")
	is(t, err, identity.ErrInvalid, "of that subject")
	if name := must(h.EndProviderSession(ctx, "other", "", "s1", "gone"))(t); name != "" || h.liveIDs() != 2 {
		t.Fatalf("another provider ended %q's", name)
	}
	if name := must(h.EndProviderSession(ctx, "corp", "", "s1", "gone"))(t); name != "alice" || h.liveIDs() != 1 {
		t.Fatalf("ended %q's, %d live", name, h.liveIDs())
	}
	_, err = h.AuthenticateBearer(ctx, first.Token)
	is(t, err, identity.ErrUnauthenticated, "")
	_, err = h.RefreshLogin(ctx, first.Refresh)
	is(t, err, identity.ErrUnauthenticated, "")
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "")
	must(h.AuthenticateBearer(ctx, second.Token))(t)
	must(h.admit("alice", "db", kept))(t)
}

// A logout that overtakes the login that it is about still counts.
func TestLoginInEndedProviderSession(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	if name := must(h.EndProviderSession(ctx, "corp", "", "s1", "gone"))(t); name != "" {
		t.Errorf("ended %q's", name)
	}
	_, err := h.inSession(t, "alice", "corp:1", "s1")
	is(t, err, identity.ErrUnauthenticated, "has ended the session")
	for _, r := range must(h.Logins(ctx, postern.User, "alice"))(t) {
		if r.EndedAt.IsZero() {
			t.Error("a login stayed")
		}
	}
	must(h.inSession(t, "alice", "corp:1", "s2"))(t)
	must(h.inSession(t, "bob", "other:1", "s1"))(t) // another provider's session
}

func TestPeople(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	must(h.SignIn(ctx, person("alice", "corp:1")))(t)
	must(h.SignIn(ctx, person("bob", "other:1")))(t)
	must(h.PutUser(ctx, "eve", nil, postern.Secret{}))(t)
	for _, c := range []struct {
		provider, subject, email string
		want                     int
	}{
		{"corp", "1", "", 1},
		{"corp", "2", "", 0},
		{"corp", "", "ALICE@example.com", 1},
		{"corp", "", "bob@example.com", 0}, // another provider's
		{"corp", "", "", 0},                // everybody without an address isn't meant
		{"local", "eve", "", 0},
	} {
		if got := must(h.People(ctx, c.provider, c.subject, c.email))(t); len(got) != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}
