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
// of the gateway's own signals all of them, and another sees that they have
// stopped.
//
// It speaks of backends by process id, address and port, as the server sees
// this end of each connection: only what is certainly ours is cancelled. A
// pooler or a translating router in between makes none of them match, and what
// isn't stopped here is left to cancel requests.
type mass struct {
	mu      sync.Mutex // guards what follows
	waiting map[massKey][]*massMember
}

// massKey is a server, and whom the gateway is there.
type massKey struct{ resource, address, user string }

type massMember struct {
	u     *upstream
	ended chan bool // whether its command has stopped; buffered
}

const (
	// massLeast is how many sessions end together before it is worth a login.
	massLeast = 8
	// massGather is how long the first waits for others.
	massGather = 2 * time.Millisecond
)

// end cancels u's only command together with those of others that end now. It
// returns false when it isn't certain that it has stopped: a cancel request is
// then to be sent.
func (m *mass) end(ctx context.Context, u *upstream) bool {
	key := massKey{u.session.Resource().Name, u.address, u.session.Resource().Credentials.Username}
	member := &massMember{u: u, ended: make(chan bool, 1)}
	m.mu.Lock()
	if m.waiting == nil {
		m.waiting = map[massKey][]*massMember{}
	}
	others, led := m.waiting[key]
	m.waiting[key] = append(others, member)
	m.mu.Unlock()
	if !led {
		m.lead(ctx, key)
	}
	select {
	case ended := <-member.ended:
		return ended
	case <-ctx.Done():
		return false
	}
}

// lead serves all who wait for one server, until nobody does. Who leads is
// served first.
func (m *mass) lead(ctx context.Context, key massKey) {
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
	for {
		m.mu.Lock()
		members := m.waiting[key]
		if len(members) == 0 {
			delete(m.waiting, key)
			m.mu.Unlock()
			return
		}
		m.waiting[key] = []*massMember{} // who comes now finds a leader
		m.mu.Unlock()
		ended := map[uint32]bool{}
		if len(members) >= massLeast || conn != nil {
			var err error
			if conn == nil {
				conn, err = members[0].u.dialAgain(ctx)
			}
			if err == nil {
				ended, err = stopAll(ctx, conn, members)
			}
			if err != nil {
				conn = nil // closed by its error; those who come later send cancel requests
			}
		}
		for _, member := range members {
			member.ended <- ended[member.u.pid]
		}
	}
}

// Looking whether what was cancelled has stopped: how often, and how far apart.
const (
	massLooks = 40
	massLook  = 5 * time.Millisecond
)

// stopAll cancels the members' commands, and returns the process ids of those
// that it has seen running, and then no more. A backend that isn't seen running
// may not have read its command yet: it is asked again, and counts only then.
func stopAll(ctx context.Context, conn *pgconn.PgConn, members []*massMember) (map[uint32]bool, error) {
	var rows []string
	for _, member := range members {
		local, ok := bare(member.u.conn).LocalAddr().(*net.TCPAddr)
		if ok {
			rows = append(rows, fmt.Sprintf("(%d, %d, '%s'::inet)", member.u.pid, local.Port, local.AddrPort().Addr().Unmap().WithZone("")))
		}
	}
	stopped := map[uint32]bool{}
	if len(rows) == 0 {
		return stopped, nil
	}
	// Everything in it is a number or an address of ours. Which backends are ours
	// is settled before any is signalled: a planner may ask a condition's parts in
	// any order, and would signal those of others that it then finds not to match.
	text := "WITH mine AS MATERIALIZED (SELECT a.pid, a.state OPERATOR(pg_catalog.=) 'active' OR a.state OPERATOR(pg_catalog.=) 'fastpath function call' AS runs" +
		" FROM pg_catalog.pg_stat_activity a JOIN (VALUES " + strings.Join(rows, ", ") + ") AS ours (pid, port, addr)" +
		" ON a.pid OPERATOR(pg_catalog.=) ours.pid AND a.client_port OPERATOR(pg_catalog.=) ours.port AND a.client_addr OPERATOR(pg_catalog.=) ours.addr)" +
		" SELECT mine.pid, mine.runs, CASE WHEN mine.runs THEN pg_catalog.pg_cancel_backend(mine.pid) END FROM mine"
	ran := map[uint32]bool{}
	for range massLooks {
		results, err := conn.Exec(ctx, text).ReadAll()
		if err != nil {
			return stopped, errors.Join(err, conn.Close(ctx))
		}
		for _, row := range results[0].Rows {
			pid, err := strconv.ParseUint(string(row[0]), 10, 32)
			if err != nil {
				continue
			}
			runs := string(row[1]) == "t"
			stopped[uint32(pid)] = ran[uint32(pid)] && !runs
			ran[uint32(pid)] = ran[uint32(pid)] || runs
		}
		left := 0
		for _, member := range members {
			if ran[member.u.pid] && !stopped[member.u.pid] {
				left++
			}
		}
		if left == 0 && len(ran) > 0 {
			return stopped, nil
		}
		select {
		case <-time.After(massLook):
		case <-ctx.Done():
			return stopped, nil
		}
	}
	return stopped, nil
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
