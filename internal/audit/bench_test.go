package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern"
	"postern/internal/audit"
)

// Durable appends by several writers at once.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l := newPlace(b).open(b, nil)
			took := make([][]time.Duration, writers)
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					for i := w; i < b.N; i += writers {
						began := time.Now()
						if err := l.Append(b.Context(), entry(i)); err != nil {
							b.Error(err)
						}
						took[w] = append(took[w], time.Since(began))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// What a command pays: an entry that nobody waits for.
func BenchmarkQueue(b *testing.B) {
	l := newPlace(b).open(b, nil)
	b.ReportAllocs()
	for i := range b.N {
		must(b, l.Queue(entry(i)))
	}
	must(b, l.Close(b.Context()))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// What commands of sixteen sessions that are busy cost the log, 250 a commit: CPU
// time, and what is written for them.
func BenchmarkCommit(b *testing.B) {
	p := newPlace(b)
	l := p.open(b, nil)
	const commit = 250
	b.ReportAllocs()
	used, written := process(b)
	for i := range b.N {
		e := entry(i)
		e.Time = began.Add(time.Duration(i) * 117 * time.Microsecond)
		e.Session, e.N = fmt.Sprintf("ss_%030d", i*7%16), int64(i/16+1)
		e.Kind, e.Source, e.Policy = postern.Service, "127.0.0.1", strings.Repeat("c0ffee", 11)
		if i%commit == commit-1 {
			must(b, l.Append(b.Context(), e))
		} else {
			must(b, l.Queue(e))
		}
	}
	must(b, l.Close(b.Context()))
	usedNow, writtenNow := process(b)
	b.ReportMetric(float64((usedNow-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(writtenNow-written)/float64(b.N), "written-B/op")
}

// process is what this process has used of the CPU, and written, in bytes.
func process(b *testing.B) (used time.Duration, written int64) {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Oublock * 512
}

func BenchmarkVerify(b *testing.B) {
	l := newPlace(b).open(b, nil)
	const n = 20_000
	for i := range n {
		must(b, l.Queue(entry(i)))
	}
	fill(b, l, n, 1)
	for b.Loop() {
		if _, err := l.Verify(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "entries/s")
}

// A log of a million entries: how long searches take, and a verification.
// POSTERN_ENTRIES is another number.
func BenchmarkMillion(b *testing.B) {
	n := 1_000_000
	if text := os.Getenv("POSTERN_ENTRIES"); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(b, err)
	}
	p := newPlace(b)
	l := p.open(b, nil)
	began := time.Now()
	for i := range n {
		must(b, l.Queue(searched(i)))
	}
	found, err := l.Search(b.Context(), postern.AuditFilter{})
	must(b, err)
	b.Logf("%d entries written and indexed in %v", found[0].Seq, time.Since(began).Round(time.Millisecond))
	at := func(i int) time.Time { return searched(i).Time }
	for _, c := range []struct {
		name   string
		filter postern.AuditFilter
	}{
		{"the latest", postern.AuditFilter{}},
		{"an identity", postern.AuditFilter{Identity: "bob"}},
		{"an actor", postern.AuditFilter{Actor: "claude"}},
		{"a resource", postern.AuditFilter{Resource: "web-1"}},
		{"a verb", postern.AuditFilter{Verb: "drop"}},
		{"an object", postern.AuditFilter{Object: "invoices"}},
		{"a rule", postern.AuditFilter{Rule: "no-drop-table"}},
		{"a time", postern.AuditFilter{From: at(n / 3), To: at(n/3 + 50)}},
		{"text", postern.AuditFilter{Text: "müller dropped"}},
		{"text that is rare", postern.AuditFilter{Text: "ci 99"}},
		{"text that is nowhere", postern.AuditFilter{Text: "elsewhere"}},
		{"common terms, rare together", postern.AuditFilter{Identity: "alice", Session: "ss_2", Outcome: "deny", Text: "orders"}},
		{"all of it", postern.AuditFilter{
			Identity: "alice", Resource: "orders-db", Verb: "drop", Object: "tmp", Rule: "no-drop-table", Text: "dropped here",
			From: at(0), To: at(n / 2), Limit: 500,
		}},
	} {
		b.Run("search "+c.name, func(b *testing.B) {
			for b.Loop() {
				_, err := l.Search(b.Context(), c.filter)
				must(b, err)
			}
		})
	}
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			_, err := l.Verify(b.Context(), nil)
			must(b, err)
		}
	})
	b.Run("verify an export", func(b *testing.B) {
		var out bytes.Buffer
		must(b, l.Export(b.Context(), &out))
		for b.Loop() {
			_, err := audit.VerifyExport(b.Context(), bytes.NewReader(out.Bytes()), l.PublicKey(), audit.Against{})
			must(b, err)
		}
	})
}
