package postgres

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"postern"
)

// Deriving SCRAM's keys from a password (RFC 5802, section 3) takes longer than
// all the rest of a login. They are the same for each login of an account, until
// its password or its salt changes.
const (
	keptLogins  = 256
	loginExpiry = 10 * time.Minute // after the last login
	// mostRounds bounds the work that a server may ask for. PostgreSQL's default is 4096.
	mostRounds = 1 << 20
)

// loginKeys keeps the keys of the gateway's own logins in memory.
type loginKeys struct {
	secret []byte // so that the map's keys tell nothing of passwords; nil: nothing is kept
	now    func() time.Time

	mu   sync.Mutex
	kept map[[sha256.Size]byte]*loginKey
}

// loginKey belongs to one account's password.
type loginKey struct {
	client *scram.Client // keeps the keys for each salt
	salts  []string      // that it has seen, with their rounds; guarded by loginKeys.mu
	used   time.Time
}

// mostSalts is for how many salts an account's keys are kept: a server has one
// for each, and changes it with the password.
const mostSalts = 4

func newLoginKeys(rand io.Reader, now func() time.Time) *loginKeys {
	k := &loginKeys{secret: make([]byte, sha256.Size), now: now, kept: make(map[[sha256.Size]byte]*loginKey)}
	if _, err := io.ReadFull(rand, k.secret); err != nil {
		k.secret = nil
	}
	return k
}

// of returns the keys of an account.
func (k *loginKeys) of(user string, password postern.Secret) (*loginKey, error) {
	mac := hmac.New(sha256.New, k.secret)
	_, _ = fmt.Fprintf(mac, "%d %s %s", len(user), user, password.Reveal()) // a hash never returns an error
	id := [sha256.Size]byte(mac.Sum(nil))
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for other, key := range k.kept {
		if now.Sub(key.used) > loginExpiry || len(k.kept) >= keptLogins && other != id {
			delete(k.kept, other)
		}
	}
	key := k.kept[id]
	if key == nil || len(key.salts) > mostSalts {
		// The name isn't a part of what PostgreSQL is told within SCRAM, and how many
		// rounds there are is the server's setting.
		// Of the two things that RFC 3454 says of U+200B, PostgreSQL (saslprep.c) takes
		// that it is a blank, and what can't be prepared it takes as it is.
		client, err := scram.SHA256.NewClient("", strings.ReplaceAll(password.Reveal(), "\u200b", " "), "")
		if err != nil {
			client, err = scram.SHA256.NewClientUnprepped("", password.Reveal(), "")
		}
		if err != nil {
			return nil, err
		}
		key = &loginKey{client: client.WithMinIterations(1)}
		if k.secret != nil {
			k.kept[id] = key
		}
	}
	key.used = now
	return key, nil
}

// saw notes that the keys for a salt are asked for.
func (k *loginKeys) saw(key *loginKey, salt string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(key.salts, salt) {
		key.salts = append(key.salts, salt)
	}
}

// loginReader reads what a server says while it lets us in. SCRAM it answers
// itself, with keys that were derived before: whoever reads from it sees the
// outcome alone. Any other way to log in is left to them.
type loginReader struct {
	r        io.Reader // no more than a message at a time
	w        io.Writer // to the server
	keys     *loginKeys
	user     string
	password postern.Secret

	pending []byte // to be read from here
	over    bool   // the login is: all else is passed on
}

// Read implements [io.Reader].
func (l *loginReader) Read(p []byte) (int, error) {
	for len(l.pending) == 0 {
		if l.over {
			return l.r.Read(p)
		}
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.pending)
	l.pending = l.pending[n:]
	return n, nil
}

// next reads a message, and answers it or leaves it to be read.
func (l *loginReader) next() error {
	m, err := l.message()
	if err != nil {
		return err
	}
	kind := uint32(pgproto3.AuthTypeOk)
	if m[0] == 'R' && len(m) >= headerSize+4 {
		kind = binary.BigEndian.Uint32(m[headerSize:])
	}
	mechanisms, ok := l.mechanisms(m[headerSize:])
	if m[0] != 'R' || kind != pgproto3.AuthTypeSASL || !ok {
		// Notices come before the login's end, too.
		l.over = m[0] == 'R' || m[0] == 'E'
		l.pending = m
		return nil
	}
	return l.converse(mechanisms)
}

