// Package storetest is the contract of the store: every engine passes it.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"postern"
	"postern/internal/store"
)

// Engine makes stores of one engine.
type Engine struct {
	// Open returns a new, empty store that is closed when the test ends.
	Open func(t *testing.T) *store.DB
	// Again opens the same store once more, as another process would.
	Again func(t *testing.T, db *store.DB) *store.DB
	// Down takes the schema back to a version, as for an older program.
	Down func(ctx context.Context, db *store.DB, version int64) error
	// Raw is what a store writes to.
	Raw func(db *store.DB) *sql.DB
}

// Run runs the contract against an engine.
func Run(t *testing.T, e Engine) {
	for name, test := range map[string]func(*testing.T, Engine){
		"accounts":                 testAccounts,
		"account by key":           testAccountByKey,
		"account by subject":       testAccountBySubject,
		"logins":                   testLogins,
		"refresh tokens":           testRefreshTokens,
		"grants":                   testGrants,
		"devices":                  testDevices,
		"login codes":              testLoginCodes,
		"spent":                    testSpend,
		"expired logins":           testExpiredLogins,
		"tokens":                   testTokens,
		"token uses":               testTokenUses,
		"token uses race":          testTokenRace,
		"revoke tokens of":         testRevokeTokensOf,
		"tokens of a login":        testTokensFrom,
		"use once":                 testUseOnce,
		"note refusal":             testNoteRefusal,
		"rows":                     testRows,
		"rows race":                testRowsRace,
		"delete expired tokens":    testDeleteExpired,
		"sessions":                 testSessions,
		"session pages":            testSessionPages,
		"ended session stays":      testEndedStays,
		"reviews":                  testReviews,
		"review update":            testReviewUpdate,
		"review update race":       testReviewRace,
		"shadows":                  testShadows,
		"use of accesses":          testAccessUse,
		"notifications":            testNotifications,
		"notifications race":       testNotificationsRace,
		"messages count once":      testSeeOnce,
		"objects":                  testObjects,
		"objects all or nothing":   testObjectsAtomic,
		"meta":                     testMeta,
		"meta race":                testMetaRace,
		"sealed":                   testSealed,
		"audit":                    testAudit,
		"audit sessions":           testAuditSessions,
		"audit records":            testAuditRecords,
		"audit large lines":        testAuditLargeLines,
		"audit migration":          testAuditMigration,
		"audit index":              testAuditIndex,
		"audit outbox":             testAuditOutbox,
		"search":                   testSearch,
		"audit race":               testAuditRace,
		"events":                   testEvents,
		"directory":                testDirectory,
		"scim tokens":              testSCIMTokens,
		"factors":                  testFactors,
		"break glass":              testBreakGlass,
		"offline grants":           testOfflineGrants,
		"offline grants race":      testOfflineGrantRace,
		"what is written is there": testDurable,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
}

func at(seconds int64) time.Time { return time.Unix(1_800_000_000+seconds, 123_456_000).UTC() }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff(want, got, prefixes); d != "" {
		t.Fatalf("-want +got:\n%s", d)
	}
}

func missing(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, postern.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
}

func testAccounts(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.Account(ctx, postern.User, "alice")
	missing(t, err)
	alice := postern.Account{Name: "alice", Kind: postern.User, Groups: []string{"a", "b, c"}, SecretHash: "h", Source: "api", CreatedAt: at(0)}
	robot := postern.Account{Name: "alice", Kind: postern.Service, Groups: []string{}, Disabled: true, Source: "x.yaml", CreatedAt: at(1), RotatedAt: at(2)}
	ok(t, db.PutAccount(ctx, alice))
	ok(t, db.PutAccount(ctx, robot))
	got, err := db.Account(ctx, postern.User, "alice")
	ok(t, err)
	same(t, got, alice)
	all, err := db.Accounts(ctx)
	ok(t, err)
	same(t, all, []postern.Account{robot, alice})
	alice.Disabled, alice.Groups, alice.SecretHash = true, []string{"z"}, "other"
	ok(t, db.PutAccount(ctx, alice))
	got, err = db.Account(ctx, postern.User, "alice")
	ok(t, err)
	same(t, got, alice)
	ok(t, db.DeleteAccount(ctx, postern.User, "alice"))
	missing(t, db.DeleteAccount(ctx, postern.User, "alice"))
	got, err = db.Account(ctx, postern.Service, "alice")
	ok(t, err)
	same(t, got, robot)
}

