package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

// Whoever takes a kept configuration may change it.
func TestBlankConfigsAreKept(t *testing.T) {
	var b blankConfigs
	for _, target := range []string{"any", "read-write", "any", "read-write"} {
		want, err := blankConfig(target)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.of(target)
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b *pgconn.Config) bool {
			return a.Host == b.Host && a.User == b.User && a.RequireAuth == b.RequireAuth && (a.ValidateConnect == nil) == (b.ValidateConnect == nil) &&
				cmp.Equal(a.RuntimeParams, b.RuntimeParams) && len(a.Fallbacks) == len(b.Fallbacks)
		}
		if !same(got, want) {
			t.Errorf("%s: %+v, want %+v", target, got, want)
		}
		got.Host, got.User, got.RequireAuth, got.ValidateConnect = "other", "other", "other", nil
		got.RuntimeParams["application_name"] = "other"
		got.Fallbacks = append(got.Fallbacks, &pgconn.FallbackConfig{Host: "other"})
	}
	if len(b.made) != 2 {
		t.Errorf("%d are kept", len(b.made))
	}
	if _, err := b.of("any host=evil"); err == nil || len(b.made) != 2 {
		t.Error("target_session_attrs takes anything")
	}
}

func BenchmarkBlankConfig(b *testing.B) {
	for name, kept := range map[string]*blankConfigs{"parsed": nil, "kept": {}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := kept.of("any"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
