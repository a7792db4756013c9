package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern"
	"postern/internal/approval"
)

const (
	// SlackPath is below which clicks come in: SlackPath + the channel's name.
	SlackPath = "/integrations/slack/"
	// slackWindow is how far a click's time may be from ours, as Slack advises.
	slackWindow = 5 * time.Minute
	maxClick    = 128 << 10 // bytes
)

// click is what matters of Slack's block_actions payload.
type click struct {
	Type string `json:"type"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Team struct {
		ID string `json:"id"`
	} `json:"team"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		ID    string `json:"action_id"`
		Value string `json:"value"`
	} `json:"actions"`
}

// Clicks serves POST [SlackPath] + NAME: the request URL of a Slack app's
// interactivity. What isn't signed with the channel's secret, is older than
// five minutes, or was seen before, is refused without a word of why.
func (s *Service) Clicks() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.channel(strings.TrimPrefix(r.URL.Path, SlackPath))
		if c == nil || c.Kind != Slack || c.Secret == nil {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodPost {
			http.Error(w, "POST only", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxClick))
		if err == nil {
			err = s.verify(r.Context(), c, r.Header, body)
		}
		var got click
		if err == nil {
			got, err = readClick(r.Header.Get("Content-Type"), body)
		}
		if err != nil {
			s.cfg.Count(c.Name, "refused")
			s.cfg.Log.Warn("message to a Slack channel's address refused", "channel", c.Name, "source", r.RemoteAddr, "cause", err)
			http.Error(w, "refused", http.StatusUnauthorized)
			return
		}
		// Slack wants an answer within three seconds, and shows no text of it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 2500*time.Millisecond)
		defer cancel()
		text := s.clicked(ctx, c, got)
		w.WriteHeader(http.StatusOK)
		if text == "" {
			return
		}
		select {
		case s.replies <- reply{c, got.ResponseURL, text}:
		default: // the click has done what it did; only its answer is lost
			s.cfg.Log.Warn("answer to a click not sent: too many wait", "channel", c.Name)
		}
	})
}

// verify checks a message's signature as Slack defines it, version 0, its time,
// and that it comes for the first time.
func (s *Service) verify(ctx context.Context, c *Channel, h http.Header, body []byte) error {
	secret, err := c.Secret(ctx)
	if err != nil {
		return fmt.Errorf("the signing secret: %w", err)
	}
	if secret.IsZero() {
		return errors.New("the signing secret is empty")
	}
	stamp := h.Get("X-Slack-Request-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("it has no time")
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	_, _ = mac.Write([]byte("v0:" + stamp + ":")) // a hash never returns an error
	_, _ = mac.Write(body)
	want := "v0=" + hex.EncodeToString(mac.Sum(nil))
	if !hmac.Equal([]byte(want), []byte(h.Get("X-Slack-Signature"))) {
		return errors.New("its signature isn't the channel's")
	}
	now := s.cfg.Now()
	if age := now.Sub(time.Unix(seconds, 0)); age > slackWindow || age < -slackWindow {
		return errors.New("it is stale")
	}
	first, err := s.cfg.Store.SeeOnce(ctx, "slack "+want, now)
	if err == nil && !first {
		err = errors.New("it came before")
	}
	return err
}

func readClick(contentType string, body []byte) (click, error) {
	if kind, _, _ := strings.Cut(contentType, ";"); strings.TrimSpace(kind) != "application/x-www-form-urlencoded" {
		return click{}, errors.New("it is no form")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return click{}, errors.New("it is no form")
	}
	var got click
	if err := json.Unmarshal([]byte(form.Get("payload")), &got); err != nil {
		return click{}, errors.New("its payload is no JSON")
	}
	return got, nil
}

// clicked does what a click asks for, and words the answer for whoever clicked.
func (s *Service) clicked(ctx context.Context, c *Channel, got click) string {
	if got.Type != "block_actions" {
		return ""
	}
	for _, a := range got.Actions {
		if a.ID != actionApprove && a.ID != actionDeny {
			continue // a link was followed
		}
		if c.Team != "" && got.Team.ID != c.Team {
			s.cfg.Log.Warn("click from another Slack workspace", "channel", c.Name, "team", got.Team.ID)
			return "This workspace may not decide here."
		}
		id, digest, ok := strings.Cut(a.Value, "|")
		if !ok {
			return "This button isn't one of ours."
		}
		return s.vote(ctx, c, got.User.ID, id, digest, a.ID == actionApprove)
	}
	return ""
}

func (s *Service) vote(ctx context.Context, c *Channel, user, id, digest string, approve bool) string {
	ref, ok := c.People[user]
	if !ok {
		s.cfg.Log.Warn("click of an unknown Slack user", "channel", c.Name, "user", user, "review", id)
		return "Postern doesn't know you here. Ask an administrator to add your Slack user " + user + " to the channel, or decide with `postern review approve " + id + "`."
	}
	by, err := s.cfg.Identity(ctx, ref)
	if err != nil {
		s.cfg.Log.Warn("click of somebody who may not act", "channel", c.Name, "identity", ref, "review", id, "cause", err)
		return "Your identity at Postern, " + ref + ", may not act now."
	}
	rv, err := s.cfg.Store.Review(ctx, id)
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return "There is no such review."
	case err != nil:
		s.cfg.Log.Error("review not read", "review", id, "error", err)
		return "That could not be done now; try `postern review show " + id + "`."
	case !hmac.Equal([]byte(rv.Digest), []byte(digest)):
		return "This button is for something else than what waits now."
	}
	rv, err = s.cfg.Cast(ctx, id, by, postern.Ballot{Approve: approve, Reason: "in Slack, through " + c.Name})
	switch {
	case errors.Is(err, approval.ErrNotApprover), errors.Is(err, approval.ErrDecided), errors.Is(err, approval.ErrInvalid):
		return "Not done: " + err.Error() + "."
	case err != nil:
		s.cfg.Log.Error("vote from Slack failed", "review", id, "error", err)
		return "That could not be done now; try `postern review show " + id + "`."
	case rv.State == postern.ReviewPending:
		return "Your approval counts; more are needed."
	}
	return "Done: " + id + " is " + string(rv.State) + "."
}

// reply is an answer to a click.
type reply struct {
	channel       *Channel
	address, text string
}

// reply answers whoever clicked, at the address that came with the click. It
// has to be where the channel is: a signed message can't make us call elsewhere.
func (s *Service) reply(ctx context.Context, c *Channel, address, text string) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	ours, err := c.URL(ctx)
	if err != nil {
		return
	}
	home, err := peer(ours.Reveal())
	if err != nil {
		return
	}
	if u, err := peer(address); err != nil || u.Host != home.Host || u.Scheme != home.Scheme {
		return
	}
	body, err := json.Marshal(object{"response_type": "ephemeral", "replace_original": false, "text": mrkdwnEscaper().Replace(text)})
	if err == nil {
		err = s.postTo(ctx, c, postern.NewSecret(address), body, nil)
	}
	if err != nil {
		s.cfg.Log.Warn("answer to a click not sent", "channel", c.Name, "error", err)
	}
}
