package ssh

import (
	"context"
	"sync"
	"time"
)

// pathLocks keep apart, for each server, what changes which file a path names
// (renames, links, removals) from what goes by a path: between the question what
// a path really is and the server's answer to what was decided over it, nobody
// who comes through this gateway can swap it by SFTP or scp.
type pathLocks struct {
	mu       sync.Mutex
	byServer map[string]*pathLock
}

func (p *pathLocks) of(server string) *pathLock {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byServer == nil {
		p.byServer = make(map[string]*pathLock)
	}
	lock := p.byServer[server]
	if lock == nil {
		lock = &pathLock{changed: make(chan struct{})}
		p.byServer[server] = lock
	}
	return lock
}

// pathLock is held by many who use paths, or by one who changes them. Who uses
// them doesn't wait for those who want to change them: an operation that the
// server never ends (a pipe that is opened) holds up renames, and nothing else.
type pathLock struct {
	mu       sync.Mutex
	using    int
	changing bool
	changed  chan struct{} // closed when either has become less
}

// pathWait is how long somebody waits for others.
const pathWait = 10 * time.Second

// enter says whether it could be had in time. Who has it must leave it.
func (k *pathLock) enter(ctx context.Context, change bool) (leave func(), ok bool) {
	timer := time.NewTimer(pathWait)
	defer timer.Stop()
	for {
		k.mu.Lock()
		if !k.changing && (!change || k.using == 0) {
			if k.changing = change; !change {
				k.using++
			}
			k.mu.Unlock()
			return sync.OnceFunc(func() { k.leave(change) }), true
		}
		changed := k.changed
		k.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

func (k *pathLock) leave(change bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if change {
		k.changing = false
	} else {
		k.using--
	}
	close(k.changed)
	k.changed = make(chan struct{})
}
