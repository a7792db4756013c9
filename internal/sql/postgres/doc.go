// Package postgres analyses PostgreSQL's SQL: what each statement of a text
// does, which objects it touches, and from which stored columns its results
// are computed. The text is parsed by the server's own grammar; names are
// resolved as the server would, against a [Catalog] that the caller read.
//
// The package is pure: it has no clock, no context and does no I/O. What it
// can't prove it says it can't: a statement is then unknown, an object's schema
// is "?", an output is not proven.
//
// Three kinds of doubt are kept apart. Text that doesn't parse, or holds a
// construct that the analyser doesn't know, is one unknown statement. An effect
// that hides behind a function that can't be read is the verb "unknown" among
// the effects of a statement that is otherwise understood. A name that can't
// be resolved leaves the statement's kind known, and its objects and origins
// unproven.
package postgres
