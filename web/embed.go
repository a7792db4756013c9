// Package web is the console: pages that the gateway serves from its own
// binary. The sources are in src, in TypeScript; `make web` builds them into
// dist. A gateway that was built without them says how to get them.
package web

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed all:dist
var dist embed.FS

// placeholder stands in index.html wherever a nonce belongs; see vite.config.ts.
const placeholder = "__NONCE__"

// policy is what the pages may load: what the gateway itself serves, and
// nothing else from anywhere. A style element needs the answer's own nonce; the
// player of terminals is WebAssembly.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'nonce-" + placeholder + "'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

const missing = "This gateway was built without its console. Build it with `make build` (it needs npm), or use the postern command.\n"

// Handler serves the console: files below /assets, which never change under
// their names, and the one page for every other path, since paths of pages are
// the page's own business.
func Handler() http.Handler { return handler(files(), rand.Reader) }

func files() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("web: " + err.Error()) // the folder is named above
	}
	return sub
}

// Built says whether the console is in this binary.
func Built() bool {
	_, err := fs.Stat(files(), "index.html")
	return err == nil
}

func handler(files fs.FS, random io.Reader) http.Handler {
	page, err := fs.ReadFile(files, "index.html")
	built := err == nil
	static := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		if !built {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, missing) // the client may have gone
			return
		}
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if info, err := fs.Stat(files, name); err == nil && !info.IsDir() && name != "index.html" {
			if strings.HasPrefix(name, "assets/") {
				w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			}
			static.ServeHTTP(w, r)
			return
		}
		if strings.HasPrefix(name, "assets/") {
			http.NotFound(w, r)
			return
		}
		nonce, err := newNonce(random)
		if err != nil {
			http.Error(w, "no randomness", http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", strings.ReplaceAll(policy, placeholder, nonce))
		h.Set("Cache-Control", "no-store")
		_, _ = w.Write(bytes.ReplaceAll(page, []byte(placeholder), []byte(nonce))) // the client may have gone
	})
}

func newNonce(random io.Reader) (string, error) {
	var b [18]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
