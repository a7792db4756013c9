package api

import (
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/identity"
)

// issuerRoutes are the built-in identity provider's. Its protocol is a library's;
// the page that asks for a password is here.
func (a *api) issuerRoutes(mux *http.ServeMux) {
	if a.Issuer == nil {
		return
	}
	mux.Handle("/issuer/", a.Issuer)
	mux.HandleFunc("GET /issuer/authorize", func(w http.ResponseWriter, r *http.Request) {
		// Each begins a sign-in that the provider remembers for a while.
		if !a.limits.signIns.Take(identity.Place(sourceOf(r.RemoteAddr))) {
			a.tooMany(w)
			return
		}
		a.Issuer.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /issuer/login", a.askPassword)
	mux.HandleFunc("POST /issuer/login", a.takePassword)
}

// signInPending says whether this browser itself began the sign-in: a link to
// somebody else's would hand them whoever follows it.
func (a *api) signInPending(r *http.Request, id string) bool {
	state, ok := a.Issuer.Pending(id)
	if !ok || len(state) < 8 {
		return false
	}
	cookie, err := r.Cookie(attemptCookie + state[:8])
	if err != nil {
		return false
	}
	t, err := a.openAttempt(cookie.Value)
	return err == nil && t.State == state && t.Provider == identity.LocalProvider
}

func (a *api) signInOver(w http.ResponseWriter, r *http.Request) {
	a.Log.Warn("password not asked for: this browser began no such sign-in", "source", r.RemoteAddr)
	a.show(w, http.StatusBadRequest, screen{Title: "That sign-in is over", Text: "It was begun elsewhere, is finished, or took too long.", Link: &link{"Sign in again", "/auth/login"}})
}

func (a *api) askPassword(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	if !a.signInPending(r, id) {
		a.signInOver(w, r)
		return
	}
	a.show(w, http.StatusOK, screen{Page: "password", Title: "Sign in", Code: id})
}

func (a *api) takePassword(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || !a.signInPending(r, r.PostForm.Get("id")) {
		a.signInOver(w, r)
		return
	}
	id, user := r.PostForm.Get("id"), r.PostForm.Get("user")
	who, err := a.password(r.Context(), caller{source: sourceOf(r.RemoteAddr)}, Credentials{User: user, Password: r.PostForm.Get("password"), Code: r.PostForm.Get("code")})
	if err != nil {
		p := screen{Page: "password", Title: "Sign in", Code: id, Who: user, Wrong: "The gateway couldn't check the password. Try again."}
		status := http.StatusServiceUnavailable
		var e huma.StatusError
		switch {
		case errors.Is(err, identity.ErrTooMany):
			p.Wrong, status = "Too many tries. Try again in a minute.", http.StatusTooManyRequests
		case errors.Is(err, errCodeNeeded):
			p.Wrong, status = "This user has a second factor: type a code of it, too.", http.StatusUnauthorized
		case errors.Is(err, errTwoPeople):
			p.Wrong, status = "This is a break-glass account, which needs a second person: sign in on the command line.", http.StatusForbidden
		case errors.As(err, &e) && e.GetStatus() == http.StatusUnauthorized:
			p.Wrong, status = "Wrong user or password, or code.", http.StatusUnauthorized
		}
		a.show(w, status, p)
		return
	}
	to, ok := a.Issuer.Done(id, who.Name)
	if !ok {
		a.signInOver(w, r)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // the provider's own address
}
