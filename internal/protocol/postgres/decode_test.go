package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"postern"
	"postern/internal/mask"
	"postern/internal/sql"
)

// readAll reads messages and writes them again, as the relay forwards them.
func readAll(f *frameReader, whole int) ([]byte, error) {
	var out []byte
	for {
		typ, size, err := f.next()
		if err != nil {
			return out, err
		}
		out = appendHeader(out, typ, size)
		if size <= whole {
			var body []byte
			if body, err = f.take(); err == nil {
				out = append(out, body...)
			}
		} else {
			err = f.stream(func(p []byte) error {
				out = append(out, p...)
				return nil
			})
		}
		if err != nil {
			return out, err
		}
	}
}

func TestFrames(t *testing.T) {
	var in []byte
	for _, n := range []int{0, 1, 4, 100, restBuffer, restBuffer - 5, fullBuffer, fullBuffer + 1, 300000, 3} {
		in = append(appendHeader(in, 'D', n), bytes.Repeat([]byte{byte(n)}, n)...)
	}
	for _, whole := range []int{0, 1000, 1 << 20} {
		for name, src := range map[string]io.Reader{"at once": bytes.NewReader(in), "halves": iotest.HalfReader(bytes.NewReader(in)), "bytes": iotest.OneByteReader(bytes.NewReader(in))} {
			out, err := readAll(newFrameReader(src, &buffers{}), whole)
			if !errors.Is(err, io.EOF) || !bytes.Equal(in, out) {
				t.Errorf("%s, up to %d whole: %v, %d bytes of %d", name, whole, err, len(out), len(in))
			}
		}
	}
	for in, want := range map[string]error{
		"D\x00\x00": io.ErrUnexpectedEOF, "D\x00\x00\x00\x06x": io.ErrUnexpectedEOF, "D\x00\x00\x00\x04": io.EOF,
	} {
		if _, err := readAll(newFrameReader(strings.NewReader(in), &buffers{}), 10); !errors.Is(err, want) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{"D\x00\x00\x00\x03", "D\xff\xff\xff\xff", "D\x40\x00\x00\x01"} {
		var frame *frameError
		if _, err := readAll(newFrameReader(strings.NewReader(in), &buffers{}), 10); !errors.As(err, &frame) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// TestFrameMemory: a length that is only claimed costs nothing.
func TestFrameMemory(t *testing.T) {
	f := newFrameReader(strings.NewReader("D\x3f\xff\xff\xffonly a little"), &buffers{})
	if _, _, err := f.next(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.take(); !errors.Is(err, io.ErrUnexpectedEOF) || cap(f.buf) > fullBuffer {
		t.Errorf("%v, %d bytes", err, cap(f.buf))
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("D\x00\x00\x00\x05xZ\x00\x00\x00\x05I"), 3)
	f.Fuzz(func(t *testing.T, in []byte, whole int) {
		out, err := readAll(newFrameReader(iotest.HalfReader(bytes.NewReader(in)), &buffers{}), whole)
		if err == nil || !bytes.HasPrefix(in, out) && errors.Is(err, io.EOF) {
			t.Errorf("%v, %q", err, out)
		}
		if errors.Is(err, io.EOF) && !bytes.Equal(in, out) {
			t.Errorf("%q became %q", in, out)
		}
	})
}

var testMasks = []postern.Mask{{Name: "m", Columns: []string{"public.t.secret"}, With: postern.MaskRedact}}

// testColumns are n text columns, of which those named are masked.
func testMasker(n int, masked ...int) *mask.Row {
	columns := make([]postern.Column, n)
	for i := range columns {
		columns[i] = postern.Column{Type: postern.TextValue, Proven: true}
		for _, m := range masked {
			if m == i {
				columns[i].Sources = []postern.ColumnName{{Schema: "public", Table: "t", Column: "secret"}}
			}
		}
	}
	return mask.NewRow(columns, testMasks, []byte("key"))
}

// dataRow is the body of a DataRow; "\x00" is NULL.
func dataRow(values ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		if v == "\x00" {
			body = append(body, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(v))), v...)
	}
	return body
}

func TestRow(t *testing.T) {
	res := &result{masker: testMasker(4, 1, 2), fields: make([]field, 4), keep: 1, room: 100}
	out, ok := res.row(nil, dataRow("a", "hidden", "\x00", "\x00"))
	if want := dataRow("a", "[redacted]", "\x00", "\x00"); !ok || !bytes.Equal(out, want) {
		t.Errorf("got %q", out)
	}
	if res.masked != 1 || len(res.rows) != 1 || *res.rows[0][1] != "[redacted]" || res.rows[0][2] != nil {
		t.Errorf("%+v", res)
	}
	for _, body := range []string{"", "\x00", "\x00\x04", "\x00\x01\x00\x00\x00\x00", "\x00\x04\x00\x00\x00\x02a"} {
		if _, ok := res.row(nil, []byte(body)); ok {
			t.Errorf("%q is taken for a row", body)
		}
	}
}

func FuzzRow(f *testing.F) {
	f.Add(dataRow("a", "secret", "\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		res := &result{masker: testMasker(3, 1), keep: 1, room: 100}
		out, ok := res.row(nil, body)
		if !ok {
			return
		}
		again := &result{masker: testMasker(3, 1)}
		if twice, ok := again.row(nil, out); !ok || !bytes.Equal(out, twice) {
			t.Errorf("%q became %q, then %q", body, out, twice)
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add([]byte("\x00\x01id\x00\x00\x00\x00\x07\x00\x01\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, ok := decodeFields(body)
		if !ok {
			return
		}
		_ = columns(fields, nil, nil, doubts{})
		if out := (masking{columns: true, text: mask.NewText([]postern.Mask{{Detect: []string{"email"}, With: postern.MaskRedact}}, []byte("key"))}).maskNames(fields, body, "", nil); out != nil {
			if again, ok := decodeFields(out); !ok || len(again) != len(fields) {
				t.Errorf("%q became %q", body, out)
			}
		}
	})
}

func FuzzClientMessages(f *testing.F) {
	f.Add([]byte("p\x00s\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x02hi\x00\x00"))
	f.Fuzz(func(_ *testing.T, body []byte) {
		_, _ = decodeBind(body)
		_, _ = decodeCall(body)
		_, _ = decodeError(body)
	})
}

func textForm() sql.Copy {
	return sql.Copy{Out: true, Delim: '\t', Null: `\N`, Quote: '"', Escape: '"'}
}

func csvForm() sql.Copy {
	return sql.Copy{Out: true, CSV: true, Delim: ',', Null: "", Quote: '"', Escape: '"'}
}

// copyMasked masks data in pieces of the given size.
func copyMasked(form sql.Copy, columns int, data string, piece int) (string, error) {
	c := &copyOut{masker: testMasker(columns, 1), form: form, columns: columns}
	for len(data) > 0 {
		n := min(piece, len(data))
		if err := c.write([]byte(data[:n])); err != nil {
			return string(c.out), err
		}
		data = data[n:]
	}
	return string(c.out), c.end()
}

func TestCopyOut(t *testing.T) {
	odd := csvForm()
	odd.Escape = '\\'
	header := csvForm()
	header.Header = true
	binaryForm := sql.Copy{Out: true, Binary: true}
	const binaryHead = copySignature + "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct {
		form     sql.Copy
		columns  int
		in, want string
	}{
		{textForm(), 2, "a\tb\n", "a\t[redacted]\n"},
		{textForm(), 3, "a\\tx\tb\\\tc\td\\\\\n\\N\t\\N\t\\N\n", "a\\tx\t[redacted]\td\\\\\n\\N\t\\N\t\\N\n"},
		{textForm(), 2, "\\\n\tb\n", "\\\n\t[redacted]\n"},
		{csvForm(), 2, "a,b\n", "a,\"[redacted]\"\n"},
		{csvForm(), 2, "\"a\n,\"\"\",\"b\n\"\nx,\ny,\"\"\n", "\"a\n,\"\"\",\"[redacted]\"\nx,\ny,\"[redacted]\"\n"},
		{csvForm(), 2, "a,b\r\n", "a,\"[redacted]\"\r\n"},
		{odd, 2, "\"a\\\",\\\\\",b\n", "\"a\\\",\\\\\",\"[redacted]\"\n"},
		{header, 2, "x,y\na,b\n", "x,y\na,\"[redacted]\"\n"},
		{binaryForm, 2, binaryHead + string(dataRow("a", "b")) + string(dataRow("\x00", "\x00")) + "\xff\xff", binaryHead + string(dataRow("a", "[redacted]")) + string(dataRow("\x00", "\x00")) + "\xff\xff"},
	} {
		for _, piece := range []int{1, 2, 7, 1000} {
			if got, err := copyMasked(c.form, c.columns, c.in, piece); err != nil || got != c.want {
				t.Errorf("%q in pieces of %d: got %q, %v; want %q", c.in, piece, got, err, c.want)
			}
		}
	}
	for _, c := range []struct {
		form    sql.Copy
		columns int
		in      string
	}{
		{textForm(), 2, "a\n"},
		{textForm(), 2, "a\tb\tc\n"},
		{textForm(), 2, "a\tb"},
		{csvForm(), 2, "a\n"},
		{csvForm(), 2, "a,b,c\n"},
		{csvForm(), 2, "\"a,b\n"},
		{binaryForm, 2, "PGCOPY\n\xff\r\n\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{binaryForm, 2, binaryHead + string(dataRow("a"))},
	} {
		if got, err := copyMasked(c.form, c.columns, c.in, 3); err == nil {
			t.Errorf("%q passes as %q", c.in, got)
		}
	}
}

func FuzzCopyOut(f *testing.F) {
	f.Add("a\tsecret\tc\n", byte(0), byte('\t'), byte('"'), byte('"'), 3)
	f.Add("\"a\n\",secret,\"\"\"\"\n", byte(1), byte(','), byte('"'), byte('"'), 2)
	f.Add(copySignature+"\x00\x00\x00\x00\x00\x00\x00\x00"+string(dataRow("a", "b", "c")), byte(2), byte(','), byte('"'), byte('"'), 2)
	f.Fuzz(func(t *testing.T, data string, kind, delim, quote, escape byte, piece int) {
		form := sql.Copy{Out: true, CSV: kind%3 == 1, Binary: kind%3 == 2, Delim: delim, Null: `\N`, Quote: quote, Escape: escape}
		if piece < 1 {
			piece = 1
		}
		// However the data is cut, the outcome is the same.
		whole, wholeErr := copyMasked(form, 3, data, len(data)+1)
		cut, cutErr := copyMasked(form, 3, data, piece)
		if (wholeErr == nil) != (cutErr == nil) || wholeErr == nil && whole != cut {
			t.Errorf("at once %q, %v; in pieces of %d %q, %v", whole, wholeErr, piece, cut, cutErr)
		}
	})
}

func TestRedact(t *testing.T) {
	check := func(message, want string) {
		t.Helper()
		if got := redact(message, serverError{{'n', "customers_pkey"}, {'t', "customers"}}); got != want {
			t.Errorf("%s: got %s", message, got)
		}
	}
	check(`invalid input syntax for type integer: "a@b"`, `invalid input syntax for type integer: "[redacted]"`)
	check(`invalid input syntax for type integer: "x" a@b "y"`, `invalid input syntax for type integer: "[redacted]"`)
	check(`new row for relation "customers" violates check constraint "secret"`, `new row for relation "customers" violates check constraint "[redacted]"`)
	check(`duplicate key value violates unique constraint "customers_pkey"`, `duplicate key value violates unique constraint "customers_pkey"`)
	check(`setval: value 4111111111111111 is out of bounds`, `setval: value [redacted] is out of bounds`)
	check(`syntaxe invalide : « a@b »`, `syntaxe invalide : «[redacted]»`)
	check(`ungültig: „a@b“`, `ungültig: „[redacted]“`)
	check(`invalid byte sequence for encoding "UTF8": 0xc3 0x28`, `invalid byte sequence for encoding "[redacted]": [redacted] [redacted]`)
	check(`division by zero`, `division by zero`)
}

func BenchmarkRow(b *testing.B) {
	body := dataRow("1", "Ada Lovelace", "ada.lovelace@example.com", "2026-01-02 03:04:05", "some more text in a column of ordinary length", "42")
	for name, masker := range map[string]*mask.Row{"masked": testMasker(6, 2)} {
		b.Run(name, func(b *testing.B) {
			res := &result{masker: masker, fields: make([]field, 6)}
			buf := make([]byte, 0, 1024)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var ok bool
				if buf, ok = res.row(buf[:0], body); !ok {
					b.Fatal("not a row")
				}
			}
		})
	}
}

func BenchmarkFrames(b *testing.B) {
	var in []byte
	body := dataRow("1", "Ada Lovelace", "ada.lovelace@example.com", "2026-01-02 03:04:05")
	for range 1000 {
		in = append(appendHeader(in, 'D', len(body)), body...)
	}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	src := bytes.NewReader(in)
	f := newFrameReader(src, &buffers{})
	out := make([]byte, 0, 2*fullBuffer)
	for b.Loop() {
		src.Reset(in)
		for range 1000 {
			typ, size, err := f.next()
			if err != nil {
				b.Fatal(err)
			}
			body, err := f.take()
			if err != nil {
				b.Fatal(err)
			}
			if len(out) > fullBuffer {
				out = out[:0]
			}
			out = append(appendHeader(out, typ, size), body...)
		}
	}
}

func BenchmarkCopyOut(b *testing.B) {
	row := []byte("1\tAda Lovelace\tada.lovelace@example.com\t2026-01-02 03:04:05\n")
	c := &copyOut{masker: testMasker(4, 2), form: textForm(), columns: 4}
	b.SetBytes(int64(len(row)))
	b.ReportAllocs()
	for b.Loop() {
		c.out = c.out[:0]
		if err := c.write(row); err != nil {
			b.Fatal(err)
		}
	}
}
