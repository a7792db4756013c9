package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in an object, at its place.
//
//nolint:errname // people are told of problems; errors.Join makes the error of them
type Problem struct {
	File    string
	Line    int // from 1
	Message string
}

// Error implements error.
func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message) }

// problems gathers mistakes, so that all of them can be shown at once.
type problems []*Problem

func (ps *problems) add(file string, line int, format string, args ...any) {
	*ps = append(*ps, &Problem{File: file, Line: max(line, 1), Message: fmt.Sprintf(format, args...)})
}

// join is one error for all of them, in the order of files and lines; nil for none.
func (ps problems) join() error {
	sorted := slices.Clone(ps)
	slices.SortStableFunc(sorted, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	errs := make([]error, 0, len(sorted))
	for _, p := range sorted {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// oneOf words what was expected in place of a word, and which of it was
// probably meant.
func oneOf(got string, known []string) string {
	text := "expected one of " + strings.Join(known, ", ")
	if near := nearest(got, known); near != "" {
		return text + "; " + didYouMean(near)
	}
	return text
}

func didYouMean(near string) string { return fmt.Sprintf("did you mean %q?", near) }

// nearest is the known word that got is probably a slip of; "" when none is near.
func nearest(got string, known []string) string {
	best, bestDistance := "", 1+max(1, len(got)/3)
	for _, word := range known {
		if d := distance(strings.ToLower(got), strings.ToLower(word)); d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour. Words too long to be keys are infinitely far.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var rows [3][longest + 1]int
	for j := range len(b) + 1 {
		rows[1][j] = j
	}
	before, last, row := &rows[0], &rows[1], &rows[2]
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// shown is a value as it may stand in a message: quoted and of bounded length.
func shown(value string) string {
	const most = 60
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", value)
}
