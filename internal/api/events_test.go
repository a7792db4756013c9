package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"postern"
	"postern/internal/api/apitest"
	"postern/internal/identity"
)

// told posts what a provider sends, and returns the status.
func told(t *testing.T, w *apitest.World, path, contentType, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := w.Server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}

const secevent, form = "application/secevent+jwt", "application/x-www-form-urlencoded"

// signIn has a person of provider corp sign in there, in a session of theirs.
func signIn(t *testing.T, w *apitest.World, name, subject, session string) postern.Secret {
	t.Helper()
	login := must(w.Identity.StartLogin(t.Context(), postern.CLILogin, identity.Vouched{
		Identity: postern.Identity{Name: name, Kind: postern.User, Subject: "corp:" + subject, Email: name + "@example.com", Groups: []string{"engineering"}},
		SID:      session,
	}, identity.Where{}))(t)
	return login.Token
}

func signedIn(t *testing.T, w *apitest.World, token postern.Secret) bool {
	t.Helper()
	_, err := with(t, w, token).Whoami(t.Context())
	return err == nil
}

func TestEventsEndSessions(t *testing.T) {
	for event, disabled := range map[string]bool{
		"caep/session-revoked": false, "caep/credential-change": false, "caep/token-claims-change": false,
		"risc/account-disabled": true, "risc/account-purged": true,
	} {
		t.Run(event, func(t *testing.T) {
			d := &directory{t: t, w: apitest.New(t)}
			token := signIn(t, d.w, "ann", "1", "s1")
			bea := signIn(t, d.w, "bea", "2", "s2")
			annLive, beaLive := d.live("ann"), d.live("bea")
			family, name, _ := strings.Cut(event, "/")
			set := must(d.w.Issuer.Event(apitest.EventAudience, family, name, "1"))(t)
			if status := told(t, d.w, "/events/corp", secevent, set); status != http.StatusAccepted {
				t.Fatalf("status %d\n%s", status, d.w.Log)
			}
			if annLive() || signedIn(t, d.w, token) {
				t.Error("there is still something")
			}
			if !beaLive() || !signedIn(t, d.w, bea) {
				t.Error("somebody else's ended")
			}
			if d.account("ann").Disabled != disabled {
				t.Errorf("disabled: %v", !disabled)
			}
			if !d.audited("event."+name, "user:ann", "ok") {
				t.Error("it isn't in the audit log")
			}
			if disabled {
				return
			}
			// They sign in again; the same event, sent again, ends nothing.
			again := signIn(t, d.w, "ann", "1", "s3")
			if status := told(t, d.w, "/events/corp", secevent, set); status != http.StatusAccepted || !signedIn(t, d.w, again) {
				t.Errorf("status %d for an event that was sent before, and it counted", status)
			}
			if !strings.Contains(d.w.Log.String(), "sent before") {
				t.Error("the log doesn't say so")
			}
		})
	}
}

