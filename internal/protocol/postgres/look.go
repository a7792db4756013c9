package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"postern"
	analysis "postern/internal/sql/postgres"
)

// Approvers of a command that is held are shown some of the rows that it changed, as
// they were and as they are now. They are read on the client's own connection, in the
// transaction that is held, by queries that can't write and that leave nothing behind.
// Their values are masked by every mask that there is, so that nobody who may look at
// the review sees more than anybody may.

const (
	maxLookColumns = 12
	maxLookValue   = 200 // bytes of each value
)

// look is a sample in the making.
type look struct {
	t       *trial
	by      *analysis.Look
	key     []int // numbers of the columns of the primary key; nil: none that rows could be found by
	columns []int
	rows    []looked
}

// looked is one row, unmasked.
type looked struct{ before, after []*string }

// look reads rows that the command is about to change. It returns nil where none can
// be shown, and says in did why.
func (t *trial) look(ctx context.Context, did *postern.Trial) (*look, error) {
	if t.terms.Sample == 0 {
		return nil, nil
	}
	missing := func(why string) { did.Missing = append(did.Missing, "no rows, because "+why) }
	if t.cmd.env.Encoding != "UTF8" {
		missing("its client's encoding isn't UTF8")
		return nil, nil
	}
	by, why := analysis.LookAt(&t.cmd.statements[0].Command, t.cmd.env.Catalog)
	if why != "" {
		missing(why)
		return nil, nil
	}
	l := &look{t: t, by: by}
	found, why, err := t.glance(ctx, question{text: "SELECT k.n FROM pg_catalog.pg_index AS i, pg_catalog.unnest(i.indkey) AS k(n) WHERE i.indisprimary AND i.indrelid OPERATOR(pg_catalog.=) '" +
		strconv.FormatUint(uint64(by.Table.OID), 10) + "'::pg_catalog.oid"})
	if err != nil || why != "" {
		missing(why)
		return nil, err
	}
	for _, row := range found {
		n, err := strconv.Atoi(text(row, 0))
		if err != nil || n < 1 || n > len(by.Table.Columns) || !analysis.Builtin(by.Table.Columns[n-1].Type) {
			l.key = nil
			break
		}
		l.key = append(l.key, n)
	}
	l.columns = by.Columns(l.key, maxLookColumns)
	if by.Verb == "insert" || by.Verb == "merge" {
		return l, nil
	}
	q := question{text: by.Before(l.columns, t.terms.Sample*4), params: t.cmd.params}
	if len(q.params) > 0 {
		if q.types, err = t.types(ctx); err != nil {
			return nil, err
		}
	}
	if q.text == "" || len(q.types) != len(q.params) {
		missing("the rows that it is about can't be asked for")
		return nil, nil
	}
	if found, why, err = t.glance(ctx, q); err != nil || why != "" {
		missing(why)
		return nil, err
	}
	l.before(found)
	return l, nil
}

// before takes the rows as they are, each once, though a join may find it often.
func (l *look) before(found [][]*string) {
	seen := map[string]bool{}
	for _, row := range found {
		if len(l.rows) == l.t.terms.Sample || len(row) != len(l.columns) {
			return
		}
		if name := l.name(row); name != "" {
			if seen[name] {
				continue
			}
			seen[name] = true
		}
		l.rows = append(l.rows, looked{before: row})
	}
}

// name is a row's key, "" if it has none.
func (l *look) name(row []*string) string {
	var b strings.Builder
	for i := range l.key { // the key's columns come first
		if row[i] == nil {
			return ""
		}
		b.WriteString(strconv.Itoa(len(*row[i])) + ":" + *row[i])
	}
	return b.String()
}

