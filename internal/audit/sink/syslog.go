package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"postern"
)

// Syslog sends messages of RFC 5424 over TLS (RFC 5425). The protocol has no
// acknowledgement: what a collector that breaks off had not read yet of the
// last batch is known to be lost only when the connection tells before the batch
// is sent, and is sent again then.
type Syslog struct {
	Address string
	TLS     *tls.Config
	Host    string // this machine's name
	Format  Format

	conn   net.Conn
	broken chan struct{} // closed when the collector has closed the connection
}

// facility is "log audit".
const facility = 13

// Severities.
const (
	critical      = 2
	warning       = 4
	informational = 6
)

// Deliver implements [Sink].
func (s *Syslog) Deliver(ctx context.Context, records []postern.AuditRecord) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	var text []byte
	for i := range records {
		message, err := s.message(&records[i])
		if err != nil {
			return err
		}
		text = append(strconv.AppendInt(text, int64(len(message)), 10), ' ')
		text = append(text, message...)
	}
	deadline, _ := ctx.Deadline()
	err := s.conn.SetWriteDeadline(deadline)
	if err == nil {
		_, err = s.conn.Write(text)
	}
	if err != nil {
		return errors.Join(err, s.Close())
	}
	return nil
}

func (s *Syslog) connect(ctx context.Context) error {
	if s.conn != nil {
		select {
		case <-s.broken:
			_ = s.Close() // it is closed already
		default:
			return nil
		}
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}, Config: s.TLS}
	conn, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("connect to syslog: %w", err)
	}
	broken := make(chan struct{})
	go func() { // it ends with the connection
		defer close(broken)
		_, _ = io.Copy(io.Discard, conn) // a collector says nothing
	}()
	s.conn, s.broken = conn, broken
	return nil
}

// message is one, without its length.
func (s *Syslog) message(r *postern.AuditRecord) ([]byte, error) {
	body, err := s.Format(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>1 %s %s postern %d %s [meta sequenceId=\"%d\"] ", facility*8+severity(r), r.Time.UTC().Format("2006-01-02T15:04:05.000000Z07:00"),
		printable(s.Host, 255), os.Getpid(), printable(r.Action, 32), (r.Seq-1)%(1<<31-1)+1)
	b.WriteString("\xEF\xBB\xBF") // what follows is UTF-8
	b.Write(body)
	return b.Bytes(), nil
}

func severity(r *postern.AuditRecord) int {
	switch {
	case r.Action == "audit.outage" || r.Action == "recording.damaged":
		return critical
	case r.Outcome == "deny" || r.Outcome == "refused" || r.Outcome == "failed":
		return warning
	default:
		return informational
	}
}

// printable is a header's field: printing US-ASCII without spaces, or "-".
func printable(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), n)]
}

// Close implements [Sink].
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	<-s.broken
	s.conn = nil
	return err
}
