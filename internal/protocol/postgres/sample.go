package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"postern"
	"postern/internal/gate"
	"postern/internal/protocol"
)

// Bounds of a sample.
const (
	sampleRows  = 200  // of each table
	sampleBytes = 2000 // characters of each value
	samplePaths = 100  // of one column's documents; more are keys that are data
	sampleDepth = 8
)

// sampledColumns are those of a database's own tables whose types hold what is
// looked for, and which the gateway may read. Partitions are looked at through
// their tables.
const sampledColumns = `
SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint, a.attname, format_type(a.atttypid, NULL),
       t.typname IN ('json', 'jsonb')
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND a.attnum > 0 AND NOT a.attisdropped
  AND (t.typcategory IN ('S', 'I') OR t.typname IN ('int4', 'int8', 'numeric', 'json', 'jsonb', 'citext'))
  AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
ORDER BY n.nspname, c.relname, a.attnum`

// Sample implements [protocol.Sampler].
func (*Protocol) Sample(ctx context.Context, s *gate.Session, each func(protocol.Sampled)) error {
	conn, err := dialUpstream(ctx, s, s.Database(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	query := func(text string) ([][]*string, error) { return queryText(ctx, conn, text) }
	if _, err := query("SET search_path = pg_catalog; SET default_transaction_read_only = on; SET statement_timeout = '5s'; SET lock_timeout = '1s'"); err != nil {
		return fmt.Errorf("prepare the sample: %w", err)
	}
	rows, err := query(sampledColumns)
	if err != nil {
		return fmt.Errorf("list columns: %w", err)
	}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && *rows[n][0] == *rows[0][0] && *rows[n][1] == *rows[0][1] {
			n++
		}
		if err := sampleTable(query, rows[:n], each); err != nil {
			if ctx.Err() != nil || conn.IsClosed() {
				return errors.Join(ctx.Err(), err)
			}
			// One table that is locked, or slow, is none; the next one may do.
			each(protocol.Sampled{Column: postern.ColumnName{Schema: *rows[0][0], Table: *rows[0][1]}, Unread: true})
		}
		rows = rows[n:]
	}
	return nil
}

// sampleTable reads some rows of one table.
func sampleTable(query func(string) ([][]*string, error), columns [][]*string, each func(protocol.Sampled)) error {
	var list []string
	for _, c := range columns {
		list = append(list, asShown(*c[3], sampleBytes))
	}
	text := "SELECT " + strings.Join(list, ", ") + " FROM " + quoteName(*columns[0][0]) + "." + quoteName(*columns[0][1])
	limit := " LIMIT " + strconv.Itoa(sampleRows)
	var rows [][]*string
	if size, err := strconv.ParseInt(*columns[0][2], 10, 64); err == nil && size > 50*sampleRows {
		// From all over a large table: its first rows are often tests.
		share := strconv.FormatFloat(max(100*20*sampleRows/float64(size), 0.001), 'f', 3, 64)
		if rows, err = query(text + " TABLESAMPLE system (" + share + ") ORDER BY random()" + limit); err != nil {
			rows = nil
		}
	}
	if len(rows) == 0 {
		var err error
		if rows, err = query(text + limit); err != nil {
			return err
		}
	}
	for i, c := range columns {
		sampled := protocol.Sampled{Column: postern.ColumnName{Schema: *c[0], Table: *c[1], Column: *c[3]}, Type: *c[4]}
		documents := *c[5] == "t"
		paths := map[string][]string{}
		for _, row := range rows {
			switch {
			case row[i] == nil:
			case documents:
				leaves(paths, "", *row[i])
			default:
				sampled.Values = append(sampled.Values, *row[i])
			}
		}
		if !documents {
			each(sampled)
			continue
		}
		for _, path := range slices.Sorted(maps.Keys(paths)) {
			sampled.Path, sampled.Values = path, paths[path]
			each(sampled)
		}
	}
	return nil
}

// leaves adds a document's strings and numbers under the paths that lead there.
// A document that was cut off is left out.
func leaves(paths map[string][]string, path, document string) {
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) == nil {
		leaf(paths, path, value, 0)
	}
}

func leaf(paths map[string][]string, path string, value any, depth int) {
	if depth > sampleDepth {
		return
	}
	add := func(text string) {
		if _, known := paths[path]; known || len(paths) < samplePaths {
			paths[path] = append(paths[path], text)
		}
	}
	switch v := value.(type) {
	case string:
		add(v)
	case json.Number:
		add(v.String())
	case []any:
		for _, element := range v {
			leaf(paths, path+"[*]", element, depth+1)
		}
	case map[string]any:
		for key, member := range v {
			if step, ok := pathStep(key); ok {
				leaf(paths, path+step, member, depth+1)
			}
		}
	}
}

// pathStep spells a member's name as masks do.
func pathStep(key string) (string, bool) {
	if key == "" || len(key) > 60 || strings.ContainsAny(key, "\"\\") {
		return "", false
	}
	for _, r := range key {
		if !(r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return `."` + key + `"`, true
		}
	}
	return "." + key, true
}
