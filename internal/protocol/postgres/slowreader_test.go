package postgres

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern/internal/socket"
	"postern/test/pgcluster"
)

// What a session may hold whose client, or server, takes nothing: a buffer or two
// each way, and for messages under way what their answers will be read by.
const (
	mostHeld   = 1 << 20
	mostFlight = 32 << 20
)

const maskEverything = `kind: Mask
name: emails
on: {names: [db]}
detect: [email, phone, credit_card]
with: partial
`

// encoded are messages as they are sent.
func encoded(t testing.TB, msgs ...pgproto3.FrontendMessage) []byte {
	t.Helper()
	var b []byte
	for _, m := range msgs {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// inUse is what the heap holds after a collection.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // the pools let go at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// feed writes a piece again and again until the connection ends, or it was written so
// often. How many bytes went is counted.
func feed(conn net.Conn, piece []byte, times int) (sent *atomic.Int64, over <-chan struct{}) {
	sent = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range times {
			n, err := conn.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return sent, done
}

// standstill waits until what moves counts has stayed the same for half a second of
// the server's time.
func (o *office) standstill(moved func() string) {
	o.t.Helper()
	last, same := "", 0
	for range 1000 {
		if now := moved(); now == last {
			same++
		} else {
			last, same = now, 0
		}
		if same == 10 {
			return
		}
		o.cluster.Exec(o.t, "postgres", "select pg_sleep(0.05)")
	}
	o.t.Fatal("it doesn't come to a standstill")
}

// waiting is what the backends of a statement wait for.
func (o *office) waiting(like string) string {
	return fmt.Sprint(o.cluster.Exec(o.t, "postgres",
		"select wait_event, count(*) from pg_stat_activity where pid <> pg_backend_pid() and query like '"+like+"%' group by 1 order by 1"))
}

// TestSlowClient: a client that reads nothing of a large result holds up its server,
// and fills no memory; what it then reads is all of it.
func TestSlowClient(t *testing.T) {
	for name, rules := range map[string]string{"no mask": "", "masked": maskEverything} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, "postgres", pgcluster.Superuser, rules)
			const sessions, rows = 4, 32 << 10
			wires := make([]*wire, sessions)
			for i := range wires {
				wires[i] = o.wire()
				wires[i].query("select 1")
			}
			before := inUse()
			for _, w := range wires {
				w.send(q("select n, repeat('x', 1000) from generate_series(1, 32768) n"))
			}
			o.standstill(func() string { return o.waiting("select n, repeat") })
			if got := o.waiting("select n, repeat"); got != "[[ClientWrite 4]]" {
				t.Errorf("the servers wait for %s", got)
			}
			if each := (inUse() - before) / sessions; each > mostHeld {
				t.Errorf("a session whose client reads nothing holds %d KiB", each>>10)
			} else {
				t.Logf("%d KiB a session", each>>10)
			}
			for _, w := range wires {
				if got := strings.Count(w.until(1), "row "); got != rows {
					t.Errorf("%d rows came", got)
				}
			}
		})
	}
}

// TestSlowServer: a server that takes nothing of a COPY holds up its client.
func TestSlowServer(t *testing.T) {
	o := newOffice(t, database(t), pgcluster.Superuser, "")
	o.wire().query("create table slow(v text); create function wait() returns trigger language plpgsql as " +
		"'begin perform pg_advisory_xact_lock_shared(4711); return new; end'; create trigger t before insert on slow for each row execute function wait()")
	holder := o.direct(o.events("open")[0].Session.Database)
	holder.query("select pg_advisory_lock(4711)")
	const sessions, pieces = 8, 1000
	piece := encoded(t, &pgproto3.CopyData{Data: []byte(strings.Repeat("y", 64<<10-1) + "\n")})
	wires := make([]*wire, sessions)
	for i := range wires {
		wires[i] = o.wire()
		wires[i].query("select 1")
	}
	before := inUse()
	sent, over := make([]*atomic.Int64, sessions), make([]<-chan struct{}, sessions)
	for i, w := range wires {
		w.send(q("copy slow from stdin"))
		if got := w.next(); got != "copyinresponse\n" {
			t.Fatal(got)
		}
		sent[i], over[i] = feed(w.conn, piece, pieces)
	}
	total := func() (n int64) {
		for _, s := range sent {
			n += s.Load()
		}
		return n
	}
	o.standstill(func() string { return fmt.Sprint(total(), o.waiting("copy slow")) })
	if total() >= int64(sessions*pieces*len(piece)) {
		t.Error("nothing holds the clients up")
	}
	if each := (inUse() - before) / sessions; each > mostHeld {
		t.Errorf("a session whose server takes nothing holds %d KiB", each>>10)
	} else {
		t.Logf("%d KiB a session, of %d KiB that its client sent", each>>10, total()/sessions>>10)
	}
	holder.query("select pg_advisory_unlock(4711)")
	for i, w := range wires {
		<-over[i]
		if got := w.talk(1, &pgproto3.CopyDone{}); got != "done COPY 1000\nready I\n" {
			t.Errorf("got %s", got)
		}
	}
}

// narrow has the kernel keep little of what a connection carries.
func narrow(t *testing.T, sets ...func(bytes int) error) {
	t.Helper()
	for _, set := range sets {
		if err := set(64 << 10); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoAnswerRead: a client that reads nothing, and goes on to send what each
// needs an answer, is held up, too.
func TestNoAnswerRead(t *testing.T) {
	for name, msgs := range map[string][]pgproto3.FrontendMessage{
		"syncs":      {syn()},
		"statements": join(run("select 1"), syn()),
		"queries":    {q("select 1")},
		"wide":       {q("select 1" + strings.Repeat(",1", 1000))},
		"names":      {q("select relname" + strings.Repeat(",relname", 200) + " from pg_class")},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, "postgres", pgcluster.Superuser, "")
			c := o.connect()
			// What the kernel takes in between, up to 32 MiB, would be counted as sent.
			narrow(t, c.Conn().(*net.TCPConn).SetWriteBuffer, o.relay(t, c).client.Conn.(*socket.Conn).SetReadBuffer)
			w := newWire(t, c)
			w.query("select 1")
			before := inUse()
			w.send(q("select repeat('x', 100000000)"))
			piece := encoded(t, msgs...)
			sent, over := feed(w.conn, piece, 16<<20/len(piece))
			o.standstill(func() string { return fmt.Sprint(sent.Load(), o.waiting("select repeat")) })
			held := inUse() - before
			if n := sent.Load(); n > 15<<20 {
				t.Errorf("nothing holds the client up: %d bytes were sent", n)
			}
			if held > mostFlight {
				t.Errorf("it holds %d KiB", held>>10)
			} else {
				t.Logf("%d KiB, for %d KiB that its client sent", held>>10, sent.Load()>>10)
			}
			_ = w.conn.Close()
			<-over
		})
	}
}
