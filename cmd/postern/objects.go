package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/api"
	"postern/internal/api/client"
)

// documents are the YAML documents of several files, as one text.
type documents struct {
	text  []byte
	parts []part
}

// part says which file a stretch of the text comes from.
type part struct {
	file string
	line int // the text's line that is the file's first, from 1
}

// maxDocuments bounds what one call takes: the gateway refuses more.
const maxDocuments = 1 << 20

// readDocuments reads files, folders (every *.yaml and *.yml below) and "-".
func (a *app) readDocuments(paths []string) (documents, error) {
	var d documents
	for _, path := range paths {
		if path == "-" {
			text, err := io.ReadAll(io.LimitReader(a.ui.in, maxDocuments+1))
			if err != nil {
				return d, err
			}
			d.add("-", text)
			continue
		}
		err := filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if ext := filepath.Ext(file); file != path && ext != ".yaml" && ext != ".yml" {
				return nil
			}
			text, err := os.ReadFile(file) //nolint:gosec // the caller's own files, read with their own rights
			if err == nil {
				d.add(file, text)
			}
			return err
		})
		if err != nil {
			return d, err
		}
	}
	if len(d.text) > maxDocuments {
		return d, errors.New("these objects are larger than 1 MiB; apply them in parts")
	}
	return d, d.check(paths)
}

// check refuses files that have nothing in them.
func (d *documents) check(paths []string) error {
	if len(bytes.Trim(d.text, "- \t\r\n")) == 0 {
		return &usageError{err: fmt.Errorf("there is nothing in %s", strings.Join(paths, ", "))}
	}
	return nil
}

func (d *documents) add(file string, text []byte) {
	if len(d.text) > 0 {
		d.text = append(d.text, "---\n"...)
	}
	d.parts = append(d.parts, part{file: file, line: bytes.Count(d.text, []byte("\n")) + 1})
	d.text = append(d.text, text...)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		d.text = append(d.text, '\n')
	}
}

// place puts the files' own names and lines in place of the text's.
func (d *documents) place(err error) error {
	var refused *client.Error
	if errors.As(err, &refused) {
		for i, text := range refused.Details {
			refused.Details[i] = d.placed(text)
		}
	}
	return err
}

// placed is a message with the file's name and line in place of the text's,
// which has the name that the API gives it.
func (d *documents) placed(text string) string {
	match := regexp.MustCompile(`^(?:api|tests):(\d+)`).FindStringSubmatch(text)
	if match == nil {
		return text
	}
	n, err := strconv.Atoi(match[1])
	if err != nil {
		return text
	}
	out := text
	for _, p := range d.parts {
		if p.line <= n {
			out = fmt.Sprintf("%s:%d%s", p.file, n-p.line+1, text[len(match[0]):])
		}
	}
	return out
}

// placeWarnings does for warnings what place does for an error.
func (d *documents) placeWarnings(changes api.Changes) {
	for _, ch := range changes.Changes {
		for i, text := range ch.Warnings {
			ch.Warnings[i] = d.placed(text)
		}
	}
}

// filesFlag adds -f, which can be given several times.
func filesFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArrayP("file", "f", nil, "a file, a folder, or - for standard input; may be repeated")
}

func errNoFile(cmd *cobra.Command) error {
	return &usageError{err: errors.New("which objects? -f is missing"), hint: cmd.CommandPath() + " -f FILE"}
}

func newApplyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "apply -f FILE",
		Short:   "Put objects in force",
		Example: "  postern apply -f policies/\n  postern apply -f - < rule.yaml",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	files := filesFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withDocuments(cmd, *files, func(c *client.Client, d *documents) error {
			changes, err := c.Apply(cmd.Context(), d.text)
			if err != nil {
				return d.place(err)
			}
			d.placeWarnings(changes)
			return a.showChanges(f, changes, false)
		})
	}
	return cmd
}

func newPlanCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plan -f FILE",
		Short:   "Show what apply would change",
		Example: "  postern plan -f policies/",
		Args:    args(0, 0, ""),
	}
	f := formatFlag(cmd)
	files := filesFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withDocuments(cmd, *files, func(c *client.Client, d *documents) error {
			changes, err := c.Plan(cmd.Context(), d.text)
			if err != nil {
				return d.place(err)
			}
			d.placeWarnings(changes)
			return a.showChanges(f, changes, true)
		})
	}
	return cmd
}

func (a *app) withDocuments(cmd *cobra.Command, files []string, do func(*client.Client, *documents) error) error {
	if len(files) == 0 {
		return errNoFile(cmd)
	}
	c, _, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	d, err := a.readDocuments(files)
	if err != nil {
		return err
	}
	return do(c, &d)
}

func (a *app) showChanges(f *format, changes api.Changes, plan bool) error {
	for _, ch := range changes.Changes {
		for _, w := range ch.Warnings {
			a.ui.say("warning: %s", w)
		}
	}
	return a.ui.show(f, changes, func() {
		if len(changes.Changes) == 0 {
			a.ui.line("nothing changes")
			return
		}
		done := map[string]string{"create": "created", "change": "changed", "delete": "deleted"}
		for _, ch := range changes.Changes {
			what := done[ch.Action]
			if plan {
				what = "would be " + what
			}
			a.ui.line("%s %s %s", ch.Kind, ch.Name, what)
			if plan && ch.Diff != "" {
				a.ui.line("%s", strings.TrimRight(ch.Diff, "\n"))
			}
		}
	})
}

func newGetCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "get [KIND [NAME]]",
		Short:   "The objects in force",
		Long:    "List the objects in force, or print one as YAML that apply takes.",
		Example: "  postern get\n  postern get rule\n  postern get rule no-unbounded-delete",
		Args:    args(0, 2, ""),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		if len(given) == 2 {
			object, err := c.Object(cmd.Context(), given[0], given[1])
			if err != nil {
				return err
			}
			if f.value == "json" {
				return a.ui.json(object)
			}
			a.ui.line("%s", strings.TrimRight(object.YAML, "\n"))
			return nil
		}
		kind := ""
		if len(given) == 1 {
			kind = given[0]
		}
		objects, err := c.Objects(cmd.Context(), kind)
		if err != nil {
			return err
		}
		return a.listObjects(f, objects)
	}
	return cmd
}

func (a *app) listObjects(f *format, objects []api.Document) error {
	if f.value == "yaml" {
		for i, o := range objects {
			if i > 0 {
				a.ui.line("---")
			}
			a.ui.line("%s", strings.TrimRight(o.YAML, "\n"))
		}
		return nil
	}
	return a.ui.show(f, objects, func() {
		rows := [][]string{}
		for _, o := range objects {
			rows = append(rows, []string{o.Kind, o.Name, o.Source})
		}
		a.ui.table([]string{"KIND", "NAME", "KEPT IN"}, rows)
	})
}

func newDeleteCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete KIND NAME",
		Short:   "Take an object out of force",
		Long:    "Take an object that was applied out of force. One that is kept in a file is deleted there.",
		Example: "  postern delete rule no-unbounded-delete",
		Args:    args(2, 2, "a KIND and a NAME"),
	}
	f := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		changes, err := c.DeleteObject(cmd.Context(), given[0], given[1])
		if err != nil {
			return err
		}
		return a.showChanges(f, changes, false)
	}
	return cmd
}
