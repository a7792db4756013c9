package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern"
)

// event is the body of a webhook. Its shape follows the Standard Webhooks
// specification: type, timestamp, data.
type event struct {
	Type      string  `json:"type"` // "review.submitted"
	Timestamp string  `json:"timestamp"`
	Data      Message `json:"data"`
}

const secretPrefix = "whsec_"

// webhookKey is the key that signs webhooks: what follows "whsec_" is base64,
// anything else is the key itself. Standard Webhooks asks for 24 bytes at least.
func webhookKey(secret postern.Secret) ([]byte, error) {
	text := secret.Reveal()
	key := []byte(text)
	if encoded, ok := strings.CutPrefix(text, secretPrefix); ok {
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, errors.New("the webhook's secret is no base64 behind whsec_")
		}
		key = decoded
	}
	if len(key) < 24 {
		return nil, errors.New("the webhook's secret has less than 24 bytes")
	}
	return key, nil
}

// webhook sends a message signed as Standard Webhooks 1.0 has it. The id is the
// notification's, the same at every attempt, so that the receiver can tell a
// repetition.
func (s *Service) webhook(ctx context.Context, c *Channel, n postern.Notification, m Message) error {
	if c.Secret == nil {
		return &finalError{errors.New("the webhook has no secret to sign with")}
	}
	secret, err := c.Secret(ctx)
	if err != nil {
		return fmt.Errorf("the webhook's secret: %w", err)
	}
	key, err := webhookKey(secret)
	if err != nil {
		return &finalError{err}
	}
	body := event{Type: "review." + m.Step, Timestamp: m.At.Format(time.RFC3339Nano), Data: m}
	return s.post(ctx, c, body, func(h http.Header, text []byte) error {
		id, at := fmt.Sprintf("msg_%s_%d", c.Name, n.ID), strconv.FormatInt(s.cfg.Now().Unix(), 10)
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(id + "." + at + ".")) // a hash never returns an error
		_, _ = mac.Write(text)
		// These are the specification's own names, and case doesn't count.
		h.Set("Webhook-Id", id)
		h.Set("Webhook-Timestamp", at)
		h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return nil
	})
}
