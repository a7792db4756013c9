package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// How long a catalog is taken for true without another look, how long a look
// may take, and how long one that failed isn't repeated.
const (
	catalogAge   = time.Minute
	catalogTime  = 20 * time.Second
	catalogRetry = 5 * time.Second
	// catalogLock is how long it may wait for a lock on a view, which may be that
	// of the transaction that asks.
	catalogLock = "2s"
	// catalogGlance is how often a session looks whether somebody has changed the
	// database past the gateway, and catalogGlances how many times longer than
	// such a look takes it waits at least.
	catalogGlance  = time.Second
	catalogGlances = 50
	// catalogPause is how long changes that nobody asks about may wait, so
	// that a restore doesn't have the catalog read for every table.
	catalogPause = 2 * time.Second
)

// catalogs keeps what is known of the databases behind the gateway, one entry
// for each database of each resource. It is safe for concurrent use.
type catalogs struct {
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	entries map[catalogKey]*catalogEntry
	sites   map[siteKey]*site
}

// catalogKey names a database as a session reaches it.
type catalogKey struct{ resource, addresses, database, username string }

// newCatalogs returns an empty catalogs.
func newCatalogs(now func() time.Time, log *slog.Logger) *catalogs {
	return &catalogs{now: now, log: log, entries: make(map[catalogKey]*catalogEntry), sites: make(map[siteKey]*site)}
}

// entry returns the entry of a session's database.
func (c *catalogs) entry(s *gate.Session) *catalogEntry {
	resource := s.Resource()
	return c.of(catalogKey{resource.Name, strings.Join(resource.Addresses, ","), s.Database(), resource.Credentials.Username})
}

// of returns the entry of a key.
func (c *catalogs) of(key catalogKey) *catalogEntry {
	where := siteKey{key.addresses, key.database}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		at := c.sites[where]
		if at == nil {
			at = &site{}
			c.sites[where] = at
		}
		e = &catalogEntry{catalogs: c, site: at, wanted: 1}
		c.entries[key] = e
		at.add(e)
	}
	return e
}

// known returns what is known of a resource's own database, or nil.
func (c *catalogs) known(r postern.Resource) *analysis.Catalog {
	c.mu.Lock()
	e := c.entries[catalogKey{r.Name, strings.Join(r.Addresses, ","), r.Database, r.Credentials.Username}]
	c.mu.Unlock()
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.catalog
}

// catalogEntry is the catalog of one database. A catalog that can't be read is
// nil: nothing is proven then.
type catalogEntry struct {
	catalogs *catalogs
	site     *site

	mu      sync.Mutex // guards what follows
	catalog *analysis.Catalog
	// changes are what sessions have committed since, with their numbers;
	// wanted is the last number, and have that of the last one which the
	// catalog shows.
	changes      []catalogChange
	wanted, have int64
	// moves changes whenever names may have got another meaning.
	moves   int64
	touched []string // the names in changes
	readAt  time.Time
	// glanced is when somebody last began to look whether the database is still
	// the one that was read, glance how long that took. fingerprint is the
	// catalog's, unlike the one because of which it is to be read anew. moment is
	// one at which the database had the fingerprint; "": none is known.
	glanced             time.Time
	glance              time.Duration
	fingerprint, unlike string
	moment              string
	retryAt             time.Time
	contents            contents      // of its own lock
	loading             chan struct{} // closed when the reading under way is over; nil: none is
}

// catalogChange names what a transaction has changed.
type catalogChange struct {
	number int64
	names  []string
}

// changed notes that a session of the site has committed changes to what names mean.
func (e *catalogEntry) changed(names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wanted++
	e.moves++
	e.changes = append(e.changes, catalogChange{e.wanted, names})
	e.touched = addNames(e.touched, names)
}

// moved counts how often names may have got another meaning.
func (e *catalogEntry) moved() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moves
}

// changesSoFar counts the changes that are known of.
func (e *catalogEntry) changesSoFar() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wanted
}

// unread says that nothing is known yet of the database.
func (e *catalogEntry) unread() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.have == 0
}

// due says whether a session that looked last at the time at, and not at all
// with the zero time, has to look again whether the database is still the one
// that was read. Whoever opens a session may rely on all that was done before.
func (e *catalogEntry) due(opened, at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.have == 0 {
		return false // nothing is known that could have changed
	}
	if at.IsZero() && e.glanced.Before(opened) {
		return true
	}
	return e.catalogs.now().Sub(e.glanced) > max(catalogGlance, catalogGlances*e.glance)
}

// stands says whether the database is still the one that was read because nothing
// has ended there since that was last seen, by a moment that was asked for at the
// time began; "" for one that isn't known.
func (e *catalogEntry) stands(moment string, began time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.catalog == nil || moment == "" || moment != e.moment {
		return false
	}
	e.looked(began)
	return true
}

// looked notes that somebody has looked at the database. e.mu is held.
func (e *catalogEntry) looked(began time.Time) {
	if began.After(e.glanced) {
		e.glanced, e.glance = began, e.catalogs.now().Sub(began)
	}
}

// saw takes the fingerprint of the database as it was at the time began, "" for
// one that couldn't be had, with the moment that it belongs to, and says whether
// the catalog has to be read anew.
func (e *catalogEntry) saw(fingerprint, moment string, began time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked(began)
	switch {
	case e.catalog == nil:
		return false
	case fingerprint != "" && fingerprint == e.fingerprint:
		if moment != "" {
			e.moment = moment
		}
		return false
	case fingerprint != "" && fingerprint == e.unlike:
		return true // it is being read
	}
	e.unlike = fingerprint
	e.wanted++
	e.moves++
	e.changes = append(e.changes, catalogChange{e.wanted, []string{touchesAll}})
	e.touched = addNames(e.touched, []string{touchesAll})
	return true
}

