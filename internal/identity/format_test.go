package identity

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"postern"
)

func TestFormat(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		s, err := mint(rand.Reader, sessionPrefix)
		if err != nil {
			t.Fatal(err)
		}
		text := s.Reveal()
		if seen[text] || !wellFormed(text, sessionPrefix) || wellFormed(text, loginPrefix) {
			t.Fatal("a secret that is none")
		}
		seen[text] = true
		for _, i := range []int{0, len(sessionPrefix), len(text) - 1} {
			b := []byte(text)
			if b[i]++; wellFormed(string(b), sessionPrefix) {
				t.Errorf("with character %d changed it is still well formed", i)
			}
		}
	}
	// Written down once, so that scanners' patterns stay right.
	s, err := mint(strings.NewReader(strings.Repeat("postern!", 16)), servicePrefix)
	if err != nil || s.Reveal() != "postern_sk_onrsdqmXonrsdqmXonrsdqmXonrsdqmXonrsdqmX2cTX8v" {
		t.Errorf("the form changed: %v", err)
	}
	if _, err := mint(strings.NewReader("dry"), servicePrefix); err == nil {
		t.Error("minted without randomness")
	}
}

// Every character comes as often as every other.
func TestFormatIsEven(t *testing.T) {
	count := map[rune]int{}
	const n = 2000
	for range n {
		s, err := mint(rand.Reader, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Reveal()[:randomLen] {
			count[c]++
		}
	}
	want := n * randomLen / 62
	for _, c := range base62 {
		if got := count[c]; got < want*3/4 || got > want*5/4 {
			t.Errorf("%c came %d times, not about %d", c, got, want)
		}
	}
}

func TestLimiterForgets(t *testing.T) {
	now := time.Unix(0, 0)
	l := NewLimiter(2, time.Second, func() time.Time { return now })
	for i := range 3 * maxBuckets {
		l.Take(strings.Repeat("x", i%7) + string(rune(i)))
	}
	if len(l.full) > maxBuckets {
		t.Errorf("%d keys are kept", len(l.full))
	}
	for _, want := range []bool{true, true, false, false} {
		if got := l.Take("key"); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	now = now.Add(time.Second)
	if !l.Take("key") || l.Take("key") {
		t.Error("not one more after a second")
	}
	now = now.Add(time.Hour)
	for _, want := range []bool{true, true, false} {
		if got := l.Take("key"); got != want {
			t.Errorf("after an hour: got %v, want %v", got, want)
		}
	}
}

func FuzzWellFormed(f *testing.F) {
	s, err := mint(rand.Reader, servicePrefix)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Reveal())
	f.Add(servicePrefix)
	f.Fuzz(func(t *testing.T, text string) {
		if !wellFormed(text, servicePrefix) {
			return
		}
		body := strings.TrimPrefix(text, servicePrefix)
		if len(body) != randomLen+checksumLen || strings.Trim(body, base62) != "" {
			t.Fatalf("accepted %q", text)
		}
	})
}

func FuzzPHC(f *testing.F) {
	text, err := HashPassword(postern.NewSecret("correct horse"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePHC(text)
		if err != nil {
			return
		}
		if p.String() != text || p.memory > maxArgonMemory || p.time > maxArgonTime || len(p.hash) > maxHashLen {
			t.Fatalf("accepted %q", text)
		}
	})
}

func BenchmarkPassword(b *testing.B) {
	p := phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, saltLen), hash: make([]byte, hashLen)}
	for b.Loop() {
		p.matches(postern.NewSecret("correct horse"))
	}
}
