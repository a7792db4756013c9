package notify

import "context"

// Deliver stores what was told and sends what is due, once.
func (s *Service) Deliver(ctx context.Context) {
	s.storeAll(ctx)
	s.deliver(ctx)
}

// Answer sends the answers that wait.
func (s *Service) Answer(ctx context.Context) {
	for {
		select {
		case r := <-s.replies:
			s.reply(ctx, r.channel, r.address, r.text)
		default:
			return
		}
	}
}

// CatchUp is what Run begins with.
func (s *Service) CatchUp(ctx context.Context) { s.catchUp(ctx) }

// Attempts is how often a letter is tried.
func Attempts() int { return len(pauses()) + 1 }
