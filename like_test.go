package postern_test

import (
	"reflect"
	"testing"

	"postern"
)

// TestLike: a field that Command gains has to be looked at, too.
func TestLike(t *testing.T) {
	known := map[string]bool{
		"Protocol": true, "Verb": true, "Verbs": true, "Access": true, "Objects": true,
		"Attrs": true, "Text": false, "Params": false, "State": true, "Problem": true,
	}
	for f := range reflect.TypeFor[postern.Command]().Fields() {
		counts, ok := known[f.Name]
		if !ok {
			t.Errorf("nobody said whether Command.%s counts", f.Name)
			continue
		}
		a := postern.Command{Verbs: []string{"select"}, Attrs: []postern.Attr{{}}, Objects: []postern.Object{{}}}
		b := a
		v := reflect.ValueOf(&b).Elem().FieldByIndex(f.Index)
		switch v.Kind() {
		case reflect.String:
			v.SetString("other")
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Uint8:
			v.SetUint(3)
		default:
			t.Fatalf("%s is a %s", f.Name, v.Kind())
		}
		if a.Like(&b) == counts {
			t.Errorf("commands that differ in %s: like each other %t", f.Name, counts)
		}
	}
}

// TestSame: lists are the same by where they are, and not by what is in them.
func TestSame(t *testing.T) {
	list := []int{1, 2}
	for _, c := range []struct {
		name string
		a, b []int
		want bool
	}{
		{"one list", list, list, true},
		{"equal ones", list, []int{1, 2}, false},
		{"a part", list, list[:1], false},
		{"another part of the length", list[:1], list[1:], false},
		{"nothing", nil, nil, true},
		{"empty ones", []int{}, []int{}, true},
		{"nothing and an empty one", nil, []int{}, false},
	} {
		if got := postern.Same(c.a, c.b); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
