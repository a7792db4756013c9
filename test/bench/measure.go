package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// workload is one row of the report for each way.
type workload struct {
	name  string
	unit  string // of a rate
	per   string // what the processor time is divided by
	load  load
	ways  []way // the first is direct
	added bool  // the added latency is reported
}

// way is a target, and what is hoped of it. The zero goals are none.
type way struct {
	target
	load  load    // nil: the workload's
	ratio float64 // of direct, at least
	cpu   time.Duration
	added time.Duration // of p50, at most
}

// workloads are what is measured. The goals are those for a quiet machine of
// two cores.
func workloads(w *world) []workload {
	clerk := func(tls bool) target { return w.gateway.through("clerk", "orders-db", tls) }
	people := func(tls bool) target { return w.gateway.through("clerk", "people-db", tls) }
	named := func(t target, what string) target {
		t.way += ", " + what
		return t
	}
	ways := func(peers bool, through ...way) []way {
		all := append([]way{{target: w.direct()}}, through...)
		if peers {
			for _, p := range w.peers {
				all = append(all, way{target: p.target})
			}
		}
		return all
	}
	const us = time.Microsecond
	point := []string{"-S", "-j", "1"}
	rows, copied := read("SELECT * FROM people"), read("COPY people TO STDOUT")
	return []workload{
		{
			name: "SELECT 1, 1 client, simple", unit: "queries/s", per: "query", added: true, load: pgbench("SELECT 1;\n", "-c", "1"),
			ways: ways(true, way{target: clerk(false), added: 45 * us}, way{target: clerk(true)}),
		},
		{
			name: "SELECT 1, 1 client, prepared", unit: "queries/s", per: "query", added: true, load: pgbench("SELECT 1;\n", "-c", "1", "-M", "prepared"),
			ways: ways(true, way{target: clerk(false)}, way{target: clerk(true)}),
		},
		{
			name: "pgbench -S, 1 client, simple", unit: "queries/s", per: "query", added: true, load: pgbench("", append(point, "-c", "1")...),
			ways: ways(true, way{target: clerk(false), ratio: .50, added: 45 * us}, way{target: clerk(true), ratio: .38}),
		},
		{
			name: "pgbench -S, 16 clients, simple", unit: "queries/s", per: "query", load: pgbench("", append(point, "-c", "16")...),
			ways: ways(true, way{target: clerk(false), ratio: .65, cpu: 25 * us}, way{target: clerk(true), ratio: .55, cpu: 36 * us}),
		},
		{
			name: "pgbench -S, 16 clients, prepared", unit: "queries/s", per: "query", load: pgbench("", append(point, "-c", "16", "-M", "prepared")...),
			ways: ways(true, way{target: clerk(false), ratio: .68}, way{target: clerk(true), ratio: .57}),
		},
		{
			name: fmt.Sprintf("%s rows of 8 columns, SELECT", thousands(w.cfg.rows)), unit: "rows/s", per: "MB", load: rows,
			ways: ways(true,
				way{target: named(w.gateway.through("keeper", "orders-db", false), "no mask")},
				way{target: named(people(false), "one column masked"), ratio: .95, cpu: 1800 * us},
				way{target: named(people(true), "one column masked"), ratio: .80, cpu: 3500 * us},
				way{target: named(clerk(false), "every detector on every cell"), ratio: .50}),
		},
		{
			name: fmt.Sprintf("%s rows of 8 columns, COPY out", thousands(w.cfg.rows)), unit: "rows/s", per: "MB", load: copied,
			ways: ways(true,
				way{target: named(people(false), "one column masked"), ratio: .90},
				way{target: named(people(true), "one column masked")}),
		},
		{
			name: "connect, one query, disconnect (-C)", unit: "connections/s", per: "connection", load: pgbench("SELECT 1;\n", "-c", "1", "-C"),
			ways: ways(true, way{target: clerk(false), ratio: .90, cpu: 1200 * us}, way{target: clerk(true), ratio: .70, cpu: 2000 * us}),
		},
	}
}

// measured is a workload with its samples: by way, then by round.
type measured struct {
	workload
	samples [][]sample
}

