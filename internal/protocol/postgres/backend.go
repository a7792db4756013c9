package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"postern"
	analysis "postern/internal/sql/postgres"
)

// maxDecoded bounds the messages of the server that are decoded whole, rows
// apart.
const maxDecoded = 16 << 20

// beforeServerRead lets go of what was gathered for the client. In the midst of
// a message nobody else may write to it.
func (r *relay) beforeServerRead() error {
	err := r.toClient.flush()
	if err != nil && r.left.Load() && !r.toClient.discard {
		r.toClient.discard, err = true, nil
	}
	if !r.toClient.inside {
		r.toClient.mu.Unlock()
		r.locked = false
	}
	return err
}

func (r *relay) afterServerRead() {
	if !r.locked {
		r.toClient.mu.Lock()
		r.locked = true
	}
}

// notify sends the client a notice of the gateway's own, between two messages of
// the server: a notice may come at any time.
func (r *relay) notify(text string) error {
	r.toClient.mu.Lock()
	defer r.toClient.mu.Unlock()
	if r.toClient.inside {
		return errClientGone // the relay is over: nobody ends that message any more
	}
	notice := serverError{{'S', "NOTICE"}, {'V', "NOTICE"}, {'C', "00000"}, {'M', text}}
	if err := r.toClient.message('N', notice.append(nil)); err != nil {
		return err
	}
	return r.toClient.flush()
}

// tell is notify for a client that may have gone, which its relay then notices.
func (r *relay) tell(text string) { _ = r.notify(text) }

// serveUpstream relays from the server until it ends the connection, something
// broke, or it is parked (errParked).
func (r *relay) serveUpstream() (err error) {
	defer r.endOnBug(&err)
	r.afterServerRead()
	defer func() {
		if r.locked {
			r.toClient.mu.Unlock()
			r.locked = false
		}
	}()
	for {
		typ, size, err := r.fromUp.next()
		if err == nil {
			err = r.serverMessage(typ, size)
		}
		if err == nil {
			r.checkLeft()
			continue
		}
		var frame *frameError
		switch {
		case errors.Is(err, errParked):
			return errParked
		case r.left.Load() && errors.Is(err, io.EOF):
			return nil
		case r.toClient.err != nil:
			return broken(errClientGone, err)
		case r.fatal && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
			return nil
		case errors.As(err, &frame), isRefusal(err), errors.Is(err, errUpstreamGone):
			return err
		}
		return broken(errUpstreamGone, err)
	}
}

// checkLeft bounds the wait for the server to close, once it has answered all
// that a client which has left had asked for.
func (r *relay) checkLeft() {
	if r.left.Load() && r.quiet() {
		r.boundLastWord()
	}
}

// outOfStep ends a session whose server does what the protocol doesn't allow:
// nothing that follows could be attributed to a decision.
func outOfStep(typ byte, e *expectation) error {
	return &refusal{
		code: codeProtocol, message: "the server's answer doesn't belong to any message of this session; connect again",
		cause: protocolError(typ, e),
	}
}