func testAccountByKey(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	ok(t, db.PutAccount(ctx, postern.Account{Name: "keyless", Kind: postern.Service, CreatedAt: at(0)}))
	ok(t, db.PutAccount(ctx, postern.Account{Name: "user", Kind: postern.User, SecretHash: "h", CreatedAt: at(0)}))
	_, err := db.AccountByKey(ctx, "")
	missing(t, err)
	_, err = db.AccountByKey(ctx, "h") // a user's password hash is no key
	missing(t, err)
	ok(t, db.PutAccount(ctx, postern.Account{Name: "ci", Kind: postern.Service, SecretHash: "h", CreatedAt: at(0)}))
	a, err := db.AccountByKey(ctx, "h")
	ok(t, err)
	same(t, a.Name, "ci")
}

func testAccountBySubject(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	alice := postern.Account{
		Name: "alice", Kind: postern.User, Subject: "corp:a:1", Email: "alice@example.com", Groups: []string{"g"},
		Source: "provider corp", CreatedAt: at(0), LoginAt: at(3),
	}
	ok(t, db.PutAccount(ctx, alice))
	got, err := db.AccountBySubject(ctx, "corp:a:1")
	ok(t, err)
	same(t, got, alice)
	for _, none := range []string{"", "corp", "corp:", "corp:a", "other:a:1", ":a:1"} {
		_, err = db.AccountBySubject(ctx, none)
		missing(t, err)
	}
	twin := alice
	twin.Name = "twin"
	if db.PutAccount(ctx, twin) == nil {
		t.Fatal("two accounts have one subject")
	}
	for _, name := range []string{"bob", "carol"} { // both wait for their person
		ok(t, db.PutAccount(ctx, postern.Account{Name: name, Kind: postern.User, Subject: "corp:", CreatedAt: at(0)}))
	}
	got, err = db.Account(ctx, postern.User, "bob")
	ok(t, err)
	same(t, got.Subject, "corp:")
}

func token(id string) postern.Token {
	return postern.Token{
		ID: id, Kind: postern.SessionToken, Hash: "hash of " + id, Resource: "db", CreatedAt: at(0), ExpiresAt: at(100),
		Identity: postern.Identity{
			Name: "alice", Kind: postern.User, Groups: []string{"g"}, Claims: postern.Claims{"a.b": "c"},
			Actor: &postern.Identity{Name: "helper", Kind: postern.Workload},
		},
		Key: "SHA256:key of " + id, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Verifier: "SCRAM-SHA-256$…", Comment: "laptop",
	}
}

func testTokens(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	tk := token("tk_1")
	ok(t, db.PutToken(ctx, tk))
	got, err := db.TokenByHash(ctx, tk.Hash)
	ok(t, err)
	same(t, got, tk)
	got, err = db.Token(ctx, tk.ID)
	ok(t, err)
	same(t, got, tk)
	_, err = db.TokenByHash(ctx, "no")
	missing(t, err)
	twice := token("tk_2")
	twice.Hash = tk.Hash
	if db.PutToken(ctx, twice) == nil {
		t.Fatal("two tokens share a hash")
	}
	if db.PutToken(ctx, tk) == nil {
		t.Fatal("a token was put twice")
	}
	second := token("tk_3")
	second.CreatedAt = at(1)
	ok(t, db.PutToken(ctx, second))
	all, err := db.TokensOf(ctx, postern.User, "alice")
	ok(t, err)
	same(t, all, []postern.Token{second, tk})
	all, err = db.TokensOf(ctx, postern.Service, "alice")
	ok(t, err)
	same(t, all, []postern.Token{})
}

