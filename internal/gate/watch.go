package gate

import (
	"context"
	"slices"
	"sync"

	"postern"
)

// maxNews bounds what waits to be told to a client that takes nothing.
const maxNews = 64

// audience is who follows a session while it lives, and what its client is yet
// to be told of them.
type audience struct {
	mu   sync.Mutex // guards what follows; taken before the session's own
	who  []string   // as often as they follow it
	news []string
	tell func(words string) // nil: the client can't be told
	busy chan struct{}      // closed when a goroutine that tells has ended; nil: there is none
}

// Watch tells a live session that somebody follows it, and returns what tells it
// that they have stopped. Nobody follows a session whose client can't be told:
// that is a *[DeniedError]. [postern.ErrNotFound]: it isn't live on this gateway.
func (g *Gate) Watch(id, who string) (stop func(), err error) {
	g.mu.Lock()
	s := g.live[id]
	g.mu.Unlock()
	if s == nil || s.ctx.Err() != nil {
		return nil, postern.ErrNotFound
	}
	a := &s.audience
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.tell == nil:
		return nil, &DeniedError{Reason: "the session's client can't be told that it is watched, so nobody may watch it: it isn't fully connected yet, or has nothing open that could show it, as a connection that only forwards ports. Try again later, or read the recording when it has ended.", Session: id}
	case len(a.news) >= maxNews:
		return nil, &DeniedError{Reason: "the session's client doesn't take what it is told, so nobody else may begin to watch it. Try again later.", Session: id}
	}
	if !slices.Contains(a.who, who) {
		if err := s.recordWatch(who, postern.WatchBegan); err != nil {
			return nil, err
		}
		a.say(s.ctx, watches(who))
	}
	a.who = append(a.who, who)
	return sync.OnceFunc(func() { s.unwatch(who) }), nil
}

// unwatch tells the session that somebody has stopped, if it lives yet.
func (s *Session) unwatch(who string) {
	a := &s.audience
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.who, who); i >= 0 {
		a.who = slices.Delete(a.who, i, i+1)
	}
	if slices.Contains(a.who, who) {
		return
	}
	if s.recordWatch(who, postern.WatchEnded) == nil {
		a.say(s.ctx, "postern: "+who+" has stopped watching this session")
	}
}

func watches(who string) string { return "postern: " + who + " is watching this session" }

// say has the client told, by a goroutine that lives no longer than there is
// news: most sessions are never watched. The caller holds mu.
func (a *audience) say(ctx context.Context, words string) {
	if a.tell == nil {
		return
	}
	a.news = append(a.news, words)
	if a.busy != nil {
		return
	}
	busy, tell := make(chan struct{}), a.tell
	a.busy = busy
	go func() {
		defer close(busy)
		for words, ok := a.next(ctx); ok; words, ok = a.next(ctx) {
			tell(words)
		}
	}()
}

// recordWatch keeps who began or stopped. A session that is being closed takes
// no more events.
func (s *Session) recordWatch(who, state string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ctx.Err() != nil {
		return postern.ErrNotFound
	}
	return s.Record(postern.Event{Kind: postern.EventWatch, State: state, Text: who})
}

// Tell is called by a protocol that can tell its client what is no answer to
// anything, once it can: who watches the session is told so. tell is called by
// one goroutine, in order, until release is called, which waits for it; it may
// wait for the client. A client that can be told only at times is one for which
// it is called again after each release; nobody begins to watch it in between.
func (s *Session) Tell(tell func(words string)) (release func()) {
	a := &s.audience
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tell = tell
	return func() {
		a.mu.Lock()
		a.tell = nil
		busy := a.busy
		a.mu.Unlock()
		if busy != nil {
			<-busy
		}
	}
}

// next takes what is to be told next. Without, whoever tells is done.
func (a *audience) next(ctx context.Context) (words string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.news) == 0 || a.tell == nil || ctx.Err() != nil {
		a.busy = nil
		return "", false
	}
	words = a.news[0]
	a.news = a.news[1:]
	return words, true
}

// Watched is what a part of the client that comes later is to be told: a line for
// each who watches the session now.
func (s *Session) Watched() []string {
	a := &s.audience
	a.mu.Lock()
	defer a.mu.Unlock()
	var lines []string
	for i, who := range a.who {
		if !slices.Contains(a.who[:i], who) {
			lines = append(lines, watches(who))
		}
	}
	return lines
}
