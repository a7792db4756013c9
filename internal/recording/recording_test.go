package recording

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"postern"
)

// keyring wraps keys with AES-GCM under a fixed key. The nonce is derived from
// what is wrapped, so that examples stay the same.
type keyring struct{ aead cipher.AEAD }

func newKeyring(secret string) keyring {
	key := sha256.Sum256([]byte(secret))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return keyring{aead}
}

func (k keyring) Wrap(key, aad []byte) ([]byte, error) {
	sum := sha256.Sum256(append(append([]byte{}, key...), aad...))
	nonce := sum[:12]
	return k.aead.Seal(nonce, nonce, key, aad), nil
}

func (k keyring) Unwrap(wrapped, aad []byte) ([]byte, error) {
	if len(wrapped) < 12 {
		return nil, errors.New("too short")
	}
	return k.aead.Open(nil, wrapped[:12], wrapped[12:], aad)
}

var start = time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)

func openFolder(t testing.TB, change func(*Config)) *Folder {
	t.Helper()
	cfg := Config{Dir: t.TempDir(), Keys: newKeyring("test"), Sync: SyncNever}
	if change != nil {
		change(&cfg)
	}
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func session(id string) postern.SessionInfo {
	return postern.SessionInfo{
		ID: id, Identity: "alice", Kind: postern.User, Resource: "orders-db", Protocol: "postgres",
		Source: "127.0.0.1:50000", StartedAt: start,
	}
}

func startWriter(t testing.TB, f *Folder, id string) *Writer {
	t.Helper()
	w, err := f.Start(session(id))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func command(n int64, text string) postern.Event {
	return postern.Event{Time: start.Add(time.Duration(n) * time.Second), Kind: postern.EventCommand, N: n, Command: &postern.Command{
		Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read, Text: text,
		Objects: []postern.Object{{Kind: "table", Name: "public.orders"}},
	}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func digestOf(t testing.TB, w *Writer) string {
	t.Helper()
	digest, err := w.Close()
	must(t, err)
	return digest
}

// readAll reads until Next returns an error, and returns that.
func readAll(t testing.TB, f *Folder, id string) ([]postern.Event, error) {
	t.Helper()
	r, err := f.Read(id)
	if err != nil {
		return nil, err
	}
	defer func() { must(t, r.Close()) }()
	var events []postern.Event
	for {
		e, err := r.Next()
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

func texts(events []postern.Event) string {
	var out []string
	for _, e := range events {
		switch {
		case e.Command != nil:
			out = append(out, e.Command.Text)
		default:
			out = append(out, string(e.Kind))
		}
	}
	return strings.Join(out, "|")
}

func TestFinishedRecording(t *testing.T) {
	for _, mode := range []Sync{SyncChunk, SyncFlush, SyncNever} {
		t.Run(string(mode), func(t *testing.T) {
			f := openFolder(t, func(c *Config) { c.Sync = mode })
			w := startWriter(t, f, "ss_1")
			must(t, w.Append(command(1, "select 1"), command(2, "select 2")))
			must(t, w.Flush())
			must(t, w.Append(command(3, "select 3")))
			digest := digestOf(t, w)

			events, err := readAll(t, f, "ss_1")
			if !errors.Is(err, io.EOF) || texts(events) != "select 1|select 2|select 3" {
				t.Errorf("read %s, %v", texts(events), err)
			}
			got, n, err := f.Verify("ss_1")
			if err != nil || got != digest || n != 3 || !strings.HasPrefix(digest, "sha256:") {
				t.Errorf("verify: %s (closed as %s), %d events, %v", got, digest, n, err)
			}
			if again, err := w.Close(); again != digest || err != nil {
				t.Errorf("second Close: %s, %v", again, err)
			}
			if err := w.Append(command(4, "late")); !errors.Is(err, ErrClosed) {
				t.Errorf("Append after Close: %v", err)
			}
			if err := w.Flush(); !errors.Is(err, ErrClosed) {
				t.Errorf("Flush after Close: %v", err)
			}
		})
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	f := openFolder(t, func(c *Config) { c.Dir = filepath.Join(c.Dir, "recordings") })
	w := startWriter(t, f, "ss_1")
	mode := func(path string, want fs.FileMode) {
		t.Helper()
		st, err := os.Stat(path)
		must(t, err)
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, st.Mode().Perm(), want)
		}
	}
	mode(f.livePath("ss_1"), 0o600)
	digestOf(t, w)
	mode(f.cfg.Dir, 0o700)
	mode(filepath.Join(f.cfg.Dir, "2026", "11", "24"), 0o700)
	mode(filepath.Join(f.cfg.Dir, "2026", "11", "24", "ss_1.prec"), 0o600)
}

func TestNothingIsReadableOnDisk(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 'a-very-secret-word'")))
	digestOf(t, w)
	raw, err := os.ReadFile(f.dayPath("ss_1", start))
	must(t, err)
	for _, word := range []string{"secret", "alice", "select", "orders"} {
		if bytes.Contains(raw, []byte(word)) {
			t.Errorf("the file shows %q", word)
		}
	}
	other := openFolder(t, func(c *Config) { c.Dir, c.Keys = f.cfg.Dir, newKeyring("another") })
	if _, err := other.Read("ss_1"); err == nil {
		t.Error("another keyring opens it")
	}
}

func TestStartRefuses(t *testing.T) {
	f := openFolder(t, nil)
	for _, id := range []string{"", "ss_", "x_1", "ss_../../etc", "ss_a/b", "ss_" + strings.Repeat("a", 62), "ss_\x00"} {
		if _, err := f.Start(session(id)); err == nil {
			t.Errorf("id %q was taken", id)
		}
		if _, err := f.Read(id); err == nil {
			t.Errorf("id %q was read", id)
		}
	}
	w := startWriter(t, f, "ss_1")
	if _, err := f.Start(session("ss_1")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second recording of a live session: %v", err)
	}
	digestOf(t, w)
	if _, err := f.Start(session("ss_1")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second recording of a finished session: %v", err)
	}
	must(t, f.Ready())
	full := openFolder(t, func(c *Config) { c.MinFree = 1 << 60 })
	if err := full.Ready(); err == nil {
		t.Error("a full disk is ready")
	}
	if _, err := full.Start(session("ss_1")); err == nil || !strings.Contains(err.Error(), "MiB") {
		t.Errorf("start on a full disk: %v", err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), Keys: newKeyring("k"), Sync: "sometimes"}); err == nil {
		t.Error("an unknown sync was taken")
	}
	if _, err := f.Read("ss_absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent recording: %v", err)
	}
}

// failingDisk takes room bytes, and then is full.
type failingDisk struct {
	file
	room   int
	syncOK bool
}

func (d *failingDisk) Write(b []byte) (int, error) {
	if len(b) <= d.room {
		d.room -= len(b)
		return d.file.Write(b)
	}
	n, err := d.file.Write(b[:d.room])
	d.room = 0
	return n, errors.Join(err, syscall.ENOSPC)
}

func (d *failingDisk) Sync() error {
	if d.syncOK {
		return d.file.Sync()
	}
	return syscall.EIO
}

func TestFullDiskBreaksTheRecordingForGood(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 1")))
	must(t, w.Flush())
	w.file = &failingDisk{file: w.file, room: 100, syncOK: true}
	must(t, w.Append(command(2, "select 2")))
	first := w.Flush()
	if !errors.Is(first, syscall.ENOSPC) {
		t.Fatalf("flush: %v", first)
	}
	w.file.(*failingDisk).room = 1 << 20 // space again: too late for this recording
	for name, err := range map[string]error{"append": w.Append(command(3, "select 3")), "flush": w.Flush()} {
		if !errors.Is(err, first) {
			t.Errorf("%s after the error: %v", name, err)
		}
	}
	if digest, err := w.Close(); digest != "" || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %q, %v", digest, err)
	}
	events, err := readAll(t, f, "ss_1")
	var unfinished *UnfinishedError
	if !errors.As(err, &unfinished) || texts(events) != "select 1" || unfinished.Torn != 100 {
		t.Errorf("after the crash: %s, %v", texts(events), err)
	}
	info, err := f.Finish("ss_1")
	must(t, err)
	if info.Commands != 1 || !strings.Contains(info.EndReason, "100 torn bytes") {
		t.Errorf("finished as %+v", info)
	}
}

func TestFailingSyncBreaksTheRecording(t *testing.T) {
	for _, mode := range []Sync{SyncFlush, SyncChunk} {
		f := openFolder(t, func(c *Config) { c.Sync = mode })
		w := startWriter(t, f, "ss_1")
		w.file = &failingDisk{file: w.file, room: 1 << 20}
		must(t, w.Append(command(1, "select 1")))
		if err := w.Flush(); (mode == SyncFlush) != errors.Is(err, syscall.EIO) {
			t.Errorf("%s: flush: %v", mode, err)
		}
		if digest, err := w.Close(); digest != "" || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: close: %q, %v", mode, digest, err)
		}
	}
}

// TestFailingSyncOfAChunk: a sync that fails while the session goes on breaks the
// recording as soon as it is known, and at the latest with the next chunk.
func TestFailingSyncOfAChunk(t *testing.T) {
	f := openFolder(t, func(c *Config) { c.Sync = SyncChunk })
	w := startWriter(t, f, "ss_1")
	w.file = &failingDisk{file: w.file, room: 1 << 30}
	noise := make([]byte, 2*chunkSize)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	chunk := command(1, hex.EncodeToString(noise))
	must(t, w.Append(chunk))
	if err := errors.Join(w.Append(chunk), w.Flush()); !errors.Is(err, syscall.EIO) {
		t.Errorf("with the next chunk: %v", err)
	}
	if err := w.Append(command(2, "select 2")); !errors.Is(err, syscall.EIO) {
		t.Errorf("later: %v", err)
	}
	if digest, err := w.Close(); digest != "" || !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %q, %v", digest, err)
	}
}

