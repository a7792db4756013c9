package mask

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"postern"
)

var testKey = []byte("a key for tests, thirty-two long")

func column(t postern.ValueType) postern.Column {
	return postern.Column{
		Name: "v", Type: t, Proven: true, Plain: true,
		Sources: []postern.ColumnName{{Schema: "public", Table: "customers", Column: "email"}},
	}
}

func withColumns(with postern.MaskStyle, patterns ...string) []postern.Mask {
	return []postern.Mask{{Name: "m", Columns: patterns, With: with}}
}

func withDetect(with postern.MaskStyle, names ...string) []postern.Mask {
	return []postern.Mask{{Name: "m", Detect: names, With: with}}
}

// field masks one value: "NULL" stands for NULL.
func field(t *testing.T, c postern.Column, masks []postern.Mask, value string) string {
	t.Helper()
	r := NewRow([]postern.Column{c}, masks, testKey)
	if r == nil || !r.Touches(0) {
		return value
	}
	out, null, masked := r.Field(0, []byte("before"), []byte(value))
	if !strings.HasPrefix(string(out), "before") {
		t.Fatalf("Field overwrote what was in dst: %q", out)
	}
	got := string(out[len("before"):])
	if null {
		if got != "" {
			t.Fatalf("NULL, but %q was appended", got)
		}
		return "NULL"
	}
	if masked != (got != value) {
		t.Fatalf("masked is %v for %q -> %q", masked, value, got)
	}
	return got
}

func TestColumnPatterns(t *testing.T) {
	source := postern.ColumnName{Schema: "public", Table: "customers", Column: "email"}
	for text, want := range map[string]bool{
		"public.customers.email": true, "customers.email": true, "email": true, "*.*.email": true, "*": true,
		"public.*.*": true, "pub*.cust*.e?ail": true, "PUBLIC.Customers.EMAIL": true, "public.orders.email": false,
		"other.customers.email": false, "e-mail": false, "customers.*": true, "orders.*": false,
	} {
		p, err := parsePattern(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := p.matches(source); got != want {
			t.Errorf("%s matches %s: %v, want %v", text, source, got, want)
		}
	}
	for _, text := range []string{"a.b.c.d", "", "a.", "[a.b.c", "x.[-]"} {
		if ValidColumn(text) == nil {
			t.Errorf("%q is taken for a pattern", text)
		}
	}
}

func TestWhichColumns(t *testing.T) {
	plain := column(postern.TextValue)
	computed := column(postern.TextValue)
	computed.Plain = false
	other := column(postern.TextValue)
	other.Sources = []postern.ColumnName{{Schema: "public", Table: "plain", Column: "label"}}
	constant := column(postern.TextValue)
	constant.Sources = nil
	unproven := other
	unproven.Proven = false
	number := unproven
	number.Type = postern.IntValue

	check := func(name string, c postern.Column, with postern.MaskStyle, want string) {
		t.Helper()
		if got := field(t, c, withColumns(with, "customers.email"), "ada.lovelace@example.com"); got != want {
			t.Errorf("%s with %s: %q, want %q", name, with, got, want)
		}
	}
	check("plain", plain, postern.MaskPartial, "a***@e***.com")
	check("plain", plain, postern.MaskRedact, "[redacted]")
	check("plain", plain, postern.MaskNull, "NULL")
	check("computed", computed, postern.MaskPartial, "[redacted]")
	check("computed", computed, postern.MaskNull, "NULL")
	check("other", other, postern.MaskPartial, "ada.lovelace@example.com")
	check("constant", constant, postern.MaskNull, "ada.lovelace@example.com")
	check("unproven", unproven, postern.MaskPartial, "[redacted]")
	check("unproven", unproven, postern.MaskHash, "[redacted]")
	check("unproven", unproven, postern.MaskNull, "NULL")
	check("unproven number", number, postern.MaskPartial, "NULL")
	check("plain, style unknown", plain, "rot13", "NULL")
	if got := field(t, plain, withColumns(postern.MaskHash, "email"), "x"); len(got) != 32 {
		t.Errorf("hash is %q", got)
	}
	if got := field(t, other, withColumns(postern.MaskRedact, "[not a pattern"), "x"); got != Redacted {
		t.Errorf("a pattern that can't be read lets %q through", got)
	}
}

func TestStrongestMaskWins(t *testing.T) {
	masks := append(withColumns(postern.MaskPartial, "email"), withColumns(postern.MaskHash, "customers.*")...)
	if got := field(t, column(postern.TextValue), masks, "ada@example.com"); len(got) != 32 {
		t.Errorf("partial beats hash: %q", got)
	}
	masks = append(masks, withColumns(postern.MaskRedact, "*")...)
	if got := field(t, column(postern.TextValue), masks, "ada@example.com"); got != Redacted {
		t.Errorf("hash beats redact: %q", got)
	}
	masks = append(masks, withColumns(postern.MaskNull, "*")...)
	if got := field(t, column(postern.TextValue), masks, "ada@example.com"); got != "NULL" {
		t.Errorf("redact beats null: %q", got)
	}
}

func TestPartial(t *testing.T) {
	for value, want := range map[string]string{
		"ada.lovelace@example.com":    "a***@e***.com",
		"a@b.com":                     "***@***.com",
		"zo@müller.example.de":        "***@m***.de",
		"zoëm@müller.de":              "z***@m***.de",
		"4111111111111111":            "************1111",
		"4111-1111-1111-1111":         "****-****-****-1111",
		"+1 415 555 0132":             "+* *** *** **32",
		"(415) 555-0132":              "(***) ***-**32",
		"123":                         "***",
		"":                            "***",
		"Ada Lovelace":                "A***",
		"Zoë":                         "***",
		"Žižek":                       "Ž***",
		"12345":                       "1***",
		"DE89 3704 0044 0532 0130 00": "D***",
	} {
		if got := field(t, column(postern.TextValue), withColumns(postern.MaskPartial, "email"), value); got != want {
			t.Errorf("partial of %q is %q, want %q", value, got, want)
		}
	}
}

func numericBinary(weight int16, groups ...uint16) string {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(groups)))
	b = binary.BigEndian.AppendUint16(b, uint16(weight))
	b = append(b, 0, 0, 0, 0)
	for _, g := range groups {
		b = binary.BigEndian.AppendUint16(b, g)
	}
	return string(b)
}

