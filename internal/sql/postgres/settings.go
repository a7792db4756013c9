package postgres

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern"
	"postern/internal/sql"
)

// set reads SET and RESET.
func (r *reader) setStatement(x *pg_query.VariableSetStmt) {
	verb := "set"
	name := strings.ToLower(x.Name)
	setting := sql.Setting{Name: name, Local: x.IsLocal}
	switch x.Kind {
	case pg_query.VariableSetKind_VAR_RESET:
		verb = "reset"
		r.facts.unsettles = true
	case pg_query.VariableSetKind_VAR_RESET_ALL:
		verb = "reset"
		r.facts.verb(verb, levelControl)
		r.facts.unsettles = true
		return
	case pg_query.VariableSetKind_VAR_SET_MULTI:
		// SET TRANSACTION and SET SESSION CHARACTERISTICS.
		r.facts.verb(verb, levelControl)
		if strings.HasPrefix(name, "transaction snapshot") {
			r.facts.verb(verb, levelWrite)
		}
		return
	case pg_query.VariableSetKind_VAR_SET_VALUE:
		setting.Value, setting.Known = r.settingText(name, x.Args)
	case pg_query.VariableSetKind_VAR_SET_DEFAULT, pg_query.VariableSetKind_VAR_SET_CURRENT:
		r.facts.unsettles = true
	default:
		r.facts.unknown("The statement holds a construct that the analysis doesn't know.")
		return
	}
	l := settingLevel(name)
	if verb == "reset" {
		l = levelControl // back to what the session began with
	}
	r.facts.verb(verb, l)
	if l > levelControl {
		r.facts.object(kindSetting, name, true)
	}
	if x.Kind == pg_query.VariableSetKind_VAR_SET_VALUE || x.Kind == pg_query.VariableSetKind_VAR_SET_DEFAULT || x.Kind == pg_query.VariableSetKind_VAR_RESET {
		r.facts.settings = append(r.facts.settings, setting)
	}
	r.privileges(name)
}

// privileges notes settings that change whose rights count.
func (r *reader) privileges(name string) {
	switch name {
	case "role", "session_authorization":
		r.facts.unsettles = true // "$user" in search_path, and what may be done
	}
}

