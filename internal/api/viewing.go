package api

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/mask"
	"postern/internal/policy"
)

// Seeing recordings is a right of its own: who may see that a session was need
// not see what was in it. And whoever may, sees it with the masks that bind them.

// viewable finds a session whose recording the caller may see. A refusal is in
// the audit log, as what is read is.
func (a *api) viewable(ctx context.Context, c caller, id string) (postern.SessionInfo, error) {
	info, visible, err := a.lookup(ctx, c, id)
	if err != nil {
		return info, err
	}
	ok, limited := a.readable(&info, c, visible)
	if !ok && info.EndedAt.IsZero() {
		if info, err = a.orEnded(ctx, c, info, visible); err != nil {
			return info, err
		}
		ok, limited = a.readable(&info, c, visible)
	}
	if ok {
		return info, nil
	}
	k := a.keeping(&info, c)
	if !visible && !k.View && !k.Watch {
		return postern.SessionInfo{}, errNotFound
	}
	entry := postern.AuditEntry{
		Action: "session.read", Outcome: "refused", Session: info.ID, Resource: info.Resource, Target: ref(info.Kind, info.Identity),
	}
	words := "recordings of sessions with " + info.Resource + " are for those whom the policy names: Recordings " + strings.Join(limited, ", ")
	switch {
	case info.EndedAt.IsZero():
		entry.Action, entry.Reason = "session.watch", "no Recordings object names them in watch"
		words = "the session is open, and to read it now is to watch it: no Recordings object that picks sessions with " + info.Resource +
			" names you in watch. Ask an administrator for that, or read the recording when the session has ended"
	case len(limited) > 0:
		entry.Rule, entry.Reason = limited[0], "only those whom "+strings.Join(limited, ", ")+" names may see it"
	default: // they could watch it while it was open
		entry.Reason = "it isn't theirs, and no Recordings object names them in view"
		words = "the session has ended, and no Recordings object that picks sessions with " + info.Resource + " names you in view"
	}
	if err := a.note(ctx, c, entry); err != nil {
		return postern.SessionInfo{}, err
	}
	return postern.SessionInfo{}, huma.Error403Forbidden(words)
}

// endGrace is how long somebody waits for the end of a session that they may only
// read when it has ended: its client may have left a moment ago.
const endGrace = time.Second

// orEnded returns an open session as it is when it has ended, if that is soon and
// makes a difference to the caller.
func (a *api) orEnded(ctx context.Context, c caller, info postern.SessionInfo, visible bool) (postern.SessionInfo, error) {
	ended := info
	ended.EndedAt = a.Now()
	if ok, _ := a.readable(&ended, c, visible); !ok {
		return info, nil
	}
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	again := time.NewTicker(endGrace / 20)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return info, nil
		case <-again.C:
		}
		now, _, err := a.lookup(ctx, c, info.ID)
		switch {
		case ctx.Err() != nil:
			return info, nil
		case err != nil:
			return info, err
		case !now.EndedAt.IsZero():
			return now, nil
		}
	}
}

// ownSession says whether it is the caller who has this session: nobody is
// watched by themselves. Who acts for somebody doesn't have theirs.
func ownSession(info *postern.SessionInfo, c caller) bool {
	return c.owns(info.Kind, info.Identity) && c.identity.ActorName() == info.Actor
}

func (a *api) keeping(info *postern.SessionInfo, c caller) policy.Keeping {
	return a.Policy().Keeping(info.Resource, postern.Identity{Name: info.Identity, Kind: info.Kind}, c.identity)
}

// lookup finds a session, and says whether the caller may see that it was.
func (a *api) lookup(ctx context.Context, c caller, id string) (info postern.SessionInfo, visible bool, err error) {
	all := a.Live.Live()
	if i := slices.IndexFunc(all, func(s postern.SessionInfo) bool { return s.ID == id }); i >= 0 {
		info = all[i]
	} else if info, err = a.Store.Session(ctx, id); err != nil {
		return info, false, err
	}
	return sessionShown(info), c.may(info.Kind, info.Identity), nil
}

// readable says whether the caller may read the recording of a session, of
// which visible says whether they may see that it was. limited are the objects
// that say who else may, once it has ended.
func (a *api) readable(info *postern.SessionInfo, c caller, visible bool) (ok bool, limited []string) {
	k := a.keeping(info, c)
	if info.EndedAt.IsZero() {
		// A person may watch whoever acts in their name, and not the other way round.
		return k.Watch || ownSession(info, c) || c.identity.Actor == nil && c.owns(info.Kind, info.Identity), k.Viewers
	}
	return c.owns(info.Kind, info.Identity) || k.View || visible && len(k.Viewers) == 0, k.Viewers
}

// stillViews says whether a caller may go on reading what they could read when
// they began. What was open then may have ended.
func (a *api) stillViews(info *postern.SessionInfo, now caller) error {
	if ok, _ := a.readable(info, now, now.may(info.Kind, info.Identity)); !ok {
		return errForbidden
	}
	return nil
}

// withheld stands in place of what the viewer may not see.
const withheld = "[withheld: masks that bind you were not on when this was recorded]"

