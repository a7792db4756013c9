package audit

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of an export's lines.
const (
	maxLine = 4 << 20
	// maxUnsigned is how many entries may stand before a trailer.
	maxUnsigned = exportEvery + maxCheckpointEntries + batchSize
)

// Against are what an export may be compared with, besides itself.
type Against struct {
	// Checkpoints are some that were kept of the same log. One of more entries
	// than the export has shows that entries were cut off or that an old copy was
	// put back; one of other entries, that the log was forked.
	Checkpoints []string
	// Recordings, if not nil, computes recordings' digests.
	Recordings Digester
}

// VerifyExport verifies what Export wrote, with nothing but the log's public
// key, and what else there is. Any change is a [*TamperedError] that names the first entry that isn't
// as it was, or, when its hash was changed with it, the first of the stretch
// in which it lies. An export that ends early is one too; whether it is the
// latest that there was, only the reader can know: the report says what it covers.
func VerifyExport(ctx context.Context, r io.Reader, publicKey string, against Against) (Report, error) {
	report := Report{PublicKey: publicKey}
	verifier, err := note.NewVerifier(publicKey)
	if err != nil {
		return report, fmt.Errorf("verify the export: %w", errNoKey)
	}
	v := &exportVerifier{verifier: verifier, report: &report}
	if err := v.keep(against.Checkpoints); err != nil {
		return report, fmt.Errorf("verify the export: %w", err)
	}
	err = v.read(bufio.NewReaderSize(r, 64<<10))
	if err == nil && len(v.kept) > 0 {
		err = &TamperedError{Seq: v.tree.size + 1, Reason: fmt.Sprintf(
			"a checkpoint was signed for %d entries on %s, and there are %d: entries were cut off, or an old copy was put back",
			v.kept[0].size, v.kept[0].at.Format("2006-01-02 15:04:05 UTC"), v.tree.size)}
	}
	if err == nil && against.Recordings != nil {
		report.Recordings, err = v.recordings.check(ctx, against.Recordings)
	}
	report.Entries, report.Root = v.tree.size, v.tree.root().String()
	if err != nil {
		return report, fmt.Errorf("verify the export: %w", err)
	}
	return report, nil
}

// keep opens the checkpoints to compare with, smallest first.
func (v *exportVerifier) keep(texts []string) error {
	for _, text := range texts {
		c, err := openCheckpoint(text, v.verifier)
		if err != nil {
			return fmt.Errorf("the checkpoint to compare with can't be trusted: %w", err)
		}
		v.kept = append(v.kept, c)
	}
	slices.SortFunc(v.kept, func(a, b checkpoint) int { return cmp.Compare(a.size, b.size) })
	for len(v.kept) > 0 && v.kept[0].size == 0 {
		v.kept = v.kept[1:]
	}
	return nil
}

// compare compares with the checkpoints that were kept of this size.
func (v *exportVerifier) compare() error {
	for len(v.kept) > 0 && v.kept[0].size == v.tree.size {
		if v.kept[0].root != v.tree.root() {
			return &TamperedError{Seq: v.compared + 1, Reason: fmt.Sprintf(
				"the entries up to %d aren't those of a checkpoint that was kept: the log was forked or rewritten", v.tree.size)}
		}
		v.compared = v.tree.size
		v.kept = v.kept[1:]
	}
	return nil
}

func (v *exportVerifier) read(lines *bufio.Reader) (err error) {
	for !v.ended && err == nil {
		var text []byte
		if text, err = readLine(lines); err == nil {
			err = v.line(text)
		}
	}
	if errors.Is(err, io.EOF) {
		err = &TamperedError{Seq: v.tree.size + 1, Reason: "the export ends before its end"}
	}
	if err == nil {
		if _, more := lines.ReadByte(); !errors.Is(more, io.EOF) {
			err = &TamperedError{Seq: v.tree.size + 1, Reason: "something follows the export's end"}
		}
	}
	return err
}

// readLine returns a line without its end. A last line without one is torn.
func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			return text[:len(text)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(text) > maxLine:
			return nil, &TamperedError{Reason: "a line is longer than any that is written"}
		}
	}
}

type exportVerifier struct {
	verifier note.Verifier
	report   *Report
	tree     tree // of the lines
	trusted  tree // up to the last trailer
	leaves   []tlog.Hash
	ended    bool

	kept       []checkpoint // to compare with, smallest first
	compared   int64        // the size of the last one
	recordings recordings
}

func (v *exportVerifier) line(text []byte) error {
	if isTrailer(text) {
		return v.trailer(text)
	}
	seq := v.tree.size + 1
	r, err := decodeBody(text)
	switch {
	case err != nil:
		return &TamperedError{Seq: seq, Reason: "it can't be read: " + err.Error()}
	case r.Seq != seq:
		return &TamperedError{Seq: seq, Reason: fmt.Sprintf("entry %d stands in its place", r.Seq)}
	case len(v.leaves) >= maxUnsigned:
		return &TamperedError{Seq: v.trusted.size + 1, Reason: "there is no checkpoint for it"}
	}
	leaf := tlog.RecordHash(text)
	v.leaves = append(v.leaves, leaf)
	v.tree.add(nil, leaf)
	v.recordings.note(seq, &r.AuditEntry)
	return v.compare()
}

func (v *exportVerifier) trailer(text []byte) error {
	var t trailer
	bad := func(format string, args ...any) error {
		return &TamperedError{Seq: v.trusted.size + 1, Reason: fmt.Sprintf(
			"the checkpoint after entry %d ", v.tree.size) + fmt.Sprintf(format, args...)}
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return bad("can't be read: %v", err)
	}
	c, err := openCheckpoint(t.Checkpoint, v.verifier)
	if err != nil {
		return bad("can't be trusted: %v", err)
	}
	if c.size != v.tree.size || c.root != v.tree.root() {
		return v.locate(c, t.Hashes)
	}
	v.report.Checkpoints++
	v.report.Signed, v.report.Checkpoint = c.size, t.Checkpoint
	v.trusted, v.leaves, v.ended = v.tree, v.leaves[:0], c.exported
	return nil
}

// locate finds the entry that was changed: when the listed hashes are those
// that were signed, it is the first whose hash isn't the listed one.
func (v *exportVerifier) locate(c checkpoint, listed []tlog.Hash) error {
	signed := v.trusted
	for _, h := range listed {
		signed.add(nil, h)
	}
	first := v.trusted.size + 1
	if signed.size != c.size || signed.root() != c.root {
		return &TamperedError{Seq: first, Reason: fmt.Sprintf(
			"what stands here up to entry %d isn't what was signed, and neither are the listed hashes", v.tree.size)}
	}
	for i, leaf := range v.leaves {
		if i >= len(listed) || listed[i] != leaf {
			return &TamperedError{Seq: first + int64(i), Reason: "it isn't what was signed"}
		}
	}
	return &TamperedError{Seq: v.tree.size + 1, Reason: fmt.Sprintf("it is missing; %d entries were signed", c.size)}
}
