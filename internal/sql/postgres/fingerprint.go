package postgres

import "strings"

// watched are the server's catalogs from whose rows a [Catalog] is read, with
// the column that tells a row, and which rows count: not the server's own
// objects, and no temporary tables, which no other session sees.
var watched = [...]struct{ catalog, key, rows string }{
	{"pg_namespace", "oid", `nspname !~ '^pg_(toast_)?temp_'`},
	{"pg_auth_members", "roleid", "true"},
	{"pg_class", "oid", `oid >= 16384 AND relpersistence <> 't'`},
	{"pg_attribute", "attrelid", `attrelid >= 16384 AND attnum > 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_class t WHERE t.oid = attrelid AND t.relpersistence = 't')`},
	{"pg_attrdef", "oid", "true"},
	{"pg_proc", "oid", "oid >= 16384"},
	{"pg_type", "oid", "oid >= 16384 AND typrelid = 0 AND typelem = 0"},
	{"pg_rewrite", "oid", "true"},
	{"pg_trigger", "oid", "NOT tgisinternal"},
	{"pg_inherits", "inhrelid", "true"},
	{"pg_constraint", "oid", "(contype = 'f' OR contype = 'c')"},
	{"pg_event_trigger", "oid", "true"},
	{"pg_policy", "oid", "true"},
	{"pg_operator", "oid", "oid >= 16384"},
	{"pg_cast", "oid", "oid >= 16384"},
	{"pg_amproc", "oid", "oid >= 16384"},
	{"pg_amop", "oid", "oid >= 16384"},
	{"pg_foreign_table", "ftrelid", "true"},
	{"pg_foreign_data_wrapper", "oid", "true"},
	{"pg_language", "oid", "oid >= 16384"},
	{"pg_range", "rngtypid", "rngtypid >= 16384"},
	{"pg_statistic_ext", "oid", "true"},
}

// FingerprintQuery asks for one text that differs once somebody has changed what
// a [Catalog] would say, at a fraction of what reading that takes. It goes by the
// versions of the catalogs' rows: whatever writes one leaves another version of
// it behind.
//
// It may be run under any search_path: no name in it could be another one's.
func FingerprintQuery() string {
	qualified := strings.NewReplacer(
		" = ", " OPERATOR(pg_catalog.=) ", " >= ", " OPERATOR(pg_catalog.>=) ", " > ", " OPERATOR(pg_catalog.>) ",
		" <> ", " OPERATOR(pg_catalog.<>) ", " !~ ", " OPERATOR(pg_catalog.!~) ",
		"concat_ws(", "pg_catalog.concat_ws(", "count(", "pg_catalog.count(", "sum(", "pg_catalog.sum(", "hashtext(", "pg_catalog.hashtext(",
		"current_database(", "pg_catalog.current_database(",
	)
	var q strings.Builder
	q.WriteString("SELECT concat_ws(' ', (SELECT concat_ws(',', oid, datdba) FROM pg_catalog.pg_database WHERE datname = current_database())" +
		",\n (SELECT concat_ws(',', count(*), sum(hashtext(concat_ws(' ', oid, rolname, rolsuper, rolinherit)))) FROM pg_catalog.pg_roles)")
	for _, w := range watched {
		q.WriteString(",\n (SELECT concat_ws(',', count(*), sum(hashtext(concat_ws(' ', " + w.key + ", xmin, ctid)))) FROM pg_catalog." + w.catalog + " WHERE " + w.rows + ")")
	}
	q.WriteString(")")
	return qualified.Replace(q.String())
}

// Moment is an expression for a text that stays the same for as long as no
// transaction that could have changed anything has ended on a server: which
// server it is, since when it runs, and which transactions a snapshot sees. While
// it does, the fingerprint of a database is the same, too; asking for it takes a
// tenth of the time.
//
// A fingerprint belongs to a moment that was asked for before it, or in the same
// snapshot. It is NULL on a standby, where snapshots don't name all that is under
// way.
const Moment = `CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.concat_ws(' ', ` +
	`pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), 'J SSSS US'), ` +
	`pg_catalog.current_database(), pg_catalog.txid_current_snapshot()) END`
