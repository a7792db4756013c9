package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"postern"
	"postern/internal/api"
	"postern/internal/protocol"
	"postern/web"
)

const (
	httpHeaderTimeout = 10 * time.Second
	httpIdleTimeout   = 2 * time.Minute
	httpHeaderBytes   = 64 << 10
	sweepEvery        = 10 * time.Minute
)

// listen opens every listener. Nothing is accepted before Run.
func (s *Server) listen(ctx context.Context, _ Options) error {
	names := make([]string, len(s.protocols))
	for i, p := range s.protocols {
		names[i] = p.Name()
	}
	addresses, err := s.cfg.Listeners(names)
	if err != nil {
		return err
	}
	s.slots = make(chan struct{}, s.cfg.Limits.MaxConnections)
	var lc net.ListenConfig
	for _, p := range s.protocols {
		address, ok := addresses[p.Name()]
		if !ok {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen for %s: %w", p.Name(), err)
		}
		s.listeners = append(s.listeners, &listener{Listener: l, protocol: p, gate: s.gate, slots: s.slots, log: s.log})
		s.undo = append(s.undo, ignoreClosed(l))
	}
	if s.cfg.Listen.HTTPS == "" {
		return nil
	}
	if s.https, err = lc.Listen(ctx, "tcp", s.cfg.Listen.HTTPS); err != nil {
		return fmt.Errorf("listen for https: %w", err)
	}
	s.https = &bounded{Listener: s.https, slots: make(chan struct{}, s.cfg.Limits.MaxConnections), log: s.log}
	s.undo = append(s.undo, ignoreClosed(s.https))
	return nil
}

func ignoreClosed(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// Addr is where a protocol ("postgres", "https") listens, or "".
func (s *Server) Addr(name string) string {
	if name == "https" && s.https != nil {
		return s.https.Addr().String()
	}
	for _, l := range s.listeners {
		if l.protocol.Name() == name {
			return l.Addr().String()
		}
	}
	return ""
}

// httpLog takes the lines that net/http logs of its own accord.
type httpLog struct{ log *slog.Logger }

// Write implements io.Writer. A handshake that fails is its client's affair, and
// anybody can have as many as they like.
func (l httpLog) Write(line []byte) (int, error) {
	text, level := strings.TrimSpace(string(line)), slog.LevelWarn
	if strings.HasPrefix(text, "http: TLS handshake error") {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "https connection failed", "error", text) //nolint:contextcheck // net/http has none
	return len(line), nil
}

// Run serves until ctx ends, then drains: no new session opens, live ones may
// go on for drain_timeout and are then ended. It returns when all is closed.
// A value on reload makes it read the objects again.
func (s *Server) Run(ctx context.Context, reload <-chan struct{}) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	// Sessions outlive the order to stop, for as long as the drain allows.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	handler, err := s.handler()
	if err != nil {
		return err
	}
	https := &http.Server{
		Handler: handler, TLSConfig: httpTLS(s.certs.config()),
		ReadHeaderTimeout: httpHeaderTimeout, IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return serving },
		ErrorLog:    log.New(httpLog{s.log}, "", 0),
	}
	parts := newParts()
	if s.https != nil {
		parts.run("https", func() error { return ignoreServerClosed(https.ServeTLS(s.https, "", "")) })
	}
	for _, l := range s.listeners {
		parts.run(l.protocol.Name(), func() error { return l.run(serving) })
	}
	for _, one := range s.shippers {
		parts.run("audit sink "+one.name, func() error { return one.Run(serving) })
	}
	parts.run("objects", func() error { return s.objects.watch(serving) })
	parts.run("notifications", func() error { return s.notices.Run(serving) })
	parts.run("grants", func() error { return s.watchGrants(serving) })
	parts.run("shadows", func() error {
		return s.shadows.run(serving, func(err error) { s.log.Warn("shadows not counted", "error", err) })
	})
	parts.run("logins", func() error { return s.renewLogins(serving) })
	parts.run("memory", func() error { return paceCollector(serving, func() int { return len(s.slots) }) })
	parts.run("search", func() error { return s.search.Run(serving) })
	parts.run("upkeep", func() error { return s.upkeep(serving, reload) })
	ready := []any{"version", s.version, "https", s.Addr("https")}
	for _, l := range s.listeners {
		ready = append(ready, l.protocol.Name(), l.Addr().String())
	}
	s.log.Info("gateway ready", ready...)
	s.notify(daemon.SdNotifyReady)

	select {
	case <-ctx.Done():
	case err = <-parts.failed:
		s.log.Error("a part of the gateway stopped", "error", err)
	}
	s.notify(daemon.SdNotifyStopping)
	s.log.Info("gateway stops", "sessions", len(s.gate.Live()))
	close(s.stopping)
	s.drain(https)
	stop()
	return errors.Join(err, parts.wait())
}

