package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// growSessions opens more and more sessions that idle, and has sixteen others
// work meanwhile.
func growSessions(ctx context.Context, w *world) (_ *table, err error) {
	g, err := w.startGateway(ctx, plan{})
	if err != nil {
		return nil, err
	}
	defer func() { err = stopped(g, err) }()
	t := &table{
		title: "Sessions that are open",
		about: "Sixteen clients run `pgbench -S`, directly and through the gateway in turn, while sessions idle in the gateway, each of which has\n" +
			"run one query. Both find the server with as many connections. Memory is what the gateway's resident set grew by, once it had\n" +
			"stopped to change; of fewer than a hundred sessions it says nothing.",
		head: []string{"#sessions", "#direct", "#gateway, of direct", "#CPU a query", "#grows as", "#CPU to open one", "#grows as", "#resident", "#of each session"},
	}
	to := g.through("clerk", "orders-db", false)
	// A number of them, and not a time: connecting takes long on a busy machine.
	wl := workload{name: "pgbench -S beside idle sessions", load: pgbench("", "-S", "-j", "1", "-c", "16", "-t", "600"), ways: []way{{target: w.direct()}, {target: to}}}
	if _, err := w.once(ctx, wl, wl.ways[1]); err != nil {
		return nil, err
	}
	before, err := settled(ctx, to.pid)
	if err != nil {
		return nil, err
	}
	var conns []*pgconn.PgConn
	defer func() {
		for _, c := range conns {
			_ = c.Close(context.WithoutCancel(ctx)) // they have served
		}
	}()
	var last struct{ n, query, open float64 }
	for _, n := range []int{1, 10, 100, 500, 1000, mostSessions} {
		progress("%d sessions", n)
		began, err := cpu(to.pid)
		if err != nil {
			return nil, err
		}
		more := n - len(conns)
		for range more {
			c, err := to.connect(ctx)
			if err != nil {
				return nil, err
			}
			conns = append(conns, c)
			if _, err := c.Exec(ctx, "SELECT abalance FROM pgbench_accounts WHERE aid = 1").ReadAll(); err != nil {
				return nil, err
			}
		}
		opened, err := cpu(to.pid)
		if err != nil {
			return nil, err
		}
		look := settled
		if n < 100 {
			look = func(_ context.Context, pid int) (int64, error) { return resident(pid) }
		}
		rss, err := look(ctx, to.pid)
		if err != nil {
			return nil, err
		}
		m, err := w.measure(ctx, wl)
		if err != nil {
			return nil, err
		}
		query := m.median(1, func(s, _ sample) float64 { return float64(s.cpu.Microseconds()) / s.work })
		open, openText, openGrows, each := 0.0, "", "", ""
		if more >= 90 { // the kernel counts processor time in ticks of 10 ms
			open = float64((opened - began).Microseconds()) / float64(more)
			openText, openGrows = microseconds(open), t.grows("CPU to open a session", last.n, last.open, float64(n), open)
		}
		if n >= 100 {
			each = kib(float64(rss-before) / float64(n))
		}
		t.row(thousands(n), thousands(int(m.median(0, func(s, _ sample) float64 { return s.rate })))+" queries/s",
			fmt.Sprintf("%.2f", m.median(1, func(s, direct sample) float64 { return s.rate / direct.rate })),
			microseconds(query), t.grows("CPU a query beside idle sessions", last.n, last.query, float64(n), query), openText, openGrows, mib(rss), each)
		last.n, last.query, last.open = float64(n), query, open
	}
	return t, nil
}

// stopped stops a gateway; an error of before counts first.
func stopped(g *gateway, before error) error {
	if err := g.stop(); before == nil {
		return err
	}
	return before
}

// rules are n rules over a resource, none of which is about any query that the
// bench runs: all of them have to be looked at. With texts, every tenth reads the
// text of the command.
func rules(resource string, n int, texts bool) string {
	shipped := []string{"no-drop-table", "no-delete-without-where", "no-truncate", "no-ddl", "no-copy-program", "no-file-read", "no-secrets-read", "read-only"}
	var b strings.Builder
	for i := range n {
		var how string
		switch {
		case texts && i%10 == 0:
			how = fmt.Sprintf("when: 'command.text.contains(\"ticket-%d:\")'", i)
		case i%4 == 0:
			how = "use: " + shipped[i/4%len(shipped)]
		case i%4 == 1:
			how = fmt.Sprintf("when: 'command.verb in [\"delete\", \"update\"] && !command.has_where && resource.labels.env == \"growth-%d\"'", i)
		case i%4 == 2:
			how = fmt.Sprintf("when: 'command.objects.exists(o, o.name == \"public.ledger_%d\" && o.write)'", i)
		default:
			how = fmt.Sprintf("when: '\"function_%d\" in command.functions && identity.kind == \"user\"'", i)
		}
		fmt.Fprintf(&b, "---\nkind: Rule\nname: %s-%d\non: {names: [%s]}\n%s\nthen: deny\n", resource, i, resource, how)
	}
	return b.String()
}

