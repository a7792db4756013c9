package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api/client"
)

// printedSession is one line of `postern session ls -o json`.
type printedSession struct {
	ID           string     `json:"id"`
	Identity     string     `json:"identity"`
	Actor        string     `json:"actor"`
	Resource     string     `json:"resource"`
	StartedAt    time.Time  `json:"started_at"`
	EndedAt      *time.Time `json:"ended_at"` // null: it is open
	Commands     int64      `json:"commands"`
	Denied       int64      `json:"denied"`
	MaskedValues int64      `json:"masked_values"`
}

func newSessionCommand(a *app) *cobra.Command {
	return group("session", "What happened, and what is happening",
		"  postern session ls --live\n  postern session replay ss_91…",
		newSessionLsCommand(a), newSessionSearchCommand(a), newSessionShowCommand(a), newSessionReplayCommand(a), newSessionExportCommand(a), newSessionWatchCommand(a), newSessionKillCommand(a), newSessionShredCommand(a))
}

func newSessionLsCommand(a *app) *cobra.Command {
	var filter postern.SessionFilter
	var live, ended, quiet bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "Sessions, newest first: mine, and for auditors all",
		Example: "  postern session ls --live\n  postern session ls --identity ci --limit 0 -o json",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&filter.Identity, "identity", "", "only this identity's")
	flags.StringVar(&filter.Resource, "resource", "", "only on this resource")
	flags.BoolVar(&live, "live", false, "only those that are open")
	flags.BoolVar(&ended, "ended", false, "only those that have ended")
	flags.BoolVarP(&quiet, "quiet", "q", false, "print ids only")
	flags.IntVar(&filter.Limit, "limit", 100, "how many at most; 0: all")
	cmd.MarkFlagsMutuallyExclusive("live", "ended")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if live || ended {
			filter.Live = &live
		}
		sessions, err := c.Sessions(cmd.Context(), filter)
		if err != nil {
			return err
		}
		if quiet {
			for _, s := range sessions {
				a.ui.line("%s", s.ID)
			}
			return nil
		}
		return a.listSessions(f, sessions)
	}
	return cmd
}

func (a *app) listSessions(f *format, sessions []postern.SessionInfo) error {
	printed, rows := []printedSession{}, [][]string{}
	for _, s := range sessions {
		p := printedSession{
			ID: s.ID, Identity: s.Identity, Actor: s.Actor, Resource: s.Resource, StartedAt: s.StartedAt,
			Commands: s.Commands, Denied: s.Denied, MaskedValues: s.MaskedValues,
		}
		state := "open"
		if !s.EndedAt.IsZero() {
			p.EndedAt = &s.EndedAt
			state = s.EndedAt.Sub(s.StartedAt).Round(time.Second / 10).String()
		}
		printed = append(printed, p)
		rows = append(rows, []string{
			s.ID, s.Identity, s.Actor, s.Resource, clock(s.StartedAt), state,
			strconv.FormatInt(s.Commands, 10), strconv.FormatInt(s.Denied, 10), strconv.FormatInt(s.MaskedValues, 10),
		})
	}
	return a.ui.show(f, printed, func() {
		a.ui.table([]string{"ID", "IDENTITY", "ACTOR", "RESOURCE", "STARTED", "LASTED", "COMMANDS", "DENIED", "MASKED"}, rows)
	})
}

func newSessionShowCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Everything known of a session but its events",
		Example: "  postern session show ss_91… -o yaml",
		Args:    args(1, 1, "the ID of a session"),
	}
	f := formatFlag(cmd, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := c.Session(cmd.Context(), given[0])
		if err != nil {
			return err
		}
		return a.ui.show(f, s, nil)
	}
	return cmd
}

