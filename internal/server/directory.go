package server

import (
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"postern"
	"postern/internal/identity/directory"
)

// directory keeps what providers' directories say through SCIM.
func (s *Server) directory() (*directory.Directory, error) {
	guarded := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_directory_guarded_total", Help: "Changes by a provider's directory that were refused because too many people would have lost something within an hour.",
	}, []string{"provider"})
	s.metrics.registry.MustRegister(guarded)
	limits := s.cfg.Identity.SCIM
	return directory.New(directory.Config{
		Store: s.store, Accounts: s.identity, Named: s.groupNamed, Now: s.now, Log: s.log,
		Limits:  directory.Limits{Removals: limits.MaxRemovals, Share: limits.MaxShare, RenameToNamed: limits.RenameToNamed},
		Guarded: func(provider string) { guarded.WithLabelValues(provider).Inc() },
	})
}

// groupNamed says whether roles or objects speak of a group. Conditions may
// name it in any way, so a document that holds the word counts.
func (s *Server) groupNamed(group string) bool {
	word := regexp.MustCompile(`(?i)(^|[^\pL\pN_])` + regexp.QuoteMeta(group) + `($|[^\pL\pN_])`)
	for _, o := range s.objects.Set().Objects() {
		if word.Match(o.YAML) {
			return true
		}
	}
	for _, p := range append(append([]postern.Principal{}, s.cfg.Roles.Admins...), s.cfg.Roles.Auditors...) {
		if strings.EqualFold(string(p), "group:"+group) {
			return true
		}
	}
	return false
}

// breakGlassed counts the steps of break-glass logins, for alerts.
func (s *Server) breakGlassed() func(step string) {
	steps := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_break_glass_logins_total", Help: "Break-glass logins, by step (requested, confirmed, used). Any is worth an alert.",
	}, []string{"step"})
	s.metrics.registry.MustRegister(steps)
	return func(step string) { steps.WithLabelValues(step).Inc() }
}
