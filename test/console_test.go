package test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// told is what a SQL page is told, as far as these tests look.
type told struct {
	Open   *struct{ User string }
	Result *struct {
		Columns []string
		Rows    [][]*string
		Masked  [][2]int
	}
	Notice *struct{ Message string }
	Error  *struct{ Code, Message string }
	Done   *struct{ Status string }
}

// sqlPage is a page's connection.
type sqlPage struct {
	t    *testing.T
	conn *websocket.Conn
}

// browser is a client like a browser's page.
func browser() *http.Client {
	//nolint:gosec // loopback, and the test's own gateway
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// openSQL opens a SQL page as whoever signed in with the login token.
func (g *gateway) openSQL(t *testing.T, login, resource, origin string) (*sqlPage, *http.Response, error) {
	conn, resp, err := websocket.Dial(t.Context(), "wss://"+g.https+"/api/v1/sql/"+resource, &websocket.DialOptions{
		HTTPClient: browser(), HTTPHeader: http.Header{"Authorization": {"Bearer " + login}, "Origin": {origin}},
	})
	if err != nil {
		return nil, resp, err
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() }) // its end is looked at where it matters
	return &sqlPage{t, conn}, resp, nil
}

func (p *sqlPage) say(v any) {
	p.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.conn.Write(p.t.Context(), websocket.MessageText, body); err != nil {
		p.t.Fatal(err)
	}
}

// hear reads messages until one that ends an answer, or the connection's end.
func (p *sqlPage) hear() (all []told, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, body, err := p.conn.Read(ctx)
		if err != nil {
			return all, err
		}
		var m told
		if err := json.Unmarshal(body, &m); err != nil {
			p.t.Fatal(err)
		}
		all = append(all, m)
		if m.Open != nil || m.Done != nil {
			return all, nil
		}
	}
}

func (p *sqlPage) run(text string) []told {
	p.t.Helper()
	p.say(map[string]any{"run": text})
	all, err := p.hear()
	if err != nil {
		p.t.Fatalf("%s: %v after %+v", text, err, all)
	}
	return all
}

// TestSQLPage runs SQL as a page does: it is masked, denied, cancelled and
// recorded as psql's, and ends when the session does.
func TestSQLPage(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	login := g.login("alice")
	origin := "https://" + g.https
	if _, resp, err := g.openSQL(t, login, "orders-db", "https://elsewhere.example"); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin gets in: %v", err)
	}
	if _, resp, err := g.openSQL(t, "postern_lt_wrong", "orders-db", origin); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("somebody who isn't signed in gets in: %v", err)
	}
	if _, resp, err := g.openSQL(t, login, "no-such-db", origin); err == nil || resp == nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a resource that isn't there: %v", err)
	}
	p, _, err := g.openSQL(t, login, "orders-db", origin)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := p.hear(); err != nil || all[0].Open == nil || all[0].Open.User != "alice" {
		t.Fatalf("no session opens: %+v, %v", all, err)
	}

	all := p.run("SELECT id, email, name FROM customers WHERE id <= 2 ORDER BY id")
	r := all[0].Result
	if r == nil || len(r.Rows) != 2 || !slices.Equal(r.Masked, [][2]int{{0, 1}, {1, 1}}) || strings.Contains(*r.Rows[0][1], "example.com") && !strings.Contains(*r.Rows[0][1], "*") {
		t.Errorf("masked cells: %+v", all)
	}
	if all := p.run("SELECT 1; SELECT name FROM customers WHERE id = 1"); len(all) != 3 || len(all[1].Result.Masked) != 0 {
		t.Errorf("two results, nothing masked: %+v", all)
	}
	if all := p.run("DROP TABLE orders"); all[0].Error == nil || all[0].Error.Code != "42501" || !strings.Contains(all[0].Error.Message, "no-drop-table") {
		t.Errorf("a denied statement: %+v", all)
	}
	if all := p.run("BEGIN"); all[len(all)-1].Done.Status != "T" {
		t.Errorf("no transaction: %+v", all)
	}
	p.say(map[string]any{"run": "SELECT pg_sleep(60)"})
	heard, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the cancel may overtake the statement: it is said until it has an effect
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-heard:
				return
			case <-tick.C:
				_ = p.conn.Write(t.Context(), websocket.MessageText, []byte(`{"cancel": true}`)) // hear says what is wrong
			}
		}
	}()
	all, err = p.hear()
	close(heard)
	<-stopped
	if err != nil || all[0].Error == nil || all[0].Error.Code != "57014" {
		t.Errorf("cancelling: %+v, %v", all, err)
	}
	p.run("ROLLBACK")

	var sessions []struct{ ID, Client, Source string }
	out, err := g.run(login, "session", "ls", "--live", "-o", "json")
	if err != nil || json.Unmarshal([]byte(out), &sessions) != nil || len(sessions) != 1 {
		t.Fatalf("live sessions: %v %s", err, out)
	}
	replay, err := g.run(login, "session", "replay", sessions[0].ID, "--speed", "0")
	if err != nil || !strings.Contains(replay, "SELECT id, email, name FROM customers") || !strings.Contains(replay, "denied by no-drop-table") {
		t.Errorf("the replay: %v\n%s", err, replay)
	}
	if out, err := g.run(login, "session", "kill", sessions[0].ID); err != nil {
		t.Fatalf("kill: %v %s", err, out)
	}
	p.say(map[string]any{"run": "SELECT 1"})
	if all, err := p.hear(); err == nil {
		t.Errorf("a page goes on after its session was ended: %+v", all)
	}
}

// TestChanges hears that sessions have changed when one opens.
func TestChanges(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	heard := func(login string) *bufio.Scanner {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+g.https+"/api/v1/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+login)
		resp, err := browser().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		s := bufio.NewScanner(resp.Body)
		s.Scan() // "retry: …": from here on everything is told
		return s
	}
	alice, petra := g.login("alice"), g.login("petra")
	ours, theirs := heard(alice), heard(petra)
	g.mustConnect("alice", g.sessionToken(alice))
	g.mustConnect("petra", g.sessionToken(petra))
	next := func(s *bufio.Scanner, want string) {
		t.Helper()
		for s.Scan() {
			if data, ok := strings.CutPrefix(s.Text(), "data: "); ok && slices.Contains(strings.Fields(data), want) {
				return
			}
		}
		t.Errorf("nothing is heard of %s: %v", want, s.Err())
	}
	next(ours, "sessions")
	next(theirs, "sessions")
}