// serverMessage handles one message, whose header was read.
func (r *relay) serverMessage(typ byte, size int) error {
	if typ == 'D' {
		return r.dataRow(size)
	}
	if typ == 'd' {
		return r.copyRow(size)
	}
	if typ == 'V' {
		return r.callResult(size)
	}
	if size > maxDecoded {
		return r.oversized(typ, size)
	}
	body, err := r.fromUp.take()
	if err != nil {
		return err
	}
	if err := r.countChatter(typ, size); err != nil {
		return err
	}
	switch typ {
	case 'S':
		return r.parameter(body)
	case 'N':
		return r.notice(body)
	case 'A':
		return r.notification(body)
	}
	e := r.p.first()
	if typ == 'E' {
		return r.serverError(e, body)
	}
	if e == nil {
		return outOfStep(typ, e)
	}
	switch typ {
	case 'Z':
		if len(body) != 1 || !e.kind.ends() {
			return outOfStep(typ, e)
		}
		r.fromUp.rests()
		shown := body
		if e.counting != nil {
			shown = r.readyCounted(e, body)
		}
		if e.shelf != nil {
			shown = nil
		}
		if shown != nil {
			if err := r.pass(e, typ, shown); err != nil {
				return err
			}
		}
		if body[0] == 'I' {
			r.exposedTx = false
		}
		r.p.ready(e, body[0])
		return nil
	case '1', '2', '3':
		if e.kind != answeredBy(typ) {
			return outOfStep(typ, e)
		}
		return r.answer(e, typ, body)
	case 't':
		if e.kind != replyDescribe {
			return outOfStep(typ, e)
		}
		if e.results != nil {
			e.results.described(body)
		}
		return r.pass(e, typ, body)
	case 'T':
		return r.rowDescription(e, body)
	case 'n':
		if e.kind == replyPortal && e.portal != nil {
			r.describedAs(e.portal, []field{})
		} else if e.kind != replyDescribe && e.kind != replyPortal {
			return outOfStep(typ, e)
		}
		return r.answer(e, typ, body)
	case 'C':
		return r.complete(e, body)
	case 'I':
		switch e.kind {
		case replyQuery:
			return r.pass(e, typ, body)
		case replyExecute:
			return r.answer(e, typ, body)
		}
		return outOfStep(typ, e)
	case 's':
		if e.kind != replyExecute {
			return outOfStep(typ, e)
		}
		if err := r.finish(e, ""); err != nil {
			return err
		}
		return r.answer(e, typ, body)
	case 'G', 'H', 'c':
		return r.copyMessage(e, typ, body)
	}
	return outOfStep(typ, e)
}

// answeredBy is what ParseComplete, BindComplete or CloseComplete answers.
func answeredBy(typ byte) reply {
	switch typ {
	case '1':
		return replyParse
	case '2':
		return replyBind
	}
	return replyClose
}

// countChatter counts messages that can carry a value, as a row does. A denied
// command's error is our own.
func (r *relay) countChatter(typ byte, size int) error {
	switch typ {
	case 'S', 'N', 'A':
		return r.s.Rows(size)
	case 'E':
		if e := r.p.first(); e == nil || e.denial == nil && !e.own {
			return r.s.Rows(size)
		}
	}
	return nil
}

// pass forwards a part of an answer to the client, if it is the client's.
func (r *relay) pass(e *expectation, typ byte, body []byte) error {
	if e.own {
		return nil
	}
	return r.to(e).message(typ, body)
}

// to is where an answer goes: to the client, or to the shelf that keeps it.
func (r *relay) to(e *expectation) *outbox {
	if e != nil && e.shelf != nil {
		return &e.shelf.out
	}
	return r.toClient
}

// answer forwards the end of an answer.
func (r *relay) answer(e *expectation, typ byte, body []byte) error {
	if err := r.pass(e, typ, body); err != nil {
		return err
	}
	r.p.pop(e)
	if e.results != nil {
		e.results.end()
	}
	return nil
}

// oversized handles what is too large to be decoded.
func (r *relay) oversized(typ byte, size int) error {
	if err := r.fromUp.skip(); err != nil {
		return err
	}
	switch typ {
	case 'N':
		return nil
	case 'E':
		e := serverError{
			{'S', "ERROR"},
			{'V', "ERROR"},
			{'C', codeTooLarge},
			{'M', fmt.Sprintf("postern: the server's error message of %d bytes is too large to be shown", size)},
		}
		return r.serverError(r.p.first(), e.append(nil))
	}
	return outOfStep(typ, r.p.first())
}

// parameter notes a setting that the server reports.
func (r *relay) parameter(body []byte) error {
	name, rest, ok := cutString(body)
	if !ok {
		return outOfStep('S', nil)
	}
	value, rest, ok := cutString(rest)
	if !ok || len(rest) > 0 {
		return outOfStep('S', nil)
	}
	if err := r.disowned(name, value); err != nil {
		return err
	}
	r.p.mu.Lock()
	r.p.reported.note(name, value)
	r.p.mu.Unlock()
	if m, _ := r.concerned(r.p.first()); !m.none() {
		shown := m.content(value)
		if m.columns && freeText(name) && r.client.params[name] != value {
			shown = redacted
		}
		if shown != value {
			r.s.Masked(1)
			body = appendString(appendString(nil, name), shown)
		}
	}
	return r.to(r.p.first()).message('S', body)
}

