package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tourStep is one thing that the demo shows: a command to paste, and what it
// must print. The tour that is printed and the tour that --script plays are
// the same text.
type tourStep struct {
	title   string
	as      string // whose terminal
	command string
	exit    int
	shows   []string // each must be in what the command prints
	hides   []string // none may be
	// shell: it needs the demo's server with a shell.
	shell bool
	// meanwhile runs while command waits: in another terminal, as somebody else.
	meanwhile *tourStep
}

// tourSteps are written for the sample shop and policies of the demo folder.
func tourSteps() []tourStep {
	secrets := []string{"ines.marchetti@example.com", "4111 1111 1111 1111", "+1 415 555 0132", "t.wilk@example.net", "DE89 3704 0044 0532 0130 00", "5555 5555 5555 4444"}
	return []tourStep{
		{
			title: "An engineer reads customers: e-mail, card and phone are masked, also inside the notes.", as: "alice",
			command: `postern connect orders-db -- -c 'SELECT * FROM customers'`,
			shows:   []string{"Ines Marchetti", "(8 rows)"}, hides: secrets,
		},
		{
			title: "Another name for the column changes nothing.", as: "alice",
			command: `postern connect orders-db -- -c 'SELECT c.email AS id, upper(card_number) FROM customers c'`,
			shows:   []string{"(8 rows)"}, hides: secrets,
		},
		{
			title: "The privacy officer sees them in clear.", as: "petra",
			command: `postern connect orders-db -- -c 'SELECT * FROM customers'`,
			shows:   secrets,
		},
		{
			title: "Dropping a table is blocked, with the rule's own words.", as: "alice",
			command: `postern connect orders-db -- -c 'DROP TABLE orders'`, exit: 1,
			shows: []string{`postern: denied by rule "no-drop-table": Tables are dropped by migrations only.`},
		},
		{
			title: "So is deleting everything. Hiding it in a CTE doesn't help.", as: "alice",
			command: `postern connect orders-db -- -c 'WITH gone AS (DELETE FROM orders WHERE 1 = 1 RETURNING id) SELECT count(*) FROM gone'`, exit: 1,
			shows: []string{`postern: denied by rule "no-unbounded-delete": Add a WHERE clause.`},
		},
		{
			title: "A server, too: what a program prints is masked, whatever file it is from.", as: "alice", shell: true,
			command: `postern exec web-1 -c 'cat customers.csv'`,
			shows:   []string{"Ines Marchetti"}, hides: secrets,
		},
		{
			title: "In a shell, each line is decided over before it runs; sit in it with `postern connect web-1`.", as: "alice", shell: true,
			command: `printf 'rm -rf backups\rls backups\rgrep Wilk customers.csv\rexit\r' | postern connect web-1 -- -tt`,
			shows:   []string{`postern: denied by rule "no-recursive-delete": Name the files that have to go.`, "monday.txt", "2,Tomasz Wilk,"}, hides: secrets,
		},
		{
			title: "Changing a payment waits for a DBA. This one command, once.", as: "alice",
			command: `postern connect orders-db -- -c "UPDATE payments SET status = 'refunded' WHERE id = 7"`,
			shows:   []string{"NOTICE:  postern: waiting for approval by group:dba", "UPDATE 1"},
			meanwhile: &tourStep{
				title: "In a third terminal, the DBA looks and approves.", as: "dave",
				command: `postern review ls && postern review approve "$(postern review ls --quiet)"`,
				shows:   []string{"UPDATE payments SET status = 'refunded' WHERE id = 7", "approved"},
			},
		},
		{
			title: "Where nobody has a standing right, access is asked for.", as: "alice",
			command: `postern token orders-on-call`, exit: 4,
			shows: []string{"it has to be requested first: `postern request orders-on-call`"},
		},
		{
			title: "So ask, and wait for somebody else.", as: "alice",
			command: `postern request orders-on-call --for 1h --ticket OPS-17 --reason 'customer 7 moved' --wait`,
			shows:   []string{"is active until"},
			meanwhile: &tourStep{
				title: "In the third terminal, the DBA gives less than was asked: 15 seconds, to read and update.", as: "dave",
				command: `id=$(postern request ls --state pending --quiet) && postern request show "$id" && postern request approve "$id" --for 15s --verbs select,update`,
				shows:   []string{"customer 7 moved", "is active until"},
			},
		},
		{
			title: "Use it at once; when its time is up it ends by itself, and the live session with it.", as: "alice",
			command: `postern connect orders-on-call -- -c "UPDATE customers SET city = 'Oslo' WHERE id = 7" -c 'SELECT pg_sleep(300)'`, exit: 2,
			shows: []string{"UPDATE 1", "postern: session ended: its time is up"},
		},
		{
			title: "CI's key reads metrics …", as: "ci",
			command: `postern exec orders-db -c 'SELECT count(*) > 0 AS has_days FROM metrics.daily_sales'`,
			shows:   []string{"has_days"},
		},
		{
			title: "… and nothing else.", as: "ci",
			command: `postern exec orders-db -c 'SELECT count(*) FROM orders'`, exit: 4,
			shows: []string{"postern: denied by", "ci-reads-metrics"},
		},
		{
			title: "A live session ends the moment an administrator says so.", as: "alice",
			command: `postern connect orders-db -- -c 'SELECT pg_sleep(300)'`, exit: 2,
			shows: []string{"postern: session ended"},
			meanwhile: &tourStep{
				title: "In the third terminal:", as: "dave",
				command: `postern session kill "$(postern session ls --live --quiet)"`,
				shows:   []string{"ended"},
			},
		},
		{
			title: "What happened: sessions …", as: "dave",
			command: `postern session ls`,
			shows:   []string{"alice", "petra", "ci", "orders-db"},
		},
		{
			title: "… what was done in one, with what was decided and seen …", as: "dave",
			command: `postern session replay "$(postern session ls --identity ci --quiet | head -n 1)" --speed 0`,
			shows:   []string{"SELECT count(*) FROM orders", "denied by ci-reads-metrics"},
		},
		{
			title: "… and the audit log, which can be verified.", as: "dave",
			command: `postern audit tail -n 40 && postern audit verify`,
			shows:   []string{"command", "review.approve", "verified"},
		},
	}
}

