package notify_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"postern"
	"postern/internal/approval"
	"postern/internal/approval/notify"
	"postern/internal/store"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is a foreign HTTP server over TLS, which keeps what it is sent.
type peer struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []int // status codes, in turn; then 200
	after    string
	requests []*http.Request
	bodies   [][]byte
}

func newPeer(t *testing.T, answers ...int) *peer {
	t.Helper()
	p := &peer{answers: answers}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.requests, p.bodies = append(p.requests, r), append(p.bodies, body)
		code := http.StatusOK
		if len(p.answers) > 0 {
			code, p.answers = p.answers[0], p.answers[1:]
		}
		if p.after != "" {
			w.Header().Set("Retry-After", p.after)
		}
		if code == http.StatusFound {
			w.Header().Set("Location", "https://127.0.0.1:1/elsewhere")
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *peer) got(t *testing.T, n int) [][]byte {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.bodies) != n {
		t.Fatalf("%d messages came, want %d", len(p.bodies), n)
	}
	return p.bodies
}

func (p *peer) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	return pool
}

func secret(text string) func(context.Context) (postern.Secret, error) {
	return func(context.Context) (postern.Secret, error) { return postern.NewSecret(text), nil }
}

// desk is a store, reviews over it, and the word of them.
type desk struct {
	*notify.Service
	db      *store.DB
	reviews *approval.Service
	now     time.Time
	log     strings.Builder
}

func (d *desk) Append(context.Context, postern.AuditEntry) error { return nil }

func (d *desk) Act(ctx context.Context, _ func() []postern.AuditEntry, do func(context.Context) error) error {
	return do(ctx)
}

func newDesk(t *testing.T, channels ...notify.Channel) *desk {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite", t.TempDir())
	ok(t, err)
	t.Cleanup(func() { ok(t, db.Close()) })
	d := &desk{db: db, now: time.Now().UTC()}
	d.reviews, err = approval.New(approval.Config{Store: db, Audit: d, Now: func() time.Time { return d.now }, Told: func(s approval.Step, rv postern.Review) {
		d.Tell(s, rv)
	}})
	ok(t, err)
	d.Service = d.service(t, channels...)
	return d
}

func (d *desk) service(t *testing.T, channels ...notify.Channel) *notify.Service {
	t.Helper()
	s, err := notify.New(notify.Config{
		Channels: channels, Store: d.db, ReviewURL: func(id string) string { return "https://gw.example/reviews/" + id },
		Identity: func(_ context.Context, ref string) (postern.Identity, error) {
			_, name, _ := strings.Cut(ref, ":")
			if name == "gone" {
				return postern.Identity{}, errors.New("account user:gone is disabled")
			}
			return postern.Identity{Name: name, Kind: postern.User, Groups: []string{"dba"}}, nil
		},
		Cast: d.reviews.Cast, Now: func() time.Time { return d.now },
		Log: slog.New(slog.NewTextHandler(&d.log, nil)),
	})
	ok(t, err)
	return s
}

const secretValue = "4111111111111111"

func review(id string, now time.Time) postern.Review {
	text := "UPDATE cards SET note = 'card " + secretValue + "' WHERE id = $1"
	return postern.Review{
		ID: id, State: postern.ReviewPending, Session: "ss_1", N: 1, Identity: "alice", Kind: postern.User, Resource: "orders-db", Command: text,
		Commands: []postern.Command{{
			Verb: "update", Text: text, Objects: []postern.Object{{Kind: "table", Name: "public.cards", Write: true}},
			Params: []postern.Param{{Value: []byte("a parameter")}},
		}},
		Rule: "cards", Message: "Cards are looked at <!channel> [first](https://evil.example).", Approvers: []postern.Principal{"group:dba"}, Approvals: 1,
		Digest: "digest-of-" + id, Policy: "p", CreatedAt: now, ExpiresAt: now.Add(time.Hour),
	}
}

// open is a review of which all is shown, to channels that show commands.
func open(id string, now time.Time) postern.Review {
	rv := review(id, now)
	rv.Command, rv.Commands = "TRUNCATE jobs", []postern.Command{{Verb: "truncate", Text: "TRUNCATE jobs"}}
	return rv
}

