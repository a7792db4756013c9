//go:build race

package postgres

// dropsPooled: under the race detector a sync.Pool drops what it is given, at
// random, so that buffers are made more often.
const dropsPooled = true
