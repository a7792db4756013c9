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
