package gate

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern"
)

// Witness is a protocol's part in what approvers are shown: what the server
// itself makes of commands that wait. It is optional. It runs nothing that
// changes anything, tells no stored value, and says in Missing what it couldn't
// find out, and why. counts says whether rows may be counted.
type Witness func(ctx context.Context, cmds []postern.Command, counts bool) postern.Evidence

const (
	// evidenceTime bounds what a command waits for its evidence before people
	// are asked.
	evidenceTime = 4 * time.Second
	// recentKept is how many of a session's latest commands approvers see.
	recentKept = 10
	maxRecent  = 500 // bytes of each text
)

// Testify sets the session's witness, before its first decision.
func (s *Session) Testify(w Witness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.witness = w
}

// remember keeps a decided command for approvers of later ones.
func (s *Session) remember(d *postern.Decision, cmds []postern.Command) {
	if len(cmds) == 0 {
		return
	}
	text := cmds[0].Text
	for i := 1; i < len(cmds) && len(text) < maxRecent; i++ {
		text += cmds[i].Text
	}
	if len(text) > maxRecent {
		text = strings.ToValidUTF8(text[:maxRecent], "") + "…"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) == recentKept {
		s.recent = append(s.recent[:0], s.recent[1:]...)
	}
	s.recent = append(s.recent, postern.Recent{N: d.N, Text: text, Decision: d.Verdict})
}

// evidence gathers what approvers are shown besides the text. A condition on a
// column that is masked for anybody would tell its values by the number of
// rows, also to approvers for whom it is masked: then the server isn't asked.
func (s *Session) evidence(ctx context.Context, terms *postern.ReviewTerms, cmds []postern.Command) *postern.Evidence {
	if terms.Evidence == postern.EvidenceNone {
		return nil
	}
	s.mu.Lock()
	witness, recent := s.witness, slices.Clone(s.recent)
	s.mu.Unlock()
	e := &postern.Evidence{Recent: recent}
	if witness == nil {
		e.Missing = []string{"no estimate, because this protocol has none"}
		return e
	}
	set := s.gate.cfg.Policy()
	for i := range cmds {
		if column, ok := set.Tells(s.resource.Name, &cmds[i]); ok {
			e.Missing = []string{"no estimate and no count, because a condition looks at " + column + ", which is masked for some: they would tell its values"}
			return e
		}
	}
	ctx, cancel := context.WithTimeout(ctx, evidenceTime)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	found := witness(ctx, cmds, terms.Evidence == postern.EvidenceCount)
	found.Recent = recent
	return &found
}
