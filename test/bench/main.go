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
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// settings say how much is measured. Each has a variable of the environment.
type settings struct {
	binary    string        // postern
	rounds    int           // BENCH_ROUNDS
	each      time.Duration // BENCH_SECONDS: of one run of pgbench
	rows      int           // BENCH_ROWS: of the large result
	sessions  int           // BENCH_SESSIONS: idle ones
	recording int           // BENCH_RECORDING: bytes of the largest recording; given in MB
	growth    string        // BENCH_GROWTH: "", "1", or growthOnly
	commit    string        // as it was when the bench began
	only      *regexp.Regexp
	peers     bool // BENCH_PEERS=1: with pgbouncer and haproxy
}

// growthOnly measures how costs grow, and nothing else.
const growthOnly = "only"

func main() {
	out := flag.String("o", "", "write the report to this file, too")
	grown := flag.String("growth", "", "write how costs grow to this file, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *out, *grown)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run measures, and writes what it measured: the report, and the section
// about growth, each to standard output and to a file whose path isn't "".
func run(ctx context.Context, path, growthPath string) error {
	cfg, err := configure()
	if err != nil {
		return err
	}
	if cfg.growth != growthOnly {
		text, err := measureAll(ctx, cfg)
		if err != nil {
			return err
		}
		if err := publish(text, path); err != nil {
			return err
		}
	}
	if cfg.growth == "" {
		return nil
	}
	text, err := measureGrowth(ctx, cfg)
	if err != nil {
		return err
	}
	return publish(text, growthPath)
}

func publish(text, path string) error {
	if _, err := os.Stdout.WriteString(text); err != nil || path == "" {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// measureAll measures everything but growth.
func measureAll(ctx context.Context, cfg settings) (text string, err error) {
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	began := time.Now()
	r := &report{world: w}
	for _, wl := range workloads(w) {
		if !cfg.chosen(wl.name) {
			continue
		}
		m, err := w.measure(ctx, wl)
		if err != nil {
			return "", fmt.Errorf("%s: %w", wl.name, err)
		}
		r.measured = append(r.measured, m)
	}
	if cfg.chosen("idle sessions") {
		if r.idle, err = w.measureIdle(ctx); err != nil {
			return "", fmt.Errorf("idle sessions: %w", err)
		}
	}
	if cfg.chosen("revocation") {
		if r.revoked, err = w.measureRevocations(ctx); err != nil {
			return "", fmt.Errorf("revocation: %w", err)
		}
	}
	r.took = time.Since(began)
	return r.text(), nil
}

// chosen says whether BENCH_ONLY lets a name in.
func (cfg *settings) chosen(name string) bool { return cfg.only == nil || cfg.only.MatchString(name) }

func configure() (settings, error) {
	cfg := settings{binary: os.Getenv("POSTERN_BIN"), peers: os.Getenv("BENCH_PEERS") == "1", commit: commit()}
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
		{"BENCH_RECORDING", &cfg.recording, 1000, 100},
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
	cfg.recording *= 1_000_000
	switch cfg.growth = os.Getenv("BENCH_GROWTH"); cfg.growth {
	case "0":
		cfg.growth = ""
	case "", "1", growthOnly:
	default:
		return cfg, fmt.Errorf("BENCH_GROWTH=%s: not 0, 1 or %s", cfg.growth, growthOnly)
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
