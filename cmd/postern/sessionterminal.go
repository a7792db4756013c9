package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"postern"
	"postern/internal/api/client"
	"postern/internal/recording"
)

// eventOf reads a line of a session's events.
func eventOf(line []byte) (postern.Event, error) {
	var e postern.Event
	err := json.Unmarshal(line, &e)
	return e, err
}

// writeCast writes a session's terminal as asciinema plays it.
func writeCast(w io.Writer, format string, number int64) func([]byte) error {
	version := recording.CastV2
	if format == "asciicast-v3" {
		version = recording.CastV3
	}
	cast := recording.NewCast(w, version, number)
	return func(line []byte) error {
		e, err := eventOf(line)
		if err != nil {
			return err
		}
		if err := cast.Event(e); err != nil {
			return err
		}
		if e.Kind == postern.EventClose && !cast.Shown() {
			return errors.New("nothing was shown in this session")
		}
		return nil
	}
}

// playTerminal plays what a terminal of a session showed, in this one.
func playTerminal(ctx context.Context, c *client.Client, out io.Writer, id string, number int64, speed float64, skip time.Duration) error {
	if speed == 0 {
		speed = 1
	}
	if speed < 0 {
		return &usageError{err: fmt.Errorf("--speed %g is no speed", speed), hint: "1 is as it happened, 8 eight times as fast"}
	}
	p := &player{out: out, number: number}
	var last time.Time
	err := c.Events(ctx, id, false, func(line []byte) error {
		e, err := eventOf(line)
		if err != nil {
			return err
		}
		if !p.takes(e) {
			return nil
		}
		if gap := e.Time.Sub(last); !last.IsZero() && gap > 0 {
			if skip > 0 {
				gap = min(gap, skip)
			}
			timer := time.NewTimer(time.Duration(float64(gap) / speed))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		last = e.Time
		return p.show(e)
	})
	return errors.Join(err, p.end())
}

// player shows the pieces of one terminal.
type player struct {
	out    io.Writer
	number int64 // of the command; 0: the first that shows anything
	screen recording.Screen
	shown  bool
}

func (p *player) takes(e postern.Event) bool {
	if e.Kind != postern.EventOutput || p.number != 0 && e.N != p.number {
		return false
	}
	p.number = e.N
	return true
}

func (p *player) show(e postern.Event) error {
	p.shown = true
	_, err := io.WriteString(p.out, p.screen.Show(e.Text))
	return err
}

func (p *player) end() error {
	if !p.shown {
		return errors.New("nothing was shown in this session")
	}
	_, err := io.WriteString(p.out, p.screen.Rest()+"\r\n")
	return err
}

func newSessionWatchCommand(a *app) *cobra.Command {
	var number int64
	cmd := &cobra.Command{
		Use:   "watch ID",
		Short: "Follow a live session's terminal",
		Long: "Show what a live session's terminal shows, from its beginning and on while it lives, but for what could harm this one.\n" +
			"To watch others' sessions is a right of its own, which a Recordings object gives in watch; whoever is at the session's client\n" +
			"is told who watches, and when they stop. `postern session export --follow` has every event.",
		Example: "  postern session watch ss_91…",
		Args:    args(1, 1, "the ID of a session"),
	}
	cmd.Flags().Int64Var(&number, "command", 0, "the terminal of the command with this number; 0: the first that shows anything")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		p := &player{out: a.ui.out, number: number}
		err = c.Events(cmd.Context(), given[0], true, func(line []byte) error {
			e, err := eventOf(line)
			if err != nil || !p.takes(e) {
				return err
			}
			return p.show(e)
		})
		return errors.Join(err, p.end())
	}
	return cmd
}
