// Package search finds commands of all sessions by their words.
//
// The text of commands is in the recordings alone, each sealed with a key of its
// own. The index holds keyed hashes of their words, of runs of commands and
// bound to a scope: whose commands, with what. What it picks is read in the
// recording, and compared, before it is shown. Words that look sensitive are
// kept apart from the others: who sees such words masked can't look for them,
// and learns nothing from how long it takes. A search touches nothing of scopes
// that whoever searches may not read.
//
// Commands are indexed from the recordings' files, some seconds after they came,
// and never by who records them.
package search

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"postern"
	"postern/internal/mask"
)

// Store keeps the index. *store.DB is one.
type Store interface {
	SearchScopes(context.Context) ([]postern.SearchScope, error)
	SearchState(ctx context.Context, session string) (postern.SearchState, error)
	Unsearched(ctx context.Context, before string, limit int) ([]string, error)
	PutSearchPart(ctx context.Context, scope postern.SearchScope, session, from string, part *postern.SearchPart, to postern.SearchState) (added bool, err error)
	// Together makes what do writes, and the entries, one transaction.
	Together(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error
	ForgetCommands(ctx context.Context, session string) error
	LatestPart(ctx context.Context, word, or, atOrBefore int64) (int64, error)
	SearchPart(ctx context.Context, id int64) (postern.SearchPart, error)
	Session(ctx context.Context, id string) (postern.SessionInfo, error)
}

// Recordings reads recordings from a place on. *recording.Folder does.
type Recordings interface {
	Scan(id, from string, fn func(e *postern.Event, after func() string) error) (finished bool, err error)
	// ScanTexts is Scan with no more than the texts and parameters of commands;
	// of other events e is nil.
	ScanTexts(id, from string, fn func(e *postern.Event, after func() string) error) (finished bool, err error)
}

// Config is what an Index is made of. Everything is required.
type Config struct {
	Store      Store
	Recordings Recordings
	Key        []byte // of the hashes of words; 32 bytes, the same ever after
	// Live are the sessions that are open.
	Live func() []postern.SessionInfo
	Log  *slog.Logger
}

// Index finds commands. Its methods may be called from several goroutines.
type Index struct {
	cfg  Config
	text *mask.Text // hides all that looks sensitive

	mu    sync.Mutex
	ended []string // sessions to index, and those of which there is more to
	woken chan struct{}
}

// New makes an index.
func New(cfg Config) (*Index, error) {
	if cfg.Store == nil || cfg.Recordings == nil || cfg.Live == nil || cfg.Log == nil || len(cfg.Key) != sha256.Size {
		return nil, errors.New("search: a part of the configuration is missing")
	}
	all := postern.Mask{With: postern.MaskRedact}
	for _, d := range mask.Detectors() {
		all.Detect = append(all.Detect, d.Name)
	}
	return &Index{cfg: cfg, text: mask.NewText([]postern.Mask{all}, nil), woken: make(chan struct{}, 1)}, nil
}

// form tells the words that anybody may look for who may read a command from
// those that a mask may hide.
type form byte

const (
	plain     form = 'p'
	sensitive form = 's'
)

// hasher makes the index's words of one scope. It is for one goroutine.
type hasher struct {
	mac  hash.Hash
	sum  []byte
	room []byte
	// known are words that were made before: those of statements come again.
	known map[string]int64
}

// maxKnown bounds them.
const maxKnown = 4 << 10

func (x *Index) hasher(s postern.SearchScope) *hasher {
	h := hmac.New(sha256.New, x.cfg.Key)
	for _, part := range []string{s.Resource, s.Identity, string(s.Kind), s.Actor} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		_, _ = h.Write([]byte(part)) // a hash never returns an error
	}
	return &hasher{mac: hmac.New(sha256.New, h.Sum(nil)), known: map[string]int64{}}
}

func (h *hasher) word(f form, word string) int64 {
	h.room = append(append(h.room[:0], byte(f)), word...)
	if known, ok := h.known[string(h.room)]; ok {
		return known
	}
	h.mac.Reset()
	_, _ = h.mac.Write(h.room) // a hash never returns an error
	h.sum = h.mac.Sum(h.sum[:0])
	made := int64(binary.BigEndian.Uint64(h.sum))
	if len(h.known) >= maxKnown {
		clear(h.known)
	}
	h.known[string(h.room)] = made
	return made
}

