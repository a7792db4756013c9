package search

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern"
)

// Readable is a scope whose recordings somebody may read.
type Readable struct {
	postern.SearchScope
	// Masked says that a mask may hide words of its commands: those that look
	// sensitive can't be looked for.
	Masked bool
}

// Hit is a command that was found.
type Hit struct {
	Session postern.SessionInfo
	N       int64
	Time    time.Time
	Command postern.Command  // as it is shown
	Verdict *postern.Verdict // nil: it isn't decided yet
}

// Show prepares to show a session's events to whoever searches: it returns what
// changes each into what they may see; nil: nothing of this session.
type Show func(*postern.SessionInfo) func(*postern.Event)

// Bounds of one search. What they cut off is had with the cursor.
const (
	maxSteps = 20_000 // looks into the index, beyond one for each scope and word
	maxParts = 200    // parts of recordings that are read
)

// ErrCursor is returned for a cursor that no search gave.
var ErrCursor = errors.New("that cursor is none of this list's")

// Search returns commands of the scopes in, at most limit, newest first by runs
// of commands, and where the next begin, or "". A search that looked at as much
// as one may returns fewer, and a cursor.
func (x *Index) Search(ctx context.Context, q Query, in []Readable, cursor string, limit int, show Show) (hits []Hit, next string, err error) {
	at, before, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	p := &parts{store: x.cfg.Store}
	if err := p.begin(ctx, x, q, in, at); err != nil {
		return nil, "", fmt.Errorf("search: %w", err)
	}
	for read := 0; ; read++ {
		id, ok, err := p.next(ctx)
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("search: %w", err)
		case !ok:
			return hits, "", nil
		case id < 0:
			return hits, formatCursor(-id, 0), nil
		case read == maxParts || len(hits) == limit:
			return hits, formatCursor(id, 0), nil
		}
		if id != at {
			before = 0
		}
		found, err := x.read(ctx, id, q, before, show)
		if err != nil {
			return nil, "", err
		}
		if room := limit - len(hits); len(found) > room {
			hits = append(hits, found[:room]...)
			return hits, formatCursor(id, found[room-1].N), nil
		}
		hits = append(hits, found...)
	}
}

// A cursor names a part, and a command of it before which to go on; 0: all of it.
func formatCursor(part, n int64) string {
	return strconv.FormatInt(part, 10) + "." + strconv.FormatInt(n, 10)
}

func parseCursor(text string) (part, before int64, err error) {
	if text == "" {
		return math.MaxInt64, 0, nil
	}
	a, b, _ := strings.Cut(text, ".")
	part, err1 := strconv.ParseInt(a, 10, 64)
	before, err2 := strconv.ParseInt(b, 10, 64)
	if err1 != nil || err2 != nil || part < 1 || before < 0 {
		return 0, 0, ErrCursor
	}
	return part, before, nil
}

// read returns the commands of a part that match as they are shown, latest
// first; of those before a number, unless that is 0.
func (x *Index) read(ctx context.Context, id int64, q Query, before int64, show Show) ([]Hit, error) {
	p, err := x.cfg.Store.SearchPart(ctx, id)
	if errors.Is(err, postern.ErrNotFound) {
		return nil, nil // it was deleted just now
	}
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	info, err := x.cfg.Store.Session(ctx, p.Session)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	shown := show(&info)
	if shown == nil {
		return nil, nil
	}
	if before == 0 || before > p.Last {
		before = p.Last + 1
	}
	var hits []Hit
	_, err = x.cfg.Recordings.Scan(p.Session, p.From, func(e *postern.Event, _ func() string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case e.Kind == postern.EventCommand && e.N > p.Last:
			return errPartRead
		case e.Kind == postern.EventCommand && e.Command != nil && e.N < before:
			if shown(e); q.Match(e.Command) {
				hits = append(hits, Hit{Session: info, N: e.N, Time: e.Time, Command: *e.Command})
			}
		case e.Kind == postern.EventDecision && e.Decision != nil:
			if i := slices.IndexFunc(hits, func(h Hit) bool { return h.N == e.N }); i >= 0 {
				hits[i].Verdict = &e.Decision.Verdict
			}
		}
		return nil
	})
	slices.Reverse(hits)
	switch {
	case err == nil, errors.Is(err, errPartRead):
		return hits, nil
	case errors.Is(err, postern.ErrNotFound):
		return nil, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	// One recording that was tampered with must not hide what others hold.
	x.cfg.Log.Error("recording can't be searched", "session", p.Session, "error", err)
	return nil, nil
}

var errPartRead = errors.New("the part is read")

// parts walks the parts that hold all words of a query, latest first over all
// scopes.
type parts struct {
	store Store
	steps int // taken since the beginning
	queue []*run
}

// run walks those of one scope.
type run struct {
	words [][2]int64 // a word's two forms; the same twice: only one counts
	at    int64      // the part it stands at
	whole bool       // it holds all words; else it is only the latest that can
}

func (p *parts) begin(ctx context.Context, x *Index, q Query, in []Readable, at int64) error {
	for _, s := range in {
		h := x.hasher(s.SearchScope)
		r := &run{at: at}
		for _, w := range q.words {
			forms := [2]int64{h.word(plain, w), h.word(sensitive, w)}
			if s.Masked {
				forms[1] = forms[0]
			}
			r.words = append(r.words, forms)
		}
		// Each word once: most scopes don't have them all, and end here.
		if _, err := p.once(ctx, r); err != nil {
			return err
		}
		if r.at > 0 {
			p.queue = append(p.queue, r)
		}
	}
	p.steps = 0
	heap.Init(p)
	return nil
}

// once moves a run to the latest part that each of its words allows, and says
// whether all of them name the one where it stood.
func (p *parts) once(ctx context.Context, r *run) (whole bool, err error) {
	whole = true
	for _, w := range r.words {
		p.steps++
		part, err := p.store.LatestPart(ctx, w[0], w[1], r.at)
		if err != nil {
			return false, err
		}
		if part != r.at {
			r.at, whole = part, false
		}
		if part == 0 {
			return false, nil
		}
	}
	return whole, nil
}

// next returns the next part; ok is false when there is none, and id is
// negative when as much was looked at as may be, and the next can't be later
// than that.
func (p *parts) next(ctx context.Context) (id int64, ok bool, err error) {
	for len(p.queue) > 0 {
		r := p.queue[0]
		if p.steps > maxSteps {
			return -r.at, true, nil
		}
		if !r.whole {
			if r.whole, err = p.once(ctx, r); err != nil {
				return 0, false, err
			}
			if r.at == 0 {
				heap.Pop(p)
			} else {
				heap.Fix(p, 0) // another scope's may be later now
			}
			continue
		}
		id := r.at
		r.at, r.whole = id-1, false
		heap.Fix(p, 0)
		return id, true, nil
	}
	return 0, false, nil
}

// The latest part comes first.

func (p *parts) Len() int           { return len(p.queue) }
func (p *parts) Less(i, j int) bool { return p.queue[i].at > p.queue[j].at }
func (p *parts) Swap(i, j int)      { p.queue[i], p.queue[j] = p.queue[j], p.queue[i] }
func (p *parts) Push(r any)         { p.queue = append(p.queue, r.(*run)) }
func (p *parts) Pop() any {
	last := p.queue[len(p.queue)-1]
	p.queue = p.queue[:len(p.queue)-1]
	return last
}

// Scopes returns every scope of which there is something to search.
func (x *Index) Scopes(ctx context.Context) ([]postern.SearchScope, error) {
	return x.cfg.Store.SearchScopes(ctx)
}
