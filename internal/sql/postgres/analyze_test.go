package postgres

import (
	"fmt"
	"strings"
	"testing"

	"postern"
	"postern/internal/sql"
)

// check compares what is said of a text's statements, one line each:
//
//	verbs access [where] [files] [program] [dynamic] objects
//
// A written object ends in !, a base table is in brackets, a kind other than
// table comes first.
func check(t *testing.T, text, want string) {
	t.Helper()
	checkIn(t, testEnv(t), text, want)
}

func checkIn(t *testing.T, env *Env, text, want string) {
	t.Helper()
	if got := describe(analysed(t, text, env)); got != want {
		t.Errorf("%s\n got %s\nwant %s", text, got, want)
	}
}

// checkLineage compares where outputs, predicates and flows come from:
//
//	outputs | predicates | flows [| unproven]
//
// An output is name=sources, with ~ before what isn't proven and @ before a
// column itself; ? stands before outputs that aren't all known. The schema
// public isn't written.
func checkLineage(t *testing.T, text, want string) {
	t.Helper()
	var lines []string
	a := analysed(t, text, testEnv(t))
	for i := range a.Statements {
		lines = append(lines, lineage(&a.Statements[i]))
	}
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("%s\n got %s\nwant %s", text, got, want)
	}
}

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

func lineage(s *sql.Statement) string {
	var outs, flows []string
	if !s.OutputsKnown {
		outs = append(outs, "?")
	}
	for _, o := range s.Outputs {
		mark := ""
		if !o.Proven {
			mark = "~"
		}
		if o.Plain {
			mark += "@"
		}
		outs = append(outs, o.Name+"="+mark+columnList(o.Sources))
	}
	for _, f := range s.Flows {
		into := "to " + f.Place
		if f.Into != (postern.ColumnName{}) {
			into = columnList([]postern.ColumnName{f.Into})
		}
		mark := ""
		if !f.Proven {
			mark = "~"
		}
		flows = append(flows, fmt.Sprintf("%s<-%s%s", into, mark, columnList(f.Sources)))
	}
	out := strings.Join(outs, " ") + " | " + columnList(s.Predicates) + " | " + strings.Join(flows, " ")
	if !s.UsesProven {
		out += " | unproven"
	}
	return strings.TrimSpace(out)
}

func columnList(columns []postern.ColumnName) string {
	var all []string
	for _, c := range columns {
		all = append(all, strings.TrimPrefix(c.String(), "public."))
	}
	return strings.Join(all, "+")
}
