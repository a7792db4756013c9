package postgres

import "postern"

// The facts that the analysis states about commands.
const (
	attrHasWhere   = "has_where"
	attrHasLimit   = "has_limit"
	attrFunctions  = "functions"
	attrMulti      = "multi"
	attrAssigned   = "assigned_columns"
	attrPredicates = "predicate_columns"
	attrCompared   = "compared_columns"
	attrEqual      = "equal_columns"
	attrOpaque     = "opaque_result"
	attrRows       = "changes_rows"
	attrTrivial    = "trivially_true"
	attrImpact     = "impact"
	attrFileAccess = "file_access"
	attrProgram    = "program"
	attrDynamic    = "dynamic"
	attrRowLocks   = "row_locks"
	attrMoved      = "moved_values"
)

// Attrs are the facts that commands of this dialect state, for policies to be
// checked against.
func Attrs() []postern.AttrType {
	return []postern.AttrType{
		{Name: attrHasWhere, Kind: postern.AttrBool, Doc: "Every UPDATE and DELETE in it, also in functions that it calls, is bounded by a WHERE that isn't trivially true; of SELECT: it has such a WHERE."},
		{Name: attrHasLimit, Kind: postern.AttrBool, Doc: "The outermost query has a LIMIT or FETCH FIRST."},
		{Name: attrFunctions, Kind: postern.AttrStrings, Doc: "The functions that it calls, as schema.name; the schema is ? where it can't be proven."},
		{Name: attrMulti, Kind: postern.AttrBool, Doc: "The text holds several statements."},
		{Name: attrAssigned, Kind: postern.AttrStrings, Doc: "The columns that it writes, as schema.table.column."},
		{Name: attrPredicates, Kind: postern.AttrStrings, Doc: "The stored columns that it compares, joins, groups, sorts or branches by, as schema.table.column."},
		{Name: attrCompared, Kind: postern.AttrStrings, Doc: "Those of predicate_columns of which more may be told than which rows have equal values."},
		{Name: attrEqual, Kind: postern.AttrStrings, Doc: "Stored columns that it holds against each other for equality, as a = b, or puts rows together by, as a."},
		{Name: attrOpaque, Kind: postern.AttrBool, Doc: "Where some column of its result comes from can't be told."},
		{Name: attrRows, Kind: postern.AttrBool, Doc: "It may change rows, or what they are counted by: what max_affected bounds."},
		{Name: attrTrivial, Kind: postern.AttrBool, Doc: "An UPDATE or DELETE in it, also in functions that it calls, is over every row: it has no WHERE, or one that is trivially true."},
		{Name: attrImpact, Kind: postern.AttrString, Doc: "How far it reaches: session, read, rows, table (every row of one), structure (and rights), server (its files and programs), or unknown."},
		{Name: attrFileAccess, Kind: postern.AttrBool, Doc: "It reads or writes files of the server, or runs a program there."},
		{Name: attrProgram, Kind: postern.AttrBool, Doc: "It runs a program on the server: COPY with PROGRAM."},
		{Name: attrDynamic, Kind: postern.AttrBool, Doc: "It runs SQL that is put together at run time."},
		{Name: attrMoved, Kind: postern.AttrStrings, Doc: "The stored values that it puts where another statement may read them, as source > destination: columns, or ? for a source that isn't known, and a destination that is no column by its kind, such as setting."},
		{Name: attrRowLocks, Kind: postern.AttrBool, Doc: "It locks rows or tables: SELECT FOR UPDATE, LOCK."},
	}
}