// viewer shows a recording's events as the masks that bind whoever looks have
// them now. A recording doesn't say which columns its values came from, so what
// wasn't masked then at least as much can't be masked now: it is withheld.
type viewer struct {
	masks   []postern.Mask
	unknown bool // which masks bind isn't known: the resource is gone
	own     bool // they wrote the commands
	text    *mask.Text
	decided []decided // latest last
}

// decided says how what came of a decision was masked.
type decided struct {
	n      int64
	masked bool // at least as the viewer is
}

func (a *api) viewerOf(c caller, info *postern.SessionInfo) *viewer {
	v := &viewer{own: ownSession(info, c)}
	var known bool
	v.masks, known = a.Policy().MasksFor(c.identity, info.Resource)
	v.unknown = !known
	redact := slices.Clone(v.masks)
	for i := range redact {
		redact[i].With, redact[i].Bucket = postern.MaskRedact, postern.Bucket{}
	}
	if len(redact) > 0 {
		v.text = mask.NewPlan(redact, nil).Text()
	}
	return v
}

// show changes an event into what the viewer may see.
func (v *viewer) show(e *postern.Event) {
	if len(v.masks) == 0 && !v.unknown {
		return
	}
	switch e.Kind {
	case postern.EventDecision:
		if e.Decision != nil {
			v.decided = append(v.decided, decided{e.N, v.covered(e.Decision.Masks)})
		}
	case postern.EventCommand:
		v.command(e)
	case postern.EventOpen, postern.EventClose, postern.EventReview, postern.EventResize, postern.EventWatch:
	default:
		v.data(e)
	}
}

// covered says whether masks that were on hide all that the viewer's would.
func (v *viewer) covered(on []postern.Mask) bool {
	if v.unknown {
		return false
	}
	return !slices.ContainsFunc(v.masks, func(want postern.Mask) bool {
		return !slices.ContainsFunc(on, func(have postern.Mask) bool { return sameMask(&have, &want) })
	})
}

func sameMask(a, b *postern.Mask) bool {
	return a.With == b.With && a.Bucket == b.Bucket && slices.Equal(a.Columns, b.Columns) && slices.Equal(a.Detect, b.Detect)
}

// wasMasked says so of what command n did.
func (v *viewer) wasMasked(n int64) bool {
	for _, d := range slices.Backward(v.decided) {
		if d.n <= n {
			return d.masked
		}
	}
	return false
}

// data hides what came of a command.
func (v *viewer) data(e *postern.Event) {
	if v.wasMasked(e.N) {
		return
	}
	rows := make([][]*string, len(e.Rows))
	for i, row := range e.Rows {
		rows[i] = make([]*string, len(row))
		for j := range row {
			text := withheld
			rows[i][j] = &text
		}
	}
	e.Rows = rows
	if e.Text != "" {
		e.Text = withheld
	}
}

// command hides in what was asked for: its values may be what a mask hides.
func (v *viewer) command(e *postern.Event) {
	if e.Command == nil || v.own {
		return
	}
	c := *e.Command
	c.Text = v.hide(c.Text)
	c.Problem = v.hide(c.Problem)
	c.Params = slices.Clone(c.Params)
	for i := range c.Params {
		if !c.Params[i].Null {
			c.Params[i].Value, c.Params[i].Binary = []byte(withheld), false
		}
	}
	e.Command = &c
}

// hidesText says whether no command's text is shown, whatever it is.
func (v *viewer) hidesText() bool {
	const harmless = "select"
	return v.unknown || v.hide(harmless) != harmless
}

func (v *viewer) hide(text string) string {
	switch {
	case text == "":
		return ""
	case v.unknown:
		return withheld
	case v.text == nil:
		return text
	default:
		hidden, _ := v.text.Mask(nil, []byte(text))
		return string(hidden)
	}
}

// shred deletes a recording for good.
func (a *api) shred(ctx context.Context, c caller, id, reason string) error {
	info, visible, err := a.lookup(ctx, c, id)
	if err != nil {
		return err
	}
	if !visible {
		return errNotFound
	}
	if info.EndedAt.IsZero() {
		return &RefusedError{Reason: "the session is open; its recording can be deleted when it has ended"}
	}
	entry := postern.AuditEntry{
		Action: "recording.delete", Session: info.ID, Resource: info.Resource, Target: ref(info.Kind, info.Identity), Digest: info.Digest, Reason: reason,
	}
	if k := a.keeping(&info, c); k.Hold != "" {
		entry.Action, entry.Outcome, entry.Reason = "recording.hold", "refused", "it was to be deleted, and is held by "+k.Hold
		if err := a.note(ctx, c, entry); err != nil {
			return err
		}
		return &RefusedError{Reason: "it must not be deleted: it is held by Recordings " + k.Hold}
	}
	if _, err := a.Recordings.Digest(info.ID); errors.Is(err, fs.ErrNotExist) {
		return huma.Error404NotFound("the session has no recording")
	}
	err = a.change(ctx, c, entry, func(ctx context.Context) error {
		return errors.Join(a.Search.Forget(ctx, info.ID), a.Recordings.Condemn(ctx, info.ID))
	})
	if err != nil {
		return err
	}
	// From here on it is done: what can't be deleted now is at the next sweep.
	return a.Recordings.DeleteCondemned(context.WithoutCancel(ctx))
}