// is says whether a catalog is that of the database as it is, by its fingerprint.
func (e *catalogEntry) is(c *analysis.Catalog, fingerprint string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return c != nil && e.catalog == c && fingerprint != "" && e.fingerprint == fingerprint
}

// get returns the catalog, and the names that may mean something else by now.
// With fresh it waits until there are none but those of changes that were made since
// it began to; otherwise only for the first reading. Later ones happen in the
// background.
//
// The reading itself runs on loads, with the asking session's rights and until
// its relay is over; whoever else waits for it then tries again.
func (e *catalogEntry) get(ctx context.Context, s *gate.Session, loads *sync.WaitGroup, fresh bool) (*analysis.Catalog, []string) {
	for until := int64(0); ; {
		e.mu.Lock()
		if until == 0 {
			until = e.wanted
		}
		now := e.catalogs.now()
		wait := e.have == 0 || fresh && e.have < until
		due := e.have < e.wanted && now.Sub(e.readAt) > catalogPause || now.Sub(e.readAt) > catalogAge
		if !wait && !due || now.Before(e.retryAt) {
			catalog, touched := e.catalog, e.touched
			e.mu.Unlock()
			return catalog, touched
		}
		if e.loading == nil {
			done, wanted := make(chan struct{}), e.wanted
			e.loading = done
			loads.Go(func() { e.load(ctx, s, wanted, done) })
		}
		loading := e.loading
		if !wait {
			catalog, touched := e.catalog, e.touched
			e.mu.Unlock()
			return catalog, touched
		}
		e.mu.Unlock()
		select {
		case <-loading:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// load reads the catalog over a connection of the gateway's own.
func (e *catalogEntry) load(session context.Context, s *gate.Session, wanted int64, done chan struct{}) {
	ctx, cancel := context.WithTimeout(session, catalogTime)
	defer cancel()
	began := e.catalogs.now()
	catalog, fingerprint, moment, err := readCatalog(ctx, s)
	over := session.Err() != nil
	switch {
	case err == nil:
		e.catalogs.log.Debug("catalog read", "resource", s.Resource().Name, "database", s.Database(), "took", e.catalogs.now().Sub(began))
	case !over:
		e.catalogs.log.Error("catalog can't be read", "resource", s.Resource().Name, "database", s.Database(), "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loading = nil
	close(done)
	switch {
	case err == nil:
		if fingerprint == "" || fingerprint != e.fingerprint {
			e.moves++
		}
		if e.catalog != nil && e.catalog.Version == catalog.Version {
			catalog = e.catalog // with all that was worked out of it; sessions hold it, too
		}
		e.catalog, e.have, e.readAt, e.retryAt = catalog, wanted, began, time.Time{}
		e.fingerprint, e.unlike, e.moment = fingerprint, "", moment
		if began.After(e.glanced) {
			e.glanced = began
		}
		e.touched = nil
		for len(e.changes) > 0 && e.changes[0].number <= wanted {
			e.changes = e.changes[1:]
		}
		for _, c := range e.changes {
			e.touched = addNames(e.touched, c.names)
		}
	case !over:
		e.retryAt = e.catalogs.now().Add(catalogRetry)
		if e.catalogs.now().Sub(e.readAt) > 2*catalogAge {
			// Too old to prove anything by.
			e.catalog, e.have = nil, 0
		}
	}
}

// readCatalog reads it in one snapshot, with no name in reach but the
// server's own.
func readCatalog(ctx context.Context, s *gate.Session) (catalog *analysis.Catalog, fingerprint, moment string, err error) {
	conn, err := dialUpstream(ctx, s, s.Database(), nil)
	if err != nil {
		return nil, "", "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	query := func(text string) ([][]*string, error) { return queryText(ctx, conn, text) }
	if _, err := query("SET search_path = pg_catalog; SET lock_timeout = '" + catalogLock + "'; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"); err != nil {
		return nil, "", "", fmt.Errorf("begin: %w", err)
	}
	rows, err := query(analysis.FingerprintQuery())
	if err != nil {
		return nil, "", "", fmt.Errorf("fingerprint: %w", err)
	}
	catalog, err = analysis.LoadCatalog(query)
	if err != nil {
		return nil, "", "", err
	}
	// Last: in its snapshot it makes no difference when, and where a server doesn't
	// know how to tell, nothing else is lost with the transaction.
	if at, err := query("SELECT " + analysis.Moment); err == nil {
		moment = oneText(at)
	}
	return catalog, oneText(rows), moment, nil
}

// oneText is the text of an answer of one row and one column, or "".
func oneText(rows [][]*string) string {
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] == nil {
		return ""
	}
	return *rows[0][0]
}

func queryText(ctx context.Context, conn *pgconn.PgConn, text string) ([][]*string, error) {
	all, err := conn.Exec(ctx, text).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]*string
	for _, result := range all {
		for _, values := range result.Rows {
			row := make([]*string, len(values))
			for i, v := range values {
				if v != nil {
					s := string(v)
					row[i] = &s
				}
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// database is the one that the session is in.
func (r *relay) database() string {
	if name := r.s.Database(); name != "" {
		return name
	}
	return r.client.params["user"]
}
