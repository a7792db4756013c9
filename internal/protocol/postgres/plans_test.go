package postgres

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// listened is what goes from the gateway to its server, by way of a listener.
type listened struct {
	mu  sync.Mutex
	raw strings.Builder
}

func (l *listened) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw.Write(p)
}

// discards is how often plans were thrown away so far.
func (l *listened) discards() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.raw.String(), throwPlansAway+"\x00")
}

// listen has an office's server be reached by way of a listener.
func (o *office) listen(rules string) *listened {
	o.t.Helper()
	var config net.ListenConfig
	ln, err := config.Listen(o.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = ln.Close() })
	l := &listened{}
	addr := o.cluster.Addr
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			var dialer net.Dialer
			far, err := dialer.DialContext(o.t.Context(), "tcp", addr)
			if err != nil {
				_ = near.Close()
				return
			}
			go func() {
				_, _ = io.Copy(far, io.TeeReader(near, l))
				_ = far.(*net.TCPConn).CloseWrite()
			}()
			go func() {
				_, _ = io.Copy(near, far)
				_ = near.Close()
				_ = far.Close()
			}()
		}
	}()
	o.resource = strings.Replace(o.resource, addr, ln.Addr().String(), 1)
	o.change(rules)
	return l
}

// TestPlansAreKept: plans are thrown away when names may have got another meaning, once,
// and not otherwise. The client sees nothing of it.
func TestPlansAreKept(t *testing.T) {
	o := newOffice(t, evasionArena(t), "app", evasionMasks)
	l := o.listen(evasionMasks)
	a, b := o.wire(), o.wire()
	b.query("SELECT 1")
	a.talk(1, join(parse("s", "SELECT count(*) FROM plain"), syn())...)
	use := join(bind("", "s"), execute(""), syn())
	const used = "bindcomplete\nrow 3\ndone SELECT 1\nready "
	// A catalog that reads differently is once more.
	for _, c := range []struct {
		by   *wire
		msgs []pgproto3.FrontendMessage
		want int
	}{
		{nil, nil, 0},
		{a, join(q("SELECT 1"), q("SET search_path = public"), q("BEGIN"), q("UPDATE plain SET qty = qty"), q("ROLLBACK"), q("SHOW search_path")), 0},
		{b, join(q("BEGIN"), q("UPDATE plain SET qty = qty"), q("COMMIT")), 0},
		{a, join(q("CREATE TEMP TABLE h(x int)")), 2},
		{a, join(q("BEGIN"), q("CREATE TEMP TABLE i(x int)"), q("CREATE TEMP TABLE j(x int)"), q("COMMIT")), 5},
		{b, join(q("CREATE TABLE k(x int)")), 2},
		{b, join(q("CREATE TABLE m(x int)"), q("CREATE TABLE n(x int)")), 3}, // of which b throws away its own
		{nil, nil, 0},
	} {
		before := l.discards()
		if c.by != nil {
			c.by.talk(readies(c.msgs), c.msgs...)
		}
		for range 3 {
			if got := a.talk(1, use...); got != used+"I\n" {
				t.Errorf("got\n%s", got)
			}
		}
		if n := l.discards() - before; n > c.want || c.want > 0 && n == 0 {
			t.Errorf("%v: thrown away %d times, want %d at most", c.msgs, n, c.want)
		}
	}
	// It comes no sooner than what has to come first in a transaction.
	a.query("BEGIN")
	b.query("DROP TABLE k")
	before := l.discards()
	a.want("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "done SET\nready T\n")
	if n := l.discards() - before; n != 0 {
		t.Errorf("thrown away %d times before SET TRANSACTION", n)
	}
	if got := a.talk(1, use...); got != used+"T\n" {
		t.Errorf("got\n%s", got)
	}
	if n := l.discards() - before; n != 1 {
		t.Errorf("thrown away %d times behind SET TRANSACTION", n)
	}
}
