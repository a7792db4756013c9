package protocoltest

import (
	"strings"
	"time"

	"postern"
)

func refusedLogin(b *bench) {
	var told []string
	for _, who := range []struct{ user, resource, token string }{
		{"alice", Resource, "token-nobody"},       // no such token
		{"alice", Resource, ""},                   // none at all
		{"bob", Resource, "token-bob"},            // no access, so the resource isn't shown
		{"alice", "no-such-thing", "token-alice"}, // no such resource
		{"bob", Resource, "token-alice"},          // another one's token
	} {
		c, err := b.login(who.user, who.resource, who.token)
		if err == nil {
			_ = c.Close()
			b.Fatalf("%+v is let in", who)
		}
		if err := contains(err, "postern: login refused"); err != nil {
			b.Errorf("%+v: %v", who, err)
		}
		told = append(told, err.Error())
		if err := b.over(); err != nil {
			b.Errorf("Serve: %v", err)
		}
	}
	for _, t := range told {
		if t != told[0] {
			b.Errorf("refusals differ: %q and %q", t, told[0])
		}
	}
	if n := b.harness.Dials.Load(); n != 0 {
		b.Errorf("the upstream was dialled %d times", n)
	}
	if len(b.harness.Sessions.All()) != 0 {
		b.Error("sessions were opened")
	}
	refused := 0
	for _, e := range b.harness.Audit.Entries() {
		if e.Action == "login" && e.Outcome == "refused" {
			refused++
		}
	}
	if refused != len(told) {
		b.Errorf("%d refused logins are in the audit log, want %d", refused, len(told))
	}
}

func unrecordableSession(b *bench) {
	b.harness.Recordings.Refuse(errDisk)
	_, err := b.login("alice", Resource, "token-alice")
	if err := contains(err, "can't be recorded"); err != nil {
		b.Error(err)
	}
	b.harness.Recordings.Refuse(nil)
	b.harness.Audit.Break(errDisk)
	_, err = b.login("alice", Resource, "token-alice")
	if err := contains(err, "can't be recorded"); err != nil {
		b.Error(err)
	}
	b.harness.Audit.Break(nil)
	if n := b.harness.Dials.Load(); n != 0 {
		b.Errorf("the upstream was dialled %d times", n)
	}
	b.alice()
}

func recordedFirst(b *bench) {
	c := b.alice()
	for _, marker := range []string{"marker one", "marker two", "marker three"} {
		b.tap.watch(marker)
		b.mustDo(c, b.peer.Echo(marker), marker)
		if !b.tap.saw(marker) {
			b.Fatalf("%q was answered, but not forwarded: the tap is at the wrong place", marker)
		}
	}
	if early := b.tap.early(); len(early) > 0 {
		b.Errorf("forwarded before they were recorded: %q", early)
	}
}

func deniedCommand(b *bench) {
	c := b.alice()
	for range 2 {
		_, err := b.do(c, b.peer.Touch("forbidden"))
		if err := contains(err, `postern: denied by rule "no-forbidden": Ask somebody else.`); err != nil {
			b.Error(err)
		}
		b.mustDo(c, b.peer.Echo("still here"), "still here")
	}
	if b.tap.saw("forbidden") {
		b.Error("it went to the upstream")
	}
	if n := b.peer.Traces(b, "forbidden"); n != 0 {
		b.Errorf("it ran %d times", n)
	}
	denied := 0
	for _, e := range b.harness.Audit.Entries() {
		if e.Outcome == "deny" && e.Rule == "no-forbidden" {
			denied++
		}
	}
	if denied != 2 {
		b.Errorf("%d denials are in the audit log", denied)
	}
	denied = 0
	for _, e := range b.harness.Recordings.Last().Flushed() {
		if e.Kind == postern.EventDecision && e.Decision.Verdict == postern.Deny && e.Decision.Rule == "no-forbidden" {
			denied++
		}
	}
	if denied != 2 {
		b.Errorf("%d denials are in the recording", denied)
	}
}

func unrecordableCommand(b *bench) {
	c := b.alice()
	b.harness.Recordings.Break(errDisk)
	if out, err := b.do(c, b.peer.Touch("unrecordable")); err == nil {
		b.Errorf("it ran: %q", out)
	}
	// The session can't close its recording either, and Serve says so.
	if err := b.over(); err == nil {
		b.Error("Serve doesn't tell")
	}
	b.upstreamOver()
	if b.tap.saw("unrecordable") || b.peer.Traces(b, "unrecordable") != 0 {
		b.Error("it went to the upstream")
	}
}

// pending runs a command that is to be reviewed, and returns its review and
// where its outcome will come.
func (b *bench) pending(c Client, marker string) (postern.Review, <-chan error) {
	b.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := b.do(c, b.peer.Touch(marker))
		done <- err
	}()
	select {
	case rv := <-b.harness.Reviews.Opened():
		return rv, done
	case err := <-done:
		b.Fatalf("it didn't wait: %v", err)
	case <-time.After(patience):
		b.Fatal("no review was opened")
	}
	return postern.Review{}, nil
}

