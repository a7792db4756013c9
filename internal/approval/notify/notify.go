// Package notify takes word of reviews to where people are: Slack, Microsoft
// Teams, signed webhooks and e-mail. What is to be sent is stored first, sent at
// least once, tried again with growing pauses, and kept as a dead letter when
// all of that was in vain.
//
// A message approves nothing: links lead to pages and commands that want to know
// who is there. The one way back is a click in Slack, which is signed, counts
// once, and is the vote of the identity that the configuration knows the Slack
// user as, checked like any other vote.
package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"postern"
	"postern/internal/approval"
)

// The kinds of channel.
const (
	Slack   = "slack"
	Teams   = "teams"
	Webhook = "webhook"
	Email   = "email"
)

// Channel is one place where people are told.
type Channel struct {
	Name string
	Kind string
	// For picks reviews that one of these may decide; empty: all.
	For []postern.Principal
	// Steps that it is told of; empty: [DefaultSteps].
	Steps []approval.Step
	// ShowCommands lets the texts of commands leave for this channel. Their
	// parameters never do.
	ShowCommands bool

	// URL of Slack, Teams and webhooks; whoever knows it can write there.
	URL func(context.Context) (postern.Secret, error)
	// Secret signs webhooks, and Slack's answers.
	Secret func(context.Context) (postern.Secret, error)
	// Roots check the peer's certificate; nil: the system's.
	Roots *x509.CertPool
	// Team is the only Slack workspace whose clicks count; "": any that has the secret.
	Team string
	// People are the identities ("user:dora") of Slack's user ids.
	People map[string]string

	Mail Mail
}

// DefaultSteps are those that a channel is told of when it doesn't say.
func DefaultSteps() []approval.Step {
	return []approval.Step{
		approval.Submitted, approval.Approved, approval.Denied, approval.TimedOut, approval.Revoked, approval.LookedOver,
	}
}

// Store keeps notifications. *store.DB is one.
type Store interface {
	AddNotification(context.Context, postern.Notification) error
	ClaimNotifications(ctx context.Context, now, until time.Time, n int) ([]postern.Notification, error)
	SettleNotification(context.Context, postern.Notification) error
	ForgetNotifications(ctx context.Context, before time.Time) error
	// SeeOnce says whether a message is seen for the first time.
	SeeOnce(ctx context.Context, digest string, at time.Time) (bool, error)
	Reviews(context.Context, postern.ReviewFilter) ([]postern.Review, error)
	Review(ctx context.Context, id string) (postern.Review, error)
}

// Config is what a Service is made of. All is required but what says otherwise.
type Config struct {
	Channels []Channel
	Store    Store
	// ReviewURL is where a review can be looked at and decided.
	ReviewURL func(id string) string
	// Identity is whom a reference ("user:dora") stands for now, with today's
	// groups; an error when they may not act.
	Identity func(ctx context.Context, ref string) (postern.Identity, error)
	// Cast casts a vote.
	Cast func(ctx context.Context, id string, by postern.Identity, b postern.Ballot) (postern.Review, error)
	Now  func() time.Time
	Log  *slog.Logger
	// Count is told of each attempt: sent, failed, dead or lost. nil: nobody counts.
	Count func(channel, outcome string)
}

// Service tells people. Its methods may be called from several goroutines.
type Service struct {
	cfg     Config
	clients map[string]*http.Client
	told    chan told
	replies chan reply
}

type told struct {
	step approval.Step
	rv   postern.Review
}

const (
	// waiting is how many steps may wait to be stored. A pending review that
	// doesn't get that far is found at the next start.
	waiting = 1024
	// attemptTime bounds one attempt.
	attemptTime = 15 * time.Second
	// look is how often the store is asked for what is due.
	look = time.Second
	// batch is how many are sent in one round.
	batch = 20
	// kept is how long what was sent is remembered.
	kept = 7 * 24 * time.Hour
)

// pauses are those between attempts; after the last the letter is dead.
func pauses() []time.Duration {
	return []time.Duration{
		time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour,
	}
}

// New makes a Service, or says what is wrong with a channel.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.ReviewURL == nil || cfg.Identity == nil || cfg.Cast == nil || cfg.Now == nil || cfg.Log == nil {
		return nil, errors.New("notify: a part of the configuration is missing")
	}
	if cfg.Count == nil {
		cfg.Count = func(string, string) {}
	}
	s := &Service{cfg: cfg, clients: map[string]*http.Client{}, told: make(chan told, waiting), replies: make(chan reply, waiting)}
	for i := range cfg.Channels {
		c := &cfg.Channels[i]
		if s.clients[c.Name] != nil {
			return nil, fmt.Errorf("notify: two channels are named %s", c.Name)
		}
		s.clients[c.Name] = newClient(c.Roots)
	}
	return s, nil
}

// Tell takes note of a step. It doesn't wait.
func (s *Service) Tell(step approval.Step, rv postern.Review) {
	if len(s.cfg.Channels) == 0 || step == approval.Approved && rv.State == postern.ReviewPending {
		return // of several approvals, the one that was enough is told
	}
	select {
	case s.told <- told{step, rv}:
	default:
		s.cfg.Count("", "lost")
		s.cfg.Log.Error("people aren't told of a review: too many wait to be told of", "review", rv.ID, "step", string(step))
	}
}

// wants says whether a channel is told of a step.
func (c *Channel) wants(step approval.Step, rv postern.Review) bool {
	steps := c.Steps
	if len(steps) == 0 {
		steps = DefaultSteps()
	}
	if !slices.Contains(steps, step) {
		return false
	}
	if len(c.For) == 0 || rv.Request != nil && rv.Request.BreakGlass {
		return true // an emergency is told everywhere
	}
	return slices.ContainsFunc(rv.Approvers, func(p postern.Principal) bool { return p == "everyone" || slices.Contains(c.For, p) })
}

