package api

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// screen is what one of the gateway's own pages shows. They have no script.
type screen struct {
	Page    string // which of them; "": Text and Link
	Title   string
	Wrong   string // what went wrong, for the person
	Text    string
	Link    *link
	Choices []link

	Who      string // is signed in
	Code     string // to compare
	Client   string // what the asking machine says of itself
	Source   string // its address
	Asked    string // when
	Redirect string
	CSRF     string
	Hidden   map[string]string
}

type link struct {
	Title string
	URL   string
}

// pages renders them.
type pages struct {
	html *template.Template
	css  []byte
}

func openPages() (pages, error) {
	html, err := template.ParseFS(pageFiles, "pages/page.html")
	if err != nil {
		return pages{}, err
	}
	css, err := pageFiles.ReadFile("pages/postern.css")
	return pages{html: html, css: css}, err
}

// pagePolicy lets a page load its style sheet and send its forms home, and
// nothing else. A form's answer may also lead to where, an origin.
func pagePolicy(where string) string {
	if where != "" {
		where = " " + where
	}
	return "default-src 'none'; style-src 'self'; form-action 'self'" + where + "; base-uri 'none'; frame-ancestors 'none'"
}

// show writes a page.
func (a *api) show(w http.ResponseWriter, status int, p screen) {
	var out bytes.Buffer
	if err := a.pages.html.Execute(&out, p); err != nil {
		a.Log.Error("page can't be rendered", "page", p.Page, "error", err)
		writeProblem(w, errInternal)
		return
	}
	h := w.Header()
	if p.Redirect == "" {
		h.Set("Content-Security-Policy", pagePolicy(""))
	} else {
		h.Set("Content-Security-Policy", pagePolicy(p.Redirect))
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the browser may have gone
}

func (a *api) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(a.pages.css) // the browser may have gone
}

// clockText is a moment as a page shows it.
func clockText(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
