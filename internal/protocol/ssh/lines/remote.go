package lines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// remote is the shell on the server. It is two commands: one has the terminal
// and is the shell, the other one hands it what to run and says how it went.
// They meet in two named pipes, in a folder that only this user may enter and
// that is gone as soon as both have them open.
type remote struct {
	terminal Process
	control  Process
	reports  chan report
	n        int // the number of the line that runs
	marks    chan struct{}
	mark     string
	shown    *output
	screen   *screen

	dir    string
	home   string // where it started
	status int
	done   sync.WaitGroup
}

// report is what the shell says after a line.
type report struct {
	n      int  // the line's number
	begun  bool // it only begins
	status int
	dir    string
}

// endedError says that the shell has ended.
type endedError struct{ status int }

func (e *endedError) Error() string { return fmt.Sprintf("the shell ended with status %d", e.status) }

const (
	// startTime is how long the shell may take to start.
	startTime = 20 * time.Second
	// markTime is how long the end of a line's output may lag behind its status.
	markTime = 2 * time.Second
	// maxReport bounds what the server may say about a line: a folder's name.
	maxReport = 16 << 10
	// nudgeTime is how long after a control key the shell is asked again how the
	// line went: an interrupt can make it drop the question.
	nudgeTime = 200 * time.Millisecond
	maxNudges = 20
)

// controlCommand makes the pipes, says where, and copies: commands in, reports
// out.
const controlCommand = `exec /bin/sh -c 'umask 077; d=$(mktemp -d) || exit 1; mkfifo "$d/c" "$d/s" || exit 1; printf "%s\n" "$d"; exec 3<&0; cat <&3 >"$d/c" & exec cat "$d/s"'`

// shellCommand becomes the shell: with a clean environment, no start-up files,
// commands from the pipe, and the terminal for what they run.
func shellCommand(dir, terminal string) string {
	return `exec /bin/sh -c 'for s in /bin/bash /usr/bin/bash /usr/local/bin/bash; do [ ! -x "$s" ] || break; done; ` +
		`exec env -i HOME="$HOME" USER="$USER" LOGNAME="$LOGNAME" SHELL="$SHELL" LANG="$LANG" LC_ALL="$LC_ALL" TERM="$1" PS1= PS2= ` +
		`PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ` +
		`PAGER=cat MANPAGER=cat GIT_PAGER=cat SYSTEMD_PAGER=cat LESSSECURE=1 SYSTEMD_LESS= GIT_EDITOR=false ` +
		`"$s" --noprofile --norc --noediting -i 7<&0 <"$0/c" 8>"$0/s"' ` + quote(dir) + " " + quote(terminal)
}

// quote makes a word that a shell reads as s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// start starts the shell.
func start(ctx context.Context, cfg *Config, t *Terminal, to *screen) (*remote, error) {
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(cfg.Rand, nonce); err != nil {
		return nil, fmt.Errorf("random bytes: %w", err)
	}
	r := &remote{screen: to, reports: make(chan report), marks: make(chan struct{}, 1), mark: "\x1b]postern;" + hex.EncodeToString(nonce) + "\a"}
	control, err := cfg.Open(starting, controlCommand, nil)
	if err != nil {
		return nil, err
	}
	r.control = control
	stop := context.AfterFunc(starting, func() { _ = control.Close() })
	defer stop()
	said := bufio.NewReaderSize(control, maxReport)
	place, err := said.ReadSlice('\n')
	if err != nil || len(place) < 3 || place[0] != '/' {
		_ = control.Close()
		return nil, errors.New("the server can't make named pipes (mktemp, mkfifo): shell: lines needs them")
	}
	dir := strings.TrimSuffix(string(place), "\n")
	if r.terminal, err = cfg.Open(starting, shellCommand(dir, plainName(t.Name)), t); err != nil {
		_ = control.Close()
		return nil, err
	}
	stopTerminal := context.AfterFunc(starting, func() { _ = r.terminal.Close() })
	defer stopTerminal()
	r.shown = &output{over: make(chan struct{})}
	r.done.Go(func() { r.listen(said) })
	r.done.Go(func() {
		r.shown.copy(&unmarked{from: r.terminal, mark: []byte(r.mark), seen: r.marked}, to)
	})
	setUp := "PS1= PS2=\nset +H\nset +o history\nshopt -u expand_aliases\n\\rm -rf " + quote(dir) + "\n:\n"
	if err := r.tell(setUp + r.asking()); err != nil {
		r.close()
		return nil, err
	}
	select {
	case first, ok := <-r.reports:
		if !ok {
			r.close()
			return nil, errors.New("the server's shell ended at once: shell: lines needs bash there")
		}
		r.dir, r.home, r.status = first.dir, first.dir, 0
	case <-starting.Done():
		r.close()
		return nil, errors.New("the server's shell didn't start in time: shell: lines needs bash there")
	}
	r.awaitMark(ctx)
	return r, nil
}

