// Package signals understands what identity providers say about people outside
// of any login: OpenID Connect's back-channel logout tokens, and the security
// event tokens of the Shared Signals Framework (CAEP, RISC). It verifies them
// and says what they ask for, about whom; it does nothing about it.
//
// Specifications: OpenID Connect Back-Channel Logout 1.0; RFC 8417 (security
// event tokens), RFC 8935 (their delivery by push), RFC 9493 (subjects); OpenID
// Shared Signals Framework 1.0, CAEP 1.0 and RISC Profile 1.0.
package signals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/identity/jwks"
)

// Bounds of time: how far clocks may be apart, and how old what is sent may be.
const (
	skew = 60 * time.Second
	// logoutAge is how old a logout token may be that doesn't say when it ends.
	logoutAge = 5 * time.Minute
	// DefaultAge is how old an event may be. A transmitter that was down sends
	// late, and a late revocation is better than none: what is taken away stays
	// rightly taken. An event is remembered for as long, so that none counts twice.
	DefaultAge = 7 * 24 * time.Hour

	maxID     = 512 // bytes of an id
	maxEvents = 16
)

// ErrReplayed says that a token was taken before.
var ErrReplayed = errors.New("it was sent before")

// Act is what an event asks for.
type Act string

// The acts. Every one of them takes something away: no event gives anything.
const (
	// Revoke: whatever was opened or minted for the subject is over. They may sign in again.
	Revoke Act = "revoke"
	// Disable: the same, and they may not.
	Disable Act = "disable"
	// Verify: the transmitter tries whether its events arrive.
	Verify Act = "verify"
	// Ignore: nothing that this gateway does depends on it.
	Ignore Act = "ignore"
)

// Event is one thing that a provider says.
type Event struct {
	ID     string // unique for its issuer
	Type   string // short: "session-revoked"
	Act    Act
	About  Subject
	Reason string    // the provider's own words for administrators; may be empty
	Time   time.Time // when it was issued
	// Until is when it may be forgotten: a replay is refused by its age from then on.
	Until time.Time
}

// Subject is whom an event is about. What is known of them is set: Provider
// with Subject, an Email, or a Session at the provider.
type Subject struct {
	Provider string // the name of the provider in the configuration
	Subject  string // the provider's own id of the person
	Email    string
	Session  string // the provider's id of one session ("sid")
}

// IsZero says whether the subject names nobody.
func (s Subject) IsZero() bool { return s.Subject == "" && s.Email == "" && s.Session == "" }

// Keys verify what an issuer signs. *jwks.Set is one.
type Keys interface {
	Verify(ctx context.Context, token string) (jwks.Signed, error)
}

// Memory remembers which tokens were taken.
type Memory interface {
	// SeenEvent says whether an event of an issuer was remembered.
	SeenEvent(ctx context.Context, issuer, id string) (bool, error)
	// RememberEvent remembers one until a moment. Doing so twice is no error.
	RememberEvent(ctx context.Context, issuer, id string, until time.Time) error
}

// Config says who sends, and what is believed of it.
type Config struct {
	Issuer    string
	Audience  string
	Keys      Keys
	Memory    Memory
	MaxAge    time.Duration    // of events; 0: [DefaultAge]
	Now       func() time.Time // nil: the system's clock
	Provider  string           // the provider whose people the subjects are
	SubIssuer string           // its issuer, as subjects name it; "": Issuer
}

// Receiver takes what one issuer sends. Its methods may be called from several
// goroutines. An error of theirs is for the operator, never for the sender;
// [jwks.ErrUnavailable] says that the same may be sent again later.
type Receiver struct{ cfg Config }