func TestBackchannelLogout(t *testing.T) {
	d := &directory{t: t, w: apitest.New(t)}
	first, second := signIn(t, d.w, "ann", "1", "s1"), signIn(t, d.w, "ann", "1", "s2")
	logout := func(subject, session string) int {
		token := must(d.w.Issuer.Logout(apitest.LogoutAudience, subject, session))(t)
		return told(t, d.w, "/oauth/backchannel-logout/corp", form, url.Values{"logout_token": {token}}.Encode())
	}
	if status := logout("1", "s1"); status != http.StatusOK {
		t.Fatalf("status %d\n%s", status, d.w.Log)
	}
	if signedIn(t, d.w, first) || !signedIn(t, d.w, second) {
		t.Error("one session's end took another's login, or left its own")
	}
	if status := logout("", "s2"); status != http.StatusOK || signedIn(t, d.w, second) {
		t.Errorf("status %d, by session alone", status)
	}
	third := signIn(t, d.w, "ann", "1", "")
	still := d.live("ann")
	if status := logout("1", ""); status != http.StatusOK || signedIn(t, d.w, third) || still() {
		t.Errorf("status %d, by subject", status)
	}
	fourth := signIn(t, d.w, "ann", "1", "")
	if status := logout("1", "unknown"); status != http.StatusOK || signedIn(t, d.w, fourth) {
		t.Errorf("status %d, by a session that isn't known", status)
	}
	fifth := signIn(t, d.w, "ann", "1", "s5")
	if status := logout("nobody", ""); status != http.StatusOK || !signedIn(t, d.w, fifth) {
		t.Errorf("status %d for nobody who is known", status)
	}
	token := must(d.w.Issuer.Logout(apitest.LogoutAudience, "1", ""))(t)
	body := url.Values{"logout_token": {token}}.Encode()
	if status := told(t, d.w, "/oauth/backchannel-logout/corp", form, body); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	sixth := signIn(t, d.w, "ann", "1", "s6")
	if status := told(t, d.w, "/oauth/backchannel-logout/corp", form, body); status != http.StatusBadRequest || !signedIn(t, d.w, sixth) {
		t.Errorf("replayed: status %d, and it counted", status)
	}
	if !strings.Contains(d.w.Log.String(), "sent before") {
		t.Error("the log doesn't say that it was replayed")
	}
}

// What isn't right ends nothing, and its sender is told the same whatever it is;
// the operator's log says what.
func TestEventsThatArentTaken(t *testing.T) {
	d := &directory{t: t, w: apitest.New(t)}
	token := signIn(t, d.w, "ann", "1", "s1")
	still := d.live("ann")
	set := must(d.w.Issuer.Event("https://other.example", "caep", "session-revoked", "1"))(t)
	logout := must(d.w.Issuer.Logout("another client", "1", ""))(t)
	good := must(d.w.Issuer.Event(apitest.EventAudience, "caep", "session-revoked", "1"))(t)
	for _, c := range []struct {
		path, kind, body string
		status           int
		says             string
	}{
		{"/events/corp", secevent, set, 400, "audience"},
		{"/events/corp", "application/json", good, 400, "content type"},
		{"/events/corp", secevent, "", 400, "parsed"},
		{"/events/corp", secevent, strings.Repeat("x", 2<<20), 400, "can't be read"},
		{"/events/other", secevent, good, 404, ""},
		{"/oauth/backchannel-logout/corp", form, url.Values{"logout_token": {logout}}.Encode(), 400, "audience"},
		{"/oauth/backchannel-logout/corp", form, url.Values{"logout_token": {good}}.Encode(), 400, "audience"},
		{"/oauth/backchannel-logout/corp", form, "logout_token=a&logout_token=b", 400, "parsed"},
		{"/oauth/backchannel-logout/corp", "application/json", `{"logout_token": "x"}`, 400, "parsed"},
		{"/oauth/backchannel-logout/corp?logout_token=" + logout, form, "", 400, "parsed"},
		{"/oauth/backchannel-logout/other", form, "", 404, ""},
	} {
		before := len(d.w.Log.String())
		if status := told(t, d.w, c.path, c.kind, c.body); status != c.status {
			t.Errorf("%s %.40s: status %d, want %d", c.path, c.body, status, c.status)
		}
		if said := d.w.Log.String()[before:]; !strings.Contains(said, c.says) {
			t.Errorf("%s %.40s: the log says %q, want %q", c.path, c.body, said, c.says)
		}
	}
	if !still() || !signedIn(t, d.w, token) {
		t.Error("something ended")
	}
	// While what it asks for can't be done, its sender is asked to send it again, and then it counts.
	d.w.Audit.Fail(http.ErrServerClosed)
	if status := told(t, d.w, "/events/corp", secevent, good); status != http.StatusServiceUnavailable || !still() {
		t.Errorf("without an audit log: status %d", status)
	}
	d.w.Audit.Fail(nil)
	if status := told(t, d.w, "/events/corp", secevent, good); status != http.StatusAccepted || still() || signedIn(t, d.w, token) {
		t.Errorf("sent again: status %d", status)
	}
}