// growRules has one resource for each number of rules: all of them share a
// gateway, and take turns.
func growRules(ctx context.Context, w *world) (_ *table, err error) {
	sizes := []int{1, 10, 100, 500}
	p := plan{objects: []string{growingAccess}}
	kinds := []string{"facts", "texts"}
	name := func(kind string, n int) string { return fmt.Sprintf("rules-%s-%d", kind, n) }
	for _, kind := range kinds {
		for _, n := range sizes {
			p.objects = append(p.objects, w.resource(name(kind, n), database, growing)+rules(name(kind, n), n, kind == "texts"))
		}
	}
	g, err := w.startGateway(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = stopped(g, err) }()
	wl := workload{name: "pgbench -S under rules", load: pgbench("", "-S", "-j", "1", "-c", "4"), ways: []way{{target: w.direct()}}}
	for _, kind := range kinds {
		for _, n := range sizes {
			if err := g.admit(ctx, "keeper", name(kind, n)); err != nil {
				return nil, err
			}
			wl.ways = append(wl.ways, way{target: g.through("keeper", name(kind, n), false)})
		}
	}
	m, err := w.measure(ctx, wl)
	if err != nil {
		return nil, err
	}
	t := &table{
		title: "Rules that bind",
		about: "Four clients run `pgbench -S` as an identity that so many rules bind: every fourth a shipped one, the others conditions. None is\n" +
			"about the query, so all of them are looked at. \"Reading texts\": every tenth, and the first, has a condition over the command's text,\n" +
			"so that no decision holds for the next query.",
		head: []string{"rules", "#how many", "#gateway, of direct", "#CPU a query", "#grows as", "#each rule adds"},
	}
	for k, kind := range []string{"over facts", "reading texts"} {
		var first, last float64
		for i, n := range sizes {
			at := 1 + k*len(sizes) + i
			used := m.median(at, func(s, _ sample) float64 { return float64(s.cpu.Microseconds()) / s.work })
			grows, adds := "", ""
			if i == 0 {
				first = used
			} else {
				grows = t.grows("CPU a query under rules "+kind, float64(sizes[i-1]), last, float64(n), used)
				adds = fmt.Sprintf("%.2f µs", (used-first)/float64(n-1))
			}
			t.row(kind, thousands(n), fmt.Sprintf("%.2f", m.median(at, func(s, direct sample) float64 { return s.rate / direct.rate })), microseconds(used), grows, adds)
			last = used
		}
	}
	return t, nil
}

// growTables has a database for each number of tables, and a gateway: each is
// to read a catalog that it hasn't seen.
func growTables(ctx context.Context, w *world) (*table, error) {
	t := &table{
		title: "Tables in the catalog",
		about: "A database of so many tables, of eight columns and a primary key each. A session's first command waits for the catalog: its time is from\n" +
			"the connection to the answer. The gateway's memory is before and after that, and at most. Then four clients run\n" +
			"`SELECT * FROM t1 WHERE id = …`, directly and through the gateway in turn.",
		head: []string{"#tables", "#first answer, direct", "#gateway", "#grows as", "#CPU of it", "#grows as", "#memory before", "#after", "#at most", "#gateway, of direct", "#CPU a query after", "#grows as"},
	}
	var last tabled
	for _, n := range []int{1, 100, 1000, 10_000} {
		progress("%d tables", n)
		if err := w.createTables(ctx, n); err != nil {
			return nil, err
		}
		now, err := w.measureTables(ctx, n)
		if err != nil {
			return nil, err
		}
		from, to := float64(last.n), float64(n)
		t.row(thousands(n), milliseconds(now.direct), milliseconds(now.first), t.grows("the first answer, with tables", from, float64(last.first), to, float64(now.first)),
			milliseconds(now.used), t.grows("CPU of the first answer, with tables", from, float64(last.used), to, float64(now.used)),
			mib(now.before), mib(now.after), mib(now.most), fmt.Sprintf("%.2f", now.ratio), microseconds(now.query),
			t.grows("CPU a query, with tables", from, last.query, to, now.query))
		last = now
	}
	return t, nil
}

// tabled is one point of the curve of tables.
type tabled struct {
	n                   int
	direct, first, used time.Duration
	before, after, most int64
	ratio, query        float64
}

func tablesDatabase(n int) string { return fmt.Sprintf("tables_%d", n) }

