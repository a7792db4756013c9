package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Witness keeps checkpoints elsewhere. Its methods are called by several goroutines.
type Witness interface {
	Name() string
	// Push hands a checkpoint over.
	Push(ctx context.Context, checkpoint string) error
	// Kept returns the latest checkpoint that it has, or "" when it has none or
	// can't be asked.
	Kept(context.Context) (string, error)
}

// CheckpointID names a checkpoint.
func CheckpointID(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:12])
}

const (
	pushTime   = 10 * time.Second
	pushEvery  = 10 * time.Second // at most
	pushAgain  = 30 * time.Second // after it failed
	askWitness = 10 * time.Second
)

// witnessed hands the latest checkpoint to one witness. What came before it and
// wasn't handed over yet is left out: the latest vouches for all.
type witnessed struct {
	log     *Log
	witness Witness
	wake    chan struct{} // something is pending
	quit    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	pending string
}

func (l *Log) startWitnesses(ctx context.Context) {
	for _, w := range l.cfg.Witnesses {
		one := &witnessed{log: l, witness: w, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
		l.witnesses = append(l.witnesses, one)
		go one.run(ctx)
	}
}

// tell has a checkpoint handed over, in place of one that waits. again is for
// one that was tried: a later one that waits stays.
func (w *witnessed) tell(checkpoint string, again bool) {
	w.mu.Lock()
	if !again || w.pending == "" {
		w.pending = checkpoint
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is being woken
	}
}

// end hands the last checkpoint over, if that works at once.
func (w *witnessed) end() {
	close(w.quit)
	<-w.done
}

func (w *witnessed) run(ctx context.Context) {
	defer close(w.done)
	for open := true; open; {
		select {
		case <-w.wake:
		case <-w.quit:
			open = false
		}
		wait := time.NewTimer(w.next(ctx))
		select {
		case <-wait.C:
		case <-w.quit:
		}
		wait.Stop()
	}
}

// next hands over what is pending, and says how long to wait after that.
func (w *witnessed) next(ctx context.Context) time.Duration {
	w.mu.Lock()
	text := w.pending
	w.pending = ""
	w.mu.Unlock()
	if text == "" {
		return 0
	}
	err := w.push(ctx, text)
	w.log.cfg.Witnessed(w.witness.Name(), err)
	if err == nil {
		return pushEvery
	}
	w.log.cfg.Log.Warn("witness doesn't take a checkpoint", "witness", w.witness.Name(), "error", err)
	w.tell(text, true)
	return pushAgain
}

func (w *witnessed) push(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	return w.witness.Push(ctx, text)
}

// checkWitnesses compares with what witnesses keep. One that can't be asked is an
// error of its own.
func (l *Log) checkWitnesses(ctx context.Context, size int64) error {
	for _, w := range l.cfg.Witnesses {
		ask, cancel := context.WithTimeout(ctx, askWitness)
		kept, err := w.Kept(ask)
		cancel()
		if err != nil {
			return &witnessError{w.Name(), err}
		}
		if kept == "" {
			continue
		}
		if _, err := l.checkSigned(ctx, "the checkpoint that the witness "+w.Name()+" keeps", kept, size); err != nil {
			return fmt.Errorf("%w. To go on with a store that was restored on purpose, have the witness begin anew: the gap stays visible in exports", err)
		}
	}
	return nil
}

// witnessError says that a witness can't be asked.
type witnessError struct {
	name string
	err  error
}

func (e *witnessError) Error() string {
	return "the witness " + e.name + " can't be asked: " + e.err.Error()
}
func (e *witnessError) Unwrap() error { return e.err }

// openWitnesses checks at the start. A witness that can't be asked then is
// logged, not waited for: the gateway must be able to start without the network.
func (l *Log) openWitnesses(ctx context.Context, size int64) error {
	err := l.checkWitnesses(ctx, size)
	var unreachable *witnessError
	if errors.As(err, &unreachable) {
		l.cfg.Log.Warn("audit log not compared with a witness", "error", err)
		return nil
	}
	return err
}
