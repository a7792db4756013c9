package ssh

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"postern"
)

const lookFirst = aliceMay + `---
{kind: Rule, name: look, on: {names: [web-1]}, when: 'command.text.contains("reviewed")', then: review, review: {approvers: ['user:carol'], approvals: 1, timeout: 10m}}
`

// A person at a terminal is told to wait, and may think better of it.
func TestInterruptedReview(t *testing.T) {
	w := newWorld(t, worldOptions{objects: lookFirst})
	p := w.sit(t, "echo reviewed")
	p.sees("postern: waiting for approval by user:carol: https://gw.test/reviews/")
	rv := <-w.Harness.Reviews.Opened()
	p.typing("x\x03")
	var exit *ssh.ExitError
	if err := p.session.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != statusInterrupted {
		t.Errorf("it ended with %v", err)
	}
	if state := w.Harness.Reviews.State(rv.ID); state != postern.ReviewWithdrawn {
		t.Errorf("the review is %s", state)
	}
}

// A file operation waits like a command.
func TestReviewedFile(t *testing.T) {
	w := newWorld(t, worldOptions{objects: lookFirst})
	w.write("reviewed", "contents\n", 0o600)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		for range 3 { // it is looked at, looked up and read
			w.Harness.Reviews.Settle((<-w.Harness.Reviews.Opened()).ID, postern.ReviewApproved)
		}
	}()
	got := w.sh("web-1", `scp -F $CONFIG $VIA:$PWD/reviewed back && cmp reviewed back && echo same`)
	if !strings.Contains(got.out, "same") || !strings.Contains(got.err, "postern: waiting for approval by user:carol") {
		t.Errorf("got %+v", got)
	}
}

// The client of a forwarded port is told to wait in the channels that can show it.
func TestReviewedPort(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow, shell: record", objects: aliceMay + `---
{kind: Rule, name: look, on: {names: [web-1]}, when: 'command.verb == "forward"', then: review, review: {approvers: ['user:carol'], approvals: 1, timeout: 10m}}
`})
	p := w.sit(t, "")
	failed := make(chan error, 1)
	go func() {
		_, err := p.client.Dial("tcp", "127.0.0.1:1")
		failed <- err
	}()
	p.sees("postern: waiting for approval by user:carol: https://gw.test/reviews/")
	w.Harness.Reviews.Settle((<-w.Harness.Reviews.Opened()).ID, postern.ReviewDenied)
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "was denied") {
		t.Errorf("it ended with %v", err)
	}
}