// createTables makes a database with so many tables, some hundred in each transaction.
func (w *world) createTables(ctx context.Context, n int) error {
	if err := w.exec(ctx, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER %s", tablesDatabase(n), role)); err != nil {
		return err
	}
	statements := []string{"SET ROLE " + role}
	const batch = 500
	for from := 1; from <= n; from += batch {
		statements = append(statements, fmt.Sprintf(`DO $$ BEGIN FOR i IN %d..%d LOOP
			EXECUTE 'CREATE TABLE t' || i || ' (id bigint PRIMARY KEY, name text, email text, phone text, city text, amount numeric, joined timestamptz, note text)';
			END LOOP; END $$`, from, min(from+batch-1, n)))
	}
	return w.exec(ctx, tablesDatabase(n), append(statements, "INSERT INTO t1 SELECT n, 'Person ' || n FROM generate_series(1, 1000) n", "RESET ROLE", "VACUUM ANALYZE")...)
}

func (w *world) measureTables(ctx context.Context, n int) (now tabled, err error) {
	now.n = n
	p := plan{objects: []string{growingAccess}}
	var names []string
	for round := range w.cfg.rounds {
		names = append(names, fmt.Sprintf("tables-%d", round))
		p.objects = append(p.objects, w.resource(names[round], tablesDatabase(n), growing))
	}
	g, err := w.startGateway(ctx, p)
	if err != nil {
		return now, err
	}
	defer func() { err = stopped(g, err) }()
	direct := w.direct()
	direct.database = tablesDatabase(n)
	var directly, first, used []time.Duration
	for round, name := range names {
		if err := g.admit(ctx, "keeper", name); err != nil {
			return now, err
		}
		to := g.through("keeper", name, false)
		if round == 0 { // the memory of one catalog, and not of all
			if err := still(ctx, to.pid); err != nil {
				return now, err
			}
			if now.before, err = resident(to.pid); err != nil {
				return now, err
			}
			if err := resetPeak(to.pid); err != nil {
				return now, err
			}
		}
		took, _, err := firstAnswer(ctx, direct)
		if err != nil {
			return now, err
		}
		directly = append(directly, took)
		took, spent, err := firstAnswer(ctx, to)
		if err != nil {
			return now, err
		}
		first, used = append(first, took), append(used, spent)
		if round == 0 {
			if now.most, err = peak(to.pid); err != nil {
				return now, err
			}
			if err := still(ctx, to.pid); err != nil {
				return now, err
			}
			if now.after, err = resident(to.pid); err != nil {
				return now, err
			}
		}
	}
	now.direct, now.first, now.used = medianTime(directly), medianTime(first), medianTime(used)
	wl := workload{
		name: fmt.Sprintf("a query beside %d tables", n), load: pgbench("\\set id random(1, 1000)\nSELECT * FROM t1 WHERE id = :id;\n", "-j", "1", "-c", "4"),
		ways: []way{{target: direct}, {target: g.through("keeper", names[0], false)}},
	}
	m, err := w.measure(ctx, wl)
	now.ratio = m.median(1, func(s, direct sample) float64 { return s.rate / direct.rate })
	now.query = m.median(1, func(s, _ sample) float64 { return float64(s.cpu.Microseconds()) / s.work })
	return now, err
}

// firstAnswer connects, runs one query, and says how long it took until the
// answer was there, and what the process in between used.
func firstAnswer(ctx context.Context, t target) (took, used time.Duration, err error) {
	var before time.Duration
	if t.pid != 0 {
		if before, err = cpu(t.pid); err != nil {
			return 0, 0, err
		}
	}
	began := time.Now()
	conn, err := t.connect(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", t.way, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SELECT * FROM t1 WHERE id = 1").ReadAll(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", t.way, err)
	}
	took = time.Since(began)
	if t.pid != 0 {
		after, err := cpu(t.pid)
		return took, after - before, err
	}
	return took, 0, nil
}

