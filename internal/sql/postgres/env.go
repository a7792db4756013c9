package postgres

import (
	"slices"
	"strings"

	"postern/internal/sql"
)

// Env is what gives a text its meaning: the session's state when the server
// will parse it.
type Env struct {
	// Catalog is what the database holds. With nil nothing is known of it, and
	// nothing that needs it is proven.
	Catalog *Catalog
	// SearchPath is the session's search_path as [ParseSearchPath] reads it. Which of
	// it is searched, by whose rights, and that pg_temp and pg_catalog are although
	// unnamed, is this package's to know. With nil the path is unknown: only names in
	// pg_catalog and qualified names are resolved.
	SearchPath []string
	// TempSchema is the session's own schema for temporary tables, such as
	// "pg_temp_3". With "" it isn't known: a name that any session's temporary
	// schema holds is not proven.
	TempSchema string
	// User and Database are the session's: the user is the role whose rights count.
	// With "" it isn't known.
	User, Database string
	// StandardConformingStrings is the setting of that name. When it is off,
	// text that holds a backslash is unknown.
	StandardConformingStrings bool
	// Encoding is the session's client_encoding. Text in an encoding other than
	// UTF8 ("" is UTF8) is unknown if it leaves ASCII.
	Encoding string
	// Touched are names that may mean something else to the session than to
	// the Catalog, as [sql.Statement.Touches] gave them: those of statements
	// since the catalog was read, committed or not.
	Touched []string
	// Steady says that the current transaction has changed no setting so far, so
	// that its end brings none back. Otherwise the search path is unknown behind
	// a COMMIT or ROLLBACK within a text.
	Steady bool
	// Deferred says that the current transaction has set off triggers that may run as
	// late as it ends: see [sql.Statement.Defers].
	Deferred bool
	// Drifted says that the server may go on searching what User could use before, or
	// not yet what it can use now: see [Usage.Differs].
	Drifted bool
	// Offline says that there is no server to read a Catalog from: unqualified
	// names are taken for the server's own functions, and for tables of the
	// first schema of SearchPath. For explaining what a command would be; never
	// for deciding over one.
	Offline bool
	// Prepared and Cursor return the statement that EXECUTE or FETCH of that
	// name runs, analysed against the state of now: of PREPARE and DECLARE it is
	// the Inner statement. They return nil for a name that isn't known.
	Prepared, Cursor func(name string) *sql.Statement
}

// MovesViews says whether views may show something else than by the catalog once names
// were touched. Those that it doesn't have are of what was made since, to which no view
// is bound that wasn't made, or replaced and touched itself, since.
func (c *Catalog) MovesViews(touched []string) bool {
	if c == nil {
		return len(touched) > 0
	}
	return slices.ContainsFunc(touched, func(what string) bool {
		kind, last, _ := strings.Cut(what, " ")
		if !exact(last) {
			return true
		}
		switch kind {
		case "function":
			return len(c.functionsNamed[last]) > 0
		case "relation", "type":
			for s := range c.schemas {
				if c.relations[name{s, last}] != nil || c.types[name{s, last}] != nil {
					return true
				}
			}
			return false
		}
		return true
	})
}

// Touched says whether a relation may be another than by the catalog, or show something
// else, once names were touched. Its name may have its schema before it.
func Touched(touched []string, relation string) bool {
	return slices.ContainsFunc(touched, func(what string) bool {
		kind, last, _ := strings.Cut(what, " ")
		return what == touchesAll || kind == "relation" && (last == relation || strings.HasSuffix(relation, "."+last) || !exact(last))
	})
}

// exact says whether the server reads a name of a text as we do, whatever it was built
// with and encodes the database in: it may cut longer ones elsewhere, and write other
// letters small.
func exact(name string) bool { return len(name) < maxName && ascii(name) }

// IsView says whether a relation shows what a query gave that can be replaced: one in
// pg_catalog can't be, but those of information_schema can.
func (r *Relation) IsView() bool {
	return (r.Kind == 'v' || r.Kind == 'm') && r.Schema != "pg_catalog"
}

// State is what of the session gives a statement its meaning, in words.
func (e *Env) State() string {
	if e.SearchPath == nil {
		return "database=" + e.Database + " search_path unknown"
	}
	return "database=" + e.Database + " role=" + e.User + " search_path=" + strings.Join(e.SearchPath, ",")
}

// key holds what the analysis of one text depends on.
type key struct {
	text     string
	outlined bool // text is an outline
	catalog  string
	path     [3]string // of more schemas than these the last are one text
	schemas  int
	temp     string
	user     string
	database string
	touched  string
	encoding string
	scs      bool
	pathNil  bool
	steady   bool
	deferred bool
	drifted  bool
	offline  bool
}

func (e *Env) key(text string) key {
	k := key{
		text: text, scs: e.StandardConformingStrings, encoding: e.Encoding, pathNil: e.SearchPath == nil, steady: e.Steady, deferred: e.Deferred, drifted: e.Drifted, offline: e.Offline,
		schemas: len(e.SearchPath), temp: e.TempSchema, user: e.User, database: e.Database,
	}
	if e.Catalog != nil {
		k.catalog = e.Catalog.Version
	}
	if n := copy(k.path[:], e.SearchPath); n < len(e.SearchPath) {
		k.path[n-1] = strings.Join(e.SearchPath[n-1:], "\x00")
	}
	if len(e.Touched) > 0 {
		k.touched = strings.Join(e.Touched, "\x00")
	}
	return k
}
