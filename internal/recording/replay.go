package recording

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern"
)

// ReplayOptions say how fast a recording is shown.
type ReplayOptions struct {
	// Speed divides the time between events: 1 is as it happened, 2 twice as
	// fast. 0 waits for nothing.
	Speed float64
	// SkipIdle is the longest wait between two events, before Speed divides
	// it. 0: as long as it was.
	SkipIdle time.Duration
	// Show, which may be nil, changes each event into what the viewer may see.
	Show func(*postern.Event)
	// Sleep waits, or returns the context's error. nil: the system's clock.
	Sleep func(context.Context, time.Duration) error
}

// Replay prints a session as a transcript: each command with its number and
// its time since the session's start, what was decided, and what came of it.
// Whatever could move a terminal's cursor, change its colours or hide text is
// printed as an escape. An unfinished recording is shown as far as it goes, and
// says so; its [*UnfinishedError] is returned, as is any other error of the reader.
func Replay(ctx context.Context, w io.Writer, r *Reader, opts ReplayOptions) error {
	if opts.Sleep == nil {
		opts.Sleep = sleep
	}
	t := &transcript{w: bufio.NewWriter(w)}
	for {
		e, err := r.Next()
		if err != nil {
			return t.end(err)
		}
		if wait := opts.wait(t.last, e.Time); wait > 0 {
			if err := t.w.Flush(); err != nil {
				return err
			}
			if err := opts.Sleep(ctx, wait); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(err, t.w.Flush())
		}
		if opts.Show != nil {
			opts.Show(&e)
		}
		t.event(&e)
	}
}

