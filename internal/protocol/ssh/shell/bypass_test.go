package shell

import "testing"

// TestAttacks are ways round the shipped rules. Those that are verified were run
// by bash 5.2 and seen to do what their rule forbids; the others say why not.
// What got through once is here, and doesn't leave.
func TestAttacks(t *testing.T) { judge(t, rows(t, "testdata/attacks.jsonl")) }

// TestBenign is what people who look after servers type all day.
func TestBenign(t *testing.T) { judge(t, rows(t, "testdata/benign.jsonl")) }
