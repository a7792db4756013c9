package postgres

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern/test/pgcluster"
)

// acceptanceFolder holds attacks that were seen to work against a bare server.
const acceptanceFolder = "../../../../shared/acceptance"

// acceptanceFiles is where the attacks expect the server's files.
const acceptanceFiles = "/tmp/postern-accept"

// attack is a row of any of the files.
type attack struct {
	ID       string
	Setup    string `json:"setup_sql"`
	SQL      string `json:"attack_sql"`
	Control  string `json:"sql"`
	Expected string `json:"expect_text"`
	Attack   string
	Policy   string
	Expect   string
	Check    string
	Effect   string
	Needle   string
	Form     string
	Role     string
	Protocol string
	Behind   string `json:"bg_sql"`
	Hard     bool
}

// attacks reads a file of them.
func attacks(t *testing.T, file string) []attack {
	t.Helper()
	f, err := os.Open(filepath.Join(acceptanceFolder, file))
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: the acceptance data is not on this machine: ", err)
	}
	defer func() { _ = f.Close() }()
	var all []attack
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a attack
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatal(file, err, len(all))
	}
	return all
}

// seeded makes the database that others are copied from.
var seeded sync.Once

// arena is a database with the attacks' tables, for one attack.
func arena(t *testing.T) string {
	t.Helper()
	c := cluster.Get(t)
	seeded.Do(func() {
		seed, err := os.ReadFile(filepath.Join(acceptanceFolder, "seed-pg.sql"))
		if err != nil {
			t.Fatal(err)
		}
		c.Exec(t, "postgres", "create database seed")
		c.Exec(t, "seed", string(seed))
		c.Exec(t, "postgres", "alter role app password 'app'; alter role owner password 'owner'")
		if err := os.MkdirAll(acceptanceFiles, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			os.Chmod(acceptanceFiles, 0o777), os.WriteFile(filepath.Join(acceptanceFiles, "canary.txt"), []byte("CANARY-7f3a\n"), 0o666),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	return databaseLike(t, "seed")
}

// tapped is a connection that remembers what came in.
type tapped struct {
	net.Conn
	mu  sync.Mutex
	raw bytes.Buffer
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(p[:n])
	return n, err
}

// seen is what a client saw.
type seen struct {
	raw    []byte
	rows   []string
	data   string // of COPY
	tags   []string
	errors []string
}

// refused says whether the gateway refused something.
func (s seen) refused() bool {
	for _, e := range s.errors {
		if strings.Contains(e, "postern:") {
			return true
		}
	}
	return false
}

// carry runs the messages of an attack through the gateway.
func (o *office) carry(a attack, text string) seen {
	o.t.Helper()
	config, err := pgconn.ParseConfig("host=" + o.door.host + " port=" + o.door.port + " " + conninfo)
	if err != nil {
		o.t.Fatal(err)
	}
	var tap *tapped
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		tap = &tapped{Conn: conn}
		return tap, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		o.t.Fatal(err)
	}
	w := newWire(o.t, conn)
	tap.mu.Lock()
	tap.raw.Reset()
	tap.mu.Unlock()
	var s seen
	for message := range strings.SplitSeq(text, "\n--;;\n") {
		switch {
		case strings.HasPrefix(message, `\fastpath `):
			s.take(w, o.fastpath(strings.Fields(message)[1:]))
		case strings.HasPrefix(a.Protocol, "extended"):
			b := &pgproto3.Bind{}
			if a.Protocol == "extended-binary" {
				b.ResultFormatCodes = []int16{1}
			}
			msgs := join(parse("", message), b, &pgproto3.Describe{ObjectType: 'P'}, execute(""), syn())
			switch a.Protocol {
			case "extended-nodescribe":
				msgs = join(parse("", message), b, execute(""), syn())
			case "extended-portal1":
				msgs = join(parse("", message), b, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{MaxRows: 1}, execute(""), syn())
			}
			s.take(w, msgs...)
		default:
			s.take(w, q(message))
		}
	}
	_ = w.conn.Close()
	tap.mu.Lock()
	defer tap.mu.Unlock()
	s.raw = bytes.Clone(tap.raw.Bytes())
	return s
}

// setUp does what an administrator did before an attack. The data calls the
// database m or g.
func (o *office) setUp(a attack) {
	o.t.Helper()
	if a.Setup == "" {
		return
	}
	name := strings.NewReplacer("DATABASE m ", "DATABASE "+o.database()+" ", "DATABASE g ", "DATABASE "+o.database()+" ")
	o.cluster.Exec(o.t, o.database(), name.Replace(a.Setup))
}

// fastpath makes a FunctionCall of a function's name and arguments.
func (o *office) fastpath(words []string) pgproto3.FrontendMessage {
	o.t.Helper()
	rows := o.cluster.Exec(o.t, o.database(), fmt.Sprintf("select oid from pg_proc where proname = '%s' and pronargs = %d", words[0], len(words)-1))
	call := &pgproto3.FunctionCall{Function: oid(rows[0][0])}
	for _, arg := range words[1:] {
		call.Arguments = append(call.Arguments, []byte(arg))
	}
	return call
}

// take sends messages and reads until the server is ready, or gone.
func (s *seen) take(w *wire, msgs ...pgproto3.FrontendMessage) {
	w.t.Helper()
	w.send(msgs...)
	for {
		msg, err := w.f.Receive()
		if err != nil {
			s.errors = append(s.errors, err.Error())
			return
		}
		switch m := msg.(type) {
		case *pgproto3.DataRow:
			values := make([]string, len(m.Values))
			for i, v := range m.Values {
				values[i] = string(v)
			}
			s.rows = append(s.rows, strings.Join(values, "|"))
		case *pgproto3.CopyData:
			s.data += string(m.Data)
		case *pgproto3.CopyInResponse:
			w.send(&pgproto3.CopyDone{})
		case *pgproto3.CommandComplete:
			s.tags = append(s.tags, string(m.CommandTag))
		case *pgproto3.ErrorResponse:
			s.errors = append(s.errors, m.Message)
		case *pgproto3.ReadyForQuery:
			return
		}
	}
}

// found says whether what an attack was after reached the client.
func (s seen) found(a attack) bool {
	kind, rest, _ := strings.Cut(a.Needle, ":")
	switch kind {
	case "row":
		for _, row := range s.rows {
			if row == rest {
				return true
			}
		}
		return false
	case "rows":
		var last []string
		for _, row := range s.rows {
			last = append(last, row[strings.LastIndexByte(row, '|')+1:])
		}
		return strings.Join(last, ",") == rest
	case "regex":
		return regexp.MustCompile(rest).MatchString(strings.Join(s.rows, "\n"))
	case "affected":
		for _, tag := range s.tags {
			if fmt.Sprint(tagCount(tag)) == rest {
				return true
			}
		}
		return false
	}
	needle := []byte(a.Needle)
	if a.Form == "binary" {
		if b, err := hex.DecodeString(a.Needle); err == nil {
			needle = b
		}
	}
	return bytes.Contains(s.raw, needle)
}

const acceptanceMasks = `
kind: Mask
name: customer-pii
columns: ["public.customers.email", "public.customers.card_number", "public.customers.ssn", "public.customers.phone"]
detect: [email, credit_card, iban, ssn, phone]
with: redact
`

// tally counts, by group, how many of how many held, and which didn't.
type tally struct {
	held, all map[string]int
	broken    []string
}

func newTally() *tally { return &tally{held: map[string]int{}, all: map[string]int{}} }

func (y *tally) count(group, id string, held bool) {
	y.all[group]++
	if held {
		y.held[group]++
	} else {
		y.broken = append(y.broken, id)
	}
}

func (y *tally) String() string {
	var parts []string
	held, all := 0, 0
	for group, n := range y.all {
		parts = append(parts, fmt.Sprintf("%s %d/%d", group, y.held[group], n))
		held, all = held+y.held[group], all+n
	}
	return fmt.Sprintf("%d of %d held: %s; not: %s", held, all, strings.Join(parts, ", "), strings.Join(y.broken, " "))
}

// readOnly finds texts that leave no trace.
var readOnly = regexp.MustCompile(`(?is)^\s*(select|values|table)\b[^;]*;?\s*$`)

// arenas lends out offices in front of arenas, for one role and one set of
// rules each, as long as nothing has changed in them.
type arenas map[string]*office

func (l arenas) borrow(parent, t *testing.T, role, rules string) *office {
	o := l[role+rules]
	if o == nil {
		o = newOffice(parent, arena(parent), role, rules)
	}
	delete(l, role+rules)
	o.t = t
	return o
}

func (l arenas) giveBack(o *office, role, rules string) { l[role+rules] = o }

func TestAcceptanceMaskingEvasion(t *testing.T) {
	parent := t
	y, lent := newTally(), arenas{}
	for _, a := range attacks(t, "masking-evasion-pg.jsonl") {
		t.Run(a.ID, func(t *testing.T) {
			o := lent.borrow(parent, t, a.Role, acceptanceMasks)
			o.setUp(a)
			if a.Behind != "" {
				behind := dial(t, fmt.Sprintf("host=%s port=%s user=app password=app dbname=%s", hostOf(o.cluster.Addr), portOf(o.cluster.Addr), o.database()))
				if _, err := behind.Exec(t.Context(), a.Behind).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			s := o.carry(a, a.SQL)
			y.count(a.Form, a.ID, !s.found(a))
			if a.Setup == "" && a.Behind == "" && readOnly.MatchString(a.SQL) {
				lent.giveBack(o, a.Role, acceptanceMasks)
			}
		})
	}
	t.Log(y)
	if held := sum(y.held); held < heldMasking {
		t.Errorf("%d attacks were held off, once it were %d", held, heldMasking)
	}
}

func TestAcceptanceMaskingControl(t *testing.T) {
	y := newTally()
	o := newOffice(t, arena(t), "app", acceptanceMasks)
	for _, a := range attacks(t, "masking-control-pg.jsonl") {
		t.Run(a.ID, func(t *testing.T) {
			s := o.carry(a, a.Control)
			got := strings.Join(s.rows, "\n") + strings.TrimSuffix(s.data, "\n")
			y.count("control", a.ID, got == a.Expected && len(s.errors) == 0)
		})
	}
	t.Log(y)
	if held := sum(y.held); held < heldControl {
		t.Errorf("%d queries passed unchanged, once it were %d", held, heldControl)
	}
}

func TestAcceptanceGuardrails(t *testing.T) {
	parent := t
	y, lent := newTally(), arenas{}
	for _, a := range attacks(t, "guardrail-evasion-pg.jsonl") {
		t.Run(a.ID, func(t *testing.T) {
			rules := fmt.Sprintf("kind: Rule\nname: guard\nuse: %s\nthen: deny\nmessage: Not here.\n", a.Policy)
			o := lent.borrow(parent, t, a.Role, rules)
			o.setUp(a)
			file, isFile := strings.CutPrefix(a.Check, "file:")
			if isFile {
				_ = os.Remove(file)
			}
			before := o.fingerprint(a)
			s := o.carry(a, a.Attack)
			group := a.Policy + " " + a.Expect
			if a.Hard {
				group = "hard"
			}
			if a.Expect == "allow" {
				y.count(group, a.ID, !s.refused())
				return
			}
			held := s.refused()
			switch check, _, _ := strings.Cut(a.Check, ":"); check {
			case "file":
				_, err := os.Stat(file)
				held = held && os.IsNotExist(err)
			case "canary":
				held = held && !bytes.Contains(s.raw, []byte("CANARY-7f3a"))
			case "sql":
				held = held && o.cluster.Exec(t, o.database(), strings.TrimPrefix(a.Check, "sql:"))[0][0] == "f"
			default:
				held = held && o.fingerprint(a) == before
				if held && a.Setup == "" && a.Effect != "table gone" {
					lent.giveBack(o, a.Role, rules)
				}
			}
			y.count(group, a.ID, held)
		})
	}
	t.Log(y)
	if held := sum(y.held); held < heldGuardrails {
		t.Errorf("%d rows held, once it were %d", held, heldGuardrails)
	}
}

// What was measured when these numbers were last set. They only grow.
const (
	heldMasking    = 108
	heldControl    = 26
	heldGuardrails = 134
)

func sum(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func hostOf(addr string) string { host, _, _ := net.SplitHostPort(addr); return host }
func portOf(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }

// fingerprint is what a database holds, as far as an attack is to change it.
func (o *office) fingerprint(a attack) string {
	o.t.Helper()
	if a.Effect == "table gone" {
		return o.cluster.Exec(o.t, o.database(), "select string_agg(oid::text, ' ' order by oid) from pg_class where relkind = 'r' and oid >= 16384")[0][0]
	}
	return fingerprintOf(o.t, o.cluster, o.database())
}

func fingerprintOf(t testing.TB, c *pgcluster.Cluster, database string) string {
	t.Helper()
	const catalog = `select md5(string_agg(x, '|' order by x)) from (
select concat_ws(' ', 'class', relnamespace, relname, relkind, relowner, relrowsecurity, relacl) x from pg_class where oid >= 16384
union all select concat_ws(' ', 'attribute', attrelid, attname, atttypid, attnotnull, attacl) from pg_attribute where attrelid >= 16384
union all select concat_ws(' ', 'proc', proname, prosrc, proacl) from pg_proc where oid >= 16384
union all select concat_ws(' ', 'type', typname) from pg_type where oid >= 16384
union all select concat_ws(' ', 'namespace', nspname, nspacl) from pg_namespace where nspname !~ '^pg_(toast_)?temp_'
union all select concat_ws(' ', 'trigger', tgname, tgenabled) from pg_trigger
union all select concat_ws(' ', 'rule', rulename, ev_class) from pg_rewrite where oid >= 16384
union all select concat_ws(' ', 'policy', polname) from pg_policy
union all select concat_ws(' ', 'constraint', conname) from pg_constraint where oid >= 16384
union all select concat_ws(' ', 'description', description) from pg_description where objoid >= 16384
union all select concat_ws(' ', 'large object', oid) from pg_largeobject_metadata
union all select concat_ws(' ', 'page', loid, pageno, md5(data)) from pg_largeobject
union all select concat_ws(' ', 'sequence', sequencename, last_value) from pg_sequences
union all select concat_ws(' ', 'extension', extname) from pg_extension
union all select concat_ws(' ', 'server', srvname) from pg_foreign_server
union all select concat_ws(' ', 'role', rolname, rolsuper, rolcreatedb) from pg_roles
union all select concat_ws(' ', 'setting', setdatabase, setrole, setconfig) from pg_db_role_setting
union all select concat_ws(' ', 'enum', enumlabel) from pg_enum
union all select concat_ws(' ', 'publication', pubname) from pg_publication
union all select concat_ws(' ', 'event', evtname) from pg_event_trigger) y`
	parts := []string{c.Exec(t, database, catalog)[0][0]}
	for _, row := range c.Exec(t, database, "select quote_ident(nspname) || '.' || quote_ident(relname) from pg_class c join pg_namespace n on n.oid = relnamespace where relkind = 'r' and c.oid >= 16384 and nspname !~ '^pg_' order by 1") {
		digest := c.Exec(t, database, "select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from "+row[0]+" t")
		parts = append(parts, row[0], digest[0][0])
	}
	return strings.Join(parts, " ")
}
