package server

import (
	"context"

	"postern"
	"postern/internal/recording"
	"postern/internal/search"
)

// openSearch opens the index of commands.
func (s *Server) openSearch(ctx context.Context, _ Options) error {
	key, err := s.kept(ctx, "search-key", randomKey)
	if err != nil {
		return err
	}
	s.search, err = search.New(search.Config{
		Store: s.store, Recordings: s.recordings, Key: key, Log: s.log,
		Live: func() []postern.SessionInfo { return s.gate.Live() },
	})
	return err
}

// searched is a recording whose commands are indexed once it has its end.
type searched struct {
	*recording.Writer
	ended func(session string)
}

// Close implements gate.Recording.
func (r *searched) Close() (digest string, err error) {
	digest, err = r.Writer.Close()
	r.ended(r.ID())
	return digest, err
}