// growRows fetches one row, again and again.
func growRows(ctx context.Context, w *world) (_ *table, err error) {
	sizes := []int{10, 1000, 100_000, 1_000_000, 10_000_000}
	if err := w.exec(ctx, database, "SET ROLE "+role, "CREATE UNLOGGED TABLE sized (bytes bigint PRIMARY KEY, email text, body text)",
		"ALTER TABLE sized ALTER body SET STORAGE EXTERNAL"); err != nil {
		return nil, err
	}
	for _, n := range sizes {
		if err := w.exec(ctx, database, fmt.Sprintf("INSERT INTO sized SELECT %d, 'ann@example.com', "+
			"left(repeat('It rains. A letter went from Gdynia to ann@example.com, about order 4711. ', %d), %d)", n, n/70+1, n)); err != nil {
			return nil, err
		}
	}
	masked := "kind: Mask\nname: sized-body\non: {names: [rows-db]}\ncolumns: [\"public.sized.body\"]\nwith: partial\n"
	detected := "kind: Mask\nname: sized-detect\non: {names: [found-db]}\ndetect: [email, credit_card, iban, ssn, phone, secret]\nwith: partial\n"
	g, err := w.startGateway(ctx, plan{objects: []string{
		growingAccess, w.resource("whole-db", database, growing), w.resource("rows-db", database, growing), w.resource("found-db", database, growing), masked, detected,
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = stopped(g, err) }()
	ways := []way{{target: w.direct()}}
	for _, one := range [][2]string{{"whole-db", "no mask"}, {"rows-db", "the column masked"}, {"found-db", "every detector"}} {
		if err := g.admit(ctx, "keeper", one[0]); err != nil {
			return nil, err
		}
		to := g.through("keeper", one[0], false)
		to.way = one[1]
		ways = append(ways, way{target: to})
	}
	t := &table{
		title: "The size of a row",
		about: "One row, with a text of so many bytes, is fetched again and again by one client. With a mask, the gateway holds the row as a whole (64 MiB\n" +
			"at most; a larger one is refused); without one, it passes in pieces. Memory is the gateway's resident set at its peak,\n" +
			"in the round in which that was least: what another way needed isn't given back at once.",
		head: []string{"way", "#row", "#direct", "#gateway", "#added", "#CPU a row", "#grows as", "#CPU a MB", "#memory at most"},
	}
	rest, err := settled(ctx, g.process.pid())
	if err != nil {
		return nil, err
	}
	t.about += fmt.Sprintf(" At rest it is %s.", mib(rest))
	points := make([][]rowPoint, len(ways)) // by way, then by size
	for _, n := range sizes {
		wl := workload{name: size(n), load: again(fmt.Sprintf("SELECT email, body FROM sized WHERE bytes = %d", n)), ways: ways}
		at := make([]rowPoint, len(ways))
		for round := range w.cfg.rounds {
			progress("a row of %s: round %d of %d", wl.name, round+1, w.cfg.rounds)
			for i, to := range ways {
				if err := at[i].add(ctx, w, wl, to); err != nil {
					return nil, err
				}
			}
		}
		for i := range ways {
			points[i] = append(points[i], at[i])
		}
	}
	for i := 1; i < len(ways); i++ {
		last := 0.0
		for k, n := range sizes {
			p, direct := &points[i][k], &points[0][k]
			used, took, without := median(p.cpu), medianTime(p.took), medianTime(direct.took)
			grows, each := "", ""
			if k > 0 {
				grows = t.grows("CPU a row, "+ways[i].way, float64(sizes[k-1]), last, float64(n), used)
			}
			if n >= 100_000 {
				each = microseconds(used * 1e6 / float64(n))
			}
			t.row(ways[i].way, size(n), milliseconds(without), milliseconds(took), milliseconds(took-without), microseconds(used), grows, each, mib(p.most))
			last = used
		}
	}
	return t, nil
}

// rowPoint is what fetching one row through one way costs, round by round.
type rowPoint struct {
	took []time.Duration
	cpu  []float64 // µs a row
	most int64
}

func (p *rowPoint) add(ctx context.Context, w *world, wl workload, to way) error {
	if to.pid != 0 {
		if err := resetPeak(to.pid); err != nil {
			return err
		}
	}
	s, err := w.once(ctx, wl, to)
	if err != nil {
		return err
	}
	p.took = append(p.took, s.mean)
	p.cpu = append(p.cpu, float64(s.cpu.Microseconds())/s.work)
	if to.pid != 0 {
		most, err := peak(to.pid)
		if err != nil {
			return err
		}
		// What another way, or the same, left behind is not given back at once.
		if p.most == 0 || most < p.most {
			p.most = most
		}
	}
	return nil
}

// again runs a statement and reads its result, one after another, for half the
// time that the settings say.
func again(sql string) load {
	return func(ctx context.Context, w *world, t target) (sample, error) {
		conn, query, err := t.ready(ctx, sql)
		if err != nil {
			return sample{}, err
		}
		defer func() { _ = conn.Close() }()
		var s sample
		began := time.Now()
		for time.Since(began) < w.cfg.each/2 || s.work < 2 {
			if _, err := conn.Write(query); err != nil {
				return s, err
			}
			rows, _, err := drain(conn)
			if err != nil {
				return s, fmt.Errorf("%s: %w", t.way, err)
			}
			if rows != 1 {
				return s, fmt.Errorf("%s: %d rows came, not 1", t.way, rows)
			}
			s.work++
		}
		s.mean = time.Duration(float64(time.Since(began)) / s.work)
		return s, nil
	}
}
