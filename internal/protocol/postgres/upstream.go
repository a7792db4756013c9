package postgres

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
	"postern/internal/gate"
	"postern/internal/socket"
)

// upstream is a connection to the server, logged in and idle: its first
// ReadyForQuery was consumed.
type upstream struct {
	conn net.Conn
	// early are bytes of conn that came with the greeting, after its end.
	early []byte
	// params are the server's ParameterStatus values until the client is let in.
	params map[string]string
	// txStatus is that of the ReadyForQuery that was consumed.
	txStatus byte
	// notices are the NoticeResponses that came on the way, in order.
	notices []*pgconn.Notice

	// The server's own cancel key. It is never handed to the client.
	pid    uint32
	secret []byte

	// owed is how many commands the server had yet to end when the relay ended.
	// What stands behind the first runs, too, when that is cancelled.
	owed int
	// unread is what was reading from conn when the relay ended, wherever in a
	// message it was.
	unread *frameReader

	session *gate.Session
	blanks  *blankConfigs // nil: none are kept
	address string        // the one of the resource's addresses that answered
	tls     *tls.Config   // nil: the connection is in clear text
}

const (
	// maxGreeting bounds all that a server may say while it logs us in.
	maxGreeting = 1 << 20
	// usualGreeting is the room for what most servers say of themselves: a dozen
	// messages, which would be read by twice as many calls.
	usualGreeting = 2 << 10
	maxNotices    = 64
	// maxCatalogMessage bounds one message on the gateway's own connections.
	maxCatalogMessage = 64 << 20
)

// connectUpstream logs in at the session's resource with the gateway's own
// credentials, and with the settings of the client's startup message. The
// error may name addresses: it is for the operator, and [upstreamRefusal]
// words it for the client.
func connectUpstream(ctx context.Context, s *gate.Session, settings map[string]string, keys *loginKeys, blanks *blankConfigs) (*upstream, error) {
	u := &upstream{session: s, blanks: blanks}
	config, err := u.configure(ctx, s.Database(), settings)
	if err != nil {
		return nil, err
	}
	config.MaxProtocolMessageBodyLen = maxGreeting
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return socket.Of(conn), nil
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if len(u.notices) < maxNotices {
			u.notices = append(u.notices, n)
		}
	}
	var steps *stepReader
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		steps = &stepReader{r: bufio.NewReaderSize(r, usualGreeting), budget: maxGreeting}
		login := &loginReader{r: steps, w: w, keys: keys, user: config.User, password: postern.NewSecret(config.Password)}
		return pgproto3.NewFrontend(login, w)
	}
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectError(s, err)
	}
	hijacked, err := pg.Hijack()
	if err != nil {
		return nil, errors.Join(connectError(s, err), pg.Conn().Close())
	}
	u.conn, u.params, u.txStatus = hijacked.Conn, hijacked.ParameterStatuses, hijacked.TxStatus
	u.pid, u.secret, u.tls = hijacked.PID, hijacked.SecretKey, hijacked.TLSConfig
	if u.early, err = drainGreeting(u.conn, steps.r); err != nil {
		return nil, errors.Join(connectError(s, err), u.conn.Close())
	}
	return u, nil
}

// close closes the connection, of which nothing is expected any more.
func (u *upstream) close() {
	_ = u.conn.Close()
	if u.unread != nil {
		u.unread.release()
	}
}

// drainGreeting returns what was read from conn and not given out: r has a buffer,
// and where writing took long, pgconn reads ahead, and may still be at it. With a
// deadline in the past whoever reads from conn returns, with nothing or what was
// there.
func drainGreeting(conn net.Conn, r io.Reader) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, err
	}
	var early []byte
	var timeout net.Error
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		early = append(early, buf[:n]...)
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return early, conn.SetReadDeadline(time.Time{})
		case err != nil:
			return nil, err
		case len(early) > maxGreeting:
			return nil, errors.New("the server's greeting has no end")
		}
	}
}

// dialUpstream opens a connection of the gateway's own to a database of the
// session's resource, for looking at its catalog. The caller closes it.
func dialUpstream(ctx context.Context, s *gate.Session, database string, settings map[string]string) (*pgconn.PgConn, error) {
	u := &upstream{session: s}
	config, err := u.configure(ctx, database, settings)
	if err != nil {
		return nil, err
	}
	config.MaxProtocolMessageBodyLen = maxCatalogMessage
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectError(s, err)
	}
	return pg, nil
}

func connectError(s *gate.Session, err error) error {
	return fmt.Errorf("connect to %s: %w", s.Resource().Name, err)
}