// Run stores and sends until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if len(s.cfg.Channels) == 0 {
		return nil
	}
	var answers sync.WaitGroup
	answers.Go(func() { s.answer(ctx) })
	defer answers.Wait()
	s.catchUp(ctx)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for round := 0; ; round++ {
		s.deliver(ctx)
		if round%3600 == 0 {
			if err := s.cfg.Store.ForgetNotifications(ctx, s.cfg.Now().Add(-kept)); err != nil && ctx.Err() == nil {
				s.cfg.Log.Warn("old notifications not removed", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case t := <-s.told:
			s.store(ctx, t)
			s.storeAll(ctx)
		case <-tick.C:
		}
	}
}

// answer sends the answers to clicks until ctx ends.
func (s *Service) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.replies:
			s.reply(ctx, r.channel, r.address, r.text)
		}
	}
}

// catchUp finds the reviews that wait and of which nobody was told: the process
// that should have ended before it could.
func (s *Service) catchUp(ctx context.Context) {
	list, err := s.cfg.Store.Reviews(ctx, postern.ReviewFilter{State: postern.ReviewPending, Limit: 1000})
	if err != nil {
		s.cfg.Log.Warn("pending reviews not read", "error", err)
	}
	for _, rv := range list {
		if rv.ExpiresAt.After(s.cfg.Now()) {
			s.store(ctx, told{approval.Submitted, rv})
		}
	}
}

// storeAll stores what else waits.
func (s *Service) storeAll(ctx context.Context) {
	for range waiting {
		select {
		case t := <-s.told:
			s.store(ctx, t)
		default:
			return
		}
	}
}

func (s *Service) store(ctx context.Context, t told) {
	for i := range s.cfg.Channels {
		c := &s.cfg.Channels[i]
		if !c.wants(t.step, t.rv) {
			continue
		}
		body, err := json.Marshal(message(t.step, t.rv, s.cfg.ReviewURL(t.rv.ID), c.ShowCommands, s.cfg.Now()))
		if err == nil {
			now := s.cfg.Now()
			err = s.cfg.Store.AddNotification(ctx, postern.Notification{
				Channel: c.Name, Review: t.rv.ID, Step: string(t.step), NextAt: now, CreatedAt: now, Body: body,
			})
		}
		if err != nil {
			s.cfg.Count(c.Name, "lost")
			s.cfg.Log.Error("notification not stored", "channel", c.Name, "review", t.rv.ID, "error", err)
		}
	}
}

// deliver sends what is due, each in its own time.
func (s *Service) deliver(ctx context.Context) {
	now := s.cfg.Now()
	due, err := s.cfg.Store.ClaimNotifications(ctx, now, now.Add(2*attemptTime), batch)
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Log.Warn("notifications not read", "error", err)
		}
		return
	}
	done := make(chan struct{}, len(due))
	for _, n := range due {
		go func() {
			defer func() { done <- struct{}{} }()
			s.attempt(ctx, n)
		}()
	}
	for range due {
		<-done
	}
}

// attempt sends one notification, and writes down how it went.
func (s *Service) attempt(ctx context.Context, n postern.Notification) {
	sending, cancel := context.WithTimeout(ctx, attemptTime)
	err := s.send(sending, n)
	cancel()
	if ctx.Err() != nil {
		return // it is due again once its claim has ended
	}
	var final *finalError
	switch {
	case err == nil:
		n.State, n.Problem, n.NextAt = postern.NotificationSent, "", time.Time{}
		s.cfg.Count(n.Channel, "sent")
	case errors.As(err, &final), n.Attempts > len(pauses()):
		n.State, n.Problem, n.NextAt = postern.NotificationDead, cut(err.Error(), 500), time.Time{}
		s.cfg.Count(n.Channel, "dead")
		s.cfg.Log.Error("notification given up", "channel", n.Channel, "review", n.Review, "notification", n.ID, "attempts", n.Attempts, "error", err)
	default:
		pause := pauses()[n.Attempts-1]
		var later *laterError
		if errors.As(err, &later) {
			pause = max(pause, min(later.after, time.Hour))
		}
		n.State, n.Problem, n.NextAt = postern.NotificationQueued, cut(err.Error(), 500), s.cfg.Now().Add(pause)
		s.cfg.Count(n.Channel, "failed")
		s.cfg.Log.Warn("notification failed, and is tried again", "channel", n.Channel, "review", n.Review, "in", pause, "error", err)
	}
	if err := s.cfg.Store.SettleNotification(context.WithoutCancel(ctx), n); err != nil {
		s.cfg.Log.Error("notification not settled: it may be sent again", "notification", n.ID, "error", err)
	}
}

func (s *Service) channel(name string) *Channel {
	for i := range s.cfg.Channels {
		if s.cfg.Channels[i].Name == name {
			return &s.cfg.Channels[i]
		}
	}
	return nil
}

// send words a message for its channel, and sends it.
func (s *Service) send(ctx context.Context, n postern.Notification) error {
	c := s.channel(n.Channel)
	if c == nil {
		return &finalError{errors.New("the channel isn't configured any more")}
	}
	var m Message
	if err := json.Unmarshal(n.Body, &m); err != nil {
		return &finalError{fmt.Errorf("read the message: %w", err)}
	}
	switch c.Kind {
	case Slack:
		return s.post(ctx, c, slackMessage(m, c.Secret != nil), nil)
	case Teams:
		return s.post(ctx, c, teamsMessage(m), nil)
	case Webhook:
		return s.webhook(ctx, c, n, m)
	case Email:
		return c.Mail.send(ctx, m)
	}
	return &finalError{fmt.Errorf("%q is no kind of channel", c.Kind)}
}