func TestTypesKeep(t *testing.T) {
	const id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
	rawID, _ := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	for _, v := range []struct {
		name   string
		t      postern.ValueType
		width  int
		binary bool
		value  string
		redact string
		hash   string // "": only that it is no NULL and not the value
	}{
		{"bool", postern.BoolValue, 1, false, "t", "NULL", "NULL"},
		{"date", postern.DateValue, 4, false, "2024-01-02", "NULL", "NULL"},
		{"time", postern.TimeValue, 8, true, "12345678", "NULL", "NULL"},
		{"float", postern.FloatValue, 8, false, "1.5", "NULL", "NULL"},
		{"numeric", postern.NumericValue, 0, false, "1.50", "NULL", "NULL"},
		{"int4", postern.IntValue, 4, false, "42", "NULL", "NULL"},
		{"int8", postern.IntValue, 8, false, "42", "NULL", ""},
		{"int8 binary", postern.IntValue, 8, true, "\x00\x00\x00\x00\x00\x00\x00\x2a", "NULL", ""},
		{"uuid", postern.UUIDValue, 16, false, id, "NULL", ""},
		{"uuid binary", postern.UUIDValue, 16, true, string(rawID), "NULL", ""},
		{"bytea", postern.BytesValue, 0, false, `\x6162`, `\x5b72656461637465645d`, ""},
		{"bytea binary", postern.BytesValue, 0, true, "ab", Redacted, ""},
		{"json", postern.JSONValue, 0, false, `{"a":1}`, `"[redacted]"`, ""},
		{"jsonb", postern.JSONValue, 0, true, "\x01{}", "\x01\"[redacted]\"", ""},
		{"char", postern.TextValue, 1, false, "x", "NULL", "NULL"},
		{"opaque", postern.OpaqueValue, 0, false, "(1,2)", "NULL", "NULL"},
	} {
		c := column(v.t)
		c.Width, c.Binary = v.width, v.binary
		if got := field(t, c, withColumns(postern.MaskRedact, "email"), v.value); got != v.redact {
			t.Errorf("%s redacted is %q, want %q", v.name, got, v.redact)
		}
		got := field(t, c, withColumns(postern.MaskHash, "email"), v.value)
		if v.hash != "" && got != v.hash || v.hash == "" && (got == "NULL" || got == v.value) {
			t.Errorf("%s hashed is %q, want %q", v.name, got, v.hash)
		}
		if again := field(t, c, withColumns(postern.MaskHash, "email"), v.value); again != got {
			t.Errorf("%s hashes to %q and %q", v.name, got, again)
		}
		if v.width == 8 && v.t == postern.IntValue && v.binary && len(got) != 8 {
			t.Errorf("%s hashed has %d bytes", v.name, len(got))
		}
		if v.t != postern.JSONValue && v.t != postern.BytesValue {
			if got := field(t, c, withColumns(postern.MaskPartial, "email"), v.value); got != "NULL" {
				t.Errorf("%s shows a part of itself: %q", v.name, got)
			}
		}
	}
}

