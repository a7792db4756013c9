package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern"
	"postern/internal/gate"
	"postern/internal/socket"
)

// isEnded says whether err is the gate's word that the session is over.
func isEnded(err error) bool {
	var ended *gate.EndedError
	return errors.As(err, &ended)
}

// decide asks the gate about a command, whose statements may be forwarded when
// it returns neither a denial nor an error. It waits while people review.
// errSkipped means that the server drops the message.
func (r *relay) decide(ctx context.Context, cmd *command, why string) (*denial, error) {
	_, dn, err := r.decideBy(ctx, cmd, stride{why: why})
	return dn, err
}

// decideBy is decide for a command that may be run before it is approved. ran says
// that it was, is committed, and that the client has its answer.
func (r *relay) decideBy(ctx context.Context, cmd *command, by stride) (ran bool, dn *denial, err error) {
	t := &r.trying
	*t = trial{r: r, cmd: cmd, stride: by, cancels: r.cancels.Load()}
	defer func() { *t = trial{} }()
	if dn, err = r.decideTrying(ctx, cmd, t); err != nil || dn != nil || !t.open {
		return false, dn, err
	}
	dn, err = t.commit(ctx)
	return dn == nil && err == nil, dn, err
}

func (r *relay) decideTrying(ctx context.Context, cmd *command, t *trial) (*denial, error) {
	cmd.others = r.others
	cmds := cmd.commands()
	r.p.mu.Lock()
	inFlight := !r.p.empty()
	r.p.mu.Unlock()
	if inFlight && r.s.Preview(cmds...).Verdict == postern.NeedsReview {
		// Nobody should be asked about what the server is about to drop.
		if err := r.drained(ctx); err != nil {
			return nil, err
		}
	}
	if r.patience == nil || r.patience.Err() != nil {
		r.patience, r.endPatience = context.WithCancelCause(ctx)
	}
	wait := r.patience
	r.watched = watch{relay: r, ctx: wait, withdraw: r.endPatience}
	w := &r.watched
	r.watching = w
	d, err := r.s.DecideWaiting(wait, r.waiting, cmds...)
	if t.review != "" {
		r.p.decides(true)
	}
	r.watching = nil
	if err := errors.Join(err, w.stop()); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if d.Verdict != postern.Allow {
		if err := t.undo(ctx); err != nil {
			return nil, err
		}
		cause := context.Cause(wait)
		switch {
		case t.shelf != nil && t.shelf.failed != nil:
			return t.refuse(), t.recordFailure()
		case errors.Is(cause, errCancelled), t.stopped:
			return &denial{code: codeCancelled, message: "canceling statement due to user request", plain: true}, nil
		case errors.Is(cause, errSkipped):
			return nil, errSkipped
		}
		return r.denied(d), nil
	}
	cmd.decision = d
	cmd.exposes = r.exposes(cmd)
	r.baseline.Store(&d)
	if t.open {
		return nil, nil // it was looked at before it ran
	}
	if r.movedWhileStalled() && cmd.read != nil && d.Review == nil {
		if same, err := r.meansTheSame(ctx, cmd); err != nil {
			return nil, err
		} else if !same {
			return r.outOfTurn(cmd, codeRetry, changedMeanwhile)
		}
	}
	var problem string
	if d.Review != nil {
		if problem, err = r.movedMeanwhile(ctx, cmd); err != nil {
			return nil, err
		}
		if problem != "" {
			return r.overrule(cmd, problem)
		}
	}
	problem = unmaskable(cmd)
	if problem == "" {
		if problem, err = r.tells(ctx, cmd); err != nil {
			return nil, err
		}
	}
	if problem != "" {
		return r.overrule(cmd, problem)
	}
	return nil, nil
}

// overrule refuses a command that no rule denies.
func (r *relay) overrule(cmd *command, problem string) (*denial, error) {
	dn := &denial{code: codeDenied, message: problem}
	return dn, r.s.Overruled(cmd.decision, cmd.commands(), "", dn.code, dn.words())
}

// movedMeanwhile says why a command isn't the one any more that people have approved:
// its text is, but somebody may have given names in it another meaning while they
// looked at it.
func (r *relay) movedMeanwhile(ctx context.Context, cmd *command) (problem string, err error) {
	if cmd.read == nil {
		return "", nil // nothing was known of it but that it is unknown
	}
	same, err := r.meansTheSame(ctx, cmd)
	if err != nil || same {
		return "", err
	}
	return "the database was changed while people looked at the command, which means something else now, so its approval is void; run it again", nil
}

