package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/elimity-com/scim"
	scimerrors "github.com/elimity-com/scim/errors"
	"github.com/elimity-com/scim/schema"
	"github.com/scim2/filter-parser/v2"
)

// patched applies the operations of a PATCH (RFC 7644, section 3.5.2) to a copy
// of a resource's attributes. The library has validated them.
func patched(attributes map[string]any, operations []scim.PatchOperation, schemas ...schema.Schema) (map[string]any, error) {
	p := patcher{schemas: schemas}
	out := deepCopy(attributes)
	for _, o := range operations {
		if err := p.apply(out, o); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// deepCopy copies attributes by way of JSON, which is what they are made of.
func deepCopy(attributes map[string]any) map[string]any {
	out := map[string]any{}
	text, err := json.Marshal(attributes)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return maps.Clone(attributes)
	}
	return out
}

// patcher knows which attributes there are.
type patcher struct{ schemas []schema.Schema }

func (p patcher) apply(resource map[string]any, o scim.PatchOperation) error {
	if o.Path == nil {
		values, ok := o.Value.(map[string]any)
		if !ok {
			return scimerrors.ScimErrorInvalidValue
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if err := p.member(resource, o.Op, name, values[name]); err != nil {
				return err
			}
		}
		return nil
	}
	in, uri := resource, o.Path.AttributePath.URI()
	if uri != "" && uri != p.schemas[0].ID {
		in = child(resource, uri)
	}
	sub := o.Path.AttributePath.SubAttributeName()
	if name := o.Path.SubAttributeName(); name != "" {
		sub = name
	}
	at := p.place(uri, o.Path.AttributePath.AttributeName, sub)
	if o.Path.ValueExpression != nil {
		return at.elements(in, o, *o.Path)
	}
	at.whole(in, o.Op, o.Value)
	return nil
}

// member applies one member of a value without a path: an attribute's name, a
// path like name.givenName, or the members of an extension.
func (p patcher) member(resource map[string]any, op, name string, value any) error {
	for _, s := range p.schemas[1:] {
		if name == s.ID {
			values, ok := value.(map[string]any)
			if !ok {
				return scimerrors.ScimErrorInvalidValue
			}
			for member, v := range values {
				p.place(s.ID, member, "").whole(child(resource, s.ID), op, v)
			}
			return nil
		}
	}
	path, err := filter.ParsePath([]byte(name))
	if err != nil {
		return scimerrors.ScimErrorInvalidPath
	}
	return p.apply(resource, scim.PatchOperation{Op: op, Path: &path, Value: value})
}

func child(resource map[string]any, name string) map[string]any {
	inner, ok := resource[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		resource[name] = inner
	}
	return inner
}

// place is an attribute, or one attribute of a complex one, by the names that
// the schema gives them.
type place struct {
	name, sub string
	multi     bool
}

func (p patcher) place(uri, name, sub string) place {
	for _, s := range p.schemas {
		if uri != "" && s.ID != uri {
			continue
		}
		if attr, ok := s.Attributes.ContainsAttribute(name); ok {
			at := place{name: attr.Name(), sub: sub, multi: attr.MultiValued()}
			if inner, ok := attr.SubAttributes().ContainsAttribute(sub); ok && sub != "" {
				at.sub = inner.Name()
			}
			return at
		}
	}
	if strings.EqualFold(name, schema.CommonAttributeExternalID) {
		name = schema.CommonAttributeExternalID
	}
	return place{name: name, sub: sub}
}

// whole applies an operation without a value filter.
func (at place) whole(in map[string]any, op string, value any) {
	name := at.name
	if at.sub != "" && !at.multi {
		in, name = child(in, at.name), at.sub
	}
	switch {
	case op == scim.PatchOperationRemove && at.multi && value != nil:
		gone := list0(value)
		in[name] = slices.DeleteFunc(list0(in[name]), func(e any) bool {
			return slices.ContainsFunc(gone, func(g any) bool { return sameValue(e, g) })
		})
	case op == scim.PatchOperationRemove:
		delete(in, name)
	case op == scim.PatchOperationAdd && at.multi:
		all := list0(in[name])
		for _, e := range list0(value) {
			if !slices.ContainsFunc(all, func(have any) bool { return sameValue(have, e) }) {
				all = append(all, e)
			}
		}
		in[name] = all
	default:
		more, isMap := value.(map[string]any)
		have, had := in[name].(map[string]any)
		if isMap && had && !at.multi {
			for k, v := range more { // what isn't named stays
				have[k] = v
			}
			return
		}
		if at.multi {
			value = list0(value)
		}
		in[name] = value
	}
}

// elements applies an operation to those elements of a list that a filter picks.
func (at place) elements(in map[string]any, o scim.PatchOperation, path filter.Path) error {
	all := list0(in[at.name])
	met := false
	var kept []any
	for _, e := range all {
		element, ok := e.(map[string]any)
		picked := false
		if ok {
			var err error
			if picked, err = picks(path.ValueExpression, element); err != nil {
				return err
			}
		}
		switch {
		case !picked:
			kept = append(kept, e)
			continue
		case o.Op == scim.PatchOperationRemove && at.sub == "":
		case o.Op == scim.PatchOperationRemove:
			delete(element, at.sub)
			kept = append(kept, element)
		case at.sub != "":
			element[at.sub] = o.Value
			kept = append(kept, element)
		default:
			merge(element, o.Value)
			kept = append(kept, element)
		}
		met = true
	}
	if !met && o.Op != scim.PatchOperationRemove {
		element, ok := wanted(path.ValueExpression)
		if !ok {
			return scimerrors.ScimErrorNoTarget
		}
		if at.sub != "" {
			element[at.sub] = o.Value
		} else {
			merge(element, o.Value)
		}
		kept = append(kept, element)
	}
	in[at.name] = kept
	return nil
}

func merge(element map[string]any, value any) {
	if more, ok := value.(map[string]any); ok {
		maps.Copy(element, more)
	}
}

// picks says whether a value filter picks an element.
func picks(e filter.Expression, element map[string]any) (bool, error) {
	switch e := e.(type) {
	case *filter.AttributeExpression:
		var have any
		for name, v := range element {
			if strings.EqualFold(name, e.AttributePath.AttributeName) {
				have = v
			}
		}
		switch e.Operator {
		case filter.EQ:
			return equalText(have, e.CompareValue), nil
		case filter.NE:
			return !equalText(have, e.CompareValue), nil
		case filter.PR:
			return have != nil, nil
		}
		return false, scimerrors.ScimErrorInvalidFilter
	case *filter.LogicalExpression:
		left, err := picks(e.Left, element)
		if err != nil {
			return false, err
		}
		right, err := picks(e.Right, element)
		if e.Operator == filter.OR {
			return left || right, err
		}
		return left && right, err
	}
	return false, scimerrors.ScimErrorInvalidFilter
}

// wanted is the element that an operation on emails[type eq "work"] makes when
// there is none: Entra ID expects it to.
func wanted(e filter.Expression) (map[string]any, bool) {
	one, ok := e.(*filter.AttributeExpression)
	if !ok || one.Operator != filter.EQ {
		return nil, false
	}
	return map[string]any{one.AttributePath.AttributeName: one.CompareValue}, true
}

func equalText(have, want any) bool {
	a, okA := have.(string)
	b, okB := want.(string)
	if okA && okB {
		return a == b
	}
	return reflect.DeepEqual(have, want)
}

// list0 is a list of values, whatever there was.
func list0(value any) []any {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		return v
	case []map[string]any:
		var out []any
		for _, m := range v {
			out = append(out, m)
		}
		return out
	}
	return []any{value}
}

// sameValue says whether two elements mean the same: the value of a complex one
// is what counts.
func sameValue(a, b any) bool {
	am, okA := a.(map[string]any)
	bm, okB := b.(map[string]any)
	if okA && okB && am["value"] != nil {
		return am["value"] == bm["value"]
	}
	return reflect.DeepEqual(a, b)
}
