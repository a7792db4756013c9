package search

import (
	"context"
	"time"
)

// AddUntil is addUntil.
func (x *Index) AddUntil(ctx context.Context, session string, until time.Time) (more bool, err error) {
	return x.addUntil(ctx, session, until, x.put)
}
