package classify

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestDrawnColumns draws columns of twenty values each from the labelled text,
// under names that say nothing and with what people write for nothing between,
// and measures the classifier on values alone.
func TestDrawnColumns(t *testing.T) {
	values := map[Label][]string{}
	for _, name := range []string{"presidio-research-large.dev.jsonl", "presidio-research-v2.dev.jsonl"} {
		for _, row := range labelledRows(t, name) {
			for _, s := range row.Spans {
				if label, ok := labelsOf[s.Entity]; ok {
					values[label] = append(values[label], row.Text[s.Start:s.End])
				}
			}
		}
	}
	ordinary := map[string][]string{}
	for _, row := range labelledRows(t, "cells.dev.jsonl") {
		if row.Label == "neg" {
			ordinary[row.Kind] = append(ordinary[row.Kind], row.Text)
		}
	}
	c := New()
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(from []string) []string {
		column := make([]string, 20)
		empties := r.Float64() * 0.7
		for i := range column {
			if r.Float64() < empties {
				column[i] = []string{"", "n/a", "-", "unknown"}[r.IntN(4)]
			} else {
				column[i] = from[r.IntN(len(from))]
			}
		}
		return column
	}
	right, wanted, given := map[Label]int{}, map[Label]int{}, map[Label]int{}
	note := func(want, got Label) {
		wanted[want]++
		given[got]++
		if want == got {
			right[want]++
		}
	}
	mistaken := map[string]int{}
	for label, from := range values {
		for range 200 {
			got := c.Column("c"+fmt.Sprint(r.IntN(40)), draw(from)).Label
			note(label, got)
			if got != label {
				mistaken[string(label)+" > "+string(got)]++
			}
		}
	}
	for kind, from := range ordinary {
		for range 40 {
			got := c.Column("c1", draw(from)).Label
			note(None, got)
			if got != None {
				mistaken[kind+" > "+string(got)]++
			}
		}
	}
	sum := 0.0
	for label, n := range wanted {
		f1 := 2 * float64(right[label]) / float64(n+given[label])
		t.Logf("%-16s F1 %.3f (%d of %d, %d given)", label, f1, right[label], n, given[label])
		sum += f1
	}
	macro := sum / float64(len(wanted))
	t.Logf("macro-F1 %.4f; mistaken: %v", macro, mistaken)
	if macro < .95 {
		t.Errorf("macro-F1 is %.4f, and must be .95", macro)
	}
}

type labelledRow struct {
	Text  string
	Label string
	Kind  string
	Spans []struct {
		Start, End int
		Entity     string
	}
}

func labelledRows(t *testing.T, name string) []labelledRow {
	t.Helper()
	f, err := os.Open(filepath.Join("../../../../shared/acceptance/pii", name))
	if err != nil {
		t.Skipf("SKIPPED: the acceptance data isn't here, so the classifier isn't measured against it: %v", err)
	}
	defer func() { _ = f.Close() }()
	var rows []labelledRow
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row labelledRow
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}
