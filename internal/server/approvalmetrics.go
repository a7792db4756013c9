package server

import "github.com/prometheus/client_golang/prometheus"

// approvalMetrics count what people decided, and what rules in shadow mode
// would have.
type approvalMetrics struct {
	requests    *prometheus.CounterVec
	brokenGlass *prometheus.CounterVec
	shadows     *prometheus.CounterVec
	shadowsLost prometheus.Counter

	notifications *prometheus.CounterVec
}

func newApprovalMetrics(registry *prometheus.Registry) approvalMetrics {
	m := approvalMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_requests_total", Help: "Steps of requests for access (submitted, approved, denied, revoked, ended …).",
		}, []string{"step"}),
		brokenGlass: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_break_glass_total", Help: "Emergency access that was had, by resource.",
		}, []string{"resource"}),
		shadows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_shadow_total", Help: "Commands that a rule in shadow mode would have denied or held for review.",
		}, []string{"rule", "verdict"}),
		shadowsLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postern_shadow_uncounted_total", Help: "Of those, how many are missing in the stored counts, for lack of time to write them.",
		}),
	}
	m.notifications = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_notifications_total", Help: "Word of reviews to people, by channel and outcome (sent, failed, dead, lost, refused).",
	}, []string{"channel", "outcome"})
	registry.MustRegister(m.notifications, m.requests, m.brokenGlass, m.shadows, m.shadowsLost)
	return m
}