// TestSyncUnderWayAtTheEnd: a recording is closed when all of it is on the disk.
func TestSyncUnderWayAtTheEnd(t *testing.T) {
	f := openFolder(t, func(c *Config) { c.Sync = SyncChunk })
	w := startWriter(t, f, "ss_1")
	disk := &slowDisk{file: w.file, release: make(chan struct{})}
	w.file = disk
	noise := make([]byte, 2*chunkSize)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	must(t, w.Append(command(1, hex.EncodeToString(noise))))
	must(t, w.Append(command(2, "select 2"))) // the disk isn't waited for
	must(t, w.Flush())
	closed := make(chan string)
	go func() {
		digest, err := w.Close()
		if err != nil {
			t.Error(err)
		}
		closed <- digest
	}()
	select {
	case <-closed:
		t.Fatal("it was closed before the disk had it")
	case disk.release <- struct{}{}: // the chunk's own
	}
	if digest := <-closed; digest == "" || disk.syncs.Load() != 2 {
		t.Errorf("digest %q after %d syncs", digest, disk.syncs.Load())
	}
	if events, err := readAll(t, f, "ss_1"); !errors.Is(err, io.EOF) || len(events) != 2 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// slowDisk takes the first sync when it is told to.
type slowDisk struct {
	file
	release chan struct{}
	syncs   atomic.Int64
}

func (d *slowDisk) Sync() error {
	if d.syncs.Add(1) == 1 {
		<-d.release
	}
	return d.file.Sync()
}

func TestUnflushedEventIsWrittenWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFolder(t, nil)
		w := startWriter(t, f, "ss_1")
		for round := range int64(2) {
			must(t, w.Append(command(round+1, "select 1")))
			if events, _ := readAll(t, f, "ss_1"); int64(len(events)) != round {
				t.Errorf("round %d: %d events before the second is over", round, len(events))
			}
			time.Sleep(flushWithin) // synctest's clock
			synctest.Wait()
			if events, _ := readAll(t, f, "ss_1"); int64(len(events)) != round+1 {
				t.Errorf("round %d: %d events after a second", round, len(events))
			}
		}
		digestOf(t, w)
	})
}

