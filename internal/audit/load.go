package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"postern"
)

// load reads the tree from the store, and checks it against the latest
// checkpoint, the entries that follow that, and the anchor. Entries before the
// checkpoint are not read again: that is Verify's work.
func (l *Log) load(ctx context.Context) error {
	t, signed, err := l.readHead(ctx)
	if err != nil {
		return err
	}
	if err := l.checkRest(ctx, signed, &t); err != nil {
		return err
	}
	if err := l.checkAnchor(ctx, t.size); err != nil {
		return err
	}
	if err := l.openWitnesses(ctx, t.size); err != nil {
		return err
	}
	l.tree, l.signed = t, signed
	return nil
}

// readHead reads the tree and the size of the last checkpoint, and checks that
// they belong together.
func (l *Log) readHead(ctx context.Context) (t tree, signed int64, err error) {
	size, hashes, err := l.cfg.Store.AuditSize(ctx)
	if err != nil {
		return t, 0, err
	}
	if want := tlog.StoredHashCount(size); hashes != want {
		return t, 0, &TamperedError{Reason: fmt.Sprintf("the store holds %d entries, but %d hashes where there should be %d", size, hashes, want)}
	}
	if t, err = readTree(ctx, l.cfg.Store, size); err != nil {
		return t, 0, err
	}
	last, err := l.cfg.Store.LastAuditCheckpoint(ctx)
	switch {
	case errors.Is(err, postern.ErrNotFound) && size == 0:
		return t, 0, nil
	case errors.Is(err, postern.ErrNotFound):
		return t, 0, &TamperedError{Reason: fmt.Sprintf("the store holds %d entries, but no checkpoint", size)}
	case err != nil:
		return t, 0, err
	}
	// What another process signed after the size was read is not of this tree.
	if last.Size > size {
		if size, _, err = l.cfg.Store.AuditSize(ctx); err != nil {
			return t, 0, err
		}
	}
	if signed, err = l.checkSigned(ctx, "the last checkpoint", last.Note, size); err != nil {
		return t, 0, err
	}
	if signed != last.Size {
		return t, 0, &TamperedError{Reason: fmt.Sprintf("the checkpoint of size %d is kept as one of size %d", signed, last.Size)}
	}
	return t, min(signed, t.size), nil
}

// checkSigned verifies a checkpoint against the stored hashes.
func (l *Log) checkSigned(ctx context.Context, what, signed string, size int64) (int64, error) {
	c, err := openCheckpoint(signed, l.cfg.Key.verifier)
	if err != nil {
		return 0, &TamperedError{Reason: fmt.Sprintf("%s can't be trusted: %v", what, err)}
	}
	if c.size > size {
		return 0, &TamperedError{Seq: size + 1, Reason: fmt.Sprintf(
			"%s was signed for %d entries on %s, and the store holds only %d: entries were removed, or an old copy of the store was put back",
			what, c.size, c.at.Format("2006-01-02 15:04:05 UTC"), size)}
	}
	then, err := readTree(ctx, l.cfg.Store, c.size)
	if err != nil {
		return 0, err
	}
	if root := then.root(); root != c.root {
		return 0, &TamperedError{Reason: fmt.Sprintf("%s says that the first %d entries have the root %s, and the stored ones have %s",
			what, c.size, c.root, root)}
	}
	return c.size, nil
}

// checkRest recomputes the entries that no checkpoint covers yet.
func (l *Log) checkRest(ctx context.Context, from int64, want *tree) error {
	t, err := readTree(ctx, l.cfg.Store, from)
	if err != nil {
		return err
	}
	err = l.walk(ctx, &t, want.size, nil)
	if err == nil && t.root() != want.root() {
		err = &TamperedError{Reason: "the stored hashes don't add up"}
	}
	return err
}

// checkAnchor compares with the checkpoint that is kept outside of the store.
func (l *Log) checkAnchor(ctx context.Context, size int64) error {
	if l.cfg.Anchor == "" {
		return nil
	}
	signed, err := os.ReadFile(l.cfg.Anchor)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := l.checkSigned(ctx, "the checkpoint in "+l.cfg.Anchor, string(signed), size); err != nil {
		return fmt.Errorf("%w. To go on with a store that was restored on purpose, move that file away: the gap stays visible in exports", err)
	}
	return nil
}

// writeAnchor replaces the file as a whole.
func (l *Log) writeAnchor(signed string) error {
	f, err := os.CreateTemp(filepath.Dir(l.cfg.Anchor), ".audit-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(signed)
	if err == nil {
		err = f.Sync() // an empty file after a power cut would keep the gateway from starting
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), l.cfg.Anchor)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