func (d *desk) submit(t *testing.T, rv postern.Review) {
	t.Helper()
	ok(t, d.reviews.Submit(t.Context(), rv))
	d.Deliver(t.Context())
}

// A webhook is what the Standard Webhooks library of others takes, and what
// isn't signed with the secret isn't.
func TestWebhook(t *testing.T) {
	const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	p := newPeer(t, http.StatusInternalServerError)
	d := newDesk(t, notify.Channel{Name: "hook", Kind: notify.Webhook, URL: secret(p.URL), Secret: secret(key), Roots: p.roots()})
	d.submit(t, review("rv_1", d.now))
	p.got(t, 1)
	d.Deliver(t.Context()) // not due yet
	p.got(t, 1)
	d.now = d.now.Add(time.Second)
	d.Deliver(t.Context())
	bodies := p.got(t, 2)
	d.now = d.now.Add(24 * time.Hour)
	d.Deliver(t.Context()) // once is enough
	p.got(t, 2)
	foreign, err := standardwebhooks.NewWebhook(key)
	ok(t, err)
	for i, r := range p.requests {
		if err := foreign.Verify(bodies[i], r.Header); err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	if a, b := p.requests[0].Header.Get("Webhook-Id"), p.requests[1].Header.Get("Webhook-Id"); a != b || a == "" {
		t.Errorf("the id changed from %q to %q", a, b)
	}
	other, err := standardwebhooks.NewWebhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	ok(t, err)
	if other.Verify(bodies[0], p.requests[0].Header) == nil || foreign.Verify(append(bodies[0], ' '), p.requests[0].Header) == nil {
		t.Error("a forged one is taken")
	}
	var event struct {
		Type      string
		Timestamp time.Time
		Data      struct{ Review, URL string }
	}
	ok(t, json.Unmarshal(bodies[1], &event))
	if event.Type != "review.submitted" || event.Data.Review != "rv_1" || event.Data.URL != "https://gw.example/reviews/rv_1" || event.Timestamp.IsZero() {
		t.Errorf("%+v", event)
	}
}

// Nothing of rows, parameters or, unless a channel shows them, commands leaves.
func TestNothingElseLeaves(t *testing.T) {
	p := newPeer(t)
	var channels []notify.Channel
	for _, kind := range []string{notify.Slack, notify.Teams, notify.Webhook} {
		channels = append(channels, notify.Channel{Name: kind, Kind: kind, URL: secret(p.URL), Secret: secret(strings.Repeat("k", 32)), Roots: p.roots()})
	}
	shows := channels[0]
	shows.Name, shows.ShowCommands = "shows", true
	d := newDesk(t, append(channels, shows)...)
	d.submit(t, review("rv_1", d.now))
	shown := 0
	for _, body := range p.got(t, 4) {
		if strings.Contains(string(body), secretValue) {
			shown++
		}
		if strings.Contains(string(body), "a parameter") || !strings.Contains(string(body), "public.cards") {
			t.Errorf("%s", body)
		}
		if strings.Contains(string(body), "postern_approve") {
			t.Errorf("a button approves what isn't shown: %s", body)
		}
	}
	if shown != 1 {
		t.Errorf("%d channels show the command, want the one that may", shown)
	}
	if strings.Contains(d.log.String(), secretValue) || strings.Contains(d.log.String(), p.URL) {
		t.Errorf("the log holds more than it may: %s", d.log.String())
	}
}

// What is refused for good, or too often, is a dead letter, and says why.
func TestDeadLetters(t *testing.T) {
	gone := newPeer(t, http.StatusGone)
	never := newPeer(t)
	for range notify.Attempts() {
		never.answers = append(never.answers, http.StatusBadGateway)
	}
	elsewhere := newPeer(t, http.StatusFound)
	hook := func(name string, p *peer) notify.Channel {
		return notify.Channel{Name: name, Kind: notify.Webhook, URL: secret(p.URL), Secret: secret(strings.Repeat("k", 32)), Roots: p.roots()}
	}
	unknown := hook("untrusted", newPeer(t))
	unknown.Roots = x509.NewCertPool()
	inClear := hook("clear", gone)
	inClear.URL = secret("http://hooks.example/x")
	short := hook("short", newPeer(t))
	short.Secret = secret("short")
	d := newDesk(t, hook("gone", gone), hook("never", never), hook("elsewhere", elsewhere), unknown, inClear, short)
	d.submit(t, review("rv_1", d.now))
	for range 20 {
		d.now = d.now.Add(2 * time.Hour)
		d.Deliver(t.Context())
	}
	dead, err := d.db.Notifications(t.Context(), postern.NotificationDead, 0)
	ok(t, err)
	got := map[string]string{}
	for _, n := range dead {
		got[n.Channel] = fmt.Sprintf("%d %s", n.Attempts, n.Problem)
	}
	for channel, want := range map[string]string{
		"gone": "1 the peer answered 410 Gone", "never": fmt.Sprintf("%d the peer answered 502", notify.Attempts()),
		"elsewhere": "1 the peer answered 302", "untrusted": fmt.Sprintf("%d post to 127.0.0.1", notify.Attempts()),
		"clear": "1 the channel's url is no https://", "short": "1 the webhook's secret has less than 24 bytes",
	} {
		if !strings.HasPrefix(got[channel], want) {
			t.Errorf("%s: %q, want %q", channel, got[channel], want)
		}
	}
	never.got(t, notify.Attempts())
	// One that is asked for again is sent again.
	for _, n := range dead {
		if n.Channel == "never" {
			n.State, n.Attempts, n.NextAt = postern.NotificationQueued, 0, d.now
			ok(t, d.db.SettleNotification(t.Context(), n))
		}
	}
	d.Deliver(t.Context())
	never.got(t, notify.Attempts()+1)
}

// A peer that says when it wants to be asked again is asked then.
func TestRetryAfter(t *testing.T) {
	p := newPeer(t, http.StatusTooManyRequests)
	p.after = "600"
	d := newDesk(t, notify.Channel{Name: "hook", Kind: notify.Webhook, URL: secret(p.URL), Secret: secret(strings.Repeat("k", 32)), Roots: p.roots()})
	d.submit(t, review("rv_1", d.now))
	d.now = d.now.Add(599 * time.Second)
	d.Deliver(t.Context())
	p.got(t, 1)
	d.now = d.now.Add(time.Second)
	d.Deliver(t.Context())
	p.got(t, 2)
}

// Two gateways on one store tell once; what one left unsaid when it died the
// next one says.
func TestToldOnce(t *testing.T) {
	p := newPeer(t)
	channel := notify.Channel{Name: "hook", Kind: notify.Webhook, URL: secret(p.URL), Secret: secret(strings.Repeat("k", 32)), Roots: p.roots()}
	d := newDesk(t, channel)
	other := d.service(t, channel)
	ok(t, d.reviews.Submit(t.Context(), review("rv_1", d.now))) // told, and not stored: the gateway dies
	other.CatchUp(t.Context())
	d.CatchUp(t.Context())
	var wg sync.WaitGroup
	for _, s := range []*notify.Service{d.Service, other} {
		wg.Go(func() { s.Deliver(t.Context()) })
	}
	wg.Wait()
	p.got(t, 1)
}

// A channel is told of what is for its people, and of every emergency.
func TestForWhom(t *testing.T) {
	p := newPeer(t)
	channel := notify.Channel{
		Name: "net", Kind: notify.Webhook, URL: secret(p.URL), Secret: secret(strings.Repeat("k", 32)), Roots: p.roots(), For: []postern.Principal{"group:network"},
	}
	d := newDesk(t, channel)
	d.submit(t, review("rv_1", d.now))
	p.got(t, 0)
	rv := review("rv_2", d.now)
	rv.Approvers = []postern.Principal{"user:sue", "group:network"}
	d.submit(t, rv)
	p.got(t, 1)
	glass := review("rq_1", d.now)
	glass.Session, glass.Commands, glass.Request = "", nil, &postern.AccessRequest{Access: "emergency", BreakGlass: true, Reason: "all is down"}
	d.Tell(approval.Submitted, glass)
	d.Deliver(t.Context())
	if body := p.got(t, 2)[1]; !strings.Contains(string(body), "EMERGENCY") || !strings.Contains(string(body), "all is down") {
		t.Errorf("%s", body)
	}
}
