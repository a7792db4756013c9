package server

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/config"
	"postern/internal/identity/workload"
	"postern/internal/identity/workload/issuertest"
	"postern/internal/store"
)

// documented are the rules of docs/workloads.md, with another issuer in place of
// the one that is named there.
func documented(t *testing.T, name string, issuer *issuertest.Issuer) *workload.Verifier {
	t.Helper()
	text, err := os.ReadFile("../../docs/workloads.md")
	must(t, err)
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, "- name: "+name+"\n") {
			continue
		}
		h := newHouse(t)
		h.write("postern.yaml", block)
		cfg, err := config.Load(h.path("postern.yaml"))
		must(t, err)
		rules := workloadRules(cfg)
		for i := range rules {
			rules[i].Issuer = issuer.URL
		}
		db, err := store.Open(t.Context(), "sqlite", t.TempDir())
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		ca, err := os.ReadFile(issuer.CAFile)
		must(t, err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
		t.Cleanup(transport.CloseIdleConnections)
		v, err := workload.New(workload.Config{Rules: rules, Store: db, Transport: transport})
		must(t, err)
		return v
	}
	t.Fatalf("docs/workloads.md has no rule %s", name)
	return nil
}

// The documented rules let in what they are for, and nothing that differs from
// it in one claim.
func TestDocumentedWorkloads(t *testing.T) {
	kubernetes := func(uid string) map[string]any {
		return map[string]any{"namespace": "reports", "serviceaccount": map[string]any{"name": "nightly", "uid": uid}}
	}
	for name, c := range map[string]struct {
		claims   map[string]any
		identity string
		others   map[string][]any
	}{
		"github-report": {
			claims: map[string]any{
				"repository": "acme/shop", "repository_id": "123456789", "repository_owner_id": "9876543", "environment": "production",
				"job_workflow_ref": "acme/shop/.github/workflows/report.yml@refs/heads/main", "ref": "refs/heads/main", "event_name": "schedule",
			},
			identity: "ci:acme/shop",
			others: map[string][]any{
				"repository_id": {"99", nil}, "repository_owner_id": {"99"}, "environment": {"staging", nil}, "ref": {"refs/pull/7/merge"},
				"event_name":       {"pull_request", "pull_request_target", "workflow_run", "issue_comment"},
				"job_workflow_ref": {"acme/shop/.github/workflows/other.yml@refs/heads/main", "acme/shop/.github/workflows/report.yml@refs/heads/evil"},
			},
		},
		"gitlab-report": {
			claims: map[string]any{
				"project_id": "4242", "namespace_id": "17", "project_path": "acme/shop", "ref_type": "branch", "ref": "main", "ref_protected": "true",
				"environment": "production", "ci_config_ref_uri": "gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main", "pipeline_source": "schedule",
			},
			identity: "gitlab:acme/shop",
			others: map[string][]any{
				"project_id": {"4243", 4242}, "namespace_id": {"18"}, "ref": {"evil"}, "ref_type": {"tag"}, "ref_protected": {"false"},
				"pipeline_source": {"merge_request_event", "external_pull_request_event"}, "environment": {nil}, "ci_config_ref_uri": {"x"},
			},
		},
		"cluster": {
			claims: map[string]any{
				"sub": "system:serviceaccount:reports:nightly", "kubernetes.io": kubernetes("6c0c3a61-7a4e-4b0e-8a83-2b1c0d1f9a55"),
			},
			identity: "k8s:reports:nightly",
			others:   map[string][]any{"sub": {"system:serviceaccount:reports:other"}, "kubernetes.io": {kubernetes("another"), nil}},
		},
		"mesh": {
			claims:   map[string]any{"sub": "spiffe://example.org/reports/nightly", "jti": nil},
			identity: "spiffe:nightly-report",
			others:   map[string][]any{"sub": {"spiffe://example.org/reports/nightly/x", "spiffe://evil.example/reports/nightly"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := issuertest.New(t)
			v := documented(t, name, issuer)
			verify := func(claims map[string]any) (postern.Identity, error) {
				return v.Verify(t.Context(), postern.NewSecret(issuer.Sign(issuer.Claims(time.Now(), "https://gw.example", claims))))
			}
			id, err := verify(c.claims)
			if err != nil || id.Name != c.identity {
				t.Fatalf("%+v, %v", id, err)
			}
			for claim, values := range c.others {
				for _, value := range values {
					other := maps.Clone(c.claims)
					other[claim] = value
					if id, err := verify(other); err == nil {
						t.Errorf("with %s = %v it is %s", claim, value, id.Name)
					}
				}
			}
		})
	}
}
