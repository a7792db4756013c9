package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"postern"
)

// OTLP sends log records to an OpenTelemetry collector: OTLP/HTTP in its JSON
// encoding (opentelemetry.io/docs/specs/otlp, 1.5). The whole SDK would be
// ten times this and would drop records when its queue is full.
type OTLP struct {
	*Poster
	URL     string         // of the logs: https://collector:4318/v1/logs
	Bearer  postern.Secret // zero: none
	Version string         // the gateway's
	Host    string
	Format  Format
	Log     *slog.Logger
}

type (
	otlpValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"` // 64-bit numbers are texts
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpRecord struct {
		Time         string          `json:"timeUnixNano"`
		Observed     string          `json:"observedTimeUnixNano"`
		Severity     int             `json:"severityNumber"`
		SeverityText string          `json:"severityText"`
		Event        string          `json:"eventName"`
		Body         otlpValue       `json:"body"`
		Attributes   []otlpAttribute `json:"attributes"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	otlpScopeLogs struct {
		Scope   otlpScope    `json:"scope"`
		Records []otlpRecord `json:"logRecords"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpResourceLogs struct {
		Resource otlpResource    `json:"resource"`
		Scopes   []otlpScopeLogs `json:"scopeLogs"`
	}
	otlpRequest struct {
		Resources []otlpResourceLogs `json:"resourceLogs"`
	}
	otlpAnswer struct {
		Partial struct {
			Rejected json.Number `json:"rejectedLogRecords"`
			Message  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
)

// Severity numbers of OpenTelemetry.
const (
	otlpInfo  = 9
	otlpWarn  = 13
	otlpFatal = 21
)

// Deliver implements [Sink].
func (o *OTLP) Deliver(ctx context.Context, records []postern.AuditRecord) error {
	scope := otlpScopeLogs{Scope: otlpScope{"postern/audit", o.Version}}
	for i := range records {
		r, err := o.record(&records[i])
		if err != nil {
			return err
		}
		scope.Records = append(scope.Records, r)
	}
	body, err := json.Marshal(otlpRequest{[]otlpResourceLogs{{
		Resource: otlpResource{attributes("service.name", "postern", "service.version", o.Version, "host.name", o.Host)},
		Scopes:   []otlpScopeLogs{scope},
	}}})
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if !o.Bearer.IsZero() {
		header.Set("Authorization", "Bearer "+o.Bearer.Reveal())
	}
	text, err := o.Post(ctx, o.URL, header, body)
	if err != nil {
		return err
	}
	var answer otlpAnswer
	if len(text) > 0 && json.Unmarshal(text, &answer) != nil {
		return fmt.Errorf("it answered with what is no OTLP/HTTP answer")
	}
	// What a collector rejects it would reject again: the protocol forbids to retry.
	if n := answer.Partial.Rejected.String(); n != "" && n != "0" {
		o.Log.Error("collector rejected audit entries", "first", records[0].Seq, "last", records[len(records)-1].Seq, "rejected", n, "reason", answer.Partial.Message)
	}
	return nil
}

func (o *OTLP) record(r *postern.AuditRecord) (otlpRecord, error) {
	body, err := o.Format(r)
	if err != nil {
		return otlpRecord{}, err
	}
	text, seq, nano := string(body), strconv.FormatInt(r.Seq, 10), strconv.FormatInt(r.Time.UnixNano(), 10)
	out := otlpRecord{
		Time: nano, Observed: nano, Severity: otlpInfo, SeverityText: "INFO", Event: "postern." + r.Action, Body: otlpValue{String: &text},
		Attributes: append(attributes(
			"enduser.id", r.Identity, "postern.actor", r.Actor, "postern.action", r.Action, "postern.outcome", r.Outcome,
			"postern.resource", r.Resource, "session.id", r.Session, "postern.verb", r.Verb, "postern.rule", r.Rule,
			"postern.target", r.Target, "client.address", r.Source,
		), otlpAttribute{"postern.seq", otlpValue{Int: &seq}}),
	}
	switch severity(r) {
	case critical:
		out.Severity, out.SeverityText = otlpFatal, "FATAL"
	case warning:
		out.Severity, out.SeverityText = otlpWarn, "WARN"
	}
	return out, nil
}

// attributes are those pairs that have a value.
func attributes(pairs ...string) []otlpAttribute {
	var all []otlpAttribute
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := pairs[i+1]; value != "" {
			all = append(all, otlpAttribute{pairs[i], otlpValue{String: &value}})
		}
	}
	return all
}
