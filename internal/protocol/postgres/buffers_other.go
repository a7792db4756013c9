//go:build !unix

package postgres

import "io"

// A waiter would read without holding a buffer meanwhile: not here.
type waiter struct{}

func newWaiter(io.Reader) *waiter { return nil }

func (*waiter) read(*frameReader) (int, error) { return 0, io.ErrNoProgress }
