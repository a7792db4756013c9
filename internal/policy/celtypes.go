package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"postern"
)

// The names of the types that conditions see. A protocol's commands are of a
// type of their own, since each protocol states its own facts.
const (
	identityType = "postern.Identity"
	resourceType = "postern.Resource"
	sessionType  = "postern.Session"
	objectType   = "postern.Object"
	askingType   = "postern.Request"
	commandType  = "postern.Command."
)

// fields are the fields of one type.
type fields map[string]*types.FieldType

// provider tells CEL the types of a policy's variables. It is not changed once
// it was made.
type provider struct {
	*types.Registry
	structs map[string]fields
	objects map[string]*types.Type
}

func newProvider(protocols []ProtocolType) (*provider, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, fmt.Errorf("CEL types: %w", err)
	}
	p := &provider{Registry: registry, structs: make(map[string]fields), objects: make(map[string]*types.Type)}
	p.add(identityType, identityFields())
	p.add(resourceType, resourceFields())
	p.add(sessionType, sessionFields())
	p.add(objectType, objectFields())
	p.add(askingType, askingFields())
	for _, protocol := range protocols {
		known := p.commandFields()
		for _, attr := range protocol.Attrs {
			if known[attr.Name] != nil {
				return nil, fmt.Errorf("protocol %s: the fact %q has the name of another field", protocol.Name, attr.Name)
			}
			field, err := attrField(attr)
			if err != nil {
				return nil, fmt.Errorf("protocol %s: %w", protocol.Name, err)
			}
			known[attr.Name] = field
		}
		p.add(commandType+protocol.Name, known)
	}
	return p, nil
}

func (p *provider) add(name string, f fields) {
	p.structs[name] = f
	p.objects[name] = types.NewObjectType(name)
}