func TestHashIsTheSameInBothFormats(t *testing.T) {
	text, bin := column(postern.IntValue), column(postern.IntValue)
	text.Width, bin.Width, bin.Binary = 8, 8, true
	a := field(t, text, withColumns(postern.MaskHash, "email"), "-42")
	b := field(t, bin, withColumns(postern.MaskHash, "email"), "\xff\xff\xff\xff\xff\xff\xff\xd6")
	if want := binary.BigEndian.Uint64([]byte(b)); a != decimalOf(want) {
		t.Errorf("int8: %s in text, %d in binary", a, want)
	}
	text, bin = column(postern.UUIDValue), column(postern.UUIDValue)
	bin.Binary = true
	raw, _ := hex.DecodeString("a0eebc999c0b4ef8bb6d6bb9bd380a11")
	a = field(t, text, withColumns(postern.MaskHash, "email"), "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")
	b = field(t, bin, withColumns(postern.MaskHash, "email"), string(raw))
	if strings.ReplaceAll(a, "-", "") != hex.EncodeToString([]byte(b)) {
		t.Errorf("uuid: %s in text, %x in binary", a, b)
	}
}

func decimalOf(v uint64) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestHashNeedsAKey(t *testing.T) {
	r := NewRow([]postern.Column{column(postern.TextValue)}, withColumns(postern.MaskHash, "email"), nil)
	if out, _, _ := r.Field(0, nil, []byte("x")); string(out) != Redacted {
		t.Errorf("without a key the hash is %q", out)
	}
	a := field(t, column(postern.TextValue), withColumns(postern.MaskHash, "email"), "x")
	r = NewRow([]postern.Column{column(postern.TextValue)}, withColumns(postern.MaskHash, "email"), []byte("another key"))
	if out, _, _ := r.Field(0, nil, []byte("x")); string(out) == a {
		t.Error("two keys give one hash")
	}
}

func array(elem postern.ValueType) postern.Column {
	c := column(postern.ArrayValue)
	c.Elem = elem
	return c
}

