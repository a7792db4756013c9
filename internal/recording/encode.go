package recording

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"postern"
)

// AppendEvent appends e as a recording's line spells it, without a line end.
func AppendEvent(b []byte, e *postern.Event) []byte { return appendEvent(b, e, nil) }

// appendEvent appends e as one JSON object, with the names of postern.Event's
// JSON tags. It says the same as encoding/json but for two things: a byte that
// isn't UTF-8 is kept, as the lone surrogate \udc80 … \udcff, where
// encoding/json would put U+FFFD; and attributes that are zero are left out.
// Times are UTC. r is what the events before it
// have said; nil: nothing.
func appendEvent(b []byte, e *postern.Event, r *repeated) []byte {
	b = appendTime(append(b, `{"t":`...), e.Time)
	b = appendString(append(b, `,"kind":`...), string(e.Kind))
	b = optInt(b, `,"n":`, e.N)
	if e.Command != nil {
		b = r.command(append(b, `,"command":`...), e.Command)
	}
	if e.Decision != nil {
		b = r.decision(append(b, `,"decision":`...), e.Decision)
	}
	b = optString(b, `,"review":`, e.Review)
	b = optString(b, `,"state":`, e.State)
	b = optString(b, `,"tag":`, e.Tag)
	b = optStrings(b, `,"columns":`, e.Columns)
	if len(e.Rows) > 0 {
		b = appendList(append(b, `,"rows":`...), e.Rows, appendRow)
	}
	b = optInt(b, `,"row_count":`, e.RowCount)
	b = optInt(b, `,"bytes":`, e.Bytes)
	b = optInt(b, `,"masked":`, e.Masked)
	b = optString(b, `,"code":`, e.Code)
	b = optString(b, `,"text":`, e.Text)
	b = optString(b, `,"stream":`, e.Stream)
	b = optString(b, `,"digest":`, e.Digest)
	if e.Session != nil {
		b = appendSession(append(b, `,"session":`...), e.Session)
	}
	return append(b, '}')
}

// repeated are parts of the last command and the last decision, as they were
// written: clients send one statement with other values, under the same rules.
type repeated struct {
	like    postern.Command
	facts   []byte
	decided postern.Decision
	verdict []byte
}

// command appends a command. What the last one shares with it is copied: its
// lists are the same when they are one list in memory, which nobody changes.
func (r *repeated) command(b []byte, c *postern.Command) []byte {
	if r == nil {
		return appendText(appendFacts(b, c), c)
	}
	if len(r.facts) == 0 || !r.like.Like(c) {
		r.facts = appendFacts(r.facts[:0], c)
		r.like = *c
		r.like.Text, r.like.Params = "", nil
	}
	return appendText(append(b, r.facts...), c)
}

// decision appends a decision, as command does.
func (r *repeated) decision(b []byte, d *postern.Decision) []byte {
	if r == nil || d.Review != nil {
		return appendTerms(appendVerdict(b, d), d)
	}
	if l := &r.decided; len(r.verdict) == 0 || !postern.Same(l.Masks, d.Masks) || l.Verdict != d.Verdict || l.Rule != d.Rule || l.Reason != d.Reason {
		r.verdict = appendVerdict(r.verdict[:0], d)
		r.decided = postern.Decision{Verdict: d.Verdict, Rule: d.Rule, Reason: d.Reason, Masks: d.Masks}
	}
	return appendTerms(append(b, r.verdict...), d)
}

// appendFacts appends the part of a command that its analysis found.
func appendFacts(b []byte, c *postern.Command) []byte {
	b = appendString(append(b, `{"protocol":`...), c.Protocol)
	b = appendString(append(b, `,"verb":`...), c.Verb)
	b = append(b, `,"verbs":`...)
	if c.Verbs == nil {
		b = append(b, `null`...)
	} else {
		b = appendList(b, c.Verbs, appendStringOf)
	}
	b = appendString(append(b, `,"access":`...), c.Access.String())
	if len(c.Objects) > 0 {
		b = appendList(append(b, `,"objects":`...), c.Objects, appendObject)
	}
	return appendAttrs(b, c.Attrs)
}

