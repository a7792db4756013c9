package postgres

import "encoding/binary"

// stride is how a client sends a command, and so what has to be sent to run it before
// it is approved.
type stride struct {
	why  string // why that can't be; "": it can
	bind *expectation
	// b and body are those of the Bind; a simple Query has none.
	b         bindMessage
	body      []byte
	describes bool // the client has it described, too
}

// look finds out, before anything runs, why the command can't be run now.
func (r *relay) look(by *stride) (why string, err error) {
	if by.bind != nil {
		by.describes, why, err = r.ahead(by.b.portal)
		return why, err
	}
	r.p.mu.Lock()
	open := r.p.open
	r.p.mu.Unlock()
	if open {
		return "it comes within a pipeline", nil
	}
	return "", nil
}

// stride sends the command. Its answer goes to a shelf.
func (r *relay) stride(cmd *command, by *stride, s *shelf) error {
	if by.bind == nil {
		e := &expectation{kind: replyQuery, cmd: cmd, shelf: s}
		r.effects(e, cmd.statements, nil)
		return r.forward(e, 'Q', append([]byte(cmd.text), 0))
	}
	bound := *by.bind
	bound.shelf = s
	if err := r.forward(&bound, 'B', by.body); err != nil {
		return err
	}
	if by.describes || len(cmd.decision.Masks) > 0 {
		e := &expectation{kind: replyPortal, portal: by.bind.portal, own: !by.describes, shown: true, shelf: s}
		if err := r.forward(e, 'D', appendString([]byte{'P'}, by.b.portal)); err != nil {
			return err
		}
	}
	run := &expectation{kind: replyExecute, cmd: cmd, portal: by.bind.portal, shelf: s}
	r.effects(run, cmd.statements, by.bind.portal)
	if err := r.forward(run, 'E', binary.BigEndian.AppendUint32(appendString(nil, by.b.portal), 0)); err != nil {
		return err
	}
	r.spent = 1
	if by.describes {
		r.spent++
	}
	return r.forward(&expectation{kind: replySync, own: true}, 'S', nil)
}

// ahead looks at what the client has sent behind a Bind: the Execute of its portal, for
// all of its rows, and the Sync that ends it. describes says that the first of it is a
// Describe of the portal.
func (r *relay) ahead(portal string) (describes bool, why string, err error) {
	const other = "its pipeline holds more than its Bind, Describe, Execute and Sync"
	typ, body, after, err := r.fromHere.peek(0, maxNamed)
	if err != nil {
		return false, "", err
	}
	if typ == 'D' && string(body) == "P"+portal+"\x00" {
		describes = true
		if typ, body, after, err = r.fromHere.peek(after, maxNamed); err != nil {
			return false, "", err
		}
	}
	name, rest, ok := cutString(body)
	switch {
	case typ != 'E' || !ok || name != portal || len(rest) != 4:
		return false, other, nil
	case binary.BigEndian.Uint32(rest) != 0:
		return false, "it is executed for some rows at a time", nil
	}
	typ, body, _, err = r.fromHere.peek(after, maxNamed)
	if err != nil || typ != 'S' || len(body) != 0 {
		return false, other, err
	}
	return describes, "", nil
}