// freeText says whether a reported setting can hold any text.
func freeText(name string) bool {
	switch name {
	case "client_encoding", "server_encoding", "server_version", "standard_conforming_strings", "integer_datetimes",
		"is_superuser", "in_hot_standby", "default_transaction_read_only", "DateStyle", "IntervalStyle", "TimeZone",
		"session_authorization", "scram_iterations":
		return false
	}
	return true
}

// notice forwards a NoticeResponse.
func (r *relay) notice(body []byte) error {
	fields, ok := decodeError(body)
	if !ok {
		return outOfStep('N', nil)
	}
	m, n := r.concerned(r.p.first())
	fields, hits := m.apply(fields)
	r.s.Masked(int64(hits))
	event := postern.Event{Kind: postern.EventNotice, N: n, Code: fields.get('C'), Text: clip(fields.get('M'))}
	if err := r.s.Record(event); err != nil {
		return err
	}
	return r.to(r.p.first()).message('N', fields.append(nil))
}

// concerned returns the masks that bind what the server says of e, which may
// be nil, and the number of the command that it is about, 0 if none was decided.
func (r *relay) concerned(e *expectation) (m masking, n int64) {
	if e != nil && e.cmd != nil && e.cmd.decision.Policy != "" {
		m, n = r.masking(e.cmd.decision), e.cmd.decision.N+int64(e.cmd.index)
	} else {
		m = r.masking(r.masks())
	}
	m.columns = m.columns && r.exposed(e)
	return m, n
}

// exposed says whether a message about e may quote values of masked columns:
// because of its own command, or of an earlier one whose constraints the end
// of the transaction checks.
func (r *relay) exposed(e *expectation) bool {
	switch {
	case e == nil:
		return true
	case e.cmd != nil && e.cmd.exposes:
		r.exposedTx = true
		return true
	case e.kind == replySync:
		return r.exposedTx
	case e.cmd != nil && r.exposedTx:
		st := e.cmd.statement()
		return st == nil || st.Transaction != "" || len(e.cmd.statements) > 1
	}
	return false
}

// notification forwards a NotificationResponse, and records it as the client sees it.
// Its payload is a value that some session has computed.
func (r *relay) notification(body []byte) error {
	if len(body) < 6 {
		return outOfStep('A', nil)
	}
	channel, rest, ok := cutString(body[4:])
	if !ok {
		return outOfStep('A', nil)
	}
	payload, rest, ok := cutString(rest)
	if !ok || len(rest) > 0 {
		return outOfStep('A', nil)
	}
	own := binary.BigEndian.Uint32(body) == r.up.pid
	if own {
		// The client knows its own notifications by the process id of its key.
		binary.BigEndian.PutUint32(body, r.pid)
	}
	shown := payload
	if m := r.masking(r.masks()); !m.none() && payload != "" {
		shown = m.content(payload)
		if m.columns && (r.exposedTx || !own) {
			// Another session's words, or values that this one has read.
			shown = redacted
		}
	}
	if err := r.s.Record(postern.Event{Kind: postern.EventNotice, Text: clip("notification on " + channel + ": " + shown)}); err != nil {
		return err
	}
	if shown == payload {
		return r.toClient.message('A', body)
	}
	r.s.Masked(1)
	out := append([]byte(nil), body[:4]...)
	return r.toClient.message('A', appendString(appendString(out, channel), shown))
}