// appendText appends the rest of it: what the client wrote.
func appendText(b []byte, c *postern.Command) []byte {
	b = appendString(append(b, `,"text":`...), c.Text)
	if len(c.Params) > 0 {
		b = appendList(append(b, `,"params":`...), c.Params, appendParam)
	}
	b = optString(b, `,"state":`, c.State)
	b = optString(b, `,"problem":`, c.Problem)
	return append(b, '}')
}

func appendObject(b []byte, o *postern.Object) []byte {
	b = appendString(append(b, `{"kind":`...), o.Kind)
	b = appendString(append(b, `,"name":`...), o.Name)
	b = optBool(b, `,"write":true`, o.Write)
	return append(b, '}')
}

// appendAttrs appends those that say something: one that isn't there is no other
// than one that is zero ([postern.Command.Attr]), and most of a command's are.
func appendAttrs(b []byte, attrs []postern.Attr) []byte {
	some := false
	for i := range attrs {
		if a := &attrs[i]; a.Bool || a.Int != 0 || a.String != "" || len(a.Strings) > 0 {
			if some {
				b = append(b, ',')
			} else {
				b = append(b, `,"attrs":[`...)
			}
			b, some = appendAttr(b, a), true
		}
	}
	if some {
		b = append(b, ']')
	}
	return b
}

func appendAttr(b []byte, a *postern.Attr) []byte {
	b = appendString(append(b, `{"name":`...), a.Name)
	b = strconv.AppendInt(append(b, `,"kind":`...), int64(a.Kind), 10)
	b = optBool(b, `,"bool":true`, a.Bool)
	b = optInt(b, `,"int":`, a.Int)
	b = optString(b, `,"string":`, a.String)
	b = optStrings(b, `,"strings":`, a.Strings)
	return append(b, '}')
}

func appendParam(b []byte, p *postern.Param) []byte {
	b = append(b, `{"value":`...)
	if p.Value == nil {
		b = append(b, `null`...)
	} else {
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, p.Value)
		b = append(b, '"')
	}
	b = optBool(b, `,"null":true`, p.Null)
	b = optBool(b, `,"binary":true`, p.Binary)
	b = optInt(b, `,"type":`, int64(p.Type))
	return append(b, '}')
}

// appendVerdict appends the part of a decision that is nearly always the same.
func appendVerdict(b []byte, d *postern.Decision) []byte {
	b = appendString(append(b, `{"decision":`...), d.Verdict.String())
	b = optString(b, `,"rule":`, d.Rule)
	b = optString(b, `,"reason":`, d.Reason)
	if d.Review != nil {
		b = append(b, `,"review":{"approvers":`...)
		if d.Review.Approvers == nil {
			b = append(b, `null`...)
		} else {
			b = appendList(b, d.Review.Approvers, appendStringOf)
		}
		b = strconv.AppendInt(append(b, `,"approvals":`...), int64(d.Review.Approvals), 10)
		b = strconv.AppendInt(append(b, `,"timeout":`...), int64(d.Review.Timeout), 10)
		b = optString(b, `,"evidence":`, d.Review.Evidence)
		if c := d.Review.Commit; c != nil {
			b = strconv.AppendInt(append(b, `,"commit":{"hold":`...), int64(c.Hold), 10)
			b = strconv.AppendInt(append(b, `,"rows":`...), c.Rows, 10)
			b = append(strconv.AppendInt(append(b, `,"sample":`...), int64(c.Sample), 10), '}')
		}
		b = append(b, '}')
	}
	if len(d.Masks) > 0 {
		b = appendList(append(b, `,"masks":`...), d.Masks, appendMask)
	}
	return b
}

// appendTerms appends the rest of it.
func appendTerms(b []byte, d *postern.Decision) []byte {
	if d.Limit != nil {
		b = strconv.AppendInt(append(b, `,"limit":{"rows":`...), d.Limit.Rows, 10)
		b = appendString(append(b, `,"rule":`...), d.Limit.Rule)
		b = append(optString(b, `,"reason":`, d.Limit.Reason), '}')
	}
	b = optString(b, `,"policy":`, d.Policy)
	b = optInt(b, `,"n":`, d.N)
	b = optString(b, `,"request":`, d.Request)
	if len(d.Shadow) > 0 {
		b = appendList(append(b, `,"shadow":`...), d.Shadow, appendShadow)
	}
	if d.Transfer != nil {
		b = appendString(append(b, `,"transfer":{"access":`...), d.Transfer.Access)
		b = optInt(b, `,"files":`, d.Transfer.Files)
		b = append(optInt(b, `,"bytes":`, d.Transfer.Bytes), '}')
	}
	return append(b, '}')
}

