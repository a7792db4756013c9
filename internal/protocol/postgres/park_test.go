package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/protocol"
)

// plainShop is a server in clear text.
const plainShop = `{kind: Resource, name: orders-db, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: postgres}}`

// openPlainShop is a gateway that parks its servers' sides after a moment; route is as a house's.
func openPlainShop(t testing.TB, route func(context.Context) (net.Conn, error)) (*house, *door) {
	t.Helper()
	h := newHouse(t, nil, plainShop)
	h.route = route
	p := New(protocol.Options{AllowPlaintext: true, TLS: newIdentity(t).config})
	p.relay.park = time.Millisecond
	return h, openDoorOf(t, h.Gate, p)
}

func (d *door) enterPlain(t testing.TB, more string) *pgconn.PgConn {
	t.Helper()
	return dial(t, "user=alice password=token-alice dbname=orders-db host="+d.host+" port="+d.port+" "+more)
}

// parked waits until both sides of a session are.
func parked(t testing.TB, r *relay) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		up, here := r.upParking.now(), r.hereParking.now()
		if up && here {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server's side is parked: %t; the client's: %t", up, here)
		}
	}
}

// now says whether a side is parked.
func (k *parking) now() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.parked
}

// TestParked: a session both of whose sides are parked goes on, and ends, as any other does.
func TestParked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("goroutines wait here")
	}
	const killed, left = "postern: session ended: killed by carol", "the client disconnected"
	for name, test := range map[string]struct {
		then   func(*testing.T, *house, *pgconn.PgConn)
		reason string
	}{
		"a query": {func(t *testing.T, _ *house, c *pgconn.PgConn) {
			if got, err := c.Exec(t.Context(), "select 'as ever'").ReadAll(); err != nil || string(got[0].Rows[0][0]) != "as ever" {
				t.Errorf("it is answered with %v, %v", got, err)
			}
			_ = c.Close(t.Context())
		}, left},
		"goodbye":    {func(t *testing.T, _ *house, c *pgconn.PgConn) { _ = c.Close(t.Context()) }, left},
		"broken off": {func(_ *testing.T, _ *house, c *pgconn.PgConn) { _ = c.Conn().Close() }, left},
		"killed": {func(t *testing.T, h *house, c *pgconn.PgConn) {
			h.End("killed by carol", everybody)
			told(t, c, killed)
		}, killed},
		"server ends": {func(t *testing.T, h *house, c *pgconn.PgConn) {
			h.cluster.Exec(t, "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'parked'")
			told(t, c, "terminating connection due to administrator command")
		}, ""},
		"a notification": {func(t *testing.T, h *house, c *pgconn.PgConn) {
			h.cluster.Exec(t, "postgres", "notify parking, 'wake up'")
			if err := c.WaitForNotification(t.Context()); err != nil {
				t.Error(err)
			}
			_ = c.Close(t.Context())
		}, left},
	} {
		for _, mode := range []string{"disable", "require"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				h, d := openPlainShop(t, nil)
				c := d.enterPlain(t, "application_name=parked sslmode="+mode)
				r := d.relay(t, c.PID())
				parked(t, r)
				// Again, and from within a transaction.
				for _, text := range []string{"listen parking", "begin", "select 1", "commit"} {
					if _, err := c.Exec(t.Context(), text).ReadAll(); err != nil {
						t.Fatal(err)
					}
					parked(t, r)
				}
				test.then(t, h, c)
				if err := d.served(t); err != nil {
					t.Error(err)
				}
				if e := closed(t, h.Harness); test.reason != "" && e.Reason != test.reason {
					t.Errorf("in the audit log: %+v", e)
				}
			})
		}
	}
}

func everybody(postern.SessionInfo) bool { return true }

// told is what a client hears that waits, before its connection ends.
func told(t *testing.T, c *pgconn.PgConn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var said *pgconn.PgError
	if err := c.WaitForNotification(ctx); !errors.As(err, &said) || !strings.Contains(said.Message, want) {
		t.Errorf("the client is told %v", err)
	}
}

// TestSlowServerIsNotParked: as long as an answer is due, or part of one has come, the
// server is waited for.
func TestSlowServerIsNotParked(t *testing.T) {
	addr := cluster.Get(t).Addr
	_, d := openPlainShop(t, func(ctx context.Context) (net.Conn, error) { return slowly(ctx, addr) })
	c := d.enterPlain(t, "sslmode=disable")
	const text = "select repeat(n::text, 20) as line from generate_series(1000, 1040) as n; select pg_sleep(0.02)"
	got, err := c.Exec(t.Context(), text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0].Rows) != 41 || string(got[0].Rows[40][0]) != strings.Repeat("1040", 20) {
		t.Errorf("got %v", got)
	}
}

// slowly connects to a server whose bytes come a few at a time, with pauses, until some
// thousand have come.
func slowly(ctx context.Context, addr string) (net.Conn, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = ln.Close() }()
	var dialer net.Dialer
	ours, err := dialer.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	between, err := ln.Accept()
	if err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	server, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, errors.Join(err, ours.Close(), between.Close())
	}
	go func() {
		_, _ = io.Copy(server, between)
		_ = server.Close()
	}()
	go func() {
		defer func() { _ = between.Close() }()
		pause := time.NewTicker(3 * time.Millisecond)
		defer pause.Stop()
		buf := make([]byte, 31)
		for range 200 {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			if _, err := between.Write(buf[:n]); err != nil {
				return
			}
			<-pause.C
		}
		_, _ = io.Copy(between, server)
	}()
	return ours, nil
}

// TestBugAtTheEnd: a bug as a session ends leaves none behind that looks as if it lived,
// neither here nor at the server, whether it was parked or not.
func TestBugAtTheEnd(t *testing.T) {
	if dropsPooled { // the race detector is on
		t.Skip("the bug is planted while the session runs")
	}
	for name, park := range map[string]time.Duration{"parked": time.Millisecond, "never parked": time.Hour} {
		t.Run(name, func(t *testing.T) {
			h, d := openPlainShop(t, nil)
			d.p.relay.park = park
			c := d.enterPlain(t, "application_name=broken sslmode=disable")
			r := d.relay(t, c.PID())
			if park < time.Second {
				parked(t, r)
			}
			r.fromHere.below = &frameReader{buf: make([]byte, fullBuffer)} // which can't be given back
			_ = c.Conn().Close()
			if err := d.served(t); !errors.Is(err, errBug) {
				t.Errorf("the operator is told %v", err)
			}
			if e := closed(t, h.Harness); e.Reason != "the gateway met a bug" {
				t.Errorf("in the audit log: %+v", e)
			}
			if !h.Recordings.Last().Closed() {
				t.Error("the recording isn't closed")
			}
			for end := time.Now().Add(20 * time.Second); h.cluster.Exec(t, "postgres", "select count(*) from pg_stat_activity where application_name = 'broken'")[0][0] != "0"; {
				if time.Now().After(end) {
					t.Fatal("its connection to the server is open")
				}
			}
			if r.upParking.now() {
				t.Error("its server is still waited for")
			}
		})
	}
}