// tour knows the running demo.
type tour struct {
	dir string // the demo's folder
	out io.Writer
}

// print writes the tour for a person to paste.
func (t tour) print() {
	fmt.Fprintf(t.out, "\nThe gateway runs. Open a second terminal in this folder and paste, line by line:\n")
	as := ""
	for _, step := range t.steps() {
		t.printStep(step, &as, "")
		if step.meanwhile != nil {
			other := ""
			t.printStep(*step.meanwhile, &other, "      ")
		}
	}
	fmt.Fprintf(t.out, "\nTo sign in through a browser, as people do: env -u POSTERN_TOKEN postern login\n"+
		"(passwords are in %s/passwords; the browser will not know the demo's own CA).\n", t.dir)
	fmt.Fprintf(t.out, "\nAny PostgreSQL client works: `postern token orders-db -o dsn` prints a connection string for it.\n"+
		"The policies are in %s/objects/policies.yaml: change them while this runs.\nCtrl-C ends the demo.\n", t.dir)
}

func (t tour) printStep(step tourStep, as *string, indent string) {
	fmt.Fprintf(t.out, "\n%s# %s\n", indent, step.title)
	if *as != step.as {
		fmt.Fprintf(t.out, "%s%s\n", indent, t.source(step.as))
		*as = step.as
	}
	fmt.Fprintf(t.out, "%s%s\n", indent, step.command)
}

// steps are those that the running demo has everything for.
func (t tour) steps() []tourStep {
	_, err := os.Stat(shellResource(t.dir))
	return slices.DeleteFunc(tourSteps(), func(s tourStep) bool { return s.shell && err != nil })
}

func (t tour) envFile(name string) string { return filepath.Join(t.dir, "as", name) }

// source is the line that makes a shell somebody's.
func (t tour) source(name string) string {
	file := t.dir + "/as/" + name
	if strings.ContainsAny(file, " '\"$`\\&;()") {
		file = shellQuote(file)
	}
	return ". " + file
}

