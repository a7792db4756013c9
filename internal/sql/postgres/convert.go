package postgres

import (
	"encoding/json"
	"maps"
	"slices"

	"postern"
)

// The server makes users' casts without being told to, wherever a value of the one
// type is used as one of the other, and those to JSON wherever some is built of values.
// Of expressions no types are known here. So whatever has to do with a type may run
// the casts that are from it or to it, and be what they return.

// What an operator class compares by, it runs as little asked: to sort, to group, to
// find in an index, to make a range of a type.

// anyType stands for the server's own types: a cast from one to another, or a way to
// compare them, which only a superuser can make, may be used anywhere.
const anyType = 0

// converting adds what casts may do that are given a value, where it has to do with
// some types and what these are made of.
func (r *reader) converting(given value, types ...uint32) value {
	v := constant
	if r.cat == nil || len(r.cat.converts) == 0 {
		return v
	}
	convert := func(oid uint32) {
		switch {
		case len(r.cat.converts[oid]) == 0:
		case r.run.converting != nil:
			*r.run.converting = append(*r.run.converting, oid)
			r.run.cut = true
		default:
			v.add(r.converted(oid, given))
		}
	}
	convert(anyType)
	for _, oid := range types {
		r.cat.within(oid, nil, func(t *Type) { convert(t.OID) })
	}
	return v
}

// convertingAny is the same of values whose type isn't known.
func (r *reader) convertingAny(given value) value {
	if r.cat == nil {
		return constant
	}
	return r.converting(given, slices.Sorted(maps.Keys(r.cat.converts))...)
}

func (r *reader) converted(oid uint32, given value) value {
	b := r.conversion(oid)
	r.run.lively = true
	v := substitute(b.value, given)
	if b.facts.traceless() && b.value.proven && !b.value.session && withoutArgument(b.value) {
		r.facts.passOver(b.facts)
		return constant
	}
	r.facts.merge(b.with(given), false)
	return v
}

// conversion reads a type's casts, and those of all types that they use themselves, as
// one function of what they are given.
func (r *reader) conversion(oid uint32) *body {
	k, c := r.bodyKey(oid), r.cat
	c.mu.Lock()
	known := c.conversions[k]
	c.mu.Unlock()
	if known != nil {
		return known
	}
	inner := r.sub()
	out := &body{facts: inner.facts, value: constant}
	cut := r.run.cut
	r.run.cut = false
	types, partly := []uint32{oid}, false
	r.run.converting = &types
	for i := 0; i < len(types); i++ {
		if slices.Contains(types[:i], types[i]) {
			continue
		}
		for _, fn := range c.converts[types[i]] {
			if slices.Contains(r.run.inside, aBody|uint64(fn)) {
				partly, r.run.assumed = true, true // it is being read: what it does is told there
				continue
			}
			out.value.add(inner.implied(fn, value{sources: []postern.ColumnName{argument}, proven: true, row: true}))
		}
	}
	r.run.converting = nil
	if !partly && !r.run.fleeting && !r.run.deep && r.run.steps <= maxSteps {
		c.mu.Lock()
		if len(c.conversions) >= maxBodies {
			c.conversions = map[bodyKey]*body{}
		}
		c.conversions[k] = out
		c.mu.Unlock()
	}
	r.run.cut = cut || partly
	return out
}

// convertedColumns are a relation's columns with what casts may make of them.
func (r *reader) convertedColumns(rel *Relation, cols []field) []field {
	n := 0
	for i := range rel.Columns {
		if rel.Columns[i].Dropped {
			continue
		}
		if n >= len(cols) {
			break
		}
		if v := r.converting(cols[n].value, rel.Columns[i].Type); v.matters() {
			cols = slices.Clone(cols)
			cols[n].value.add(v)
		}
		n++
	}
	return cols
}

// convertingCall is what casts may do to a function's arguments and results.
func (r *reader) convertingCall(f *Function, args []value) value {
	if r.cat == nil || len(r.cat.converts) == 0 {
		return constant
	}
	given := mix(args...)
	v := r.converting(given, f.Returns)
	v.add(r.converting(given, f.Args...))
	v.add(r.converting(given, f.AllArgs...))
	return v
}

// convertingVariable is what casts, and the checks of domains, may do to a variable of a
// declared type.
func (p *procedure) convertingVariable(raw json.RawMessage) value {
	r := p.reader
	if r.cat == nil || len(r.cat.converts) == 0 && len(r.cat.checked) == 0 {
		return constant
	}
	var declared string
	if json.Unmarshal(raw, &declared) == nil {
		if tree, problem := p.parse("SELECT NULL::" + declared); problem == "" && len(tree.Stmts) == 1 {
			list := tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList()
			if len(list) == 1 {
				names := stringsOf(list[0].GetResTarget().GetVal().GetTypeCast().GetTypeName().GetNames())
				if t, certain := r.typeNamed(names); t != nil && certain {
					r.cat.within(t.OID, nil, func(part *Type) { r.checked(part, p.taint) })
					return r.converting(p.taint, t.OID)
				}
			}
		}
	}
	return r.convertingAny(p.taint) // such as that of a column
}

// matters says whether v is anything but a constant.
func (v value) matters() bool { return len(v.sources) > 0 || !v.proven || v.session }
