// Package sql says what SQL text would do and where its results come from. It
// is pure: text and a snapshot of the catalog in, a description out. Each
// dialect is a folder below; what this package holds is common to them.
//
// An analyser never guesses. What it can't understand it calls unknown, and
// the origin of a result that it can't prove it leaves unproven; the policy
// and the masks then refuse or mask.
package sql

import (
	"unicode"

	"postern"
)

// Analysis describes one text: what a client sends as one message.
type Analysis struct {
	// Statements in order. There is at least one, unless the text is empty or
	// only white space and comments. The texts of their commands, joined, are
	// the analysed text, byte for byte.
	Statements []Statement
}

// Statement describes one statement of a text.
type Statement struct {
	Command postern.Command
	// Outputs are the result's columns, when OutputsKnown.
	Outputs      []Output
	OutputsKnown bool
	// Reads are the stored tables that it may read, views resolved.
	Reads []Table
	// Copy is set for COPY.
	Copy *Copy
	// Prepares, Executes, Declares, Fetches and Forgets name prepared
	// statements and cursors; "" where the statement has nothing to do with one.
	// Forgets of "*" is all of them.
	Prepares, Executes, Declares, Fetches, Forgets string
	// Inner is the statement that PREPARE, DECLARE, EXPLAIN or COPY (query) holds.
	Inner *Statement
	// Sets are the settings that the statement changes.
	Sets []Setting
	// Unsettles says that afterwards the session's settings (search_path,
	// standard_conforming_strings …) may differ in ways that Sets doesn't tell.
	Unsettles bool
	// Late says that names are read as the session has them when it runs, and not as
	// it is bound: those in the bodies of functions that it calls, or all of a
	// statement's that is no query. What is said of them here holds for the State of
	// Command, and for what names mean now.
	Late bool
	// Defers says that some of what it sets off may run as late as its transaction
	// ends, by what functions and names mean then.
	Defers bool
	// ChangesCatalog says that it may change tables, views, functions or types.
	ChangesCatalog bool
	// Transaction is "begin", "commit", "rollback", "savepoint", "release" or "rollback to".
	Transaction string
	// Predicates are the stored columns that the statement compares, joins,
	// groups, sorts or branches by: what its result tells without showing it.
	Predicates []postern.ColumnName
	// Uses are all stored columns whose values the statement looks at: those
	// of Outputs, Predicates and Flows, and those whose values an error may quote.
	Uses []postern.ColumnName
	// UsesProven says that Predicates and Uses are complete.
	UsesProven bool
	// Pieces are the stored columns of which the statement shows parts, or text
	// that was written otherwise, or which it compares or searches by more than
	// what the client wrote out: masks that look at text don't see what that tells.
	Pieces []postern.ColumnName
	// Searches are those that it searches for what a parameter holds.
	Searches []Search
	// Flows say which stored values the statement puts where another
	// statement, or another person, may read them.
	Flows []Flow
	// Undoable says that a rollback undoes all that the statement does, as far as can
	// be told; Lasting says, for people, why not.
	Undoable bool
	Lasting  string
	// Places are the numbers of the relations that it comes by: those that it reads or
	// writes, triggers and cascades included, and their heirs.
	Places []uint32
	// Touches are the names whose meaning the statement may change:
	// "relation NAME", "function NAME", "type NAME", each without its schema,
	// or "*" for any. Whoever analyses later text against a catalog that was
	// read before the statement passes them on.
	Touches []string
}

// Flow is one way that values take within a statement.
type Flow struct {
	// Into is the stored column that is written. Its Table is "" when the
	// values go elsewhere.
	Into postern.ColumnName
	// Place says where else they go: "function pg_notify", "message", "setting", "file".
	Place   string
	Sources []postern.ColumnName
	Proven  bool // Sources are complete
}

// Search is a parameter, counted from 1, that is looked for in columns. Unless
// what it holds is [Wordly], they are Pieces.
type Search struct {
	Columns []postern.ColumnName
	Param   int
}

// Wordly says whether a pattern can find nothing but words: it holds letters,
// blanks and the pattern's wildcard for any text, and nothing that a number or an
// address could be told by.
func Wordly(pattern string) bool {
	for _, c := range pattern {
		if !unicode.IsLetter(c) && c != ' ' && c != '%' && c != '\'' {
			return false
		}
	}
	return true
}

// Output is one column of a result.
type Output struct {
	Name    string
	Sources []postern.ColumnName // stored columns that the value is computed from
	Proven  bool                 // Sources are complete
	Plain   bool                 // the value is the one stored column itself, unchanged
	Opaque  bool                 // where it comes from can't be told; that of a setting can, and yet isn't proven
}

// Copy describes a COPY statement.
type Copy struct {
	In, Out  bool // FROM STDIN, TO STDOUT; neither: a file or a program of the server
	Binary   bool
	CSV      bool
	Header   bool
	Delim    byte
	Null     string
	Quote    byte
	Escape   byte
	Encoding string // "": the client's
	// Columns are those that COPY writes, in order, when OutputsKnown of the statement.
}

// Setting is one change of a run-time setting.
type Setting struct {
	Name  string // lower case
	Value string
	Known bool // Value is what it will be; otherwise it depends on what only the server knows
	Local bool // for this transaction only
}

// Table is the full name of a stored table.
type Table struct{ Schema, Name string }
