//go:build !linux

package server

// clockTrusted has nobody to ask here.
func clockTrusted() error { return nil }
