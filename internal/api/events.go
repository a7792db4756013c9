package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/jwks"
	"postern/internal/identity/signals"
)

// Revoker takes back what people of a provider have. *identity.Service is one.
type Revoker interface {
	// People finds accounts of a provider, by subject or by email address.
	People(ctx context.Context, provider, subject, email string) ([]postern.Account, error)
	// EndProviderSession ends what came of one session there, and returns whose it was.
	EndProviderSession(ctx context.Context, provider, subject, session, reason string) (string, error)
	RevokeAll(ctx context.Context, kind postern.IdentityKind, name, reason string) (tokens, sessions int, err error)
	Disable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
}

// Receivers take what providers send about their people, by name.
type Receivers struct {
	Logouts map[string]*signals.Receiver // by provider: POST /oauth/backchannel-logout/NAME
	Events  map[string]*signals.Receiver // by transmitter: POST /events/NAME
	Revoker Revoker
	// Took counts what came: outcome is "acted", "ignored", "replayed", "refused" or "failed".
	Took func(receiver, event, outcome string)
}

// eventRoutes are those of the specifications, outside of /api/v1: the sender's
// signature is what lets it in.
func (a *api) eventRoutes(mux *http.ServeMux) {
	if a.Receivers == nil {
		return
	}
	mux.HandleFunc("POST /oauth/backchannel-logout/{provider}", a.logoutToken)
	mux.HandleFunc("POST /events/{name}", a.eventToken)
}

// logoutToken takes a back-channel logout token (OpenID Connect Back-Channel
// Logout 1.0, section 2.5).
func (a *api) logoutToken(w http.ResponseWriter, r *http.Request) {
	accepted := a.Now()
	name := r.PathValue("provider")
	receiver, ok := a.Receivers.Logouts[name]
	if !ok {
		writeProblem(w, errNotFound)
		return
	}
	ctx, cancel := bounded(w, r, accepted)
	defer cancel()
	token := ""
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/x-www-form-urlencoded" && r.ParseForm() == nil && len(r.PostForm["logout_token"]) == 1 {
		token = r.PostForm["logout_token"][0]
	}
	event, err := receiver.Logout(ctx, token)
	if err == nil {
		err = a.obey(ctx, r, receiver, name, event)
	}
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	status := a.refuseEvent(r, name, "backchannel-logout", err)
	// The same words for whatever is wrong with it: the log says what.
	answerEvent(w, status, map[string]string{"error": "invalid_request", "error_description": "this logout token isn't accepted"})
}

// eventToken takes a security event token (RFC 8935, section 2).
func (a *api) eventToken(w http.ResponseWriter, r *http.Request) {
	accepted := a.Now()
	name := r.PathValue("name")
	receiver, ok := a.Receivers.Events[name]
	if !ok {
		writeProblem(w, errNotFound)
		return
	}
	ctx, cancel := bounded(w, r, accepted)
	defer cancel()
	err := a.takeEvents(ctx, r, receiver, name)
	if err == nil || errors.Is(err, signals.ErrReplayed) {
		if err != nil {
			// Its sender may have missed our answer. Nothing is done again.
			a.took(name, "", "replayed")
			a.Log.Warn("event was sent before, and counts once", "receiver", name, "source", sourceOf(r.RemoteAddr))
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	status := a.refuseEvent(r, name, "", err)
	answerEvent(w, status, map[string]string{"err": "invalid_request", "description": "this event isn't accepted"})
}

// takeEvents reads an event token and does what it asks for.
func (a *api) takeEvents(ctx context.Context, r *http.Request, receiver *signals.Receiver, name string) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/secevent+jwt" {
		return errors.New("its content type isn't application/secevent+jwt")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("its body can't be read: %w", err)
	}
	events, err := receiver.Events(ctx, strings.TrimSpace(string(body)))
	if err != nil {
		return err
	}
	return a.obey(ctx, r, receiver, name, events...)
}

// bounded is a request's context, with bounds for its body and for the whole.
func bounded(w http.ResponseWriter, r *http.Request, accepted time.Time) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // tests' recorders have none
	// What has begun is brought to its end: half of a revocation is none.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestTime)
	return identity.Accepted(ctx, accepted), cancel
}

// failedError is what went wrong on our side: the sender is to send again.
type failedError struct{ error }

// Unwrap returns the cause.
func (e *failedError) Unwrap() error { return e.error }

