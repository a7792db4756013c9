package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern"
)

// Bounds of an entry. What is longer is cut, and says so: the recording holds
// the whole of what a client sent.
const (
	maxText       = 4 << 10
	maxObjects    = 256
	maxObjectName = 512
)

// line is an entry as its body spells it.
type line struct {
	Seq int64 `json:"seq"`
	postern.AuditEntry
}

// newRecord makes the record of an entry: bounded, valid UTF-8, its time in UTC
// to the microsecond. Body is a function of what the record then says.
func newRecord(seq int64, e postern.AuditEntry) (postern.AuditRecord, error) {
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	for _, s := range []*string{
		&e.Action, &e.Identity, &e.Actor, &e.Resource, &e.Session, &e.Verb, &e.Outcome, &e.Rule, &e.Reason, &e.Review,
		&e.Target, &e.Source, &e.Digest, &e.Policy,
	} {
		*s = bounded(*s, maxText)
	}
	if more := len(e.Objects) - maxObjects; more > 0 {
		e.Objects = append(slices.Clone(e.Objects[:maxObjects]), fmt.Sprintf("… and %d more", more))
	} else {
		e.Objects = slices.Clone(e.Objects)
	}
	for i := range e.Objects {
		e.Objects[i] = bounded(e.Objects[i], maxObjectName)
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line{seq, e}); err != nil {
		return postern.AuditRecord{}, fmt.Errorf("audit entry %q: %w", e.Action, err)
	}
	return postern.AuditRecord{Seq: seq, AuditEntry: e, Body: bytes.TrimSuffix(body.Bytes(), []byte{'\n'})}, nil
}

// bounded cuts text to a number of bytes, and replaces what is no text.
func bounded(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// decodeBody reads what newRecord wrote.
func decodeBody(body []byte) (postern.AuditRecord, error) {
	var l line
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&l); err != nil {
		return postern.AuditRecord{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return postern.AuditRecord{}, errors.New("something follows it")
	}
	return postern.AuditRecord{Seq: l.Seq, AuditEntry: l.AuditEntry, Body: body}, nil
}

// sameColumns says whether what the store keeps beside a body is what the body says.
func sameColumns(a, b *postern.AuditRecord) bool {
	return a.Seq == b.Seq && a.Time.Equal(b.Time) && a.Action == b.Action && a.Identity == b.Identity && a.Actor == b.Actor &&
		a.Resource == b.Resource && a.Session == b.Session && a.Outcome == b.Outcome && a.Rule == b.Rule
}
