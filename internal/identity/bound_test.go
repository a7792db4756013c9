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
	"postern/internal/store"
)

// Fingerprints of keys that nobody has.
var (
	keyA = "SHA256:" + strings.Repeat("A", 43)
	keyB = "SHA256:" + strings.Repeat("E", 43)
)

func from(addr string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(addr), 40000) }

// refusedOf is the token that a refusal is about.
func refusedOf(t *testing.T, err error) postern.Admission {
	t.Helper()
	var refused *identity.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("%v doesn't say what was refused", err)
	}
	return refused.Presented()
}

func TestBoundSessionToken(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci", "g")
	secret, tk, err := h.MintSession(ctx, id, identity.SessionTerms{
		Resource: "db", Uses: 9, Key: keyA, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
	})
	ok(t, err)
	cred := postern.Credential{User: "ci", Secret: secret, Resource: "db", Source: from("192.0.2.7"), Proof: postern.Proof{Key: keyA}}
	must(h.Admit(ctx, cred))(t)
	mapped := cred
	mapped.Source = from("::ffff:192.0.2.7")
	must(h.Admit(ctx, mapped))(t)
	for _, c := range []struct {
		change func(*postern.Credential)
		says   string
	}{
		{func(c *postern.Credential) { c.Proof.Key = keyB }, "bound to another key than the client's (" + keyB},
		{func(c *postern.Credential) { c.Proof.Key = "" }, "the client has shown none"},
		{func(c *postern.Credential) { c.Source = from("192.0.3.7") }, "bound to other networks than 192.0.3.7"},
		{func(c *postern.Credential) { c.Source = netip.AddrPort{} }, "bound to other networks"},
		{func(c *postern.Credential) { c.Source = from("2001:db9::1") }, "bound to other networks"},
	} {
		other := cred
		c.change(&other)
		adm, err := h.Admit(ctx, other)
		is(t, err, identity.ErrUnauthenticated, c.says)
		if adm.Token != "" || adm.Identity.Name != "" {
			t.Errorf("refused, and yet %+v", adm)
		}
		if of := refusedOf(t, err); of.Token != tk.ID || of.Identity.Name != "ci" {
			t.Errorf("the refusal is about %+v", of)
		}
	}
	if got := must(h.db.Token(ctx, tk.ID))(t); got.Uses != 2 {
		t.Errorf("%d uses, want those of the right client only", got.Uses)
	}
}

func TestBoundTokenTerms(t *testing.T) {
	h := newHouse(t)
	id, _ := h.service("ci")
	for says, terms := range map[string]identity.SessionTerms{
		"fingerprint":  {Key: "MD5:00"},
		"bits after":   {Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}},
		"at most 32":   {Networks: make([]netip.Prefix, 33)},
		"write it":     {Networks: []netip.Prefix{{}}},
		"fingerprint,": {Key: "SHA256:" + strings.Repeat("A", 42)},
	} {
		terms.Resource = "db"
		_, _, err := h.MintSession(t.Context(), id, terms)
		is(t, err, identity.ErrInvalid, says)
	}
}

func TestCertificate(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci", "g")
	cert := must(h.RegisterCertificate(ctx, id, identity.CertificateTerms{Key: keyA, TTL: time.Hour}))(t)
	cred := postern.Credential{User: "ci", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: cert.ID}}
	adm := must(h.Admit(ctx, cred))(t)
	if adm.Token != cert.ID || adm.Resource != "db" || adm.Identity.Name != "ci" || !adm.Until.Equal(cert.ExpiresAt) {
		t.Errorf("%+v", adm)
	}
	one := must(h.RegisterCertificate(ctx, id, identity.CertificateTerms{Key: keyA, Resource: "db"}))(t)
	must(h.Admit(ctx, postern.Credential{User: "ci", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: one.ID}}))(t)
	for says, c := range map[string]postern.Credential{
		"another resource":   {User: "ci", Resource: "db2", Proof: postern.Proof{Key: keyA, Certificate: one.ID}},
		"another user":       {User: "root", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: cert.ID}},
		"bound to another":   {User: "ci", Resource: "db", Proof: postern.Proof{Key: keyB, Certificate: cert.ID}},
		"has shown none":     {User: "ci", Resource: "db", Proof: postern.Proof{Certificate: cert.ID}},
		"certificate is unk": {User: "ci", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: "ct_00"}},
		"token is unknown":   {User: "ci", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: cert.ID}, Secret: postern.NewSecret("wrong")},
	} {
		_, err := h.Admit(ctx, c)
		is(t, err, identity.ErrUnauthenticated, says)
	}
	h.opened(adm)
	ok(t, h.RevokeToken(ctx, cert.ID))
	if h.liveIDs() != 0 {
		t.Error("a revoked certificate's session lives")
	}
	_, err := h.Admit(ctx, cred)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	h.advance(13 * time.Hour)
	_, err = h.Admit(ctx, postern.Credential{User: "ci", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: one.ID}})
	is(t, err, identity.ErrUnauthenticated, "expired")
	for says, terms := range map[string]identity.CertificateTerms{
		"for a key":   {},
		"lives for":   {Key: keyA, TTL: 13 * time.Hour},
		"lives for 1": {Key: keyA, TTL: time.Second},
		"fingerprint": {Key: "x"},
	} {
		_, err := h.RegisterCertificate(ctx, id, terms)
		is(t, err, identity.ErrInvalid, says)
	}
}

