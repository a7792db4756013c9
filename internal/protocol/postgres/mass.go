package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// mass cancels what many sessions of one server run, at once. A cancel request
// costs the server a process, so that those of five hundred sessions, which one
// event ends, would wait for each other; a single statement over one connection
// of the gateway's own signals all of them.
//
// It speaks of backends by process id, address and port, as the server sees
// this end of each connection: only what is certainly ours is cancelled. A
// pooler or a translating router in between makes none of them match, and what
// isn't signalled here is left to cancel requests, a few at a time.
type mass struct {
	mu      sync.Mutex // guards what follows, and what is in it
	servers map[massKey]*massServer
}

// massKey is a server, and whom the gateway is there.
type massKey struct{ resource, address, user string }

// massServer is a server at which something is being cancelled.
type massServer struct {
	callers  int           // who holds it
	requests chan struct{} // holds one for each cancel request under way
	waiting  []*massMember
	led      bool // somebody serves those who wait
}

type massMember struct {
	u     *upstream
	found chan massFound // buffered
}

// massFound is what became of one of those who were cancelled together.
type massFound int

const (
	massUnknown massFound = iota // not seen, or not asked for: it needs a cancel request
	massIdle                     // signalled while nothing ran
	massRunning                  // signalled while its command ran
)

const (
	// massLeast is how many sessions end together before it is worth a login.
	massLeast = 8
	// massGather is how long the first waits for others.
	massGather = 2 * time.Millisecond
	// massRequests is how many cancel requests a server gets at a time.
	massRequests = 16
)

// cancel asks u's server to end its command, together with those of others that
// end now, or by a cancel request. again is after how long to ask again.
func (m *mass) cancel(ctx context.Context, u *upstream) (again time.Duration, err error) {
	server, leave := m.enter(u)
	defer leave()
	switch m.together(ctx, server, u) {
	case massRunning:
		return cancelAgain, nil
	case massIdle:
		return overtakenAgain, nil
	default:
		return cancelAgain, server.request(ctx, u)
	}
}

// request sends a cancel request when it is its turn.
func (m *mass) request(ctx context.Context, u *upstream) error {
	server, leave := m.enter(u)
	defer leave()
	return server.request(ctx, u)
}

func (s *massServer) request(ctx context.Context, u *upstream) error {
	select {
	case s.requests <- struct{}{}:
		defer func() { <-s.requests }()
		return u.cancel(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter finds u's server. It is forgotten when the last caller leaves.
func (m *mass) enter(u *upstream) (server *massServer, leave func()) {
	key := massKey{u.session.Resource().Name, u.address, u.session.Resource().Credentials.Username}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.servers == nil {
		m.servers = map[massKey]*massServer{}
	}
	server, ok := m.servers[key]
	if !ok {
		server = &massServer{requests: make(chan struct{}, massRequests)}
		m.servers[key] = server
	}
	server.callers++
	return server, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if server.callers--; server.callers == 0 {
			delete(m.servers, key)
		}
	}
}

// together has u's command cancelled with those of others.
func (m *mass) together(ctx context.Context, server *massServer, u *upstream) massFound {
	member := &massMember{u: u, found: make(chan massFound, 1)}
	m.mu.Lock()
	server.waiting = append(server.waiting, member)
	leads := !server.led
	server.led = true
	m.mu.Unlock()
	if leads {
		m.lead(ctx, server)
	}
	select {
	case found := <-member.found:
		return found
	case <-ctx.Done():
		return massUnknown
	}
}

// lead serves all who wait for one server, until nobody does. Whoever comes
// while it logs in, or asks, is served with the next statement.
func (m *mass) lead(ctx context.Context, server *massServer) {
	var conn *pgconn.PgConn
	defer func() {
		if conn != nil {
			_ = conn.Close(ctx) // it has served
		}
	}()
	gather := time.NewTimer(massGather)
	defer gather.Stop()
	select {
	case <-gather.C:
	case <-ctx.Done():
	}
	var failed error
	for {
		m.mu.Lock()
		first, many := (*upstream)(nil), len(server.waiting) >= massLeast
		if many {
			first = server.waiting[0].u
		}
		m.mu.Unlock()
		if many && conn == nil && failed == nil {
			conn, failed = first.dialAgain(ctx)
		}
		m.mu.Lock()
		members := server.waiting
		server.waiting = nil
		if len(members) == 0 {
			server.led = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		var found map[uint32]massFound
		if conn != nil {
			if found, failed = cancelAll(ctx, conn, members); failed != nil {
				conn = nil // closed by its error; those who come later send cancel requests
			}
		}
		for _, member := range members {
			member.found <- found[member.u.pid]
		}
	}
}

// cancelAll cancels the members' commands, and says of each backend, by its
// process id, whether it ran one.
func cancelAll(ctx context.Context, conn *pgconn.PgConn, members []*massMember) (map[uint32]massFound, error) {
	var rows []string
	for _, member := range members {
		local, ok := bare(member.u.conn).LocalAddr().(*net.TCPAddr)
		if ok {
			rows = append(rows, fmt.Sprintf("(%d, %d, '%s'::inet)", member.u.pid, local.Port, local.AddrPort().Addr().Unmap().WithZone("")))
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	// Everything in it is a number or an address of ours. Which backends are ours
	// is settled before any is signalled: a planner may ask a condition's parts in
	// any order, and would signal those of others that it then finds not to match.
	// A server that doesn't track activities is taken to run what it was sent.
	results, err := conn.Exec(ctx, "WITH mine AS MATERIALIZED (SELECT a.pid,"+
		" COALESCE(a.state OPERATOR(pg_catalog.!~) '^idle', true) AS runs"+
		" FROM pg_catalog.pg_stat_activity a JOIN (VALUES "+strings.Join(rows, ", ")+") AS ours (pid, port, addr)"+
		" ON a.pid OPERATOR(pg_catalog.=) ours.pid AND a.client_port OPERATOR(pg_catalog.=) ours.port AND a.client_addr OPERATOR(pg_catalog.=) ours.addr)"+
		" SELECT mine.pid, mine.runs, pg_catalog.pg_cancel_backend(mine.pid) FROM mine").ReadAll()
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	found := map[uint32]massFound{}
	for _, row := range results[0].Rows {
		pid, err := strconv.ParseUint(string(row[0]), 10, 32)
		if err != nil || string(row[2]) != "t" {
			continue
		}
		found[uint32(pid)] = massIdle
		if string(row[1]) == "t" {
			found[uint32(pid)] = massRunning
		}
	}
	return found, nil
}

// bare is a connection below TLS.
func bare(conn net.Conn) net.Conn {
	if secured, ok := conn.(*tls.Conn); ok {
		return secured.NetConn()
	}
	return conn
}

// dialAgain logs in once more, at the very address that u is connected to.
func (u *upstream) dialAgain(ctx context.Context) (*pgconn.PgConn, error) {
	host, port, err := splitAddress(u.address)
	if err != nil {
		return nil, err
	}
	again := &upstream{session: u.session}
	config, err := again.configure(ctx, u.session.Database(), map[string]string{"application_name": "postern"})
	if err != nil {
		return nil, err
	}
	for _, f := range config.Fallbacks {
		if f.Host == host && f.Port == port {
			config.Host, config.Port, config.TLSConfig = f.Host, f.Port, f.TLSConfig
		}
	}
	if config.Host != host || config.Port != port {
		return nil, fmt.Errorf("%s isn't an address of the resource", u.address)
	}
	config.Fallbacks = nil
	return pgconn.ConnectConfig(ctx, config)
}