// measure runs the ways in turn, round after round.
func (w *world) measure(ctx context.Context, wl workload) (measured, error) {
	m := measured{workload: wl, samples: make([][]sample, len(wl.ways))}
	for round := range w.cfg.rounds {
		progress("%s: round %d of %d", wl.name, round+1, w.cfg.rounds)
		for i, to := range wl.ways {
			s, err := w.once(ctx, wl, to)
			if err != nil {
				return m, err
			}
			m.samples[i] = append(m.samples[i], s)
		}
	}
	return m, nil
}

func (w *world) once(ctx context.Context, wl workload, to way) (sample, error) {
	do := wl.load
	if to.load != nil {
		do = to.load
	}
	var before time.Duration
	var err error
	if to.pid != 0 {
		if before, err = cpu(to.pid); err != nil {
			return sample{}, err
		}
	}
	s, err := do(ctx, w, to.target)
	if err != nil || to.pid == 0 {
		return s, err
	}
	after, err := cpu(to.pid)
	s.cpu = after - before
	return s, err
}

// median of what f says of each round of a way.
func (m *measured) median(i int, f func(s, direct sample) float64) float64 {
	var all []float64
	for round, s := range m.samples[i] {
		all = append(all, f(s, m.samples[0][round]))
	}
	return median(all)
}

func median(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	if n == 0 {
		return 0
	}
	return (all[(n-1)/2] + all[n/2]) / 2
}

// idle is what sessions that do nothing hold.
type idle struct {
	target
	perSession float64 // bytes
	goal       float64
	sessions   int
}

// measureIdle opens sessions, each of which has run one query, and looks at
// how much more memory is resident. Each way has a gateway of its own.
func (w *world) measureIdle(ctx context.Context) ([]idle, error) {
	var all []idle
	for _, tls := range []bool{false, true} {
		progress("%d idle sessions, TLS %t", w.cfg.sessions, tls)
		g, err := w.startGateway(ctx, plan{})
		if err != nil {
			return nil, err
		}
		one := idle{target: g.through("clerk", "orders-db", tls), goal: 8 << 10, sessions: w.cfg.sessions}
		if tls {
			one.goal = 28 << 10
		}
		one.perSession, err = w.hold(ctx, one.target)
		if stopErr := g.stop(); err == nil {
			err = stopErr
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	for _, p := range w.peers {
		held, err := w.hold(ctx, p.target)
		if err != nil {
			return nil, err
		}
		all = append(all, idle{target: p.target, perSession: held, sessions: w.cfg.sessions})
	}
	return all, nil
}

// hold opens sessions over a target, and returns what each of them holds in
// the process in between.
func (w *world) hold(ctx context.Context, t target) (float64, error) {
	var conns []*pgconn.PgConn
	closeAll := func() {
		for _, c := range conns {
			_ = c.Close(context.WithoutCancel(ctx)) // they have served
		}
		conns = nil
	}
	defer closeAll()
	open := func(n int) error {
		for range n {
			c, err := t.connect(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", t.way, err)
			}
			conns = append(conns, c)
			if _, err := c.Exec(ctx, "SELECT abalance FROM pgbench_accounts WHERE aid = 1").ReadAll(); err != nil {
				return fmt.Errorf("%s: %w", t.way, err)
			}
		}
		return nil
	}
	// What the first sessions bring with them, none of the others does.
	if err := open(10); err != nil {
		return 0, err
	}
	before, err := settled(ctx, t.pid)
	if err != nil {
		return 0, err
	}
	if err := open(w.cfg.sessions); err != nil {
		return 0, err
	}
	after, err := settled(ctx, t.pid)
	return float64(after-before) / float64(w.cfg.sessions), err
}

// settled waits until a process's memory has stopped to change, twenty seconds
// at most, and returns it.
func settled(ctx context.Context, pid int) (int64, error) {
	last, err := resident(pid)
	if err != nil {
		return 0, err
	}
	for still, n := 0, 0; still < 4 && n < 20; n++ {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		now, err := resident(pid)
		if err != nil {
			return 0, err
		}
		if change := now - last; change > last/200 || change < -last/200 {
			still = 0
		} else {
			still++
		}
		last = now
	}
	return last, nil
}
