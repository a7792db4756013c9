package detect

import "testing"

// FuzzScan checks that spans lie in the text, in order, without overlap, and
// that the same text gives the same spans.
func FuzzScan(f *testing.F) {
	for _, text := range corpusTexts() {
		f.Add([]byte(text))
	}
	var names []string
	for _, info := range All() {
		names = append(names, info.Name)
	}
	scanner, unknown := New(names...)
	if len(unknown) > 0 {
		f.Fatal(unknown)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		spans := scanner.Scan(nil, text)
		at := 0
		for _, s := range spans {
			if s.Start < at || s.End <= s.Start || s.End > len(text) || s.Entity == None || s.Entity >= numEntities {
				t.Fatalf("span %+v in %d bytes %q, all %+v", s, len(text), text, spans)
			}
			at = s.End
		}
		again := scanner.Scan(make([]Span, 3), text)[3:]
		if len(again) != len(spans) {
			t.Fatalf("%q gives %v, and then %v", text, spans, again)
		}
		scanner.ScanCell(nil, text, ^Label(0))
	})
}
