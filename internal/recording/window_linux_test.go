package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// busy starts a recording and has it get windows, with n commands. Its timer,
// which would take them from it, doesn't run.
func busy(t *testing.T, f *Folder) (w *Writer, n int64) {
	t.Helper()
	w = startWriter(t, f, "ss_1")
	for n = 1; n < 1000; n++ {
		must(t, w.Append(command(n, fmt.Sprintf("select %d", n))))
		must(t, w.Flush())
		w.mu.Lock()
		w.timer.Stop()
		done := w.windows != nil
		w.mu.Unlock()
		if done {
			return w, n
		}
	}
	t.Fatal("it got no windows: Linux has them since 5.14")
	return nil, 0
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

// TestWindows: whatever the sizes of frames, what is read is what was written,
// by others, too, and while it is; and the file is then as if it had been written.
func TestWindows(t *testing.T) {
	f := openFolder(t, func(c *Config) { c.Sync = SyncChunk })
	other := openFolder(t, func(c *Config) { c.Dir = f.cfg.Dir })
	w, first := busy(t, f)
	const last = 3000
	text := func(n int64) string {
		random := rand.New(rand.NewPCG(uint64(n), 0))
		size := random.IntN(2000)
		if random.IntN(1000) == 0 {
			size = random.IntN(windowSize)
		}
		noise := make([]byte, size)
		for i := range noise {
			noise[i] = byte(' ' + random.IntN(90))
		}
		return string(noise)
	}
	var readers sync.WaitGroup
	ended := make(chan struct{})
	readers.Go(func() {
		for stop := false; !stop; {
			select {
			case <-ended:
				stop = true
			default:
			}
			events, err := readAll(t, other, "ss_1")
			var unfinished *UnfinishedError
			if !errors.As(err, &unfinished) || int64(len(events)) < first {
				t.Errorf("meanwhile: %d events, %v", len(events), err)
				return
			}
		}
	})
	readers.Go(func() {
		r, err := other.Read("ss_1")
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = r.Close() }()
		for n := int64(1); n <= last; {
			e, err := r.Next()
			var unfinished *UnfinishedError
			switch {
			case errors.As(err, &unfinished):
				continue
			case err != nil || e.N != n:
				t.Errorf("event %d, %v, where %d was to come", e.N, err, n)
				return
			}
			n++
		}
	})
	mapped := 0
	for n := first + 1; n <= last; n++ {
		must(t, w.Append(command(n, text(n))))
		must(t, w.Flush())
		w.mu.Lock()
		if w.windows != nil {
			mapped++
		}
		w.mu.Unlock()
	}
	close(ended)
	readers.Wait()
	if mapped < last/2 {
		t.Errorf("%d of %d frames were copied", mapped, last)
	}
	digest := digestOf(t, w)
	if got, _, err := f.Verify("ss_1"); err != nil || got != digest {
		t.Errorf("verify: %s, %v; %s was written", got, err, digest)
	}
	events, err := readAll(t, f, "ss_1")
	if !errors.Is(err, io.EOF) || len(events) != last {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for i, e := range events[first:] {
		if n := first + 1 + int64(i); e.N != n || e.Command.Text != text(n) {
			t.Fatalf("event %d is %d: %.50q", n, e.N, e.Command.Text)
		}
	}
}

// TestRestGivesWindowsBack: a session that does little has no window, and its
// file ends with its last frame.
func TestRestGivesWindowsBack(t *testing.T) {
	f := openFolder(t, nil)
	w, n := busy(t, f)
	maps := func() string {
		text, err := os.ReadFile("/proc/self/maps")
		must(t, err)
		return string(text)
	}
	if path := f.livePath("ss_1"); !strings.Contains(maps(), path) || fileSize(t, path) <= w.size {
		t.Error("it has no window")
	}
	w.flushLate() // it was busy
	w.timer.Stop()
	if w.windows == nil || !w.armed {
		t.Error("it lost its windows while it was busy")
	}
	w.flushLate() // nothing happened since
	if path := f.livePath("ss_1"); w.windows != nil || strings.Contains(maps(), path) || fileSize(t, path) != w.size {
		t.Errorf("it has windows still, or its file of %d bytes has %d", w.size, fileSize(t, path))
	}
	must(t, w.Append(command(n+1, "select")))
	digest := digestOf(t, w)
	if got, events, err := f.Verify("ss_1"); err != nil || got != digest || events != n+1 {
		t.Errorf("verify: %s, %d events, %v", got, events, err)
	}
}

// TestSyncFlushHasNoWindows: who waits for the disk at each flush has no use for them.
func TestSyncFlushHasNoWindows(t *testing.T) {
	f := openFolder(t, func(c *Config) { c.Sync = SyncFlush })
	w := startWriter(t, f, "ss_1")
	for n := range int64(2 * busyFrames) {
		must(t, w.Append(command(n+1, "select")))
		must(t, w.Flush())
	}
	if w.windows != nil {
		t.Error("it has windows")
	}
	digestOf(t, w)
}

// TestNoWindowToBeHad: a file that can't be mapped is written.
func TestNoWindowToBeHad(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	file := w.file.(*os.File)
	blind, err := os.OpenFile(file.Name(), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	w.file = blind
	for n := range int64(3 * busyFrames) {
		must(t, w.Append(command(n+1, "select")))
		must(t, w.Flush())
		if got := fileSize(t, file.Name()); w.windows != nil || got != w.size {
			t.Fatalf("windows, or a file of %d bytes instead of %d", got, w.size)
		}
	}
	must(t, file.Close())
	digestOf(t, w)
	if _, events, err := f.Verify("ss_1"); err != nil || events != 3*busyFrames {
		t.Errorf("%d events, %v", events, err)
	}
}

// TestNoWayBack: a file that was made longer for a window, could not be mapped and
// can't be cut takes no frame: behind the zeros nobody would find it.
func TestNoWayBack(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	fd, err := unix.MemfdCreate("recording", unix.MFD_ALLOW_SEALING)
	must(t, err)
	sealed := os.NewFile(uintptr(fd), "recording")
	defer func() { _ = sealed.Close() }()
	if _, err := unix.FcntlInt(sealed.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err != nil {
		t.Fatal(err)
	}
	blind, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	must(t, w.file.Close())
	w.file, w.size = blind, 0
	for n := int64(1); err == nil; n++ {
		if n > 2*busyFrames {
			t.Fatal("each frame was taken")
		}
		must(t, w.Append(command(n, "select")))
		before := w.size
		if err = w.Flush(); err != nil && w.size != before {
			t.Error("the frame was written all the same")
		}
	}
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("flush: %v", err)
	}
	if digest, closeErr := w.Close(); digest != "" || !errors.Is(closeErr, err) {
		t.Errorf("close: %q, %v", digest, closeErr)
	}
}

// TestNoNextWindow: when there is no window to go on in, frames are written.
func TestNoNextWindow(t *testing.T) {
	f := openFolder(t, nil)
	w, n := busy(t, f)
	file := w.file.(*os.File)
	blind, err := os.OpenFile(file.Name(), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	w.windows.file = blind
	for end := w.windows.now.at + 2*windowSize; w.size < end; {
		n++
		must(t, w.Append(command(n, fmt.Sprint(rand.Uint64()))))
		must(t, w.Flush())
	}
	must(t, blind.Close())
	digestOf(t, w)
	if _, events, err := f.Verify("ss_1"); err != nil || events != n {
		t.Errorf("%d events of %d, %v", events, n, err)
	}
}

// TestCutFileBreaksTheRecording: a file that is cut while it is mapped ends the
// recording, not the process.
func TestCutFileBreaksTheRecording(t *testing.T) {
	f := openFolder(t, nil)
	w, n := busy(t, f)
	must(t, os.Truncate(f.livePath("ss_1"), 0))
	must(t, w.Append(command(n+1, "select")))
	first := w.Flush()
	if first == nil || !strings.Contains(first.Error(), "cut") {
		t.Fatalf("flush: %v", first)
	}
	if err := w.Append(command(n+2, "select")); !errors.Is(err, first) {
		t.Errorf("later: %v", err)
	}
	if digest, err := w.Close(); digest != "" || !errors.Is(err, first) {
		t.Errorf("close: %q, %v", digest, err)
	}
	if file, err := os.Open(f.livePath("ss_1")); err != nil || lock(file, false) != nil {
		t.Error("its file is locked still")
	}
}

// TestCutWithinAPage: a file that is cut where its frames are still has its last page
// in memory. It is noticed within the second, and not made longer again.
func TestCutWithinAPage(t *testing.T) {
	for name, notice := range map[string]func(*Writer){
		"a second later": (*Writer).flushLate,
		"a chunk later":  func(w *Writer) { _ = w.syncSoon() },
		"at a large one": func(w *Writer) { _ = w.rest() },
		"at the end":     func(*Writer) {},
	} {
		f := openFolder(t, nil)
		w, n := busy(t, f)
		size := w.size - 10
		must(t, os.Truncate(f.livePath("ss_1"), size))
		w.mu.Lock()
		page := int64(os.Getpagesize())
		goesOn := w.size%page < page-1000
		w.mu.Unlock()
		if goesOn {
			must(t, w.Append(command(n+1, "select")))
			must(t, w.Flush())
		}
		notice(w)
		if name != "at the end" {
			if err := w.Append(command(n+2, "select")); err == nil || !strings.Contains(err.Error(), "its file was cut") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if digest, err := w.Close(); err == nil || digest != "" {
			t.Errorf("%s: close: %q, %v", name, digest, err)
		}
		if got := fileSize(t, f.livePath("ss_1")); got != size {
			t.Errorf("%s: the file has %d bytes, and was cut to %d", name, got, size)
		}
	}
}

// TestTornCopy: wherever a copy breaks off, the frames before it hold, and how
// much of it there is is told; but only at the end of a file's frames.
func TestTornCopy(t *testing.T) {
	s := newSample(t, "ss_1")
	frames := s.frames[1 : len(s.frames)-1]
	for i, frame := range frames {
		before := bytes.Join(s.frames[:i+1], nil)
		room := make([]byte, 3*windowSize)
		for copied := typeAt; copied <= len(frame); copied++ {
			part := bytes.Clone(frame[:copied])
			if copied > typeAt {
				part[typeAt] = 0
			}
			torn := int64(len(bytes.TrimRight(part, "\x00")))
			n, err := s.read(append(bytes.Clone(before), append(part, room...)...))
			var unfinished *UnfinishedError
			if !errors.As(err, &unfinished) || n != i || unfinished.Torn != torn {
				t.Fatalf("%d bytes of frame %d: %d events, then %v; %d bytes are torn", copied, i, n, err, torn)
			}
			if copied == typeAt {
				continue
			}
			n, err = s.read(append(append(append(bytes.Clone(before), part...), make([]byte, len(frame)-copied)...), 1))
			var tampered *TamperedError
			if !errors.As(err, &tampered) || n != i {
				t.Fatalf("a byte after %d bytes of frame %d: %d events, then %v", copied, i, n, err)
			}
		}
	}
	// No frame that is copied is so large.
	head := make([]byte, frameHeader+2*largestPut)
	binary.BigEndian.PutUint32(head, 2*largestPut)
	var tampered *TamperedError
	if n, err := s.read(append(bytes.Join(s.frames[:2], nil), head...)); n != 1 || !errors.As(err, &tampered) {
		t.Errorf("a large frame without a type: %d events, then %v", n, err)
	}
}

// TestCrashLeavesRoom: what a crash leaves behind the frames of a busy session
// isn't told as lost, and goes when the recording is finished.
func TestCrashLeavesRoom(t *testing.T) {
	f := openFolder(t, nil)
	w, n := busy(t, f)
	crash(t, w)
	must(t, w.windows.close()) // as the process does
	info, err := f.Finish("ss_1")
	must(t, err)
	if info.Commands != n || info.EndReason != interrupted {
		t.Errorf("finished as %+v", info)
	}
	if _, events, err := f.Verify("ss_1"); err != nil || events != n+1 {
		t.Errorf("%d events, %v", events, err)
	}
	if got := fileSize(t, f.dayPath("ss_1", start)); got >= windowSize {
		t.Errorf("the file has %d bytes", got)
	}
}
