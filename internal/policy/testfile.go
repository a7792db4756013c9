package policy

import (
	"net/netip"
	"time"

	"postern"
)

// TestFile is a file of expectations for `postern policy test`.
type TestFile struct {
	File  string
	Cases []TestCase
}

// TestCase says what a set should decide over one message.
type TestCase struct {
	Name     string
	Line     int
	As       string // "alice", or "service:nightly-report", "workload:ci:acme/shop"
	Groups   []string
	Claims   map[string]string
	Actor    string // "": acts for itself
	Resource string
	Command  string
	Source   netip.Addr // the zero Addr: not from any network
	At       time.Time  // zero: now
	Expect   postern.Verdict
	Rule     string // "": any
}

// Analyse says what commands a text is, for resources of a type. A text that
// can't be understood is a command whose verb is unknown.
type Analyse func(resourceType, text string) []postern.Command

// TestResult is how one case came out.
type TestResult struct {
	Case     TestCase
	Decision postern.Decision
	Passed   bool
	Problem  string // what differs from what was expected; "" when it passed
}

// ParseTests reads a file of expectations, as strictly as [Parse].
func ParseTests(file string, data []byte) (TestFile, error) { return TestFile{}, nil }

// Run decides every case. now is the time of cases that name none.
func (t TestFile) Run(s *Set, now time.Time, analyse Analyse) []TestResult { return nil }
