package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// curve is how costs grow with one size.
type curve struct {
	name    string // for BENCH_ONLY
	measure func(context.Context, *world) (*table, error)
}

func curves() []curve {
	return []curve{
		{"growth: sessions", growSessions},
		{"growth: rules", growRules},
		{"growth: tables", growTables},
		{"growth: rows", growRows},
		{"growth: recordings", growRecordings},
		{"growth: slow readers", growSlow},
	}
}

// mostSessions is how many the curve of sessions ends with.
const mostSessions = 2000

// table is a curve as the report shows it.
type table struct {
	title string
	about string   // what was done, and what the columns are
	head  []string // the first columns are on the left, those with a "#" before them on the right
	rows  [][]string
	steep []string // what grew faster than its size
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// steepest is the exponent from which on growth is called worse than linear:
// what a noisy machine makes of 1.
const steepest = 1.15

// grows says as which power of a size a cost grew, from one point to the next.
// The first point has none.
func (t *table) grows(what string, fromSize, from, toSize, to float64) string {
	if from <= 0 || to <= 0 || fromSize <= 0 {
		return ""
	}
	power := math.Log(to/from) / math.Log(toSize/fromSize)
	if power > steepest {
		t.steep = append(t.steep, fmt.Sprintf("%s, from %s to %s", what, thousands(int(fromSize)), thousands(int(toSize))))
	}
	return against(math.Max(power, 0), steepest, false, "%.2f")
}

// measureGrowth measures the curves that are chosen. It has a server of its own:
// settings for many connections, and what is left in it, concern no other figure.
func measureGrowth(ctx context.Context, cfg settings) (text string, err error) {
	cfg.sessions, cfg.peers = mostSessions, false
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	began := time.Now()
	var tables []*table
	for _, c := range curves() {
		if !cfg.chosen(c.name) {
			continue
		}
		progress("%s", c.name)
		t, err := c.measure(ctx, w)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		tables = append(tables, t)
	}
	return section(cfg, tables, time.Since(began)), nil
}

// section is the part of the page: Markdown.
func section(cfg settings, tables []*table, took time.Duration) string {
	var b strings.Builder
	b.WriteString("## How cost grows\n\n")
	fmt.Fprintf(&b, "`BENCH_GROWTH=only scripts/bench --write` writes this section anew. Measured %s at commit %s, %d rounds of each, load %s at the\n"+
		"end, %v in all.\n\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), cfg.commit, cfg.rounds, loadAverage(), took.Round(time.Second))
	b.WriteString("\"Grows as\" is the power of the size as which a cost grew from the line before: 0 for a cost that stays or falls, 1 for one that\n" +
		"grows as its size does. Above ")
	fmt.Fprintf(&b, "%.2f it is worse than linear, and in bold; below 1, what doesn't grow is most of it.\n", steepest)
	var steep []string
	for _, t := range tables {
		steep = append(steep, t.steep...)
	}
	if len(steep) == 0 {
		b.WriteString("Of all that follows, nothing is.\n")
	} else {
		b.WriteString("Worse than linear: " + strings.Join(steep, "; ") + ".\n")
	}
	for _, t := range tables {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", t.title, t.about)
		line := "|"
		for _, h := range t.head {
			name, right := strings.CutPrefix(h, "#")
			b.WriteString("| " + name + " ")
			if right {
				line += "---:|"
			} else {
				line += "---|"
			}
		}
		b.WriteString("|\n" + line + "\n")
		for _, row := range t.rows {
			b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
	}
	return b.String()
}

// ways of printing.
func milliseconds(d time.Duration) string {
	ms := float64(d.Nanoseconds()) / 1e6
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1e3)
}

func microseconds(us float64) string {
	if us < 100 {
		return fmt.Sprintf("%.1f µs", us)
	}
	return thousands(int(us)) + " µs"
}

func mib(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

func kib(n float64) string { return thousands(int(math.Max(n, 0)/1024)) + " KiB" }

// size prints bytes as powers of ten.
func size(n int) string {
	switch {
	case n >= 1_000_000_000:
		return fmt.Sprintf("%d GB", n/1_000_000_000)
	case n >= 1_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 1000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%d B", n)
}

// medianTime is the median of durations.
func medianTime(all []time.Duration) time.Duration {
	var ns []float64
	for _, d := range all {
		ns = append(ns, float64(d))
	}
	return time.Duration(median(ns))
}

// growing are the labels of resources that curves make, with nothing that
// binds there but what they say themselves.
const growing = "growth"

// growingAccess lets both identities in.
const growingAccess = `kind: Access
name: growth
to: ["group:engineering", "group:dba"]
on: {labels: {env: growth}}
`