// New makes a receiver, or says what cfg lacks.
func New(cfg Config) (*Receiver, error) {
	if cfg.Issuer == "" || cfg.Audience == "" || cfg.Keys == nil || cfg.Memory == nil || cfg.Provider == "" {
		return nil, errors.New("signals: a part of the configuration is missing")
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = DefaultAge
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.SubIssuer == "" {
		cfg.SubIssuer = cfg.Issuer
	}
	return &Receiver{cfg}, nil
}

// Done remembers an event that was acted upon. It comes last: an event whose
// effect isn't certain must count when it is sent again.
func (r *Receiver) Done(ctx context.Context, e Event) error {
	return r.cfg.Memory.RememberEvent(ctx, r.cfg.Issuer, e.ID, e.Until)
}

// claims are those of either kind of token. A claim that must not be there is
// looked for, too.
type claims struct {
	Issuer   string                     `json:"iss"`
	Audience audience                   `json:"aud"`
	Issued   *seconds                   `json:"iat"`
	Expires  *seconds                   `json:"exp"`
	Earliest *seconds                   `json:"nbf"`
	ID       string                     `json:"jti"`
	Subject  string                     `json:"sub"`
	Session  string                     `json:"sid"`
	Nonce    *json.RawMessage           `json:"nonce"`
	Events   map[string]json.RawMessage `json:"events"`
	SubID    *subject                   `json:"sub_id"`
}

// audience is one text, or a list of them.
type audience []string

// UnmarshalJSON implements [json.Unmarshaler].
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// seconds is a NumericDate.
type seconds time.Time

// UnmarshalJSON implements [json.Unmarshaler].
func (s *seconds) UnmarshalJSON(data []byte) error {
	var n float64
	if err := json.Unmarshal(data, &n); err != nil {
		return err
	}
	if n < 0 || n > 1<<40 {
		return errors.New("a time is out of range")
	}
	*s = seconds(time.UnixMicro(int64(n * 1e6)))
	return nil
}

// read verifies what both kinds of token have in common.
func (r *Receiver) read(ctx context.Context, token string) (typ string, c claims, err error) {
	signed, err := r.cfg.Keys.Verify(ctx, token)
	if err != nil {
		return "", claims{}, err
	}
	if err := unique(signed.Payload); err != nil {
		return "", claims{}, err
	}
	if err := json.Unmarshal(signed.Payload, &c); err != nil {
		return "", claims{}, fmt.Errorf("its claims can't be read: %w", err)
	}
	now := r.cfg.Now()
	switch {
	case c.Issuer != r.cfg.Issuer:
		return "", claims{}, fmt.Errorf("its issuer is %q, and not %q", c.Issuer, r.cfg.Issuer)
	case !slices.Contains(c.Audience, r.cfg.Audience):
		return "", claims{}, fmt.Errorf("its audience is %q, and not %q", []string(c.Audience), r.cfg.Audience)
	case c.ID == "" || len(c.ID) > maxID:
		return "", claims{}, errors.New("it has no usable jti")
	case c.Issued == nil:
		return "", claims{}, errors.New("it doesn't say when it was issued")
	case time.Time(*c.Issued).After(now.Add(skew)):
		return "", claims{}, errors.New("it was issued in the future: the clocks are apart by more than a minute")
	case c.Earliest != nil && time.Time(*c.Earliest).After(now.Add(skew)):
		return "", claims{}, errors.New("it isn't valid yet")
	case c.Expires != nil && !time.Time(*c.Expires).After(now.Add(-skew)):
		return "", claims{}, errors.New("it has expired")
	case len(c.Events) == 0 || len(c.Events) > maxEvents:
		return "", claims{}, fmt.Errorf("it holds %d events", len(c.Events))
	}
	seen, err := r.cfg.Memory.SeenEvent(ctx, r.cfg.Issuer, c.ID)
	switch {
	case err != nil:
		return "", claims{}, fmt.Errorf("%w: %w", jwks.ErrUnavailable, err)
	case seen:
		return "", claims{}, ErrReplayed
	}
	return signed.Type, c, nil
}

// logoutEvent is the only event of a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Logout reads a back-channel logout token (OpenID Connect Back-Channel Logout
// 1.0, section 2.6).
func (r *Receiver) Logout(ctx context.Context, token string) (Event, error) {
	typ, c, err := r.read(ctx, token)
	if err != nil {
		return Event{}, err
	}
	issued := time.Time(*c.Issued)
	until := issued.Add(logoutAge)
	if c.Expires != nil {
		until = time.Time(*c.Expires)
	}
	var about map[string]json.RawMessage
	event, ok := c.Events[logoutEvent]
	switch {
	case typ != "" && typ != "jwt" && typ != "logout+jwt":
		return Event{}, fmt.Errorf("its type is %q, and not logout+jwt", typ)
	case !ok || len(c.Events) != 1 || json.Unmarshal(event, &about) != nil:
		return Event{}, errors.New("it is no logout token: the event is missing, or there are others")
	case c.Nonce != nil:
		return Event{}, errors.New("it has a nonce, as only ID tokens have")
	case c.Subject == "" && c.Session == "":
		return Event{}, errors.New("it names neither a subject nor a session")
	case len(c.Subject) > maxID || len(c.Session) > maxID:
		return Event{}, errors.New("its subject or session is too long")
	case !until.After(r.cfg.Now().Add(-skew)):
		return Event{}, errors.New("it is too old")
	case until.After(issued.Add(24 * time.Hour)):
		return Event{}, errors.New("it is good for more than a day")
	}
	return Event{
		ID: c.ID, Type: "backchannel-logout", Act: Revoke, Time: issued, Until: until.Add(2 * skew),
		About: Subject{Provider: r.cfg.Provider, Subject: c.Subject, Session: c.Session},
	}, nil
}

// Events reads a security event token. It holds one event, as a rule; all of
// them have its id.
func (r *Receiver) Events(ctx context.Context, token string) ([]Event, error) {
	typ, c, err := r.read(ctx, token)
	if err != nil {
		return nil, err
	}
	issued := time.Time(*c.Issued)
	until := issued.Add(r.cfg.MaxAge)
	switch {
	case typ != "secevent+jwt":
		return nil, fmt.Errorf("its type is %q, and not secevent+jwt", typ)
	case c.Events[logoutEvent] != nil:
		return nil, errors.New("it is a logout token, which has an endpoint of its own")
	case until.Before(r.cfg.Now().Add(-skew)):
		return nil, fmt.Errorf("it is older than %v", r.cfg.MaxAge)
	}
	var all []Event
	for name, body := range c.Events {
		var details struct {
			Subject     *subject `json:"subject"` // where drafts had it
			ReasonAdmin words    `json:"reason_admin"`
			ReasonUser  words    `json:"reason_user"`
			Status      string   `json:"current_status"`   // of device-compliance-change
			Direction   string   `json:"change_direction"` // of assurance-level-change
		}
		if err := json.Unmarshal(body, &details); err != nil {
			return nil, fmt.Errorf("event %s can't be read: %w", bounded(name), err)
		}
		e := Event{ID: c.ID, Type: bounded(short(name)), Act: actOf(name), Time: issued, Until: until.Add(2 * skew)}
		if details.Status == "compliant" || details.Direction == "increase" {
			e.Act = Ignore // for the better
		}
		e.Reason = string(details.ReasonAdmin)
		if e.Reason == "" {
			e.Reason = string(details.ReasonUser)
		}
		about := c.SubID
		if about == nil {
			about = details.Subject
		}
		if e.Act == Revoke || e.Act == Disable {
			if about == nil {
				return nil, fmt.Errorf("event %s names no subject", e.Type)
			}
			if e.About, err = about.resolve(r.cfg, 0); err != nil {
				return nil, fmt.Errorf("event %s: %w", e.Type, err)
			}
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Event) int { return strings.Compare(a.Type, b.Type) })
	return all, nil
}

const (
	caep    = "https://schemas.openid.net/secevent/caep/event-type/"
	risc    = "https://schemas.openid.net/secevent/risc/event-type/"
	ssf     = "https://schemas.openid.net/secevent/ssf/event-type/"
	sse     = "https://schemas.openid.net/secevent/sse/event-type/" // before it was called SSF
	maxWord = 500
)

// actOf is what an event of a type asks for. One that would give something back
// ("account-enabled") is ignored: that takes an administrator or the directory.
func actOf(name string) Act {
	switch name {
	case caep + "session-revoked", caep + "credential-change", caep + "token-claims-change", caep + "assurance-level-change",
		caep + "device-compliance-change",
		risc + "credential-compromise", risc + "account-credential-change-required", risc + "sessions-revoked",
		risc + "identifier-changed", risc + "identifier-recycled":
		return Revoke
	case risc + "account-disabled", risc + "account-purged":
		return Disable
	case ssf + "verification", sse + "verification":
		return Verify
	}
	return Ignore
}

// short is an event type's last word, where it is one of the known families.
func short(name string) string {
	for _, family := range []string{caep, risc, ssf, sse} {
		if last, ok := strings.CutPrefix(name, family); ok {
			return last
		}
	}
	return name
}

func bounded(text string) string {
	if len(text) > maxWord {
		text = text[:maxWord] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// words is a text, or one by language, of which English or any other is taken.
type words string

// UnmarshalJSON implements [json.Unmarshaler].
func (w *words) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*w = words(bounded(one))
		return nil
	}
	var many map[string]string
	if json.Unmarshal(data, &many) != nil {
		return nil //nolint:nilerr // what can't be read isn't worth refusing an event for
	}
	tags := make([]string, 0, len(many))
	for tag := range many {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	for _, tag := range tags {
		if *w == "" || tag == "en" {
			*w = words(bounded(many[tag]))
		}
	}
	return nil
}
