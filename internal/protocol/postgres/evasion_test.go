package postgres

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	analysis "postern/internal/sql/postgres"
)

// evasion is a row of testdata/evasion-masking.jsonl: an attack on the masks,
// or, with Benign, a query that the masks have no business with.
//
// SQL holds messages, apart by lines of "--;;". A message is a Query, unless
// Protocol or its first word says otherwise:
//
//	\admin SQL         is run by an administrator, past the gateway
//	\other SQL         comes from a second session
//	\parse NAME SQL    prepares, in the extended protocol
//	\run NAME          binds, describes and executes it, \runbinary in binary
//	\params A|B SQL    is run with these parameters
//	\fastpath F ARG    is a FunctionCall
//
// What must not arrive is Needle, read as in the acceptance data; where that is
// "=", the last row that the bare server answers with; where it is empty, any
// secret of the seed in any of its usual spellings.
type evasion struct {
	ID, Setup, SQL, Needle, Form, Role, Protocol string
	Benign                                       bool
	// Open says why an attack still works: the test then holds that it does,
	// so that whoever mends it takes the word away.
	Open string
}

func evasions(t *testing.T) []evasion {
	t.Helper()
	f, err := os.Open(cmp.Or(os.Getenv("POSTERN_EVASION_FILE"), "testdata/evasion-masking.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var all []evasion
	ids := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e evasion
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if ids[e.ID] {
			t.Fatal("twice: ", e.ID)
		}
		ids[e.ID] = true
		if e.Role == "" {
			e.Role = "app"
		}
		all = append(all, e)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatal(err, len(all))
	}
	return all
}

const evasionMasks = `
kind: Mask
name: customer-pii
columns: ["public.customers.email", "public.customers.card_number", "public.customers.ssn", "public.customers.phone", "public.staff.s_*"]
detect: [email, credit_card, iban, ssn, phone]
with: redact
`

// evasionSecrets are the seed's.
var evasionSecrets = sync.OnceValue(func() [][]byte {
	var all [][]byte
	for _, s := range []string{
		"ines.marlow", "marlow@example", "otto.brandt", "petra.novak", "4012888888881881", "5200828282828210", "219-09-9481", "219099481", "429-31-7788", "429317788",
		"415 555 0177", "4155550177", "ines.home@", "5105105105105100", "612-44-1029",
		"73519", "1987-03-29", "2019-11-23", "482137", "7301984455123", "6021.4075", "5ad7c1e0", "10.83.147.29", "walnut", "quartz", "middlegrade", "08:00:2b:73:51:19", "1011011100110101",
		"133:55:37", "04:05:06.735193", "73,519.25",
	} {
		reversed := []byte(s)
		for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
			reversed[i], reversed[j] = s[j], s[i]
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(s))
		all = append(all, []byte(s), bytes.ToUpper([]byte(s)), reversed, []byte(hex.EncodeToString([]byte(s))), []byte(encoded[:len(s)/3*4]))
	}
	for _, s := range []string{"000a041d1ed5", "000006a425a9f293", "0004", "5ad7c1e093b44f2e8f616c2f0b7a91d3"} {
		if b, err := hex.DecodeString(s); err == nil && len(b) >= 4 {
			all = append(all, b)
		}
	}
	return all
})

// anyID matches the gateway's own ids, of 30 random hexadecimal digits, one in 20,000 of which
// holds a number that is a secret.
var anyID = regexp.MustCompile(`\b[a-z]+_[0-9a-f]{30}\b`)

// leaked says what of a masked column reached the client.
func (e evasion) leaked(s seen) string {
	if e.Needle != "" {
		if s.found(attack{Needle: e.Needle, Form: e.Form}) {
			return e.Needle
		}
		return ""
	}
	raw := anyID.ReplaceAll(s.raw, nil)
	for _, secret := range evasionSecrets() {
		if bytes.Contains(raw, secret) {
			return string(secret)
		}
	}
	return ""
}

// evasionSeeded makes the database that others are copied from.
var evasionSeeded sync.Once

