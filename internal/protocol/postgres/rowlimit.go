package postgres

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"

	"postern"
	"postern/internal/sql"
)

// A rule may say how many rows a command may change. What a command changes, its
// functions, triggers and cascades included, nobody knows before it has run, and
// then it is too late: so it runs in a transaction that ends only after the
// count. The server counts, and the server undoes.
//
// Around a limited command the gateway sends, in the same stride,
//
//	BEGIN            if no transaction is open
//	note the count   in a setting of the transaction, under a name that is drawn anew
//	the command
//	check the count  a query that fails when it has grown too far
//	COMMIT           if the transaction is the gateway's, which is a ROLLBACK if anything failed
//
// The count is that of the statistics that the server keeps of a transaction by
// itself: no command can make it smaller.

// rowCount is what the server has counted so far.
const rowCount = `(SELECT COALESCE(pg_catalog.sum(n_tup_ins OPERATOR(pg_catalog.+) n_tup_upd OPERATOR(pg_catalog.+) n_tup_del), 0)::pg_catalog.int8 FROM pg_catalog.pg_stat_xact_all_tables WHERE schemaname OPERATOR(pg_catalog.!~) '^pg_')`

// noteRows keeps the count under the name $1, so that the name is in no text that
// others could read.
const noteRows = `SELECT pg_catalog.set_config($1, (` + rowCount + `)::pg_catalog.text, true)`

// checkRows fails with a division by zero when more than $2 rows were changed
// since, or the server no longer counts.
const checkRows = `SELECT 1 OPERATOR(pg_catalog./) CASE WHEN ` + rowCount + ` OPERATOR(pg_catalog.-) pg_catalog.current_setting($1)::pg_catalog.int8 OPERATOR(pg_catalog.>) $2::pg_catalog.int8 OR pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.<>) 'on' THEN 0 ELSE 1 END`

const codeDivisionByZero = "22012"

// counting is a command, or several of one pipeline, of which rows are counted.
type counting struct {
	limit    postern.RowLimit
	decision postern.Decision
	cmds     []postern.Command // that it is about
	name     string            // of the setting
	own      bool              // the transaction is the gateway's
	copies   bool              // it counts a COPY FROM STDIN
	// abandoned says that the answer to a COPY ended before the client's data
	// did: the client was told, and the transaction is still to be ended.
	// Guarded by p.mu, as is ended.
	abandoned, ended bool
}

// count begins to count for a command, in what state the session is then.
func (r *relay) count(cmd *command, inTransaction bool) (*counting, error) {
	var name [12]byte
	if _, err := io.ReadFull(r.o.rand, name[:]); err != nil {
		return nil, fmt.Errorf("name a count: %w", err)
	}
	c := &counting{limit: *cmd.decision.Limit, decision: cmd.decision, cmds: cmd.commands(), name: "postern.c" + hex.EncodeToString(name[:]), own: !inTransaction}
	if c.own {
		if err := r.ownStatement("BEGIN", expectation{}); err != nil {
			return nil, err
		}
	}
	return c, r.ownStatement(noteRows, expectation{}, c.name)
}

// check sends what undoes the command if it changed too much.
func (r *relay) check(c *counting) error {
	if c.own {
		// What is put off to the end would otherwise come after the count.
		if err := r.ownStatement("SET CONSTRAINTS ALL IMMEDIATE", expectation{shown: true}); err != nil {
			return err
		}
	}
	return r.ownStatement(checkRows, expectation{shown: true, denial: c.denial()}, c.name, strconv.FormatInt(c.limit.Rows, 10))
}

// finishCount ends the counting, and is answered with the client's ReadyForQuery.
func (r *relay) finishCount(c *counting) error {
	if err := r.check(c); err != nil {
		return err
	}
	if c.own {
		if err := r.forward(&expectation{kind: replySync, own: true}, 'S', nil); err != nil {
			return err
		}
		if err := r.ownStatement("COMMIT", expectation{shown: true}); err != nil {
			return err
		}
	}
	return r.forward(&expectation{kind: replySync}, 'S', nil)
}

// denial is what the client is told.
func (c *counting) denial() *denial {
	rows := "rows"
	if c.limit.Rows == 1 {
		rows = "row"
	}
	reason := fmt.Sprintf("it changed more than %d %s, and was undone.", c.limit.Rows, rows)
	if c.limit.Reason != "" {
		reason += " " + c.limit.Reason
	} else {
		reason += " Change fewer at a time, or ask whoever wrote the rule."
	}
	return &denial{code: codeDenied, message: fmt.Sprintf("postern: denied by rule %q: %s", c.limit.Rule, reason), plain: true, counted: c}
}

