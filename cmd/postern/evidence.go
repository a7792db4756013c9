package main

import (
	"strings"

	"postern"
)

// showEvidence prints what approvers are shown besides the text.
func (a *app) showEvidence(e *postern.Evidence) {
	if e == nil {
		return
	}
	a.showTrial(e.Trial)
	if e.Rows != nil {
		a.ui.line("rows       %d would be touched, as counted", *e.Rows)
	}
	for _, step := range e.Plan {
		on := step.On
		if on != "" {
			on = " on " + on
		}
		a.ui.line("plan       %s%s%s, %.0f rows estimated", strings.Repeat("  ", step.Depth), step.Does, on, step.Rows)
	}
	for _, effect := range e.Effects {
		a.ui.line("effect     %s", effect)
	}
	for _, missing := range e.Missing {
		a.ui.line("evidence   %s", missing)
	}
	for _, r := range e.Recent {
		a.ui.line("earlier    #%d, %s: %s", r.N, r.Decision, strings.Join(strings.Fields(r.Text), " "))
	}
	if strings.Contains(e.Formatted, "\n") {
		a.ui.line("laid out   %s", strings.ReplaceAll(e.Formatted, "\n", "\n           "))
	}
}

// showTrial prints what a command did that has run and is held.
func (a *app) showTrial(t *postern.Trial) {
	if t == nil {
		return
	}
	until := "it is committed or undone then"
	if t.Within {
		until = "approved, it is its client's to commit"
	}
	a.ui.line("has run    %s; %s", t.Tag, until)
	for _, c := range t.Changes {
		a.ui.line("changed    %s: %d inserted, %d updated, %d deleted", a.ui.cell(c.Table), c.Inserted, c.Updated, c.Deleted)
	}
	if t.Sample == nil {
		return
	}
	a.ui.line("rows       of %s, masked", a.ui.cell(t.Sample.Table))
	rows := make([][]string, 0, 2*len(t.Sample.Rows))
	for _, row := range t.Sample.Rows {
		for i, values := range [][]*string{row.Before, row.After} {
			if values == nil {
				continue
			}
			cells := []string{[]string{"before", "after"}[i]}
			for _, v := range values {
				if v == nil {
					cells = append(cells, "NULL")
					continue
				}
				cells = append(cells, *v)
			}
			rows = append(rows, cells)
		}
	}
	headings := []string{""}
	for _, column := range t.Sample.Columns {
		headings = append(headings, a.ui.cell(column))
	}
	a.ui.table(headings, rows)
}
