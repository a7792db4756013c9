package ssh

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxVisitors bounds the clients that aren't logged in yet, of everybody …
	maxVisitors = 512
	// … and of one address: a flood from one place keeps nobody else out.
	maxVisitorsOfOne = 64
)

// visitors counts the clients that aren't logged in yet.
type visitors struct {
	mu    sync.Mutex
	all   int
	count map[netip.Prefix]int
}

func newVisitors() *visitors { return &visitors{count: make(map[netip.Prefix]int)} }

// enter makes room for a client, or says that there is none. leave is called
// once, when it has logged in or gone.
func (v *visitors) enter(from net.Addr) (leave func(), ok bool) {
	key := prefixOf(from)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all >= maxVisitors || v.count[key] >= maxVisitorsOfOne {
		return nil, false
	}
	v.all++
	v.count[key]++
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.all--
		if v.count[key]--; v.count[key] == 0 {
			delete(v.count, key)
		}
	}, true
}

// prefixOf is whom an address stands for: in IPv6, one person has a /64.
func prefixOf(from net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := at.Addr().Unmap(), 64
	if addr.Is4() {
		bits = 32
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