// shellQuote quotes a word for sh.
func shellQuote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// play runs every step against the running demo, and returns an error that
// names each that didn't show what it should.
func (t tour) play(ctx context.Context) error {
	if _, err := os.Stat(t.envFile("alice")); err != nil {
		return &usageError{err: fmt.Errorf("no demo runs in %s", t.dir), hint: "start one with `postern demo`, then run this in a second terminal"}
	}
	var failed []error
	steps := t.steps()
	for i, step := range steps {
		if err := t.playStep(ctx, step); err != nil {
			failed = append(failed, fmt.Errorf("step %d (%s): %w", i+1, step.title, err))
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	fmt.Fprintf(t.out, "\nall %d steps showed what they should\n", len(steps))
	return nil
}

const stepTimeout = 60 * time.Second

func (t tour) playStep(ctx context.Context, step tourStep) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	fmt.Fprintf(t.out, "\n# %s\n%s$ %s\n", step.title, step.as, step.command)
	run, err := t.start(ctx, step)
	if err != nil {
		return err
	}
	var other error
	if step.meanwhile != nil {
		other = t.playWhile(ctx, run, *step.meanwhile)
	}
	return errors.Join(run.finish(t.out), other)
}

// playWhile tries the other terminal's step until what it acts on has appeared,
// and the command that waits for it has ended: what it finds at first may be
// another session's end.
func (t tour) playWhile(ctx context.Context, waiting *tourRun, step tourStep) error {
	last, done := "", false
	for {
		run, err := t.start(ctx, step)
		if err != nil {
			return err
		}
		var printed bytes.Buffer
		if err = run.finish(&printed); err == nil {
			last, done = printed.String(), true
		}
		select {
		case <-waiting.ended:
		case <-ctx.Done():
		case <-time.After(tryAgain):
			continue
		}
		if !done {
			return err
		}
		fmt.Fprintf(t.out, "# %s\n%s$ %s\n%s", step.title, step.as, step.command, last)
		return nil
	}
}

// tryAgain is how long a step's effect may take before it is tried again.
const tryAgain = time.Second

type tourRun struct {
	step    tourStep
	cmd     *exec.Cmd
	printed bytes.Buffer
	ended   chan struct{} // closed when the command has, with err
	err     error
}

// start runs the step's command as it was printed, in a shell of its own.
func (t tour) start(ctx context.Context, step tourStep) (*tourRun, error) {
	run := &tourRun{step: step}
	run.cmd = exec.CommandContext(ctx, "sh", "-c", t.source(step.as)+"\n"+step.command)
	run.cmd.Env = append(os.Environ(), "PAGER=cat", "PSQL_PAGER=cat")
	run.cmd.Stdout, run.cmd.Stderr = &run.printed, &run.printed
	// The shell's children go with it.
	run.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run.cmd.Cancel = func() error { return syscall.Kill(-run.cmd.Process.Pid, syscall.SIGKILL) }
	if err := run.cmd.Start(); err != nil {
		return nil, err
	}
	run.ended = make(chan struct{})
	go func() {
		defer close(run.ended)
		run.err = run.cmd.Wait()
	}()
	return run, nil
}

func (r *tourRun) finish(out io.Writer) error {
	<-r.ended
	var exit *exec.ExitError
	if r.err != nil && !errors.As(r.err, &exit) {
		return r.err
	}
	printed := r.printed.String()
	fmt.Fprint(out, printed)
	var problems []error
	if got := r.cmd.ProcessState.ExitCode(); got != r.step.exit {
		problems = append(problems, fmt.Errorf("exit status %d, want %d", got, r.step.exit))
	}
	for _, want := range r.step.shows {
		if !strings.Contains(printed, want) {
			problems = append(problems, fmt.Errorf("did not show %q", want))
		}
	}
	for _, secret := range r.step.hides {
		if strings.Contains(printed, secret) {
			problems = append(problems, fmt.Errorf("showed %q", secret))
		}
	}
	return errors.Join(problems...)
}
