//go:build !linux

package pgcluster

func inMemory() string { return "" }