// configure says how to reach the session's resource, at which of its
// addresses, and as whom.
func (u *upstream) configure(ctx context.Context, database string, settings map[string]string) (*pgconn.Config, error) {
	r := u.session.Resource()
	login, err := u.session.Login(ctx)
	if err != nil {
		return nil, err
	}
	target, err := targetOf(r)
	if err != nil {
		return nil, fmt.Errorf("resource %s: %w", r.Name, err)
	}
	config, err := u.blanks.of(target)
	if err != nil {
		return nil, fmt.Errorf("resource %s: %w", r.Name, err)
	}
	addresses := make(map[string]string, len(r.Addresses)) // as pgconn spells them: as we do
	local := true
	for i, address := range r.Addresses {
		host, port, err := splitAddress(address)
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", r.Name, err)
		}
		terms, err := upstreamTLS(r.TLS, host, login)
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", r.Name, err)
		}
		local = local && isLoopback(host)
		_, spelled := pgconn.NetworkAddress(host, port)
		addresses[spelled] = address
		if i == 0 {
			config.Host, config.Port, config.TLSConfig = host, port, terms
			continue
		}
		config.Fallbacks = append(config.Fallbacks, &pgconn.FallbackConfig{Host: host, Port: port, TLSConfig: terms})
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("resource %s has no address", r.Name)
	}
	config.User, config.Password, config.Database = login.Username, login.Password.Reveal(), database
	config.RuntimeParams = settings
	// Names are left to whoever dials: the gateway, or a relay near the resource.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(ctx context.Context, _, address string) (net.Conn, error) {
		u.address = addresses[address]
		return u.session.Dial(ctx, u.address)
	}
	if deadline, ok := ctx.Deadline(); ok {
		// One address that swallows packets must leave time for the others.
		config.ConnectTimeout = max(time.Until(deadline)/time.Duration(len(r.Addresses)), time.Second)
	}
	if r.TLS.Mode == tlsDisable && !local {
		config.RequireAuth = "!password"
	}
	return config, nil
}

// optionTarget is the option of a resource that says which of its servers to use.
const optionTarget = "target_session_attrs"

// targetOf reads it.
func targetOf(r postern.Resource) (string, error) {
	switch target := r.Options[optionTarget]; target {
	case "":
		return "any", nil
	case "any", "read-write", "read-only", "primary", "standby", "prefer-standby":
		return target, nil
	default:
		return "", fmt.Errorf("%s %q is none that PostgreSQL knows", optionTarget, target)
	}
}

// blankConfigs keeps what blankConfig makes, by the server that is wanted: it takes
// nothing from its surroundings, so that it is the same each time.
type blankConfigs struct {
	mu   sync.Mutex
	made map[string]*pgconn.Config
}

