package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"postern"
)

// trailer is the line of an export that vouches for the lines since the one
// before. The last one's note says that the export ends there.
type trailer struct {
	Checkpoint string      `json:"checkpoint"`
	Hashes     []tlog.Hash `json:"hashes"` // of the lines since the trailer before
}

// exportEvery is how many entries a trailer is for, at least, but for the last.
const exportEvery = 500

// Export writes the log as JSON lines: each entry as its hash was made, and
// from time to time, and at the end, a line with a signed checkpoint. What is
// added meanwhile is left out.
func (l *Log) Export(ctx context.Context, w io.Writer) error {
	if err := l.export(ctx, w); err != nil {
		return fmt.Errorf("export the audit log: %w", err)
	}
	return nil
}

func (l *Log) export(ctx context.Context, w io.Writer) error {
	x := &exporter{log: l, out: bufio.NewWriter(w)}
	size, root := l.head()
	if err := l.walkBodies(ctx, size, x.add(ctx)); err != nil {
		return err
	}
	// An export must not vouch for what was never written.
	if x.tree.root() != root {
		return &TamperedError{Reason: "the stored entries aren't those that were written; verify says which"}
	}
	end := checkpoint{size: size, root: x.tree.root(), at: l.cfg.Now(), exported: true}
	signed, err := l.cfg.Key.sign(end)
	if err != nil {
		return err
	}
	if err := x.trail(signed); err != nil {
		return err
	}
	return x.out.Flush()
}

// walkBodies checks entries up to a size and passes their bodies on.
func (l *Log) walkBodies(ctx context.Context, size int64, fn func([]byte) error) error {
	for after := int64(0); after < size; {
		records, err := l.cfg.Store.AuditRecords(ctx, after, page)
		if err != nil {
			return err
		}
		records = records[:min(int64(len(records)), size-after)]
		if len(records) == 0 {
			return &TamperedError{Seq: after + 1, Reason: "it is missing"}
		}
		for i := range records {
			if err := checkRecord(&records[i], after+1); err != nil {
				return err
			}
			if err := fn(records[i].Body); err != nil {
				return err
			}
			after++
		}
	}
	return nil
}

type exporter struct {
	log    *Log
	out    *bufio.Writer
	tree   tree
	hashes []tlog.Hash
	next   []postern.AuditCheckpoint
}

func (x *exporter) add(ctx context.Context) func([]byte) error {
	return func(body []byte) error {
		leaf := tlog.RecordHash(body)
		x.tree.add(nil, leaf)
		x.hashes = append(x.hashes, leaf)
		if _, err := x.out.Write(append(body, '\n')); err != nil {
			return err
		}
		if len(x.hashes) < exportEvery {
			return nil
		}
		return x.signed(ctx)
	}
}

// signed writes a trailer where the log was signed.
func (x *exporter) signed(ctx context.Context) error {
	if len(x.next) == 0 || x.next[0].Size < x.tree.size {
		var err error
		if x.next, err = x.log.cfg.Store.AuditCheckpoints(ctx, x.tree.size-1, 1); err != nil {
			return err
		}
	}
	if len(x.next) == 0 || x.next[0].Size != x.tree.size {
		return nil
	}
	return x.trail(x.next[0].Note)
}

func (x *exporter) trail(signed string) error {
	text, err := json.Marshal(trailer{Checkpoint: signed, Hashes: x.hashes})
	if err != nil {
		return err
	}
	x.hashes = x.hashes[:0]
	_, err = x.out.Write(append(text, '\n'))
	return err
}