func (o *ReplayOptions) wait(last, next time.Time) time.Duration {
	if o.Speed <= 0 || last.IsZero() {
		return 0
	}
	gap := next.Sub(last)
	if o.SkipIdle > 0 {
		gap = min(gap, o.SkipIdle)
	}
	return time.Duration(float64(gap) / o.Speed)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// transcript prints events. A write's error stays in the bufio.Writer and
// comes out at its Flush.
type transcript struct {
	w           *bufio.Writer
	start, last time.Time

	piece postern.Event   // the first of the pieces of output that are gathered
	text  strings.Builder // all of them
}

func (t *transcript) printf(format string, args ...any) { _, _ = fmt.Fprintf(t.w, format, args...) }

// indent is the width of the column of times.
const indent = 12

func (t *transcript) event(e *postern.Event) {
	if t.start.IsZero() {
		t.start = e.Time
	}
	t.last = e.Time
	if e.Kind == postern.EventOutput {
		t.output(e)
		return
	}
	t.printed(e.Kind)
	switch e.Kind {
	case postern.EventOpen:
		t.open(e)
	case postern.EventCommand:
		t.command(e)
	case postern.EventDecision:
		t.decision(e)
	case postern.EventReview:
		t.line(e, fmt.Sprintf("review %s: %s", safe(e.Review), safe(e.State)))
	case postern.EventResult:
		t.result(e)
	case postern.EventError:
		t.line(e, strings.TrimSpace("error "+safe(e.Code))+": "+safe(e.Text))
	case postern.EventNotice:
		t.line(e, "notice: "+safe(e.Text))
	case postern.EventInput:
		t.input(e)
	case postern.EventResize:
		t.line(e, "terminal "+safe(e.State))
	case postern.EventWatch:
		t.line(e, safe(e.Text)+" "+safe(e.State)+" to watch")
	case postern.EventClose:
		t.close(e)
	default:
		t.line(e, safe(string(e.Kind))+" "+safe(e.Text))
	}
}

// maxGathered bounds the output that is gathered into one entry.
const maxGathered = 64 << 10

// output gathers what one command prints: its pieces mean nothing to a reader.
func (t *transcript) output(e *postern.Event) {
	if t.text.Len() > 0 && (t.piece.N != e.N || t.piece.Stream != e.Stream) || t.text.Len() > maxGathered {
		t.printed(e.Kind)
	}
	if t.text.Len() == 0 {
		t.piece = *e
	}
	t.text.WriteString(e.Text)
}

// printed prints the output that was gathered. What is typed doesn't interrupt
// it: its echo is a part of it.
func (t *transcript) printed(next postern.EventKind) {
	if t.text.Len() == 0 || next == postern.EventInput {
		return
	}
	text := t.text.String()
	if t.piece.Stream == StreamTerminal {
		text = plainText(text)
	}
	name := t.piece.Stream
	if name == "" {
		name = "output"
	}
	t.line(&t.piece, safe(name)+":\n"+safeLines(text))
	t.text.Reset()
}

// input prints what was fed to a command. What was typed at a terminal is seen
// in what it showed.
func (t *transcript) input(e *postern.Event) {
	switch {
	case e.Bytes > 0 && e.Digest != "":
		t.line(e, fmt.Sprintf("input: %s (%s)", plural(e.Bytes, "byte"), safe(e.Digest)))
	case e.Bytes > 0:
		t.line(e, "typed "+plural(e.Bytes, "key")+" that the terminal didn't show")
	case t.text.Len() == 0 && strings.Trim(e.Text, "\r\n") != "":
		t.line(e, "typed: "+safeLines(e.Text))
	}
}

// line prints text behind the event's time; its further lines stand below it.
func (t *transcript) line(e *postern.Event, text string) {
	at := fmt.Sprintf("%-*s", indent, fmt.Sprintf("%+.3fs", e.Time.Sub(t.start).Seconds()))
	if e.N > 0 {
		at += fmt.Sprintf("#%d  ", e.N)
	}
	t.printf("%s%s\n", at, strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", len(at))))
}

func (t *transcript) open(e *postern.Event) {
	s := e.Session
	if s == nil {
		s = &postern.SessionInfo{}
	}
	t.printf("session %s, %s\n", safe(s.ID), e.Time.UTC().Format("2006-01-02 15:04:05 UTC"))
	who := safe(s.Identity) + " (" + safe(string(s.Kind)) + ")"
	if s.Actor != "" {
		who += ", through " + safe(s.Actor)
	}
	from := safe(s.Source)
	if s.Client != "" {
		from += " with " + safe(s.Client)
	}
	t.printf("%s from %s\n", who, from)
	what := safe(s.Resource) + " (" + safe(s.Protocol)
	if s.Database != "" {
		what += ", database " + safe(s.Database)
	}
	what += ")"
	if s.Access != "" {
		what += " by access " + safe(s.Access)
	}
	t.printf("%s\n\n", what)
}

func (t *transcript) command(e *postern.Event) {
	c := e.Command
	if c == nil {
		c = &postern.Command{}
	}
	text := safeLines(c.Text)
	for i := range c.Params {
		text += fmt.Sprintf("\n$%d = %s", i+1, param(&c.Params[i]))
	}
	if c.Problem != "" {
		text += "\nnot understood: " + safe(c.Problem)
	}
	t.line(e, text)
}

func param(p *postern.Param) string {
	switch {
	case p.Null || p.Value == nil:
		return "NULL"
	case p.Binary:
		return fmt.Sprintf(`\x%x`, clip(string(p.Value), maxParam))
	default:
		return "'" + safe(clip(string(p.Value), maxParam)) + "'"
	}
}

func (t *transcript) decision(e *postern.Event) {
	d := e.Decision
	if d == nil {
		d = &postern.Decision{}
	}
	text := map[postern.Verdict]string{postern.Deny: "denied", postern.NeedsReview: "needs a review", postern.Allow: "allowed"}[d.Verdict]
	if d.Rule != "" {
		text += " by " + safe(d.Rule)
	}
	if d.Reason != "" {
		text += ": " + safe(d.Reason)
	}
	t.line(e, text)
}

func (t *transcript) result(e *postern.Event) {
	text := safe(e.Tag)
	if text == "" {
		text = "done"
	}
	var notes []string
	if e.RowCount > 0 && len(e.Columns) > 0 {
		notes = append(notes, plural(e.RowCount, "row"))
	}
	if e.Masked > 0 {
		notes = append(notes, plural(e.Masked, "masked value"))
	}
	if e.Code != "" {
		notes = append(notes, "status "+safe(e.Code))
	}
	if e.Bytes > 0 && len(e.Columns) == 0 {
		notes = append(notes, plural(e.Bytes, "byte"))
	}
	if e.Digest != "" {
		notes = append(notes, safe(e.Digest))
	}
	if e.Text != "" {
		notes = append(notes, safe(e.Text))
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, ", ") + ")"
	}
	if len(e.Columns) > 0 || len(e.Rows) > 0 {
		text += "\n" + table(e.Columns, e.Rows)
	}
	if more := e.RowCount - int64(len(e.Rows)); more > 0 && len(e.Rows) > 0 {
		text += "\n… " + plural(more, "more row") + " not kept in the recording"
	}
	t.line(e, text)
}

func (t *transcript) close(e *postern.Event) {
	text := "the session ended"
	if e.Text != "" {
		text += ": " + safe(e.Text)
	}
	if s := e.Session; s != nil {
		text += fmt.Sprintf("\n%s, %d denied, %s", plural(s.Commands, "command"), s.Denied, plural(s.MaskedValues, "masked value"))
	}
	t.printf("\n")
	t.line(e, text)
}

func (t *transcript) end(err error) error {
	t.printed(postern.EventClose)
	var unfinished *UnfinishedError
	var tampered *TamperedError
	switch {
	case errors.Is(err, io.EOF):
		err = nil
	case errors.As(err, &unfinished), errors.As(err, &tampered):
		t.printf("\n%s\n", err)
	}
	return errors.Join(err, t.w.Flush())
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
