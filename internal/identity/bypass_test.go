package identity_test

import (
	"net/netip"
	"testing"

	"postern"
	"postern/internal/identity"
)

// Who has one IPv6 network has more addresses than there are passwords: its
// tries count together.
func TestTriesCountByIPv6Network(t *testing.T) {
	h := newHouse(t)
	must(h.PutUser(t.Context(), "alice", nil, postern.NewSecret("correct horse")))(t)
	address := netip.MustParseAddr("2001:db8::1")
	var err error
	for range 11 {
		_, err = h.AuthenticatePassword(t.Context(), "alice", postern.NewSecret("wrong horse"), address)
		address = address.Next()
	}
	is(t, err, identity.ErrTooMany, "too many")
	if _, err := h.AuthenticatePassword(t.Context(), "alice", postern.NewSecret("correct horse"), netip.MustParseAddr("2001:db8:0:1::1")); err != nil {
		t.Errorf("another network: %v", err)
	}
}