func approvedCommand(b *bench) {
	c := b.alice()
	b.tap.watch("reviewed")
	rv, done := b.pending(c, "reviewed")
	if b.tap.saw("reviewed") {
		b.Error("it was forwarded before the review's end")
	}
	if !strings.Contains(rv.Command, "reviewed") || rv.Identity != "alice" || rv.Digest == "" {
		b.Errorf("reviewers see %+v", rv)
	}
	b.harness.Reviews.Settle(rv.ID, postern.ReviewApproved)
	if err := <-done; err != nil {
		b.Error(err)
	}
	if n := b.peer.Traces(b, "reviewed"); n != 1 {
		b.Errorf("it ran %d times", n)
	}
	if state := b.harness.Reviews.State(rv.ID); state != postern.ReviewSpent {
		b.Errorf("the review is %s", state)
	}
	if early := b.tap.early(); len(early) > 0 {
		b.Errorf("forwarded before it was recorded: %q", early)
	}
	again, done := b.pending(c, "reviewed")
	if again.ID == rv.ID {
		b.Error("one approval serves twice")
	}
	b.harness.Reviews.Settle(again.ID, postern.ReviewTimedOut)
	if err := contains(<-done, "not approved in time"); err != nil {
		b.Error(err)
	}
	if n := b.peer.Traces(b, "reviewed"); n != 1 {
		b.Errorf("it ran %d times", n)
	}
}

func refusedReview(b *bench) {
	c := b.alice()
	rv, done := b.pending(c, "reviewed")
	b.harness.Reviews.Settle(rv.ID, postern.ReviewDenied)
	if err := contains(<-done, `postern: denied by rule "look-first"`, rv.ID); err != nil {
		b.Error(err)
	}
	b.mustDo(c, b.peer.Echo("still here"), "still here")
	if b.tap.saw("reviewed") || b.peer.Traces(b, "reviewed") != 0 {
		b.Error("it went to the upstream")
	}
}

func withdrawnReview(b *bench) {
	c := b.alice()
	rv, done := b.pending(c, "reviewed")
	if err := c.Close(); err != nil {
		b.Error(err)
	}
	if err := <-done; err == nil {
		b.Error("it ran all the same")
	}
	_ = b.over() // how the client's going is worded is the protocol's business
	b.upstreamOver()
	if state := b.harness.Reviews.State(rv.ID); state != postern.ReviewWithdrawn {
		b.Errorf("the review is %s", state)
	}
	if b.tap.saw("reviewed") || b.peer.Traces(b, "reviewed") != 0 {
		b.Error("it went to the upstream")
	}
	b.closed()
}

func endedSession(b *bench) {
	c := b.alice()
	if n := b.harness.End("the token was revoked", func(s postern.SessionInfo) bool { return s.Identity == "alice" }); n != 1 {
		b.Fatalf("%d sessions were ended", n)
	}
	ctx, cancel := b.wait()
	defer cancel()
	words, err := c.Ended(ctx)
	if err != nil || !strings.Contains(words, "postern: session ended: the token was revoked") {
		b.Errorf("the client is told %q, %v", words, err)
	}
	if err := b.over(); err != nil {
		b.Errorf("Serve: %v", err)
	}
	b.upstreamOver()
	if info := b.closed(); !strings.Contains(info.EndReason, "the token was revoked") {
		b.Errorf("the session ended because of %q", info.EndReason)
	}
}

func clientGone(b *bench) {
	c := b.alice()
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	_ = b.over()
	b.upstreamOver()
	b.closed()
}

func upstreamGone(b *bench) {
	c := b.alice()
	b.tap.closeAll()
	ctx, cancel := b.wait()
	defer cancel()
	words, err := c.Ended(ctx)
	if err != nil || !strings.Contains(words, Resource) {
		b.Errorf("the client is told %q, %v", words, err)
	}
	_ = b.over()
	b.closed()
}

func contextDone(b *bench) {
	c := b.alice()
	conn := b.dial() // not logged in yet
	defer func() { _ = conn.Close() }()
	b.stop()
	ctx, cancel := b.wait()
	defer cancel()
	if words, err := c.Ended(ctx); err != nil || !strings.Contains(words, "postern: session ended") {
		b.Errorf("the client is told %q, %v", words, err)
	}
	for range 2 {
		if err := b.over(); err != nil {
			b.Errorf("Serve: %v", err)
		}
	}
	b.upstreamOver()
	b.closed()
}

const silentClients = 20

func silentClient(b *bench) {
	for range silentClients {
		conn := b.dial()
		defer func() { _ = conn.Close() }()
	}
	b.alice() // nobody is kept out by them
	for range silentClients {
		if err := b.over(); err == nil {
			b.Error("a client that never logged in was served without an error")
		}
	}
}
