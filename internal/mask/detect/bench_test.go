package detect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

var benchWords = strings.Fields(`the customer asked for a refund because parcel arrived late shipping standard express region north
	warehouse invoice pending cancelled delivered basic premium small large medium order ticket support note reviewed active`)

// psqlText is a result as psql prints it, with an e-mail address and a card in
// one row of a hundred.
func psqlText(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("   id   |        created_at         |  status   |   total   |                      note\n--------+---------------------------+-----------+-----------+----------------------------------\n")
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, " %6d | 2024-%02d-%02d %02d:%02d:%02d.%06d | %-9s | %9.2f | ", 100000+n, 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000000), benchWords[r.IntN(len(benchWords))], r.Float64()*10000)
		for range 8 {
			b.WriteString(benchWords[r.IntN(len(benchWords))])
			b.WriteByte(' ')
		}
		if n%100 == 50 {
			b.WriteString("mail ada.lovelace@example.com card 4111 1111 1111 1111")
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// jsonLog is a log of JSON lines, with an address in one of a hundred.
func jsonLog(size int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, `{"ts":"2024-%02d-%02dT%02d:%02d:%02d.%03dZ","level":"info","service":"%s-api","trace_id":"%016x%016x","status":%d,"duration_ms":%d,"path":"/v1/%s/%d","message":"`, 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), benchWords[r.IntN(len(benchWords))], r.Uint64(), r.Uint64(), 200+r.IntN(300), r.IntN(2000), benchWords[r.IntN(len(benchWords))], r.IntN(100000))
		for range 6 {
			b.WriteString(benchWords[r.IntN(len(benchWords))])
			b.WriteByte(' ')
		}
		if n%100 == 50 {
			b.WriteString("for ada.lovelace@example.com")
		}
		b.WriteString("\"}\n")
	}
	return []byte(b.String())
}

// benchCells are ordinary cells of 20 to 60 bytes.
func benchCells() [][]byte {
	r := rand.New(rand.NewPCG(5, 6))
	var cells [][]byte
	for len(cells) < 1000 {
		var s string
		switch r.IntN(4) {
		case 0:
			s = fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", r.Uint32(), r.IntN(65536), r.IntN(65536), r.IntN(65536), r.Uint64()>>16)
		case 1:
			s = fmt.Sprintf("2024-%02d-%02d %02d:%02d:%02d.%06d", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000000))
		case 2:
			s = fmt.Sprintf("%s-%s-%d %d items", benchWords[r.IntN(len(benchWords))], benchWords[r.IntN(len(benchWords))], r.IntN(100000), r.IntN(100))
		default:
			for len(s) < 20+r.IntN(35) {
				s += benchWords[r.IntN(len(benchWords))] + " "
			}
		}
		if len(s) >= 20 && len(s) <= 60 {
			cells = append(cells, []byte(s))
		}
	}
	return cells
}

var benchSets = []struct {
	name  string
	names []string
}{
	{"mask", []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "secret"}},
	{"mask+url+ids", []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "secret", "url", NationalIDs}},
}

func benchText(b *testing.B, text []byte) {
	for _, set := range benchSets {
		b.Run(set.name, func(b *testing.B) {
			scanner, _ := New(set.names...)
			var spans []Span
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				spans = scanner.Scan(spans[:0], text)
			}
			if len(spans) == 0 {
				b.Fatal("nothing was found")
			}
		})
	}
}

func BenchmarkScanPsql(b *testing.B) { benchText(b, psqlText(1<<20)) }
func BenchmarkScanJSON(b *testing.B) { benchText(b, jsonLog(1<<20)) }

// BenchmarkScanCell scans one ordinary cell of 20 to 60 bytes.
func BenchmarkScanCell(b *testing.B) {
	cells := benchCells()
	for _, set := range benchSets {
		b.Run(set.name, func(b *testing.B) {
			scanner, _ := New(set.names...)
			var spans []Span
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				spans = scanner.ScanCell(spans[:0], cells[n], 0)
				if n++; n == len(cells) {
					n = 0
				}
			}
		})
	}
}

// BenchmarkNew is what a plan costs before its first row.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New("email", "credit_card", "iban", "ssn", "phone", "ip", "secret")
	}
}

// BenchmarkScanHostile scans text made to send every parser as far as it goes.
// No line may be slower than a few MB/s: time grows with length alone.
func BenchmarkScanHostile(b *testing.B) {
	scanner, _ := New(append([]string{NationalIDs, "date", "mac_address", "crypto"}, common...)...)
	for _, unit := range []string{
		"A3-", "sk-ant-", "eyJ", "ghp_", "a@", "a.", "://a:", "1 ", "1-", "(1", "+1", "-----BEGIN PRIVATE KEY----- ", "token=", `"token":`, "--token ",
		"curl -u a:", "1:", "::", "ab12", "DE89 ", `\n`, "x", "9", "phone 1 ", "9999 ", "A 9 ",
	} {
		b.Run(unit, func(b *testing.B) {
			text := []byte(strings.Repeat(unit, (1<<18)/len(unit)))
			b.SetBytes(int64(len(text)))
			var spans []Span
			for b.Loop() {
				spans = scanner.Scan(spans[:0], text)
			}
		})
	}
}
