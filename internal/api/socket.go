package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// pageTokenTime is how long a page's own session token opens a session.
const pageTokenTime = time.Minute

// socket serves a page's WebSocket: run has it until the page goes away, the
// gateway stops, or the page's reader may no longer stay. Pages of other origins
// don't get one. Who reads from the page is one of the readers, and reads until
// ctx ends: a page is told why it is over before nobody listens to it any more.
func (a *api) socket(hctx huma.Context, c caller, limit int64, run func(ctx context.Context, page *websocket.Conn, readers *sync.WaitGroup) error) {
	r, w := humago.Unwrap(hctx)
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		a.Log.Info("page's connection refused", "source", c.source, "error", err)
		return
	}
	conn.SetReadLimit(limit)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	may := a.stillMay(hctx, nil)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(askTime)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-a.Stopping:
				cancel(errors.New("the gateway stops"))
				return
			case <-tick.C:
				if err := may(); err != nil && ctx.Err() == nil {
					cancel(errNotSignedIn)
					return
				}
			}
		}
	})
	var readers sync.WaitGroup
	err = run(ctx, conn, &readers)
	reason := "It has ended."
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		reason = cause.Error()
	}
	if err != nil && r.Context().Err() == nil {
		a.Log.Debug("page's session ended", "source", c.source, "error", err)
	}
	_ = conn.Close(websocket.StatusNormalClosure, reason) // it may have gone
	cancel(nil)
	readers.Wait()
	watch.Wait()
}
