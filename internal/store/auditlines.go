package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"postern"
)

// Bounds of a row of audit_batches. Lines of one commit say nearly the same, so
// that many together take little; what reads one entry unpacks its row.
const (
	auditRun     = 128     // lines at most
	auditRunText = 4 << 20 // bytes of them at most
)

// nextRun is how many of some records, of which there is one, go into one row.
func nextRun(records []postern.AuditRecord) int {
	n, size := 0, 0
	for ; n < min(len(records), auditRun); n++ {
		size += len(records[n].Body) + 1
		if size > auditRunText && n > 0 {
			break
		}
	}
	return n
}

// auditPacker has the room to make what is stored in.
type auditPacker struct{ lines, packed, hashes []byte }

// raw returns hashes as they are stored. It holds until the next call.
func (p *auditPacker) raw(hashes [][32]byte) []byte {
	p.hashes = p.hashes[:0]
	for i := range hashes {
		p.hashes = append(p.hashes, hashes[i][:]...)
	}
	return p.hashes
}

// pack returns the lines of a run as they are stored: one block of S2. It holds
// until the next call.
func (p *auditPacker) pack(run []postern.AuditRecord) ([]byte, error) {
	p.lines = p.lines[:0]
	for i := range run {
		p.lines = append(append(p.lines, run[i].Body...), '\n')
	}
	if len(p.lines) > auditRunText {
		return nil, fmt.Errorf("entry %d of the audit log has %d bytes: no more than %d can be read again", run[0].Seq, len(p.lines), auditRunText)
	}
	p.packed = s2.Encode(p.packed[:cap(p.packed)], p.lines)
	return p.packed, nil
}

// auditRow is a row of audit_batches. packed is nil in one that was written before
// version 71 of the schema.
type auditRow struct {
	first, last   int64
	lines, packed []byte
}

// appendTo adds the row's records that come after an entry, while there are fewer
// than limit. Of a row that is damaged it adds them without their bodies.
func (r *auditRow) appendTo(records []postern.AuditRecord, after int64, limit int) []postern.AuditRecord {
	lines := r.lines
	if r.packed != nil {
		var err error
		if lines, err = unpackLines(r.packed); err != nil {
			for seq := max(r.first, after+1); seq <= min(r.last, r.first+auditRun-1) && len(records) < limit; seq++ {
				records = append(records, postern.AuditRecord{Seq: seq})
			}
			return records
		}
	}
	for seq := r.first; len(lines) > 0 && len(records) < limit; seq++ {
		var body []byte
		body, lines, _ = bytes.Cut(lines, []byte{'\n'})
		if seq > after {
			records = append(records, postern.AuditRecord{Seq: seq, Body: body})
		}
	}
	return records
}

// unpackLines returns what was packed. It makes no more room than a run may take.
func unpackLines(packed []byte) ([]byte, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil {
		return nil, err
	}
	if n > auditRunText {
		return nil, errors.New("it says that it holds more than was ever packed")
	}
	return s2.Decode(nil, packed)
}

// hashBytes are the hashes of a row: as bytes, or in hexadecimal, as they were
// before version 71 of the schema.
func hashBytes(raw, text []byte) ([]byte, error) {
	if raw != nil {
		return raw, nil
	}
	return hex.AppendDecode(nil, text)
}
