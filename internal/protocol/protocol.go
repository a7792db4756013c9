// Package protocol is what every protocol is to the rest of the gateway: a
// name, the facts that it states about commands, and a way to serve one
// connection. The listeners belong to the server; the way to an upstream
// belongs to the gate.
//
// A protocol is one folder below this one and one line in protocol/all. What
// all of them must hold to is tested by protocol/protocoltest.
package protocol

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/policy"
)

// Protocol speaks one native protocol to clients. Its methods may be called
// from several goroutines.
type Protocol interface {
	// Name is the type of the resources it opens: "postgres".
	Name() string
	// Attrs are the facts that it states about its commands. Policies are
	// type-checked against them when they load.
	Attrs() []postern.AttrType
	// Serve speaks to one client until it has gone, the session has ended or
	// ctx is done, and closes conn before it returns; no goroutine that it
	// started outlives it. It reaches upstreams only through a session of g.
	// The error is for the operator: the client was told in the protocol's own
	// words. A client that went away in an orderly manner is no error.
	Serve(ctx context.Context, conn net.Conn, g *gate.Gate) error
}

// Parker is a Protocol whose connections need no goroutine while nothing happens on them.
type Parker interface {
	// ServeParking is Serve, but returns when the connection is parked for the first time,
	// or over. over is called, once, with what Serve would return; nothing that it started
	// outlives that. A bug in it is a panic until then, and an error later.
	ServeParking(ctx context.Context, conn net.Conn, g *gate.Gate, over func(error))
}

// Analyser is a Protocol that can say what a text would do to a resource
// without a session, for those who write policies. It knows of the resource
// what sessions have seen; other names it takes as the resource's defaults do.
type Analyser interface {
	Analyse(r postern.Resource, text string) []postern.Command
}

// Addresser is a Protocol whose clients take a connection string.
type Addresser interface {
	// DSN is the string with which user enters a resource with a token. It
	// holds the token.
	DSN(host string, port int, user string, token postern.Secret, resource string) string
}

// Checker is a Protocol that can try whether a resource lets the gateway in.
type Checker interface {
	// Check logs in at the session's resource and leaves again. The error is
	// for the operator.
	Check(ctx context.Context, s *gate.Session) error
}

// ResourceChecker is a Protocol that reads options of its resources. What it
// can't read is a mistake that is told when the object is loaded.
type ResourceChecker interface {
	CheckResource(r postern.Resource) error
}

// Sectioner is a Protocol in whose words an access may be narrowed: by a section
// under the protocol's name.
type Sectioner interface {
	Section() policy.SectionType
}

// PolicyTypes are protocols as policies know them.
func PolicyTypes(all ...Protocol) []policy.ProtocolType {
	var types []policy.ProtocolType
	for _, p := range all {
		kind := policy.ProtocolType{Name: p.Name(), Attrs: p.Attrs()}
		if c, ok := p.(ResourceChecker); ok {
			kind.Check = c.CheckResource
		}
		if s, ok := p.(Sectioner); ok {
			section := s.Section()
			kind.Section = &section
		}
		types = append(types, kind)
	}
	return types
}

// Encrypted is a Protocol whose clients may begin with TLS at once.
type Encrypted interface {
	// ALPN is the protocol's name within TLS (RFC 7301), with which they do.
	ALPN() string
}

// Sampler is a Protocol that can look at what a resource's columns hold.
type Sampler interface {
	// Sample calls each with some values of every column that may hold something
	// of interest, over a connection of its own that changes nothing. The values
	// are the caller's to keep secret. The error is for the operator.
	Sample(ctx context.Context, s *gate.Session, each func(Sampled)) error
}

// Sampled are some values of one column, or of one place in its documents.
type Sampled struct {
	Column postern.ColumnName
	Path   string // within the column's documents, as masks spell it behind the $
	Type   string // the column's, in the resource's own words
	Values []string
	// Unread says that the table could not be read: Column names no column then.
	Unread bool
}

// Options are what protocols are made with. The zero value of each works.
type Options struct {
	// TLS is what listeners present to clients; nil: clear text only.
	TLS *tls.Config
	// AllowPlaintext lets clients on the loopback interface speak clear text.
	// All others need TLS, always.
	AllowPlaintext bool
	// HandshakeTimeout is how long a client may take from its first byte to an
	// open session, the connection to the upstream included. 0: 10 seconds.
	HandshakeTimeout time.Duration
	// Authority says what clients' keys and certificates prove; nil: nothing.
	Authority Authority
	// SignIn lets a person sign in with a browser while a client waits that can
	// show a link and no more; nil: nobody can.
	SignIn func(ctx context.Context, resource, client string, source netip.Addr) (SignIn, error)
	// Kept returns a secret of the gateway's own by its name: what fresh makes the
	// first time, and the same ever after. nil: each process makes its own.
	Kept func(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error)
	Log  *slog.Logger
	Rand io.Reader
	Now  func() time.Time
}

// SignIn is a person's signing in elsewhere.
type SignIn struct {
	// Link is what the person opens in a browser.
	Link string
	// Token waits until the person has approved, and returns a session token of
	// whoever that was, for one use. The error is for the operator.
	Token func(context.Context) (postern.Secret, error)
}

// Authority is the gateway's certificate authority, as listeners need it. TLS
// asks for a client's certificate and takes any; what the handshake has proved
// goes into the credential that the gate is asked with. A protocol with
// certificates of another kind declares what else it needs of an Authority, and
// does without where this one hasn't it.
type Authority interface {
	// Proof is what a finished TLS handshake has proved. It is the zero Proof
	// for nil, so that a clear-text connection needs no case of its own.
	Proof(*tls.ConnectionState) postern.Proof
}

// nobody is the Authority of a gateway without one.
type nobody struct{}

func (nobody) Proof(*tls.ConnectionState) postern.Proof { return postern.Proof{} }

// WithDefaults fills in what was left at its zero value.
func (o Options) WithDefaults() Options {
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.Authority == nil {
		o.Authority = nobody{}
	}
	if o.Kept == nil {
		o.Kept = keptInMemory()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// keptInMemory keeps secrets for as long as the process lives.
func keptInMemory() func(context.Context, string, func() ([]byte, error)) ([]byte, error) {
	var mu sync.Mutex
	kept := make(map[string][]byte)
	return func(_ context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if secret, ok := kept[name]; ok {
			return secret, nil
		}
		secret, err := fresh()
		if err == nil {
			kept[name] = secret
		}
		return secret, err
	}
}