// obey does what the events of one token ask for. Only when all is done are
// they remembered: until then, sending again counts.
func (a *api) obey(ctx context.Context, r *http.Request, receiver *signals.Receiver, name string, events ...signals.Event) error {
	c := caller{source: sourceOf(r.RemoteAddr)}
	for _, e := range events {
		outcome, err := a.obeyOne(ctx, c, name, e)
		if err != nil {
			return &failedError{fmt.Errorf("%s: %w", e.Type, err)}
		}
		a.took(name, label(e), outcome)
	}
	if err := receiver.Done(ctx, events[0]); err != nil {
		return &failedError{err}
	}
	return nil
}

func (a *api) obeyOne(ctx context.Context, c caller, name string, e signals.Event) (outcome string, err error) {
	why := "by " + name + ": " + e.Type
	if e.Reason != "" {
		why += ": " + e.Reason
	}
	entry := postern.AuditEntry{Action: "event." + e.Type, Reason: why}
	if e.Act != signals.Revoke && e.Act != signals.Disable {
		a.Log.Info("event taken", "receiver", name, "event", e.Type, "act", string(e.Act))
		entry.Outcome = "ignored"
		if e.Act == signals.Verify {
			entry.Outcome = "ok"
		}
		return "ignored", a.note(ctx, c, entry)
	}
	people, err := a.meant(ctx, c, entry, e)
	if err != nil {
		return "", err
	}
	for _, name := range people {
		entry.Target = ref(postern.User, name)
		err := a.change(ctx, c, entry, func(ctx context.Context) error {
			if e.Act == signals.Disable {
				_, err := a.Receivers.Revoker.Disable(ctx, postern.User, name)
				return err
			}
			_, _, err := a.Receivers.Revoker.RevokeAll(ctx, postern.User, name, "its provider ended it ("+e.Type+"); sign in again")
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return "acted", nil
}

// meant finds the people whom an event means, but for those of a single
// session, which it ends: nothing else is then to be done. That nobody here is
// meant is no error, and in the audit log.
func (a *api) meant(ctx context.Context, c caller, entry postern.AuditEntry, e signals.Event) ([]string, error) {
	about := e.About
	if about.Session != "" && e.Act == signals.Revoke {
		var name string
		entry := entry
		entry.Target = "session:" + about.Session
		err := a.change(ctx, c, entry, func(ctx context.Context) error {
			var err error
			name, err = a.Receivers.Revoker.EndProviderSession(ctx, about.Provider, about.Subject, about.Session, "its provider ended its login ("+e.Type+"); sign in again")
			return err
		})
		if err != nil || name != "" {
			return nil, err
		}
		// A session that no login here came of, as far as we know: all of the
		// person's, if they are named.
	}
	accounts, err := a.Receivers.Revoker.People(ctx, about.Provider, about.Subject, about.Email)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, account := range accounts {
		names = append(names, account.Name)
	}
	if len(names) == 0 {
		entry.Outcome, entry.Reason = "ignored", entry.Reason+": nobody whom it is about has an account"
		return nil, a.note(ctx, c, entry)
	}
	slices.Sort(names)
	return names, nil
}

// refuseEvent tells the operator why nothing came of a token, and returns the
// status that its sender gets. What strangers send isn't in the audit log: they
// must not be able to fill it.
func (a *api) refuseEvent(r *http.Request, name, event string, err error) int {
	var failed *failedError
	if errors.As(err, &failed) || errors.Is(err, jwks.ErrUnavailable) {
		a.took(name, event, "failed")
		a.Log.Error("event can't be acted upon; its sender is asked to send it again", "receiver", name, "source", sourceOf(r.RemoteAddr), "error", err)
		return http.StatusServiceUnavailable
	}
	outcome := "refused"
	if errors.Is(err, signals.ErrReplayed) {
		outcome = "replayed"
	}
	a.took(name, event, outcome)
	a.Log.Warn("event refused", "receiver", name, "source", sourceOf(r.RemoteAddr), "cause", err)
	return http.StatusBadRequest
}

func (a *api) took(receiver, event, outcome string) {
	if a.Receivers.Took != nil {
		a.Receivers.Took(receiver, event, outcome)
	}
}

func answerEvent(w http.ResponseWriter, status int, body map[string]string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the sender may have gone
}

// label is an event's type for metrics: a stranger's word for one is none.
func label(e signals.Event) string {
	if e.Act == signals.Ignore {
		return "other"
	}
	return e.Type
}
