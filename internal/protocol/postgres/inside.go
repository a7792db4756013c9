package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// What a transaction has made of names is seen by nobody but itself. A migration
// that creates a table and goes on to fill it is read by a catalog that is read
// within: over the client's own connection, in the client's own transaction.

// ownView is a catalog as the open transaction sees it.
type ownView struct {
	catalog *analysis.Catalog
	renames int   // p.renames as of it
	others  int64 // changes by others as of it
	readAt  time.Time
}

// ownCatalog returns what the open transaction was last seen to see, or nil when
// that may have changed since.
func (r *relay) ownCatalog() *analysis.Catalog {
	own := r.own
	if own == nil {
		return nil
	}
	r.p.mu.Lock()
	same := own.renames == r.p.renames && r.p.renamers == 0
	r.p.mu.Unlock()
	if !same || own.others != r.catalog.changesSoFar() || r.o.now().Sub(own.readAt) > catalogAge {
		r.own = nil
		return nil
	}
	return own.catalog
}

// lookInside asks over the client's own connection for what no other can tell:
// which schema holds its temporary tables, and, in a transaction that has changed
// names, what they stand for now. What can't be asked stays unknown.
//
// Within a transaction it asks only as one of statements is to be run or planned next,
// which takes a snapshot itself: before that the client may choose its isolation.
func (r *relay) lookInside(ctx context.Context, statements []sql.Statement) error {
	if err := r.drained(ctx); err != nil {
		return err
	}
	r.p.mu.Lock()
	status, open, renames, renamed := r.p.status, r.p.open, r.p.renames, len(r.p.renamed) > 0
	r.p.mu.Unlock()
	if open || status != 'I' && (status != 'T' || len(statements) == 0 || !plans(statements[:1])) {
		return nil
	}
	schema, err := r.ask(ctx, false, temporarySchema)
	if err != nil {
		return r.unlessBroken(ctx, err)
	}
	r.temporary = oneText(schema[0])
	if status != 'T' || !renamed {
		return nil
	}
	// Under any other level a catalog shows the past.
	level, err := r.ask(ctx, false, "SHOW transaction_isolation")
	if err != nil || oneText(level[0]) != "read committed" {
		return r.unlessBroken(ctx, err)
	}
	own := &ownView{renames: renames, others: r.catalog.changesSoFar(), readAt: r.o.now()}
	if own.catalog, err = r.readInside(ctx); err != nil || own.catalog == nil {
		return r.unlessBroken(ctx, err)
	}
	r.own = own
	return nil
}

// temporarySchema asks for the schema of the session's own temporary tables.
const temporarySchema = `SELECT nspname FROM pg_catalog.pg_namespace WHERE oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()`

// unlessBroken is err if it ends the session, and otherwise nil: the server has
// refused to answer, and what was asked stays unknown.
func (r *relay) unlessBroken(ctx context.Context, err error) error {
	if err != nil && (ctx.Err() != nil || isBroken(err)) {
		return err
	}
	return nil
}

// readInside reads the catalog in the open transaction. It returns nil when it
// may have changed meanwhile. The search path is the server's own meanwhile, in a
// savepoint that leaves nothing behind.
func (r *relay) readInside(ctx context.Context) (*analysis.Catalog, error) {
	if _, err := r.ask(ctx, false, "SAVEPOINT "+r.reserved, "SET LOCAL search_path = pg_catalog"); err != nil {
		return nil, err
	}
	query := func(text string) ([][]*string, error) {
		answers, err := r.ask(ctx, false, text)
		if err != nil {
			return nil, err
		}
		return answers[0], nil
	}
	catalog, err := readSteadily(query)
	if err != nil && isBroken(err) {
		return nil, err
	}
	if _, back := r.ask(ctx, false, "ROLLBACK TO SAVEPOINT "+r.reserved, "RELEASE SAVEPOINT "+r.reserved); back != nil {
		return nil, fmt.Errorf("leave the catalog: %w", errors.Join(back, err))
	}
	return catalog, err
}

// readSteadily reads a catalog, which took several snapshots, and returns nil
// when it wasn't the same in all of them.
func readSteadily(query func(string) ([][]*string, error)) (*analysis.Catalog, error) {
	before, err := query(analysis.FingerprintQuery())
	if err != nil {
		return nil, err
	}
	catalog, err := analysis.LoadCatalog(query)
	if err != nil {
		return nil, err
	}
	after, err := query(analysis.FingerprintQuery())
	if err != nil || oneText(before) != oneText(after) {
		return nil, err
	}
	return catalog, nil
}
