package api

import (
	"errors"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// guard stands before every path: a bug in a handler ends its request only,
// bodies are bounded, other sites' pages can't call, and answers are neither
// stored nor framed.
func (a *api) guard(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, r)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if a.host != "localhost" {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if !a.hostKnown(r.Host) {
			a.Log.Warn("request for another host refused", "source", r.RemoteAddr)
			writeProblem(w, errMisdirected)
			return
		}
		if crossOrigin.Check(r) != nil {
			writeProblem(w, errCrossOrigin)
			return
		}
		deadline := http.NewResponseController(w)
		_ = deadline.SetWriteDeadline(a.Now().Add(requestTime + 5*time.Second)) // streams move it; tests' recorders have none
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// recovered answers for a handler that panicked.
func (a *api) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	a.Log.Error("api call broke on a bug", "method", r.Method, "pattern", r.Pattern, "panic", p, "stack", string(debug.Stack()))
	writeProblem(w, errInternal)
}

// hostKnown says whether a request is for us. A page of another site whose name
// was pointed at our address (DNS rebinding) still carries its own name here.
func (a *api) hostKnown(hostport string) bool {
	host := strings.ToLower(strings.Trim(splitPort(hostport), "[]"))
	if host == a.host || host == "localhost" || slices.Contains(a.Hosts, host) {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