// FindStructType implements [types.Provider].
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if t, ok := p.objects[name]; ok {
		return types.NewTypeTypeWithParam(t), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames implements [types.Provider].
func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	if f, ok := p.structs[name]; ok {
		return sortedKeys(f), true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements [types.Provider].
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if f, ok := p.structs[name]; ok {
		t, ok := f[field]
		return t, ok
	}
	return p.Registry.FindStructFieldType(name, field)
}

// NewValue implements [types.Provider]: conditions look at these types, and
// can't make values of them.
func (p *provider) NewValue(name string, values map[string]ref.Val) ref.Val {
	if _, ok := p.structs[name]; ok {
		return types.NewErr("a %s can't be made in a condition", name)
	}
	return p.Registry.NewValue(name, values)
}

// value is a Go value as conditions see it. Its fields are converted when they
// are looked at, not before.
type value struct {
	typ    *types.Type
	fields fields
	it     any // a pointer
}

func (p *provider) value(name string, it any) *value {
	return &value{typ: p.objects[name], fields: p.structs[name], it: it}
}

var errNoNative = errors.New("no conversion")

// ConvertToNative implements [ref.Val].
func (v *value) ConvertToNative(reflect.Type) (any, error) { return nil, errNoNative }

// ConvertToType implements [ref.Val].
func (v *value) ConvertToType(t ref.Type) ref.Val {
	if t.TypeName() == types.TypeType.TypeName() {
		return v.typ
	}
	return types.NewErr("no conversion")
}

// Equal implements [ref.Val].
func (v *value) Equal(other ref.Val) ref.Val {
	o, ok := other.(*value)
	return types.Bool(ok && o.it == v.it)
}

// Type implements [ref.Val].
func (v *value) Type() ref.Type { return v.typ }

// Value implements [ref.Val].
func (v *value) Value() any { return v.it }

// Get implements traits.Indexer, for access through dyn().
func (v *value) Get(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	if f := v.fields[string(name)]; ok && f != nil {
		got, err := f.GetFrom(v.it)
		if err != nil {
			return types.WrapErr(err)
		}
		return types.DefaultTypeAdapter.NativeToValue(got)
	}
	return types.NewErr("no such field")
}

// IsSet implements traits.FieldTester.
func (v *value) IsSet(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	f := v.fields[string(name)]
	return types.Bool(ok && f != nil && f.IsSet(v.it))
}

// field makes a field of the values of type *T.
func field[T any](t *types.Type, get func(*T) any) *types.FieldType {
	return &types.FieldType{
		Type:  t,
		IsSet: func(it any) bool { _, ok := it.(*T); return ok },
		GetFrom: func(it any) (any, error) {
			v, ok := it.(*T)
			if !ok {
				return nil, errNoNative
			}
			return get(v), nil
		},
	}
}

var (
	stringList = types.NewListType(types.StringType)
	stringMap  = types.NewMapType(types.StringType, types.StringType)
)

func identityFields() fields {
	return fields{
		"name":   field(types.StringType, func(id *postern.Identity) any { return id.Name }),
		"kind":   field(types.StringType, func(id *postern.Identity) any { return string(id.Kind) }),
		"groups": field(stringList, func(id *postern.Identity) any { return id.Groups }),
		"claims": field(stringMap, func(id *postern.Identity) any { return map[string]string(id.Claims) }),
		"actor":  field(types.StringType, func(id *postern.Identity) any { return id.ActorName() }),
	}
}

func resourceFields() fields {
	return fields{
		"name":   field(types.StringType, func(r *postern.Resource) any { return r.Name }),
		"type":   field(types.StringType, func(r *postern.Resource) any { return r.Type }),
		"labels": field(stringMap, func(r *postern.Resource) any { return r.Labels }),
	}
}

func sessionFields() fields {
	return fields{
		"source_ip": field(types.StringType, func(r *Request) any {
			if !r.Source.IsValid() {
				return ""
			}
			return r.Source.Unmap().WithZone("").String()
		}),
		"client": field(types.StringType, func(r *Request) any { return r.Client }),
		"started": field(types.TimestampType, func(r *Request) any {
			if r.Started.IsZero() {
				return timestamp(r.Now)
			}
			return timestamp(r.Started)
		}),
	}
}

func timestamp(t time.Time) any { return types.Timestamp{Time: t} }

func objectFields() fields {
	return fields{
		"kind":  field(types.StringType, func(o *postern.Object) any { return o.Kind }),
		"name":  field(types.StringType, func(o *postern.Object) any { return o.Name }),
		"write": field(types.BoolType, func(o *postern.Object) any { return o.Write }),
	}
}

func askingFields() fields {
	return fields{
		"reason":      field(types.StringType, func(a *Asking) any { return a.Reason }),
		"ticket":      field(types.StringType, func(a *Asking) any { return a.Ticket }),
		"access":      field(types.StringType, func(a *Asking) any { return a.Access }),
		"verbs":       field(stringList, func(a *Asking) any { return a.Verbs }),
		"duration":    field(types.DurationType, func(a *Asking) any { return types.Duration{Duration: a.For} }),
		"break_glass": field(types.BoolType, func(a *Asking) any { return a.BreakGlass }),
	}
}

// commandView is a command as conditions see it. What has to be converted as a
// whole is converted once, however often conditions look.
type commandView struct {
	*postern.Command
	objects ref.Val
	params  []string
}

func (p *provider) commandFields() fields {
	return fields{
		"protocol": field(types.StringType, func(c *commandView) any { return c.Protocol }),
		"verb":     field(types.StringType, func(c *commandView) any { return c.Verb }),
		"verbs":    field(stringList, func(c *commandView) any { return c.Verbs }),
		"access":   field(types.StringType, func(c *commandView) any { return c.Access.String() }),
		"text":     field(types.StringType, func(c *commandView) any { return c.Text }),
		"params":   field(stringList, func(c *commandView) any { return c.paramTexts() }),
		"objects":  field(types.NewListType(types.NewObjectType(objectType)), func(c *commandView) any { return c.objectList(p) }),
	}
}

func (c *commandView) objectList(p *provider) ref.Val {
	if c.objects == nil {
		all := make([]ref.Val, len(c.Objects))
		for i := range c.Objects {
			all[i] = p.value(objectType, &c.Objects[i])
		}
		c.objects = types.NewRefValList(p, all)
	}
	return c.objects
}

// paramTexts are the bound parameters as text: NULL is "", binary is hex.
func (c *commandView) paramTexts() []string {
	if c.params == nil {
		c.params = make([]string, len(c.Params))
		for i, p := range c.Params {
			switch {
			case p.Null:
			case p.Binary:
				c.params[i] = hex.EncodeToString(p.Value)
			default:
				c.params[i] = string(p.Value)
			}
		}
	}
	return c.params
}

// attrField is a fact that a protocol declared. One that a command doesn't
// state has its kind's zero value; one that it states as another kind is an
// error, which denies.
func attrField(attr postern.AttrType) (*types.FieldType, error) {
	f := &types.FieldType{
		IsSet: func(it any) bool {
			c, ok := it.(*commandView)
			return ok && c.Attr(attr.Name).Kind != 0
		},
		GetFrom: func(it any) (any, error) {
			c, ok := it.(*commandView)
			if !ok {
				return nil, errNoNative
			}
			a := c.Attr(attr.Name)
			if a.Kind != 0 && a.Kind != attr.Kind {
				return nil, fmt.Errorf("the fact %s is of another kind than was declared", attr.Name)
			}
			switch attr.Kind {
			case postern.AttrBool:
				return a.Bool, nil
			case postern.AttrInt:
				return a.Int, nil
			case postern.AttrString:
				return a.String, nil
			default:
				return a.Strings, nil
			}
		},
	}
	switch attr.Kind {
	case postern.AttrBool:
		f.Type = types.BoolType
	case postern.AttrInt:
		f.Type = types.IntType
	case postern.AttrString:
		f.Type = types.StringType
	case postern.AttrStrings:
		f.Type = stringList
	default:
		return nil, fmt.Errorf("the fact %q has no known kind", attr.Name)
	}
	return f, nil
}

// fieldNames are the names of all fields of all types, for near misses.
func (p *provider) fieldNames() []string {
	var all []string
	for _, f := range p.structs {
		all = slices.AppendSeq(all, maps.Keys(f))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