func newSessionReplayCommand(a *app) *cobra.Command {
	var speed float64
	var skip time.Duration
	var terminal bool
	var number int64
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Show a session as it went",
		Long: "Print a session's transcript: each command with its time, what was decided, and what came of it.\n" +
			"With --speed it is played in its own time. With --terminal, what a terminal showed is played as it was seen, but for\n" +
			"what could harm this one.",
		Example: "  postern session replay ss_91…\n  postern session replay ss_91… --speed 4 --skip-idle 2s\n  postern session replay ss_91… --terminal --speed 8",
		Args:    args(1, 1, "the ID of a session"),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, _, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if terminal {
				return playTerminal(cmd.Context(), c, a.ui.out, given[0], number, speed, skip)
			}
			return c.Replay(cmd.Context(), given[0], speed, skip, a.ui.out)
		},
	}
	cmd.Flags().BoolVar(&terminal, "terminal", false, "play what the session's terminal showed, in this one")
	cmd.Flags().Int64Var(&number, "command", 0, "with --terminal: of the command with this number; 0: the first that showed anything")
	cmd.Flags().Float64Var(&speed, "speed", 0, "1: as it happened; 2: twice as fast; 0: all at once")
	cmd.Flags().DurationVar(&skip, "skip-idle", 2*time.Second, "the longest wait between two events, in whole seconds; 0: as long as it was")
	return cmd
}

func newSessionExportCommand(a *app) *cobra.Command {
	var file, as string
	var follow bool
	var number int64
	cmd := &cobra.Command{
		Use:   "export ID",
		Short: "Write a session's events as JSON lines, or a terminal for asciinema",
		Example: "  postern session export ss_91… | jq -r 'select(.kind == \"command\").command.text'\n  postern session export ss_91… --file session.jsonl\n" +
			"  postern session export ss_91… --format asciicast > session.cast && asciinema play session.cast",
		Args: args(1, 1, "the ID of a session"),
	}
	cmd.Flags().StringVar(&file, "file", "", "write to this file, which must not exist yet")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on while the session lives")
	cmd.Flags().StringVar(&as, "format", "jsonl", "jsonl; asciicast (version 2) or asciicast-v3: what a terminal showed")
	cmd.Flags().Int64Var(&number, "command", 0, "with asciicast: the terminal of the command with this number; 0: the first that showed anything")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if as != "jsonl" && as != "asciicast" && as != "asciicast-v3" {
			return &usageError{err: fmt.Errorf("--format %s is none of jsonl, asciicast and asciicast-v3", as), hint: "postern session export --help"}
		}
		return a.into(file, func(w io.Writer) error {
			write := writeLine(w)
			if as != "jsonl" {
				write = writeCast(w, as, number)
			}
			err := c.Events(cmd.Context(), given[0], follow, write)
			var early *client.StreamError
			if !errors.As(err, &early) {
				return err
			}
			if s, getErr := c.Session(cmd.Context(), given[0]); getErr == nil && s.EndedAt.IsZero() {
				a.ui.say("note: the session is open; --follow goes on while it lives")
				return nil
			}
			return fmt.Errorf("this is not all of it: %w", early)
		})
	}
	return cmd
}

// writeLine writes lines as they came.
func writeLine(w io.Writer) func([]byte) error {
	return func(line []byte) error {
		_, err := w.Write(append(line[:len(line):len(line)], '\n'))
		return err
	}
}

// into writes to a new file, or to standard output when file is "".
func (a *app) into(file string, write func(io.Writer) error) error {
	if file == "" {
		return write(a.ui.out)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush(), f.Close())
}

func newSessionKillCommand(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "kill ID…",
		Short:   "End live sessions now",
		Example: "  postern session kill ss_91… --reason 'maintenance at 12:00'",
		Args:    args(1, 1000, "the ID of a session"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "told to the session's client")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, id := range given {
			killed, err := c.Kill(cmd.Context(), id, reason)
			if err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			if killed.Ended {
				a.ui.line("%s ended", id)
			} else {
				a.ui.line("%s was over already", id)
			}
		}
		return nil
	}
	return cmd
}

func newSessionShredCommand(a *app) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "shred ID…",
		Short: "Delete recordings for good",
		Long: "Destroy the key of each session's recording, and remove it. Nobody can read it any more. That it was deleted, by\n" +
			"whom and why stays in the audit log, with its digest. What a Recordings object holds isn't deleted.",
		Example: "  postern session shred ss_91… --reason 'request to erase 4711'",
		Args:    args(1, 1000, "the ID of a session"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log; required")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if reason == "" {
			return usage("say why: --reason")
		}
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, id := range given {
			if err := c.DeleteRecording(cmd.Context(), id, reason); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			a.ui.line("%s deleted", id)
		}
		return nil
	}
	return cmd
}
