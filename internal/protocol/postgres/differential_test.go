package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // a form in which a value may leave
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern/test/pgcluster"
)

// How long TestDifferential runs, and from which seed; `make differential`
// sets them. The seed is printed, and makes the same statements again.
const (
	differentialFor  = "POSTERN_DIFFERENTIAL"
	differentialSeed = "POSTERN_DIFFERENTIAL_SEED"
)

const differentialMasks = `
kind: Mask
name: customer-pii
except: ["group:privacy"]
columns: ["public.customers.email", "public.customers.card_number", "public.customers.ssn", "public.customers.phone"]
predicates: %s
with: %s
`

// differentialBatch is how many statements run over the same connections.
const differentialBatch = 300

// TestDifferential sends random statements through a masked session, in which
// no form of a secret may arrive, and through an unmasked one, which must say
// what the server says directly.
func TestDifferential(t *testing.T) {
	long := os.Getenv(differentialFor)
	limit, err := time.ParseDuration(cmp.Or(long, "8s"))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	if s := os.Getenv(differentialSeed); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/differential.sql")
	if err != nil {
		t.Fatal(err)
	}
	name := database(t)
	cluster.Get(t).Exec(t, name, string(text))
	needles := differentialNeedles(t, name)
	var n differentialCount
	end := time.Now().Add(limit)
	failures := 0
	for time.Now().Before(end) && failures < 20 {
		passed := t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			rules := fmt.Sprintf(differentialMasks, []string{"deny", "allow"}[seed%2], []string{"redact", "hash", "null"}[seed%3])
			d := newDifferential(t, name, rules, seed, needles)
			for range differentialBatch {
				if !time.Now().Before(end) {
					break
				}
				d.step(&n)
			}
		})
		if !passed {
			failures++
		}
		seed++
		if long != "" && n.statements%3000 < differentialBatch {
			fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), n)
		}
	}
	t.Log(n)
	if n.rows == 0 {
		t.Error("no masked session was given a row")
	}
}

// differentialCount says what was done.
type differentialCount struct {
	statements int // sequences of texts, each in three sessions
	rows       int // of them, those for which the masked session got data
	denied     int
	failed     int // of which the server itself makes an error
}

func (n differentialCount) String() string {
	return fmt.Sprintf("%d statements, of which %d gave data to the masked session, %d were denied to it, %d are errors", n.statements, n.rows, n.denied, n.failed)
}

// differential is three sessions in which the same statements run.
type differential struct {
	t       *testing.T
	g       *grammar
	rules   string
	needles [][]byte
	masked  *probe
	open    *probe
	direct  *probe
}

func newDifferential(t *testing.T, database, rules string, seed uint64, needles [][]byte) *differential {
	t.Helper()
	o := newOffice(t, database, pgcluster.Superuser, rules)
	c := o.cluster
	through := "host=" + o.door.host + " port=" + o.door.port + " "
	return &differential{
		t: t, needles: needles, rules: rules,
		g:      &grammar{Rand: rand.New(rand.NewPCG(seed, 0))}, //nolint:gosec // it is to be the same again
		masked: newProbe(t, through+conninfo),
		open:   newProbe(t, through+strings.ReplaceAll(conninfo, "alice", "bob")),
		direct: newProbe(t, "host="+hostOf(c.Addr)+" port="+portOf(c.Addr)+" user="+pgcluster.Superuser+" password='"+c.Password+"' dbname="+database),
	}
}

// step runs one statement everywhere.
func (d *differential) step(n *differentialCount) {
	d.t.Helper()
	texts := d.g.statement()
	way := []string{"simple", "text", "binary"}[d.g.IntN(3)]
	n.statements++
	shown, raw := d.masked.run(way, texts)
	if needle := leaked(raw, d.needles); needle != "" {
		texts = d.shrink(way, texts)
		d.t.Errorf("%q leaked (%s)\n%s\n%s\n%s", needle, way, strings.Join(texts, ";\n"), d.rules, shown)
	}
	if strings.Contains(shown, "\nrow ") || strings.Contains(shown, "\ndata ") {
		n.rows++
	}
	if strings.Contains(shown, "postern: ") {
		n.denied++
	}
	want, _ := d.direct.run(way, texts)
	got, _ := d.open.run(way, texts)
	if strings.Contains(want, "\nerror ") {
		n.failed++
	}
	// What a plan fetches of the heap depends on when it was vacuumed.
	if !strings.HasPrefix(texts[0], "explain (analyze") && !sameLines(got, want) {
		d.t.Errorf("not the same (%s)\n%s\nthrough the gateway:\n%s\ndirectly:\n%s", way, strings.Join(texts, ";\n"), got, want)
	}
}

// sameLines compares but for the order, which is nobody's promise: an earlier
// statement's dead rows leave room that the next one's may or may not take.
func sameLines(a, b string) bool {
	if a == b {
		return true
	}
	l, r := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(l)
	slices.Sort(r)
	return slices.Equal(l, r)
}