// What came of a login ends with it: tokens, certificates, live sessions.
func TestLogoutEndsWhatCameOfIt(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	must(h.PutUser(ctx, "alice", nil, postern.NewSecret("correct horse")))(t)
	id := must(h.AuthenticatePassword(ctx, "alice", postern.NewSecret("correct horse"), netip.Addr{}))(t)
	login, _, err := h.MintLogin(ctx, id)
	ok(t, err)
	secret, _, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: "db", Under: login})
	ok(t, err)
	apart, _, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: "db"})
	ok(t, err)
	cert := must(h.RegisterCertificate(ctx, id, identity.CertificateTerms{Key: keyA, Under: login}))(t)
	byCert := postern.Credential{User: "alice", Resource: "db", Proof: postern.Proof{Key: keyA, Certificate: cert.ID}}
	for _, adm := range []postern.Admission{must(h.admit("alice", "db", secret))(t), must(h.Admit(ctx, byCert))(t), must(h.admit("alice", "db", apart))(t)} {
		h.opened(adm)
	}
	ok(t, h.Logout(ctx, login))
	if h.liveIDs() != 1 {
		t.Errorf("%d sessions live, want the one of another login", h.liveIDs())
	}
	_, err = h.admit("alice", "db", secret)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	_, err = h.Admit(ctx, byCert)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	must(h.admit("alice", "db", apart))(t)
}

func TestSSHKey(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci")
	key := must(h.AddSSHKey(ctx, id, keyA, "laptop", 0))(t)
	cred := postern.Credential{User: "ci", Resource: "web-1", Protocol: "ssh", Proof: postern.Proof{Key: keyA, Alone: true}}
	if adm := must(h.Admit(ctx, cred))(t); adm.Token != key.ID || adm.Resource != "web-1" || adm.Identity.Name != "ci" {
		t.Errorf("%+v", adm)
	}
	// Another who registers the same public key has no part in it, and takes nothing away.
	mallory, _ := h.service("mallory")
	must(h.AddSSHKey(ctx, mallory, keyA, "", 0))(t)
	must(h.Admit(ctx, cred))(t)
	_, err := h.AddSSHKey(ctx, id, keyA, "", 0)
	is(t, err, identity.ErrExists, key.ID)
	for says, c := range map[string]postern.Credential{
		"SSH key is unknown":       {User: "ci", Protocol: "ssh", Proof: postern.Proof{Key: keyB, Alone: true}},
		"the SSH key is unknown":   {User: "postern", Protocol: "ssh", Proof: postern.Proof{Key: keyA, Alone: true}},
		"session token is unknown": {User: "ci", Protocol: "postgres", Proof: postern.Proof{Key: keyA}},
	} {
		_, err := h.Admit(ctx, c)
		is(t, err, identity.ErrUnauthenticated, says)
	}
	ok(t, h.RevokeToken(ctx, key.ID))
	_, err = h.Admit(ctx, cred)
	is(t, err, identity.ErrUnauthenticated, "revoked")
	must(h.AddSSHKey(ctx, id, keyA, "again", time.Hour))(t) // what was removed can be registered again
	must(h.Admit(ctx, cred))(t)
	must(h.Disable(ctx, postern.Service, "ci"))(t)
	_, err = h.Admit(ctx, cred)
	is(t, err, identity.ErrUnauthenticated, "disabled")
	for says, add := range map[string]func() error{
		"for at most":  func() error { _, err := h.AddSSHKey(ctx, mallory, keyB, "", 400*24*time.Hour); return err },
		"on one line":  func() error { _, err := h.AddSSHKey(ctx, mallory, keyB, "a\nb", 0); return err },
		"no public":    func() error { _, err := h.AddSSHKey(ctx, mallory, "", "", 0); return err },
		"who acts for": func() error { m := mallory; m.Actor = &id; _, err := h.AddSSHKey(ctx, m, keyB, "", 0); return err },
	} {
		is(t, add(), identity.ErrInvalid, says)
	}
}