// serverError forwards an ErrorResponse, or the denial that stands for it, and
// keeps in step with what the server drops because of it.
func (r *relay) serverError(e *expectation, body []byte) error {
	fields, ok := decodeError(body)
	if !ok {
		return outOfStep('E', e)
	}
	last := fields.last()
	if last {
		r.fatal = true
	}
	var denied *denial
	if e != nil {
		denied = e.denial
	}
	own := e != nil && e.own && !e.shown && !last
	if own && e.results == nil && e.kind != replyClose && e.kind != replyParse && e.kind != replyBind {
		return outOfStep('E', e)
	}
	if e != nil && fields.get('C') == codeCancelled && r.p.hasGivenWay(e) {
		fields = serverError{{'S', fields.get('S')}, {'V', "ERROR"}, {'C', codeRetry}, {'M', gaveWayWords}, {'H', "session " + r.s.ID()}}
	}
	m, n := r.concerned(e)
	if denied == nil || !denied.replace(&fields, e.kind, r.s.ID()) {
		var hits int
		fields, hits = m.apply(fields)
		r.s.Masked(int64(hits))
		event := postern.Event{Kind: postern.EventError, N: n, Code: fields.get('C'), Text: clip(fields.get('M'))}
		if !own && (e == nil || e.shelf == nil || last) {
			if err := r.s.Record(event); err != nil {
				return err
			}
		}
	}
	if denied != nil && denied.counted != nil && fields.get('C') == denied.code {
		if err := r.s.Overruled(denied.counted.decision, denied.counted.cmds, denied.counted.limit.Rule, denied.code, denied.words()); err != nil {
			return err
		}
	}
	if e != nil && e.cmd != nil {
		e.cmd.result = nil
	}
	switch {
	case own:
	case e != nil && e.shelf != nil && !last:
		e.shelf.fail(fields)
	default:
		if err := r.toClient.message('E', fields.append(nil)); err != nil {
			return err
		}
	}
	switch {
	case e == nil || last:
		if !last {
			return outOfStep('E', e)
		}
	case e.kind.ends():
		// ReadyForQuery follows.
		e.failed = true
		r.p.mu.Lock()
		r.p.failed()
		r.p.mu.Unlock()
	default:
		if e.results != nil {
			e.results.fail(fields)
		}
		if e.fails != nil {
			e.fails.fail(fields)
		}
		r.p.fail(e)
	}
	return nil
}

// clip bounds a text for the recording.
func clip(text string) string {
	if len(text) <= maxRecordedValue {
		return text
	}
	return string(bytes.ToValidUTF8([]byte(text[:maxRecordedValue]), nil)) + "…"
}

// rowDescription begins a result, or describes a portal.
func (r *relay) rowDescription(e *expectation, body []byte) error {
	fields, ok := r.fieldsOf(body)
	if !ok {
		return outOfStep('T', e)
	}
	switch e.kind {
	case replyQuery:
		if e.cmd.statement() == nil {
			return outOfStep('T', e)
		}
		e.cmd.result = r.newResult(e.cmd, fields)
	case replyPortal:
		if e.portal != nil {
			r.describedAs(e.portal, fields)
		}
	case replyDescribe:
	default:
		return outOfStep('T', e)
	}
	if m, _ := r.concerned(e); !m.none() && !e.own {
		if masked := m.maskNames(fields, body, r.saidIn(e), r.catalogOf(e)); masked != nil {
			r.s.Masked(1)
			body = masked
		}
	}
	if e.kind == replyQuery {
		return r.pass(e, 'T', body)
	}
	return r.answer(e, 'T', body)
}

// fieldsOf decodes RowDescription. Most are as the last one was, and share its fields.
func (r *relay) fieldsOf(body []byte) ([]field, bool) {
	if r.lastFields != nil && bytes.Equal(body, r.lastBody) {
		return r.lastFields, true
	}
	fields, ok := decodeFields(body)
	if ok && len(body) <= maxKeptFields {
		r.lastFields, r.lastBody = fields, append(r.lastBody[:0], body...)
	}
	return fields, ok
}

// maxKeptFields bounds the RowDescription that is kept for the next.
const maxKeptFields = 1 << 10

// saidIn is the client's own text that an answer is about.
func (r *relay) saidIn(e *expectation) string {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	switch {
	case e.cmd != nil:
		return e.cmd.text
	case e.statement != nil:
		return e.statement.text
	case e.portal != nil && e.portal.cmd != nil:
		return e.portal.cmd.text
	}
	return ""
}

