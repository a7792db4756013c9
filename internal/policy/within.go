package policy

import (
	"net/netip"
)

// Within bounds when and from where an access holds.
type Within struct {
	Hours    Hours          // empty: always
	Networks []netip.Prefix // empty: from everywhere
}

// Hours are weekly windows of time.
type Hours []window

type window struct{}
