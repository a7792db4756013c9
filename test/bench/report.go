package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report is what was measured.
type report struct {
	world    *world
	measured []measured
	idle     []idle
	revoked  []revoked
	took     time.Duration
}

// text is Markdown.
func (r *report) text() string {
	var b strings.Builder
	r.machine(&b)
	b.WriteString("\n| workload | way | rate | of direct | goal | CPU | goal |\n|---|---|---:|---:|---:|---:|---:|\n")
	for i := range r.measured {
		r.rates(&b, &r.measured[i])
	}
	r.latencies(&b)
	r.memory(&b)
	r.revocations(&b)
	return b.String()
}

func (r *report) rates(b *strings.Builder, m *measured) {
	for i, to := range m.ways {
		rate := m.median(i, func(s, _ sample) float64 { return s.rate })
		ratio, goal, used, most := "1", "", "", ""
		if i > 0 {
			ratio = against(m.median(i, func(s, direct sample) float64 { return s.rate / direct.rate }), to.ratio, true, "%.2f")
			used = against(m.median(i, func(s, _ sample) float64 { return float64(s.cpu.Microseconds()) / s.work }), float64(to.cpu.Microseconds()), false, "%.1f") + " µs/" + m.per
		}
		if to.ratio > 0 {
			goal = fmt.Sprintf("≥ %.2f", to.ratio)
		}
		if to.cpu > 0 {
			most = fmt.Sprintf("≤ %d µs", to.cpu.Microseconds())
		}
		fmt.Fprintf(b, "| %s | %s | %s %s | %s | %s | %s | %s |\n", m.name, to.way, thousands(int(rate)), m.unit, ratio, goal, used, most)
	}
}

// against prints a figure, in bold when it misses its goal.
func against(v, goal float64, least bool, format string) string {
	text := fmt.Sprintf(format, v)
	if goal > 0 && (least && v < goal || !least && v > goal) {
		return "**" + text + "**"
	}
	return text
}

func (r *report) latencies(b *strings.Builder) {
	head := false
	for i := range r.measured {
		m := &r.measured[i]
		if !m.added {
			continue
		}
		if !head {
			b.WriteString("\n| latency of | way | p50 | mean | added to p50 | goal | added to the mean |\n|---|---|---:|---:|---:|---:|---:|\n")
			head = true
		}
		for i, to := range m.ways {
			us := func(f func(s, direct sample) time.Duration) float64 {
				return m.median(i, func(s, direct sample) float64 { return float64(f(s, direct).Nanoseconds()) / 1e3 })
			}
			p50, mean := us(func(s, _ sample) time.Duration { return s.p50 }), us(func(s, _ sample) time.Duration { return s.mean })
			added, addedMean, goal := "", "", ""
			if i > 0 {
				added = against(us(func(s, d sample) time.Duration { return s.p50 - d.p50 }), float64(to.added.Microseconds()), false, "%.0f") + " µs"
				addedMean = fmt.Sprintf("%.1f µs", us(func(s, d sample) time.Duration { return s.mean - d.mean }))
			}
			if to.added > 0 {
				goal = fmt.Sprintf("≤ %d µs", to.added.Microseconds())
			}
			fmt.Fprintf(b, "| %s | %s | %.0f µs | %.1f µs | %s | %s | %s |\n", m.name, to.way, p50, mean, added, goal, addedMean)
		}
	}
}

func (r *report) memory(b *strings.Builder) {
	if len(r.idle) == 0 {
		return
	}
	b.WriteString("\n| idle sessions | way | resident memory of each | goal |\n|---:|---|---:|---:|\n")
	for _, one := range r.idle {
		goal := ""
		if one.goal > 0 {
			goal = fmt.Sprintf("≤ %.0f KiB", one.goal/1024)
		}
		fmt.Fprintf(b, "| %d | %s | %s KiB | %s |\n", one.sessions, one.way, against(one.perSession/1024, one.goal/1024, false, "%.1f"), goal)
	}
}

// machine says what it was measured on: nothing that names the machine.
func (r *report) machine(b *strings.Builder) {
	cfg := r.world.cfg
	fmt.Fprintf(b, "- Date: %s. Commit: %s.\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"), cfg.commit)
	fmt.Fprintf(b, "- Machine: %s, %d processors, %s of memory, Linux %s, %s, load %s when the bench ended.\n",
		proc("/proc/cpuinfo", "model name"), runtime.NumCPU(), memory(), kernel(), distribution(), loadAverage())
	fmt.Fprintf(b, "- Programs: %s; PostgreSQL %s; pgbench as the client, over TCP on loopback.\n", runtime.Version(), serverVersion(r.world.pgbench))
	fmt.Fprintf(b, "- Runs: %d rounds of each, the ways in turn; pgbench %v a run; %s rows; %v in all.\n",
		cfg.rounds, cfg.each, thousands(cfg.rows), r.took.Round(time.Second))
	for _, line := range r.world.missing {
		fmt.Fprintf(b, "- %s.\n", line)
	}
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// proc is the first value of a name in a file of lines "name : value".
func proc(path, name string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func memory() string {
	kb, err := strconv.ParseInt(strings.TrimSuffix(proc("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.0f GiB", float64(kb)/(1<<20))
}

func kernel() string {
	out, err := exec.Command("uname", "-r").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func distribution() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return "unknown"
}

func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(data), " ")
	return one
}

func serverVersion(pgbench string) string {
	out, err := exec.Command(pgbench, "--version").Output()
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(out)) // pgbench (PostgreSQL) 15.1 …
	if len(fields) < 3 {
		return "unknown"
	}
	return fields[2]
}

// thousands groups digits: 1,000,000.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