// ownStatement sends a statement of the gateway's own with text parameters. last
// says how its outcome is to be taken; its rows are nobody's.
func (r *relay) ownStatement(text string, last expectation, params ...string) error {
	// One that failed leaves statement and portal behind, so each begins by closing
	// them.
	name := r.reserved + "_count"
	bind := appendString(appendString(nil, name), name)
	bind = binary.BigEndian.AppendUint16(append(bind, 0, 0), uint16(len(params)))
	for _, p := range params {
		bind = append(binary.BigEndian.AppendUint32(bind, uint32(len(p))), p...)
	}
	bind = append(bind, 0, 0)
	last.kind, last.own, last.results, last.cmd = replyExecute, true, &results{}, &command{}
	for _, m := range []struct {
		e    expectation
		typ  byte
		body []byte
	}{
		{expectation{kind: replyClose, own: true}, 'C', appendString([]byte{'P'}, name)},
		{expectation{kind: replyClose, own: true}, 'C', appendString([]byte{'S'}, name)},
		{expectation{kind: replyParse, own: true}, 'P', append(appendString(appendString(nil, name), text), 0, 0)},
		{expectation{kind: replyBind, own: true}, 'B', bind},
		{last, 'E', append(appendString(nil, name), 0, 0, 0, 0)},
		{expectation{kind: replyClose, own: true}, 'C', appendString([]byte{'P'}, name)},
		{expectation{kind: replyClose, own: true}, 'C', appendString([]byte{'S'}, name)},
	} {
		if err := r.forward(&m.e, m.typ, m.body); err != nil {
			return err
		}
	}
	return nil
}

// uncountable says why a command can't be counted, "" when it can.
func uncountable(cmd *command, extended bool) string {
	statements := cmd.statements
	control := slices.ContainsFunc(statements, func(st sql.Statement) bool { return st.Transaction != "" })
	copies := slices.ContainsFunc(statements, func(st sql.Statement) bool { return st.Copy != nil && st.Copy.In })
	switch {
	case control:
		return "it holds transaction control besides what is counted; send BEGIN, COMMIT and ROLLBACK in messages of their own"
	case copies && (extended || len(statements) > 1):
		return "COPY FROM STDIN is counted only in a message of its own of the simple protocol"
	}
	for i := range statements {
		for _, o := range statements[i].Command.Objects {
			if o.Write && isForeign(cmd, o.Name) {
				return "it writes to " + o.Name + ", a foreign table, of which the server counts no rows"
			}
		}
	}
	return ""
}

// refuseCount answers a message whose rows can't be counted.
func (r *relay) refuseCount(ctx context.Context, typ byte, cmd *command, problem string) error {
	decision := cmd.decision
	if decision.Limit == nil { // what comes before it in the pipeline has one
		decision.Limit = &r.counting.limit
	}
	dn := &denial{code: codeDenied, message: fmt.Sprintf("postern: denied by rule %q: %s.", decision.Limit.Rule, problem), plain: true}
	if err := r.s.Overruled(decision, cmd.commands(), decision.Limit.Rule, dn.code, dn.words()); err != nil {
		return err
	}
	return r.denyMessage(ctx, typ, dn)
}

// limited forwards a Query or FunctionCall of which rows are counted.
func (r *relay) limited(ctx context.Context, typ byte, e *expectation, body []byte) error {
	cmd := e.cmd
	if problem := uncountable(cmd, false); problem != "" {
		return r.refuseCount(ctx, typ, cmd, problem)
	}
	if err := r.drained(ctx); err != nil {
		return err
	}
	r.p.mu.Lock()
	status, open := r.p.status, r.p.open
	r.p.mu.Unlock()
	if open {
		return r.refuseCount(ctx, typ, cmd, "it comes within a pipeline; send a Sync before it")
	}
	if status == 'E' {
		return r.forwardAs(e, typ, body, cmd.statements)
	}
	c, err := r.count(cmd, status == 'T')
	if err != nil {
		return err
	}
	if err := r.forward(&expectation{kind: replySync, own: true}, 'S', nil); err != nil {
		return err
	}
	c.copies = cmd.statements[0].Copy != nil && cmd.statements[0].Copy.In
	e.counting = c
	if err := r.forwardAs(e, typ, body, cmd.statements); err != nil {
		return err
	}
	if r.copying == e {
		inCopy, err := r.copyState(ctx)
		if err != nil || inCopy {
			return err // the end of the data ends the counting
		}
	}
	return r.endCount(e)
}

