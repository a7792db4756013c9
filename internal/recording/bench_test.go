package recording

import (
	"fmt"
	"runtime"
	"testing"

	"postern"
)

// What one command costs: command, decision, one Flush, and the result of the
// command before.
func BenchmarkCommand(b *testing.B) {
	for _, mode := range []Sync{SyncNever, SyncChunk} {
		b.Run(string(mode), func(b *testing.B) {
			f := openFolder(b, func(c *Config) { c.Sync = mode })
			w := startWriter(b, f, "ss_1")
			cmd := command(1, "select id, email, total from public.orders where customer_id = $1 order by created_at desc limit 20")
			decision := postern.Event{Time: start, Kind: postern.EventDecision, N: 1, Decision: &postern.Decision{Verdict: postern.Allow, Rule: "engineers-read", Policy: "9f2c5b7a01d4"}}
			result := postern.Event{Time: start, Kind: postern.EventResult, N: 1, Tag: "SELECT 20", RowCount: 20}
			b.ReportAllocs()
			for b.Loop() {
				must(b, w.Append(cmd))
				must(b, w.Append(decision))
				must(b, w.Flush())
				must(b, w.Append(result))
			}
			b.StopTimer()
			digestOf(b, w)
		})
	}
}

func BenchmarkFlush(b *testing.B) {
	f := openFolder(b, nil)
	w := startWriter(b, f, "ss_1")
	cmd := command(1, "select 1")
	b.ReportAllocs()
	for b.Loop() {
		must(b, w.Append(cmd))
		must(b, w.Flush())
	}
	b.StopTimer()
	digestOf(b, w)
}

// Rows in bulk, as a result with many recorded rows is.
func BenchmarkRows(b *testing.B) {
	f := openFolder(b, nil)
	w := startWriter(b, f, "ss_1")
	result := postern.Event{Time: start, Kind: postern.EventResult, N: 1, Tag: "SELECT 100", RowCount: 100, Columns: []string{"id", "name", "email", "city"}}
	for i := range 100 {
		result.Rows = append(result.Rows, []*string{ptr(fmt.Sprint(i)), ptr(fmt.Sprintf("customer %d", i*7919)), ptr("c***@example.com"), ptr("Utrecht")})
	}
	b.SetBytes(int64(len(appendEvent(nil, &result, nil))))
	b.ReportAllocs()
	for b.Loop() {
		must(b, w.Append(result))
		must(b, w.Flush())
	}
	b.StopTimer()
	digestOf(b, w)
}

func BenchmarkRead(b *testing.B) {
	f := openFolder(b, nil)
	w := startWriter(b, f, "ss_1")
	for n := range int64(10000) {
		must(b, w.Append(command(n+1, "select id, email, total from public.orders where customer_id = $1")))
		must(b, w.Flush())
	}
	digestOf(b, w)
	for b.Loop() {
		if _, n, err := f.Verify("ss_1"); err != nil || n != 10000 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10000, "ns/event")
}

func BenchmarkStartClose(b *testing.B) {
	for _, mode := range []Sync{SyncNever, SyncChunk} {
		b.Run(string(mode), func(b *testing.B) {
			f := openFolder(b, func(c *Config) { c.Sync = mode })
			n := 0
			for b.Loop() {
				n++
				w := startWriter(b, f, fmt.Sprintf("ss_%d", n))
				digestOf(b, w)
			}
		})
	}
}

// An idle session should hold next to nothing.
func TestIdleMemory(t *testing.T) {
	f := openFolder(t, nil)
	const sessions = 400
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	writers := make([]*Writer, sessions)
	for i := range writers {
		writers[i] = startWriter(t, f, fmt.Sprintf("ss_%d", i))
		must(t, writers[i].Append(command(1, "select 1")))
		must(t, writers[i].Flush())
	}
	runtime.GC()
	runtime.GC() // the pools let go at the second
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / sessions
	t.Logf("%d bytes a session", each)
	if each > 4096 {
		t.Errorf("an idle recording holds %d bytes", each)
	}
	for _, w := range writers {
		digestOf(t, w)
	}
}