// TestRestingHoldsNoCipher: a recording at which nothing happens holds no cipher, and goes
// on with the same key once something does.
func TestRestingHoldsNoCipher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFolder(t, nil)
		w := startWriter(t, f, "ss_1")
		for n := range int64(3) {
			must(t, w.Append(command(n, fmt.Sprint("select ", n))))
			must(t, w.Flush())
			if w.sealer.aead == nil {
				t.Error("no cipher, though a frame was just sealed")
			}
			time.Sleep(flushWithin) // synctest's clock
			synctest.Wait()
			if w.sealer.aead != nil {
				t.Error("it rests, and holds a cipher")
			}
		}
		digest := digestOf(t, w)
		if got, n, err := f.Verify("ss_1"); err != nil || got != digest || n != 3 {
			t.Errorf("verify: %s (closed as %s), %d events, %v", got, digest, n, err)
		}
		if events, err := readAll(t, f, "ss_1"); !errors.Is(err, io.EOF) || texts(events) != "select 0|select 1|select 2" {
			t.Errorf("read %s, %v", texts(events), err)
		}
	})
}

func TestErrorOfTheBackgroundFlushIsReturnedNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFolder(t, nil)
		w := startWriter(t, f, "ss_1")
		w.file = &failingDisk{file: w.file}
		must(t, w.Append(command(1, "select 1")))
		time.Sleep(flushWithin) // synctest's clock
		synctest.Wait()
		if err := w.Append(command(2, "select 2")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("append: %v", err)
		}
		_, _ = w.Close()
	})
}