func testTokenUses(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	tk := token("tk_1")
	tk.MaxUses = 2
	ok(t, db.PutToken(ctx, tk))
	missing(t, db.UseToken(ctx, "tk_none", at(1)))
	missing(t, db.UseToken(ctx, tk.ID, at(100))) // its last moment is over
	ok(t, db.UseToken(ctx, tk.ID, at(1)))
	ok(t, db.UseToken(ctx, tk.ID, at(99)))
	missing(t, db.UseToken(ctx, tk.ID, at(1)))
	got, err := db.Token(ctx, tk.ID)
	ok(t, err)
	same(t, got.Uses, 2)
	open := token("tk_2")
	ok(t, db.PutToken(ctx, open))
	for range 5 {
		ok(t, db.UseToken(ctx, open.ID, at(1)))
	}
	revoked := func(want bool) {
		t.Helper()
		got, err := db.TokenRevoked(ctx, open.ID)
		ok(t, err)
		same(t, got, want)
	}
	revoked(false)
	ok(t, db.RevokeToken(ctx, open.ID))
	ok(t, db.RevokeToken(ctx, open.ID))
	revoked(true)
	_, err = db.TokenRevoked(ctx, "tk_none")
	missing(t, err)
	missing(t, db.UseToken(ctx, open.ID, at(1)))
	missing(t, db.RevokeToken(ctx, "tk_none"))
}

func testTokenRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	stores := []*store.DB{db, e.Again(t, db)}
	tk := token("tk_1")
	tk.MaxUses = 3
	ok(t, db.PutToken(ctx, tk))
	var used atomic.Int64
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			switch err := stores[i%2].UseToken(ctx, tk.ID, at(1)); {
			case err == nil:
				used.Add(1)
			case !errors.Is(err, postern.ErrNotFound):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	same(t, used.Load(), int64(3))
}

func testRevokeTokensOf(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	mine, acted, other, gone := token("tk_1"), token("tk_2"), token("tk_3"), token("tk_4")
	acted.Identity = postern.Identity{Name: "bob", Kind: postern.User, Actor: &postern.Identity{Name: "alice", Kind: postern.User}}
	other.Identity = postern.Identity{Name: "alice", Kind: postern.Service}
	gone.Revoked = true
	for _, tk := range []postern.Token{mine, acted, other, gone} {
		ok(t, db.PutToken(ctx, tk))
	}
	n, err := db.RevokeTokensOf(ctx, postern.User, "alice")
	ok(t, err)
	same(t, n, 2)
	for id, revoked := range map[string]bool{mine.ID: true, acted.ID: true, other.ID: false, gone.ID: true} {
		tk, err := db.Token(ctx, id)
		ok(t, err)
		same(t, tk.Revoked, revoked)
	}
}

func testTokensFrom(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	login, first, second, other, orphan := token("tk_0"), token("tk_1"), token("tk_2"), token("tk_3"), token("")
	first.Parent, second.Parent, other.Parent = login.ID, login.ID, "tk_9"
	second.CreatedAt = at(1)
	for _, tk := range []postern.Token{login, first, second, other, orphan} {
		ok(t, db.PutToken(ctx, tk))
	}
	from, err := db.TokensFrom(ctx, login.ID)
	ok(t, err)
	same(t, from, []postern.Token{second, first})
	from, err = db.TokensFrom(ctx, "") // what came of no login didn't all come of one
	ok(t, err)
	same(t, from, []postern.Token{})
	ok(t, db.RevokeToken(ctx, ""))
	ok(t, db.RevokeToken(ctx, login.ID))
	for id, revoked := range map[string]bool{login.ID: true, first.ID: true, second.ID: true, other.ID: false} {
		tk, err := db.Token(ctx, id)
		ok(t, err)
		same(t, tk.Revoked, revoked)
	}
	ok(t, db.DeleteToken(ctx, other.ID))
	_, err = db.Token(ctx, other.ID)
	missing(t, err)
	missing(t, db.DeleteToken(ctx, other.ID))
}

func testNoteRefusal(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	tk := token("tk_1")
	ok(t, db.PutToken(ctx, tk))
	ok(t, db.NoteRefusal(ctx, tk.ID, at(1), "from elsewhere"))
	ok(t, db.NoteRefusal(ctx, tk.ID, at(2), "used up"))
	missing(t, db.NoteRefusal(ctx, "tk_none", at(1), ""))
	tk.Refused, tk.RefusedAt, tk.RefusedWhy = 2, at(2), "used up"
	got, err := db.TokenByHash(ctx, tk.Hash)
	ok(t, err)
	same(t, got, tk)
}

