package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"postern"
)

// results are the rows of a query that the gateway itself asks on the client's
// connection. The server's side fills it.
type results struct {
	mu    sync.Mutex
	rows  [][]*string
	types []uint32 // of the parameters, where they were asked for
	err   error
	done  bool
}

// described takes a ParameterDescription.
func (q *results) described(body []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(body) > 2 && len(body) >= 6 { // a count, and as many numbers of types
		q.types = append(q.types, binary.BigEndian.Uint32(body[2:]))
		body = body[4:]
	}
}

// question is a query of the gateway's own. Its parameters are given with their types.
type question struct {
	text   string
	types  []uint32
	params []postern.Param
	shelf  *shelf // keeps what the server says meanwhile from the client; nil: it goes there
}

func (q *question) parse(name string) []byte {
	body := appendString(appendString(nil, name), q.text)
	body = binary.BigEndian.AppendUint16(body, uint16(len(q.types))) //nolint:gosec // a message of the protocol held them
	for _, t := range q.types {
		body = binary.BigEndian.AppendUint32(body, t)
	}
	return body
}

func (q *question) bind(name string) []byte {
	body := appendString(appendString(nil, name), name)
	n := uint16(len(q.params)) //nolint:gosec // a message of the protocol held them
	body = binary.BigEndian.AppendUint16(body, n)
	for i := range q.params {
		format := uint16(0)
		if q.params[i].Binary {
			format = 1
		}
		body = binary.BigEndian.AppendUint16(body, format)
	}
	body = binary.BigEndian.AppendUint16(body, n)
	for i := range q.params {
		if q.params[i].Null {
			body = append(body, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(q.params[i].Value))), q.params[i].Value...) //nolint:gosec // as above
	}
	return append(body, 0, 0)
}

// maxOwnRows bounds what an answer to the gateway's own question may hold.
const maxOwnRows = 1 << 20

func (q *results) row(body []byte) bool {
	if len(body) < 2 {
		return false
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	var row []*string
	for range n {
		value, null, rest, ok := cutValue(body)
		if !ok {
			return false
		}
		if null {
			row = append(row, nil)
		} else {
			s := string(value)
			row = append(row, &s)
		}
		body = rest
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rows = append(q.rows, row)
	return len(body) == 0 && len(q.rows) <= maxOwnRows
}

func (q *results) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = true
}

func (q *results) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.done {
		q.err, q.done = err, true
	}
}

// ask runs queries on the client's connection, in the client's transaction,
// and leaves no trace: its unnamed statement and portal stay. Nothing may be
// under way. Within a pipeline that no Sync has ended yet (open), an error is
// the client's to see, as the server then drops what follows.
func (r *relay) ask(ctx context.Context, open bool, queries ...string) ([][][]*string, error) {
	all := make([]question, len(queries))
	for i, text := range queries {
		all[i].text = text
	}
	return r.askAll(ctx, open, all...)
}

// askAll is ask for questions that have parameters.
func (r *relay) askAll(ctx context.Context, open bool, queries ...question) ([][][]*string, error) {
	answers := make([]*results, len(queries))
	for i, query := range queries {
		answers[i] = &results{}
		for _, m := range []struct {
			e    expectation
			typ  byte
			body []byte
		}{
			{expectation{kind: replyParse}, 'P', query.parse(r.reserved)},
			{expectation{kind: replyBind}, 'B', query.bind(r.reserved)},
			{expectation{kind: replyExecute, results: answers[i], cmd: &command{}}, 'E', append(appendString(nil, r.reserved), 0, 0, 0, 0)},
			{expectation{kind: replyClose}, 'C', appendString([]byte{'P'}, r.reserved)},
			{expectation{kind: replyClose}, 'C', appendString([]byte{'S'}, r.reserved)},
		} {
			m.e.own, m.e.shown, m.e.shelf = true, open, query.shelf
			if !open && m.e.kind != replyExecute {
				m.e.fails = answers[i] // Bind plans, and asks for rights: much fails there
			}
			if err := r.forward(&m.e, m.typ, m.body); err != nil {
				return nil, err
			}
		}
	}
	if open {
		if err := r.toServer.message('H', nil); err != nil {
			return nil, err
		}
	} else if err := r.forward(&expectation{kind: replySync, own: true}, 'S', nil); err != nil {
		return nil, err
	}
	if err := r.toServer.flush(); err != nil {
		return nil, err
	}
	if err := r.p.wait(ctx, r.p.empty); err != nil {
		return nil, err
	}
	rows := make([][][]*string, len(answers))
	for i, a := range answers {
		a.mu.Lock()
		rows[i] = a.rows
		err := a.err
		if err == nil && !a.done {
			err = errSkipped
		}
		a.mu.Unlock()
		if err == nil {
			continue
		}
		if err := r.clear(open); err != nil {
			return nil, err
		}
		return nil, err
	}
	return rows, nil
}

// clear removes what a question that failed has left behind, for the next one.
func (r *relay) clear(open bool) error {
	if open {
		return nil // the server drops what comes before the client's Sync
	}
	for _, what := range []byte{'P', 'S'} {
		if err := r.forward(&expectation{kind: replyClose, own: true}, 'C', appendString([]byte{what}, r.reserved)); err != nil {
			return err
		}
	}
	return r.forward(&expectation{kind: replySync, own: true}, 'S', nil)
}

// isBroken says whether err, of ask, ends the relay: it is no answer of the server.
func isBroken(err error) bool {
	var answered serverError
	return !errors.Is(err, errSkipped) && !errors.As(err, &answered)
}
