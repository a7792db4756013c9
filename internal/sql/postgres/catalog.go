package postgres

import (
	"slices"
	"strings"
	"sync"

	"postern"
)

// Catalog is what one database held when it was read: an immutable snapshot,
// safe for concurrent use. Its maps are not to be written to.
type Catalog struct {
	// Version is a digest of the content: equal versions mean equal catalogs.
	Version string
	// Server is the server's version number: 150004 is 15.4.
	Server int

	Relations map[uint32]*Relation
	Functions map[uint32]*Function
	Types     map[uint32]*Type

	reach
	relations      map[name]*Relation
	tempNames      map[string]bool // names that some session's temporary schema holds
	passing        []string        // names, as Touches gives them, of what hangs on temporary objects
	functionsNamed map[string][]*Function
	operators      map[string][]*operator     // user-defined, by name
	casts          map[uint32][]uint32        // user-defined cast functions by target type
	assigning      map[uint32][]uint32        // those of them that are used without being asked for
	converts       map[uint32][]uint32        // users' functions that cast or compare, by the users' types that they are about; anyType: by none
	owners         map[string]map[string]bool // the roles whose objects a login may alter, its own among them
	types          map[name]*Type
	checked        []*Type // domains whose checks call users' functions
	eventTriggers  []uint32
	validators     struct{ wrapper, language []uint32 } // users' functions that look at options, and at functions' bodies
	transitions    map[string]bool                      // names of triggers' transition tables
	ordered        []*Relation                          // by number
	children       map[uint32][]*Relation
	referring      []*Relation            // with foreign keys, by number
	cascades       map[uint32][]*Relation // whose rows change with this one's

	mu          sync.Mutex // guards what is worked out once and kept
	shapes      map[bodyKey]*shape
	bodies      map[bodyKey]*body
	conversions map[bodyKey]*body
}

// name is a name within a schema.
type name struct{ schema, name string }

// Relation is a table, a view, or whatever else has columns.
type Relation struct {
	OID     uint32
	Schema  string
	Name    string
	Kind    byte // as in pg_class.relkind: r p v m f S c t
	Owner   string
	Columns []Column // by attribute number, from 1; dropped ones included
	// Definition is the query of a view.
	Definition string
	// Wrapper is the foreign-data wrapper of a foreign table, whatever it is
	// called here: "file_fdw", or "file_fdw program" for one that runs a program.
	Wrapper     string
	Of          uint32 // the type of a typed table
	Rules       []Rule
	Triggers    []Trigger
	Parents     []uint32 // inheritance, partitions
	ForeignKeys []ForeignKey
	// WriteCalls and ReadCalls are user-defined functions that checks, indexes
	// and row security call when rows are written or read; KeyCalls are those
	// that choose a row's partition.
	WriteCalls, ReadCalls, KeyCalls []uint32
	Defaults                        []Default
	// Unique are the numbers of columns in unique indexes and exclusion constraints;
	// 0 stands for an expression.
	Unique []int16
}

// Column is one column of a relation.
type Column struct {
	Name      string
	Type      uint32
	Dropped   bool
	NotNull   bool
	Generated string // the expression of a generated column
}

// Rule is a rewrite rule other than a view's own.
type Rule struct{ Definition string }

// Trigger is a user's trigger.
type Trigger struct {
	Function   uint32 // its own, or one that its condition calls
	Events     int16  // as in pg_trigger.tgtype
	Condition  bool   // the function is its condition's
	Deferrable bool   // it may run as late as the transaction ends
}

// Default is a user-defined function that the default of a column, or the
// expression of a generated one, calls.
type Default struct {
	Function uint32
	Column   int16
}

// ForeignKey says that values of some columns are values of another table's.
type ForeignKey struct {
	Columns    []int16
	Table      uint32
	References []int16
	Cascades   bool // deleting or updating there changes rows here
}

// Function is a function, procedure, aggregate or window function.
type Function struct {
	OID             uint32
	Schema          string
	Name            string
	Owner           string   // "" in pg_catalog, but for what runs with its owner's rights
	Args            []uint32 // input types
	Defaults        int      // how many trailing arguments may be left out
	DefaultArgs     string   // their expressions, of functions outside pg_catalog
	Variadic        bool
	Kind            byte // f p a w, as in pg_proc.prokind
	Volatility      byte // i s v
	SecurityDefiner bool
	ReturnsSet      bool
	Returns         uint32
	Language        string
	// Source is the body, of SQL and PL/pgSQL functions that aren't the server's own;
	// of those in "internal", what the server itself calls the code.
	Source string
	// Library and Symbol are where the code of a function in C is: "dblink" of
	// $libdir/dblink.so, and what it is called there.
	Library, Symbol string
	// Definition is the whole CREATE FUNCTION of functions with an SQL-standard body.
	Definition string
	// ArgNames and ArgModes are those of all arguments, results included;
	// modes are as in pg_proc.proargmodes, nil when all are inputs.
	ArgNames []string
	ArgModes []byte
	AllArgs  []uint32
	// Config are settings that hold while it runs, "name=value".
	Config []string
	// Calls are functions that it calls by its definition: an aggregate's steps.
	Calls []uint32
}

// Type is a data type.
type Type struct {
	OID      uint32
	Schema   string
	Name     string
	Kind     byte // b c d e p r m, as in pg_type.typtype
	Category byte
	Elem     uint32   // the element type of an array
	Base     uint32   // the type a domain is made of
	Relation uint32   // the composite type's columns
	Subtype  uint32   // what a range is of
	Length   int16    // bytes; -1 or -2 when variable
	Checks   []uint32 // user-defined functions that a domain's checks call, or that tell how far bounds of ranges are apart
	Defaults []uint32 // user-defined functions that a domain's default calls
}

