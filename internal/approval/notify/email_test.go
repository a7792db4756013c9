package notify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"postern"
	"postern/internal/approval/notify"
)

// mailbox is a foreign mail server, which keeps what it is given.
type mailbox struct {
	mu       sync.Mutex
	letters  []string
	to       []string
	password string
	refuse   error // every recipient
	secure   []bool
}

func (m *mailbox) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	return &letterbox{box: m, secure: secure}, nil
}

type letterbox struct {
	box      *mailbox
	secure   bool
	signedIn bool
}

func (l *letterbox) AuthMechanisms() []string { return []string{sasl.Plain} }

func (l *letterbox) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "postern" || password != l.box.password {
			return smtp.ErrAuthFailed
		}
		l.signedIn = true
		return nil
	}), nil
}

func (l *letterbox) Mail(string, *smtp.MailOptions) error {
	if l.box.password != "" && !l.signedIn {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (l *letterbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	if l.box.refuse != nil {
		return l.box.refuse
	}
	l.box.to = append(l.box.to, to)
	return nil
}

func (l *letterbox) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	l.box.letters, l.box.secure = append(l.box.letters, string(text)), append(l.box.secure, l.secure)
	return err
}

func (l *letterbox) Reset()        {}
func (l *letterbox) Logout() error { return nil }

// serveMail runs the server, with STARTTLS, with TLS from the first byte, or
// with none, and returns its address.
func serveMail(t *testing.T, box *mailbox, kind string) (port int, roots *x509.CertPool) {
	t.Helper()
	cert, roots := certificate(t)
	server := smtp.NewServer(box)
	server.Domain, server.AllowInsecureAuth = "localhost", false
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	switch kind {
	case notify.MailStartTLS:
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	case notify.MailImplicit:
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // it returns when it is closed, which is an error to it
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port, roots //nolint:forcetypeassert // a TCP listener's
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ok(t, err)
	parsed, err := x509.ParseCertificate(der)
	ok(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func mailChannel(port int, roots *x509.CertPool, kind string) notify.Channel {
	return notify.Channel{Name: "mail", Kind: notify.Email, Mail: notify.Mail{
		Host: "localhost", Port: port, TLS: kind, From: "Postern <postern@example.com>", To: []string{"dba@example.com", "oncall@example.com"},
		Username: "postern", Password: secret("mail password"), Roots: roots,
	}}
}

func TestEmail(t *testing.T) {
	for _, kind := range []string{notify.MailStartTLS, notify.MailImplicit} {
		t.Run(kind, func(t *testing.T) {
			box := &mailbox{password: "mail password"}
			port, roots := serveMail(t, box, kind)
			d := newDesk(t, mailChannel(port, roots, kind))
			rv := review("rv_1", d.now)
			rv.Resource = "orders\r\nBcc: eve@example.com\r\n\r\ndb"
			d.submit(t, rv)
			if len(box.letters) != 1 || !box.secure[0] || strings.Join(box.to, ",") != "dba@example.com,oncall@example.com" {
				t.Fatalf("%q to %q, %s", box.letters, box.to, d.log.String())
			}
			letter, err := mail.ReadMessage(strings.NewReader(box.letters[0]))
			ok(t, err)
			body, err := io.ReadAll(letter.Body)
			ok(t, err)
			for _, want := range []string{"https://gw.example/reviews/rv_1", "postern review show rv_1", "public.cards"} {
				if !strings.Contains(string(body), want) {
					t.Errorf("the letter lacks %q: %s", want, body)
				}
			}
			if letter.Header.Get("Bcc") != "" || letter.Header.Get("Auto-Submitted") != "auto-generated" || letter.Header.Get("Message-Id") == "" {
				t.Errorf("%v", letter.Header)
			}
			if strings.Contains(box.letters[0], secretValue) || strings.Contains(box.letters[0], "a parameter") {
				t.Errorf("the letter tells too much: %s", box.letters[0])
			}
		})
	}
}

// Nothing is said to a server that offers no TLS, or whose certificate isn't
// its own; a wrong password is tried again; a recipient that there isn't is not.
func TestEmailRefused(t *testing.T) {
	box := &mailbox{}
	plainPort, _ := serveMail(t, box, notify.MailPlain)
	port, roots := serveMail(t, box, notify.MailStartTLS)
	refusing := &mailbox{password: "mail password", refuse: &smtp.SMTPError{Code: 550, Message: "no such user"}}
	refusingPort, refusingRoots := serveMail(t, refusing, notify.MailStartTLS)
	locked := &mailbox{password: "another"}
	lockedPort, lockedRoots := serveMail(t, locked, notify.MailStartTLS)
	away := mailChannel(25, nil, notify.MailPlain)
	away.Mail.Host = "mail.example"
	for name, c := range map[string]struct {
		channel notify.Channel
		state   string
	}{
		"no TLS":           {mailChannel(plainPort, roots, notify.MailStartTLS), postern.NotificationQueued},
		"another's":        {mailChannel(port, x509.NewCertPool(), notify.MailStartTLS), postern.NotificationQueued},
		"wrong password":   {mailChannel(lockedPort, lockedRoots, notify.MailStartTLS), postern.NotificationQueued},
		"no such user":     {mailChannel(refusingPort, refusingRoots, notify.MailStartTLS), postern.NotificationDead},
		"far and in clear": {away, postern.NotificationDead},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, c.channel)
			d.submit(t, review("rv_1", d.now))
			all, err := d.db.Notifications(t.Context(), "", 0)
			ok(t, err)
			if len(all) != 1 || all[0].State != c.state || all[0].Problem == "" {
				t.Errorf("%+v", all)
			}
			if strings.Contains(all[0].Problem+d.log.String(), "mail password") {
				t.Error("the password is in the problem or the log")
			}
		})
	}
	if n := len(box.letters) + len(refusing.letters) + len(locked.letters); n != 0 {
		t.Errorf("%d letters were delivered", n)
	}
}
