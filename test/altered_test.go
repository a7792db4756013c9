package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
)

// rawWire speaks PostgreSQL's protocol message by message, through a gateway.
type rawWire struct {
	t *testing.T
	*pgproto3.Frontend
}

func (g *gateway) wire(t *testing.T, user, token string) *rawWire {
	t.Helper()
	conn, err := g.connect(user, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Conn.Close() })
	if err := h.Conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &rawWire{t: t, Frontend: h.Frontend}
}

func (w *rawWire) send(messages ...pgproto3.FrontendMessage) {
	w.t.Helper()
	for _, m := range messages {
		w.Send(m)
	}
	if err := w.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// ready reads up to the next ReadyForQuery: what was done, and what went wrong.
func (w *rawWire) ready() string {
	w.t.Helper()
	var got []string
	for {
		m, err := w.Receive()
		if err != nil {
			w.t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.CommandComplete:
			got = append(got, string(m.CommandTag))
		case *pgproto3.ErrorResponse:
			got = append(got, "ERROR "+m.Code+" "+m.Message)
		case *pgproto3.ReadyForQuery:
			return strings.Join(got, "; ")
		}
	}
}

func query(text string) pgproto3.FrontendMessage { return &pgproto3.Query{String: text} }

func parse(name, text string) pgproto3.FrontendMessage {
	return &pgproto3.Parse{Name: name, Query: text}
}

func bind(portal, statement string, params ...string) pgproto3.FrontendMessage {
	m := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
	for _, p := range params {
		m.Parameters = append(m.Parameters, []byte(p))
	}
	return m
}

func execute(portal string) pgproto3.FrontendMessage { return &pgproto3.Execute{Portal: portal} }

// altering is a session whose updates are reviewed, and who reviews them.
type altering struct {
	t      *testing.T
	g      *gateway
	wire   *rawWire
	boss   *client
	before int // reviews that there were
}

// opened waits for the next review.
func (a *altering) opened() postern.Review {
	a.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // polling another process
		var page struct{ Items []postern.Review }
		if _, err := a.boss.call(http.MethodGet, "/reviews", nil, &page); err != nil {
			a.t.Fatal(err)
		}
		if len(page.Items) > a.before {
			a.before++
			rv := page.Items[len(page.Items)-a.before]
			if rv.State != postern.ReviewPending || len(rv.Commands) != 1 {
				a.t.Fatalf("%+v", rv)
			}
			return rv
		}
		if time.Now().After(deadline) {
			a.t.Fatal("no review was opened")
		}
	}
}

func (a *altering) say(rv postern.Review, word string) {
	a.t.Helper()
	if _, err := a.boss.call(http.MethodPost, "/reviews/"+rv.ID+"/"+word, map[string]string{}, nil); err != nil {
		a.t.Fatal(err)
	}
}

// status is that of a payment, past the gateway.
func (a *altering) status(table string, id int) string {
	a.t.Helper()
	return a.g.upstream.Exec(a.t, a.g.database, fmt.Sprintf("SELECT status FROM %s WHERE id = %d", table, id))[0][0]
}

func (a *altering) answers(want string) {
	a.t.Helper()
	if got := a.wire.ready(); !strings.HasPrefix(got, want) {
		a.t.Errorf("got %q, want %q", got, want)
	}
}

func (a *altering) stands(table string, id int, want string) {
	a.t.Helper()
	if got := a.status(table, id); got != want {
		a.t.Errorf("payment %d of %s is %s, and should be %s", id, table, got, want)
	}
}