func TestTextArrays(t *testing.T) {
	for value, want := range map[string]string{
		`{}`:                                `{}`,
		`{ada.l@example.com,NULL,"b c"}`:    `{a***@e***.com,NULL,***}`,
		`{{"a,b@example.com",x},{y,z}}`:     `{{a***@e***.com,***},{***,***}}`,
		`[0:1]={"long \"quoted\" text",""}`: `[0:1]={l***,***}`,
		`{"\"abcdef"}`:                      `{"\"***"}`,
		`{"NULL"}`:                          `{N***}`,
		`not an array`:                      `NULL`,
		`{a,b`:                              `NULL`,
		`{a}b`:                              `NULL`,
		`{a,}`:                              `NULL`,
		`{"a"b}`:                            `NULL`,
		`{{{{{{{a}}}}}}}`:                   `NULL`,
	} {
		if got := field(t, array(postern.TextValue), withColumns(postern.MaskPartial, "email"), value); got != want {
			t.Errorf("partial of %s is %s, want %s", value, got, want)
		}
	}
	if got := field(t, array(postern.IntValue), withColumns(postern.MaskRedact, "email"), `{1,2,NULL}`); got != `{NULL,NULL,NULL}` {
		t.Errorf("an array of numbers: %s", got)
	}
	for value, want := range map[string]string{
		`{plain,"two words"}`:                        `{plain,"two words"}`,
		`{"mail ada@example.com",plain,NULL}`:        `{"mail a***@e***.com",plain,NULL}`,
		`{"say \"ada.private@example.net\"","a\\b"}`: `{"say \"a***@e***.net\"","a\\b"}`,
	} {
		if got := field(t, array(postern.TextValue), withDetect(postern.MaskPartial, "email"), value); got != want {
			t.Errorf("looking at %s gives %s, want %s", value, got, want)
		}
	}
}

func binaryArray(elems ...string) string {
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, 25)
	b = binary.BigEndian.AppendUint32(b, uint32(len(elems)))
	b = binary.BigEndian.AppendUint32(b, 1)
	for _, e := range elems {
		if e == "NULL" {
			b = binary.BigEndian.AppendUint32(b, 0xffffffff)
			b[7] = 1
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(e)))
		b = append(b, e...)
	}
	return string(b)
}

