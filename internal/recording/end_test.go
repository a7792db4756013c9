package recording

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"postern"
)

// watchedDisk counts syncs, and may refuse them.
type watchedDisk struct {
	file
	syncs atomic.Int64
	err   error
}

func (d *watchedDisk) Sync() error {
	d.syncs.Add(1)
	if d.err != nil {
		return d.err
	}
	return d.file.Sync()
}

// One that ends alone doesn't wait. Ends wait for each other, until there are enough or for as long as they may,
// and each is on the disk and in its day when its Close returns. What goes wrong
// with one is nothing to the others.
func TestEndsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFolder(t, func(c *Config) { c.Sync, c.ShareEnds = SyncChunk, 50*time.Millisecond })
		begin := func(id string) (*Writer, *watchedDisk) {
			w, err := f.Start(postern.SessionInfo{ID: id, StartedAt: start})
			must(t, err)
			d := &watchedDisk{file: w.file}
			w.file = d
			return w, d
		}
		var over atomic.Int64
		end := func(w *Writer) {
			digest, err := w.Close()
			if err != nil || digest == "" {
				t.Errorf("%s: %v", w.ID(), err)
			}
			if _, err := os.Stat(f.dayPath(w.ID(), start)); err != nil {
				t.Error(err)
			}
			over.Add(1)
		}
		alone := func(id string) {
			t.Helper()
			w, disk := begin(id)
			began := time.Now()
			end(w)
			if took := time.Since(began); took != 0 || disk.syncs.Load() != 1 {
				t.Errorf("an end alone took %v, %d syncs", took, disk.syncs.Load())
			}
			over.Add(-1)
		}
		alone("ss_alone")
		one, disk := begin("ss_1")
		two, _ := begin("ss_2")
		go end(one)
		go end(two)
		synctest.Wait()
		if over.Load() != 0 || disk.syncs.Load() != 0 {
			t.Fatal("an end didn't wait for others")
		}
		time.Sleep(50 * time.Millisecond) // of the bubble
		synctest.Wait()
		if over.Load() != 2 || disk.syncs.Load() != 1 {
			t.Fatalf("%d ended, %d syncs", over.Load(), disk.syncs.Load())
		}

		alone("ss_again")
		began := time.Now()
		for _, id := range []string{"ss_3", "ss_4", "ss_5"} {
			w, _ := begin(id)
			go end(w)
		}
		synctest.Wait()
		last, disk := begin("ss_6")
		disk.err = errors.New("I/O error")
		if _, err := last.Close(); !errors.Is(err, disk.err) {
			t.Errorf("%v, want that the disk refused it", err)
		}
		synctest.Wait()
		if took := time.Since(began); over.Load() != 5 || took != 0 {
			t.Errorf("%d ended after %v", over.Load(), took)
		}
		if _, err := os.Stat(f.livePath("ss_6")); err != nil {
			t.Errorf("what isn't on the disk was moved: %v", err)
		}
	})
}

// A recording that a dead process left behind is ended at once: there may be many,
// one after the other.
func TestFinishDoesntWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFolder(t, func(c *Config) { c.Sync, c.ShareEnds = SyncChunk, time.Hour })
		w, err := f.Start(postern.SessionInfo{ID: "ss_1", StartedAt: start})
		must(t, err)
		must(t, w.file.Close())
		began := time.Now()
		_, err = f.Finish("ss_1")
		must(t, err)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if _, err := os.Stat(f.dayPath("ss_1", start)); err != nil {
			t.Error(err)
		}
	})
}
