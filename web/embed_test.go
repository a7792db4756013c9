package web

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, h http.Handler, method, path string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var built = fstest.MapFS{
	"index.html":       {Data: []byte(`<script nonce="__NONCE__"></script>`)},
	"assets/app-1a.js": {Data: []byte("1")},
	"icon.svg":         {Data: []byte("<svg/>")},
}

// TestPages serves the page for every path that is no file, with a nonce of its
// own in the page and in the policy alike.
func TestPages(t *testing.T) {
	h := handler(built, bytes.NewReader(bytes.Repeat([]byte{7}, 18*3)))
	for _, path := range []string{"/", "/reviews/rv_1", "/index.html"} {
		r := get(t, h, http.MethodGet, path)
		body, policy := text(t, r), r.Header.Get("Content-Security-Policy")
		_, nonce, _ := strings.Cut(policy, "'nonce-")
		nonce, _, _ = strings.Cut(nonce, "'")
		if r.StatusCode != http.StatusOK || nonce == "" || !strings.Contains(body, `nonce="`+nonce+`"`) || strings.Contains(body+policy, placeholder) {
			t.Errorf("%s: %d, %q under %q", path, r.StatusCode, body, policy)
		}
		for _, must := range []string{"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, must) {
				t.Errorf("%s: the policy lacks %s: %s", path, must, policy)
			}
		}
		if strings.Contains(policy, "unsafe-inline") || strings.Contains(policy, "'unsafe-eval'") || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: policy %q, cache %q", path, policy, r.Header.Get("Cache-Control"))
		}
	}
}

func TestFiles(t *testing.T) {
	h := handler(built, bytes.NewReader(nil))
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/assets/app-1a.js", http.StatusOK},
		{http.MethodGet, "/icon.svg", http.StatusOK},
		{http.MethodGet, "/assets/gone.js", http.StatusNotFound}, // not the page: a script that is HTML helps nobody
		{http.MethodGet, "/assets/../../etc/passwd", http.StatusInternalServerError},
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
	} {
		if r := get(t, h, c.method, c.path); r.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, r.StatusCode, c.status)
		}
	}
	if r := get(t, h, http.MethodGet, "/assets/app-1a.js"); !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("assets are cached as %q", r.Header.Get("Cache-Control"))
	}
}

// TestUnbuilt says how to get the console where there is none.
func TestUnbuilt(t *testing.T) {
	r := get(t, handler(fstest.MapFS{".keep": {}}, bytes.NewReader(nil)), http.MethodGet, "/")
	if body := text(t, r); r.StatusCode != http.StatusNotFound || !strings.Contains(body, "make build") {
		t.Errorf("%d %q", r.StatusCode, body)
	}
}
