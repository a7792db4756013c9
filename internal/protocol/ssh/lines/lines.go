// Package lines is an interactive shell in which every line is decided before
// it runs. The gateway itself reads the line, with an editor; the server never
// sees a keystroke of it. A line that is allowed is given to one shell on the
// server, which lives as long as the session and so keeps its folder, its
// variables and its jobs.
//
// That shell reads commands from a pipe that only the gateway writes to: it
// has no keyboard. The terminal belongs to what the line runs: while it runs,
// keystrokes go to it and to nothing else, and what it leaves unread is never
// taken for a command. So programs that run what is typed into them (editors,
// pagers, other shells) are refused wherever anything is restricted, unless
// they are on a list of those that may; what is typed into those is recorded,
// and not controlled.
package lines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"postern"
	"postern/internal/protocol/ssh/shell"
)

// Size is a terminal's size, in characters.
type Size struct{ Columns, Rows int }

// Terminal is the terminal that a command is to get.
type Terminal struct {
	Name string // TERM
	Size Size
}

// Process is a command that runs on the server.
type Process interface {
	io.Reader // what it prints; io.EOF when it has ended
	io.Writer // what it reads
	CloseWrite() error
	Resize(Size) error
	// Wait returns its exit status once Read has returned io.EOF.
	Wait() (int, error)
	Close() error
}

// Config is what a shell needs. All but Log, FullScreen and Programs must be set.
type Config struct {
	// Screen is where the person sees what happens, recorded and masked. Writes
	// may come from several goroutines, one at a time. An error ends the shell.
	Screen io.Writer
	// Terminal is the person's.
	Terminal Terminal
	// Prompt is what stands before the folder in the prompt: deploy@web-1.
	Prompt string
	// Open runs a command on the server: with a terminal, or without if it is nil.
	Open func(ctx context.Context, command string, t *Terminal) (Process, error)
	// Decide decides over a line's commands, and waits while people review
	// them; tell shows the person something meanwhile. An error ends the shell.
	// When ctx ends, the person has interrupted.
	Decide func(ctx context.Context, tell func(string), cmds []postern.Command) (postern.Decision, error)
	// Preview says what would be decided, without asking anybody.
	Preview func(cmds []postern.Command) postern.Decision
	// Denial words a decision that isn't Allow.
	Denial func(postern.Decision) string
	// Typed records what the person types into a running command, before it gets
	// there; nil: nobody wants to know. An error ends the shell.
	Typed func(p []byte) error
	// FullScreen are programs that may take what is typed, undecided.
	FullScreen []string
	// Programs are what else is known by name, and the worst that each can do.
	Programs map[string]postern.Access
	// Rand is where secrets come from.
	Rand io.Reader
	Log  *slog.Logger
}

// Shell is one interactive shell. Keystrokes are written to it.
type Shell struct {
	cfg  Config
	keys *keyboard
	ed   *editor
	st   shell.State

	mu   sync.Mutex // guards what follows
	size Size
	far  *remote
	// running is Run's context: the editor's completion has no other way to it.
	running context.Context //nolint:containedctx // see above
}

// New makes a shell. It does nothing until Run.
func New(cfg Config) *Shell {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Shell{cfg: cfg, keys: newKeyboard(), size: cfg.Terminal.Size}
	s.st = shell.State{Terminal: true, PlainPagers: true, FullScreen: cfg.FullScreen, Programs: cfg.Programs}
	s.ed = newEditor(s.keys, &screen{to: cfg.Screen}, s.size, s.complete)
	return s
}

// Write takes keystrokes. It waits until they can be used, so that a person who
// pastes a book doesn't fill the gateway's memory.
func (s *Shell) Write(p []byte) (int, error) { return s.keys.Write(p) }

// CloseWrite says that no more keystrokes come: the person has hung up.
func (s *Shell) CloseWrite() error {
	s.keys.close()
	return nil
}

// Resize says that the person's terminal has another size now.
func (s *Shell) Resize(size Size) error {
	s.mu.Lock()
	s.size = size
	far := s.far
	s.mu.Unlock()
	s.ed.resize(size)
	if far == nil {
		return nil
	}
	return far.terminal.Resize(size)
}

// statusDenied is the exit status of a line that was denied, as of a command
// that is there but can't be run.
const statusDenied = 126

// Run serves the person until the shell ends, and returns its exit status.
// Nothing of it runs any more when Run returns.
func (s *Shell) Run(ctx context.Context) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, s.keys.close)
	defer stop()
	defer s.keys.close()
	s.mu.Lock()
	terminal := s.cfg.Terminal
	terminal.Size = s.size
	s.mu.Unlock()
	far, err := start(ctx, &s.cfg, &terminal, s.ed.out)
	if err != nil {
		return 0, fmt.Errorf("start the shell: %w", err)
	}
	defer far.close()
	s.mu.Lock()
	s.far, s.running = far, ctx
	s.mu.Unlock()
	status := far.status
	for {
		s.st = s.st.InDir(far.dir)
		line, err := s.ed.read(s.prompt(far.dir))
		switch {
		case errors.Is(err, errInterrupted):
			status = 130
			continue
		case errors.Is(err, io.EOF):
			if ctx.Err() == nil {
				s.say("exit")
			}
			return status, ctx.Err()
		case err != nil:
			return status, err
		case blank(line):
			continue
		}
		status, err = s.line(ctx, far, line, status)
		var ended *endedError
		if errors.As(err, &ended) {
			return ended.status, nil
		}
		if err != nil {
			return status, err
		}
	}
}

func blank(line string) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\n' {
			return false
		}
	}
	return true
}

// line decides over one line and runs it. status is that of the line before.
func (s *Shell) line(ctx context.Context, far *remote, line string, status int) (int, error) {
	got := shell.Analyse(line, s.st)
	d, err := s.decide(ctx, got.Commands)
	switch {
	case errors.Is(err, errInterrupted):
		return 130, nil
	case err != nil:
		return status, err
	case d.Verdict != postern.Allow:
		s.say(s.cfg.Denial(d))
		return statusDenied, nil
	}
	now, err := far.run(ctx, s, line, status)
	if err != nil {
		return status, err
	}
	s.st = shell.Settle(s.st, got.After, line)
	return now, nil
}

// decide asks for a decision; meanwhile, Ctrl-C withdraws the question.
func (s *Shell) decide(ctx context.Context, cmds []postern.Command) (postern.Decision, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	var interrupted bool
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		interrupted = s.keys.interrupted(asking)
		if interrupted {
			cancel()
		}
	}()
	d, err := s.cfg.Decide(asking, s.say, cmds)
	cancel()
	<-watched
	if interrupted && ctx.Err() == nil && (err != nil || d.Verdict != postern.Allow) {
		s.say("withdrawn")
		return d, errInterrupted
	}
	return d, err
}

// say tells the person something, on lines of its own.
func (s *Shell) say(text string) { s.ed.say(text) }

func (s *Shell) prompt(dir string) string {
	sign := "$ "
	return s.cfg.Prompt + ":" + printable(dir) + sign
}
