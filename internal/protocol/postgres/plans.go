package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"

	"postern/internal/sql"
)

// A server keeps plans: of prepared statements, and of what the functions in PL/pgSQL
// have run. It makes one anew when a relation that it reads has changed, or the search
// path; but not when a relation is made that only takes the place of another one under
// its name. The gateway reads all names anew, so the server has to do so, too:
// otherwise one decides over another table than the other one reads. After whatever
// may give a name another meaning, every plan is thrown away before the next command.

const throwPlansAway = "DISCARD PLANS"

// moves counts how often names may have got another meaning: by the session itself,
// and by all of the database's.
type moves struct {
	own    int
	others int64
}

func (r *relay) moved() moves {
	r.p.mu.Lock()
	own := r.p.moves
	r.p.mu.Unlock()
	return moves{own, r.catalog.moved()}
}

// replan has the server throw away the plans of what names meant before, on the
// client's own connection, as statements are to run that may use them. stale says
// that it can't be told now: it may read other tables than those that names stand for.
func (r *relay) replan(ctx context.Context, statements []sql.Statement) (stale bool, err error) {
	now := r.moved()
	if r.planned == nil {
		r.planned = &now
	}
	if *r.planned == now || r.unrestricted() {
		return false, nil
	}
	r.p.mu.Lock()
	open := r.p.open
	r.p.mu.Unlock()
	if open && !plans(statements) {
		return false, nil
	}
	if err := r.drained(ctx); err != nil {
		return false, err
	}
	r.p.mu.Lock()
	status := r.p.status
	r.p.mu.Unlock()
	switch {
	case status == 'E':
		return true, nil
	case status == 'T' && !plans(statements):
		return false, nil
	}
	now = r.moved()
	for again := 0; ; again++ {
		_, err = r.ask(ctx, open, throwPlansAway)
		var answered serverError
		if open || status != 'I' || again == 3 || !errors.As(err, &answered) || answered.get('C') != codeCancelled {
			break
		}
		// The client's asking to cancel came late.
	}
	switch {
	case err == nil:
		*r.planned = now
		return false, nil
	case ctx.Err() != nil || isBroken(err):
		return false, err
	case open || errors.Is(err, errSkipped):
		return false, errSkipped // the error was the client's
	}
	return false, &refusal{code: codeProtocol, message: "the server doesn't throw away plans that it has made before names got another meaning; connect again", cause: err}
}

// plans says whether any of statements may run what was planned before. Those that
// don't may have to come before the transaction takes its first snapshot, which the
// gateway's own statement would have it take.
func plans(statements []sql.Statement) bool {
	for i := range statements {
		switch st := &statements[i]; {
		case st.Transaction == "commit":
			return true // what triggers have put off
		case st.Transaction != "":
		case slices.ContainsFunc(st.Command.Verbs, func(verb string) bool { return !slices.Contains(planless, verb) }):
			return true
		case strings.Contains(strings.ToUpper(st.Command.Text), "CONSTRAINTS"):
			return true // SET CONSTRAINTS, the same
		}
	}
	return false
}

// planless are the verbs of what plans nothing and takes no snapshot.
var planless = []string{"set", "reset", "show", "lock"}

// isPlanned says whether a statement is planned as it is bound. The others name what they
// are about only when they run.
func isPlanned(st *sql.Statement) bool {
	switch st.Command.Verb {
	case "select", "insert", "update", "delete", "merge":
		return true
	}
	return false
}
