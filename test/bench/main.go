// Command bench measures what a gateway costs, each figure as a ratio to a
// direct connection in the same interleaved run: direct, gateway, direct,
// gateway, and so on. It starts a PostgreSQL server and `postern serve` of its
// own, loads them with pgbench and with readers of its own, and prints a
// Markdown table.
//
// Run it with `make bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// settings say how much is measured. Each has a variable of the environment.
type settings struct {
	binary   string        // postern
	rounds   int           // BENCH_ROUNDS
	each     time.Duration // BENCH_SECONDS: of one run of pgbench
	rows     int           // BENCH_ROWS: of the large result
	sessions int           // BENCH_SESSIONS: idle ones
	only     *regexp.Regexp
	peers    bool // BENCH_PEERS=1: with pgbouncer and haproxy
}

func main() {
	out := flag.String("o", "", "write the report to this file, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, path string) (err error) {
	cfg, err := configure()
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	began := time.Now()
	r := &report{world: w}
	for _, wl := range workloads(w) {
		if cfg.only != nil && !cfg.only.MatchString(wl.name) {
			continue
		}
		m, err := w.measure(ctx, wl)
		if err != nil {
			return fmt.Errorf("%s: %w", wl.name, err)
		}
		r.measured = append(r.measured, m)
	}
	if cfg.only == nil || cfg.only.MatchString("idle sessions") {
		if r.idle, err = w.measureIdle(ctx); err != nil {
			return fmt.Errorf("idle sessions: %w", err)
		}
	}
	if cfg.only == nil || cfg.only.MatchString("revocation") {
		if r.revoked, err = w.measureRevocations(ctx); err != nil {
			return fmt.Errorf("revocation: %w", err)
		}
	}
	r.took = time.Since(began)
	to := io.Writer(os.Stdout)
	if path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = io.MultiWriter(to, f)
	}
	return r.write(to)
}

func configure() (settings, error) {
	cfg := settings{binary: os.Getenv("POSTERN_BIN"), peers: os.Getenv("BENCH_PEERS") == "1"}
	if cfg.binary == "" {
		return cfg, errors.New("POSTERN_BIN names no program; run scripts/bench")
	}
	seconds := 0
	for _, v := range []struct {
		name          string
		into          *int
		absent, least int
	}{
		{"BENCH_ROUNDS", &cfg.rounds, 5, 1},
		{"BENCH_SECONDS", &seconds, 2, 1},
		{"BENCH_ROWS", &cfg.rows, 1_000_000, 1000},
		{"BENCH_SESSIONS", &cfg.sessions, 500, 10},
	} {
		*v.into = v.absent
		text := os.Getenv(v.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < v.least {
			return cfg, fmt.Errorf("%s=%s: not a number of at least %d", v.name, text, v.least)
		}
		*v.into = n
	}
	cfg.each = time.Duration(seconds) * time.Second
	if text := os.Getenv("BENCH_ONLY"); text != "" {
		only, err := regexp.Compile(text)
		if err != nil {
			return cfg, fmt.Errorf("BENCH_ONLY: %w", err)
		}
		cfg.only = only
	}
	return cfg, nil
}