// plainName keeps a terminal's name from being more than a name.
func plainName(name string) string {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '+' && c != '_' {
			return "dumb"
		}
	}
	if name == "" {
		return "dumb"
	}
	return name
}

// asking makes the shell say how it went and where it is. The mark says where
// the output ends. Nothing that a person can define has a part in it: names
// that it uses are refused as functions' and aliases' names.
func (r *remote) asking() string {
	return `{ \command printf '\0%s %s\n' ` + strconv.Itoa(r.n) + ` "$?"; \command pwd -P; \command printf '\0'; } >&8; \command printf '` +
		strings.NewReplacer("\x1b", `\033`, "\a", `\007`).Replace(r.mark) + "' >/dev/tty\n"
}

func (r *remote) tell(text string) error {
	if _, err := io.WriteString(r.control, text); err != nil {
		return r.ended()
	}
	return nil
}

// listen reads reports.
func (r *remote) listen(said *bufio.Reader) {
	defer close(r.reports)
	for {
		text, err := said.ReadSlice(0)
		if err != nil {
			return
		}
		head, dir, _ := bytes.Cut(text[:len(text)-1], []byte{'\n'})
		number, status, _ := strings.Cut(string(head), " ")
		n, err1 := strconv.Atoi(number)
		if err1 == nil && status == "begun" {
			r.reports <- report{n: n, begun: true}
			continue
		}
		code, err2 := strconv.Atoi(status)
		if err1 != nil || err2 != nil || len(dir) < 2 || dir[0] != '/' {
			continue // between two reports, or one that an interrupt cut short
		}
		r.reports <- report{n: n, status: code & 0xff, dir: strings.TrimSuffix(string(dir), "\n")}
	}
}

// run runs one decided line, and returns its status.
func (r *remote) run(ctx context.Context, s *Shell, line string, status int) (int, error) {
	running, cancel := context.WithCancel(ctx)
	var feeding sync.WaitGroup
	defer func() {
		cancel()
		feeding.Wait()
	}()
	select {
	case <-r.marks: // one that came late
	default:
	}
	r.n++
	if err := r.tell(r.running(line, status) + r.asking()); err != nil {
		return status, err
	}
	var typing error
	nudges := make(chan struct{}, 1)
	feed := func() { feeding.Go(func() { typing = s.feed(running, r.terminal, nudges) }) }
	if err := r.await(ctx, nudges, feed); err != nil {
		return status, err
	}
	cancel()
	feeding.Wait()
	r.awaitMark(ctx)
	if typing != nil {
		return status, typing
	}
	return r.status, r.screen.failed()
}

// running makes the shell run a line. What was typed for the line before, and
// not read by it, isn't for this one. In the line, the pipes are closed, and the
// shell's own copies of them are descriptors from 10 on, which the analyser
// keeps lines away from.
func (r *remote) running(line string, status int) string {
	return `(while \read -t 0; do \read -r; done <&7; \command printf '\0%s begun\n\0' ` + strconv.Itoa(r.n) + ` >&8; \exit ` + strconv.Itoa(status) +
		") 2>/dev/null\n\\eval " + quote(line) + " <&7 7<&- 8>&-\n"
}

