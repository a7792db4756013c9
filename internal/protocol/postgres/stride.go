package postgres

import "encoding/binary"

// simple is how a simple Query is sent.
func (r *relay) simple(cmd *command) *stride {
	return &stride{
		look: func() (string, error) {
			r.p.mu.Lock()
			open := r.p.open
			r.p.mu.Unlock()
			if open {
				return "it comes within a pipeline", nil
			}
			return "", nil
		},
		send: func(s *shelf) error {
			e := &expectation{kind: replyQuery, cmd: cmd, shelf: s}
			r.effects(e, cmd.statements, nil)
			return r.forward(e, 'Q', append([]byte(cmd.text), 0))
		},
	}
}

// extended is how what a Bind makes ready is sent. The client has to have sent all of
// it: the Execute of the portal, for all of its rows, and the Sync that ends it.
func (r *relay) extended(b bindMessage, bind *expectation, body []byte) *stride {
	describes := false
	by := &stride{statement: &b.statement}
	by.look = func() (why string, err error) {
		describes, why, err = r.ahead(b.portal)
		return why, err
	}
	by.send = func(s *shelf) error {
		bound := *bind
		bound.shelf = s
		run := &expectation{kind: replyExecute, cmd: bind.cmd, portal: bind.portal, shelf: s}
		if err := r.forward(&bound, 'B', body); err != nil {
			return err
		}
		if describes || len(bind.cmd.decision.Masks) > 0 {
			e := &expectation{kind: replyPortal, portal: bind.portal, own: !describes, shown: true, shelf: s}
			if err := r.forward(e, 'D', appendString([]byte{'P'}, b.portal)); err != nil {
				return err
			}
		}
		r.effects(run, bind.cmd.statements, bind.portal)
		if err := r.forward(run, 'E', binary.BigEndian.AppendUint32(appendString(nil, b.portal), 0)); err != nil {
			return err
		}
		r.spent = 1
		if describes {
			r.spent++
		}
		return r.forward(&expectation{kind: replySync, own: true}, 'S', nil)
	}
	return by
}

// ahead looks at what the client has sent behind a Bind. describes says that the first
// of it is a Describe of the portal.
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
