package classify

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// labelsOf names the classes of the labelled columns, which lie outside the
// repository.
var labelsOf = map[string]Label{
	"NONE": None, "CREDIT_CARD": CreditCard, "US_SSN": SSN, "STREET_ADDRESS": Address, "IP_ADDRESS": IP, "IBAN_CODE": IBAN,
	"EMAIL_ADDRESS": Email, "PERSON": Person, "PHONE_NUMBER": Phone,
}

// TestAcceptanceColumns measures the classifier on labelled columns: a name and
// twenty values each.
func TestAcceptanceColumns(t *testing.T) {
	f, err := os.Open("../../../../shared/acceptance/pii/columns.dev.jsonl")
	if err != nil {
		t.Skipf("SKIPPED: the acceptance data isn't here, so the classifier isn't measured against it: %v", err)
	}
	defer func() { _ = f.Close() }()
	c := New()
	right, wanted, given := map[Label]int{}, map[Label]int{}, map[Label]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	rows := 0
	for lines.Scan() {
		var row struct {
			Column, Label string
			Values        []string
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		want, known := labelsOf[row.Label]
		if !known {
			t.Fatal("a class that the test doesn't know: ", row.Label)
		}
		rows++
		got := c.Column(row.Column, row.Values)
		wanted[want]++
		given[got.Label]++
		if got.Label == want {
			right[want]++
		} else {
			t.Logf("%s: %q, want %q (%d of %d, named %v)", row.Column, got.Label, want, got.Hits, got.Values, got.Named)
		}
	}
	sum := 0.0
	for label, n := range wanted {
		f1 := 2 * float64(right[label]) / float64(n+given[label])
		t.Logf("%-16s F1 %.3f (%d of %d, %d given)", label, f1, right[label], n, given[label])
		sum += f1
	}
	macro := sum / float64(len(wanted))
	t.Logf("macro-F1 %.4f over %d columns", macro, rows)
	if macro < .95 {
		t.Errorf("macro-F1 is %.4f, and must be .95", macro)
	}
}
