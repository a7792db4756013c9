package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
	"postern/internal/identity"
)

// A local user with a second factor gets in nowhere without a code of it.
func TestSecondFactor(t *testing.T) {
	ctx, w := t.Context(), apitest.New(t)
	alice := as(t, w, "alice")
	f := must(alice.EnrolTOTP(ctx))(t)
	if !strings.HasPrefix(f.URL, "otpauth://totp/Postern") || !strings.Contains(f.URL, f.Secret) {
		t.Errorf("%+v", f)
	}
	code := func(at time.Time) string { return must(totp.GenerateCode(f.Secret, at))(t) }
	wantStatus(t, alice.ConfirmTOTP(ctx, "000000"), http.StatusUnprocessableEntity)
	if err := alice.ConfirmTOTP(ctx, code(time.Now().Add(-30*time.Second))); err != nil {
		t.Fatal(err)
	}
	_, err := alice.Whoami(ctx) // this login was made without it
	wantStatus(t, err, http.StatusUnauthorized)
	nobody, password := as(t, w, ""), postern.NewSecret(apitest.Password)
	_, err = nobody.Login(ctx, "alice", password, "")
	if said := wantStatus(t, err, http.StatusUnauthorized); said != api.CodeNeeded {
		t.Errorf("told %q", said)
	}
	_, err = nobody.Login(ctx, "alice", postern.NewSecret("wrong"), "")
	wrongPassword := wantStatus(t, err, http.StatusUnauthorized)
	_, err = nobody.Login(ctx, "alice", password, "000000")
	wrongCode := wantStatus(t, err, http.StatusUnauthorized)
	_, err = nobody.Login(ctx, "nobody-here", password, "000000")
	if unknown := wantStatus(t, err, http.StatusUnauthorized); wrongPassword != wrongCode || wrongCode != unknown || unknown == api.CodeNeeded {
		t.Errorf("refusals differ: %q, %q, %q", wrongPassword, wrongCode, unknown)
	}
	good := code(time.Now())
	login := must(nobody.Login(ctx, "alice", password, good))(t)
	if login.Identity.Name != "alice" || login.BreakGlass != nil {
		t.Errorf("%+v", login)
	}
	_, err = nobody.Login(ctx, "alice", password, good)
	wantStatus(t, err, http.StatusUnauthorized)
	_, err = with(t, w, postern.NewSecret(login.Token)).EnrolTOTP(ctx)
	wantStatus(t, err, http.StatusConflict)
	wantStatus(t, as(t, w, "dave").ResetFactors(ctx, "alice"), http.StatusForbidden)
	wantStatus(t, as(t, w, "adam").ResetFactors(ctx, "adam"), http.StatusConflict)
	if err := as(t, w, "adam").ResetFactors(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	must(nobody.Login(ctx, "alice", password, ""))(t)
	actions := w.Audit.Actions(t)
	for _, want := range []string{"factor.enrol", "factor.confirm", "factor.reset"} {
		if !slices.Contains(actions, want+" ok") {
			t.Errorf("%s isn't in the audit log", want)
		}
	}
}

// A break-glass account opens for two people, loudly, and for nobody alone.
func TestBreakGlassTakesTwo(t *testing.T) {
	ctx, w := t.Context(), apitest.New(t)
	hash := must(identity.HashPassword(postern.NewSecret(apitest.Password)))(t)
	if err := w.Identity.Declare(ctx, []postern.Account{
		{Name: "glass-1", Kind: postern.User, SecretHash: hash, BreakGlass: true, Groups: []string{"admins"}, Source: "postern.yaml:1"},
		{Name: "glass-2", Kind: postern.User, SecretHash: hash, BreakGlass: true, Source: "postern.yaml:2"},
	}); err != nil {
		t.Fatal(err)
	}
	nobody, password := as(t, w, ""), postern.NewSecret(apitest.Password)
	login := must(nobody.Login(ctx, "glass-1", password, ""))(t)
	if login.Token != "" || login.BreakGlass == nil {
		t.Fatalf("let in alone: %+v", login)
	}
	_, err := nobody.TakeBreakGlass(ctx, login.BreakGlass.Secret)
	wantStatus(t, err, http.StatusConflict)
	id := login.BreakGlass.ID
	wantStatus(t, nobody.ConfirmBreakGlass(ctx, id, "glass-1", password, ""), http.StatusUnprocessableEntity) // by themselves
	wantStatus(t, nobody.ConfirmBreakGlass(ctx, id, "alice", password, ""), http.StatusForbidden)             // by just anybody
	wantStatus(t, nobody.ConfirmBreakGlass(ctx, id, "glass-2", postern.NewSecret("wrong"), ""), http.StatusUnauthorized)
	_, err = nobody.TakeBreakGlass(ctx, login.BreakGlass.Secret)
	wantStatus(t, err, http.StatusConflict)
	if err := nobody.ConfirmBreakGlass(ctx, id, "glass-2", password, ""); err != nil {
		t.Fatal(err)
	}
	_, err = nobody.TakeBreakGlass(ctx, "postern_bg_"+strings.Repeat("0", 46))
	wantStatus(t, err, http.StatusUnauthorized)
	taken := must(nobody.TakeBreakGlass(ctx, login.BreakGlass.Secret))(t)
	if who := must(with(t, w, postern.NewSecret(taken.Token)).Whoami(ctx))(t); who.Name != "glass-1" || time.Until(taken.ExpiresAt) > time.Hour {
		t.Errorf("%+v until %v", who, taken.ExpiresAt)
	}
	_, err = nobody.TakeBreakGlass(ctx, login.BreakGlass.Secret)
	wantStatus(t, err, http.StatusUnauthorized)
	actions := w.Audit.Actions(t)
	for _, want := range []string{"break-glass.request", "break-glass.confirm", "break-glass.login"} {
		if !slices.Contains(actions, want+" ok") {
			t.Errorf("%s isn't in the audit log", want)
		}
	}
	for _, want := range []string{"level=ERROR", "break_glass=requested", "break_glass=confirmed", "break_glass=used"} {
		if !strings.Contains(w.Log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	// Without an audit log there is no break-glass login either.
	again := must(nobody.Login(ctx, "glass-1", password, ""))(t)
	if err := nobody.ConfirmBreakGlass(ctx, again.BreakGlass.ID, "glass-2", password, ""); err != nil {
		t.Fatal(err)
	}
	w.Audit.Fail(http.ErrServerClosed)
	_, err = nobody.TakeBreakGlass(ctx, again.BreakGlass.Secret)
	wantStatus(t, err, http.StatusServiceUnavailable)
	w.Audit.Fail(nil)
}