// evasionUntouched is one of those copies, in which nothing ever happens.
const evasionUntouched = "evasion_untouched"

// evasionArena is a database of the seed.
func evasionArena(t *testing.T) string {
	t.Helper()
	c := cluster.Get(t)
	evasionSeeded.Do(func() {
		c.Exec(t, "postgres", "create database evasion_seed")
		c.Exec(t, "evasion_seed", evasionSeed(t))
		c.Copy(t, evasionUntouched, "evasion_seed")
	})
	return databaseLike(t, "evasion_seed")
}

// blankOffice opens a gateway for a copy of the seed.
func blankOffice(t *testing.T, role string) *office {
	t.Helper()
	return newOffice(t, evasionArena(t), role, evasionMasks)
}

func evasionSeed(t *testing.T) string {
	t.Helper()
	seed, err := os.ReadFile("testdata/evasion-seed.sql")
	if err != nil {
		t.Fatal(err)
	}
	return string(seed)
}

// seedOffice opens a gateway for a copy of the seed. It has read the catalog of the seed
// itself, which a copy's is, number by number: a session that looks at it finds the
// fingerprint unless something was changed since, and has it read anew otherwise.
func seedOffice(t *testing.T, role string) *office {
	t.Helper()
	o := blankOffice(t, role)
	at := o.cluster.Exec(t, "postgres", "SELECT concat_ws(',', oid, datdba) FROM pg_database WHERE datname = '"+o.database()+"'")[0][0]
	seed, _ := evasionCatalogs.LoadOrStore(role, &seedCatalog{})
	known := seed.(*seedCatalog)
	known.once.Do(func() { known.read(t, evasion{Role: role}.direct(o, o.database()), at) })
	entry := o.door.p.relay.catalogs.of(catalogKey{"db", o.cluster.Addr, o.database(), role})
	entry.catalog, entry.have, entry.readAt, entry.fingerprint = known.catalog, entry.wanted, time.Now(), at+known.fingerprint
	return o
}

// evasionCatalogs are what each role sees of the seed.
var evasionCatalogs sync.Map

type seedCatalog struct {
	once        sync.Once
	catalog     *analysis.Catalog
	fingerprint string // behind what it says of the database that it was read of
}

func (s *seedCatalog) read(t *testing.T, target, at string) {
	conn := dial(t, target)
	query := func(text string) ([][]*string, error) { return queryText(t.Context(), conn, text) }
	if _, err := query("SET search_path = pg_catalog"); err != nil {
		t.Fatal(err)
	}
	said, err := query(analysis.FingerprintQuery())
	if err != nil {
		t.Fatal(err)
	}
	var ok bool
	if s.fingerprint, ok = strings.CutPrefix(oneText(said), at); !ok {
		t.Fatal("a fingerprint begins with what it says of the database")
	}
	if s.catalog, err = analysis.LoadCatalog(query); err != nil {
		t.Fatal(err)
	}
}

// run carries an evasion's messages to where target is, and says what came back.
func (e evasion) run(t *testing.T, o *office, target string) seen {
	t.Helper()
	var s seen
	first := e.dial(t, target)
	var second *evader
	for message := range strings.SplitSeq(e.SQL, "\n--;;\n") {
		word, rest, _ := strings.Cut(message, " ")
		switch word {
		case `\admin`:
			o.cluster.Exec(t, o.database(), rest)
		case `\other`:
			if second == nil {
				second = e.dial(t, target)
			}
			s.take(second.w, q(rest))
		case `\fastpath`:
			o.t = t
			s.take(first.w, o.fastpath(strings.Fields(rest)))
		case `\parse`:
			name, text, _ := strings.Cut(rest, " ")
			s.take(first.w, parse(name, text), syn())
		case `\run`, `\runbinary`:
			b := &pgproto3.Bind{PreparedStatement: rest}
			if word == `\runbinary` {
				b.ResultFormatCodes = []int16{1}
			}
			s.take(first.w, b, &pgproto3.Describe{ObjectType: 'P'}, execute(""), syn())
		case `\params`:
			list, text, _ := strings.Cut(rest, " ")
			b := &pgproto3.Bind{}
			for p := range strings.SplitSeq(list, "|") {
				b.Parameters = append(b.Parameters, []byte(p))
			}
			s.take(first.w, parse("", text), b, &pgproto3.Describe{ObjectType: 'P'}, execute(""), syn())
		default:
			s.take(first.w, e.messages(message)...)
		}
	}
	for _, v := range []*evader{first, second} {
		if v != nil {
			_ = v.w.conn.Close()
			v.tap.mu.Lock()
			s.raw = append(s.raw, v.tap.raw.Bytes()...)
			v.tap.mu.Unlock()
		}
	}
	return s
}