// meansTheSame says whether a command still is what was decided over, as names stand now.
func (r *relay) meansTheSame(ctx context.Context, cmd *command) (bool, error) {
	// As in a session that begins now, all that was done before counts.
	r.opened, r.confirmed, r.confirmAt = r.o.now(), time.Time{}, time.Time{}
	if err := r.settle(ctx); err != nil {
		return false, err
	}
	if _, err := r.environment(ctx, true); err != nil {
		return false, err
	}
	statements, env, err := r.analyse(ctx, cmd.read)
	if err != nil || !alike(statements, cmd.statements) {
		return false, err
	}
	cmd.env, cmd.others = env, r.others
	return true, nil
}

// denied words a denial.
func (r *relay) denied(d postern.Decision) *denial {
	return &denial{code: codeDenied, message: (&gate.DeniedError{Rule: d.Rule, Reason: d.Reason}).Error(), plain: true}
}

// unmaskable says why a command whose results would have to be masked is
// refused instead.
func unmaskable(cmd *command) string {
	if len(cmd.decision.Masks) == 0 {
		return ""
	}
	for i := range cmd.statements {
		if c := cmd.statements[i].Copy; c != nil && c.Out && !maskableEncoding(c.Encoding, cmd.env.Encoding) {
			return "masks apply here, and COPY in this encoding can't be masked; use ENCODING 'UTF8'"
		}
	}
	return ""
}

// watch looks after a client while people decide over its command: it is told,
// and when it goes away or cancels, the review is withdrawn.
type watch struct {
	relay    *relay
	ctx      context.Context
	withdraw context.CancelCauseFunc
	over     chan struct{} // closed when it is to end; nil: none was started
	done     chan struct{} // closed when the goroutine that reads has ended
	err      error
}

// announce is called on the deciding goroutine before it waits.
func (r *relay) announce(rv postern.Review) {
	t := &r.trying
	t.review = rv.ID
	w := r.watching
	if w == nil {
		return
	}
	if err := r.drained(w.ctx); err != nil {
		w.fail(err)
		return
	}
	notice := waitingNotice(rv, r.s.ReviewURL(rv.ID), r.o.now())
	if t.open {
		notice += "; it has run, and is committed or undone then"
	}
	if err := r.notify(notice); err != nil {
		w.fail(fmt.Errorf("%w: %w", errClientGone, err))
		return
	}
	r.p.decides(false)
	r.mu.Lock()
	r.withdraw = w.withdraw
	late := t.open && t.cancelled()
	r.mu.Unlock()
	if late {
		w.withdraw(errCancelled)
	}
	w.over, w.done = make(chan struct{}), make(chan struct{})
	go w.read()
}

func (w *watch) fail(err error) {
	if !errors.Is(err, errSkipped) {
		w.err = err
	}
	w.withdraw(err)
}

// read keeps reading what the client sends, to notice when it goes.
func (w *watch) read() {
	defer close(w.done)
	for {
		more, err := w.relay.fromHere.readAhead()
		if !more {
			w.awaitEnd()
			return
		}
		if err != nil {
			if err := broken(errClientGone, err); !errors.Is(err, errInterrupted) {
				w.fail(err)
			}
			return
		}
	}
}

// awaitEnd notices when a client goes that has sent more than is read ahead.
func (w *watch) awaitEnd() {
	from := w.relay.fromHere
	if from.below != nil {
		from = from.below
	}
	raw, gone := plainConn(from.src), make(chan struct{})
	if raw == nil || socket.AwaitEnd(raw, func() { close(gone) }) != nil {
		return
	}
	select {
	case <-gone:
		w.fail(fmt.Errorf("%w: it has closed its side", errClientGone))
	case <-w.over:
		if !socket.Forget(raw) {
			<-gone
		}
	}
}

// stop ends the reading. It returns why the session can't go on.
func (w *watch) stop() error {
	r := w.relay
	r.mu.Lock()
	r.withdraw = nil
	r.mu.Unlock()
	if w.over == nil {
		return w.err
	}
	close(w.over)
	r.hereParking.pause()
	<-w.done
	if w.err != nil {
		return w.err
	}
	r.hereParking.arm()
	return nil
}

// waitingNotice is what a client sees while people review its command.
func waitingNotice(rv postern.Review, url string, now time.Time) string {
	approvers := make([]string, len(rv.Approvers))
	for i, who := range rv.Approvers {
		approvers[i] = string(who)
	}
	return fmt.Sprintf("postern: waiting for approval by %s: %s, %s left", strings.Join(approvers, ", "), url, shortDuration(gate.Left(rv, now)))
}

// shortDuration leaves out what is zero: "15m", not "15m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
