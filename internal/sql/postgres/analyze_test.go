package postgres

import (
	"fmt"
	"strings"

	"postern/internal/sql"
)

// describe writes an analysis in one line a statement:
//
//	verbs access [where] [files] [program] [dynamic] objects -> outputs
//
// A written object ends in !; a base table is in brackets. An output is
// name=sources, with ~ before what isn't proven and @ before the column itself.
func describe(a *sql.Analysis) string {
	var lines []string
	for i := range a.Statements {
		lines = append(lines, describeOne(&a.Statements[i]))
	}
	return strings.Join(lines, "\n")
}

func describeOne(s *sql.Statement) string {
	c := &s.Command
	parts := []string{strings.Join(c.Verbs, ","), c.Access.String()}
	for _, flag := range []struct{ attr, word string }{{attrHasWhere, "where"}, {attrFileAccess, "files"}, {attrProgram, "program"}, {attrDynamic, "dynamic"}} {
		if c.Attr(flag.attr).Bool {
			parts = append(parts, flag.word)
		}
	}
	for _, o := range c.Objects {
		name := o.Name
		switch o.Kind {
		case kindTable:
		case kindBase:
			name = "(" + name + ")"
		default:
			name = o.Kind + ":" + name
		}
		if o.Write {
			name += "!"
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, " ")
}

// lineage writes a statement's outputs, predicates and flows.
func lineage(s *sql.Statement) string {
	var parts []string
	if !s.OutputsKnown {
		parts = append(parts, "?")
	}
	for _, o := range s.Outputs {
		mark := ""
		if !o.Proven {
			mark = "~"
		}
		if o.Plain {
			mark += "@"
		}
		var sources []string
		for _, c := range o.Sources {
			sources = append(sources, strings.TrimPrefix(c.String(), "public."))
		}
		parts = append(parts, fmt.Sprintf("%s=%s%s", o.Name, mark, strings.Join(sources, "+")))
	}
	return strings.Join(parts, " ")
}
