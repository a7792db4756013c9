package server

import "testing"

func TestPace(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name            string
		allocated, live uint64
		want            int
	}{
		{"idle", 0, 15 * mib, 100},
		{"nearly idle", busyRate - 1, 15 * mib, 100},
		{"busy, little is live", 30 * mib, 8 * mib, 800},
		{"busy, some is live", 30 * mib, 32 * mib, 400},
		{"busy, much is live", 30 * mib, 128 * mib, 100},
		{"busy, very much is live", 900 * mib, 4096 * mib, 100},
		{"nothing is known to be live", 30 * mib, 0, 800},
	} {
		if got := pace(c.allocated, c.live); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
