package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"postern/internal/api"
)

func newClassifyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classify RESOURCE",
		Short: "Propose masks: what the columns of a resource hold",
		Long: "Look at the names and types of a resource's columns and at a sample of their values, and print a classification and a\n" +
			"mask that goes by it, to be looked over, kept as a file and applied. The gateway looks, over a connection of its own that\n" +
			"changes nothing; no value leaves it. Takes the role admin.",
		Example: "  postern classify orders-db > policies/orders-pii.yaml\n  postern classify orders-db -o json",
		Args:    args(1, 1, "the RESOURCE"),
	}
	f := formatFlag(cmd, "yaml", "json")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		c, _, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		found, err := c.Classify(cmd.Context(), given[0])
		if err != nil {
			return err
		}
		if f.value == "yaml" {
			a.ui.line("%s", strings.TrimRight(proposal(found), "\n"))
			return nil
		}
		return a.ui.show(f, found, nil)
	}
	return cmd
}

// proposal is a classification and a mask as YAML, with the evidence beside.
func proposal(found api.Classified) string {
	var lines, unspellable []string
	labels := map[string]bool{}
	width := 0
	for _, c := range found.Columns {
		width = max(width, len(yamlKey(c.Column)))
	}
	for _, c := range found.Columns {
		switch {
		case c.Label == "":
		case strings.ContainsAny(c.Column, "*?\\\"'\n\r") && !strings.Contains(c.Column, "$"):
			unspellable = append(unspellable, c.Column)
		default:
			labels[c.Label] = true
			lines = append(lines, fmt.Sprintf("  %-*s [%s] # %s", width+1, yamlKey(c.Column)+":", c.Label, evidence(c)))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s looked at, %d of them to be masked.\n", found.Resource, many(len(found.Columns), "column"), len(lines))
	for _, table := range found.Unread {
		fmt.Fprintf(&b, "# Not looked at, because it could not be read in time: %s\n", oneLine(table))
	}
	for _, column := range unspellable {
		fmt.Fprintf(&b, "# To be named by hand, with a pattern: %s\n", oneLine(column))
	}
	if len(lines) == 0 {
		b.WriteString("# Nothing was found that would have to be masked.\n")
		return b.String()
	}
	fmt.Fprintf(&b, "# Look it over, keep it as a file, and apply it: postern apply -f FILE\nkind: Classification\nname: %s\non: {names: [%[1]s]}\ncolumns:\n", found.Resource)
	b.WriteString(strings.Join(lines, "\n"))
	var all []string
	for label := range labels {
		all = append(all, label)
	}
	sort.Strings(all)
	fmt.Fprintf(&b, "\n---\nkind: Mask\nname: %s-personal-data\non: {names: [%s]}\nlabels: [%s]\nwith: redact # or partial, hash, bucket, null\n",
		found.Resource, found.Resource, strings.Join(all, ", "))
	return b.String()
}

// evidence is what speaks for a column's label.
func evidence(c api.ClassifiedColumn) string {
	how := "look like it"
	if c.Checked {
		how = "pass its check"
	}
	text := fmt.Sprintf("%s; %d of %s %s", c.Type, c.Hits, many(c.Values, "value"), how)
	if c.Named {
		text += "; so its name says"
	}
	return text
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// yamlKey quotes a column's name where YAML would read it otherwise.
func yamlKey(name string) string {
	for _, r := range name {
		if !(r == '.' || r == '_' || r == '$' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return "'" + strings.ReplaceAll(name, "'", "''") + "'"
		}
	}
	return name
}
