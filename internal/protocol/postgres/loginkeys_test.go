package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"postern"
)

const clearResource = `{kind: Resource, name: clear, type: postgres, address: '{{addr}}', database: postgres, tls: {mode: disable}, credentials: {username: keyed}}`

// TestLoginKeysReused: the second login of an account derives nothing, and a
// password that was changed counts at once, for those that are kept.
func TestLoginKeysReused(t *testing.T) {
	h := newHouse(t, map[string]postern.Login{"keyed": {Username: "keyed", Password: postern.NewSecret("first secret")}}, clearResource)
	h.cluster.Exec(t, "postgres", "drop role if exists keyed; create role keyed login password 'first secret'")
	for range 3 {
		u, err := connect(t, h, "clear")
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, u, "select current_user"); got[0] != "keyed" {
			t.Errorf("logged in as %s", got)
		}
	}
	key := onlyAccount(t, h.logins)
	if len(key.salts) != 1 {
		t.Errorf("for %d salts keys were derived", len(key.salts))
	}
	h.cluster.Exec(t, "postgres", "alter role keyed password 'second secret'")
	_, err := connect(t, h, "clear")
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("with the old password: %v", err)
	}
	h.cluster.Exec(t, "postgres", "alter role keyed password 'first secret'")
	if _, err := connect(t, h, "clear"); err != nil {
		t.Errorf("with another salt: %v", err)
	}
	if again := onlyAccount(t, h.logins); again != key || len(key.salts) != 3 {
		t.Errorf("keys for %d salts, want 3", len(key.salts))
	}
}

// onlyAccount is the only account whose keys are kept.
func onlyAccount(t *testing.T, k *loginKeys) *loginKey {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.kept) != 1 {
		t.Fatalf("the keys of %d accounts are kept", len(k.kept))
	}
	for _, key := range k.kept {
		return key
	}
	return nil
}

// TestLoginKeysOdd: passwords are prepared as the server prepares them, or not at
// all where it doesn't.
func TestLoginKeysOdd(t *testing.T) {
	for _, password := range []string{"pässword ﬁ", "tab\there", "zero\u200bwidth", " blanks ", "x", "Ⅸ", "ma\u0308rz", "\U0001f511 key", "\u0627\u0031", "a\u00a0b"} {
		h := newHouse(t, map[string]postern.Login{"keyed": {Username: "keyed", Password: postern.NewSecret(password)}}, clearResource)
		h.cluster.Exec(t, "postgres", "drop role if exists keyed; create role keyed login password '"+password+"'")
		if _, err := connect(t, h, "clear"); err != nil {
			t.Errorf("%q: %v", password, err)
		}
	}
}