// settingText is the value that SET gives, as the server keeps it.
func (r *reader) settingText(name string, args []*pg_query.Node) (string, bool) {
	var parts []string
	for _, n := range args {
		c := r.run.literals.constant(n.GetAConst())
		if t := n.GetTypeCast(); t != nil { // SET TIME ZONE INTERVAL '…'
			return "", false
		}
		switch {
		case c == nil || c.Isnull:
			return "", false
		case c.GetSval() != nil:
			text := c.GetSval().Sval
			if name == "search_path" {
				// A list of names: quoted, so that each reads back as one.
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
			parts = append(parts, text)
		case c.GetIval() != nil:
			parts = append(parts, itoaSigned(int(c.GetIval().Ival)))
		case c.GetFval() != nil:
			parts = append(parts, c.GetFval().Fval)
		default:
			parts = append(parts, "0")
		}
	}
	return strings.Join(parts, ", "), true
}

func itoaSigned(n int) string {
	if n < 0 {
		return "-" + itoa(-n)
	}
	return itoa(n)
}

// setConfig reads a call of set_config.
func (r *reader) setConfig(args []value, c *pg_query.FuncCall) {
	name, ok := r.run.literals.argText(c, 0)
	if !ok && r.settingRow != "" && nameOf(c.GetArgs()[0].GetColumnRef().GetFields()) == "name" {
		name, ok = r.settingRow, true
	}
	if !ok {
		r.facts.verb("set", levelAdmin)
		r.facts.unsettles = true
		r.facts.object(kindSetting, unprovenSchema, true)
	} else {
		name = strings.ToLower(name)
		r.facts.verb("set", settingLevel(name))
		if settingLevel(name) > levelControl {
			r.facts.object(kindSetting, name, true)
		}
		// It may run for each of many rows, or for none.
		r.facts.unsettles = true
		r.facts.settings = append(r.facts.settings, sql.Setting{Name: name})
		r.privileges(name)
	}
	r.facts.flow(postern.ColumnName{}, "setting", mix(args...))
}

// rowOfSettings recognises FROM pg_settings WHERE name = '…', with which pg_dump
// sets what only some servers have.
func (r *reader) rowOfSettings(q *pg_query.SelectStmt) string {
	if len(q.FromClause) != 1 || q.FromClause[0].GetRangeVar() == nil || q.FromClause[0].GetRangeVar().Alias != nil {
		return ""
	}
	e := q.WhereClause.GetAExpr()
	if e == nil || e.Kind != pg_query.A_Expr_Kind_AEXPR_OP || nameOf(e.Name) != "=" || nameOf(e.Lexpr.GetColumnRef().GetFields()) != "name" {
		return ""
	}
	if f := r.relation(q.FromClause[0].GetRangeVar()); f.rel == nil || f.qualified() != "pg_catalog.pg_settings" {
		return ""
	}
	text, _ := r.run.literals.constText(e.Rexpr)
	return text
}

// certainSettings recognises SELECT set_config('a', 'b', false): it runs once,
// and what it sets is known.
func (r *reader) certainSettings(q *pg_query.SelectStmt) {
	if len(q.TargetList) == 0 || len(r.facts.settings) != len(q.TargetList) || q.FromClause != nil || q.WhereClause != nil || q.LimitCount != nil ||
		q.LimitOffset != nil || q.HavingClause != nil || q.WithClause != nil || q.Op != pg_query.SetOperation_SETOP_NONE {
		return
	}
	settings := make([]sql.Setting, len(q.TargetList))
	for i, n := range q.TargetList {
		c := n.GetResTarget().GetVal().GetFuncCall()
		names := stringsOf(c.GetFuncname())
		if c == nil || len(c.Args) != 3 || names[len(names)-1] != "set_config" {
			return
		}
		text, ok := r.run.literals.argText(c, 1)
		known, local := r.run.literals.constBool(c.Args[2])
		if r.facts.settings[i].Name == "role" || r.facts.settings[i].Name == "session_authorization" || !ok || !known {
			return
		}
		settings[i] = sql.Setting{Name: r.facts.settings[i].Name, Value: text, Known: true, Local: local}
	}
	r.facts.settings = settings
	r.facts.unsettles = false
}

// settingLevel says what changing a setting amounts to. Those that aren't known
// to concern nothing but the session's own comfort are the administrator's.
func settingLevel(name string) level {
	switch name {
	case "application_name", "client_encoding", "client_min_messages", "datestyle", "intervalstyle", "timezone", "time zone",
		"extra_float_digits", "bytea_output", "search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
		"idle_session_timeout", "transaction_timeout", "standard_conforming_strings", "escape_string_warning", "backslash_quote",
		"default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable", "transaction_isolation",
		"transaction_read_only", "transaction_deferrable", "work_mem", "maintenance_work_mem", "temp_buffers", "seed", "names",
		"lc_messages", "lc_monetary", "lc_numeric", "lc_time", "xmloption", "xmlbinary", "default_text_search_config", "row_security",
		"synchronous_commit", "quote_all_identifiers", "check_function_bodies", "default_tablespace", "temp_tablespaces", "default_table_access_method",
		"constraint_exclusion", "cursor_tuple_fraction", "effective_cache_size", "random_page_cost", "seq_page_cost", "cpu_tuple_cost",
		"cpu_index_tuple_cost", "cpu_operator_cost", "parallel_setup_cost", "parallel_tuple_cost", "jit", "from_collapse_limit",
		"join_collapse_limit", "geqo", "geqo_threshold", "max_parallel_workers_per_gather", "max_parallel_maintenance_workers", "plan_cache_mode",
		"array_nulls", "transform_null_equals", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout",
		"effective_io_concurrency", "force_parallel_mode", "debug_parallel_query", "min_parallel_table_scan_size", "min_parallel_index_scan_size",
		"parallel_leader_participation", "hash_mem_multiplier", "gin_fuzzy_search_limit", "commit_delay",
		"synchronize_seqscans", "restrict_nonsystem_relation_kind":
		return levelControl
	}
	if strings.HasPrefix(name, "enable_") {
		return levelControl
	}
	if strings.Contains(name, ".") && !strings.HasPrefix(name, "plpgsql.") && !strings.HasPrefix(name, "auto_explain.") && !strings.HasPrefix(name, "pg_stat_statements.") && !strings.HasPrefix(name, "pljava.") && !strings.HasPrefix(name, "plperl.") && !strings.HasPrefix(name, "plpython.") && !strings.HasPrefix(name, "pgaudit.") {
		return levelControl // the application's own
	}
	return levelAdmin
}
