package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"postern"
	"postern/internal/api/client"
)

// tui is all the talk to people: what they asked for on out, everything else
// on err, so that pipes carry results alone.
type tui struct {
	in  io.Reader
	out io.Writer
	err io.Writer
	// readPassword asks the person at the terminal; nil: there is none.
	readPassword func() ([]byte, error)
	width        int // of the terminal that out is; 0: out is none
}

func newTUI() *tui {
	t := &tui{in: os.Stdin, out: &resultWriter{to: os.Stdout}, err: os.Stderr}
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		t.readPassword = func() ([]byte, error) { return term.ReadPassword(fd) }
	}
	if fd := int(os.Stdout.Fd()); term.IsTerminal(fd) {
		if width, _, err := term.GetSize(fd); err == nil {
			t.width = width
		}
	}
	return t
}

// resultWriter remembers that a result could not be written, so that nothing
// that prints has to ask.
type resultWriter struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (w *resultWriter) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// Exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitSignedIn = 3 // not signed in, or expired
	exitDenied   = 4 // by policy
	exitReview   = 5 // denied in review, or timed out there
)

// finish tells what went wrong, what to do about it, and returns the exit code.
func (t *tui) finish(err error) int {
	if w, ok := t.out.(*resultWriter); ok && err == nil && w.err != nil {
		err = fmt.Errorf("write the result: %w", w.err)
	}
	if err == nil {
		return exitDone
	}
	code, hint := t.judge(err)
	var exit *exitError
	if errors.As(err, &exit) && exit.quiet {
		return code
	}
	fmt.Fprintf(t.err, "error: %s\n", printable(err.Error(), true))
	if hint != "" {
		fmt.Fprintf(t.err, "hint: %s\n", printable(hint, true))
	}
	return code
}

// judge finds the exit code of an error, and what to do about it.
func (t *tui) judge(err error) (code int, hint string) {
	var usage *usageError
	var exit *exitError
	var out *signedOutError
	var refused *client.Error
	var oauth *client.OAuthError
	var unreachable *client.UnreachableError
	var grant *client.GrantError
	switch {
	case errors.As(err, &exit):
		return exit.code, ""
	case errors.As(err, &usage):
		return exitUsage, usage.hint
	case errors.As(err, &out):
		return exitSignedIn, "sign in with `postern login`, or set POSTERN_TOKEN to a service account's key"
	case errors.As(err, &refused):
		return judgeStatus(refused)
	case errors.As(err, &oauth):
		return judgeOAuth(oauth)
	case errors.As(err, &grant):
		return exitSignedIn, "POSTERN_TOKEN holds a JWT: it may have expired, have been used already, or be for another audience than this gateway"
	case errors.As(err, &unreachable):
		return exitFailed, unreachableHint(err)
	case errors.Is(err, context.Canceled):
		return exitFailed, ""
	case isUsage(err):
		return exitUsage, "see `postern --help`"
	default:
		return exitFailed, ""
	}
}

func judgeOAuth(e *client.OAuthError) (code int, hint string) {
	switch e.Code {
	case "invalid_grant", "access_denied", "expired_token":
		return exitSignedIn, "sign in again with `postern login`"
	default:
		return exitFailed, ""
	}
}

func judgeStatus(e *client.Error) (code int, hint string) {
	switch e.Status {
	case 401:
		return exitSignedIn, "sign in with `postern login`, or check POSTERN_TOKEN"
	case 403:
		return exitDenied, "`postern whoami` shows your groups and roles, `postern ls` what you can reach"
	case 400, 422:
		return exitUsage, ""
	default:
		return exitFailed, ""
	}
}

func unreachableHint(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &authority):
		return "a gateway that has no certificate of its own makes a CA in its data folder: give its ca.pem with --ca-file or POSTERN_CA_FILE"
	case errors.As(err, &host):
		return "call the gateway by its public_url"
	default:
		return "is it running, and is that its address? --server or POSTERN_SERVER names it"
	}
}

// isUsage says whether cobra itself refused a command line. It has no types for that.
func isUsage(err error) bool {
	for _, words := range []string{"unknown command", "required flag", "if any flags in the group", "accepts "} {
		if strings.HasPrefix(err.Error(), words) {
			return true
		}
	}
	return false
}

