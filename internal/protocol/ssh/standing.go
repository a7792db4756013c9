package ssh

import (
	"slices"
	"sync"
	"time"

	"postern"
	"postern/internal/gate"
)

// standing is a decision over what goes on for a while: a command that runs, an
// open file, a forwarded port. It is decided over again, by the same commands,
// when the policy has changed, and every second in between: accesses end by the
// clock, too.
type standing struct {
	s    *gate.Session
	now  func() time.Time
	cmds []postern.Command
	end  func() // ends what goes on, once it may not any more; nil: it notices itself

	mu   sync.Mutex // guards what follows
	d    postern.Decision
	seen time.Time // when it was decided last
	over error     // why it may not go on
}

// lookAgain is how often what stands is decided over again.
const lookAgain = time.Second

func (l *link) stand(d postern.Decision, end func(), cmds ...postern.Command) *standing {
	return &standing{s: l.s, now: l.p.o.Now, cmds: cmds, end: end, d: d, seen: l.p.o.Now()}
}

// holds says whether it may go on: a *refusal if not. It is asked before
// anything passes.
func (w *standing) holds() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if w.over != nil || w.s.Current(w.d) && now.Sub(w.seen) < lookAgain {
		return w.over
	}
	again := w.s.Preview(w.cmds...)
	switch {
	case again.Verdict == postern.Deny,
		again.Verdict == postern.NeedsReview && w.d.Review == nil, // nobody has approved it
		!slices.EqualFunc(again.Masks, w.d.Masks, func(a, b postern.Mask) bool {
			return a.Name == b.Name && a.With == b.With && slices.Equal(a.Detect, b.Detect)
		}):
		w.over = &refusal{words: "postern: the policy has changed for what runs here; start it again", status: statusDenied}
		return w.over
	}
	w.d.Policy, w.d.Transfer, w.seen = again.Policy, again.Transfer, now
	return nil
}

// decision is what was decided last.
func (w *standing) decision() postern.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.d
}

// pass counts bytes that are about to pass. An error says that they must not.
func (w *standing) pass(n int) error {
	if err := w.holds(); err != nil {
		return err
	}
	w.mu.Lock()
	limit := w.d.Transfer
	w.mu.Unlock()
	if err := w.s.Transfer(limit, 0, int64(n)); err != nil {
		return &refusal{words: err.Error(), status: statusDenied}
	}
	return nil
}

// ended is why it ended, if it was ended.
func (w *standing) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
}

// opens counts a file that is opened.
func (w *standing) opens() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.s.Transfer(w.d.Transfer, 1, 0); err != nil {
		return &refusal{words: err.Error(), status: statusDenied}
	}
	return nil
}

// keep has what stands looked at while nothing passes, until release is called.
func (l *link) keep(w *standing) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.standing[w] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.standing, w)
	}
}

// lookAfter ends what may not go on, until the link ends.
func (l *link) lookAfter() {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		all := make([]*standing, 0, len(l.standing))
		for w := range l.standing {
			all = append(all, w)
		}
		l.mu.Unlock()
		for _, w := range all {
			if w.holds() != nil {
				w.end()
			}
		}
	}
}