func (r *relay) forwardAs(e *expectation, typ byte, body []byte, statements []sql.Statement) error {
	r.effects(e, statements, nil)
	if typ == 'Q' {
		r.mayCopy(e, statements)
	}
	return r.forward(e, typ, body)
}

// endCount ends the counting of a Query, unless its answer was over before.
func (r *relay) endCount(e *expectation) error {
	c := e.counting
	if c == nil {
		return nil
	}
	r.p.mu.Lock()
	over := c.abandoned || c.ended
	c.ended = true
	r.p.mu.Unlock()
	if over {
		return nil
	}
	return r.finishCount(c)
}

// readyCounted is what the client sees of the ReadyForQuery of a Query whose rows
// are counted: nothing, as another one follows, unless a COPY failed before the
// client knew. It is called on the server's side.
func (r *relay) readyCounted(e *expectation, body []byte) []byte {
	c := e.counting
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if c.ended || !c.copies {
		return nil
	}
	c.abandoned = true
	if !c.own {
		return body
	}
	r.abandoned = true
	return []byte{'I'}
}

// closeAbandoned ends a transaction of the gateway's own that a COPY left open.
func (r *relay) closeAbandoned() error {
	r.p.mu.Lock()
	left := r.abandoned
	r.abandoned = false
	r.p.mu.Unlock()
	if !left {
		return nil
	}
	if err := r.ownStatement("ROLLBACK", expectation{}); err != nil {
		return err
	}
	return r.forward(&expectation{kind: replySync, own: true}, 'S', nil)
}

// countExecute begins to count for an Execute, once for a pipeline. It returns
// why that can't be.
func (r *relay) countExecute(ctx context.Context, cmd *command) (problem string, err error) {
	if len(cmd.statements) == 1 && cmd.statements[0].Transaction != "" {
		return r.controlled(cmd.statements[0].Transaction)
	}
	if cmd.decision.Limit == nil {
		return "", nil
	}
	if problem := uncountable(cmd, true); problem != "" {
		return problem, nil
	}
	if r.counting != nil {
		if cmd.decision.Limit.Rows < r.counting.limit.Rows {
			r.counting.limit = *cmd.decision.Limit
		}
		return "", nil
	}
	if err := r.drained(ctx); err != nil {
		return "", err
	}
	r.p.mu.Lock()
	status := r.p.status
	r.p.mu.Unlock()
	switch {
	case r.control == "over":
		return "it follows the end of a transaction within a pipeline; send a Sync between", nil
	case status == 'E':
		return "", nil
	}
	r.counting, err = r.count(cmd, status == 'T' || r.control == "begin")
	return "", err
}

// controlled notes transaction control within a pipeline. A transaction in which
// rows are counted is checked before it ends.
func (r *relay) controlled(what string) (problem string, err error) {
	c := r.counting
	switch what {
	case "savepoint", "release":
		return "", nil
	case "begin":
		if c != nil && c.own {
			return "it would begin a transaction within a pipeline whose rows are counted; send a Sync before it", nil
		}
		r.control = "begin"
		return "", nil
	case "rollback to":
		return "", nil
	}
	if c != nil && c.own {
		return "it would end a transaction within a pipeline whose rows are counted; send a Sync before it", nil
	}
	r.control, r.counting = "over", nil
	if c == nil || what != "commit" {
		return "", nil
	}
	return "", r.check(c)
}

// syncCount ends the counting of a pipeline, in place of its Sync.
func (r *relay) syncCount() error {
	c := r.counting
	r.counting, r.control, r.ran = nil, "", false
	if c == nil {
		return r.forward(&expectation{kind: replySync}, 'S', nil)
	}
	return r.finishCount(c)
}

// isForeign says whether a table of the command's database is a foreign one.
func isForeign(cmd *command, name string) bool {
	if cmd.env == nil || cmd.env.Catalog == nil {
		return false
	}
	for _, rel := range cmd.env.Catalog.Relations {
		if rel.Kind == 'f' && rel.Schema+"."+rel.Name == name {
			return true
		}
	}
	return false
}
