package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/wneessen/go-mail"

	"postern"
)

// How a mail server is spoken to.
const (
	MailStartTLS = "starttls" // TLS before anything is said; refused by a server without it
	MailImplicit = "implicit" // TLS from the first byte
	MailPlain    = "none"     // on loopback only
)

// Mail says through which server, from whom and to whom letters go.
type Mail struct {
	Host, TLS string
	Port      int
	From      string
	To        []string
	Username  string // "": none is presented
	Password  func(context.Context) (postern.Secret, error)
	Roots     *x509.CertPool
}

// send sends a message as plain text.
func (m *Mail) send(ctx context.Context, msg Message) error {
	letter, err := m.letter(msg)
	if err != nil {
		return &finalError{err}
	}
	client, err := m.client(ctx)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, letter); err != nil {
		var sent *mail.SendError
		if errors.As(err, &sent) && !sent.IsTemp() && permanent(sent) {
			return &finalError{fmt.Errorf("mail server: %w", err)}
		}
		return fmt.Errorf("mail server: %w", err)
	}
	return nil
}

// permanent says whether the server refused a letter for good: who it is from
// or for, or what is in it.
func permanent(err *mail.SendError) bool {
	switch err.Reason {
	case mail.ErrSMTPMailFrom, mail.ErrSMTPRcptTo, mail.ErrGetSender, mail.ErrGetRcpts, mail.ErrNoUnencoded:
		return true
	}
	return false
}

func (m *Mail) letter(msg Message) (*mail.Msg, error) {
	letter := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := letter.From(m.From); err != nil {
		return nil, fmt.Errorf("the sender's address: %w", err)
	}
	if err := letter.To(m.To...); err != nil {
		return nil, fmt.Errorf("a recipient's address: %w", err)
	}
	letter.Subject(strings.Join(strings.Fields(msg.Title), " "))
	letter.SetDate()
	letter.SetMessageID()
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody answers for their holidays
	if msg.Urgent {
		letter.SetImportance(mail.ImportanceHigh)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", msg.Title)
	for _, f := range msg.Facts {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	if msg.Shown != "" {
		b.WriteString("\n")
		for line := range strings.Lines(msg.Shown) {
			b.WriteString("> " + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	if msg.Open {
		fmt.Fprintf(&b, "\nTo decide, sign in at\n%s\nor run\npostern review show %s\n", msg.URL, msg.Review)
	} else {
		fmt.Fprintf(&b, "\n%s\n", msg.URL)
	}
	letter.SetBodyString(mail.TypeTextPlain, b.String())
	return letter, nil
}

func (m *Mail) client(ctx context.Context) (*mail.Client, error) {
	options := []mail.Option{
		mail.WithTimeout(attemptTime),
		mail.WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.Roots, ServerName: m.Host}),
	}
	switch m.TLS {
	case MailImplicit:
		options = append(options, mail.WithSSL())
	case MailPlain:
		if ip, err := netip.ParseAddr(m.Host); m.Host != "localhost" && (err != nil || !ip.IsLoopback()) {
			return nil, &finalError{errors.New("a mail server without TLS is spoken to on loopback only")}
		}
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if m.Port != 0 {
		options = append(options, mail.WithPort(m.Port))
	}
	if m.Username != "" {
		password, err := m.Password(ctx)
		if err != nil {
			return nil, fmt.Errorf("the mail server's password: %w", err)
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.Username), mail.WithPassword(password.Reveal()))
	}
	client, err := mail.NewClient(m.Host, options...)
	if err != nil {
		return nil, &finalError{fmt.Errorf("mail server: %w", err)}
	}
	return client, nil
}
