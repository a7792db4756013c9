package api_test

import (
	"net"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkLogin is a whole sign-in of a person, over TLS: in a browser without
// cookies at a provider (RS256), back, and from there a program's, which the
// person approves, until it has its tokens. Each comes from an address of its
// own, since tries from one place are limited.
func BenchmarkLogin(b *testing.B) {
	w := newWeb(b)
	n := 0
	for b.Loop() {
		n++
		w.from = &net.TCPAddr{IP: net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))}
		w.browser = w.newBrowser()
		w.signIn()
		got := w.approve()
		a, _ := w.token(url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "code_verifier": {verifier}, "redirect_uri": {loopback}})
		if a.status != 200 || !strings.Contains(a.body, "refresh_token") {
			b.Fatalf("%+v", a)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "logins/s")
}

// BenchmarkLoginRefresh is what a program does every quarter of an hour.
func BenchmarkLoginRefresh(b *testing.B) {
	w := newWeb(b)
	w.signIn()
	got := w.approve()
	_, out := w.token(url.Values{"grant_type": {"authorization_code"}, "code": {got.Get("code")}, "code_verifier": {verifier}, "redirect_uri": {loopback}})
	n := 0
	for b.Loop() {
		n++
		a, next := w.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {out["refresh_token"].(string)}})
		if a.status != 200 {
			b.Fatalf("%+v", a)
		}
		out = next
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "refreshes/s")
}
