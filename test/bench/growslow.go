package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	slowSessions = 50
	// stuck is how long nothing has to move to be called standing still.
	stuck = 2 * time.Second
)

// slowness is a way to be slow.
type slowness struct {
	name               string
	identity, resource string
	// push begins what is of so many bytes, and returns how many it got rid of
	// before everything stood still. The connection is not read.
	push func(conn net.Conn, bytes int) (int64, error)
}

// growSlow looks at what sessions hold whose client, or server, takes nothing.
func growSlow(ctx context.Context, w *world) (*table, error) {
	if err := w.exec(ctx, database, "SET ROLE "+role, "CREATE TABLE slow_target (v text)",
		"CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END'",
		"CREATE TRIGGER slowly BEFORE INSERT ON slow_target FOR EACH ROW EXECUTE FUNCTION slowly()"); err != nil {
		return nil, err
	}
	rows := func(conn net.Conn, bytes int) (int64, error) {
		// A row of people is about 150 bytes on the wire.
		n := bytes / 150
		sql := fmt.Sprintf("SELECT people.* FROM generate_series(1, %d) g CROSS JOIN people LIMIT %d", n/w.cfg.rows+1, n)
		if _, err := write(conn, &pgproto3.Query{String: sql}); err != nil {
			return 0, err
		}
		var first [1]byte // it has begun
		n, err := conn.Read(first[:])
		return int64(n), err
	}
	kinds := []slowness{
		{"client reads one byte of the rows, no mask", "keeper", "orders-db", rows},
		{"client reads one byte of the rows, every detector", "clerk", "orders-db", rows},
		{"client reads no answer to its statements", "keeper", "orders-db", pushStatements},
		{"server takes no row of a COPY", "keeper", "orders-db", pushCopy},
	}
	t := &table{
		title: "A slow reader on either side",
		about: fmt.Sprintf("%d sessions at a time. A client that runs a statement with a result of so many bytes, and reads the first alone; one that sends so many bytes\n"+
			"of statements (Parse, Bind, Execute, Sync) and reads no answer; one that sends so many bytes of COPY to a server that is held up by its first row.\n"+
			"When nothing has moved for %v, memory is what the gateway's resident set has grown by, for each session, at its peak: buffers of the kernel\n"+
			"are not in it, nor is what the heap had free already: below some hundred KiB it says only that it is little.", slowSessions, stuck),
		head: []string{"slow is", "#bytes", "#sent by the client", "#memory of each session", "#grows as"},
	}
	for _, kind := range kinds {
		last, lastSize := 0.0, 0
		for _, n := range []int{1_000_000, 100_000_000} {
			progress("%s: %s", kind.name, size(n))
			each, taken, err := w.holdUp(ctx, kind, n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind.name, err)
			}
			t.row(kind.name, size(n), fmt.Sprintf("%.1f MB", float64(taken)/1e6), kib(each), t.grows("memory of a session whose "+kind.name, float64(lastSize), last, float64(n), each))
			last, lastSize = each, n
		}
	}
	return t, nil
}

// holdUp has sessions stand still, in a gateway of their own, and says what
// each of them holds, and how much its client got rid of.
func (w *world) holdUp(ctx context.Context, kind slowness, n int) (each float64, taken int64, err error) {
	g, err := w.startGateway(ctx, plan{})
	if err != nil {
		return 0, 0, err
	}
	var conns []*pgconn.HijackedConn
	defer func() {
		for _, c := range conns {
			_ = c.Conn.Close() // it breaks off
		}
		err = stopped(g, err)
	}()
	to := g.through(kind.identity, kind.resource, false)
	for range slowSessions {
		conn, err := to.hijack(ctx)
		if err != nil {
			return 0, 0, err
		}
		conns = append(conns, conn)
		// The first command has what all need read.
		if _, err := write(conn.Conn, &pgproto3.Query{String: "SELECT abalance FROM pgbench_accounts WHERE aid = 1"}); err != nil {
			return 0, 0, err
		}
		if _, _, err := drain(conn.Conn); err != nil {
			return 0, 0, err
		}
	}
	if err := still(ctx, to.pid); err != nil {
		return 0, 0, err
	}
	before, err := resident(to.pid)
	if err != nil {
		return 0, 0, err
	}
	if err := resetPeak(to.pid); err != nil {
		return 0, 0, err
	}
	var total atomic.Int64
	done := make(chan error, len(conns))
	for _, c := range conns {
		go func() {
			sent, err := kind.push(c.Conn, n)
			total.Add(sent)
			done <- err
		}()
	}
	var errs []error
	for range conns {
		errs = append(errs, <-done)
	}
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	if err := still(ctx, to.pid); err != nil {
		return 0, 0, err
	}
	most, err := peak(to.pid)
	return float64(most-before) / slowSessions, total.Load() / slowSessions, err
}

// still waits until a process has used next to nothing of a processor for a while.
func still(ctx context.Context, pid int) error {
	last, err := cpu(pid)
	if err != nil {
		return err
	}
	for {
		if err := pause(ctx, stuck); err != nil {
			return err
		}
		now, err := cpu(pid)
		if err != nil || now-last < stuck/10 {
			return err
		}
		last = now
	}
}

func write(conn net.Conn, msg pgproto3.FrontendMessage) (int64, error) {
	buf, err := msg.Encode(nil)
	if err != nil {
		return 0, err
	}
	n, err := conn.Write(buf)
	return int64(n), err
}

// flood writes pieces until so many bytes were written, or none could be for a
// while.
func flood(conn net.Conn, piece []byte, total int) (sent int64, err error) {
	for sent < int64(total) {
		if err := conn.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
			return sent, err
		}
		n, err := conn.Write(piece)
		sent += int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func pushCopy(conn net.Conn, bytes int) (int64, error) {
	if _, err := write(conn, &pgproto3.Query{String: "COPY slow_target FROM STDIN"}); err != nil {
		return 0, err
	}
	var answer [1]byte
	if _, err := conn.Read(answer[:]); err != nil || answer[0] != 'G' {
		return 0, fmt.Errorf("COPY is answered with %q: %w", answer, err)
	}
	var data []byte
	for range 64 {
		data = append(data, make([]byte, 1023)...)
		for i := len(data) - 1023; i < len(data); i++ {
			data[i] = 'y'
		}
		data = append(data, '\n')
	}
	piece, err := (&pgproto3.CopyData{Data: data}).Encode(nil)
	if err != nil {
		return 0, err
	}
	return flood(conn, piece, bytes)
}

func pushStatements(conn net.Conn, bytes int) (int64, error) {
	var piece []byte
	for len(piece) < 32<<10 {
		for _, msg := range []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: "SELECT abalance FROM pgbench_accounts WHERE aid = 1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{},
		} {
			var err error
			if piece, err = msg.Encode(piece); err != nil {
				return 0, err
			}
		}
	}
	return flood(conn, piece, bytes)
}