// after reads the rows as they are now, and makes the sample. Of the rows that the
// command's condition found before it ran, only those are shown that it changed: a
// condition may say one thing when it is looked at, and another when it runs.
func (l *look) after(ctx context.Context, did *postern.Trial) error {
	missing := func(why string) { did.Missing = append(did.Missing, why) }
	if did.Rows == 0 {
		return nil
	}
	keyed := len(l.key) > 0 && (l.by.Verb == "update" && !l.rekeyed() || l.by.Verb == "delete")
	switch {
	case l.by.Verb == "delete" && !keyed:
		missing("no rows, because the table has no primary key of the server's own types, by which they could be told to be gone")
		return nil
	case l.by.Verb == "update" && !keyed:
		missing("no rows before it, because they can't be told from others: it changes the primary key, or there is none of the server's own types")
	}
	xid, why, err := l.writer(ctx)
	if err == nil && why == "" {
		if keyed {
			why, err = l.verify(ctx, xid)
		} else {
			why, err = l.written(ctx, xid)
		}
	}
	switch {
	case err != nil:
		return err
	case why != "":
		missing("no rows, because " + why)
		return nil
	}
	if keyed && int64(len(l.rows)) < min(did.Rows, int64(l.t.terms.Sample)) {
		missing("not more rows, because its condition found others before it ran")
	}
	if len(l.rows) == 0 {
		return nil
	}
	sample, ok := l.masked()
	if !ok {
		missing("no rows, because it can't be told how they are masked")
		return nil
	}
	did.Sample = sample
	return nil
}

// rekeyed says whether the command sets a column of the key.
func (l *look) rekeyed() bool {
	return slices.ContainsFunc(l.key, func(n int) bool { return slices.Contains(l.by.Assigned, n) })
}

// writer is the number of the transaction, or of the part of it, in which the command
// runs: the latest that has one.
func (l *look) writer(ctx context.Context) (xid, why string, err error) {
	rows, why, err := l.t.glance(ctx, question{text: `SELECT transactionid FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'transactionid' AND granted
AND mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() ORDER BY pg_catalog.age(transactionid) LIMIT 1`})
	if xid = oneText(rows); xid == "" && why == "" {
		why = "nothing was written by it"
	}
	return xid, why, err
}

// written reads rows that the command has written.
func (l *look) written(ctx context.Context, xid string) (why string, err error) {
	found, why, err := l.t.glance(ctx, question{
		text: l.by.Written(l.columns, l.t.terms.Sample), types: []uint32{oidXID}, params: []postern.Param{{Value: []byte(xid)}},
	})
	l.rows = nil
	for _, row := range found {
		if len(row) == len(l.columns) {
			l.rows = append(l.rows, looked{after: row})
		}
	}
	return why, err
}

// verify finds the rows again by their keys, and keeps those that the command has
// written; of a DELETE, those that are gone.
func (l *look) verify(ctx context.Context, xid string) (why string, err error) {
	if len(l.rows) == 0 {
		return "", nil
	}
	q := question{text: l.by.ByKey(l.columns, l.key, len(l.rows))}
	for i := range l.rows {
		for k, n := range l.key {
			p := postern.Param{Null: l.rows[i].before[k] == nil}
			if !p.Null {
				p.Value = []byte(*l.rows[i].before[k])
			}
			q.types, q.params = append(q.types, l.by.Table.Columns[n-1].Type), append(q.params, p)
		}
	}
	found, why, err := l.t.glance(ctx, q)
	if err != nil || why != "" {
		return why, err
	}
	now := make(map[string][]*string, len(found))
	for _, row := range found {
		if len(row) == len(l.columns)+1 {
			now[l.name(row)] = row
		}
	}
	l.rows = slices.DeleteFunc(l.rows, func(one looked) bool {
		row, there := now[l.name(one.before)]
		return there == (l.by.Verb == "delete") || there && text(row, len(l.columns)) != xid
	})
	for i := range l.rows {
		if row, there := now[l.name(l.rows[i].before)]; there {
			l.rows[i].after = row[:len(l.columns)]
		}
	}
	return "", nil
}

