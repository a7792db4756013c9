package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/audit"
	"postern/internal/audit/sink"
	"postern/internal/audit/witness"
	"postern/internal/config"
)

// auditMetrics show whether what follows the audit log keeps up.
type auditMetrics struct {
	behind    *prometheus.GaugeVec
	delivered *prometheus.CounterVec
	failures  *prometheus.CounterVec
	witnessed *prometheus.CounterVec
}

func newAuditMetrics(r prometheus.Registerer) *auditMetrics {
	m := &auditMetrics{
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_audit_sink_behind_entries", Help: "Entries of the audit log that a sink hasn't taken yet.",
		}, []string{"sink"}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_audit_sink_delivered_total", Help: "Entries of the audit log that a sink has taken.",
		}, []string{"sink"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_audit_sink_failures_total", Help: "Deliveries that a sink didn't take, and that are tried again.",
		}, []string{"sink"}),
		witnessed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_audit_witness_checkpoints_total", Help: "Checkpoints handed to a witness, by outcome (ok, failed).",
		}, []string{"witness", "outcome"}),
	}
	r.MustRegister(m.behind, m.delivered, m.failures, m.witnessed)
	return m
}

// report is what a shipper tells of its sink.
func (m *auditMetrics) report(name string) func(int, int64, error) {
	return func(delivered int, behind int64, err error) {
		m.behind.WithLabelValues(name).Set(float64(behind))
		m.delivered.WithLabelValues(name).Add(float64(delivered))
		if err != nil {
			m.failures.WithLabelValues(name).Inc()
		}
	}
}

func (m *auditMetrics) witness(name string, err error) {
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.witnessed.WithLabelValues(name, outcome).Inc()
}

// shipper delivers the audit log to one sink.
type shipper struct {
	name string
	*sink.Shipper
}

// openSinks makes what delivers the audit log. It runs with the gateway.
func (s *Server) openSinks(context.Context, Options) error {
	for _, c := range s.cfg.Audit.Sinks {
		one, err := s.sink(&c)
		if err != nil {
			return fmt.Errorf("audit sink %s: %w", c.Name, err)
		}
		s.shippers = append(s.shippers, shipper{c.Name, sink.New(sink.Config{
			Name: c.Name, Sink: one, Source: s.audit, Store: s.store, Log: s.log, Report: s.metrics.audit.report(c.Name),
		})})
	}
	return nil
}

func (s *Server) sink(c *config.Sink) (sink.Sink, error) {
	secret, err := c.Secret.Read()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	format := sink.JSON
	if c.Format == "ocsf" {
		format = sink.OCSF
	}
	if c.Type == "file" {
		return &sink.File{Path: c.Path, MaxSize: int64(c.MaxSize), Keep: c.Keep, Format: format}, nil
	}
	trust, err := clientTLS(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	switch c.Type {
	case "syslog":
		return &sink.Syslog{Address: c.Address, TLS: trust, Host: host, Format: format}, nil
	case "webhook":
		return &sink.Webhook{Poster: sink.NewPoster(trust), Name: c.Name, URL: c.URL, Key: secret, Now: s.now, Format: format}, nil
	case "otlp":
		return &sink.OTLP{
			Poster: sink.NewPoster(trust), URL: c.URL, Bearer: secret, Version: s.version, Host: host, Format: format, Log: s.log,
		}, nil
	default:
		return nil, fmt.Errorf("its type %q is unknown", c.Type)
	}
}

func (s *Server) witnesses() ([]audit.Witness, error) {
	var all []audit.Witness
	for _, c := range s.cfg.Audit.Witnesses {
		if c.Type == "file" {
			all = append(all, witness.File{Path: c.Path})
			continue
		}
		key, err := c.Secret.Read()
		if err != nil {
			return nil, fmt.Errorf("audit witness: secret: %w", err)
		}
		trust, err := clientTLS(c.CAFile, "", "")
		if err != nil {
			return nil, fmt.Errorf("audit witness: %w", err)
		}
		if c.Type == "webhook" {
			all = append(all, witness.Webhook{Poster: sink.NewPoster(trust), URL: c.URL, Key: key, Now: s.now})
			continue
		}
		bucket, err := witness.NewS3(witness.S3Config{
			URL: c.URL, Region: c.Region, AccessKey: c.AccessKey, SecretKey: key, Retain: c.Retain, TLS: trust, Now: s.now,
		})
		if err != nil {
			return nil, fmt.Errorf("audit witness %s: %w", c.URL, err)
		}
		all = append(all, bucket)
	}
	return all, nil
}

// clientTLS trusts a file's authorities alone, or the system's, and shows a
// certificate if there is one.
func clientTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New(caFile + " holds no certificate")
		}
	}
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
