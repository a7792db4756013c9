package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"postern"
)

// Digester computes the digest of a session's recording from its file. It needs
// no key. What isn't there is fs.ErrNotExist.
type Digester func(session string) (string, error)

// recordings gathers what a log says of recordings, and compares.
type recordings struct {
	closed map[string]closing
}

// closing is a session's end.
type closing struct {
	seq    int64
	digest string // "": its recording had no end by then
}

// note takes an entry in.
func (r *recordings) note(seq int64, e *postern.AuditEntry) {
	switch {
	case e.Action == "session.close":
		if r.closed == nil {
			r.closed = map[string]closing{}
		}
		r.closed[e.Session] = closing{seq, e.Digest}
	case e.Action == ActionFinished && e.Digest != "":
		if c, ok := r.closed[e.Session]; ok && c.digest == "" {
			r.closed[e.Session] = closing{seq, e.Digest}
		}
	case e.Action == ActionShredded && e.Outcome == "ok":
		delete(r.closed, e.Session) // it needn't be there any more
	}
}

// ActionShredded is the action of an entry that says that a recording's key was
// destroyed.
const ActionShredded = "recording.delete"

// ActionFinished is the action of an entry that has the digest of a recording which
// had no end when its session's end was entered.
const ActionFinished = "recording.finished"

// mostNamed is how many recordings are named that aren't as they should be.
const mostNamed = 100

// check compares every recording with its digest, in the order of the log, and
// counts those that are as they should be. The error names all others.
func (r *recordings) check(ctx context.Context, digest Digester) (int64, error) {
	sessions := slices.SortedFunc(maps.Keys(r.closed), func(a, b string) int { return cmp.Compare(r.closed[a].seq, r.closed[b].seq) })
	var checked, more int64
	var bad *TamperedError
	named := 0
	for _, id := range sessions {
		if err := ctx.Err(); err != nil {
			return checked, err
		}
		c := r.closed[id]
		reason := c.compare(id, digest)
		switch {
		case reason == "":
			checked++
			continue
		case bad == nil:
			bad = &TamperedError{Seq: c.seq, Reason: reason}
		case named < mostNamed:
			bad.Reason += fmt.Sprintf("; at entry %d: %s", c.seq, reason)
		default:
			more++
		}
		named++
	}
	if more > 0 {
		bad.Reason += fmt.Sprintf("; and %d more", more)
	}
	if bad != nil {
		return checked, bad
	}
	return checked, nil
}

// compare says what is wrong with a session's recording; "": nothing.
func (c closing) compare(id string, digest Digester) string {
	if c.digest == "" {
		return "the recording of session " + id + " has no digest in the log: it was damaged, or isn't finished yet"
	}
	got, err := digest(id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the recording of session " + id + " is missing, and no entry says that it was deleted"
	case err != nil:
		return fmt.Sprintf("the recording of session %s isn't what was written: %v", id, err)
	case got != c.digest:
		return fmt.Sprintf("the recording of session %s was replaced: its digest is %s, and %s was written", id, got, c.digest)
	}
	return ""
}
