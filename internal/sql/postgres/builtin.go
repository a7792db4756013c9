package postgres

import (
	_ "embed"
	"strings"
)

//go:embed harmless.txt
var harmlessList string

// harmless holds the names of harmless.txt. What it says of a name is whether
// that holds of volatile functions, too: the first part lists others.
var harmless = func() map[string]bool {
	all := make(map[string]bool, 2100)
	volatile := false
	for line := range strings.Lines(harmlessList) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "# Volatile functions"):
			volatile = true
		case line != "" && line[0] != '#':
			all[line] = volatile
		}
	}
	return all
}()

func harmlessName(function string) bool {
	_, ok := harmless[function]
	return ok
}

// firstUserOID is where the numbers of objects begin that initdb didn't make.
const firstUserOID = 16384

// effect says what a function of pg_catalog does beside returning a value.
type effect uint8

const (
	effectNone     effect = iota
	effectUnknown         // not known
	effectOutside         // none, but its value is data that no lineage covers
	effectWrite           // changes what others see: sequences, locks, messages, large objects
	effectAdmin           // steers the server
	effectFile            // reads or writes the server's files
	effectSetting         // set_config
	effectQuery           // runs the SQL in its first argument
	effectRewrite         // runs the SQL in its second argument, when it has two
	effectTable           // reads the table that its first argument names
	effectSchema          // reads every table of a schema
	effectDatabase        // reads every table
	effectCursor          // reads a cursor
)

// builtinEffect classifies a function of pg_catalog by its name; f is nil when
// there is no catalog.
func builtinEffect(function string, f *Function) effect {
	if e, ok := specialEffect(function); ok {
		return e
	}
	if volatile, ok := harmless[function]; ok && (volatile || f == nil || f.Volatility != 'v') {
		return effectNone
	}
	// What a newer server has beyond the list: its own C code that it declares
	// to have no side effects.
	if f != nil && f.Language == "internal" && (f.Volatility == 'i' || f.Volatility == 's') {
		return effectNone
	}
	return effectUnknown
}

func special(function string) bool {
	_, ok := specialEffect(function)
	return ok
}

func specialEffect(function string) (effect, bool) {
	switch function {
	case "nextval", "setval", "pg_notify", "pg_logical_emit_message", "txid_current", "pg_current_xact_id",
		"lo_creat", "lo_create", "lo_from_bytea", "lo_put", "lo_truncate", "lo_truncate64", "lo_unlink", "lowrite",
		"pg_export_snapshot", "currtid2", "pg_nextoid", "brin_desummarize_range", "brin_summarize_new_values",
		"brin_summarize_range", "gin_clean_pending_list", "pg_stat_force_next_flush":
		return effectWrite, true
	case "lo_open", "lo_close", "lo_lseek", "lo_lseek64", "lo_tell", "lo_tell64", "lo_get", "loread",
		"pg_stat_get_activity", "pg_stat_get_backend_activity", "pg_mcv_list_items", "pg_prepared_statement", "pg_cursor",
		"pg_logical_slot_peek_changes", "pg_logical_slot_peek_binary_changes", "pg_get_wal_record_info":
		return effectOutside, true
	case "tsvector_update_trigger", "tsvector_update_trigger_column", "suppress_redundant_updates_trigger":
		return effectNone, true // see [reader.fire]
	case "pg_logical_slot_get_changes", "pg_logical_slot_get_binary_changes":
		return effectWrite, true
	case "pg_read_file", "pg_read_binary_file", "pg_read_file_old", "pg_stat_file", "lo_import", "lo_export",
		"pg_hba_file_rules", "pg_ident_file_mappings", "pg_show_all_file_settings", "pg_current_logfile":
		return effectFile, true
	case "set_config":
		return effectSetting, true
	case "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat":
		return effectQuery, true
	case "ts_rewrite":
		return effectRewrite, true
	case "table_to_xml", "table_to_xmlschema", "table_to_xml_and_xmlschema":
		return effectTable, true
	case "schema_to_xml", "schema_to_xmlschema", "schema_to_xml_and_xmlschema":
		return effectSchema, true
	case "database_to_xml", "database_to_xmlschema", "database_to_xml_and_xmlschema":
		return effectDatabase, true
	case "cursor_to_xml", "cursor_to_xmlschema":
		return effectCursor, true
	case "pg_terminate_backend", "pg_cancel_backend", "pg_reload_conf", "pg_rotate_logfile", "pg_rotate_logfile_old", "pg_promote",
		"pg_switch_wal", "pg_create_restore_point", "pg_backup_start", "pg_backup_stop", "pg_start_backup", "pg_stop_backup",
		"pg_log_backend_memory_contexts", "pg_log_standby_snapshot", "pg_import_system_collations", "pg_extension_config_dump",
		"pg_stop_making_pinned_objects", "pg_sync_replication_slots", "fmgr_internal_validator", "fmgr_c_validator", "fmgr_sql_validator":
		return effectAdmin, true
	}
	switch {
	case strings.HasPrefix(function, "pg_advisory_"), strings.HasPrefix(function, "pg_try_advisory_"):
		return effectWrite, true
	case strings.HasPrefix(function, "pg_ls_"):
		return effectFile, true
	case strings.HasPrefix(function, "pg_stat_reset"), strings.HasPrefix(function, "binary_upgrade_"),
		strings.HasPrefix(function, "pg_create_") && strings.HasSuffix(function, "_replication_slot"),
		strings.HasPrefix(function, "pg_copy_"), strings.HasPrefix(function, "pg_drop_replication"),
		strings.HasPrefix(function, "pg_wal_replay_"),
		strings.HasPrefix(function, "pg_replication_slot_advance"),
		strings.HasPrefix(function, "pg_clear_"), strings.HasPrefix(function, "pg_restore_"),
		strings.HasPrefix(function, "pg_replication_origin_") && !harmlessName(function):
		return effectAdmin, true
	}
	return effectNone, false
}

// systemValue says whether values of a system relation's column come from
// nothing but the catalog itself. Those that don't may hold any table's data.
func systemValue(relation, column string) bool {
	switch relation {
	case "pg_statistic", "pg_stats", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data",
		"pg_largeobject", "pg_prepared_statements", "pg_cursors", "pg_hba_file_rules", "pg_file_settings", "pg_ident_file_mappings",
		"pg_replication_slots", "pg_toast":
		return harmlessStatistic(column)
	case "pg_stat_activity":
		return column != "query" && column != "application_name"
	case "pg_stat_replication":
		return column != "application_name"
	}
	return true
}

// harmlessStatistic names columns that identify a row rather than show data.
func harmlessStatistic(column string) bool {
	switch column {
	case "schemaname", "tablename", "attname", "inherited", "starelid", "staattnum", "stainherit", "statistics_schemaname",
		"statistics_name", "statistics_owner", "attnames", "exprs", "null_frac", "avg_width", "n_distinct", "stanullfrac", "stawidth",
		"stadistinct", "stxoid", "loid", "pageno", "slot_name", "active", "kinds":
		return true
	}
	return false
}

// systemFile says whether reading a system relation reads the server's files.
func systemFile(relation string) bool {
	switch relation {
	case "pg_hba_file_rules", "pg_file_settings", "pg_ident_file_mappings":
		return true
	}
	return false
}