// reach is who may use which schema.
type reach struct {
	schemas map[string]bool
	open    map[string]bool   // schemas that everybody may use
	rights  map[string]rights // of the session's user, roles that it may become, and owners of functions that lend their rights
}

// rights say which schemas a role may use, besides those that everybody may.
type rights struct {
	superuser bool
	schemas   map[string]bool
}

type operator struct {
	schema string
	fn     uint32
}

// system says whether a schema holds the server's own objects.
func system(schema string) bool {
	return schema == "pg_catalog" || schema == "information_schema" || schema == "pg_toast"
}

// temporary says whether a schema is some session's for temporary tables.
func temporary(schema string) bool { return strings.HasPrefix(schema, "pg_temp_") }

// Relation finds a relation by its full name; nil when there is none.
func (c *Catalog) Relation(schema, relation string) *Relation {
	return c.relations[name{schema, relation}]
}

// Temporary says whether some session has temporary tables.
func (c *Catalog) Temporary() bool { return c != nil && len(c.tempNames) > 0 }

// Passing are the names, as [sql.Statement.Touches] gives them, of what other sessions see
// and what is gone with some session's temporary objects, asked or unasked: at its end
// at the latest.
func (c *Catalog) Passing() []string {
	if c == nil {
		return nil
	}
	return c.passing
}

// FunctionByOID finds a function by its number, for FunctionCall messages.
func (c *Catalog) FunctionByOID(oid uint32) (*Function, bool) {
	f, ok := c.Functions[oid]
	return f, ok
}

// ColumnByAttr names the column that RowDescription speaks of by table and
// attribute number, of a view the view's own; see [Catalog.Origins] for where
// its values come from.
func (c *Catalog) ColumnByAttr(table uint32, attribute uint16) (postern.ColumnName, bool) {
	r := c.Relations[table]
	if r == nil || attribute == 0 || int(attribute) > len(r.Columns) || r.Columns[attribute-1].Dropped {
		return postern.ColumnName{}, false
	}
	return postern.ColumnName{Schema: r.Schema, Table: r.Name, Column: r.Columns[attribute-1].Name}, true
}

// Inherits says whether a relation's rows are read with another's: it is a partition
// of it or inherits from it, over others too.
func (c *Catalog) Inherits(relation, from uint32) bool {
	seen := make(map[uint32]bool)
	queue := []uint32{relation}
	for len(queue) > 0 {
		r := c.Relations[queue[0]]
		queue = queue[1:]
		if r == nil || seen[r.OID] {
			continue
		}
		seen[r.OID] = true
		if slices.Contains(r.Parents, from) {
			return true
		}
		queue = append(queue, r.Parents...)
	}
	return false
}

// ValueType says what masking needs to know of a type: what its values are,
// what an array's elements are, and the size of the binary form of a type of
// fixed width. Domains are what they are made of.
func (c *Catalog) ValueType(oid uint32) (t, elem postern.ValueType, width int) {
	for range maxDepth {
		if builtin, ok := builtinValueType(oid); ok {
			return builtin, 0, builtinWidth(oid)
		}
		typ := c.typeByOID(oid)
		switch {
		case typ == nil:
			return postern.OpaqueValue, 0, 0
		case typ.Kind == 'd':
			oid = typ.Base
		case typ.Category == 'A' && typ.Elem != 0 && typ.Length == -1:
			elem, _, _ = c.ValueType(typ.Elem)
			return postern.ArrayValue, elem, 0
		case typ.Name == "citext" && typ.Kind == 'b':
			return postern.TextValue, 0, 0
		default:
			return postern.OpaqueValue, 0, 0
		}
	}
	return postern.OpaqueValue, 0, 0
}

// Textless says whether values of a type that is none of [ValueType]'s surely
// hold no text: the server's own, but for addresses and search vectors, enums and
// ranges.
func (c *Catalog) Textless(oid uint32) bool {
	switch oid {
	case 869, 650, 829, 774, 3614, 3615: // inet, cidr, macaddr, macaddr8, tsvector, tsquery
		return false
	}
	t := c.typeByOID(oid)
	if t == nil {
		return oid != 0 && oid < firstUserOID
	}
	return t.Kind == 'e' || t.Kind == 'r' || t.Kind == 'm' || t.Kind == 'b' && oid < firstUserOID
}

func (c *Catalog) typeByOID(oid uint32) *Type {
	if c == nil {
		return nil
	}
	return c.Types[oid]
}

// builtinValueType knows the numbers of pg_type that never change. Enums are
// opaque: no text stands for all of their labels.
func builtinValueType(oid uint32) (postern.ValueType, bool) {
	switch oid {
	case 25, 1043, 1042, 19, 2275, 142, 18, 705:
		return postern.TextValue, true
	case 20, 21, 23, 26, 5069:
		return postern.IntValue, true
	case 700, 701:
		return postern.FloatValue, true
	case 1700:
		return postern.NumericValue, true
	case 16:
		return postern.BoolValue, true
	case 1082:
		return postern.DateValue, true
	case 1114, 1184:
		return postern.TimeValue, true
	case 17:
		return postern.BytesValue, true
	case 114, 3802:
		return postern.JSONValue, true
	case 2950:
		return postern.UUIDValue, true
	}
	return postern.OpaqueValue, false
}

func builtinWidth(oid uint32) int {
	switch oid {
	case 16, 18:
		return 1
	case 21:
		return 2
	case 23, 26, 700, 1082:
		return 4
	case 20, 701, 1114, 1184, 5069:
		return 8
	case 2950:
		return 16
	}
	return 0
}