func TestConcurrentAppends(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				if err := w.Append(command(int64(i*each+n+1), "select "+strings.Repeat("x", n))); err != nil {
					t.Error(err)
				}
				if n%7 == 0 {
					if err := w.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	digestOf(t, w)
	events, err := readAll(t, f, "ss_1")
	if !errors.Is(err, io.EOF) || len(events) != writers*each {
		t.Fatalf("%d events, %v", len(events), err)
	}
	last := make(map[int64]int64)
	for _, e := range events {
		by := (e.N - 1) / each
		if e.N <= last[by] {
			t.Fatalf("event %d of writer %d came after %d", e.N, by, last[by])
		}
		last[by] = e.N
	}
}

func TestLargeEventIsKeptWhole(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	// Control characters take six bytes each in JSON: the worst case.
	text := strings.Repeat("\x01", 16<<20)
	must(t, w.Append(command(1, "before"), command(2, text), command(3, "after")))
	digestOf(t, w)
	events, err := readAll(t, f, "ss_1")
	if !errors.Is(err, io.EOF) || len(events) != 3 || events[1].Command.Text != text {
		t.Errorf("%d events, %v", len(events), err)
	}
	w = startWriter(t, f, "ss_2")
	err = w.Append(command(1, strings.Repeat("\x01", maxEvent/6)))
	if err == nil || !errors.Is(w.Flush(), err) {
		t.Errorf("too large an event: %v", err)
	}
	_, _ = w.Close()
}

// TestDigestOfAFolder: whoever has the files alone can tell their digests, of
// today's and of earlier days'.
func TestDigestOfAFolder(t *testing.T) {
	f := openFolder(t, nil)
	for id, at := range map[string]time.Time{"ss_today": time.Now(), "ss_1": start} {
		info := session(id)
		info.StartedAt = at
		w, err := f.Start(info)
		must(t, err)
		digest := digestOf(t, w)
		if got, err := Digest(f.cfg.Dir, id); err != nil || got != digest {
			t.Errorf("%s: %s, %v; it is %s", id, got, err, digest)
		}
	}
	if _, err := Digest(f.cfg.Dir, "ss_2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
}

func TestShred(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 1")))
	if err := f.Shred("ss_1"); err == nil {
		t.Error("a live recording was shredded")
	}
	digest := digestOf(t, w)
	must(t, f.Shred("ss_1"))
	if _, err := f.Read("ss_1"); !errors.Is(err, ErrShredded) {
		t.Errorf("read: %v", err)
	}
	got, _, err := f.Verify("ss_1")
	if got != digest || !errors.Is(err, ErrShredded) {
		t.Errorf("verify: %s (was %s), %v", got, digest, err)
	}
	for _, of := range []func() (string, error){
		func() (string, error) { return f.Digest("ss_1") },
		func() (string, error) { return Digest(f.cfg.Dir, "ss_1") },
	} {
		if got, err := of(); got != digest || !errors.Is(err, ErrShredded) {
			t.Errorf("its digest: %s (was %s), %v", got, digest, err)
		}
	}
}

// TestChangedKey: the wrapped key is no part of the digest. That it is another is
// known to who has the keyring.
func TestChangedKey(t *testing.T) {
	f := openFolder(t, nil)
	digest := digestOf(t, startWriter(t, f, "ss_1"))
	path, err := f.finished("ss_1")
	must(t, err)
	text, err := os.ReadFile(path)
	must(t, err)
	h, err := readHeader(bytes.NewReader(text))
	must(t, err)
	text[h.size()-1] ^= 1
	must(t, os.WriteFile(path, text, 0o600))
	if got, err := f.Digest("ss_1"); err == nil || !strings.Contains(err.Error(), "unwrap its key") {
		t.Errorf("with the keyring: %s, %v", got, err)
	}
	if got, err := Digest(f.cfg.Dir, "ss_1"); err != nil || got != digest {
		t.Errorf("without it: %s (was %s), %v", got, digest, err)
	}
}

// TestDeleteUnfinished: what its writer left without an end is deleted as what is
// finished; what is being written isn't.
func TestDeleteUnfinished(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 'secret'")))
	must(t, w.Flush())
	if err := f.Delete("ss_1"); !errors.Is(err, ErrLive) {
		t.Errorf("of a live one: %v", err)
	}
	// Its day can't be made, so that it stays where it is.
	year := filepath.Join(f.cfg.Dir, start.Format("2006"))
	must(t, os.WriteFile(year, nil, 0o600))
	if _, err := w.Close(); err == nil {
		t.Fatal("it was finished")
	}
	must(t, os.Remove(year))
	file, err := os.Open(f.livePath("ss_1"))
	must(t, err)
	defer func() { _ = file.Close() }()
	must(t, f.Delete("ss_1"))
	if _, err := f.newReader(file, "ss_1"); !errors.Is(err, ErrShredded) {
		t.Errorf("what was open can be read: %v", err)
	}
	for _, id := range []string{"ss_1", "ss_never"} {
		if err := f.Delete(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("once more: %v", err)
		}
	}
	must(t, os.WriteFile(f.livePath("ss_2"), []byte(magic), 0o600))
	must(t, f.Delete("ss_2"))
	if exists(f.livePath("ss_1")) || exists(f.livePath("ss_2")) {
		t.Error("a file is left")
	}
}

func TestFollow(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "one")))
	must(t, w.Flush())
	seen, done := make(chan string), make(chan error)
	go func() {
		done <- f.Follow(t.Context(), "ss_1", func(e postern.Event) error {
			seen <- e.Command.Text
			return nil
		})
	}()
	for _, text := range []string{"one", "two", "three"} {
		if text != "one" {
			must(t, w.Append(command(1, text)))
			must(t, w.Flush())
		}
		if got := <-seen; got != text {
			t.Errorf("saw %q, want %q", got, text)
		}
	}
	digestOf(t, w)
	if err := <-done; err != nil {
		t.Errorf("after the end: %v", err)
	}
	stop := errors.New("enough")
	if err := f.Follow(t.Context(), "ss_1", func(postern.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("follow returned %v, not the callback's error", err)
	}
}

// TestTouchedFileBreaksTheRecording: a file that somebody removed or cut while it is
// written is noticed within the second, or at the end.
func TestTouchedFileBreaksTheRecording(t *testing.T) {
	for name, touch := range map[string]func(string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
	} {
		for _, late := range []bool{true, false} {
			f := openFolder(t, nil)
			w := startWriter(t, f, "ss_1")
			must(t, w.Append(command(1, "select")))
			must(t, w.Flush())
			must(t, touch(f.livePath("ss_1")))
			if late {
				w.flushLate()
				if err := w.Append(command(2, "select")); err == nil || !strings.Contains(err.Error(), "its file was ") {
					t.Errorf("%s: a second later: %v", name, err)
				}
			}
			if digest, err := w.Close(); err == nil || digest != "" || !strings.Contains(err.Error(), "its file was ") {
				t.Errorf("%s: close: %q, %v", name, digest, err)
			}
		}
	}
}
