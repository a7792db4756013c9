package postgres

import (
	"postern"
	"postern/internal/sql"
)

// protocol is what commands of this dialect name as their protocol.
const protocol = "postgres"

// unknown describes text that can't be understood. The problem is for the
// person who sent it, and never quotes it.
func unknown(text, problem string) sql.Statement {
	return sql.Statement{
		Command: postern.Command{
			Protocol: protocol,
			Verb:     postern.VerbUnknown,
			Verbs:    []string{postern.VerbUnknown},
			Access:   postern.Unknown,
			Text:     text,
			Problem:  problem,
		},
		Unsettles:      true,
		ChangesCatalog: true,
		Touches:        []string{touchesAll},
	}
}

// touchesHook, before a relation's name, says that the relation was given a
// trigger or a rule.
const touchesHook = "hook "

// touchesAll among a statement's Touches is every name.
const touchesAll = "*"

// touchesOperators and touchesEvents among them, beside touchesAll, say that there may be
// other operators, or other functions that run as the structure changes.
const (
	touchesOperators = "operators"
	touchesEvents    = "events"
)

// touchesUsage among them is every name that isn't qualified: who may use which
// schema has changed, so others are searched.
const touchesUsage = "usage"
