package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/sql"
	analysis "postern/internal/sql/postgres"
)

// Masks by content look at text as it leaves, and see nothing in parts of it nor
// in what a condition tells. So who is under such a mask may take text apart only
// where there is nothing to find: the gateway looks for itself, in rows of the
// columns that a command takes apart.

// Bounds of a look at what columns hold.
const (
	contentRows  = 5000 // of a large table; of one up to twice as large, all
	contentBytes = 4000 // of each value
	contentTime  = 20 * time.Second
	// contentAge is how long what was seen counts.
	contentAge = 5 * time.Minute
	// contentRetry is how long a column that couldn't be looked at isn't looked
	// at again.
	contentRetry = 5 * time.Second
	maxContents  = 10000
)

// contents is what is known of what a database's columns hold. The zero value is
// ready; it is safe for concurrent use.
type contents struct {
	mu   sync.Mutex
	seen map[contentKey]content
}

// contentKey is a column, under its name and at its place, and what was looked for
// in it.
type contentKey struct {
	column postern.ColumnName
	at     place
	masks  string
}

// place is where a column's values are, whatever it is called by now: a relation
// and an attribute of it, 0 for all of them. The zero value is none that is known.
type place struct {
	table     uint32
	attribute uint16
}

// placeOf is where a column is.
func placeOf(cmd *command, c postern.ColumnName) (place, *analysis.Relation) {
	if cmd.env == nil || cmd.env.Catalog == nil {
		return place{}, nil
	}
	rel := cmd.env.Catalog.Relation(c.Schema, c.Table)
	if rel == nil {
		return place{}, nil
	}
	for i := range rel.Columns {
		if rel.Columns[i].Name == c.Column && !rel.Columns[i].Dropped {
			return place{rel.OID, uint16(i + 1)}, rel //nolint:gosec // at most 1,600 columns
		}
	}
	return place{table: rel.OID}, rel
}

// content is what a look at a column has shown.
type content struct {
	holds  bool // something that is looked for
	unread bool // nothing could be looked at
	own    bool // only the session that asks sees the column
	until  time.Time
}

func (c *contents) get(k contentKey, now time.Time) (content, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen, ok := c.seen[k]
	return seen, ok && now.Before(seen.until)
}

func (c *contents) put(k contentKey, seen content) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil || len(c.seen) >= maxContents {
		c.seen = make(map[contentKey]content)
	}
	c.seen[k] = seen
}

// tells says why a command that is allowed is refused all the same: it takes text
// apart in which masks by content would have found something.
func (r *relay) tells(ctx context.Context, cmd *command) (string, error) {
	if !slices.ContainsFunc(cmd.statements, func(st sql.Statement) bool { return len(st.Pieces)+len(st.Searches)+len(st.Flows) > 0 }) {
		return "", nil
	}
	looked := detected(cmd.decision.Masks)
	if looked == "" {
		return "", nil
	}
	for i := range cmd.statements {
		st := &cmd.statements[i]
		columns := taken(st, cmd.params)
		found, err := r.holding(ctx, cmd, looked, columns)
		if err != nil {
			return "", err
		}
		for _, c := range found {
			if !c.unread {
				return fmt.Sprintf("%s holds what the masks look for by content (%s), and this command takes its text apart, rewrites it or compares it, where they can't; "+
					"select the column as it is, or its first four characters; compare it by =, search it by words without digits and signs; or have the mask name the column", c.column, looked), nil
			}
			return fmt.Sprintf("masks by content (%s) apply here, this command takes the text of %s apart, where they find nothing, and whether there is something to find can't be looked at; "+
				"select the column as it is, or try again later", looked, c.column), nil
		}
		if err := r.moves(ctx, cmd, looked, st); err != nil {
			return "", err
		}
	}
	return "", nil
}

// taken are the columns that a statement takes apart, given its parameters.
func taken(st *sql.Statement, params []postern.Param) []postern.ColumnName {
	columns := st.Pieces
	for _, search := range st.Searches {
		if search.Param > 0 && search.Param <= len(params) {
			if p := params[search.Param-1]; p.Null || sql.Wordly(string(p.Value)) {
				continue
			}
		}
		columns = append(columns[:len(columns):len(columns)], search.Columns...)
	}
	return columns
}

