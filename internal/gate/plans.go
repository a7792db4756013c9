package gate

import (
	"slices"
	"sync"

	"postern"
	"postern/internal/mask"
)

// keptPlans bounds how many lists of masks are kept ready. There are as many as
// there are combinations of masks that bind somebody who is here.
const keptPlans = 128

// planned is a list of masks, made ready.
type planned struct {
	masks []postern.Mask
	plan  *mask.Plan
}

// is compares all that a mask says: a name alone may mean something else since
// the policy was changed.
func (p *planned) is(masks []postern.Mask) bool {
	return slices.EqualFunc(p.masks, masks, func(a, b postern.Mask) bool {
		return a.Name == b.Name && a.With == b.With && a.Bucket == b.Bucket && slices.Equal(a.Columns, b.Columns) && slices.Equal(a.Detect, b.Detect)
	})
}

// plans are the lists of masks that sessions share, latest first.
type plans struct {
	mu   sync.Mutex
	kept []*planned
}

func (p *plans) find(masks []postern.Mask, key []byte) *planned {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.kept, func(one *planned) bool { return one.is(masks) })
	var found *planned
	switch {
	case i >= 0:
		found = p.kept[i]
		p.kept = slices.Delete(p.kept, i, i+1)
	default:
		found = &planned{masks: slices.Clone(masks), plan: mask.NewPlan(masks, key)}
		p.kept = p.kept[:min(len(p.kept), keptPlans-1)]
	}
	p.kept = slices.Insert(p.kept, 0, found)
	return found
}

// plan returns masks made ready. A session's decisions nearly always carry the
// same ones.
func (s *Session) plan(masks []postern.Mask) *mask.Plan {
	if last := s.planned.Load(); last != nil && last.is(masks) {
		return last.plan
	}
	found := s.gate.plans.find(masks, []byte(s.gate.cfg.MaskKey.Reveal()))
	s.planned.Store(found)
	return found.plan
}
