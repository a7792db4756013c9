package mask

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"postern"
	"postern/internal/mask/detect"
)

const testPEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n-----END PRIVATE KEY-----\n"

var streamMasks = withDetect(postern.MaskRedact, "email", "credit_card", "iban", "ssn", "phone", "ip", "secret", "url", detect.NationalIDs)

// whole masks text in one piece.
func whole(text []byte) []byte {
	out, _ := NewText(streamMasks, testKey).Mask(nil, text)
	return out
}

func streamed(text []byte, size func(i int) int) []byte {
	s := NewStream(streamMasks, testKey)
	var out []byte
	for i, n := 0, 0; i < len(text); n++ {
		k := min(max(size(n), 1), len(text)-i)
		out = s.Write(out, text[i:i+k])
		i += k
	}
	return s.Flush(out)
}

func TestStreamEqualsWhole(t *testing.T) {
	text := []byte("$ cat notes\nmail ada.lovelace@example.com, card 4111 1111 1111 1111\nphone:\n978-249-9678 fax\n" +
		"from 2001:db8::1 and 10.1.2.3/24\n" + testPEM + "token = \"ghp_mgl1fde1ak1vzbzb54qnvmuw973a9pyv3wvn\"\n$ ")
	want := whole(text)
	if bytes.Contains(want, []byte("MIIE")) || bytes.Contains(want, []byte("4111")) {
		t.Fatalf("the whole text isn't masked: %s", want)
	}
	for _, n := range []int{1, 2, 3, 7, 16, 61, 1000} {
		if got := streamed(text, func(int) int { return n }); !bytes.Equal(got, want) {
			t.Errorf("in pieces of %d:\n%s\nwant\n%s", n, got, want)
		}
	}
}

func TestStreamHoldsLittle(t *testing.T) {
	s := NewStream(streamMasks, testKey)
	word := []byte("word ")
	n := 0
	for range 20000 {
		n += len(s.Write(nil, word))
		if s.Held() > streamHold+len(word) {
			t.Fatalf("%d bytes are held back", s.Held())
		}
	}
	n += len(s.Flush(nil))
	if n != 20000*len(word) {
		t.Errorf("%d bytes came out of %d", n, 20000*len(word))
	}
	s = NewStream(streamMasks, testKey)
	s.Write(nil, []byte("-----BEGIN PRIVATE KEY-----\n"))
	for range 4000 {
		s.Write(nil, []byte("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"))
		if s.Held() > 2*detect.MaxPEM {
			t.Fatalf("%d bytes are held back", s.Held())
		}
	}
}

func TestStreamFlushShowsAPrompt(t *testing.T) {
	s := NewStream(streamMasks, testKey)
	out := s.Write(nil, []byte("done\npassword for ada: "))
	if string(out) != "done\n" {
		t.Errorf("Write lets %q go", out)
	}
	if out = s.Flush(nil); string(out) != "password for ada: " {
		t.Errorf("Flush lets %q go", out)
	}
	if out = s.Flush(nil); len(out) > 0 || s.Held() != 0 {
		t.Errorf("a second Flush lets %q go", out)
	}
}

func TestStreamUnknownFailsClosed(t *testing.T) {
	s := NewStream(withDetect(postern.MaskPartial, "aura"), testKey)
	if out := s.Flush(s.Write(nil, []byte("one\r\n\ntwo"))); string(out) != "[redacted]\r\n\n[redacted]" {
		t.Errorf("an unknown detector lets %q through", out)
	}
	if NewStream(withColumns(postern.MaskRedact, "email"), testKey) != nil {
		t.Error("a stream without a detector")
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("mail ada.lovelace@example.com and 4111-1111-1111-1111\n"), byte(3))
	f.Add([]byte(testPEM+"x"), byte(10))
	f.Add([]byte("<token>\n  a1b2c3d4e5f6a7b8c9d0\n</token>"), byte(1))
	f.Fuzz(func(t *testing.T, text []byte, size byte) {
		if len(text) > 2000 {
			return // a longer line without an end is let go in parts
		}
		got := streamed(text, func(int) int { return int(size) })
		if want := whole(text); !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d %q becomes\n%q, whole\n%q", size, text, got, want)
		}
	})
}

// TestStreamEqualsWholeAtRandom puts text together at random, and takes it
// apart at random.
func TestStreamEqualsWholeAtRandom(t *testing.T) {
	parts := []string{
		"mail ada.lovelace@example.com", "4111 1111 1111 1111", "phone: ", "978-249-9678", " fax", "\n", "\n", " ", "token = \"", "a1b2c3d4e5f6a7b8c9d0", "\"", "<token>\n  ", "</token>",
		"2001:db8::1", "10.1.2.3/24", "DE89 3704 0044 0532 0130 00", "ssn ", "536904399", ",", ";", "password=", "hunter22", "curl -u ada:h0pk1ns-21s https://x", "\r\n", "\\n", "é", "\x00", testPEM, "-----BEGIN ", "word",
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 400 {
		var text []byte
		for range 1 + r.IntN(40) {
			text = append(text, parts[r.IntN(len(parts))]...)
		}
		if want, got := whole(text), streamed(text, func(int) int { return 1 + r.IntN(60) }); !bytes.Equal(got, want) {
			t.Fatalf("%q becomes\n%q, whole\n%q", text, got, want)
		}
	}
}
