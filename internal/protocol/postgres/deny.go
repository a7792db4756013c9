package postgres

import (
	"context"
	"strings"

	"postern/internal/sql"
)

// denial is what a message that isn't forwarded is answered with.
//
// The server stays the authority over transactions and pipelines: in place of
// the message it is sent a Parse of a text that can't parse, and its error is
// the client's, in other words.
type denial struct {
	code    string
	message string
	plain   bool // message is worded wholly; otherwise it is the gateway's to introduce
	// text is set for a Query that could not be read. If the server can't
	// parse it either, its own error is the better one.
	text string
	// name and kind are set for the use of a name that is not known; again the
	// server may know better.
	name string
	kind byte
	// as is set for a command that was run and undone: the server's own error over it.
	as serverError
	// counted is set for what undoes a command that changed too many rows.
	counted *counting
}

func (d *denial) words() string {
	if d.plain {
		return d.message
	}
	return "postern: " + d.message
}

// marker is the text that can't parse, in any version of PostgreSQL.
const marker = "postern: denied"

// Codes of errors that are made or looked for here.
const (
	codeTooLarge    = "54000" // program_limit_exceeded
	codeCancelled   = "57014" // query_canceled
	codeSyntaxError = "42601" // syntax_error
	codeLocked      = "55P03" // lock_not_available
	codeRetry       = "40001" // serialization_failure
)

// denyUnless is denyMessage unless there is an error already.
func (r *relay) denyUnless(ctx context.Context, typ byte, d *denial, err error) error {
	if err != nil {
		return err
	}
	return r.denyMessage(ctx, typ, d)
}

// denyMessage answers a message of the given type with an error, in step with
// the server.
func (r *relay) denyMessage(ctx context.Context, typ byte, d *denial) error {
	whole := typ == 'Q' || typ == 'F'
	if whole {
		// What follows ends with a Sync, which the client didn't send: the
		// server must not be dropping messages when it comes.
		r.p.mu.Lock()
		open := r.p.open
		r.p.mu.Unlock()
		if open {
			if err := r.drained(ctx); err != nil {
				return err
			}
		}
	}
	if d.text != "" {
		if err := r.forward(&expectation{kind: replyParse, own: true, shown: true, denial: d}, 'P', r.ownParse(d.text)); err != nil {
			return err
		}
		if err := r.forward(&expectation{kind: replyClose, own: true}, 'C', appendString([]byte{'S'}, r.reserved)); err != nil {
			return err
		}
	}
	if d.kind != 0 {
		kind := replyDescribe
		if d.kind == 'P' {
			kind = replyPortal
		}
		if err := r.forward(&expectation{kind: kind, own: true, shown: true}, 'D', appendString([]byte{d.kind}, d.name)); err != nil {
			return err
		}
	}
	if err := r.forward(&expectation{kind: replyMarker, own: true, shown: true, denial: d}, 'P', r.ownParse(marker)); err != nil {
		return err
	}
	if whole {
		return r.forward(&expectation{kind: replySync}, 'S', nil)
	}
	r.dropping = true
	return nil
}

// ownParse is the body of a Parse under the gateway's own name.
func (r *relay) ownParse(text string) []byte {
	return append(appendString(appendString(nil, r.reserved), text), 0, 0)
}

// replace turns the server's error over a denied message into the denial. Any
// other error than the expected one is the server's own, and stays.
func (d *denial) replace(e *serverError, kind reply, session string) bool {
	switch {
	case d != nil && d.counted != nil:
		if kind != replyExecute || e.get('C') != codeDivisionByZero {
			return false
		}
	case d == nil, e.get('C') != codeSyntaxError:
		return false
	case kind == replyMarker:
	case e.get('R') == "exec_parse_message":
		// It could be parsed, but holds several statements.
	default:
		return false
	}
	if d.as != nil {
		*e = d.as
		return true
	}
	*e = serverError{
		{'S', e.get('S')}, {'V', "ERROR"}, {'C', d.code}, {'M', d.words()}, {'H', "session " + session},
	}
	return true
}

// call handles FunctionCall.
func (r *relay) call(ctx context.Context, c callMessage, body []byte) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	env, err := r.environment(ctx, true)
	if err != nil {
		return err
	}
	cmd := &command{env: env, params: c.params}
	harmless := false
	if env.Catalog == nil {
		cmd.statements = append(cmd.statements, opaque("FunctionCall", "The function's name isn't known to the gateway."))
	} else if f, ok := env.Catalog.FunctionByOID(c.function); !ok {
		cmd.statements = append(cmd.statements, opaque("FunctionCall", "The function's name isn't known to the gateway."))
	} else {
		args := make([]string, len(c.params))
		for i := range args {
			args[i] = "NULL"
			if i < len(f.Args) {
				if t := env.Catalog.Types[f.Args[i]]; t != nil {
					args[i] = "NULL::" + quoteName(t.Schema) + "." + quoteName(t.Name)
				}
			}
		}
		cmd.text = "SELECT " + quoteName(f.Schema) + "." + quoteName(f.Name) + "(" + strings.Join(args, ", ") + ")"
		cmd.read = func() []sql.Statement {
			st := r.o.analyzer.Analyze(cmd.text, r.env).Statements[0]
			st.Command.Verb, st.Command.Verbs = "call", append([]string{"call"}, st.Command.Verbs...)
			return []sql.Statement{st}
		}
		cmd.statements = cmd.read()
		harmless = f.Schema == "pg_catalog" && harmlessCall(f.Name)
	}
	stale, err := r.replan(ctx, cmd.statements)
	if err != nil {
		return err
	}
	if stale {
		cmd.statements, harmless = []sql.Statement{opaque("FunctionCall", "It may read other tables than those that its names stand for by now. End the transaction first.")}, false
	}
	dn, err := r.decide(ctx, cmd, "it is a FunctionCall")
	if err != nil {
		return err
	}
	if dn == nil && len(cmd.decision.Masks) > 0 && !harmless {
		if dn, err = r.overrule(cmd, "masks apply here, and the result of a FunctionCall can't be masked; use SELECT"); err != nil {
			return err
		}
	}
	if dn != nil {
		return r.denyMessage(ctx, 'F', dn)
	}
	if dn, err := r.turn(ctx, replyCall, cmd); err != nil || dn != nil {
		return r.denyUnless(ctx, 'F', dn, err)
	}
	e := &expectation{kind: replyCall, cmd: cmd}
	if cmd.decision.Limit != nil {
		return r.limited(ctx, 'F', e, body)
	}
	r.effects(e, cmd.statements, nil)
	return r.forward(e, 'F', body)
}

// harmlessCall says whether a function of pg_catalog returns nothing but
// handles, positions and counts: those of large objects that libpq calls.
func harmlessCall(name string) bool {
	switch name {
	case "lo_creat", "lo_create", "lo_open", "lo_close", "lo_lseek", "lo_lseek64", "lo_tell", "lo_tell64",
		"lo_truncate", "lo_truncate64", "lo_unlink", "lowrite":
		return true
	}
	return false
}
