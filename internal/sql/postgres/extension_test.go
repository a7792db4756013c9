package postgres

import "testing"

// TestComputes: code in C is known by where it is, whatever it is called and declared.
func TestComputes(t *testing.T) {
	for _, test := range []struct {
		path, symbol, name string
		volatility         byte
		want               bool
	}{
		{"$libdir/citext", "citext_eq", "citext_eq", 'i', true},
		{"$libdir/vector", "l2_distance", "l2_distance", 'v', false},
		{"$libdir/pgstattuple", "pgstattuple_v1_5", "pgstattuple", 'v', true},
		{"/usr/lib/postgresql/15/lib/pgstattuple.so", "pgstattuple_v1_5", "other", 'v', true},
		{"$libdir/uuid-ossp", "uuid_generate_v4", "uuid_generate_v4", 'v', true},
		{"$libdir/uuid-ossp", "uuid_generate_v5", "uuid_generate_v5", 'i', true},
		{"$libdir/tablefunc", "normal_rand", "normal_rand", 'v', true},
		{"$libdir/tablefunc", "crosstab", "pgstattuple", 'v', false},
		{"$libdir/tablefunc", "crosstab", "ct", 'i', false},
		{"$libdir/pgxml", "xpath_string", "xpath_string", 'i', true},
		{"$libdir/pgxml", "xpath_table", "xpath_string", 'i', false},
		{"$libdir/pageinspect", "get_raw_page_1_9", "raw", 'i', false},
		{"$libdir/dblink", "dblink_record", "lower", 'i', false},
		{"", "lower", "lower", 'i', false},
	} {
		f := &Function{OID: firstUserOID, Schema: "public", Name: test.name, Language: "c", Volatility: test.volatility, Library: library(test.path), Symbol: test.symbol}
		if got := computes(f); got != test.want {
			t.Errorf("%s of %s, called %s, %c: %v", test.symbol, test.path, test.name, test.volatility, got)
		}
	}
}
