package main

import "testing"

// What grows faster than its size is told, and what a noisy machine makes of a
// linear cost isn't.
func TestGrows(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to float64
		want     string
		steep    int
	}{
		{"constant", 100, 100, "0.00", 0},
		{"cheaper", 100, 80, "0.00", 0},
		{"linear", 100, 1000, "1.00", 0},
		{"linear and noise", 100, 1300, "1.11", 0},
		{"quadratic", 100, 10_000, "**2.00**", 1},
		{"unknown", 0, 100, "", 0},
	} {
		table := &table{}
		if got := table.grows("cost", 10, c.from, 100, c.to); got != c.want || len(table.steep) != c.steep {
			t.Errorf("%s: %q and %q; want %q", c.name, got, table.steep, c.want)
		}
	}
	first := &table{}
	if got := first.grows("cost", 0, 0, 1, 5); got != "" || len(first.steep) != 0 {
		t.Errorf("the first point grows as %q", got)
	}
}