// say tells something beside the result.
func (t *tui) say(format string, args ...any) {
	_, _ = io.WriteString(t.err, printable(fmt.Sprintf(format, args...), true)+"\n") // there is nobody else to tell
}

// line is one line of the result.
func (t *tui) line(format string, args ...any) {
	_, _ = io.WriteString(t.out, printable(fmt.Sprintf(format, args...), true)+"\n") // finish tells
}

// password gets a secret: from a file, from stdin, or from the person. what
// is its word, as in the flags --password-file and --password-stdin.
func (t *tui) password(prompt, what, file string, stdin bool) (postern.Secret, error) {
	var text []byte
	var err error
	switch {
	case file != "":
		if text, err = os.ReadFile(file); err != nil {
			return postern.Secret{}, fmt.Errorf("read the %s: %w", what, err)
		}
	case stdin:
		if text, err = io.ReadAll(io.LimitReader(t.in, 64<<10)); err != nil {
			return postern.Secret{}, fmt.Errorf("read the %s: %w", what, err)
		}
	case t.readPassword == nil:
		return postern.Secret{}, &usageError{err: errors.New("there is no terminal to ask at"), hint: fmt.Sprintf("give the %[1]s with --%[1]s-file or --%[1]s-stdin", what)}
	default:
		_, _ = io.WriteString(t.err, prompt) // there is nobody else to tell
		text, err = t.readPassword()
		_, _ = io.WriteString(t.err, "\n")
		if err != nil {
			return postern.Secret{}, fmt.Errorf("read the %s: %w", what, err)
		}
	}
	return postern.NewSecret(strings.TrimRight(string(text), "\r\n")), nil
}

// format is an -o flag.
type format struct {
	value   string
	allowed []string
}

// formatFlag adds -o, with table as what comes without it.
func formatFlag(cmd *cobra.Command, allowed ...string) *format {
	if len(allowed) == 0 {
		allowed = []string{"table", "json", "yaml"}
	}
	f := &format{value: allowed[0], allowed: allowed}
	cmd.Flags().VarP(f, "output", "o", strings.Join(allowed, ", "))
	return f
}

// String implements pflag.Value.
func (f *format) String() string { return f.value }

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	if !slices.Contains(f.allowed, text) {
		return fmt.Errorf("it is one of %s", strings.Join(f.allowed, ", "))
	}
	f.value = text
	return nil
}

// show prints v as asked; plain prints it for people.
func (t *tui) show(f *format, v any, plain func()) error {
	switch f.value {
	case "json":
		return t.json(v)
	case "yaml":
		return t.yaml(v)
	default:
		plain()
		return nil
	}
}

func (t *tui) json(v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// yaml prints what json would, as YAML: the same keys in the same order.
func (t *tui) yaml(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	blockStyle(&doc)
	enc := yaml.NewEncoder(t.out)
	enc.SetIndent(2)
	return errors.Join(enc.Encode(&doc), enc.Close())
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}

// maxCell bounds a cell where a person looks at it, in letters.
const maxCell = 72

// table prints rows under headings. Cells hold one line each.
func (t *tui) table(headings []string, rows [][]string) {
	lines := []string{strings.Join(headings, "\t")}
	for _, row := range rows {
		for i, cell := range row {
			row[i] = t.cell(cell)
		}
		lines = append(lines, strings.Join(row, "\t"))
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n") // to a buffer
	_ = w.Flush()                                            // to a buffer
	for line := range strings.Lines(b.String()) {
		t.line("%s", strings.TrimRight(line, " \n"))
	}
}

func (t *tui) cell(text string) string {
	text = printable(strings.Join(strings.Fields(text), " "), false)
	if text == "" {
		return "-"
	}
	if letters := []rune(text); t.width > 0 && len(letters) > maxCell {
		return string(letters[:maxCell-1]) + "…"
	}
	return text
}

// printable escapes what could move a terminal's cursor, change its colours or
// hide text. lines keeps line ends and tabs.
func printable(text string, lines bool) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clock is a time as tables show it.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
