package mask

import (
	"encoding/json"
	"strings"
	"testing"

	"postern"
)

func TestPartsOfDocuments(t *testing.T) {
	c := column(postern.JSONValue)
	for _, test := range []struct {
		path  string
		with  postern.MaskStyle
		value string
		want  string
	}{
		{"$.a", postern.MaskRedact, `{"a": "x", "b": "y"}`, `{"a": "[redacted]", "b": "y"}`},
		{"$.a", postern.MaskRedact, `{"b": "y"}`, `{"b": "y"}`},
		{"$.a.b", postern.MaskRedact, ` {"a": {"b" : [1, {"x": "]}"}] , "c": 2}} `, ` {"a": {"b" : "[redacted]" , "c": 2}} `},
		{"$.a", postern.MaskRedact, `{"a": 12, "a": true, "\u0061": "z"}`, `{"a": null, "a": null, "\u0061": "[redacted]"}`},
		{"$.a", postern.MaskPartial, `{"a": "ada.lovelace@example.com"}`, `{"a": "a***@e***.com"}`},
		{"$.a", postern.MaskPartial, `{"a": "\"\\quoted"}`, `{"a": "\"***"}`},
		{"$.a", postern.MaskNull, `{"a": {"b": 1}}`, `{"a": null}`},
		{"$.a", postern.MaskBucket, `{"a": 73519.5}`, `{"a": 70000}`},
		{"$.a", postern.MaskBucket, `{"a": -1e3}`, `{"a": -1000}`},
		{"$.a", postern.MaskBucket, `{"a": 1e999999999}`, `{"a": null}`},
		{"$.items[*].email", postern.MaskRedact, `{"items": [{"email": "x"}, {"email": "y", "n": 1}, 3]}`, `{"items": [{"email": "[redacted]"}, {"email": "[redacted]", "n": 1}, 3]}`},
		{"$.items.email", postern.MaskRedact, `{"items": [[{"email": "x"}]]}`, `{"items": [[{"email": "[redacted]"}]]}`},
		{"$[1]", postern.MaskRedact, `["x","y","z"]`, `["x","[redacted]","z"]`},
		{"$.*", postern.MaskRedact, `{"a": "x", "b": null, "c": []}`, `{"a": "[redacted]", "b": null, "c": "[redacted]"}`},
		{"$..email", postern.MaskRedact, `{"email": "x", "a": [{"b": {"email": ["y"]}}]}`, `{"email": "[redacted]", "a": [{"b": {"email": "[redacted]"}}]}`},
		{`$."a b"[*]`, postern.MaskRedact, `{"a b": ["x"], "a": ["x"]}`, `{"a b": ["[redacted]"], "a": ["x"]}`},
		{"$.a", postern.MaskRedact, `"scalar"`, `"scalar"`},
		{"$.a", postern.MaskRedact, "\x01" + `{"a":"x"}`, "\x01" + `{"a":"[redacted]"}`},
		{"$.a", postern.MaskRedact, `{"a": "x"`, "NULL"},
	} {
		if got := field(t, c, withColumns(test.with, "customers.email"+test.path), test.value); got != test.want {
			t.Errorf("%s %s of %s is %s, want %s", test.with, test.path, test.value, got, test.want)
		}
	}
}

// Whatever isn't the document itself may show the part that is meant.
func TestPartsOfDocumentsByExpression(t *testing.T) {
	masks := withColumns(postern.MaskPartial, "customers.email$.a")
	c := column(postern.TextValue)
	c.Plain = false
	if got := field(t, c, masks, "secret"); got != Redacted {
		t.Error(got)
	}
	c = column(postern.JSONValue)
	c.Plain = false
	if got := field(t, c, masks, `{"b": 1}`); got != `"[redacted]"` {
		t.Error(got)
	}
	c = column(postern.TextValue) // no document: what a path means there nobody knows
	if got := field(t, c, masks, `{"a": "secret"}`); strings.Contains(got, "secret") {
		t.Error(got)
	}
}

func TestPartsOfDocumentsAndContent(t *testing.T) {
	masks := append(withColumns(postern.MaskRedact, "customers.email$.a"), withDetect(postern.MaskRedact, "email")...)
	got := field(t, column(postern.JSONValue), masks, `{"a": "x", "b": "write to ada@example.com"}`)
	if want := `{"a": "[redacted]", "b": "write to [redacted]"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestHashOfPartJoinsText(t *testing.T) {
	text := field(t, column(postern.TextValue), withColumns(postern.MaskHash, "*"), "ada@example.com")
	part := field(t, column(postern.JSONValue), withColumns(postern.MaskHash, "customers.email$.a"), `{"a": "ada\u0040example.com"}`)
	if part != `{"a": "`+text+`"}` {
		t.Errorf("%s and %s", text, part)
	}
}

func TestPathsThatAreNone(t *testing.T) {
	for _, text := range []string{"a$.", "a$[", "a$[x]", "a$.a b", "a$.a[-1]", `a$."x`, "a$.a$.b", "a$..", `a$."\u0061"`} {
		if err := ValidColumn(text); err == nil {
			t.Errorf("%q was taken for a path", text)
		}
	}
	if err := ValidColumn("public.t.pre$post"); err != nil {
		t.Error("a column's name may hold a dollar sign: ", err)
	}
}

func FuzzPartsOfDocuments(f *testing.F) {
	f.Add(`{"a": [1, {"b": "x"}]}`, ".a[*].b")
	f.Add(`[[[{"email":"\ud83d\ude00"}]]]`, "..email")
	f.Fuzz(func(t *testing.T, value, path string) {
		steps, err := parsePath(path)
		if err != nil {
			return
		}
		r := &Row{hasher: hasher{key: testKey}}
		for _, s := range []style{partial, bucket, hashed, redact, null} {
			out, ok := r.within(nil, []byte(value), []jsonMask{{path: steps, style: s}})
			if ok && !json.Valid(out[min(len(out), strings.IndexByte(string(out), jsonbVersion)+1):]) {
				t.Errorf("%d of %q gives %q", s, value, out)
			}
		}
	})
}
