package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// recorded is one point of the curve of recordings.
type recorded struct {
	size                   int
	written, directly      time.Duration
	file                   int64
	writeCPU               time.Duration
	writeMost              int64
	indexed, indexCPU      time.Duration
	found, missed          time.Duration
	verify, export, replay ran
}

// growRecordings has one session send so many bytes of commands, and then
// reads them back in every way that there is.
func growRecordings(ctx context.Context, w *world) (*table, error) {
	t := &table{
		title: "The size of a recording",
		about: "One session runs statements of 64 KiB, each with bytes in hexadecimal, until so much is recorded. Then the log is verified with the\n" +
			"recording, which is found by words of its first and last commands, exported and replayed, each by the command line. The bytes a second\n" +
			"are those of the recording. \"Indexed\" is from the session's end until its last command is found: the index rests nine times as long\n" +
			"as it works. A cost \"grows as\" the gateway's CPU does, where there is any, or else as\n" +
			"the time. Memory is the resident set of the gateway, or of the command line, at its peak.",
		head: []string{"what", "#recording", "#took", "#a second", "#grows as", "#CPU a MB, gateway", "#memory at most, gateway", "#command line"},
	}
	var points []recorded
	var files []string
	for _, n := range []int{w.cfg.recording / 100, w.cfg.recording / 10, w.cfg.recording} {
		p, err := w.record(ctx, n)
		if err != nil {
			return nil, err
		}
		points = append(points, p)
		files = append(files, fmt.Sprintf("%.1f MB", float64(p.file)/1e6))
	}
	t.about += " The files have " + strings.Join(files, ", ") + "."
	for _, kind := range []struct {
		name string
		of   func(p *recorded) (took, used time.Duration, gateway, cli int64)
	}{
		{"written, directly", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.directly, 0, 0, 0 }},
		{"written", func(p *recorded) (took, used time.Duration, gateway, cli int64) {
			return p.written, p.writeCPU, p.writeMost, 0
		}},
		{"indexed", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.indexed, p.indexCPU, 0, 0 }},
		{"found", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.found, 0, 0, 0 }},
		{"not found", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.missed, 0, 0, 0 }},
		{"verified", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.verify.values() }},
		{"exported", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.export.values() }},
		{"replayed", func(p *recorded) (took, used time.Duration, gateway, cli int64) { return p.replay.values() }},
	} {
		var last time.Duration // of a processor, or else of the clock
		for i := range points {
			p := &points[i]
			took, used, gateway, cli := kind.of(p)
			cells := []string{kind.name, size(p.size), milliseconds(took), "", "", "", "", ""}
			if kind.name != "found" && kind.name != "not found" {
				cells[3] = fmt.Sprintf("%.0f MB", float64(p.size)/1e6/took.Seconds())
			}
			cost := took
			if used > 0 {
				cost = used
			}
			if i > 0 {
				cells[4] = t.grows("a recording "+kind.name, float64(points[i-1].size), float64(last), float64(p.size), float64(cost))
			}
			last = cost
			if used > 0 {
				cells[5] = microseconds(float64(used.Microseconds()) / (float64(p.size) / 1e6))
			}
			if gateway > 0 {
				cells[6] = mib(gateway)
			}
			if cli > 0 {
				cells[7] = mib(cli)
			}
			t.row(cells...)
		}
	}
	return t, nil
}

// record is one point: a gateway of its own, with this recording alone.
func (w *world) record(ctx context.Context, n int) (p recorded, err error) {
	progress("a recording of %s", size(n))
	g, err := w.startGateway(ctx, plan{})
	if err != nil {
		return p, err
	}
	defer func() {
		err = stopped(g, err)
		err = errors.Join(err, os.RemoveAll(filepath.Join(g.dir, "data"))) // the next one needs its room
	}()
	p.size = n
	if p.directly, err = dictate(ctx, w.direct(), n); err != nil {
		return p, err
	}
	pid := g.process.pid()
	if err := resetPeak(pid); err != nil {
		return p, err
	}
	before, err := cpu(pid)
	if err != nil {
		return p, err
	}
	if p.written, err = dictate(ctx, g.through("keeper", "orders-db", false), n); err != nil {
		return p, err
	}
	after, err := cpu(pid)
	if err != nil {
		return p, err
	}
	p.writeCPU = after - before
	if p.writeMost, err = peak(pid); err != nil {
		return p, err
	}
	id, err := g.ended(ctx, "keeper")
	if err != nil {
		return p, err
	}
	if p.file, err = g.recordingSize(id); err != nil {
		return p, err
	}
	return p, g.readBack(ctx, id, &p)
}

// dictate runs statements of 64 KiB until n bytes were sent. The first and the last
// hold a word of their own.
func dictate(ctx context.Context, t target, n int) (time.Duration, error) {
	conn, err := t.connect(ctx)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.way, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	const each = 64 << 10
	random := rand.NewChaCha8([32]byte{1}) // the same texts each time
	blob := make([]byte, each/2)
	began := time.Now()
	commands := (n + each - 1) / each
	for i := range commands {
		word := fmt.Sprintf("upload_%d", i)
		switch i {
		case 0:
			word = "firstupload"
		case commands - 1:
			word = "lastupload"
		}
		_, _ = random.Read(blob) // it always fills it
		// The index looks at the first 64 KiB of a text.
		sql := fmt.Sprintf("SELECT '%s', length('\\x%x')", word, blob)
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return 0, fmt.Errorf("%s: %w", t.way, err)
		}
	}
	return time.Since(began), nil
}