// leaked is the secret's form that stands in what came, or "".
func leaked(raw []byte, needles [][]byte) string {
	raw = bytes.ToLower(raw)
	for _, needle := range needles {
		if bytes.Contains(raw, needle) {
			return string(needle)
		}
	}
	return ""
}

// shrink replaces what stands in parentheses by NULL, as long as it leaks.
func (d *differential) shrink(way string, texts []string) []string {
	tries := 0
	for i := range texts {
		for at := 0; at < len(texts[i]) && tries < 150; at++ {
			if texts[i][at] != '(' {
				continue
			}
			end := closing(texts[i], at)
			if end < 0 || end-at < 6 {
				continue
			}
			tries++
			smaller := append([]string(nil), texts...)
			smaller[i] = texts[i][:at] + "(null" + texts[i][end:]
			if _, raw := d.masked.run(way, smaller); leaked(raw, d.needles) != "" {
				texts = smaller
			}
		}
	}
	return texts
}

// closing is where the parenthesis at a place is closed, or -1.
func closing(text string, at int) int {
	depth := 0
	for i := at; i < len(text); i++ {
		switch text[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// probe is a connection of which every byte is kept.
type probe struct {
	*wire
	tap *tapped
}

func newProbe(t *testing.T, conninfo string) *probe {
	t.Helper()
	config, err := pgconn.ParseConfig(conninfo + " sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	p := &probe{}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		p.tap = &tapped{Conn: conn}
		return p.tap, err
	}
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	p.wire = newWire(t, conn)
	return p
}

// run sends texts within a transaction that is rolled back, and returns what
// came: as lines, and as it was.
func (p *probe) run(way string, texts []string) (string, []byte) {
	p.t.Helper()
	if err := p.conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	p.tap.mu.Lock()
	p.tap.raw.Reset()
	p.tap.mu.Unlock()
	var shown strings.Builder
	p.say(&shown, texts, q("begin; set local statement_timeout = '20s'"))
	for _, text := range texts {
		if way == "simple" {
			p.say(&shown, texts, q(text))
			continue
		}
		b := &pgproto3.Bind{}
		if way == "binary" {
			b.ResultFormatCodes = []int16{1}
		}
		p.say(&shown, texts, parse("", text), b, &pgproto3.Describe{ObjectType: 'P'}, execute(""), syn())
	}
	p.say(&shown, texts, q("rollback"))
	if strings.Contains(strings.Join(texts, " "), "prepare p") {
		p.say(&shown, texts, q("deallocate all"))
	}
	p.tap.mu.Lock()
	defer p.tap.mu.Unlock()
	return shown.String(), bytes.Clone(p.tap.raw.Bytes())
}

func (p *probe) say(shown *strings.Builder, texts []string, msgs ...pgproto3.FrontendMessage) {
	p.t.Helper()
	p.send(msgs...)
	for {
		msg, err := p.f.Receive()
		if err != nil {
			p.t.Fatalf("%v\nafter\n%s\nof\n%s", err, shown, strings.Join(texts, ";\n"))
		}
		switch m := msg.(type) {
		case *pgproto3.ErrorResponse:
			fmt.Fprintf(shown, "error %+v\n", *m)
		case *pgproto3.NoticeResponse:
			fmt.Fprintf(shown, "notice %+v\n", *m)
		case *pgproto3.ParameterStatus:
			fmt.Fprintf(shown, "parameter %s %s\n", m.Name, m.Value)
		case *pgproto3.CopyInResponse:
			p.send(&pgproto3.CopyDone{})
		default:
			shown.WriteString(line(msg))
		}
		if _, ok := msg.(*pgproto3.ReadyForQuery); ok {
			return
		}
	}
}

// differentialNeedles are the forms of the secrets that may not arrive, in
// small letters.
func differentialNeedles(t *testing.T, database string) [][]byte {
	t.Helper()
	var all [][]byte
	seen := map[string]bool{}
	add := func(forms ...string) {
		for _, f := range forms {
			f = strings.ToLower(f)
			if len(f) >= 6 && !seen[f] {
				seen[f] = true
				all = append(all, []byte(f))
			}
		}
	}
	backwards := func(s string) string {
		r := []rune(s)
		slices.Reverse(r)
		return string(r)
	}
	for _, row := range cluster.Get(t).Exec(t, database, "select unnest(array[email, card_number, ssn, phone]) from customers where email is not null") {
		secret := row[0]
		bare := strings.NewReplacer(" ", "", "-", "", "+", "").Replace(secret)
		for _, s := range []string{secret, strings.ToUpper(secret), bare} {
			sum := md5.Sum([]byte(s)) //nolint:gosec // as above
			add(s, backwards(s), hex.EncodeToString([]byte(s)), base64.RawStdEncoding.EncodeToString([]byte(s)), hex.EncodeToString(sum[:]))
		}
		if local, _, ok := strings.Cut(secret, "@"); ok {
			add(local[:6], backwards(local[:6]), hex.EncodeToString([]byte(local[:6])))
		}
	}
	if len(all) < 100 {
		t.Fatal("there is nothing to look for")
	}
	return all
}