// detected names what masks look for by content, "" if nothing.
func detected(masks []postern.Mask) string {
	var names []string
	for i := range masks {
		for _, name := range masks[i].Detect {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// moves remembers the columns into which a statement puts text with something in
// it: nobody may have looked at them since.
func (r *relay) moves(ctx context.Context, cmd *command, looked string, st *sql.Statement) error {
	for i := range st.Flows {
		f := &st.Flows[i]
		if f.Into.Table == "" || len(f.Sources) == 0 {
			continue
		}
		found, err := r.holding(ctx, cmd, looked, f.Sources)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		at, rel := placeOf(cmd, f.Into)
		if rel == nil {
			r.filledNew = true
			continue
		}
		if r.filled == nil {
			r.filled = make(map[place]bool)
		}
		r.filled[at] = true
		r.catalog.contents.put(contentKey{f.Into, at, looked}, content{holds: true, until: r.o.now().Add(contentAge)})
	}
	return nil
}

// held is a column with something in it, or of which that can't be told.
type held struct {
	column postern.ColumnName
	unread bool
}

// holding are those of columns whose text holds what is looked for. A column that
// a mask names is that mask's affair, and one whose type holds no text is none.
func (r *relay) holding(ctx context.Context, cmd *command, looked string, columns []postern.ColumnName) ([]held, error) {
	var found []held
	var unknown []postern.ColumnName
	done := make(map[postern.ColumnName]bool, len(columns))
	for _, c := range columns {
		if done[c] || !r.texts(cmd, c) {
			continue
		}
		done[c] = true
		if r.hasFilled(cmd, c) {
			found = append(found, held{column: c})
			continue
		}
		at, _ := placeOf(cmd, c)
		seen, ok := r.catalog.contents.get(contentKey{c, at, looked}, r.o.now())
		switch {
		case !ok:
			unknown = append(unknown, c)
		case seen.holds || seen.unread || seen.own && r.filledNew:
			found = append(found, held{c, seen.unread})
		}
	}
	if len(unknown) == 0 {
		return found, nil
	}
	all := r.lookAt(ctx, cmd, unknown)
	if ctx.Err() != nil {
		return nil, errInterrupted
	}
	for i, c := range unknown {
		at, _ := placeOf(cmd, c)
		r.catalog.contents.put(contentKey{c, at, looked}, all[i])
		if all[i].holds || all[i].unread || all[i].own && r.filledNew {
			found = append(found, held{c, all[i].unread})
		}
	}
	return found, nil
}

// hasFilled says whether this session has put something that is looked for into a
// column, or into one that is read with it: of a partition, of a table that inherits.
func (r *relay) hasFilled(cmd *command, c postern.ColumnName) bool {
	if len(r.filled) == 0 {
		return false
	}
	at, rel := placeOf(cmd, c)
	if rel == nil {
		return false
	}
	if r.filled[at] || r.filled[place{table: at.table}] {
		return true
	}
	for f := range r.filled {
		if !cmd.env.Catalog.Inherits(f.table, rel.OID) {
			continue
		}
		if name, ok := cmd.env.Catalog.ColumnByAttr(f.table, f.attribute); !ok || name.Column == c.Column {
			return true
		}
	}
	return false
}

// texts says whether a column's values are text, or hold some, and no mask names
// it.
func (r *relay) texts(cmd *command, c postern.ColumnName) bool {
	if c.Schema == "information_schema" || c.Schema == "pg_catalog" && !statistics(c.Table) {
		return false
	}
	if cmd.env != nil && cmd.env.Catalog != nil {
		catalog := cmd.env.Catalog
		if rel := catalog.Relation(c.Schema, c.Table); rel != nil {
			for i := range rel.Columns {
				if rel.Columns[i].Name == c.Column && !rel.Columns[i].Dropped && !textual(catalog, rel.Columns[i].Type) {
					return false
				}
			}
		}
	}
	masker := r.s.Masker(cmd.decision, []postern.Column{{Name: c.Column, Type: postern.TextValue, Sources: []postern.ColumnName{c}, Proven: true, Plain: true}})
	if masker == nil {
		return false
	}
	_, null, masked := masker.Field(0, nil, []byte("-"))
	return !null && !masked
}

// statistics says whether a system relation shows other relations' values.
func statistics(relation string) bool {
	switch relation {
	case "pg_statistic", "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data", "pg_largeobject":
		return true
	}
	return false
}

// textual says whether values of a type may hold text that is looked for.
func textual(catalog *analysis.Catalog, typ uint32) bool {
	t, elem, width := catalog.ValueType(typ)
	if t == postern.ArrayValue {
		t = elem
	}
	switch t {
	case postern.TextValue:
		return width != 1
	case postern.BytesValue, postern.JSONValue:
		return true
	case postern.OpaqueValue:
		return !catalog.Textless(typ)
	}
	return false
}

// lookAt looks at rows of columns, over a connection of the gateway's own.
func (r *relay) lookAt(ctx context.Context, cmd *command, columns []postern.ColumnName) []content {
	now := r.o.now()
	all := make([]content, len(columns))
	for i := range all {
		all[i] = content{unread: true, until: now.Add(contentRetry)}
	}
	ctx, cancel := context.WithTimeout(ctx, contentTime)
	defer cancel()
	conn, err := dialUpstream(ctx, r.s, r.s.Database(), nil)
	if err != nil {
		r.o.log.Error("columns can't be looked at", "resource", r.s.Resource().Name, "error", err)
		return all
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	query := func(text string) ([][]*string, error) { return queryText(ctx, conn, text) }
	if _, err := query("SET search_path = pg_catalog; SET default_transaction_read_only = on; SET statement_timeout = '5s'; SET lock_timeout = '1s'"); err != nil {
		return all
	}
	for i, c := range columns {
		if statistics(c.Table) && c.Schema == "pg_catalog" {
			all[i] = content{holds: true, until: now.Add(contentAge)}
			continue
		}
		if strings.HasPrefix(c.Schema, "pg_temp_") {
			all[i] = content{own: true, until: now.Add(contentRetry)} // what the session put there is known
			continue
		}
		rows, err := rowsOf(query, c)
		switch {
		case notThere(err):
			// Nobody but this session sees it: what was put there is known.
			all[i] = content{own: true, until: now.Add(contentRetry)}
		case err == nil:
			all[i] = content{holds: r.findsIn(cmd, c, rows), until: now.Add(contentAge)}
		}
	}
	return all
}

// notThere says that a query failed because what it names doesn't exist.
func notThere(err error) bool {
	var answered *pgconn.PgError
	return errors.As(err, &answered) && (answered.Code == "42P01" || answered.Code == "42703" || answered.Code == "3F000")
}

// findsIn says whether masks by content find something in a column's values.
func (r *relay) findsIn(cmd *command, c postern.ColumnName, rows [][]*string) bool {
	masker := r.s.Masker(cmd.decision, []postern.Column{{Name: c.Column, Type: postern.TextValue, Sources: []postern.ColumnName{c}, Proven: true, Plain: true}})
	if masker == nil {
		return false
	}
	var room []byte
	for _, row := range rows {
		if len(row) != 1 || row[0] == nil {
			continue
		}
		_, null, masked := masker.Field(0, room[:0], []byte(*row[0]))
		if null || masked {
			return true
		}
	}
	return false
}

// errRowSecurity is a table of which this session may be shown other rows than the
// gateway is: what it doesn't find there may be in them.
var errRowSecurity = errors.New("row security hides rows of it")

// rowsOf reads values of a column: all of a small table's, of a large one's some
// from all over.
func rowsOf(query func(string) ([][]*string, error), c postern.ColumnName) ([][]*string, error) {
	from := quoteName(c.Schema) + "." + quoteName(c.Table)
	oid := "'" + strings.ReplaceAll(from, "'", "''") + "'::regclass"
	hides, err := query("SELECT row_security_active(" + oid + ")")
	if err != nil {
		return nil, err
	}
	if oneText(hides) != "f" {
		return nil, errRowSecurity
	}
	size, err := query("SELECT greatest(sum(reltuples), 0)::bigint FROM pg_class WHERE oid = " + oid)
	if err != nil {
		return nil, err
	}
	what := "SELECT " + asShown(c.Column, contentBytes) + " FROM " + from
	if n, err := strconv.ParseInt(oneText(size), 10, 64); err == nil && n > 2*contentRows {
		share := strconv.FormatFloat(max(100*2*contentRows/float64(n), 0.001), 'f', 3, 64)
		if rows, err := query(what + " TABLESAMPLE system (" + share + ") LIMIT " + strconv.Itoa(contentRows)); err == nil && len(rows) > 0 {
			return rows, nil
		}
	}
	return query(what + " WHERE " + isThere(c.Column) + " LIMIT " + strconv.Itoa(2*contentRows))
}

// asShown gives a column's values as the server shows them to its clients, up to so many
// characters: by their type's output function. A cast to text may be a function of
// whoever made the type, which would run undecided, and say what it likes.
func asShown(column string, most int) string {
	return "CASE WHEN " + isThere(column) + " THEN left(format('%s', " + quoteName(column) + "), " + strconv.Itoa(most) + ") END"
}

// isThere says of a column that it isn't NULL. A row of which a part is NULL is there,
// but IS NOT NULL isn't true of it.
func isThere(column string) string { return quoteName(column) + " IS DISTINCT FROM NULL" }