// await waits for the report on the line that runs. When the line begins, what
// is typed is for it.
func (r *remote) await(ctx context.Context, nudges <-chan struct{}, begins func()) error {
	begun := false
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for asked := 0; ; {
		select {
		case got, ok := <-r.reports:
			if !ok {
				return r.ended()
			}
			switch {
			case got.n != r.n: // asked once more than was needed
			case got.begun:
				if !begun {
					begins()
				}
				begun = true
			default:
				r.dir, r.status = got.dir, got.status
				return nil
			}
		case <-nudges:
			if asked++; asked <= maxNudges {
				again.Reset(nudgeTime)
			}
		case <-again.C:
			if err := r.tell(r.asking()); err != nil {
				return err
			}
		case <-r.shown.over:
			return r.ended()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// feed hands what is typed to the command that runs, and tells of control keys.
func (s *Shell) feed(ctx context.Context, to io.Writer, nudges chan<- struct{}) error {
	buf := make([]byte, 4096)
	for {
		n, err := s.keys.readUntil(ctx, buf)
		if n > 0 {
			if s.cfg.Typed != nil {
				if err := s.cfg.Typed(buf[:n]); err != nil {
					return err
				}
			}
			if _, gone := to.Write(buf[:n]); gone != nil {
				return nil //nolint:nilerr // the shell has ended, which is told elsewhere
			}
			if bytes.ContainsFunc(buf[:n], func(c rune) bool { return c < ' ' && c != '\r' && c != '\n' && c != '\t' }) {
				select {
				case nudges <- struct{}{}:
				default:
				}
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) && ctx.Err() == nil {
				_, _ = io.WriteString(to, "\x04") // there is no more to read
			}
			return nil
		}
	}
}

// marked says that a mark was seen.
func (r *remote) marked() {
	select {
	case r.marks <- struct{}{}:
	default:
	}
}

// awaitMark waits until what was printed before the report is on the screen.
func (r *remote) awaitMark(ctx context.Context) {
	t := time.NewTimer(markTime)
	defer t.Stop()
	select {
	case <-r.marks:
	case <-r.shown.over:
	case <-t.C:
	case <-ctx.Done():
	}
}

// ended waits for the shell's end, and says how it went.
func (r *remote) ended() error {
	t := time.AfterFunc(markTime, func() { _ = r.terminal.Close() })
	defer t.Stop()
	<-r.shown.over
	if err := r.screen.failed(); err != nil {
		return err
	}
	status, err := r.terminal.Wait()
	if err != nil {
		status = 255 // it didn't say
	}
	return &endedError{status}
}

// close ends both commands and waits for what reads them.
func (r *remote) close() {
	_ = r.control.CloseWrite()
	_ = r.terminal.Close()
	_ = r.control.Close()
	go func() { // whoever reports now is not listened to
		for range r.reports { //nolint:revive // drained
		}
	}()
	r.done.Wait()
}

// output shows what the terminal prints.
type output struct {
	over chan struct{} // closed when nothing more comes
}

// copy shows what is printed, without the marks.
func (o *output) copy(from io.Reader, to io.Writer) {
	defer close(o.over)
	_, _ = io.Copy(to, from)         // what can't be shown, the screen knows
	_, _ = io.Copy(io.Discard, from) // so that the shell can end
}

// unmarked reads what a terminal prints, and takes the marks out: seen is
// called when everything before one was read and shown.
type unmarked struct {
	from io.Reader
	mark []byte
	seen func()
	buf  []byte
	err  error
}

// Read implements [io.Reader].
func (u *unmarked) Read(p []byte) (int, error) {
	for {
		i := bytes.Index(u.buf, u.mark)
		if i == 0 {
			u.buf = u.buf[len(u.mark):]
			u.seen()
			continue
		}
		sure := i
		if i < 0 {
			sure = len(u.buf)
			for n := min(len(u.mark)-1, len(u.buf)); n > 0 && u.err == nil; n-- {
				if bytes.Equal(u.buf[len(u.buf)-n:], u.mark[:n]) {
					sure -= n
					break
				}
			}
		}
		if sure > 0 {
			n := copy(p, u.buf[:sure])
			u.buf = u.buf[n:]
			return n, nil
		}
		if u.err != nil {
			return 0, u.err
		}
		more := make([]byte, 32<<10)
		n, err := u.from.Read(more)
		u.buf, u.err = append(u.buf, more[:n]...), err
	}
}
