package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"postern"
)

// Proof shows, with nothing but the log's public key, that an entry is in the
// log that a checkpoint was signed over.
type Proof struct {
	Entry      json.RawMessage `json:"entry"` // the line, byte for byte
	Checkpoint string          `json:"checkpoint"`
	Hashes     []tlog.Hash     `json:"hashes"`
}

// Extension shows that the log of a checkpoint begins with all entries of an
// earlier one: that nothing was changed, removed or put in between.
type Extension struct {
	From       int64       `json:"from"` // the number of entries of the earlier one
	Checkpoint string      `json:"checkpoint"`
	Hashes     []tlog.Hash `json:"hashes"`
}

// Checkpoint signs what was appended or queued before, unless it is signed, and
// returns the latest checkpoint.
func (l *Log) Checkpoint(ctx context.Context) (string, error) {
	l.flush(ctx)
	if err := l.wait(ctx, item{sign: true}); err != nil && !errors.Is(err, ErrClosed) {
		return "", fmt.Errorf("sign a checkpoint: %w", err)
	}
	last, err := l.cfg.Store.LastAuditCheckpoint(ctx)
	if errors.Is(err, postern.ErrNotFound) {
		return "", fmt.Errorf("the audit log is empty: %w", err)
	}
	return last.Note, err
}

// latest is the latest checkpoint, verified.
func (l *Log) latest(ctx context.Context) (string, checkpoint, error) {
	text, err := l.Checkpoint(ctx)
	if err != nil {
		return "", checkpoint{}, err
	}
	c, err := openCheckpoint(text, l.cfg.Key.verifier)
	if err != nil {
		err = &TamperedError{Reason: "the last checkpoint can't be trusted: " + err.Error()}
	}
	return text, c, err
}

// Prove proves that an entry is in the log. It is postern.ErrNotFound when there
// is no such entry.
func (l *Log) Prove(ctx context.Context, seq int64) (Proof, error) {
	text, c, err := l.latest(ctx)
	if err != nil {
		return Proof{}, err
	}
	if seq < 1 || seq > c.size {
		return Proof{}, fmt.Errorf("entry %d of the audit log: %w", seq, postern.ErrNotFound)
	}
	records, err := l.cfg.Store.AuditRecords(ctx, seq-1, 1)
	if err == nil && (len(records) != 1 || records[0].Seq != seq) {
		err = &TamperedError{Seq: seq, Reason: "it is missing"}
	}
	if err != nil {
		return Proof{}, err
	}
	proof, err := tlog.ProveRecord(c.size, seq-1, l.hashReader(ctx))
	if err != nil {
		return Proof{}, fmt.Errorf("prove entry %d of the audit log: %w", seq, err)
	}
	p := Proof{Entry: records[0].Body, Checkpoint: text, Hashes: proof}
	// What isn't in the signed log must not look like an answer.
	if _, err := VerifyProof(p, l.PublicKey()); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// ProveExtension proves that the log begins with the first size entries that it
// once had. It is postern.ErrNotFound when the log never had so many.
func (l *Log) ProveExtension(ctx context.Context, size int64) (Extension, error) {
	text, c, err := l.latest(ctx)
	if err != nil {
		return Extension{}, err
	}
	if size < 1 || size > c.size {
		return Extension{}, fmt.Errorf("the audit log has %d entries, and no checkpoint of %d: %w", c.size, size, postern.ErrNotFound)
	}
	proof, err := tlog.ProveTree(c.size, size, l.hashReader(ctx))
	if err != nil {
		return Extension{}, fmt.Errorf("prove that the audit log was extended: %w", err)
	}
	return Extension{From: size, Checkpoint: text, Hashes: proof}, nil
}

func (l *Log) hashReader(ctx context.Context) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			got, err := l.cfg.Store.AuditHashes(ctx, index, 1)
			if err != nil {
				return nil, err
			}
			if len(got) != 1 {
				return nil, &TamperedError{Reason: fmt.Sprintf("hash %d is missing", index)}
			}
			out[i] = got[0]
		}
		return out, nil
	})
}

// VerifyProof verifies a proof with a log's public key, and returns the entry.
func VerifyProof(p Proof, publicKey string) (postern.AuditRecord, error) {
	verifier, err := note.NewVerifier(publicKey)
	if err != nil {
		return postern.AuditRecord{}, errNoKey
	}
	r, err := decodeBody(p.Entry)
	if err != nil {
		return r, &TamperedError{Reason: "the proof's entry can't be read: " + err.Error()}
	}
	c, err := openCheckpoint(p.Checkpoint, verifier)
	if err != nil {
		return r, &TamperedError{Reason: "the proof's checkpoint can't be trusted: " + err.Error()}
	}
	if r.Seq < 1 || r.Seq > c.size || tlog.CheckRecord(p.Hashes, c.size, c.root, r.Seq-1, tlog.RecordHash(p.Entry)) != nil {
		return r, &TamperedError{Seq: r.Seq, Reason: "it isn't the entry that was signed"}
	}
	return r, nil
}

// VerifyExtension verifies that the log of a proof's checkpoint is a
// continuation of the log of an earlier one, and returns both numbers of entries.
func VerifyExtension(earlier string, x Extension, publicKey string) (from, to int64, err error) {
	verifier, err := note.NewVerifier(publicKey)
	if err != nil {
		return 0, 0, errNoKey
	}
	was, err := openCheckpoint(earlier, verifier)
	if err != nil {
		return 0, 0, fmt.Errorf("the earlier checkpoint can't be trusted: %w", err)
	}
	is, err := openCheckpoint(x.Checkpoint, verifier)
	if err != nil {
		return was.size, 0, &TamperedError{Reason: "the present checkpoint can't be trusted: " + err.Error()}
	}
	if is.size < was.size {
		return was.size, is.size, &TamperedError{Seq: is.size + 1, Reason: fmt.Sprintf(
			"a checkpoint was signed for %d entries, and now there are %d: entries were removed, or an old copy was put back", was.size, is.size)}
	}
	if tlog.CheckTree(x.Hashes, is.size, is.root, was.size, was.root) != nil {
		return was.size, is.size, &TamperedError{Reason: fmt.Sprintf("the first %d entries aren't those that were signed: the log was forked or rewritten", was.size)}
	}
	return was.size, is.size, nil
}

// CheckpointSize verifies a checkpoint and returns its number of entries.
func CheckpointSize(text, publicKey string) (int64, error) {
	verifier, err := note.NewVerifier(publicKey)
	if err != nil {
		return 0, errNoKey
	}
	c, err := openCheckpoint(text, verifier)
	if err != nil {
		return 0, fmt.Errorf("the checkpoint can't be trusted: %w", err)
	}
	return c.size, nil
}

// ClaimedSize is the number of entries that a checkpoint says it is of, unverified.
func ClaimedSize(text string) (int64, error) {
	_, rest, _ := strings.Cut(text, "\n")
	line, _, _ := strings.Cut(rest, "\n")
	size, err := strconv.ParseInt(line, 10, 64)
	if err != nil || size < 0 {
		return 0, errors.New("that is no checkpoint")
	}
	return size, nil
}

var errNoKey = errors.New("that is no public key of an audit log")