// What a client changes between the approval and the run, or sends again after
// it, isn't what was approved: it never runs by that approval.
func TestAlteredAfterApproval(t *testing.T) {
	g := newGateway(t, "")
	g.write("objects/policies.yaml", strings.ReplaceAll(twoApprovals, "approvals: 2", "approvals: 1"))
	g.start()
	g.upstream.Exec(t, g.database, `SET ROLE shop; CREATE SCHEMA evil; CREATE TABLE evil.payments AS SELECT * FROM public.payments;
		CREATE FUNCTION public.touch() RETURNS text LANGUAGE plpgsql AS
		$$ BEGIN EXECUTE 'UPDATE payments SET status = ''touched'' WHERE id = 12'; RETURN 'moved'; END $$;
		CREATE FUNCTION public.move() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 'evil', false) $$`)
	boss := g.client(g.login("dave"))
	token := g.sessionToken(g.login("alice"))
	const update = "UPDATE payments SET status = $1 WHERE id = $2"
	sync := &pgproto3.Sync{}

	for name, attack := range map[string]func(*altering){
		"bound again with other parameters": func(a *altering) {
			a.wire.send(parse("s", update), bind("", "s", "refunded", "1"), execute(""), sync)
			rv := a.opened()
			a.wire.send(bind("", "s", "refunded", "2"), execute(""), sync)
			a.say(rv, "approve")
			a.answers("UPDATE 1")
			again := a.opened()
			if got := string(again.Commands[0].Params[1].Value); got != "2" || again.Digest == rv.Digest {
				a.t.Errorf("the second review shows %s", got)
			}
			a.stands("public.payments", 1, "refunded")
			a.stands("public.payments", 2, "captured")
			a.say(again, "deny")
			a.answers("ERROR 42501")
			a.stands("public.payments", 2, "captured")
		},
		"a portal closed and bound again in its transaction": func(a *altering) {
			a.wire.send(query("BEGIN"), parse("s", update), bind("p", "s", "refunded", "3"), execute("p"),
				&pgproto3.Close{ObjectType: 'P', Name: "p"}, bind("p", "s", "refunded", "4"), execute("p"), sync, query("COMMIT"))
			a.answers("BEGIN")
			a.say(a.opened(), "approve")
			again := a.opened()
			if got := string(again.Commands[0].Params[1].Value); got != "4" {
				a.t.Errorf("the second review shows %s", got)
			}
			a.say(again, "deny")
			a.answers("UPDATE 1; ERROR 42501")
			a.answers("ROLLBACK")
			a.stands("public.payments", 3, "captured")
			a.stands("public.payments", 4, "captured")
		},
		"a statement prepared again under its name": func(a *altering) {
			a.wire.send(parse("s", update), bind("", "s", "refunded", "5"), execute(""), sync)
			rv := a.opened()
			a.wire.send(&pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", "UPDATE payments SET status = $1 WHERE id <> $2"),
				bind("", "s", "stolen", "5"), execute(""), sync)
			a.say(rv, "approve")
			a.answers("UPDATE 1")
			again := a.opened()
			if !strings.Contains(again.Command, "<>") {
				a.t.Errorf("the second review shows %q", again.Command)
			}
			a.say(again, "deny")
			a.answers("ERROR 42501")
			a.stands("public.payments", 5, "refunded")
			a.stands("public.payments", 6, "captured")
		},
		"the search_path moved while it waits": func(a *altering) {
			a.wire.send(parse("s", "UPDATE payments SET status = 'moved' WHERE id = 7"), bind("", "s"), execute(""), sync)
			rv := a.opened()
			a.wire.send(query("SET search_path = evil"), bind("", "s"), execute(""), sync)
			a.say(rv, "approve")
			a.answers("UPDATE 1")
			a.answers("SET")
			a.stands("public.payments", 7, "moved")
			again := a.opened()
			if got := again.Commands[0].Objects[0].Name; got != "evil.payments" || again.Commands[0].State == rv.Commands[0].State {
				a.t.Errorf("the second review is over %s, with the state %q", got, again.Commands[0].State)
			}
			a.stands("evil.payments", 7, "captured")
			a.say(again, "deny")
			a.answers("ERROR 42501")
			a.stands("evil.payments", 7, "captured")
		},
		"the search_path moved by a function in its pipeline": func(a *altering) {
			a.wire.send(parse("s", "UPDATE payments SET status = 'moved' WHERE id = 8"), bind("p", "s"),
				parse("m", "SELECT public.move()"), bind("m", "m"), execute("m"), execute("p"), sync)
			a.say(a.opened(), "approve")
			a.answers("SELECT 1; ERROR 42501")
			a.stands("public.payments", 8, "captured")
			a.stands("evil.payments", 8, "captured")
		},
		"the search_path moved between a portal's approval and its run": func(a *altering) {
			a.wire.send(query("BEGIN"), parse("s", "UPDATE payments SET status = touch() WHERE id = 11"), bind("p", "s"), sync)
			a.answers("BEGIN")
			a.say(a.opened(), "approve")
			a.answers("")
			a.wire.send(query("SET search_path = evil"), execute("p"), sync, query("COMMIT"))
			a.answers("SET")
			a.answers("ERROR 42501") // what touch() would write now was never looked at
			a.answers("ROLLBACK")
			a.stands("public.payments", 11, "captured")
			a.stands("evil.payments", 12, "captured")
		},
		"sent again after it ran": func(a *altering) {
			text := "UPDATE payments SET status = 'again' WHERE id = 9"
			a.wire.send(query(text))
			a.say(a.opened(), "approve")
			a.answers("UPDATE 1")
			g.upstream.Exec(t, g.database, "UPDATE public.payments SET status = 'captured' WHERE id = 9")
			a.wire.send(query(text))
			a.say(a.opened(), "deny")
			a.answers("ERROR 42501")
			a.stands("public.payments", 9, "captured")
		},
		"a portal executed again in its transaction": func(a *altering) {
			a.wire.send(query("BEGIN"), parse("s", update), bind("p", "s", "twice", "10"), execute("p"), execute("p"), sync, query("COMMIT"))
			a.answers("BEGIN")
			a.say(a.opened(), "approve")
			a.answers("UPDATE 1; ERROR 55000") // the server's: a portal is run once
			a.answers("ROLLBACK")
			a.stands("public.payments", 10, "captured")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var page struct{ Items []postern.Review }
			if _, err := boss.call(http.MethodGet, "/reviews", nil, &page); err != nil {
				t.Fatal(err)
			}
			attack(&altering{t: t, g: g, wire: g.wire(t, "alice", token), boss: boss, before: len(page.Items)})
		})
	}
	if _, err := g.run(g.login("dave"), "audit", "verify"); err != nil {
		t.Error(err)
	}
}