// Only their provider may know that somebody has left: their key opens nothing
// while they aren't signed in.
func TestSSHKeyOfProvidersUserNeedsLogin(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	erin := must(h.SignIn(ctx, postern.Identity{Name: "erin", Kind: postern.User, Subject: "corp:17", Groups: []string{"eng"}}))(t)
	must(h.AddSSHKey(ctx, erin, keyA, "", 0))(t)
	cred := postern.Credential{User: "erin", Resource: "web-1", Protocol: "ssh", Proof: postern.Proof{Key: keyA, Alone: true}}
	_, err := h.Admit(ctx, cred)
	is(t, err, identity.ErrUnauthenticated, "isn't signed in")
	login := must(h.StartLogin(ctx, postern.WebLogin, identity.Vouched{Identity: erin}, identity.Where{}))(t)
	must(h.Admit(ctx, cred))(t)
	ok(t, h.Logout(ctx, login.Token))
	_, err = h.Admit(ctx, cred)
	is(t, err, identity.ErrUnauthenticated, "isn't signed in")
}

// A verifier is of the token, and of nobody's secret when there is no such
// token: always the same one, so that asking twice tells nothing.
func TestVerifier(t *testing.T) {
	ctx, h := t.Context(), newHouse(t)
	id, _ := h.service("ci")
	secret, tk := h.session(id, "db")
	stored := must(h.Verifier(ctx, tk.ID))(t)
	if !strings.HasPrefix(stored, "SCRAM-SHA-256$4096:") || strings.Contains(stored, secret.Reveal()) {
		t.Errorf("%s", stored)
	}
	cert := must(h.RegisterCertificate(ctx, id, identity.CertificateTerms{Key: keyA}))(t)
	for _, id := range []string{"tk_" + strings.Repeat("0", 30), "", cert.ID} {
		decoy, again := must(h.Verifier(ctx, id))(t), must(h.Verifier(ctx, id))(t)
		if decoy != again || len(decoy) != len(stored) || decoy == stored {
			t.Errorf("%q: %s, then %s", id, decoy, again)
		}
	}
	// What is known without being sent opens what sent would, and no more.
	known := postern.Credential{User: "ci", Resource: "db", Proof: postern.Proof{Token: tk.ID}}
	must(h.Admit(ctx, known))(t)
	known.Resource = "other"
	_, err := h.Admit(ctx, known)
	is(t, err, identity.ErrUnauthenticated, "another resource")
	if got := must(h.db.Token(ctx, tk.ID))(t); got.Refused != 1 || !strings.Contains(got.RefusedWhy, "another resource") {
		t.Errorf("%+v", got)
	}
}

func BenchmarkAdmit(b *testing.B) {
	h, ctx := benchHouse(b)
	_, key, err := h.CreateServiceAccount(ctx, "ci", []string{"ci"})
	if err != nil {
		b.Fatal(err)
	}
	id, err := h.AuthenticateBearer(ctx, key)
	if err != nil {
		b.Fatal(err)
	}
	secret, _, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: "db", Key: keyA})
	if err != nil {
		b.Fatal(err)
	}
	cred := postern.Credential{User: "ci", Secret: secret, Resource: "db", Proof: postern.Proof{Key: keyA}}
	b.ResetTimer()
	for b.Loop() {
		if _, err := h.Admit(ctx, cred); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "admissions/s")
}

func BenchmarkMintSession(b *testing.B) {
	h, ctx := benchHouse(b)
	_, key, err := h.CreateServiceAccount(ctx, "ci", []string{"ci"})
	if err != nil {
		b.Fatal(err)
	}
	id, err := h.AuthenticateBearer(ctx, key)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := h.MintSession(ctx, id, identity.SessionTerms{Resource: "db", Under: key}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

func benchHouse(b *testing.B) (*identity.Service, context.Context) {
	b.Helper()
	db, err := store.Open(b.Context(), "sqlite", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	s, err := identity.New(identity.Config{Store: db, End: func(time.Time, string, func(postern.SessionInfo) bool) int { return 0 }})
	if err != nil {
		b.Fatal(err)
	}
	return s, b.Context()
}