// messages are a text's in the evasion's protocol.
func (e evasion) messages(text string) []pgproto3.FrontendMessage {
	b := &pgproto3.Bind{}
	describe := &pgproto3.Describe{ObjectType: 'P'}
	switch e.Protocol {
	case "extended-text":
		return join(parse("", text), b, describe, execute(""), syn())
	case "extended-binary":
		b.ResultFormatCodes = []int16{1}
		return join(parse("", text), b, describe, execute(""), syn())
	case "extended-nodescribe":
		return join(parse("", text), b, execute(""), syn())
	case "extended-binary-nodescribe":
		b.ResultFormatCodes = []int16{1}
		return join(parse("", text), b, execute(""), syn())
	case "extended-portal1":
		return join(parse("", text), b, describe, &pgproto3.Execute{MaxRows: 1}, execute(""), syn())
	}
	return join(q(text))
}

// evader is one of an evasion's sessions.
type evader struct {
	w   *wire
	tap *tapped
}

func (e evasion) dial(t *testing.T, target string) *evader {
	t.Helper()
	config, err := pgconn.ParseConfig(target)
	if err != nil {
		t.Fatal(err)
	}
	v := &evader{}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		v.tap = &tapped{Conn: conn}
		return v.tap, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	v.w = newWire(t, conn)
	v.tap.mu.Lock()
	v.tap.raw.Reset()
	v.tap.mu.Unlock()
	return v
}

// direct is where the evasion goes without the gateway.
func (e evasion) direct(o *office, database string) string {
	password := e.Role
	if e.Role == "postgres" {
		password = o.cluster.Password
	}
	return fmt.Sprintf("host=%s port=%s user=%s password='%s' dbname=%s sslmode=disable", hostOf(o.cluster.Addr), portOf(o.cluster.Addr), e.Role, password, database)
}

// shown is what the client of a query sees.
func (s seen) shown() string {
	return strings.Join(s.rows, "\n") + "\n" + s.data + "\n" + strings.Join(s.tags, "\n") + "\n" + strings.Join(s.errors, "\n")
}

// offices are kept for further cases, by role, the one that has rested longest first.
type offices struct {
	parent *testing.T

	mu   sync.Mutex
	idle map[string][]*kept
}

// kept is an office in which everything is as it was, unless a case has left
// something.
type kept struct {
	*office
	clean bool // nothing that ran since leaves traces
	past  []string
}

// lend returns an office for a test without a setup: one that another has used, if
// nothing in it is other than before.
func (f *offices) lend(t *testing.T, role string, traceless bool) *office {
	t.Helper()
	for {
		f.mu.Lock()
		idle := f.idle[role]
		if len(idle) == 0 {
			f.mu.Unlock()
			break
		}
		k := idle[0]
		f.idle[role] = idle[1:]
		f.mu.Unlock()
		if k.t = t; k.clean || k.untouched() {
			if !k.clean {
				k.forgetContents()
			}
			return f.lent(t, role, traceless, k)
		}
		k.cluster.Drop(t, k.database())
	}
	k := &kept{office: seedOffice(f.parent, role)}
	k.t = t
	return f.lent(t, role, traceless, k)
}

// untouched says whether its database is as the seed made it.
func (k *kept) untouched() bool {
	return k.fingerprint(attack{}) == fingerprintOf(k.t, k.cluster, evasionUntouched)
}