// words are a command's words as the index has them.
func (x *Index) words(h *hasher, c *postern.Command) []int64 {
	words := commandWords(c)
	all := make([]int64, len(words))
	hidden, hits := x.text.Mask(nil, []byte(c.Text))
	if hits == 0 && len(c.Params) == 0 {
		for i, w := range words {
			all[i] = h.word(plain, w)
		}
		return all
	}
	open := Words(string(hidden))
	for i, w := range words {
		f := sensitive
		if _, ok := slices.BinarySearch(open, w); ok {
			f = plain
		}
		all[i] = h.word(f, w)
	}
	return all
}

// A part is full with so many commands, words, or bytes of text.
const (
	partCommands = 256
	partWords    = 1024
	partBytes    = 1 << 20
)

// part gathers a run of commands.
type part struct {
	postern.SearchPart
	commands, bytes int
	words           map[int64]struct{}
}

func (p *part) add(e *postern.Event, words []int64) {
	if p.commands == 0 {
		p.ID, p.First = max(e.Time.UnixMicro(), 1), e.N
		p.words = make(map[int64]struct{}, len(words))
	}
	p.Last = e.N
	p.commands++
	p.bytes += len(e.Command.Text)
	for _, w := range words {
		p.words[w] = struct{}{}
	}
}

func (p *part) full() bool {
	return p.commands >= partCommands || len(p.words) >= partWords || p.bytes >= partBytes
}

// errSuperseded ends the reading of a recording that somebody else indexes, or
// that was deleted.
var errSuperseded = errors.New("indexed elsewhere, or deleted")

// errGone says that a recording was deleted by other means.
var errGone = errors.New("the recording is gone")

// errEnough ends the reading of a recording, which goes on at its next turn.
var errEnough = errors.New("worked for long enough")

// Add brings the index up to what a session's recording holds now.
func (x *Index) Add(ctx context.Context, session string) error {
	_, err := x.addUntil(ctx, session, time.Time{}, x.put)
	return err
}

// putting writes what was made of a run of commands. The part is its own to keep.
type putting func(ctx context.Context, scope postern.SearchScope, session, from string, part *postern.SearchPart, to postern.SearchState) error

func (x *Index) put(ctx context.Context, scope postern.SearchScope, session, from string, part *postern.SearchPart, to postern.SearchState) error {
	added, err := x.cfg.Store.PutSearchPart(ctx, scope, session, from, part, to)
	if err == nil && !added {
		err = errSuperseded
	}
	return err
}

// addUntil is Add until a moment, or a little longer; the zero time is never. It
// says whether there is more to add.
func (x *Index) addUntil(ctx context.Context, session string, until time.Time, write putting) (more bool, err error) {
	err = x.add(ctx, session, until, write)
	switch {
	case errors.Is(err, errEnough):
		return true, nil
	case errors.Is(err, errSuperseded):
		return false, nil
	case errors.Is(err, errGone):
		return false, x.cfg.Store.ForgetCommands(ctx, session)
	case err != nil:
		return false, fmt.Errorf("index the commands of session %s: %w", session, err)
	}
	return false, nil
}

func (x *Index) add(ctx context.Context, session string, until time.Time, write putting) error {
	state, err := x.cfg.Store.SearchState(ctx, session)
	if err != nil || state.Done {
		return err
	}
	info, err := x.cfg.Store.Session(ctx, session)
	if err != nil {
		return err
	}
	scope := scopeOf(&info)
	words := x.hasher(scope)
	at := state.Next
	now := part{SearchPart: postern.SearchPart{Session: session, From: at}}
	put := func(to postern.SearchState) error {
		var p *postern.SearchPart
		if now.commands > 0 {
			made := now.SearchPart
			made.Words = slices.Sorted(maps.Keys(now.words)) // neighbours in the store
			p = &made
		}
		err := write(ctx, scope, session, at, p, to)
		at = to.Next
		now = part{SearchPart: postern.SearchPart{Session: session, From: at}}
		return err
	}
	end := at // the last place behind which reading can go on
	finished, err := x.cfg.Recordings.ScanTexts(session, at, func(e *postern.Event, after func() string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e != nil {
			now.add(e, x.words(words, e.Command))
		}
		place := after()
		if place == "" {
			return nil
		}
		end = place
		enough := !until.IsZero() && time.Now().After(until)
		if !enough && !now.full() {
			return nil
		}
		if err := put(postern.SearchState{Next: place}); err != nil || !enough {
			return err
		}
		return errEnough
	})
	if errors.Is(err, postern.ErrNotFound) {
		return errGone
	}
	if err != nil {
		return err
	}
	if finished || end != at && now.commands > 0 {
		return put(postern.SearchState{Next: end, Done: finished})
	}
	return nil
}