func appendShadow(b []byte, s *postern.Shadow) []byte {
	b = appendString(append(b, `{"rule":`...), s.Rule)
	b = appendString(append(b, `,"verdict":`...), s.Verdict.String())
	b = optString(b, `,"reason":`, s.Reason)
	return append(b, '}')
}

func appendMask(b []byte, m *postern.Mask) []byte {
	b = appendString(append(b, `{"name":`...), m.Name)
	b = optStrings(b, `,"columns":`, m.Columns)
	b = optStrings(b, `,"detect":`, m.Detect)
	b = appendString(append(b, `,"with":`...), string(m.With))
	if m.Bucket != (postern.Bucket{}) {
		b = append(b, `,"bucket":{`...)
		comma := false
		if m.Bucket.Number != 0 {
			b = strconv.AppendInt(append(b, `"number":`...), m.Bucket.Number, 10)
			comma = true
		}
		if m.Bucket.Date != "" {
			if comma {
				b = append(b, ',')
			}
			b = appendString(append(b, `"date":`...), m.Bucket.Date)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendSession(b []byte, s *postern.SessionInfo) []byte {
	b = appendString(append(b, `{"id":`...), s.ID)
	b = appendString(append(b, `,"identity":`...), s.Identity)
	b = appendString(append(b, `,"kind":`...), string(s.Kind))
	b = appendString(append(b, `,"actor":`...), s.Actor)
	b = appendString(append(b, `,"resource":`...), s.Resource)
	b = appendString(append(b, `,"protocol":`...), s.Protocol)
	b = optString(b, `,"database":`, s.Database)
	b = optString(b, `,"token":`, s.Token)
	b = optString(b, `,"login":`, s.Login)
	b = optString(b, `,"access":`, s.Access)
	b = optString(b, `,"grant":`, s.Grant)
	b = appendString(append(b, `,"source":`...), s.Source)
	b = optString(b, `,"client":`, s.Client)
	b = appendTime(append(b, `,"started_at":`...), s.StartedAt)
	if !s.EndedAt.IsZero() {
		b = appendTime(append(b, `,"ended_at":`...), s.EndedAt)
	}
	b = strconv.AppendInt(append(b, `,"commands":`...), s.Commands, 10)
	b = strconv.AppendInt(append(b, `,"denied":`...), s.Denied, 10)
	b = strconv.AppendInt(append(b, `,"masked_values":`...), s.MaskedValues, 10)
	b = optString(b, `,"end_reason":`, s.EndReason)
	b = optString(b, `,"digest":`, s.Digest)
	return append(b, '}')
}

func appendRow(b []byte, row *[]*string) []byte {
	if *row == nil {
		return append(b, `null`...)
	}
	return appendList(b, *row, func(b []byte, v **string) []byte {
		if *v == nil {
			return append(b, `null`...)
		}
		return appendString(b, **v)
	})
}

func appendStringOf[S ~string](b []byte, s *S) []byte { return appendString(b, string(*s)) }

func appendList[T any](b []byte, list []T, item func([]byte, *T) []byte) []byte {
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, &list[i])
	}
	return append(b, ']')
}

func optString(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	return appendString(append(b, name...), v)
}

func optStrings(b []byte, name string, v []string) []byte {
	if len(v) == 0 {
		return b
	}
	return appendList(append(b, name...), v, appendStringOf)
}

func optInt(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), v, 10)
}

func optBool(b []byte, member string, v bool) []byte {
	if v {
		b = append(b, member...)
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size != 1 {
				i += size
				continue
			}
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', 'd', 'c', hexDigits[c>>4], hexDigits[c&15])
		} else if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		} else {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