// forgetContents has the gateway look anew what columns hold: what a case has put into
// one counts for minutes, also when it was undone.
func (k *kept) forgetContents() {
	catalogs := k.door.p.relay.catalogs
	catalogs.mu.Lock()
	defer catalogs.mu.Unlock()
	for _, entry := range catalogs.entries {
		entry.contents.mu.Lock()
		entry.contents.seen = nil
		entry.contents.mu.Unlock()
	}
}

// settingUp is held while a case is set up.
var settingUp sync.Mutex

// temporary matches what may make a temporary table.
var temporary = regexp.MustCompile(`(?i)temp`)

// lent has an office come back when the test is over.
func (f *offices) lent(t *testing.T, role string, traceless bool, k *kept) *office {
	if len(k.past) > 0 {
		t.Logf("in the database of %s", strings.Join(k.past, ", ")) // shown of a failure
	}
	t.Cleanup(func() {
		k.past = append(k.past, strings.TrimPrefix(t.Name(), f.parent.Name()+"/"))
		k.clean = traceless
		f.mu.Lock()
		defer f.mu.Unlock()
		f.idle[role] = append(f.idle[role], k)
	})
	return k.office
}

// TestMaskEvasion tries to get at masked values in every way we know, and at
// everything else in the ways that people and their tools do. With
// POSTERN_EVASION_DIRECT set, every attack is first seen to work on the bare server;
// POSTERN_EVASION_FILE names another file of them, to try some out.
func TestMaskEvasion(t *testing.T) {
	all := &offices{parent: t, idle: make(map[string][]*kept)}
	for _, e := range evasions(t) {
		t.Run(e.ID, func(t *testing.T) {
			t.Parallel()
			e.try(t, all)
		})
	}
}

// try runs an evasion past the gateway, where what comes back has to be known, and
// through it.
func (e evasion) try(t *testing.T, all *offices) {
	t.Helper()
	traceless := e.Setup == "" && readOnly.MatchString(e.SQL)
	arena := func() *office {
		if e.Setup == "" && !strings.Contains(e.SQL, `\admin `) {
			if temporary.MatchString(e.SQL) {
				// While the gateway has seen a temporary table of a name, other sessions
				// can't tell theirs apart within a transaction: not even a case that
				// comes when it is gone.
				return seedOffice(t, e.Role)
			}
			return all.lend(t, e.Role, traceless)
		}
		// What the gateway knows of a database that an administrator changes
		// meanwhile depends on when it last looked: nobody has used this one.
		if e.Setup == "" {
			return seedOffice(t, e.Role)
		}
		o := blankOffice(t, e.Role)
		// Roles are the whole cluster's, and two who change one at once fail.
		settingUp.Lock()
		defer settingUp.Unlock()
		o.cluster.Exec(t, o.database(), e.Setup)
		return o
	}
	o := arena()
	past := func() seen {
		before := o
		if !traceless {
			before = arena()
		}
		return e.run(t, before, e.direct(before, before.database()))
	}
	through := "host=" + o.door.host + " port=" + o.door.port + " " + conninfo
	if e.Benign {
		want := past()
		if got := e.run(t, o, through); got.shown() != want.shown() {
			t.Errorf("%s\ngot  %.1000s\nwant %.1000s", e.SQL, got.shown(), want.shown())
		}
		return
	}
	if e.Needle == "=" || os.Getenv("POSTERN_EVASION_DIRECT") != "" {
		s := past()
		if e.Needle == "=" && len(s.rows) > 0 {
			e.Needle = "row:" + s.rows[len(s.rows)-1]
		}
		if e.leaked(s) == "" {
			t.Errorf("NO ATTACK: %s\n%.1000s", e.SQL, s.shown())
		}
	}
	s := e.run(t, o, through)
	if what := e.leaked(s); (what != "") != (e.Open != "") {
		t.Errorf("LEAK %q, %q: %s\n%.1000s", what, e.Open, e.SQL, s.shown())
	}
}
