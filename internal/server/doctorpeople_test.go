package server

import (
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/identity/oidc/oidctest"
)

// The doctor tells a provider that answers from one that is down, or whose
// client's secret is missing.
func TestDoctorAsksProviders(t *testing.T) {
	at := oidctest.New(t)
	t.Setenv("DOCTOR_SECRET", "s")
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Identity.OIDC = []config.OIDC{
		{Name: "good", Issuer: at.URL, ClientID: "c", ClientSecret: config.Ref{Env: "DOCTOR_SECRET"}},
		{Name: "secretless", Issuer: at.URL, ClientID: "c", ClientSecret: config.Ref{Env: "DOCTOR_NONE"}},
		{Name: "gone", Issuer: "http://127.0.0.1:1", ClientID: "c"},
	}
	found := map[string]Finding{}
	for _, f := range Examine(t.Context(), cfg, Options{}) {
		found[f.Check] = f
	}
	if f := found["identity provider good"]; !f.OK || !strings.Contains(f.Detail, "/auth/callback/good") {
		t.Errorf("%+v", f)
	}
	if f := found["identity provider secretless"]; f.OK || !strings.Contains(f.Detail, "DOCTOR_NONE") || f.Mending == "" {
		t.Errorf("%+v", f)
	}
	if f := found["identity provider gone"]; f.OK || !strings.Contains(f.Detail, "127.0.0.1:1") {
		t.Errorf("%+v", f)
	}
}
