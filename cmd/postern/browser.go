package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"postern/internal/api"
	"postern/internal/api/client"
	"postern/internal/identity"
)

// loginTime is how long a browser has to come back.
const loginTime = 10 * time.Minute

// loopback waits on this machine for the browser that signs the person in. Only
// this process knows the verifier without which the code that the browser
// brings is worth nothing, and only the browser that opened the link first
// knows the state.
type loopback struct {
	client   *client.Client
	redirect string // where the browser comes back to
	host     string
	start    string // the path of the link, good once
	state    string
	verifier string
	machine  string

	opened atomic.Bool
	came   atomic.Bool
	done   chan outcome
}

type outcome struct {
	tokens client.Tokens
	err    error
}

// browserLogin signs in through a browser on this machine.
func (a *app) browserLogin(ctx context.Context, c *client.Client, open bool) (client.Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return client.Tokens{}, err
	}
	b := &loopback{
		client: c, host: l.Addr().String(), redirect: "http://" + l.Addr().String() + "/callback", start: "/" + rand.Text(),
		state: rand.Text(), verifier: rand.Text() + rand.Text(), machine: machine(), done: make(chan outcome, 1),
	}
	server := &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // it ends when it is shut down
	}()
	defer func() {
		// The browser still has to hear where to go.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
		<-served
	}()
	link := "http://" + b.host + b.start
	if open && openBrowser(ctx, a.getenv, link) {
		a.ui.say("Your browser opens to sign you in. If it doesn't, open this link, which is good once:\n  %s", link)
	} else {
		a.ui.say("Open this link in a browser on this machine; it is good once (elsewhere: postern login --device):\n  %s", link)
	}
	a.ui.say("Approve only a page that shows the code %s.", api.ConfirmCode(identity.Challenge(b.verifier)))
	select {
	case out := <-b.done:
		return out.tokens, out.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return client.Tokens{}, errors.New("nobody came back from the browser in time; run postern login again")
		}
		return client.Tokens{}, ctx.Err()
	}
}

// ServeHTTP implements [http.Handler].
func (b *loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	switch {
	case r.Host != b.host || r.Method != http.MethodGet: // a page of another site, by a name of its own
		http.Error(w, "not here", http.StatusMisdirectedRequest)
	case subtle.ConstantTimeCompare([]byte(r.URL.Path), []byte(b.start)) == 1:
		if b.opened.Swap(true) {
			http.Error(w, "This link was opened already. If that wasn't you, end postern login and run it again.", http.StatusGone)
			return
		}
		http.Redirect(w, r, b.client.AuthorizeURL(identity.Challenge(b.verifier), b.state, b.redirect, b.machine), http.StatusSeeOther)
	case r.URL.Path == "/callback":
		b.callback(w, r)
	default:
		http.NotFound(w, r)
	}
}

// callback takes the code that the browser brings. What doesn't know the state
// isn't that browser, and ends nothing.
func (b *loopback) callback(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(b.state)) != 1 {
		http.Error(w, "This isn't the sign-in that postern login waits for.", http.StatusBadRequest)
		return
	}
	if b.came.Swap(true) {
		http.Error(w, "The sign-in is finished.", http.StatusGone)
		return
	}
	var out outcome
	if says := q.Get("error"); says != "" {
		out.err = &exitError{code: exitSignedIn, err: errors.New("the sign-in was denied in the browser")}
	} else {
		out.tokens, out.err = b.client.Redeem(r.Context(), q.Get("code"), b.verifier, b.redirect)
	}
	if out.err != nil {
		http.Error(w, "You aren't signed in; your terminal says why.", http.StatusBadRequest)
	} else {
		http.Redirect(w, r, b.client.DoneURL(), http.StatusSeeOther) // the code leaves the address bar
	}
	b.done <- out
}

// openBrowser opens the person's browser, if they seem to have one here. The
// link is all that other programs can see of it: it is good once.
func openBrowser(ctx context.Context, getenv func(string) string, link string) bool {
	var program []string
	switch runtime.GOOS {
	case "darwin":
		program = []string{"/usr/bin/open"}
	case "windows":
		program = []string{"rundll32", "url.dll,FileProtocolHandler"}
	default:
		if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
			return false
		}
		program = []string{"xdg-open"}
	}
	path, err := exec.LookPath(program[0])
	if err != nil {
		return false
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, append(program[1:], link)...) //nolint:gosec // one of the names above
	if cmd.Start() != nil {
		return false
	}
	go func() { _ = cmd.Wait() }() // whatever the browser does
	return true
}
