package postgres

import (
	"encoding/json"
	"slices"
	"strings"

	"postern"
)

// maxFirings is how often a trigger's function is read until what it puts into a
// row is known; after that, all may be anywhere.
const maxFirings = 4

// firing is what is known of the rows that a trigger's function is about. Their
// columns are told apart, because most triggers set one and leave the others.
type firing struct {
	rel   *Relation
	row   value
	put   map[string]value // what is put into a column; "*": into any
	vars  map[int]string   // the parser's numbers of new and old and of their columns, and the column
	split bool             // columns are told apart
	grown bool             // more was put in than was known
}

func (r *reader) firing(rel *Relation) *firing {
	return &firing{rel: rel, row: r.relationRow(rel), put: map[string]value{}, split: true}
}

type variable struct {
	Name string `json:"refname"`
}

// taken says whether it has the name of a row.
func (v variable) taken() bool {
	return strings.EqualFold(v.Name, "new") || strings.EqualFold(v.Name, "old")
}

// datum is what the parser says of a variable.
type datum struct {
	Var   variable `json:"PLpgSQL_var"`
	Row   variable `json:"PLpgSQL_row"`
	Rec   variable `json:"PLpgSQL_rec"`
	Field *struct {
		Name   string `json:"fieldname"`
		Parent int    `json:"recparentno"`
	} `json:"PLpgSQL_recfield"`
}

// rowVariables declares new and old.
func (p *procedure) rowVariables(tree json.RawMessage) {
	t := p.fired
	if t == nil {
		return
	}
	var outer struct {
		Function struct {
			New    int     `json:"new_varno"`
			Old    int     `json:"old_varno"`
			Datums []datum `json:"datums"`
		} `json:"PLpgSQL_function"`
	}
	if json.Unmarshal(tree, &outer) != nil || outer.Function.New == outer.Function.Old {
		p.unreadable()
		return
	}
	f := &outer.Function
	lower := strings.ToLower(string(tree))
	t.split = t.split && !strings.Contains(lower, `"label":"new"`) && !strings.Contains(lower, `"label":"old"`)
	t.vars = map[int]string{f.New: "*", f.Old: "*"}
	for i, d := range f.Datums {
		switch {
		case d.Field != nil && (d.Field.Parent == f.New || d.Field.Parent == f.Old):
			t.vars[i] = d.Field.Name
		case i != f.New && i != f.Old && (d.Var.taken() || d.Row.taken() || d.Rec.taken()):
			t.split = false // another variable of that name
		}
	}
	p.rows()
}

// rows gives new and old what is known to be in them.
func (p *procedure) rows() {
	t := p.fired
	row := value{sources: t.row.sources, proven: t.row.proven, row: true}
	if !t.split {
		row.add(p.taint)
		for _, v := range t.put {
			row.add(v)
		}
		row.row = true
		p.taint.add(row)
	} else {
		for _, f := range t.row.fields {
			v := f.value.bare()
			for _, name := range []string{f.name, "*"} {
				if w, ok := t.put[name]; ok {
					v.add(w)
				}
			}
			row.sources = union(row.sources[:len(row.sources):len(row.sources)], v.sources)
			row.proven = row.proven && v.proven
			row.fields = append(row.fields, field{f.name, v})
		}
	}
	p.reader.vars["new"], p.reader.vars["old"] = row, row
}

// transition is what the rows of a transition table hold.
func (p *procedure) transition() value {
	if p.fired == nil {
		return value{sources: p.taint.sources, proven: p.taint.proven, row: true}
	}
	return p.fired.row
}

// targets are the columns of the row that a statement puts something into.
func (p *procedure) targets(kind string, fields map[string]json.RawMessage) []string {
	if p.fired == nil {
		return nil
	}
	var columns []string
	add := func(raw json.RawMessage) {
		var n int
		if json.Unmarshal(raw, &n) == nil {
			if column, ok := p.fired.vars[n]; ok && !slices.Contains(columns, column) {
				columns = append(columns, column)
			}
		}
	}
	switch kind {
	case "stmt_assign", "stmt_foreach_a":
		add(fields["varno"])
	case "diag_item":
		add(fields["target"])
	case "stmt_execsql", "stmt_dynexecute", "stmt_fetch", "stmt_fors", "stmt_forc", "stmt_dynfors", "stmt_call":
		for _, key := range []string{"target", "var"} {
			var into struct {
				Rec *struct {
					Number json.RawMessage `json:"dno"`
				} `json:"PLpgSQL_rec"`
				Row *struct {
					Fields []struct {
						Number json.RawMessage `json:"varno"`
					} `json:"fields"`
				} `json:"PLpgSQL_row"`
			}
			if raw, ok := fields[key]; !ok || json.Unmarshal(raw, &into) != nil {
				continue
			}
			if into.Rec != nil {
				add(into.Rec.Number)
			}
			if into.Row != nil {
				for _, f := range into.Row.Fields {
					add(f.Number)
				}
			}
		}
	case "stmt_return":
		if e := unwrap(fields["expr"]); e != nil && !(p.fired.split && returnsRow(e)) {
			columns = append(columns, "*")
		}
	}
	return columns
}

// returnsRow says whether what a trigger's function returns is one of the rows as
// it was given it, or none.
func returnsRow(raw json.RawMessage) bool {
	var e plExpr
	if json.Unmarshal(raw, &e) != nil {
		return false
	}
	switch strings.Join(strings.Fields(strings.ToLower(e.Query)), "") {
	case "new", "old", "null", "(new)", "(old)", "(null)", "coalesce(new,old)", "coalesce(old,new)":
		return true
	}
	return false
}

// put notes that a value goes into a column of the row.
func (p *procedure) put(column string, v value) {
	t := p.fired
	v = v.bare()
	v.row = false
	was, ok := t.put[column]
	w := v
	if ok {
		w = was
		w.add(v)
	}
	t.grown = t.grown || !ok || len(w.sources) > len(was.sources) || was.proven && !w.proven
	t.put[column] = w
	p.rows()
	for _, into := range p.reader.lands(t.rel, column) {
		if !(w.proven && len(v.sources) == 1 && v.sources[0] == into) {
			p.reader.facts.flow(into, "", v)
		}
	}
	p.reader.facts.assigned = union(p.reader.facts.assigned, []postern.ColumnName{{Schema: t.rel.Schema, Table: t.rel.Name, Column: column}})
}