func scopeOf(info *postern.SessionInfo) postern.SearchScope {
	return postern.SearchScope{Resource: info.Resource, Identity: info.Identity, Kind: info.Kind, Actor: info.Actor}
}

// Forget removes what was indexed of a session's recording, for good. It comes
// before the recording's own end.
func (x *Index) Forget(ctx context.Context, session string) error {
	return x.cfg.Store.ForgetCommands(ctx, session)
}

// Ended says that a session's recording has its end, or more in it than was
// indexed. It doesn't wait.
func (x *Index) Ended(session string) {
	x.mu.Lock()
	x.ended = append(x.ended, session)
	x.mu.Unlock()
	select {
	case x.woken <- struct{}{}:
	default:
	}
}

func (x *Index) takeEnded() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.ended
	x.ended = nil
	return all
}

const (
	liveEvery = 10 * time.Second // how late commands of open sessions are found
	// restFor is how long indexing rests, as a multiple of what it worked: it
	// takes a tenth of one processor at most.
	restFor = 9
	// slice is how long it works at one recording at a time: a large one holds
	// up neither the processor nor the others.
	slice = 250 * time.Millisecond
	page  = 100
	// gather is how long a session that has ended waits for others, and atOnce how
	// many are written in one transaction.
	gather = 500 * time.Millisecond
	atOnce = 64
)

// Run indexes sessions as they end, open ones now and then, and first what an
// earlier process left behind, until ctx ends.
func (x *Index) Run(ctx context.Context) error {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	seen := map[string]int64{} // commands of open sessions, when they were indexed
	behind := make(chan string, 1)
	behind <- ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-x.woken:
			pause(ctx, gather)
			x.indexAll(ctx, x.takeEnded())
		case <-tick.C:
			seen = x.indexLive(ctx, seen)
		case before := <-behind:
			if next := x.catchUp(ctx, before); next != "" {
				behind <- next
			}
		}
	}
}

// catchUp indexes a page of the ended sessions that aren't, and returns where
// the next begins, or "".
func (x *Index) catchUp(ctx context.Context, before string) string {
	ids, err := x.cfg.Store.Unsearched(ctx, before, page)
	if err != nil {
		if ctx.Err() == nil {
			x.cfg.Log.Warn("sessions to index not read", "error", err)
		}
		return ""
	}
	x.indexAll(ctx, ids)
	if len(ids) < page {
		return ""
	}
	return ids[len(ids)-1]
}

func (x *Index) indexLive(ctx context.Context, seen map[string]int64) map[string]int64 {
	now := map[string]int64{}
	var changed []string
	for _, s := range x.cfg.Live() {
		now[s.ID] = s.Commands
		if before, ok := seen[s.ID]; !ok || before != s.Commands {
			changed = append(changed, s.ID)
		}
	}
	x.indexAll(ctx, changed)
	return now
}

func (x *Index) indexAll(ctx context.Context, sessions []string) {
	for len(sessions) > 0 && ctx.Err() == nil {
		begun := time.Now()
		n := x.indexSome(ctx, sessions[:min(len(sessions), atOnce)], begun.Add(slice))
		sessions = sessions[n:]
		pause(ctx, restFor*time.Since(begun))
	}
}

// indexSome indexes sessions until a moment, or a little longer, and says how many
// it came to. The last part of each, for most the only one, is written with the
// others' in one transaction.
func (x *Index) indexSome(ctx context.Context, sessions []string, until time.Time) int {
	var last []func(context.Context) error
	later := func(ctx context.Context, scope postern.SearchScope, session, from string, part *postern.SearchPart, to postern.SearchState) error {
		if !to.Done {
			return x.put(ctx, scope, session, from, part, to)
		}
		last = append(last, func(ctx context.Context) error {
			if err := x.put(ctx, scope, session, from, part, to); !errors.Is(err, errSuperseded) {
				return err
			}
			return nil
		})
		return nil
	}
	n := 0
	for _, id := range sessions {
		if n > 0 && time.Now().After(until) {
			break
		}
		n++
		more, err := x.addUntil(ctx, id, until, later)
		if err != nil && ctx.Err() == nil {
			x.cfg.Log.Warn("commands not indexed", "session", id, "error", err)
		}
		if more {
			x.Ended(id) // it goes on behind the others
		}
	}
	if len(last) == 0 {
		return n
	}
	err := x.cfg.Store.Together(ctx, func() []postern.AuditEntry { return nil }, func(ctx context.Context) error {
		for _, put := range last {
			if err := put(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		x.cfg.Log.Warn("commands not indexed", "sessions", len(last), "error", err)
	}
	return n
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