// message reads one whole.
func (l *loginReader) message() ([]byte, error) {
	m := make([]byte, headerSize)
	if _, err := io.ReadFull(l.r, m); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(m[1:])) - 4
	if size < 0 || size > maxGreeting {
		return nil, errors.New("the server's greeting is malformed or has no end")
	}
	body := bytes.NewBuffer(m)
	if _, err := io.CopyN(body, l.r, size); err != nil {
		return nil, unexpected(err)
	}
	return body.Bytes(), nil
}

// mechanisms reads those of AuthenticationSASL; ok says that SCRAM is one, and
// that there is a password.
func (l *loginReader) mechanisms(body []byte) (all []string, ok bool) {
	if l.password.IsZero() || len(body) < 4 {
		return nil, false
	}
	body = body[4:]
	for len(body) > 0 && body[0] != 0 {
		name, rest, ok := cutString(body)
		if !ok {
			return nil, false
		}
		all = append(all, name)
		body = rest
	}
	return all, slices.Contains(all, scramPlain)
}

// converse shows the server that we know the password, and has it show that it
// does (RFC 7677). What ends it early is left to be read.
func (l *loginReader) converse(offered []string) error {
	key, err := l.keys.of(l.user, l.password)
	if err != nil {
		return err
	}
	mechanism, conversation := l.begin(key.client, offered)
	first, err := conversation.Step("")
	if err != nil {
		return err
	}
	challenge, err := l.turn(&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte(first)}, pgproto3.AuthTypeSASLContinue)
	if err != nil || challenge == nil {
		return err
	}
	salt, err := saltOf(string(challenge))
	if err != nil {
		return err
	}
	l.keys.saw(key, salt)
	proof, err := conversation.Step(string(challenge))
	if err != nil {
		return errors.New("the server's SCRAM challenge is malformed")
	}
	final, err := l.turn(&pgproto3.SASLResponse{Data: []byte(proof)}, pgproto3.AuthTypeSASLFinal)
	if err != nil || final == nil {
		return err
	}
	if _, err := conversation.Step(string(final)); err != nil || !conversation.Valid() {
		return errors.New("the server doesn't know the password that it asked for: it isn't the one that it should be")
	}
	return nil
}

// begin chooses the mechanism: over TLS one that also proves that there is nobody
// in between, where the server offers it.
func (l *loginReader) begin(client *scram.Client, offered []string) (string, *scram.ClientConversation) {
	secured, ok := l.w.(*tls.Conn)
	if !ok {
		return scramPlain, client.NewConversation()
	}
	state := secured.ConnectionState()
	if binding, err := scram.NewTLSServerEndpointBinding(&state); err == nil && slices.Contains(offered, scramPlus) {
		return scramPlus, client.NewConversationWithChannelBinding(binding)
	}
	return scramPlain, client.NewConversationAdvertisingChannelBinding()
}

// turn sends a message and returns what the next one of the kind says; nil when
// another came, which is left to be read.
func (l *loginReader) turn(send pgproto3.FrontendMessage, kind uint32) ([]byte, error) {
	out, err := send.Encode(nil)
	if err != nil {
		return nil, err
	}
	if _, err := l.w.Write(out); err != nil {
		return nil, err
	}
	m, err := l.message()
	if err != nil {
		return nil, err
	}
	if m[0] == 'R' && len(m) >= headerSize+4 && binary.BigEndian.Uint32(m[headerSize:]) == kind {
		return m[headerSize+4:], nil
	}
	if m[0] == 'R' {
		return nil, errors.New("the server left its SCRAM conversation")
	}
	l.over, l.pending = m[0] == 'E', m
	return nil, nil
}

// saltOf are the salt and the rounds of a server's first message.
func saltOf(challenge string) (string, error) {
	_, salt, ok := strings.Cut(challenge, ",s=")
	_, rounds, both := strings.Cut(salt, ",i=")
	if n, err := strconv.Atoi(rounds); !ok || !both || err != nil || n < 1 || n > mostRounds {
		return "", errors.New("the server's SCRAM challenge is malformed, or asks for too much work")
	}
	return salt, nil
}
