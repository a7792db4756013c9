package postgres

import "postern"

// value is what is known of where an expression's values come from.
type value struct {
	sources []postern.ColumnName
	proven  bool // sources are complete
	plain   bool // it is one stored column, unchanged
	session bool // it also depends on settings, which may hold anything
	row     bool // it may be a row, or an array or set of rows
	array   bool // it is certainly an array
	figure  bool // no text of its sources is in it
	varies  bool // something goes into it that is other from row to row, and in no table
	steered bool // its sources are brought together with that, or with other tables' values
	fields  []field
	pieces  []postern.ColumnName // of a generated column: those that its expression takes apart
}

// field is one named column of a row or of a result.
type field struct {
	name string
	value
}

// constant is a value that no stored column goes into.
var constant = value{proven: true}

// opaque is a value of which nothing is known.
var opaque = value{row: true}

// mix is the value of an expression over others.
func mix(values ...value) value {
	v := value{proven: true}
	for i := range values {
		v.add(values[i])
	}
	return v
}

// add lets another value go into v.
func (v *value) add(w value) {
	v.figure = !v.text() && !w.text()
	v.steered = v.steered || w.steered || v.varies && len(w.sources) > 0 || w.varies && len(v.sources) > 0 || apart(v.sources, w.sources)
	v.varies = v.varies || w.varies
	if len(w.sources) > 0 {
		v.sources = union(v.sources[:len(v.sources):len(v.sources)], w.sources)
	}
	v.proven = v.proven && w.proven
	v.session = v.session || w.session
	v.row = v.row || w.row
	v.plain, v.array = false, false
	v.fields = nil
}

// apart says whether columns are of tables none of which is the others'. What a function is
// given counts as of any.
func apart(a, b []postern.ColumnName) bool {
	for _, c := range a {
		for _, d := range b {
			if c == argument || d == argument || c.Table == d.Table && c.Schema == d.Schema {
				return false
			}
		}
	}
	return len(a) > 0 && len(b) > 0
}

// bare is v without what it is made of.
func (v value) bare() value {
	v.plain, v.fields = false, nil
	return v
}

// rowOf is the value of a row with these fields.
func rowOf(fields []field, complete bool) value {
	v := value{proven: complete}
	for i := range fields {
		v.add(fields[i].value)
	}
	v.row = true
	if complete {
		v.fields = fields
	}
	return v
}

// fieldNamed finds a field of a row. The value of one that isn't known is the
// whole row's.
func (v value) fieldNamed(name string) (value, bool) {
	for i := range v.fields {
		if v.fields[i].name == name {
			return v.fields[i].value, true
		}
	}
	return v.bare(), false
}

// stored says whether v is a stored column or a whole row of such.
func (v value) stored() bool {
	for i := range v.fields {
		if !v.fields[i].plain {
			return false
		}
	}
	return v.plain || len(v.fields) > 0
}