func TestBinaryArrays(t *testing.T) {
	c := array(postern.TextValue)
	c.Binary = true
	if got, want := field(t, c, withColumns(postern.MaskPartial, "email"), binaryArray("ada.l@example.com", "NULL", "b")), binaryArray("a***@e***.com", "NULL", "***"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Elem, c.Width = postern.IntValue, 4
	if got, want := field(t, c, withColumns(postern.MaskRedact, "email"), binaryArray("\x00\x00\x00\x01")), binaryArray("NULL"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, broken := range []string{"", "short", binaryArray("abc")[:22], binaryArray("abc") + "x", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x7f\xff\xff\xff\x00\x00\x00\x01"} {
		if got := field(t, c, withColumns(postern.MaskRedact, "email"), broken); got != "NULL" {
			t.Errorf("%q becomes %q", broken, got)
		}
	}
}

func TestContent(t *testing.T) {
	all := []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "secret"}
	text := column(postern.TextValue)
	check := func(c postern.Column, with postern.MaskStyle, value, want string) {
		t.Helper()
		if got := field(t, c, withDetect(with, all...), value); got != want {
			t.Errorf("%s: %q becomes %q, want %q", with, value, got, want)
		}
	}
	check(text, postern.MaskPartial, "VIP; alt mail ada.private@example.net; backup card 5555555555554444", "VIP; alt mail a***@e***.net; backup card ************4444")
	check(text, postern.MaskRedact, "ssn on file 402-11-7793", "ssn on file [redacted]")
	check(text, postern.MaskRedact, "IBAN DE89370400440532013000", "IBAN [redacted]")
	check(text, postern.MaskPartial, "call +44 20 7946 0958 now", "call +** ** **** **58 now")
	check(text, postern.MaskRedact, "nothing sensitive here", "nothing sensitive here")
	check(text, postern.MaskNull, "ssn on file 402-11-7793", "NULL")
	check(text, postern.MaskPartial, "from 10.1.2.3", "from 1***")
	check(text, postern.MaskPartial, "token=ghp_mgl1fde1ak1vzbzb54qnvmuw973a9pyv3wvn", "token=***")

	jsonColumn := column(postern.JSONValue)
	check(jsonColumn, postern.MaskPartial, `{"mail": "ada.l@example.com", "n": [1, 2.5e3, true, null]}`, `{"mail": "a***@e***.com", "n": [1, 2.5e3, true, null]}`)
	check(jsonColumn, postern.MaskPartial, `{"mail": "ada.l\u0040example.com"}`, `{"mail": "a***@e***.com"}`)
	check(jsonColumn, postern.MaskRedact, `{"card": 4111111111111111}`, `{"card": null}`)
	check(jsonColumn, postern.MaskRedact, `{"ada.l@example.com": 1}`, `{"[redacted]": 1}`)
	check(jsonColumn, postern.MaskNull, `{"a": "ada.l@example.com"}`, `{"a": null}`)
	check(jsonColumn, postern.MaskRedact, `{"t": "line\nada.l@example.com\t\"x\""}`, `{"t": "line\n[redacted]\t\"x\""}`)
	check(jsonColumn, postern.MaskRedact, `{broken ada.l@example.com`, `"[redacted]"`)
	check(jsonColumn, postern.MaskRedact, `{"a": "b\nc"}`, `{"a": "b\nc"}`)
	check(jsonColumn, postern.MaskRedact, `{"password": "correct horse"}`, `{"password": "[redacted]"}`)
	jsonb := jsonColumn
	jsonb.Binary = true
	check(jsonb, postern.MaskRedact, "\x01[\"ada.l@example.com\"]", "\x01[\"[redacted]\"]")

	bytea := column(postern.BytesValue)
	check(bytea, postern.MaskRedact, `\x6d61696c206164612e6c406578616d706c652e636f6d`, `\x6d61696c205b72656461637465645d`)
	check(bytea, postern.MaskRedact, `\xdeadbeef`, `\xdeadbeef`)
	check(column(postern.OpaqueValue), postern.MaskRedact, "(1,ada.l@example.com)", "NULL")
	check(column(postern.OpaqueValue), postern.MaskRedact, "(1,2)", "(1,2)")

	wide := column(postern.IntValue)
	wide.Width = 8
	check(wide, postern.MaskRedact, "4111111111111111", "NULL")
	check(wide, postern.MaskRedact, "4111111111111112", "4111111111111112")
	wide.Binary = true
	check(wide, postern.MaskRedact, string(binary.BigEndian.AppendUint64(nil, 4111111111111111)), "NULL")
	check(wide, postern.MaskRedact, "\x00\x00\x00\x00\x00\x00\x00\x07", "\x00\x00\x00\x00\x00\x00\x00\x07")
	numeric := column(postern.NumericValue)
	check(numeric, postern.MaskRedact, "4111111111111111.00", "NULL")
	check(numeric, postern.MaskRedact, "-4111111111111112.50", "-4111111111111112.50")
	check(column(postern.FloatValue), postern.MaskRedact, "4.111111111111111e+15", "NULL")
	check(column(postern.FloatValue), postern.MaskRedact, "NaN", "NaN")
	numeric.Binary = true
	check(numeric, postern.MaskRedact, numericBinary(3, 4111, 1111, 1111, 1111), "NULL")
	check(numeric, postern.MaskRedact, numericBinary(3, 4111, 1111, 1111, 1112), numericBinary(3, 4111, 1111, 1111, 1112))
}

func TestEncodedText(t *testing.T) {
	const secret = "alt mail ada.private@example.net; backup card 5555555555554444"
	c := column(postern.TextValue)
	for name, value := range map[string]string{
		"hex":             hex.EncodeToString([]byte(secret)),
		"HEX":             strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"bytea":           `\x` + hex.EncodeToString([]byte(secret)),
		"base64":          base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 in lines": base64.StdEncoding.EncodeToString([]byte(secret))[:40] + "\n" + base64.StdEncoding.EncodeToString([]byte(secret))[40:],
		"base64 url":      base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		if got := field(t, c, withDetect(postern.MaskPartial, "email", "credit_card"), value); got != Redacted {
			t.Errorf("%s becomes %q", name, got)
		}
		if got := field(t, c, withDetect(postern.MaskNull, "email"), value); got != "NULL" {
			t.Errorf("%s becomes %q", name, got)
		}
	}
	for _, value := range []string{
		hex.EncodeToString([]byte("nothing sensitive in here")), base64.StdEncoding.EncodeToString([]byte("nothing sensitive in here")),
		"70575870032264fa2ba9df8a1285822184aaf461", "NM8QUjebkFwAAfmTzVY8KJ/zFdTJQyfw", "internationalisation",
	} {
		if got := field(t, c, withDetect(postern.MaskRedact, "email", "credit_card", "phone", "ssn"), value); got != value {
			t.Errorf("%q becomes %q", value, got)
		}
	}
}

func TestLabels(t *testing.T) {
	c := column(postern.TextValue)
	for name, value := range map[string]string{"ssn": "536904399", "phone": "4155550132", "password": "correct horse battery", "api_token": "9f8a7b6c5d4e3f2a1b0c"} {
		c.Name = name
		if got := field(t, c, withDetect(postern.MaskRedact, "ssn", "phone", "secret"), value); got != Redacted {
			t.Errorf("%s in a column called %s becomes %s", value, name, got)
		}
		c.Name = "reference"
		if got := field(t, c, withDetect(postern.MaskRedact, "ssn", "phone", "secret"), value); got != value {
			t.Errorf("%s in a column called %s becomes %s", value, c.Name, got)
		}
	}
	c.Name = "id"
	c.Type, c.Width = postern.IntValue, 4
	if r := NewRow([]postern.Column{c}, withDetect(postern.MaskRedact, "email", "credit_card", "ssn"), testKey); r != nil {
		t.Error("an ordinary column of four-byte numbers is looked at")
	}
	c.Name = "ssn"
	if got := field(t, c, withDetect(postern.MaskRedact, "ssn"), "536904399"); got != "NULL" {
		t.Errorf("a number in a column called ssn becomes %s", got)
	}
}

func TestUnknownFailsClosed(t *testing.T) {
	if got := field(t, column(postern.TextValue), withDetect(postern.MaskPartial, "email", "aura"), "anything"); got != "NULL" {
		t.Errorf("an unknown detector lets %q through", got)
	}
	if got := field(t, column(postern.TextValue), withDetect("rot13", "email"), "mail ada@example.com"); got != "NULL" {
		t.Errorf("an unknown style gives %q", got)
	}
	text := NewText(withDetect(postern.MaskPartial, "aura"), testKey)
	if out, hits := text.Mask(nil, []byte("anything")); string(out) != Redacted || hits != 1 {
		t.Errorf("an unknown detector lets %q through", out)
	}
	r := NewRow([]postern.Column{column(postern.TextValue)}, withColumns(postern.MaskRedact, "email"), testKey)
	if out, null, masked := r.Field(1, nil, []byte("x")); len(out) > 0 || !null || !masked {
		t.Error("a column that was not planned comes through")
	}
}

func TestNothingToMask(t *testing.T) {
	columns := []postern.Column{column(postern.TextValue)}
	if NewRow(columns, nil, testKey) != nil {
		t.Error("a plan without a mask")
	}
	if NewRow(columns, withColumns(postern.MaskRedact, "other"), testKey) != nil {
		t.Error("a plan that touches nothing")
	}
	if NewText(withColumns(postern.MaskRedact, "other"), testKey) != nil {
		t.Error("a text mask without a detector")
	}
}

func TestText(t *testing.T) {
	text := NewText(withDetect(postern.MaskRedact, "email", "ssn"), testKey)
	out, hits := text.Mask([]byte("ERROR: "), []byte(`Key (email)=(ada.l@example.com) already exists; Key (ssn)=(402-11-7793).`))
	if want := `ERROR: Key (email)=([redacted]) already exists; Key (ssn)=([redacted]).`; string(out) != want || hits != 2 {
		t.Errorf("got %q with %d hits", out, hits)
	}
	text = NewText(withDetect(postern.MaskHash, "email"), testKey)
	a, _ := text.Mask(nil, []byte("ada.l@example.com"))
	b := field(t, column(postern.TextValue), withDetect(postern.MaskHash, "email"), "ada.l@example.com")
	if string(a) != b {
		t.Errorf("text hashes to %s, a field to %s", a, b)
	}
}

func TestDetectors(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Detectors() {
		if d.Name == "" || d.Doc == "" || seen[d.Name] {
			t.Errorf("detector %+v", d)
		}
		seen[d.Name] = true
	}
	for _, name := range []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "secret", "url", "date", "national_id"} {
		if !seen[name] {
			t.Errorf("no detector %s", name)
		}
	}
}
