package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	analysis "postern/internal/sql/postgres"
)

// countTime bounds one question of the gateway's own about a command.
const countTime = 2 * time.Second

// evidence implements [gate.Witness]. It asks on a connection of the gateway's
// own, in a transaction that can't write, where no name is in reach but the
// server's own. What it can't ask safely it doesn't ask.
func (r *relay) evidence(ctx context.Context, cmds []postern.Command, counts bool) postern.Evidence {
	e := postern.Evidence{}
	if len(cmds) != 1 {
		e.Missing = []string{"no estimate, because it isn't one statement"}
		return e
	}
	e.Formatted = analysis.Format(cmds[0].Text)
	q, why := analysis.Inquire(&cmds[0])
	if why != "" {
		e.Missing = []string{"no estimate and no count, because " + why}
		return e
	}
	if len(cmds[0].Params) > 0 {
		e.Missing = []string{"no estimate and no count, because it has parameters"}
		return e
	}
	if err := r.inquire(ctx, q, counts, &e); err != nil {
		// The server's error may quote what it read: it is for nobody.
		r.o.log.Info("no evidence for a review", "session", r.s.ID(), "code", codeOf(err))
		e.Missing = append(e.Missing, "no more, because the server didn't answer: "+wordOf(err))
	}
	return e
}

// codeOf is an error's SQLSTATE, or what kind of error it is.
func codeOf(err error) string {
	var answered *pgconn.PgError
	if errors.As(err, &answered) {
		return answered.Code
	}
	return "no answer"
}

func wordOf(err error) string {
	switch codeOf(err) {
	case "57014":
		return "it took too long"
	case "55P03":
		return "a table is locked"
	case "42501":
		return "the gateway's login may not ask"
	default:
		return "code " + codeOf(err)
	}
}