// masked is the sample as anybody may see it. ok is false when that can't be told.
func (l *look) masked() (s *postern.Sample, ok bool) {
	r, table := l.t.r, l.by.Table
	every, ok := r.s.EveryMask(l.t.cmd.decision)
	if !ok {
		return nil, false
	}
	s = &postern.Sample{Table: table.Schema + "." + table.Name}
	fields := make([]field, len(l.columns))
	for i, n := range l.columns {
		c := &table.Columns[n-1]
		s.Columns = append(s.Columns, c.Name)
		fields[i] = field{name: c.Name, table: table.OID, column: uint16(n), typ: c.Type} //nolint:gosec // at most 1,600 columns
	}
	masker := r.s.Masker(every, columns(fields, nil, l.t.cmd.env, doubtsOf(l.t.cmd)))
	shown := func(row []*string) []*string {
		if row == nil {
			return nil
		}
		out := make([]*string, len(row))
		for i, value := range row {
			if value == nil {
				continue
			}
			v := *value
			if masker != nil && masker.Touches(i) {
				masked, null, _ := masker.Field(i, nil, []byte(v))
				if null {
					continue
				}
				v = string(masked)
			}
			if v = readable([]byte(v)); len(v) > maxLookValue {
				v = v[:maxLookValue]
				for !utf8.ValidString(v) {
					v = v[:len(v)-1]
				}
				v += "…"
			}
			out[i] = &v
		}
		return out
	}
	for _, one := range l.rows {
		row := postern.SampleRow{Before: shown(one.before), After: shown(one.after)}
		for i := range l.columns {
			if one.before != nil && one.after != nil && !sameText(one.before[i], one.after[i]) {
				row.Changed = append(row.Changed, i)
			}
		}
		s.Rows = append(s.Rows, row)
	}
	return s, true
}

func sameText(a, b *string) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// types are those of the parameters, as the server has them.
func (t *trial) types(ctx context.Context) ([]uint32, error) {
	r := t.r
	if t.stride.bind == nil {
		return nil, nil
	}
	answer := &results{}
	e := &expectation{kind: replyDescribe, own: true, results: answer}
	if err := r.forward(e, 'D', appendString([]byte{'S'}, t.stride.b.statement)); err != nil {
		return nil, err
	}
	if err := r.forward(&expectation{kind: replySync, own: true}, 'S', nil); err != nil {
		return nil, err
	}
	if err := r.toServer.flush(); err != nil {
		return nil, err
	}
	if err := r.p.wait(ctx, r.p.empty); err != nil {
		return nil, err
	}
	answer.mu.Lock()
	defer answer.mu.Unlock()
	if answer.err != nil {
		return nil, fmt.Errorf("describe: %w", answer.err)
	}
	return answer.types, nil
}

// glance asks one question that can't write, within a bound of time, and leaves
// nothing of it behind. why says why the server doesn't answer it.
func (t *trial) glance(ctx context.Context, q question) (rows [][]*string, why string, err error) {
	r := t.r
	point := r.reserved + "_look"
	q.shelf = newShelf(r.o.buffers) // what functions say in it they say again, or have said
	answers, err := r.askAll(ctx, false, question{text: "SAVEPOINT " + point}, question{text: "SET LOCAL transaction_read_only = on"},
		setting("statement_timeout", strconv.FormatInt(lookTime.Milliseconds(), 10)), q)
	if err := q.shelf.out.flush(); err != nil {
		return nil, "", err
	}
	var answered serverError
	switch {
	case errors.As(err, &answered):
		why = glanceProblem(answered.get('C'))
	case err != nil:
		return nil, "", err
	default:
		rows = answers[len(answers)-1]
	}
	if _, err := r.ask(ctx, false, "ROLLBACK TO SAVEPOINT "+point, "RELEASE SAVEPOINT "+point); err != nil {
		return nil, "", err
	}
	return rows, why, nil
}

func glanceProblem(code string) string {
	switch code {
	case "57014":
		return "it takes too long to find them"
	case "42501":
		return "the gateway's login may not read them"
	}
	return "the server doesn't show them: code " + code
}
