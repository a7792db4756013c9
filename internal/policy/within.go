package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Within bounds when and from where an access holds.
type Within struct {
	Hours    Hours          // empty: always
	Networks []netip.Prefix // empty: from everywhere
}

// at says whether it is within the hours at t, and until when; a zero time is
// forever.
func (w *Within) at(t time.Time) (until time.Time, ok bool) {
	if w == nil || len(w.Hours) == 0 {
		return time.Time{}, true
	}
	return w.Hours.At(t)
}

// from says whether source is in one of the networks. An address that isn't
// known is in none.
func (w *Within) from(source netip.Addr) bool {
	if w == nil || len(w.Networks) == 0 {
		return true
	}
	source = source.Unmap().WithZone("")
	return slices.ContainsFunc(w.Networks, func(p netip.Prefix) bool { return p.Contains(source) })
}