// catalogOf is what the command of an answer was analysed with; nil if that
// isn't known.
func (r *relay) catalogOf(e *expectation) *analysis.Catalog {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	cmd := e.cmd
	if cmd == nil && e.portal != nil {
		cmd = e.portal.cmd
	}
	if cmd == nil || cmd.env == nil {
		return nil
	}
	return cmd.env.Catalog
}

func (r *relay) describedAs(po *portal, fields []field) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	po.fields = fields
}

// resultOf returns the result that a row belongs to, or nil.
func (r *relay) resultOf(e *expectation) *result {
	switch {
	case e == nil || e.cmd == nil:
		return nil
	case e.cmd.result != nil || e.kind != replyExecute:
		return e.cmd.result
	}
	r.p.mu.Lock()
	fields := e.portal.fields
	r.p.mu.Unlock()
	if fields == nil && len(e.cmd.decision.Masks) > 0 {
		return nil
	}
	e.cmd.result = r.newResult(e.cmd, fields)
	return e.cmd.result
}

// dataRow forwards a row as the client may see it.
func (r *relay) dataRow(size int) error {
	e := r.p.first()
	if e != nil && e.results != nil {
		body, err := r.fromUp.take()
		if err != nil {
			return err
		}
		if !e.results.row(body) {
			return outOfStep('D', e)
		}
		return nil
	}
	res := r.resultOf(e)
	if res == nil || e.own {
		return outOfStep('D', e)
	}
	res.count++
	if err := r.s.Rows(size); err != nil {
		return err
	}
	if res.masker != nil && size > maxMaskedMessage {
		return &refusal{code: codeTooLarge, message: fmt.Sprintf(
			"a row of %d bytes is larger than the %d that can be masked; select fewer columns of it", size, maxMaskedMessage)}
	}
	if res.plain() || res.masker == nil && size > maxRecordedRows {
		return r.forwardBody(r.to(e), 'D', size)
	}
	body, err := r.fromUp.take()
	if err != nil {
		return err
	}
	box := r.to(e)
	if err := box.room(headerSize + size); err != nil {
		return err
	}
	at := len(box.buf)
	out, ok := res.row(appendHeader(box.buf, 'D', 0), body)
	if !ok {
		return outOfStep('D', e)
	}
	binary.BigEndian.PutUint32(out[at+1:], uint32(len(out)-at-1))
	box.buf = out
	return nil
}

// forwardBody forwards the message whose header was read, as it is.
func (r *relay) forwardBody(box *outbox, typ byte, size int) error {
	if r.fromUp.buffered() {
		body, err := r.fromUp.take()
		if err != nil {
			return err
		}
		return box.message(typ, body)
	}
	box.begin(typ, size)
	if err := r.fromUp.stream(box.piece); err != nil {
		return err
	}
	box.end()
	return nil
}

// callResult forwards a FunctionCallResponse.
func (r *relay) callResult(size int) error {
	e := r.p.first()
	if e == nil || e.kind != replyCall {
		return outOfStep('V', e)
	}
	if err := r.s.Rows(size); err != nil {
		return err
	}
	if err := r.finish(e, "CALL"); err != nil {
		return err
	}
	return r.forwardBody(r.toClient, 'V', size)
}

// complete ends a statement.
func (r *relay) complete(e *expectation, body []byte) error {
	tag, rest, ok := cutString(body)
	if !ok || len(rest) > 0 || e.kind != replyQuery && e.kind != replyExecute {
		return outOfStep('C', e)
	}
	if e.results != nil {
		return r.answer(e, 'C', body)
	}
	st := e.cmd.statement()
	if st == nil {
		return outOfStep('C', e)
	}
	if err := r.finish(e, tag); err != nil {
		return err
	}
	r.exposedTx = r.exposedTx || e.cmd.exposes
	r.p.completed(e.cmd, st)
	if e.kind == replyQuery {
		if st.Command.Verb != postern.VerbUnknown {
			// How many statements an unknown text holds is unknown, too.
			e.cmd.index++
		}
		return r.pass(e, 'C', body)
	}
	return r.answer(e, 'C', body)
}
