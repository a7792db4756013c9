package postgres

import (
	"regexp"
	"slices"
	"strings"
)

// What a function in C does is told by its code alone: a superuser can give it any
// name, and say of it that it is immutable.

// harmlessExtension says whether a function in C only computes: those of well-known
// extensions, and of others those declared immutable.
func harmlessExtension(f *Function) bool {
	switch f.Library {
	case "pg_buffercache", "pg_freespacemap", "pg_visibility", "pg_prewarm", "pgstattuple", "pgrowlocks", "uuid-ossp", "pgcrypto", "unaccent", "pg_trgm", "tablefunc",
		"moddatetime", "insert_username":
		switch unversioned(f.Symbol) {
		case "pg_buffercache_pages", "pg_buffercache_summary", "pg_freespace", "pgstattuple", "pgstattuplebyid", "pgstattuple_approx",
			"pgstatindex", "pgstatindexbyid", "pgstatginindex", "pgstathashindex", "pg_relpages", "pg_relpagesbyid", "pgrowlocks",
			"pg_visibility", "pg_visibility_rel", "pg_visibility_map", "pg_visibility_map_rel", "pg_visibility_map_summary", "pg_check_frozen",
			"pg_check_visible", "pg_prewarm", "moddatetime", "insert_username",
			"pgp_sym_encrypt_text", "pgp_sym_encrypt_bytea", "pgp_pub_encrypt_text", "pgp_pub_encrypt_bytea",
			"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "pg_random_bytes", "pg_gen_salt", "pg_gen_salt_rounds", "pg_random_uuid",
			"unaccent_dict", "unaccent_lexize", "similarity", "similarity_op", "word_similarity", "word_similarity_op",
			"word_similarity_commutator_op", "strict_word_similarity", "strict_word_similarity_op",
			"strict_word_similarity_commutator_op", "show_limit", "set_limit", "normal_rand":
			return true
		}
	}
	return f.Volatility == 'i' && !looksAround(f)
}

// looksAround says whether a function of a well-known extension reads tables, files or
// memory, or steers the server, whatever it is declared to do.
func looksAround(f *Function) bool {
	switch f.Library {
	case "", "dblink", "postgres_fdw", "file_fdw", "pageinspect", "pg_walinspect", "pg_stat_statements", "pg_buffercache", "pg_visibility",
		"pg_surgery", "pg_prewarm", "amcheck", "adminpack", "sslinfo", "lo", "refint", "autoinc", "insert_username", "moddatetime", "tcn",
		"plpgsql", "plperl", "pltcl", "plpython3", "plpython2":
		return true
	}
	return extensionQuery(f.Symbol)
}

// remembers says whether a function in C sets something of the session by what it is given,
// which another one then tells.
func remembers(f *Function) bool {
	return f.Language == "c" && (f.Library == "pg_trgm" && f.Symbol == "set_limit" || f.Library == "isn" && f.Symbol == "accept_weak_input")
}

// library is the name of the file that a function's code is in.
func library(path string) string {
	path = path[strings.LastIndexByte(path, '/')+1:]
	for _, suffix := range []string{".so", ".dylib", ".dll"} {
		path = strings.TrimSuffix(path, suffix)
	}
	return path
}

// unversioned is a symbol without the version of the extension that it came with:
// "pgstattuple" of "pgstattuple_v1_5".
func unversioned(symbol string) string { return version.ReplaceAllString(symbol, "") }

var version = regexp.MustCompile(`_v?[0-9]+_[0-9]+$`)

// extensionOutside says whether a function in C of a well-known extension returns what
// no lineage covers: statements' texts, statistics, raw pages.
func extensionOutside(f *Function) bool {
	switch f.Library {
	case "pg_stat_statements", "pageinspect", "pg_walinspect":
	default:
		return false
	}
	switch unversioned(f.Symbol) {
	case "pg_stat_statements", "pg_stat_statements_info", "get_raw_page", "get_raw_page_fork", "heap_page_items", "tuple_data_split", "bt_page_items",
		"bt_page_items_bytea", "bt_page_stats", "bt_metap", "page_header", "fsm_page_contents", "brin_page_items", "gin_leafpage_items",
		"gist_page_items", "gist_page_items_bytea", "hash_page_items", "heap_tuple_infomask_flags",
		"pg_get_wal_records_info", "pg_get_wal_record_info", "pg_get_wal_block_info":
		return true
	}
	return false
}

// pivots says whether a function in C turns rows of the SQL in its texts into columns.
func pivots(f *Function) bool {
	return f.Language == "c" && f.Library == "tablefunc" && strings.HasPrefix(f.Symbol, "crosstab")
}

// samples says whether functions in C are methods of TABLESAMPLE that take rows by where
// they are stored.
func samples(all []*Function) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(f *Function) bool {
		return f.Language != "c" || f.Library != "tsm_system_rows" && f.Library != "tsm_system_time"
	})
}

// extensionQuery tells functions of well-known extensions that run SQL, here or
// elsewhere, by what their code is called.
func extensionQuery(symbol string) bool {
	return strings.HasPrefix(symbol, "dblink") || strings.HasPrefix(symbol, "crosstab") ||
		strings.HasPrefix(symbol, "connectby") || symbol == "xpath_table"
}
