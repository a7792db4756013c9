package server

import (
	"errors"
	"fmt"
	"sync"
)

// parts runs the parts of a gateway beside each other.
type parts struct {
	failed chan error // the first part that stopped on an error

	group sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

func newParts() *parts { return &parts{failed: make(chan error, 1)} }

// run starts a part. A part that returns an error is told on failed.
func (p *parts) run(name string, f func() error) {
	p.group.Go(func() {
		err := f()
		if err == nil {
			return
		}
		err = fmt.Errorf("%s: %w", name, err)
		p.mu.Lock()
		p.errs = append(p.errs, err)
		p.mu.Unlock()
		select {
		case p.failed <- err:
		default:
		}
	})
}

// wait returns when every part is done, with their errors.
func (p *parts) wait() error {
	p.group.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.errs...)
}
