package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postern"
)

// File writes lines to a file, and begins another when it has grown large.
type File struct {
	Path    string
	MaxSize int64 // begin another when it is larger
	Keep    int   // how many earlier ones stay
	Format  Format

	file *os.File
	size int64
}

// Deliver implements [Sink]: the lines are on the disk when it returns.
func (f *File) Deliver(_ context.Context, records []postern.AuditRecord) error {
	var text bytes.Buffer
	for i := range records {
		line, err := f.Format(&records[i])
		if err != nil {
			return err
		}
		text.Write(line)
		text.WriteByte('\n')
	}
	if err := f.open(records[0].Seq, int64(text.Len())); err != nil {
		return err
	}
	n, err := f.file.Write(text.Bytes())
	if f.size += int64(n); err == nil {
		err = f.file.Sync()
	}
	if err == nil {
		return nil
	}
	// A torn line would join with the next: what was written of these is taken back.
	f.size -= int64(n)
	return errors.Join(err, f.file.Truncate(f.size), f.Close())
}

// open opens the file, and renames it before when these bytes would make it too large.
func (f *File) open(first, more int64) error {
	if f.file == nil {
		file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		st, err := file.Stat()
		if err != nil {
			return errors.Join(err, file.Close())
		}
		f.file, f.size = file, st.Size()
		if err := f.mend(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if f.size == 0 || f.size+more <= f.MaxSize {
		return nil
	}
	err := errors.Join(f.Close(), os.Rename(f.Path, f.Path+fmt.Sprintf(".%016d", first-1)), f.prune())
	if err != nil {
		return err
	}
	return f.open(first, 0)
}

// mend takes back a line that a crash left torn: it is delivered again.
func (f *File) mend() error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	whole := f.size
	for chunk := make([]byte, 4<<10); whole > 0; {
		n := min(whole, int64(len(chunk)))
		if _, err := file.ReadAt(chunk[:n], whole-n); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(chunk[:n], '\n'); i >= 0 {
			whole += int64(i+1) - n
			break
		}
		whole -= n
	}
	if whole == f.size {
		return nil
	}
	f.size = whole
	return f.file.Truncate(whole)
}

// prune removes the oldest of the earlier files. Their names end in the number of
// their last entry.
func (f *File) prune() error {
	entries, err := os.ReadDir(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	var earlier []string
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), filepath.Base(f.Path)+".")
		if ok && len(number) == 16 && strings.Trim(number, "0123456789") == "" {
			earlier = append(earlier, e.Name())
		}
	}
	slices.Sort(earlier)
	var errs []error
	for _, name := range earlier[:max(len(earlier)-f.Keep, 0)] {
		errs = append(errs, os.Remove(filepath.Join(filepath.Dir(f.Path), name)))
	}
	return errors.Join(errs...)
}

// Close implements [Sink].
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}
