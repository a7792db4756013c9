package server

import (
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts for Prometheus what the gate reports. Labels come from the
// policy or from short fixed lists, never from a client.
type metrics struct {
	approvalMetrics

	registry  *prometheus.Registry
	logins    *prometheus.CounterVec
	misused   *prometheus.CounterVec
	sessions  *prometheus.GaugeVec
	opened    *prometheus.CounterVec
	decisions *prometheus.CounterVec
	deciding  *prometheus.HistogramVec
	masked    prometheus.Counter
	reviews   *prometheus.HistogramVec
	reloads   *prometheus.CounterVec
	audit     *auditMetrics
	ended     prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		misused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_tokens_refused_total", Help: "Refusals of tokens, certificates and keys that are known: expired, used up, revoked, or not their holder's.",
		}, []string{"kind"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_logins_total", Help: "Logins at native listeners, by protocol and outcome (ok, refused).",
		}, []string{"protocol", "outcome"}),
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_sessions", Help: "Sessions open now, by resource.",
		}, []string{"resource"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_sessions_opened_total", Help: "Sessions opened, by resource.",
		}, []string{"resource"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_decisions_total", Help: "Decisions over commands, by protocol and first verdict (allow, deny, review).",
		}, []string{"protocol", "verdict"}),
		deciding: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postern_decision_seconds", Help: "Time to decide, without waiting for people.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10),
		}, []string{"protocol"}),
		masked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_masked_values_total", Help: "Values masked on their way to clients.",
		}),
		reviews: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postern_review_seconds", Help: "Time commands waited for a review, by how it ended.",
			Buckets: prometheus.ExponentialBuckets(1, 3, 9),
		}, []string{"state"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_policy_reloads_total", Help: "Changes of objects, by outcome (ok, refused).",
		}, []string{"outcome"}),
		ended: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_session_end_seconds", Help: "Of sessions that the gateway ended: time from what was accepted until client and upstream had stopped.",
			Buckets: []float64{.005, .01, .025, .05, .1, .175, .25, .5, 1, 2.5, 5},
		}),
	}
	m.registry.MustRegister(m.logins, m.misused, m.sessions, m.opened, m.decisions, m.deciding, m.masked, m.reviews, m.reloads, m.ended,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.approvalMetrics = newApprovalMetrics(m.registry)
	m.audit = newAuditMetrics(m.registry)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Login implements gate.Metrics.
func (m *metrics) Login(protocol string, ok bool) {
	outcome := "ok"
	if !ok {
		outcome = "refused"
	}
	m.logins.WithLabelValues(protocol, outcome).Inc()
}

// SessionOpened implements gate.Metrics.
func (m *metrics) SessionOpened(resource string) {
	m.sessions.WithLabelValues(resource).Inc()
	m.opened.WithLabelValues(resource).Inc()
}

// SessionClosed implements gate.Metrics.
func (m *metrics) SessionClosed(resource string) { m.sessions.WithLabelValues(resource).Dec() }

// Decided implements gate.Metrics.
func (m *metrics) Decided(protocol, verdict string, took time.Duration) {
	m.decisions.WithLabelValues(protocol, verdict).Inc()
	m.deciding.WithLabelValues(protocol).Observe(took.Seconds())
}

// Masked implements gate.Metrics.
func (m *metrics) Masked(n int64) { m.masked.Add(float64(n)) }

// Reviewed implements gate.Metrics.
func (m *metrics) Reviewed(state string, waited time.Duration) {
	m.reviews.WithLabelValues(state).Observe(waited.Seconds())
}

// Ended implements gate.Metrics.
func (m *metrics) Ended(latency time.Duration) { m.ended.Observe(latency.Seconds()) }

func stack() string { return string(debug.Stack()) }

// reloaded counts a change of objects.
func (m *metrics) reloaded(ok bool) {
	outcome := "ok"
	if !ok {
		outcome = "refused"
	}
	m.reloads.WithLabelValues(outcome).Inc()
}
