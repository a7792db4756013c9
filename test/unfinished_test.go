package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// openRecorded connects, and says which session that is.
func (g *gateway) openRecorded(user string) (*pgconn.PgConn, string) {
	g.t.Helper()
	live := func() []string {
		found, err := filepath.Glob(g.liveRecording("*"))
		if err != nil {
			g.t.Fatal(err)
		}
		return found
	}
	before := strings.Join(live(), "\n")
	conn := g.mustConnect(user, g.sessionToken(g.login(user)))
	for _, path := range live() {
		if !strings.Contains(before, path) {
			return conn, strings.TrimSuffix(filepath.Base(path), ".prec")
		}
	}
	g.t.Fatal("the session has no recording")
	return nil, ""
}

func (g *gateway) liveRecording(id string) string {
	return g.path("data/recordings/live/" + id + ".prec")
}

// finished are the files of a session's recording below the folders of days.
func (g *gateway) finished(id string) []string {
	g.t.Helper()
	found, err := filepath.Glob(g.path("data/recordings/*/*/*/" + id + ".prec"))
	if err != nil {
		g.t.Fatal(err)
	}
	return found
}

// obstruct has no recording get to its day, as on a disk that can't take it, until
// it is called off.
func (g *gateway) obstruct() (callOff func()) {
	g.t.Helper()
	year := "data/recordings/" + time.Now().UTC().Format("2006")
	g.write(year, "")
	return func() {
		g.t.Helper()
		if err := os.Remove(g.path(year)); err != nil {
			g.t.Fatal(err)
		}
	}
}

// runs executes a statement.
func runs(conn *pgconn.PgConn, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, statement).ReadAll()
	return err
}

// logsOf are the entries of a session's that aren't about commands.
func (g *gateway) logsOf(token, id string) string {
	g.t.Helper()
	out, err := g.run(token, "audit", "export")
	if err != nil {
		g.t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(out) {
		if strings.Contains(line, `"session":"`+id+`"`) && !strings.Contains(line, `"action":"command"`) {
			found.WriteString(line)
		}
	}
	return found.String()
}

// awaitEnd waits until the log has the session's end.
func (g *gateway) awaitEnd(token, id string) {
	g.t.Helper()
	for began := time.Now(); !strings.Contains(g.logsOf(token, id), "session.close"); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			g.t.Fatal("the session doesn't end")
		}
	}
}

func (g *gateway) verifies(token string) error {
	g.t.Helper()
	_, err := g.run(token, "audit", "verify")
	return err
}

func mentions(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error that says %q", err, want)
	}
}