func testUseOnce(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	stores := []*store.DB{db, e.Again(t, db)}
	var fresh atomic.Int64
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			is, err := stores[i%2].UseOnce(ctx, "jwt:1", at(100))
			if err != nil {
				t.Error(err)
			}
			if is {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	same(t, fresh.Load(), int64(1))
	is, err := db.UseOnce(ctx, "jwt:2", at(200))
	ok(t, err)
	same(t, is, true)
	n, err := db.DeleteUsed(ctx, at(101))
	ok(t, err)
	same(t, n, 1)
	is, err = db.UseOnce(ctx, "jwt:2", at(200))
	ok(t, err)
	same(t, is, false)
}

func testDeleteExpired(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	ok(t, db.PutToken(ctx, token("tk_1")))
	n, err := db.DeleteExpiredTokens(ctx, at(100))
	ok(t, err)
	same(t, n, 0)
	n, err = db.DeleteExpiredTokens(ctx, at(101))
	ok(t, err)
	same(t, n, 1)
	_, err = db.Token(ctx, "tk_1")
	missing(t, err)
}

func session(id string, start int64) postern.SessionInfo {
	return postern.SessionInfo{
		ID: id, Identity: "alice", Kind: postern.User, Actor: "helper", Resource: "db", Protocol: "postgres", Database: "shop",
		Token: "tk_1", Login: "lg_1", Access: "engineers", Source: "127.0.0.1", Client: "psql", StartedAt: at(start),
		Grant: "rq_1",
	}
}

func testSessions(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	s := session("ss_1", 0)
	ok(t, db.PutSession(ctx, s))
	got, err := db.Session(ctx, s.ID)
	ok(t, err)
	same(t, got, s)
	live, err := db.UnfinishedSessions(ctx)
	ok(t, err)
	same(t, live, []postern.SessionInfo{s})
	s.EndedAt, s.EndReason, s.Digest = at(9), "client left", "d"
	s.Commands, s.Denied, s.MaskedValues = 1<<40, 2, 3
	ok(t, db.PutSession(ctx, s))
	got, err = db.Session(ctx, s.ID)
	ok(t, err)
	same(t, got, s)
	live, err = db.UnfinishedSessions(ctx)
	ok(t, err)
	same(t, live, []postern.SessionInfo{})
	_, err = db.Session(ctx, "ss_none")
	missing(t, err)
}

func testSessionPages(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	for i := range int64(6) {
		s := session(fmt.Sprintf("ss_%d", i), i/2) // pairs start at the same moment
		if i%2 == 1 {
			s.EndedAt = at(50)
		}
		if i == 5 {
			s.Identity, s.Resource = "bob", "web"
		}
		ok(t, db.PutSession(ctx, s))
	}
	ids := func(f postern.SessionFilter) []string {
		t.Helper()
		list, err := db.Sessions(ctx, f)
		ok(t, err)
		var all []string
		for _, s := range list {
			all = append(all, s.ID)
		}
		return all
	}
	yes, no := true, false
	same(t, ids(postern.SessionFilter{}), []string{"ss_5", "ss_4", "ss_3", "ss_2", "ss_1", "ss_0"})
	same(t, ids(postern.SessionFilter{Limit: 2}), []string{"ss_5", "ss_4"})
	same(t, ids(postern.SessionFilter{Limit: 3, Before: "ss_4"}), []string{"ss_3", "ss_2", "ss_1"})
	same(t, ids(postern.SessionFilter{Before: "ss_0"}), []string(nil))
	same(t, ids(postern.SessionFilter{Live: &yes}), []string{"ss_4", "ss_2", "ss_0"})
	same(t, ids(postern.SessionFilter{Live: &no, Identity: "alice"}), []string{"ss_3", "ss_1"})
	same(t, ids(postern.SessionFilter{Resource: "web"}), []string{"ss_5"})
	same(t, ids(postern.SessionFilter{Identity: "alice", Resource: "web"}), []string(nil))
}

func testEndedStays(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	s := session("ss_1", 0)
	late := s
	s.EndedAt, s.Commands = at(9), 7
	ok(t, db.PutSession(ctx, s))
	ok(t, db.PutSession(ctx, late))
	got, err := db.Session(ctx, s.ID)
	ok(t, err)
	same(t, got, s)
}

func review(id string, created int64) postern.Review {
	return postern.Review{
		ID: id, State: postern.ReviewPending, Session: "ss_1", N: 3, Identity: "alice", Kind: postern.User, Resource: "db",
		Command: "UPDATE t SET a = $1", Rule: "r", Approvers: []postern.Principal{"group:dba"}, Approvals: 1, Digest: "d", Policy: "p",
		Commands: []postern.Command{{
			Protocol: "postgres", Verb: "update", Verbs: []string{"update"}, Access: postern.Write, Text: "UPDATE t SET a = $1",
			Objects: []postern.Object{{Kind: "table", Name: "public.t", Write: true}},
			Attrs:   []postern.Attr{postern.BoolAttr("has_where", false), postern.StringsAttr("functions", []string{"f"})},
			Params:  []postern.Param{{Type: 25, Value: []byte{0, 255}}, {Null: true}},
		}},
		CreatedAt: at(created), ExpiresAt: at(created + 60),
	}
}

func testReviews(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	for i := range int64(4) {
		rv := review(fmt.Sprintf("rv_%d", i), i/2)
		if i == 3 {
			rv.Identity, rv.State = "bob", postern.ReviewDenied
		}
		ok(t, db.PutReview(ctx, rv))
	}
	got, err := db.Review(ctx, "rv_1")
	ok(t, err)
	same(t, got, review("rv_1", 0))
	if db.PutReview(ctx, review("rv_1", 0)) == nil {
		t.Fatal("a review was put twice")
	}
	_, err = db.Review(ctx, "rv_none")
	missing(t, err)
	ids := func(f postern.ReviewFilter) []string {
		t.Helper()
		list, err := db.Reviews(ctx, f)
		ok(t, err)
		var all []string
		for _, rv := range list {
			all = append(all, rv.ID)
		}
		return all
	}
	same(t, ids(postern.ReviewFilter{}), []string{"rv_3", "rv_2", "rv_1", "rv_0"})
	same(t, ids(postern.ReviewFilter{State: postern.ReviewPending, Limit: 2}), []string{"rv_2", "rv_1"})
	same(t, ids(postern.ReviewFilter{Before: "rv_2"}), []string{"rv_1", "rv_0"})
	same(t, ids(postern.ReviewFilter{Identity: "bob"}), []string{"rv_3"})
	request := review("rq_1", 9)
	request.Session, request.Commands = "", []postern.Command{}
	request.Request = &postern.AccessRequest{
		Access: "fixes", Terms: "t", By: []postern.Being{{Kind: postern.User, Name: "alice", Subject: "s"}}, Seconds: 60, Max: 120, Verbs: []string{"update"},
		Reason: "r", Ticket: "OPS-1", Grant: &postern.Grant{Request: "rq_1", From: at(1), Until: at(2), RevokedAt: at(3), RevokedBy: "dora"},
	}
	ok(t, db.PutReview(ctx, request))
	got, err = db.Review(ctx, "rq_1")
	ok(t, err)
	same(t, got, request)
	same(t, ids(postern.ReviewFilter{Of: "request"}), []string{"rq_1"})
	same(t, ids(postern.ReviewFilter{Of: "command", Limit: 1}), []string{"rv_3"})
	same(t, ids(postern.ReviewFilter{Limit: 1}), []string{"rq_1"})
}

func testReviewUpdate(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	rv := review("rv_1", 0)
	ok(t, db.PutReview(ctx, rv))
	refused := errors.New("refused")
	got, err := db.UpdateReview(ctx, rv.ID, func(r *postern.Review) error {
		r.State, r.Approvers[0] = postern.ReviewApproved, "everyone"
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	same(t, got, rv)
	got, err = db.Review(ctx, rv.ID)
	ok(t, err)
	same(t, got, rv)
	got, err = db.UpdateReview(ctx, rv.ID, func(r *postern.Review) error {
		r.State, r.DecidedAt = postern.ReviewApproved, at(5)
		r.Votes = append(r.Votes, postern.Vote{By: "dora", Kind: postern.User, Approve: true, At: at(5)})
		r.Identity, r.ID, r.ExpiresAt = "mallory", "rv_2", at(1e6) // can't be changed
		return nil
	})
	ok(t, err)
	rv.State, rv.DecidedAt = postern.ReviewApproved, at(5)
	rv.Votes = []postern.Vote{{By: "dora", Kind: postern.User, Approve: true, At: at(5)}}
	same(t, got, rv)
	got, err = db.Review(ctx, rv.ID)
	ok(t, err)
	same(t, got, rv)
	list, err := db.Reviews(ctx, postern.ReviewFilter{State: postern.ReviewPending})
	ok(t, err)
	same(t, list, []postern.Review{})
	_, err = db.UpdateReview(ctx, "rv_none", func(*postern.Review) error { return nil })
	missing(t, err)
}

func testReviewRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	stores := []*store.DB{db, e.Again(t, db)}
	ok(t, db.PutReview(ctx, review("rv_1", 0)))
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			_, err := stores[i%2].UpdateReview(ctx, "rv_1", func(r *postern.Review) error {
				r.Votes = append(r.Votes, postern.Vote{By: fmt.Sprint(i), At: at(1)})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := db.Review(ctx, "rv_1")
	ok(t, err)
	same(t, len(got.Votes), 10)
}

func object(name, yaml string) postern.StoredObject {
	return postern.StoredObject{ObjectKey: postern.ObjectKey{Kind: "Rule", Name: name}, YAML: yaml, UpdatedBy: "alice", UpdatedAt: at(1)}
}

func testObjects(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	ok(t, db.PutObjects(ctx, []postern.StoredObject{object("b", "1"), object("a", "1")}, nil))
	ok(t, db.PutObjects(ctx, []postern.StoredObject{object("b", "2"), object("c", "1")}, []postern.ObjectKey{{Kind: "Rule", Name: "a"}, {Kind: "Mask", Name: "none"}}))
	all, err := db.Objects(ctx)
	ok(t, err)
	same(t, all, []postern.StoredObject{object("b", "2"), object("c", "1")})
	// One that is removed and put in one step is put.
	ok(t, db.PutObjects(ctx, []postern.StoredObject{object("c", "2")}, []postern.ObjectKey{{Kind: "Rule", Name: "c"}}))
	all, err = db.Objects(ctx)
	ok(t, err)
	same(t, all[1], object("c", "2"))
}

func testObjectsAtomic(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	ok(t, db.PutObjects(ctx, []postern.StoredObject{object("a", "1")}, nil))
	over := cancelled(t)
	if db.PutObjects(over, []postern.StoredObject{object("a", "2")}, nil) == nil {
		t.Fatal("written after the context had ended")
	}
	all, err := db.Objects(ctx)
	ok(t, err)
	same(t, all, []postern.StoredObject{object("a", "1")})
}

func testMeta(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.Meta(ctx, "k")
	missing(t, err)
	ok(t, db.PutMeta(ctx, "k", "1"))
	ok(t, db.PutMeta(ctx, "k", "2"))
	v, err := db.Meta(ctx, "k")
	ok(t, err)
	same(t, v, "2")
	v, err = db.AddMeta(ctx, "k", "3")
	ok(t, err)
	same(t, v, "2")
}

func testMetaRace(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	stores := []*store.DB{db, e.Again(t, db)}
	got := make([]string, 8)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = stores[i%2].AddMeta(ctx, "key", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, v := range got {
		same(t, v, got[0])
	}
}

func testSealed(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.Sealed(ctx, "a")
	missing(t, err)
	ok(t, db.PutSealed(ctx, "b", "1"))
	ok(t, db.PutSealed(ctx, "a", "1"))
	ok(t, db.PutSealed(ctx, "a", "2"))
	v, err := db.Sealed(ctx, "a")
	ok(t, err)
	same(t, v, "2")
	names, err := db.SealedNames(ctx)
	ok(t, err)
	same(t, names, []string{"a", "b"})
	ok(t, db.DeleteSealed(ctx, "a"))
	missing(t, db.DeleteSealed(ctx, "a"))
}

// What one store wrote, another that is open on it reads at once.
func testDurable(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	other := e.Again(t, db)
	for i := range 20 {
		name := fmt.Sprint(i)
		ok(t, db.PutMeta(ctx, name, name))
		v, err := other.Meta(ctx, name)
		ok(t, err)
		same(t, v, name)
	}
}

// cancelled is a context that has ended.
func cancelled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
