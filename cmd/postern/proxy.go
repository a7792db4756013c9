package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"postern/internal/api/client"
)

func newProxyCommand(a *app) *cobra.Command {
	var port int
	var stdio bool
	cmd := &cobra.Command{
		Use:   "proxy RESOURCE [--port N | --stdio]",
		Short: "A local port for GUI tools, that enters as me",
		Long: "Listen on a port of 127.0.0.1, and enter the resource as you for whoever connects there: any user, any password. The\n" +
			"identity travels in mutual TLS (PostgreSQL), or by an SSH certificate (SSH, SFTP), by the login's key if a TPM has it,\n" +
			"else by one that this process makes and keeps to itself. Whoever can reach the port on this machine enters as you, so\n" +
			"stop it when you are done. With --stdio there is no port: one client is let in, on standard input and output, as\n" +
			"OpenSSH's ProxyCommand wants it.",
		Example: "  postern proxy orders-db --port 5432\n  psql 'host=127.0.0.1 port=5432 dbname=orders-db'\n" +
			"  postern proxy web-1 --port 2222\n  sftp -P 2222 127.0.0.1",
		Args: args(1, 1, "the RESOURCE to open"),
	}
	cmd.Flags().IntVar(&port, "port", 0, "the port to listen on; 0: any that is free")
	cmd.Flags().BoolVar(&stdio, "stdio", false, "let one client in, on standard input and output")
	cmd.MarkFlagsMutuallyExclusive("port", "stdio")
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if port < 0 || port > 65535 {
			return &usageError{err: fmt.Errorf("--port %d is no port", port)}
		}
		c, t, err := a.client()
		if err != nil {
			return err
		}
		defer c.Close()
		p, err := a.newProxy(cmd.Context(), c, t, given[0])
		if err != nil {
			return err
		}
		if stdio {
			return a.serveStdio(cmd.Context(), p.enters)
		}
		var lc net.ListenConfig
		l, err := lc.Listen(cmd.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err
		}
		a.ui.line("%s", l.Addr())
		a.ui.say("%s as %s, until Ctrl-C", given[0], p.user)
		return a.serveLocal(cmd.Context(), l, p.enters)
	}
	return cmd
}

// proxy enters one resource for local clients.
type proxy struct {
	a        *app
	c        *client.Client
	resource string
	user     string
	address  string
	enters   func(context.Context, net.Conn) error // for one local client, in its protocol
	tls      *tls.Config
	holder   holder

	sshServer *ssh.ServerConfig // how local clients of SSH are met; nil: it is another protocol

	mu       sync.Mutex
	cert     tls.Certificate
	sshEntry *ssh.ClientConfig // with the certificate, for SSH
	until    time.Time
}

func (a *app) newProxy(ctx context.Context, c *client.Client, t target, resource string) (*proxy, error) {
	all, err := c.Resources(ctx)
	if err != nil {
		return nil, err
	}
	p := &proxy{a: a, c: c, resource: resource}
	for _, r := range all {
		if r.Name != resource {
			continue
		}
		switch r.Type {
		case "postgres":
			p.enters = p.client
		case "ssh":
			p.enters = p.sshClient
			if p.sshServer, err = a.serveSSH(); err != nil {
				return nil, err
			}
		default:
			return nil, &usageError{err: fmt.Errorf("postern proxy speaks PostgreSQL and SSH, and %s is of type %s", resource, r.Type), hint: "try `postern connect " + resource + "`"}
		}
		p.address = net.JoinHostPort(r.Host, strconv.Itoa(r.Port))
		if p.tls, err = gatewayTLS(t, r.Host); err != nil {
			return nil, err
		}
	}
	if p.address == "" {
		return nil, &exitError{code: exitDenied, err: fmt.Errorf("there is no resource %s that you can reach; see `postern ls`", resource)}
	}
	if p.holder, err = a.holder(t); err != nil {
		return nil, err
	}
	return p, p.renew(ctx)
}

// gatewayTLS is how the gateway's PostgreSQL listener is entered.
func gatewayTLS(t target, host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, NextProtos: []string{"postgresql"}}
	if t.caFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(t.caFile)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	config.RootCAs.AppendCertsFromPEM(pem)
	return config, nil
}

// renew gets a certificate when there is none, or when it ends soon.
func (p *proxy) renew(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.a.now().Add(time.Minute).Before(p.until) {
		return nil
	}
	issued, err := p.holder.certify(ctx, p.c, p.resource)
	if err != nil {
		return err
	}
	p.user, p.until = issued.User, issued.ExpiresAt
	if p.sshServer != nil {
		return p.enterSSH(issued)
	}
	p.cert, err = p.holder.pair(issued)
	return err
}

