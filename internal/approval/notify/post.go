package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"postern"
)

// finalError says that trying again won't help.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// laterError says how long the peer wants to be left alone.
type laterError struct {
	err   error
	after time.Duration
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// newClient follows no redirects: they would carry a message, and a signature,
// to wherever they point.
func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout: attemptTime, ResponseHeaderTimeout: attemptTime, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post sends a body as JSON to a channel's address. sign adds headers to the
// request for the exact bytes that are sent.
func (s *Service) post(ctx context.Context, c *Channel, body any, sign func(http.Header, []byte) error) error {
	text, err := json.Marshal(body)
	if err != nil {
		return &finalError{err}
	}
	address, err := c.URL(ctx)
	if err != nil {
		return fmt.Errorf("the channel's url: %w", err)
	}
	return s.postTo(ctx, c, address, text, sign)
}

func (s *Service) postTo(ctx context.Context, c *Channel, address postern.Secret, text []byte, sign func(http.Header, []byte) error) error {
	u, err := peer(address.Reveal())
	if err != nil {
		return &finalError{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return &finalError{errors.New("the channel's url is none")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "postern")
	if sign != nil {
		if err := sign(req.Header, text); err != nil {
			return err
		}
	}
	resp, err := s.clients[c.Name].Do(req)
	if err != nil {
		// The address is a secret, and errors repeat it.
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("post to %s: %w", u.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	return judge(resp)
}

// peer checks an address: TLS, but for loopback.
func peer(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("the channel's url is none")
	}
	local := u.Hostname() == "localhost"
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		local = ip.IsLoopback()
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, errors.New("the channel's url is no https://")
	}
	return u, nil
}

// judge says what an answer means. What can be mended by waiting is tried again.
func judge(resp *http.Response) error {
	err := fmt.Errorf("the peer answered %s", resp.Status)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		seconds, parse := strconv.Atoi(resp.Header.Get("Retry-After"))
		if parse != nil || seconds < 0 {
			return err
		}
		return &laterError{err, time.Duration(min(seconds, 86400)) * time.Second}
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return err
	default:
		return &finalError{err}
	}
}
