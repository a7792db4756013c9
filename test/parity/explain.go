package main

import (
	"context"
	"os/exec"
	"strings"

	"postern/internal/pgserver"
)

// explanations say of tests that differ why that is right.
var explanations = map[string]string{}

// serverVersion is what the server says of itself.
func serverVersion(ctx context.Context) string {
	postgres, err := pgserver.Binary("postgres")
	if err != nil {
		return err.Error()
	}
	out, err := exec.CommandContext(ctx, postgres, "--version").Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "postgres (PostgreSQL) ")
}