// A recording that can't be ended has no digest: that is said, and the next start
// ends it, and gives it one.
func TestRecordingWithoutAnEnd(t *testing.T) {
	g := newGateway(t, "")
	clearWay := g.obstruct()
	g.start()
	conn, id := g.openRecorded("dave")
	if err := runs(conn, "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	admin := g.login("dave")
	g.awaitEnd(admin, id)
	said := g.logsOf(admin, id)
	if !strings.Contains(said, `"action":"recording.damaged"`) || !strings.Contains(said, `"outcome":"failed"`) || strings.Contains(said, "digest") {
		t.Errorf("the log says\n%s", said)
	}
	if !strings.Contains(g.logged(), `level=ERROR msg="recording is damaged" session=`+id) {
		t.Error("the operator isn't told")
	}
	mentions(t, g.verifies(admin), "the recording of session "+id+" has no digest")

	clearWay()
	for range 2 { // the second start finds nothing to do
		g.stop()
		g.start()
	}
	admin = g.login("dave")
	said = g.logsOf(admin, id)
	if strings.Count(said, "recording.finished") != 1 || strings.Count(said, "session.close") != 1 || strings.Count(said, "sha256:") != 1 {
		t.Errorf("after the next start the log says\n%s", said)
	}
	if out, err := g.run(admin, "session", "show", id); err != nil || strings.Contains(out, "interrupted") || !strings.Contains(out, "sha256:") {
		t.Errorf("the list has another end than the session had: %v\n%s", err, out)
	}
	if err := g.verifies(admin); err != nil {
		t.Error(err)
	}
	paths := g.finished(id)
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(paths[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	mentions(t, g.verifies(admin), "the recording of session "+id+" ")
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	mentions(t, g.verifies(admin), "the recording of session "+id+" is missing")
}

// What was left without an end is deleted as any other recording, at once.
func TestUnfinishedRecordingIsShredded(t *testing.T) {
	g := newGateway(t, "")
	clearWay := g.obstruct()
	g.start()
	conn, id := g.openRecorded("dave")
	if err := runs(conn, "SELECT 'to be forgotten'"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	admin := g.login("dave")
	g.awaitEnd(admin, id)
	if out, err := g.run(admin, "session", "export", id); !strings.Contains(out, "to be forgotten") {
		t.Fatalf("%v\n%s", err, out)
	}
	clearWay()
	if out, err := g.run(admin, "session", "shred", id, "--reason", "request 4711"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(g.liveRecording(id)); !os.IsNotExist(err) {
		t.Errorf("its file: %v", err)
	}
	g.stop()
	g.start()
	admin = g.login("dave")
	if out, err := g.run(admin, "session", "export", id); err == nil || strings.Contains(out, "to be forgotten") {
		t.Errorf("it can be read: %v\n%s", err, out)
	}
	if found := g.finished(id); len(found) > 0 {
		t.Error(found)
	}
	if err := g.verifies(admin); err != nil {
		t.Error(err)
	}
}

// A start that can't end what was interrupted, for the disk, says nothing of damage,
// takes the decisions over, and leaves the end to the next one.
func TestRestartWithAFullDisk(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	conn, id := g.openRecorded("dave")
	for n := range 5 {
		if err := runs(conn, fmt.Sprintf("SELECT %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	g.kill()
	callOff := g.obstruct()
	for range 2 {
		g.start()
		admin := g.login("dave")
		out, err := g.run(admin, "audit", "export")
		if n := strings.Count(out, `"action":"command"`); err != nil || n != 5 {
			t.Errorf("the log has %d decisions of 5, %v", n, err)
		}
		if said := g.logsOf(admin, id); strings.Count(said, "\n") != 1 {
			t.Errorf("the log has more than the session's beginning:\n%s", said)
		}
		if !strings.Contains(g.logged(), "recording can't be ended") {
			t.Error("the operator isn't told")
		}
		g.stop()
	}
	callOff()
	g.start()
	admin := g.login("dave")
	if said := g.logsOf(admin, id); strings.Count(said, "\n") != 2 || strings.Count(said, `"outcome":"interrupted"`) != 1 || strings.Count(said, "sha256:") != 1 {
		t.Errorf("the log has\n%s", said)
	}
	if err := g.verifies(admin); err != nil {
		t.Error(err)
	}
}

// Whoever removes or cuts the file of a session that goes on ends that session,
// and the log says so for good.
func TestLiveRecordingIsTouched(t *testing.T) {
	within := func(path string) error { // the page in which its frames end
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, int64(len(strings.TrimRight(string(text), "\x00"))-40))
	}
	for name, touch := range map[string]func(string) error{
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"cut":     within,
	} {
		for commands, kind := range map[int]string{10: "calm", 300: "busy"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				g := newGateway(t, "")
				g.start()
				conn, id := g.openRecorded("dave")
				var err error
				for n := range commands {
					if err := runs(conn, fmt.Sprintf("SELECT %d", n)); err != nil {
						t.Fatal(err)
					}
				}
				if err := touch(g.liveRecording(id)); err != nil {
					t.Fatal(err)
				}
				for began := time.Now(); err == nil; {
					if time.Since(began) > 10*time.Second {
						t.Fatal("the session goes on")
					}
					err = runs(conn, "SELECT 1")
					time.Sleep(10 * time.Millisecond) // of a client that does something else, too
				}
				_ = conn.Close(t.Context())
				admin := g.login("dave")
				g.awaitEnd(admin, id)
				for range 2 {
					said := g.logsOf(admin, id)
					if !strings.Contains(said, `"action":"recording.damaged"`) || strings.Count(said, `"action":"session.close"`) != 1 || !strings.Contains(said, `"outcome":"failed"`) {
						t.Errorf("the log says\n%s", said)
					}
					if name != "cut" {
						mentions(t, g.verifies(admin), "the recording of session "+id+" has no digest")
					}
					g.stop()
					g.start()
					admin = g.login("dave")
				}
			})
		}
	}
}
