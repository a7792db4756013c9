package audit_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
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

func BenchmarkVerify(b *testing.B) {
	l := newPlace(b).open(b, nil)
	const n = 20_000
	for i := range n {
		must(b, l.Queue(entry(i)))
	}
	fill(b, l, n, 1)
	for b.Loop() {
		if _, err := l.Verify(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "entries/s")
}
