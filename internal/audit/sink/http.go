package sink

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"postern"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// Poster posts. It follows no redirect, which would carry entries to who was never named.
type Poster struct{ client *http.Client }

// NewPoster makes a poster. tls may be nil.
func NewPoster(config *tls.Config) *Poster {
	return &Poster{client: &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Post sends a body, and returns the answer's when its status is 2xx.
func (p *Poster) Post(ctx context.Context, url string, header http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	err = errors.Join(err, res.Body.Close())
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("it answered %s", res.Status)
	}
	return answer, err
}

// Close closes idle connections.
func (p *Poster) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// Sign adds the headers of Standard Webhooks (standardwebhooks.com): an id that
// stays the same when it is sent again, the time, and an HMAC-SHA256 over id,
// time and body.
func Sign(header http.Header, key postern.Secret, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	_, _ = mac.Write([]byte(id + "." + stamp + ".")) // a hash never returns an error
	_, _ = mac.Write(body)
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", stamp)
	header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// Webhook posts entries as JSON lines, signed.
type Webhook struct {
	*Poster
	Name   string
	URL    string
	Key    postern.Secret
	Now    func() time.Time
	Format Format
}

// Deliver implements [Sink].
func (w *Webhook) Deliver(ctx context.Context, records []postern.AuditRecord) error {
	var body bytes.Buffer
	for i := range records {
		line, err := w.Format(&records[i])
		if err != nil {
			return err
		}
		body.Write(line)
		body.WriteByte('\n')
	}
	header := http.Header{"Content-Type": {"application/jsonl"}}
	id := fmt.Sprintf("%s-%d-%d", w.Name, records[0].Seq, records[len(records)-1].Seq)
	Sign(header, w.Key, id, w.Now(), body.Bytes())
	_, err := w.Post(ctx, w.URL, header, body.Bytes())
	return err
}
