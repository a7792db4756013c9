package postgres

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/protocol"
)

type neverCancelled struct{ t *testing.T }

func (n neverCancelled) cancel(context.Context) error {
	n.t.Error("cancelled")
	return nil
}

func TestKeyring(t *testing.T) {
	keys := New(protocol.Options{}).keys
	target := neverCancelled{t}
	old, releaseOld, err := keys.issue(0, nil, target)
	if err != nil {
		t.Fatal(err)
	}
	key, release, err := keys.issue(2, nil, target)
	if err != nil {
		t.Fatal(err)
	}
	if len(old.secret) != 4 || len(key.secret) != 32 || old.pid == key.pid || int32(old.pid) <= 0 || int32(key.pid) <= 0 {
		t.Errorf("keys %d/%d bytes, process ids %d, %d", len(old.secret), len(key.secret), old.pid, key.pid)
	}
	for name, wrong := range map[string]cancelKey{
		"another's secret": {old.pid, key.secret},
		"a longer secret":  {old.pid, append(slices.Clone(old.secret), 0)},
		"a shorter secret": {key.pid, key.secret[:31]},
		"no such process":  {old.pid ^ key.pid, old.secret},
		"no secret":        {old.pid, nil},
		"one bit off":      {old.pid, []byte{old.secret[0], old.secret[1], old.secret[2], old.secret[3] ^ 1}},
	} {
		if keys.find(&wrong) != nil {
			t.Error(name, "opens")
		}
	}
	h := keys.find(&key)
	if h == nil {
		t.Fatal("the key itself doesn't open")
	}
	released := make(chan struct{})
	go func() { release(); close(released) }()
	select {
	case <-released:
		t.Error("released while a cancel request was under way")
	default:
	}
	h.inflight.Done()
	<-released
	if keys.find(&key) != nil {
		t.Error("a released key opens")
	}
	releaseOld()
	if len(keys.holders) != 0 {
		t.Error("keys are left")
	}
}

// TestKeysDontMeet: process ids that are taken are passed over.
func TestKeysDontMeet(t *testing.T) {
	random := &script{
		{1, 2, 3, 4}, {0, 0, 9}, // the first key
		{5, 6, 7, 8}, {0, 0, 9}, {0, 0, 0}, {0, 0, 8}, // the second: taken, zero, free
	}
	keys := newKeyring(random)
	a, _, err := keys.issue(0, nil, neverCancelled{t})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := keys.issue(0, nil, neverCancelled{t})
	if err != nil {
		t.Fatal(err)
	}
	if a.pid != 9 || b.pid != 8 {
		t.Errorf("process ids %d and %d", a.pid, b.pid)
	}
	if _, _, err := keys.issue(0, nil, neverCancelled{t}); err == nil {
		t.Error("a key without randomness")
	}
}

// script is a source of randomness that says what it is told to.
type script [][]byte

func (s *script) Read(p []byte) (int, error) {
	if len(*s) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, (*s)[0])
	*s = (*s)[1:]
	return n, nil
}

// TestCancelSaysNothing: whatever the key, the connection is closed without a
// byte, always after the same time.
func TestCancelSaysNothing(t *testing.T) {
	p := New(protocol.Options{})
	for name, body := range map[string][]byte{
		"unknown": binary.BigEndian.AppendUint64(nil, 42<<32|42),
		"long":    make([]byte, 4+32),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				request := packet(append(binary.BigEndian.AppendUint32(nil, cancelRequestCode), body...))
				ours, theirs := pipe(request)
				began := time.Now()
				if err := p.Serve(t.Context(), theirs, nil); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != cancelAnswer {
					t.Errorf("took %v", took)
				}
				if said := ours(); len(said) != 0 {
					t.Errorf("it said %q", said)
				}
			})
		})
	}
	for _, n := range []int{0, 3, maxCancelSecret + 1} {
		body := append(binary.BigEndian.AppendUint32(nil, cancelRequestCode), make([]byte, 4+n)...)
		if key, err := parseCancel(body); err == nil {
			t.Errorf("a secret of %d bytes: %v", n, key)
		}
	}
}
