package search

import (
	"fmt"
	"log/slog"
	"testing"

	"postern"
)

// BenchmarkCommandWords: what it takes to index one command of a client that
// sends the same statement with other values.
func BenchmarkCommandWords(b *testing.B) {
	x, err := New(Config{Store: nothing{}, Recordings: nothing{}, Key: make([]byte, 32), Live: func() []postern.SessionInfo { return nil }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	hash := x.hasher(postern.SearchScope{Resource: "orders-db", Identity: "alice"})
	var cmds []postern.Command
	for i := range 1000 {
		cmds = append(cmds, postern.Command{Text: fmt.Sprintf("SELECT abalance FROM pgbench_accounts WHERE aid = %d;", 7919*i)})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if len(x.words(hash, &cmds[i%len(cmds)])) < 6 {
			b.Fatal("too few words")
		}
	}
}

// nothing keeps nothing.
type nothing struct {
	Store
	Recordings
}