// of returns a configuration of the caller's own.
func (b *blankConfigs) of(target string) (*pgconn.Config, error) {
	if b == nil {
		return blankConfig(target)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if made := b.made[target]; made != nil {
		return made.Copy(), nil
	}
	made, err := blankConfig(target)
	if err != nil {
		return nil, err
	}
	if b.made == nil {
		b.made = make(map[string]*pgconn.Config)
	}
	b.made[target] = made
	return made.Copy(), nil
}

// blankConfig makes a configuration that takes nothing from the gateway's
// environment or home directory: pgconn would look for both.
func blankConfig(targetSessionAttrs string) (*pgconn.Config, error) {
	explicit := "host=blank port=5432 user=blank password=blank dbname=blank passfile='' connect_timeout=0 " +
		"sslmode=disable sslkey='' sslcert='' sslcertmode=allow sslsni='' sslrootcert='' sslpassword='' sslnegotiation='' " +
		"min_protocol_version=3.0 max_protocol_version=3.0 channel_binding=prefer require_auth='' " +
		"target_session_attrs=" + quoteSetting(cmp.Or(targetSessionAttrs, "any"))
	if os.Getenv("PGSERVICE") != "" {
		// It can't be overridden with nothing, only with another service.
		file, err := emptyService()
		if err != nil {
			return nil, fmt.Errorf("set PGSERVICE aside: %w", err)
		}
		defer func() { _ = os.Remove(file) }()
		explicit += " service=blank servicefile=" + quoteSetting(file)
	}
	config, err := pgconn.ParseConfig(explicit)
	if err != nil {
		return nil, fmt.Errorf("make a connection's configuration: %w", err)
	}
	config.KerberosSrvName, config.KerberosSpn = "", ""
	return config, nil
}

// emptyService writes a service file whose service says nothing.
func emptyService() (name string, err error) {
	f, err := os.CreateTemp("", "postern-service-")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString("[blank]\n")
	return f.Name(), errors.Join(err, f.Close())
}

// quoteSetting quotes a value for a connection string, so that nothing in it, and
// nothing behind it, is taken for something else.
func quoteSetting(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// splitAddress takes host:port apart.
func splitAddress(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.HasPrefix(host, "/") {
		return "", 0, fmt.Errorf("address %q is not host:port", address)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return "", 0, fmt.Errorf("address %q has no valid port", address)
	}
	return host, uint16(number), nil
}

// isLoopback says whether a connection to host can't leave the machine that dials.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// stepReader never takes more from r than the message that is being read, so
// that all that comes behind is still there when the connection changes hands. It
// gives up when a server's greeting has no end.
type stepReader struct {
	r      io.Reader
	budget int
	head   [5]byte
	have   int // bytes of head
	left   int // bytes of the message's body still to come
}

// Read implements [io.Reader].
func (s *stepReader) Read(p []byte) (int, error) {
	want := s.left
	if want == 0 {
		want = len(s.head) - s.have
	}
	n, err := s.r.Read(p[:min(len(p), want)])
	s.budget -= n
	if s.left > 0 {
		s.left -= n
	} else {
		s.have += copy(s.head[s.have:], p[:n])
		if s.have == len(s.head) {
			s.have = 0
			s.left = int(uint32(s.head[1])<<24|uint32(s.head[2])<<16|uint32(s.head[3])<<8|uint32(s.head[4])) - 4
		}
	}
	if s.left < 0 || s.left > s.budget {
		return n, errors.New("the server's greeting is malformed or has no end")
	}
	return n, err
}

// upstreamRefusal words for the client why there is no connection to the
// resource. What the server says is passed on only where it answers the
// client's own startup parameters; the gateway's address and credentials are
// nobody's business.
func upstreamRefusal(s *gate.Session, err error) *refusal {
	r := s.Resource()
	out := &refusal{
		code: codeConnection, hint: "session " + s.ID(), cause: err,
		message: "can't reach resource " + r.Name + "; try again, and if that doesn't help tell an administrator",
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return out
	}
	switch {
	case pgErr.Code == "3D000":
		out.code, out.message = pgErr.Code, fmt.Sprintf("resource %s has no database %q", r.Name, s.Database())
	case pgErr.Code == "53300":
		out.code, out.message = pgErr.Code, "resource "+r.Name+" has no connection to spare; try again later"
	case strings.HasPrefix(pgErr.Code, "57P"):
		out.code, out.message = codeNotNow, "resource "+r.Name+" takes no connections now: it is starting up, recovering or shutting down; try again soon"
	case strings.HasPrefix(pgErr.Code, "28"):
		out.code, out.message = codeRejected, "resource "+r.Name+" refuses the gateway's own login; tell an administrator"
	case isAboutParameters(pgErr) && !tells(pgErr.Message, r):
		out.code, out.message = pgErr.Code, "resource "+r.Name+" refuses the connection: "+pgErr.Message
	default:
		out.code, out.message = codeRejected, "resource "+r.Name+" refuses the connection; tell an administrator"
	}
	return out
}

// isAboutParameters says whether the server's error is of a class that startup
// parameters cause: data exceptions, invalid names and values, privileges.
func isAboutParameters(e *pgconn.PgError) bool {
	if len(e.Code) != 5 || len(e.Message) > 1024 {
		return false
	}
	switch e.Code[:2] {
	case "0A", "22", "42":
		return true
	}
	return false
}

// tells says whether text names what a client may not know about r.
func tells(text string, r postern.Resource) bool {
	if r.Credentials.Username != "" && containsWord(text, r.Credentials.Username) {
		return true
	}
	for _, address := range r.Addresses {
		host, _, err := net.SplitHostPort(address)
		if err != nil || strings.Contains(text, host) {
			return true
		}
	}
	return false
}

// containsWord says whether word stands in text by itself, and not only as a
// part of a longer word.
func containsWord(text, word string) bool {
	part := func(c byte) bool { return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(word)
		if (i == 0 || !part(text[i-1])) && (end == len(text) || !part(text[end])) {
			return true
		}
		from = i + 1
	}
}

// noticeResponse is a notice of the server's as it was sent.
func noticeResponse(n *pgconn.Notice) *pgproto3.NoticeResponse {
	return &pgproto3.NoticeResponse{
		Severity: n.Severity, SeverityUnlocalized: n.SeverityUnlocalized, Code: n.Code, Message: n.Message,
		Detail: n.Detail, Hint: n.Hint, Where: n.Where, File: n.File, Line: n.Line, Routine: n.Routine,
	}
}
