package storetest

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/klauspost/compress/s2"
	"modernc.org/sqlite"
)

// registerPacking gives SQL the functions unpack(bytes) and pack(text), for the
// lines of the audit log.
var registerPacking = sync.OnceFunc(func() {
	sqlite.MustRegisterDeterministicScalarFunction("unpack", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		packed, ok := args[0].([]byte)
		if !ok {
			return nil, fmt.Errorf("unpack is of bytes, not of %T", args[0])
		}
		lines, err := s2.Decode(nil, packed)
		return string(lines), err
	})
	sqlite.MustRegisterDeterministicScalarFunction("pack", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		lines, ok := args[0].(string)
		if !ok {
			return nil, fmt.Errorf("pack is of text, not of %T", args[0])
		}
		return s2.Encode(nil, []byte(lines)), nil
	})
})

// Tamper runs SQL on the store of a folder past the program, as who holds its
// disk could. Each statement must change something.
func Tamper(t testing.TB, dir string, statements ...string) {
	t.Helper()
	registerPacking()
	db, err := sql.Open("sqlite", filepath.Join(dir, "postern.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		res, err := db.ExecContext(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s changed %d rows, %v", s, n, err)
		}
	}
}