// ended waits for the end of an identity's only session, and returns its id.
func (g *gateway) ended(ctx context.Context, name string) (string, error) {
	for {
		out, err := g.cli(ctx, g.keys[name], "session", "ls", "-o", "json")
		if err != nil {
			return "", err
		}
		var sessions []struct {
			ID      string
			EndedAt *time.Time `json:"ended_at"`
		}
		if err := json.Unmarshal(out, &sessions); err != nil {
			return "", err
		}
		if len(sessions) != 1 {
			return "", fmt.Errorf("%s has %d sessions, not one", name, len(sessions))
		}
		if sessions[0].EndedAt != nil {
			return sessions[0].ID, nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// recordingSize is the size of a finished recording's file.
func (g *gateway) recordingSize(id string) (int64, error) {
	files, err := filepath.Glob(filepath.Join(g.dir, "data", "recordings", "*", "*", "*", id+".prec"))
	if err != nil {
		return 0, err
	}
	if len(files) != 1 {
		return 0, fmt.Errorf("session %s has %d recordings", id, len(files))
	}
	info, err := os.Stat(files[0])
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readBack does what can be done with a recording.
func (g *gateway) readBack(ctx context.Context, id string, p *recorded) error {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	pid := g.process.pid()
	began := time.Now()
	before, err := cpu(pid)
	if err != nil {
		return err
	}
	for {
		n, _, err := g.look(ctx, "lastupload")
		if err != nil {
			return err
		}
		if n == 1 {
			break
		}
		// Looking costs the gateway, too.
		if err := pause(ctx, max(time.Since(began)/20, time.Second/2)); err != nil {
			return err
		}
	}
	p.indexed = time.Since(began)
	after, err := cpu(pid)
	if err != nil {
		return err
	}
	p.indexCPU = after - before
	if p.found, err = g.lookAgain(ctx, "firstupload", 1); err != nil {
		return err
	}
	if p.missed, err = g.lookAgain(ctx, "nosuchupload", 0); err != nil {
		return err
	}
	if p.verify, err = g.run(ctx, bootstrapKey, "audit", "verify", "-o", "json"); err != nil {
		return err
	}
	if p.export, err = g.run(ctx, g.keys["keeper"], "session", "export", id); err != nil {
		return err
	}
	if p.replay, err = g.run(ctx, g.keys["keeper"], "session", "replay", id); err != nil {
		return err
	}
	for name, r := range map[string]ran{"export": p.export, "replay": p.replay} {
		if r.bytes < int64(p.size) {
			return fmt.Errorf("the %s of %s printed %d bytes", name, size(p.size), r.bytes)
		}
	}
	return nil
}

// look searches for a word, and says how many commands were found, and after what
// time.
func (g *gateway) look(ctx context.Context, word string) (int, time.Duration, error) {
	began := time.Now()
	out, err := g.cli(ctx, g.keys["keeper"], "session", "search", word, "-o", "json")
	took := time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	var found []struct{ Session string }
	err = json.Unmarshal(bytes.TrimSpace(out), &found)
	return len(found), took, err
}

// lookAgain is the median of five searches.
func (g *gateway) lookAgain(ctx context.Context, word string, want int) (time.Duration, error) {
	var all []time.Duration
	for range 5 {
		n, took, err := g.look(ctx, word)
		if err != nil {
			return 0, err
		}
		if n != want {
			return 0, fmt.Errorf("%q is found in %d commands, not %d", word, n, want)
		}
		all = append(all, took)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// ran is what a run of the command line took.
type ran struct {
	took, used   time.Duration // used: by the gateway
	bytes        int64         // printed
	gateway, cli int64         // resident memory at its peak
}

func (r *ran) values() (took, used time.Duration, gateway, cli int64) {
	return r.took, r.used, r.gateway, r.cli
}

// run runs the command line, and reads what it prints to the end.
func (g *gateway) run(ctx context.Context, token string, args ...string) (r ran, err error) {
	progress("postern %s", args[1])
	pid := g.process.pid()
	if err := resetPeak(pid); err != nil {
		return r, err
	}
	before, err := cpu(pid)
	if err != nil {
		return r, err
	}
	var stderr bytes.Buffer
	cmd := g.command(ctx, token, args...)
	cmd.Stderr = &stderr
	printed, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return r, err
	}
	r.bytes, err = io.Copy(io.Discard, printed)
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return r, fmt.Errorf("postern %s %s: %w\n%s", args[0], args[1], err, &stderr)
	}
	r.took = time.Since(began)
	after, err := cpu(pid)
	if err != nil {
		return r, err
	}
	r.used = after - before
	r.cli = mostOf(cmd)
	r.gateway, err = peak(pid)
	return r, err
}

// mostOf is the peak of an ended child's resident memory.
func mostOf(cmd *exec.Cmd) int64 {
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10 // KiB, on Linux
	}
	return 0
}