// drain stops accepting, lets sessions end, and closes what is left.
func (s *Server) drain(https *http.Server) {
	for _, l := range s.listeners {
		if err := ignoreClosed(l)(); err != nil {
			s.log.Warn("listener not closed", "protocol", l.protocol.Name(), "error", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	s.gate.Drain(ctx)
	// The API goes last: people may want to see what still runs.
	if err := https.Shutdown(ctx); err != nil {
		if err := https.Close(); err != nil {
			s.log.Warn("https listener not closed", "error", err)
		}
	}
}

func httpTLS(c *tls.Config) *tls.Config {
	c.NextProtos = []string{"h2", "http/1.1"}
	return c
}

func ignoreServerClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// notify tells systemd, when it asked to be told.
func (s *Server) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd not told", "error", err)
	}
}

// upkeep does what must be done now and then, and on request.
func (s *Server) upkeep(ctx context.Context, reload <-chan struct{}) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
			_ = s.objects.Reload(ctx) // logged, and shown by its Problem
		case <-tick.C:
			if _, err := s.identity.Sweep(ctx); err != nil {
				s.log.Warn("expired tokens not removed", "error", err)
			}
			if err := s.expire(ctx); err != nil {
				s.log.Warn("expired recordings not deleted", "error", err)
			}
			if _, err := s.reviews.Sweep(ctx); err != nil {
				s.log.Warn("abandoned reviews not ended", "error", err)
			}
		}
	}
}

// handler is all that the HTTPS listener serves.
func (s *Server) handler() (http.Handler, error) {
	receivers, err := s.receivers()
	if err != nil {
		return nil, err
	}
	directory, err := s.directory()
	if err != nil {
		return nil, err
	}
	cfg := api.Config{
		Providers: s.people.providers, Vault: s.vault,
		Identity: s.identity, Authority: s.authority, Workloads: s.workloads, Store: s.store, Live: s.gate, Votes: s.reviews, Requests: s.reviews, Offline: s.reviews, Clicks: s.notices.Clicks(),
		Recordings: s.recordings, Search: s.search, Audit: s.audit, Objects: s.objects,
		Seal:   s.vault.SealSecretInline,
		Policy: s.objects.Set, Analyse: s.analyse, Classify: s.classify, Endpoint: s.endpoint, Enter: s.enter, Fallback: web.Handler(),
		Admins: s.cfg.Roles.Admins, Auditors: s.cfg.Roles.Auditors,
		PublicURL: s.cfg.PublicURL, Hosts: s.names(), Readyz: http.HandlerFunc(s.ready), Metrics: s.metrics.handler(),
		Version: s.version, Now: s.now, Log: s.log, Stopping: s.stopping,
		Receivers: receivers, Directory: directory, BreakGlassed: s.breakGlassed(),
	}
	if s.people.issuer != nil {
		cfg.Issuer = s.people.issuer
	}
	return api.New(cfg)
}

// ready answers whether sessions can open: not while draining, without a store
// or without room for recordings.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, check := range []struct {
		name string
		err  error
	}{{"store", s.store.Ping(ctx)}, {"recordings", s.recordings.Ready()}, {"audit log", s.audit.Err()}, {"gate", s.gate.Ready()}} {
		if check.err != nil {
			s.log.Warn("gateway not ready", "part", check.name, "error", check.err)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, "%s: not ready\n", check.name) // the client may have gone
			return
		}
	}
	_, _ = w.Write([]byte("ok\n")) // the client may have gone
}

// analyse says what commands a text is, for `policy explain` and `policy test`.
func (s *Server) analyse(r postern.Resource, text string) []postern.Command {
	for _, p := range s.protocols {
		if a, ok := p.(protocol.Analyser); ok && p.Name() == r.Type {
			return a.Analyse(r, text)
		}
	}
	return []postern.Command{{Protocol: r.Type, Verb: postern.VerbUnknown, Text: text, Problem: "this version doesn't analyse " + r.Type}}
}

// endpoint says where native clients of a protocol connect.
func (s *Server) endpoint(name string) (api.Endpoint, bool) {
	host, port, err := net.SplitHostPort(s.Addr(name))
	if err != nil {
		return api.Endpoint{}, false
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return api.Endpoint{}, false
	}
	if public := s.publicHost(); public != "" {
		host = public
	}
	e := api.Endpoint{Host: host, Port: n}
	for _, p := range s.protocols {
		if d, ok := p.(protocol.Addresser); ok && p.Name() == name {
			e.DSN = func(user string, token postern.Secret, resource string) string {
				return d.DSN(host, n, user, token, resource)
			}
		}
	}
	return e, true
}
