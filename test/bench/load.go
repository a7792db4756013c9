package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// sample is what one run over one target came to.
type sample struct {
	rate float64       // per second: transactions, connections, or bytes
	work float64       // how many there were
	p50  time.Duration // of a transaction; 0: not measured
	mean time.Duration
	cpu  time.Duration // of the process in between
}

// load is something that can be done over any target.
type load func(context.Context, *world, target) (sample, error)

// pgbench runs pgbench with a script for the time that the settings say, or, with
// -t among the arguments, so often. Every transaction's time is taken from its log, to the microsecond.
func pgbench(script string, args ...string) load {
	return func(ctx context.Context, w *world, t target) (sample, error) {
		dir, err := os.MkdirTemp(w.dir, "pgbench-")
		if err != nil {
			return sample{}, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		all := append([]string{"-n", "-l", "--log-prefix=log"}, args...)
		if !slices.Contains(args, "-t") {
			all = append(all, "-T", strconv.Itoa(int(w.cfg.each.Seconds())))
		}
		if script != "" {
			path := filepath.Join(dir, "script.sql")
			if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
				return sample{}, err
			}
			all = append(all, "-f", path)
		}
		cmd := exec.CommandContext(ctx, w.pgbench, all...)
		cmd.Dir, cmd.Env = dir, t.environ()
		out, err := cmd.CombinedOutput()
		if err != nil {
			return sample{}, fmt.Errorf("%s: pgbench: %w\n%s", t.way, err, out)
		}
		return readPgbench(dir, out, slices.Contains(args, "-C"))
	}
}

var tpsLine = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \((without initial|including reconnection)`)

func readPgbench(dir string, out []byte, reconnects bool) (sample, error) {
	m := tpsLine.FindSubmatch(out)
	if m == nil {
		return sample{}, fmt.Errorf("pgbench said no tps:\n%s", out)
	}
	var s sample
	var err error
	if s.rate, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return s, err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil {
		return s, err
	}
	var times []int
	sum := 0
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			return s, err
		}
		for line := range bytes.Lines(data) {
			fields := bytes.Fields(line) // client, transaction, time in µs, …
			if len(fields) < 3 {
				continue
			}
			us, err := strconv.Atoi(string(fields[2]))
			if err != nil {
				return s, fmt.Errorf("pgbench's log: %q", line)
			}
			times = append(times, us)
			sum += us
		}
	}
	if len(times) == 0 {
		return s, errors.New("pgbench logged no transaction")
	}
	s.work = float64(len(times))
	if reconnects {
		// The log's times leave the connecting out.
		s.mean = time.Duration(float64(time.Second) / s.rate)
		return s, nil
	}
	slices.Sort(times)
	s.p50 = time.Duration(times[len(times)/2]) * time.Microsecond
	s.mean = time.Duration(float64(sum) / float64(len(times)) * float64(time.Microsecond))
	return s, nil
}

// ready is a connection over a target, and the message that runs a statement. What
// is done with it may take two minutes.
func (t target) ready(ctx context.Context, sql string) (net.Conn, []byte, error) {
	raw, err := t.hijack(ctx)
	if err != nil {
		return nil, nil, err
	}
	query, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err == nil {
		err = raw.Conn.SetDeadline(time.Now().Add(2 * time.Minute))
	}
	if err != nil {
		return nil, nil, errors.Join(err, raw.Conn.Close())
	}
	return raw.Conn, query, nil
}

// read runs a statement and reads its result to the end, doing as little as
// can be done with it: the client must not be what is measured.
func read(sql string) load {
	return func(ctx context.Context, w *world, t target) (sample, error) {
		conn, query, err := t.ready(ctx, sql)
		if err != nil {
			return sample{}, err
		}
		defer func() { _ = conn.Close() }()
		began := time.Now()
		if _, err := conn.Write(query); err != nil {
			return sample{}, err
		}
		rows, size, err := drain(conn)
		took := time.Since(began)
		if err != nil {
			return sample{}, fmt.Errorf("%s: %w", t.way, err)
		}
		if rows != w.cfg.rows {
			return sample{}, fmt.Errorf("%s: %d rows came, not %d", t.way, rows, w.cfg.rows)
		}
		return sample{rate: float64(rows) / took.Seconds(), work: float64(size) / 1e6, mean: took}, nil
	}
}

// drain reads messages up to ReadyForQuery, and counts those with a row.
func drain(conn io.Reader) (rows int, size int64, err error) {
	r := bufio.NewReaderSize(conn, 256<<10)
	for {
		head, err := r.Peek(5)
		if err != nil {
			return rows, size, err
		}
		kind, length := head[0], int(binary.BigEndian.Uint32(head[1:]))+1
		size += int64(length)
		switch kind {
		case 'D', 'd':
			rows++
		case 'Z':
			return rows, size, nil
		case 'E':
			text := make([]byte, min(length, 400))
			_, _ = io.ReadFull(r, text) // the error is worded from what there is
			return rows, size, fmt.Errorf("the server says: %q", strings.ToValidUTF8(string(text[5:]), "."))
		}
		if _, err := r.Discard(length); err != nil {
			return rows, size, err
		}
	}
}
