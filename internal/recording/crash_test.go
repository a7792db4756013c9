package recording

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"postern"
)

// TestMain is also the process that TestKilledWriter kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RECORDING_TEST_WRITE"); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled acknowledges each flushed command on stdout.
func writeUntilKilled(dir string) {
	f, err := Open(Config{Dir: dir, Keys: newKeyring("test")})
	if err == nil {
		var w *Writer
		w, err = f.Start(session("ss_1"))
		for n := int64(1); err == nil; n++ {
			if err = w.Append(command(n, fmt.Sprintf("select %d", n))); err == nil {
				err = w.Flush()
			}
			fmt.Println(n)
			if err == nil {
				// Appended, not flushed: may be lost, but may not do harm.
				err = w.Append(postern.Event{Time: start, Kind: postern.EventResult, N: n, Masked: 2})
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledWriter(t *testing.T) {
	for _, after := range []int64{1, 50, 777} {
		f := openFolder(t, nil)
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "RECORDING_TEST_WRITE="+f.cfg.Dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var acknowledged int64
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if acknowledged, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
			if acknowledged == after {
				if ids, err := f.Unfinished(); err != nil || len(ids) != 0 {
					t.Errorf("unfinished while it is written: %v, %v", ids, err)
				}
				if _, err := f.Finish("ss_1"); !errors.Is(err, ErrLive) {
					t.Errorf("finish while it is written: %v", err)
				}
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil || acknowledged < after {
			t.Fatalf("the writer ended by itself after %d: %v", acknowledged, err)
		}

		events, err := readAll(t, f, "ss_1")
		var unfinished *UnfinishedError
		if !errors.As(err, &unfinished) {
			t.Fatalf("reading what was left: %v", err)
		}
		commands := slices.DeleteFunc(events, func(e postern.Event) bool { return e.Kind != postern.EventCommand })
		if int64(len(commands)) < acknowledged {
			t.Fatalf("%d commands were acknowledged, %d are readable", acknowledged, len(commands))
		}
		for i, e := range commands {
			if e.N != int64(i+1) || e.Command.Text != fmt.Sprintf("select %d", i+1) {
				t.Fatalf("command %d is %+v", i+1, e.Command)
			}
		}
		checkFinish(t, f, int64(len(commands)))
	}
}

func checkFinish(t *testing.T, f *Folder, commands int64) {
	t.Helper()
	ids, err := f.Unfinished()
	if err != nil || !slices.Equal(ids, []string{"ss_1"}) {
		t.Fatalf("unfinished: %v, %v", ids, err)
	}
	info, err := f.Finish("ss_1")
	must(t, err)
	if info.Commands != commands || !strings.HasPrefix(info.EndReason, "interrupted") {
		t.Errorf("finished as %+v", info)
	}
	events, err := readAll(t, f, "ss_1")
	if !errors.Is(err, io.EOF) {
		t.Fatalf("after Finish: %v", err)
	}
	last := events[len(events)-1]
	if last.Kind != postern.EventClose || last.Session == nil || last.Session.Commands != commands || !strings.HasPrefix(last.Text, "interrupted") {
		t.Errorf("the last event is %+v", last)
	}
	if digest, _, err := f.Verify("ss_1"); err != nil || digest != info.Digest || digest == "" {
		t.Errorf("verify: %s, %v; Finish said %s", digest, err, info.Digest)
	}
	if ids, err := f.Unfinished(); err != nil || len(ids) != 0 {
		t.Errorf("still unfinished: %v, %v", ids, err)
	}
}

// crash leaves a recording as the end of its process would.
func crash(t *testing.T, w *Writer) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = errors.New("crashed")
	must(t, w.file.Close())
}

func TestFinishTellsTheSession(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	info := session("ss_1")
	must(t, w.Append(
		postern.Event{Time: start, Kind: postern.EventOpen, Session: &info},
		command(1, "select 1"),
		postern.Event{Kind: postern.EventDecision, N: 1, Decision: &postern.Decision{Verdict: postern.Allow}},
		postern.Event{Kind: postern.EventResult, N: 1, Masked: 3},
		command(2, "drop table x"),
		command(3, "drop table y"),
		postern.Event{Time: start, Kind: postern.EventDecision, N: 2, Decision: &postern.Decision{}},
	))
	must(t, w.Flush())
	crash(t, w)
	got, err := f.Finish("ss_1")
	must(t, err)
	if got.Identity != "alice" || got.Resource != "orders-db" || got.Commands != 3 || got.Denied != 2 || got.MaskedValues != 3 || !got.EndedAt.Equal(start) {
		t.Errorf("finished as %+v", got)
	}
}

// A large event's frames that were not all written are dropped with it.
func TestFinishDropsAPartOfAnEvent(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 1")))
	must(t, w.Flush())
	w.file = &failingDisk{file: w.file, room: 2 * chunkSize / 2}
	noise := make([]byte, 3*chunkSize)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = 'a' + byte(x>>24)%26
	}
	if err := w.Append(command(2, string(noise))); err == nil {
		t.Fatal("the disk took it all")
	}
	_, _ = w.Close()
	info, err := f.Finish("ss_1")
	must(t, err)
	if info.Commands != 1 || !strings.Contains(info.EndReason, "torn") {
		t.Errorf("finished as %+v", info)
	}
	events, err := readAll(t, f, "ss_1")
	if !errors.Is(err, io.EOF) || texts(events) != "select 1|close" {
		t.Errorf("%s, %v", texts(events), err)
	}
}

func TestFinishLeavesATamperedFileAlone(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 1")))
	must(t, w.Flush())
	crash(t, w)
	raw, err := os.ReadFile(f.livePath("ss_1"))
	must(t, err)
	raw[len(raw)-30] ^= 1
	must(t, os.WriteFile(f.livePath("ss_1"), raw, 0o600))
	var tampered *TamperedError
	if _, err := f.Finish("ss_1"); !errors.As(err, &tampered) {
		t.Errorf("finish: %v", err)
	}
	after, err := os.ReadFile(f.livePath("ss_1"))
	must(t, err)
	if string(after) != string(raw) {
		t.Error("the file was changed")
	}
}

func TestFinishOfWhatHadItsEnd(t *testing.T) {
	f := openFolder(t, nil)
	w := startWriter(t, f, "ss_1")
	must(t, w.Append(command(1, "select 1")))
	digest := digestOf(t, w)
	// As if the process had died between the terminator and the move.
	must(t, os.Rename(f.dayPath("ss_1", start), f.livePath("ss_1")))
	info, err := f.Finish("ss_1")
	if err != nil || info.Digest != digest {
		t.Errorf("finished as %+v, %v; want digest %s", info, err, digest)
	}
	if _, _, err := f.Verify("ss_1"); err != nil {
		t.Error(err)
	}
}

func TestFinishOfATornHeader(t *testing.T) {
	f := openFolder(t, nil)
	crash(t, startWriter(t, f, "ss_1"))
	must(t, os.Truncate(f.livePath("ss_1"), 20))
	if info, err := f.Finish("ss_1"); err != nil || info.Commands != 0 {
		t.Errorf("finished as %+v, %v", info, err)
	}
	if ids, err := f.Unfinished(); err != nil || len(ids) != 0 {
		t.Errorf("unfinished: %v, %v", ids, err)
	}
}

// TestUnfinishedThatCantBeOpened: an odd file among the live ones keeps nobody from
// the others.
func TestUnfinishedThatCantBeOpened(t *testing.T) {
	f := openFolder(t, nil)
	must(t, os.Symlink("ss_loop.prec", f.livePath("ss_loop")))
	must(t, os.Mkdir(f.livePath("ss_folder"), 0o700))
	must(t, syscall.Mkfifo(f.livePath("ss_pipe"), 0o600))
	must(t, os.WriteFile(f.livePath("ss_short"), []byte(magic), 0o600))
	ids, err := f.Unfinished()
	if err != nil || !slices.Equal(ids, []string{"ss_folder", "ss_loop", "ss_pipe", "ss_short"}) {
		t.Fatalf("%v, %v", ids, err)
	}
	for _, id := range ids {
		if _, err := f.Finish(id); (err == nil) != (id == "ss_short") || errors.Is(err, ErrUnended) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