// serveLocal takes local clients until ctx ends; enters serves one.
func (a *app) serveLocal(ctx context.Context, l net.Listener, enters func(context.Context, net.Conn) error) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		clients.Go(func() {
			defer func() { _ = conn.Close() }()
			if err := enters(ctx, conn); err != nil && ctx.Err() == nil {
				a.ui.say("a client: %v", err)
			}
		})
	}
}

// serveStdio takes the program that runs us as the one client. The pipe between
// can be closed, as standard input can't while it is read: that ends with us.
func (a *app) serveStdio(ctx context.Context, enters func(context.Context, net.Conn) error) error {
	local, std := net.Pipe()
	go func() {
		_, _ = io.Copy(std, a.ui.in) // its end is the client's
		_ = std.Close()
	}()
	said := make(chan struct{})
	go func() {
		defer close(said)
		_, _ = io.Copy(a.ui.out, std)
	}()
	err := enters(ctx, local)
	_ = local.Close()
	<-said
	return err
}

// client enters for one local client of PostgreSQL.
func (p *proxy) client(ctx context.Context, local net.Conn) error {
	first, err := startupOf(local)
	if err != nil || first == nil {
		return err
	}
	if err := p.renew(ctx); err != nil {
		return err
	}
	hello, err := p.enter(first)
	if err != nil {
		return err
	}
	p.mu.Lock()
	config := p.tls.Clone()
	config.Certificates = []tls.Certificate{p.cert}
	p.mu.Unlock()
	return carry(ctx, local, config, p.address, hello, nil)
}

// carry connects to the gateway, begins with hello, and carries everything both
// ways until either side ends. answer carries the beginning of what the gateway
// says; nil: it needs nothing of its own.
func carry(ctx context.Context, local net.Conn, config *tls.Config, address string, hello []byte, answer func(gateway io.Reader, local io.Writer) error) error {
	gateway, err := (&tls.Dialer{Config: config, NetDialer: &net.Dialer{Timeout: 10 * time.Second}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = gateway.Close() }()
	stop := context.AfterFunc(ctx, func() { _, _ = gateway.Close(), local.Close() })
	defer stop()
	if _, err := gateway.Write(hello); err != nil {
		return err
	}
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(gateway, local)
		_ = gateway.Close()
		up <- err
	}()
	if answer != nil {
		err = answer(gateway, local)
	}
	if err == nil {
		_, err = io.Copy(local, gateway)
	}
	_ = local.Close()
	if other := <-up; errors.Is(err, net.ErrClosed) {
		err = other
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Codes that stand in place of a protocol version in PostgreSQL's startup.
const (
	pgCancel = 80877102
	pgSSL    = 80877103
	pgGSS    = 80877104
)

// startupOf reads a local client's startup or cancel request. What it asks for
// before, TLS and GSSAPI, it is told that there is none: it is on this machine.
func startupOf(local net.Conn) ([]byte, error) {
	_ = local.SetReadDeadline(time.Now().Add(10 * time.Second)) // a connection that is over says so with the next read
	defer func() { _ = local.SetReadDeadline(time.Time{}) }()
	for range 3 {
		var head [4]byte
		if _, err := io.ReadFull(local, head[:]); err != nil {
			return nil, nil //nolint:nilerr // a client that only looks whether somebody listens
		}
		n := binary.BigEndian.Uint32(head[:])
		if n < 8 || n > 10000 {
			return nil, errors.New("it doesn't speak PostgreSQL")
		}
		body := make([]byte, n-4)
		if _, err := io.ReadFull(local, body); err != nil {
			return nil, err
		}
		if code := binary.BigEndian.Uint32(body); code != pgSSL && code != pgGSS {
			return body, nil
		}
		if _, err := local.Write([]byte{'N'}); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("it asks for encryption again and again")
}

// enter is what the gateway is told in place of a local client's startup
// message: who enters, and what they open. Cancel requests pass as they are.
func (p *proxy) enter(body []byte) ([]byte, error) {
	if binary.BigEndian.Uint32(body) == pgCancel {
		return framed(body), nil
	}
	var msg pgproto3.StartupMessage
	if err := msg.Decode(body); err != nil {
		return nil, err
	}
	database := msg.Parameters["database"]
	msg.Parameters["database"] = p.resource
	if rest, ok := strings.CutPrefix(database, p.resource); ok && strings.HasPrefix(rest, "/") {
		msg.Parameters["database"] = database // orders-db/reporting
	}
	msg.Parameters["user"] = p.user
	return msg.Encode(nil)
}

// framed is what startupOf read, as it was sent.
func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...) //nolint:gosec // bounded by startupOf
}
