package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"postern"
	"postern/internal/api"
)

// StreamError says why a stream ended before what it streams did.
type StreamError struct{ Reason string }

// Error is the gateway's own words.
func (e *StreamError) Error() string { return e.Reason }

// maxLine bounds one line of a stream, in bytes.
const maxLine = 256 << 20

// lines calls fn with each JSON line of a stream, without its end. The line
// holds until fn returns.
func (c *Client) lines(ctx context.Context, r request, fn func(line []byte) error) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as was wanted
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	for scanner.Scan() {
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue // it only shows that the stream lives
		}
		if err := checkLine(line); err != nil {
			return err
		}
		if err := fn(line); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err() // whatever the reader made of it
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("the stream broke off: %w", err)
	}
	return nil
}

// checkLine finds the line that ends a stream early.
func checkLine(line []byte) error {
	if !bytes.Contains(line, []byte(`"`+api.EventProblem+`"`)) {
		return nil
	}
	var head struct {
		Kind postern.EventKind `json:"kind"`
		Text string            `json:"text"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return errors.New("the stream has a line that is no JSON")
	}
	if head.Kind == api.EventProblem {
		return &StreamError{Reason: head.Text}
	}
	return nil
}

// copyText writes a text stream to w.
func (c *Client) copyText(ctx context.Context, r request, w io.Writer) error {
	r.method = http.MethodGet
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if _, err := io.Copy(w, resp.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the stream broke off: %w", err)
	}
	return nil
}
