package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

const (
	// sessionCookie holds a browser's token. Its prefix makes browsers refuse it
	// from other hosts, other paths and clear text.
	sessionCookie = "__Host-postern"
	// csrfHeader proves that a call with the cookie is of one of our own pages:
	// only they can read what it must hold, and only they may send it.
	csrfHeader = "Postern-Csrf"
	// freshLogin is how old a browser's login may be when it signs a program in.
	freshLogin = time.Hour
)

var errCSRF = huma.Error403Forbidden("a call with a browser's cookie needs the header " + csrfHeader + " with what /api/v1/whoami calls csrf")

// csrfOf is what proves that a request comes from a page that belongs to the
// browser's login.
func csrfOf(cookie postern.Secret) string {
	mac := hmac.New(sha256.New, []byte(cookie.Reveal()))
	mac.Write([]byte("postern csrf v1"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func csrfHolds(cookie postern.Secret, got string) bool {
	return subtle.ConstantTimeCompare([]byte(csrfOf(cookie)), []byte(got)) == 1
}

// cookieOf is the browser's token in a Cookie header. Two of that name are
// none: one of them is somebody else's doing.
func cookieOf(header string) postern.Secret {
	cookies, err := http.ParseCookie(header)
	if err != nil {
		return postern.Secret{}
	}
	var found []string
	for _, c := range cookies {
		if c.Name == sessionCookie {
			found = append(found, c.Value)
		}
	}
	if len(found) != 1 {
		return postern.Secret{}
	}
	return postern.NewSecret(found[0])
}

// head is the part of a request that says who calls.
type head interface {
	Header(name string) string
	Method() string
	RemoteAddr() string
}

// cookieCaller finds out who calls with a browser's cookie. Only a page of our
// own may: what its Sec-Fetch-Site says, where the browser sends it, and for
// whatever changes something what only such a page can know.
func (a *api) cookieCaller(ctx context.Context, h head) (caller, error) {
	c := caller{bearer: cookieOf(h.Header("Cookie")), source: sourceOf(h.RemoteAddr()), cookie: true}
	if c.bearer.IsZero() {
		return caller{}, errNotSignedIn
	}
	switch h.Header("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return caller{}, errCrossOrigin
	}
	c, err := a.recognised(ctx, c)
	if err != nil {
		return caller{}, err
	}
	if m := h.Method(); m != http.MethodGet && m != http.MethodHead && !csrfHolds(c.bearer, h.Header(csrfHeader)) {
		a.Log.Warn("api call without csrf token refused", "identity", c.identity.Name, "source", c.source)
		return caller{}, errCSRF
	}
	return c, nil
}

// requestHead is the head of a request to a page.
type requestHead struct{ *http.Request }

func (r requestHead) Header(name string) string { return r.Request.Header.Get(name) }
func (r requestHead) Method() string            { return r.Request.Method }
func (r requestHead) RemoteAddr() string        { return r.Request.RemoteAddr }

// visitor is who looks at one of the gateway's pages; ok is false for somebody
// who isn't signed in.
func (a *api) visitor(r *http.Request) (c caller, ok bool) {
	c = caller{bearer: cookieOf(r.Header.Get("Cookie")), source: sourceOf(r.RemoteAddr), cookie: true}
	if c.bearer.IsZero() {
		return c, false
	}
	seen, err := a.recognised(r.Context(), c)
	if err != nil {
		return c, false
	}
	return seen, true
}

// form is a page's form, sent by whoever is signed in from a page of ours.
func (a *api) form(w http.ResponseWriter, r *http.Request) (caller, bool) {
	c, ok := a.visitor(r)
	if !ok {
		a.show(w, http.StatusUnauthorized, screen{Title: "You are signed out", Text: "Sign in, and begin again.", Link: &link{"Sign in", "/auth/login"}})
		return c, false
	}
	if err := r.ParseForm(); err != nil || !csrfHolds(c.bearer, r.PostForm.Get("csrf")) {
		a.Log.Warn("form without csrf token refused", "identity", c.identity.Name, "source", c.source, "path", r.URL.Path)
		a.show(w, http.StatusForbidden, screen{Title: "That didn't come from here", Text: "The form is not one of this session's. Nothing was done; begin again."})
		return c, false
	}
	return c, true
}

func setCookie(w http.ResponseWriter, name, value string, ttl time.Duration) {
	age := int(ttl / time.Second)
	if ttl <= 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age, Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // the way back from a provider is another site's doing
	})
}

// canonical sends a browser that came by another of our names to the public
// one: cookies and the providers' way back are that one's. It never looks at
// what a proxy says of the request.
func (a *api) canonical(next http.HandlerFunc) http.HandlerFunc {
	public, err := url.Parse(a.PublicURL)
	return func(w http.ResponseWriter, r *http.Request) {
		if err == nil && !strings.EqualFold(r.Host, public.Host) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			to := url.URL{Scheme: public.Scheme, Host: public.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
			http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
			return
		}
		next(w, r)
	}
}

// localPath is where a browser may be sent on: a path of this gateway, or "/".
func localPath(text string) string {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }
	u, err := url.Parse(text)
	switch {
	case err != nil, len(text) > 2000, strings.ContainsFunc(text, bad):
		return "/"
	case u.Scheme != "", u.Host != "", u.User != nil, u.Opaque != "", !strings.HasPrefix(u.Path, "/"), strings.HasPrefix(u.Path, "//"), strings.Contains(u.Path, "\\"):
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).RequestURI()
}