// TestLoginKeysForgotten: they are not kept for longer, or for more, than is said.
func TestLoginKeysForgotten(t *testing.T) {
	now := time.Now()
	k := newLoginKeys(rand.Reader, func() time.Time { return now })
	of := func(user string) *loginKey {
		key, err := k.of(user, postern.NewSecret("secret"))
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := of("a")
	if of("a") != first || of("b") == first {
		t.Error("keys belong to no account")
	}
	now = now.Add(loginExpiry + 1)
	if of("c"); len(k.kept) != 1 {
		t.Errorf("the keys of %d accounts are kept after %v", len(k.kept), loginExpiry)
	}
	for i := range 2 * keptLogins {
		of(strconv.Itoa(i))
	}
	if len(k.kept) > keptLogins {
		t.Errorf("the keys of %d accounts are kept", len(k.kept))
	}
	many := of("salty")
	for i := range 3 * mostSalts {
		k.saw(many, strconv.Itoa(i))
	}
	if of("salty") == many {
		t.Error("a server that changes its salt each time makes the keys grow without end")
	}
}

// TestHostileLogin: a server that doesn't know the password isn't believed, and
// one that wants work without end is left.
func TestHostileLogin(t *testing.T) {
	stored := func(password string, rounds int) scram.StoredCredentials {
		c, err := scram.SHA256.NewClientUnprepped("", password, "")
		if err != nil {
			t.Fatal(err)
		}
		keys, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of it", Iters: rounds})
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	final := func(text string) func(string, string) pgproto3.BackendMessage {
		return func(string, string) pgproto3.BackendMessage {
			return &pgproto3.AuthenticationSASLFinal{Data: []byte(text)}
		}
	}
	challenge := func(text string) func(nonce string) pgproto3.BackendMessage {
		return func(nonce string) pgproto3.BackendMessage {
			return &pgproto3.AuthenticationSASLContinue{Data: []byte(strings.ReplaceAll(text, "NONCE", nonce))}
		}
	}
	usual := challenge("r=NONCEmore,s=c2FsdCBvZiBpdA==,i=4096")
	for name, c := range map[string]struct {
		challenge func(nonce string) pgproto3.BackendMessage
		final     func(first, last string) pgproto3.BackendMessage
		want      string
	}{
		"another's signature": {usual, final("v=" + strings.Repeat("A", 43) + "="), "isn't the one that it should be"},
		"an error of SCRAM's": {usual, final("e=other-error"), "isn't the one that it should be"},
		"no signature":        {usual, final(""), "isn't the one that it should be"},
		"let in without one":  {usual, func(string, string) pgproto3.BackendMessage { return &pgproto3.AuthenticationOk{} }, "left its SCRAM"},
		"asked for in clear":  {usual, func(string, string) pgproto3.BackendMessage { return &pgproto3.AuthenticationCleartextPassword{} }, "left its SCRAM"},
		"let in at once":      {func(string) pgproto3.BackendMessage { return &pgproto3.AuthenticationOk{} }, nil, "left its SCRAM"},
		"endless work":        {challenge("r=NONCEmore,s=c2FsdA==,i=2000000000"), nil, "too much work"},
		"work below nothing":  {challenge("r=NONCEmore,s=c2FsdA==,i=-1"), nil, "too much work"},
		"no rounds":           {challenge("r=NONCEmore,s=c2FsdA=="), nil, "malformed"},
		"a nonce of its own":  {challenge("r=other,s=c2FsdA==,i=4096"), nil, "malformed"},
		"no challenge":        {challenge(""), nil, "malformed"},
		"SASL within SASL": {func(string) pgproto3.BackendMessage {
			return &pgproto3.AuthenticationSASL{AuthMechanisms: []string{scramPlain}}
		}, nil, "left its SCRAM"},
		"an error, and its end": {func(string) pgproto3.BackendMessage {
			return &pgproto3.ErrorResponse{Severity: "FATAL", Code: "53300", Message: "no room"}
		}, nil, "53300"},
	} {
		t.Run(name, func(t *testing.T) {
			err := fakeLogin(t, c.challenge, c.final)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %q", err, c.want)
			}
		})
	}
	t.Run("one that knows it", func(t *testing.T) {
		server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored("hidden secret", 4096), nil })
		if err != nil {
			t.Fatal(err)
		}
		conversation := server.NewConversation()
		err = fakeLogin(t, func(nonce string) pgproto3.BackendMessage {
			text, err := conversation.Step("n,,n=,r=" + nonce)
			if err != nil {
				t.Error(err)
			}
			return &pgproto3.AuthenticationSASLContinue{Data: []byte(text)}
		}, func(_, last string) pgproto3.BackendMessage {
			text, err := conversation.Step(last)
			if err != nil {
				t.Error(err)
			}
			return &pgproto3.AuthenticationSASLFinal{Data: []byte(text)}
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// fakeLogin logs in at a server that answers so.
func fakeLogin(t *testing.T, challenge func(nonce string) pgproto3.BackendMessage, final func(first, last string) pgproto3.BackendMessage) error {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer func() { _ = theirs.Close() }()
		b := pgproto3.NewBackend(theirs, theirs)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		send := func(m pgproto3.BackendMessage) bool {
			b.Send(m)
			return b.Flush() == nil
		}
		if !send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{scramPlain}}) || b.SetAuthType(pgproto3.AuthTypeSASL) != nil {
			return
		}
		m, err := b.Receive()
		first, ok := m.(*pgproto3.SASLInitialResponse)
		if err != nil || !ok {
			return
		}
		_, nonce, _ := strings.Cut(string(first.Data), ",r=")
		if !send(challenge(nonce)) || final == nil || b.SetAuthType(pgproto3.AuthTypeSASLContinue) != nil {
			return
		}
		m, err = b.Receive()
		last, ok := m.(*pgproto3.SASLResponse)
		if err != nil || !ok || !send(final(string(first.Data), string(last.Data))) {
			return
		}
		key := make([]byte, 4)
		binary.BigEndian.PutUint32(key, 7)
		if send(&pgproto3.AuthenticationOk{}) && send(&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: key}) {
			send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			_, _ = theirs.Read(key) // until the other end is closed
		}
	}()
	h := newHouse(t, map[string]postern.Login{"fake": {Username: "fake", Password: postern.NewSecret("hidden secret")}},
		`{kind: Resource, name: fake, type: postgres, address: '127.0.0.1:1', database: postgres, tls: {mode: disable}, credentials: {username: fake}}`)
	h.route = func(context.Context) (net.Conn, error) { return ours, nil }
	_, err := connect(t, h, "fake")
	_ = ours.Close()
	<-served
	if err != nil && strings.Contains(err.Error(), "hidden secret") {
		t.Errorf("the password is told: %v", err)
	}
	return err
}
