//go:build !race

package postgres

// dropsPooled: see the other file of this constant.
const dropsPooled = false