func (r *relay) inquire(ctx context.Context, q analysis.Inquiry, counts bool, e *postern.Evidence) error {
	conn, err := dialUpstream(ctx, r.s, r.s.Database(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	ask := func(text string) ([][]*string, error) { return queryText(ctx, conn, text) }
	limit := strconv.FormatInt(countTime.Milliseconds(), 10)
	_, err = ask("SET search_path = pg_catalog; SET standard_conforming_strings = on; SET lock_timeout = 500; SET statement_timeout = " + limit +
		"; SET row_security = off; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
	if err != nil {
		return err
	}
	if why, err := unsafeTables(ask, q); err != nil || why != "" {
		if why != "" {
			e.Missing = append(e.Missing, "no estimate and no count, because "+why)
		}
		return err
	}
	if e.Effects, err = effects(ask, q); err != nil {
		return err
	}
	if e.Plan, err = plan(ask, q); err != nil {
		return err
	}
	switch {
	case !counts, q.Count == "":
		return nil
	case !r.idle():
		e.Missing = append(e.Missing, "no count, because its transaction is open, and what it has done so far can't be seen from outside")
		return nil
	}
	if why, err := volatile(ask, q); err != nil || why != "" {
		if why != "" {
			e.Missing = append(e.Missing, "no count, because "+why)
		}
		return err
	}
	rows, err := ask(q.Count)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(oneText(rows), 10, 64)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	e.Rows = &n
	return nil
}

// nameArray is tables as an array in SQL. They hold nothing but letters, digits
// and underscores.
func nameArray(all []string) string {
	quoted := make([]string, len(all))
	for i, name := range all {
		quoted[i] = "'" + name + "'"
	}
	return "ARRAY[" + strings.Join(quoted, ",") + "]::text[]"
}

// unsafeTables says why the server can't be asked about these tables without
// running what isn't its own: each has to be a plain table whose columns are of
// the server's own types, and on which no expression of anybody's function hangs.
func unsafeTables(ask func(string) ([][]*string, error), q analysis.Inquiry) (string, error) {
	rows, err := ask(`WITH named AS (SELECT to_regclass(n) AS oid FROM unnest(` + nameArray(q.Tables) + `) AS n),
	hung AS (
		SELECT c.oid AS id FROM pg_class c JOIN named ON c.oid = named.oid
		UNION SELECT i.indexrelid FROM pg_index i JOIN named ON i.indrelid = named.oid
		UNION SELECT k.oid FROM pg_constraint k JOIN named ON k.conrelid = named.oid
		UNION SELECT a.oid FROM pg_attrdef a JOIN named ON a.adrelid = named.oid
		UNION SELECT s.oid FROM pg_statistic_ext s JOIN named ON s.stxrelid = named.oid)
	SELECT CASE
		WHEN EXISTS (SELECT 1 FROM named WHERE oid IS NULL) THEN 'others don''t see a table of it yet'
		WHEN EXISTS (SELECT 1 FROM pg_class c JOIN named ON c.oid = named.oid WHERE c.relkind <> 'r' OR c.relispartition) THEN 'it is about a view, a partition or another kind of table'
		WHEN EXISTS (SELECT 1 FROM pg_inherits i JOIN named ON named.oid IN (i.inhparent, i.inhrelid)) THEN 'a table of it has heirs'
		WHEN EXISTS (SELECT 1 FROM pg_class c JOIN named ON c.oid = named.oid WHERE c.relrowsecurity OR c.relhasrules) THEN 'a table of it has rules or row security'
		WHEN EXISTS (SELECT 1 FROM pg_attribute a JOIN named ON a.attrelid = named.oid
			WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384) THEN 'a column has a type that isn''t the server''s own'
		WHEN EXISTS (SELECT 1 FROM pg_depend d JOIN hung ON d.objid = hung.id
			WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid >= 16384) THEN 'a table uses functions that aren''t the server''s own'
	END`)
	return oneText(rows), err
}

// volatile says why rows can't be counted without running what has effects.
func volatile(ask func(string) ([][]*string, error), q analysis.Inquiry) (string, error) {
	for _, f := range q.Functions {
		if strings.ContainsAny(f, `'\`) {
			return "a function's name can't be told", nil
		}
	}
	rows, err := ask(`SELECT CASE WHEN EXISTS (SELECT 1 FROM unnest(` + nameArray(q.Functions) + `) AS n WHERE NOT EXISTS (
		SELECT 1 FROM pg_proc p WHERE p.proname = n AND p.pronamespace = 'pg_catalog'::regnamespace)
		OR EXISTS (SELECT 1 FROM pg_proc p WHERE p.proname = n AND p.pronamespace = 'pg_catalog'::regnamespace
			AND (p.provolatile <> 'i' AND p.proname NOT IN ('now', 'date_trunc', 'date_part', 'to_char', 'age', 'extract') OR p.oid >= 16384)))
		THEN 'it calls a function that could do more than compute' END`)
	return oneText(rows), err
}

// effects are the triggers that fire and the foreign keys that cascade.
func effects(ask func(string) ([][]*string, error), q analysis.Inquiry) ([]string, error) {
	bit := map[string]int{"insert": 4, "delete": 8, "update": 16}[q.Verb]
	if bit == 0 || len(q.Targets) == 0 {
		return nil, nil
	}
	var all []string
	rows, err := ask(fmt.Sprintf(`SELECT t.tgname, t.tgrelid::regclass::text, p.oid::regproc::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
		WHERE t.tgrelid IN (SELECT to_regclass(n) FROM unnest(%s) AS n) AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & %d <> 0
		ORDER BY 1 LIMIT 50`, nameArray(q.Targets), bit))
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		all = append(all, fmt.Sprintf("trigger %s on %s calls %s", text(row, 0), text(row, 1), text(row, 2)))
	}
	if q.Verb == "insert" {
		return all, nil
	}
	rows, err = ask(fmt.Sprintf(`WITH RECURSIVE reached(rel, verb, depth, how) AS (
			SELECT to_regclass(n)::oid, '%s', 0, ''::text COLLATE "C" FROM unnest(%s) AS n
		UNION
			SELECT k.conrelid, CASE WHEN r.verb = 'delete' AND k.confdeltype = 'c' THEN 'delete' ELSE 'update' END, r.depth + 1,
				('foreign key ' || k.conname || ' ' || CASE
					WHEN r.verb = 'delete' AND k.confdeltype = 'c' THEN 'deletes from '
					WHEN r.verb = 'update' AND k.confupdtype = 'c' THEN 'updates '
					ELSE 'clears a reference in ' END || k.conrelid::regclass::text) COLLATE "C"
			FROM reached r JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = r.rel
				AND CASE r.verb WHEN 'delete' THEN k.confdeltype ELSE k.confupdtype END IN ('c', 'n', 'd')
			WHERE r.depth < 8)
		SELECT DISTINCT how, depth FROM reached WHERE depth > 0 ORDER BY depth, how LIMIT 50`, q.Verb, nameArray(q.Targets)))
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		all = append(all, text(row, 0))
	}
	return all, nil
}

func text(row []*string, i int) string {
	if i >= len(row) || row[i] == nil {
		return ""
	}
	return *row[i]
}

// planNode is what is taken of a plan: no condition, no output, no value.
type planNode struct {
	Does  string     `json:"Node Type"`
	Table string     `json:"Relation Name"`
	Index string     `json:"Index Name"`
	Rows  float64    `json:"Plan Rows"`
	Cost  float64    `json:"Total Cost"`
	Plans []planNode `json:"Plans"`
}

const maxSteps = 100

// plan asks for the server's estimate. EXPLAIN without ANALYZE runs nothing.
func plan(ask func(string) ([][]*string, error), q analysis.Inquiry) ([]postern.PlanStep, error) {
	rows, err := ask(q.Explain)
	if err != nil {
		return nil, err
	}
	var explained []struct {
		Plan planNode `json:"Plan"`
	}
	if err := json.Unmarshal([]byte(oneText(rows)), &explained); err != nil || len(explained) != 1 {
		return nil, errors.New("explain: the answer isn't a plan")
	}
	var steps []postern.PlanStep
	var walk func(n planNode, depth int)
	walk = func(n planNode, depth int) {
		if len(steps) == maxSteps || depth > maxSteps {
			return
		}
		on := n.Table
		if on == "" {
			on = n.Index
		}
		steps = append(steps, postern.PlanStep{Depth: depth, Does: n.Does, On: on, Rows: n.Rows, Cost: n.Cost})
		for _, inner := range n.Plans {
			walk(inner, depth+1)
		}
	}
	walk(explained[0].Plan, 0)
	return steps, nil
}
