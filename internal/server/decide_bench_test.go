package server_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"postern"
	"postern/internal/audit"
	"postern/internal/gate"
	"postern/internal/policy"
	"postern/internal/recording"
	"postern/internal/store"
	"postern/internal/vault"
)

const benchObjects = `
kind: Resource
name: orders-db
type: postgres
address: 127.0.0.1:1
---
kind: Access
name: engineers-read
to: ["everyone"]
on: {names: [orders-db]}
---
kind: Rule
name: no-drop
on: {names: [orders-db]}
when: command.verb == "drop"
then: deny
`

// noReviews is for a policy that asks for none.
type noReviews struct{ gate.Reviews }

// What an allowed command costs in the gate, with the parts that the gateway
// has: policy, sealed recording, audit log on SQLite. The modes are that of a
// recording as the first copy, and that of a log that every decision waits for.
func BenchmarkDecide(b *testing.B) {
	for _, mode := range []string{"recording", "log"} {
		for _, clients := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("first=%s/clients=%d", mode, clients), func(b *testing.B) { benchDecide(b, clients, mode == "log") })
		}
	}
}

func benchDecide(b *testing.B, clients int, auditFirst bool) {
	dir := b.TempDir()
	v := get(vault.Open(dir, postern.Secret{}))(b)
	db := get(store.Open(b.Context(), "sqlite", dir))(b)
	defer func() { _ = db.Close() }() // the test is over
	key := get(audit.OpenKey(b.Context(), db, v, audit.Origin, rand.Reader))(b)
	log := get(audit.Open(b.Context(), audit.Config{Store: db, Key: key}))(b)
	folder := get(recording.Open(recording.Config{Dir: dir + "/recordings", Keys: v}))(b)
	set := get(policy.NewSet(get(policy.Parse("bench.yaml", []byte(benchObjects)))(b), policy.Options{Protocols: []policy.ProtocolType{{Name: "postgres"}}}))(b)
	g := get(gate.New(gate.Config{
		Policy: func() *policy.Set { return set },
		Admit: func(context.Context, postern.Credential) (postern.Admission, error) {
			return postern.Admission{Identity: postern.Identity{Name: "alice", Kind: postern.User}, Resource: "orders-db"}, nil
		},
		Secrets:        func(context.Context, postern.CredentialRefs) (postern.Login, error) { return postern.Login{}, nil },
		Dial:           func(context.Context, postern.Resource, string) (net.Conn, error) { return nil, net.ErrClosed },
		StartRecording: func(info postern.SessionInfo) (gate.Recording, error) { return folder.Start(info) },
		Audit:          log, AuditFirst: auditFirst, Reviews: noReviews{}, MaskKey: postern.NewSecret("0123456789abcdef0123456789abcdef"),
		ReviewURL: func(string) string { return "" }, Now: time.Now, Rand: rand.Reader,
	}))(b)
	sessions := make([]*gate.Session, clients)
	for i := range sessions {
		caller := get(g.Authenticate(b.Context(), postern.Credential{Protocol: "postgres", User: "alice", Resource: "orders-db", Source: netip.MustParseAddrPort("10.0.0.7:51234")}))(b)
		sessions[i] = get(caller.Open(b.Context(), postern.Target{Resource: "orders-db"}))(b)
	}
	cmd := postern.Command{
		Protocol: "postgres", Verb: "select", Verbs: []string{"select"}, Access: postern.Read,
		Objects: []postern.Object{{Kind: "table", Name: "public.orders"}},
		Text:    "select id, email, total from public.orders where customer_id = 17",
	}
	took := make([][]time.Duration, clients)
	var group sync.WaitGroup
	before := cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	for w, s := range sessions {
		group.Go(func() {
			for i := w; i < b.N; i += clients {
				began := time.Now()
				d, err := s.Decide(b.Context(), cmd)
				took[w] = append(took[w], time.Since(began))
				if err != nil || d.Verdict != postern.Allow {
					b.Errorf("%v, %v", d, err)
				}
				if err := s.Record(postern.Event{Kind: postern.EventResult, N: d.N, Tag: "SELECT 1", RowCount: 1}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Nanoseconds())/1e3, "p99-µs")
	for _, s := range sessions {
		if err := s.Close("done"); err != nil {
			b.Error(err)
		}
	}
	if err := log.Close(b.Context()); err != nil {
		b.Error(err)
	}
}

// get is the value of a call that must not fail.
func get[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
