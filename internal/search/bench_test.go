package search_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"postern/internal/search"
)

// BenchmarkSearch searches in POSTERN_SEARCH_COMMANDS commands (20,000 unless
// set), a hundred a session, of 200 people.
func BenchmarkSearch(b *testing.B) {
	size := 20_000
	if n, err := strconv.Atoi(os.Getenv("POSTERN_SEARCH_COMMANDS")); err == nil {
		size = n
	}
	w := newWorld(b)
	begun, indexing := time.Now(), time.Duration(0)
	for s := range size / 100 {
		id := fmt.Sprintf("ss_%d", s)
		rec, info := w.begin(b, id, fmt.Sprintf("user%d", s%200), "orders-db")
		texts := make([]string, 100)
		for i := range texts {
			n := s*100 + i
			texts[i] = fmt.Sprintf("SELECT id, status, customer_email FROM public.orders WHERE id = %d AND region = 'r%d' ORDER BY created_at", n, n%500)
		}
		run(b, rec, &info, texts...)
		w.end(b, rec, info)
		at := time.Now()
		check(b, w.index.Add(b.Context(), id))
		indexing += time.Since(at)
	}
	b.Logf("%d commands recorded in %s, indexed in %s (%s a command)", size, time.Since(begun)-indexing, indexing, indexing/time.Duration(size))
	if file, err := os.Stat(w.dir + "/postern.db"); err == nil {
		b.Logf("store: %d MiB", file.Size()>>20)
	}
	all := w.readable(b, false)
	for _, c := range []struct{ name, text string }{
		{"everywhere", "select orders"},
		{"one command", strconv.Itoa(size / 2)},
		{"rare and common", strconv.Itoa(size/3) + " select orders region"},
		{"nowhere", "nosuchword"},
		{"never together", fmt.Sprintf("r1 %d", size/100*50+2)},
		{"a phrase", `"where id = ` + strconv.Itoa(size/4) + ` and"`},
	} {
		q, err := search.Parse(c.text)
		check(b, err)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := w.index.Search(b.Context(), q, all, "", 50, inClear); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
