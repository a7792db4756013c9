package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"postern/internal/api"
)

// sshHandshake is how long either side has to come to terms.
const sshHandshake = 10 * time.Second

// sshClient enters for one local SSH client: it is let in whatever it shows, as
// it is on this machine, and everything that it asks for is asked of the gateway,
// in the name of the certificate's owner.
func (p *proxy) sshClient(ctx context.Context, local net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = local.Close() })
	defer stop()
	_ = local.SetDeadline(time.Now().Add(sshHandshake)) // a connection that is over says so with the next read
	near, nearChannels, nearRequests, err := ssh.NewServerConn(local, p.sshServer)
	if err != nil {
		return nil //nolint:nilerr // a client that only looks whether somebody listens, or doesn't know the key yet
	}
	defer func() { _ = near.Close() }()
	_ = local.SetDeadline(time.Time{})
	far, farChannels, farRequests, err := p.sshGateway(ctx, near.User())
	if err != nil {
		return err
	}
	defer func() { _ = far.Close() }()
	var all sync.WaitGroup
	all.Go(func() { passRequests(far, nearRequests) })
	all.Go(func() { passRequests(near, farRequests) })
	all.Go(func() { passChannels(far, nearChannels) })
	all.Go(func() { passChannels(near, farChannels) })
	all.Go(func() {
		_ = far.Wait() // why is told to whoever waits for an answer
		_ = near.Close()
	})
	_ = near.Wait()
	_ = far.Close()
	all.Wait()
	return nil
}

// sshUser is the user name for the gateway. A local client may ask for a remote
// user in the gateway's own words, alice/deploy@web-1; every other name is none.
func (p *proxy) sshUser(local string) string {
	if strings.HasPrefix(local, p.user+"/") && strings.HasSuffix(local, "@"+p.resource) {
		return local
	}
	return p.user + "@" + p.resource
}

// sshGateway connects to the gateway, by its host certificate and our own, for a
// local client that calls itself local.
func (p *proxy) sshGateway(ctx context.Context, local string) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	fail := func(err error) (ssh.Conn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
		return nil, nil, nil, fmt.Errorf("enter %s: %w", p.resource, err)
	}
	if err := p.renew(ctx); err != nil {
		return fail(err)
	}
	p.mu.Lock()
	config := *p.sshEntry
	config.User = p.sshUser(local)
	p.mu.Unlock()
	dialer := net.Dialer{Timeout: sshHandshake}
	conn, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return fail(err)
	}
	_ = conn.SetDeadline(time.Now().Add(sshHandshake)) // as above
	far, channels, requests, err := ssh.NewClientConn(conn, p.address, &config)
	if err != nil {
		return fail(errors.Join(err, conn.Close()))
	}
	_ = conn.SetDeadline(time.Time{})
	return far, channels, requests, nil
}

// enterSSH is how the gateway is entered with an issued certificate, and by whose
// certificate it is known.
func (p *proxy) enterSSH(issued api.Certificates) error {
	signer, err := ssh.NewSignerFromKey(p.holder.key)
	if err != nil {
		return err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(issued.SSHCertificate))
	if err != nil {
		return fmt.Errorf("the gateway's SSH certificate: %w", err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return errors.New("the gateway's SSH certificate is none")
	}
	if signer, err = ssh.NewCertSigner(cert, signer); err != nil {
		return err
	}
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(issued.SSHHostCA))
	if err != nil {
		return fmt.Errorf("the gateway's SSH host CA: %w", err)
	}
	hosts := &ssh.CertChecker{IsHostAuthority: func(signed ssh.PublicKey, _ string) bool { return bytes.Equal(signed.Marshal(), ca.Marshal()) }}
	p.sshEntry = &ssh.ClientConfig{
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: hosts.CheckHostKey,
		HostKeyAlgorithms: []string{ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01},
		ClientVersion:     "SSH-2.0-postern-proxy", Timeout: sshHandshake,
	}
	return nil
}

// serveSSH is how local clients are met: with one host key for all runs, so that
// they can remember it.
func (a *app) serveSSH() (*ssh.ServerConfig, error) {
	key, err := a.proxyHostKey()
	if err != nil {
		return nil, fmt.Errorf("the proxy's host key: %w", err)
	}
	anybody := &ssh.Permissions{}
	config := &ssh.ServerConfig{
		NoClientAuth:      true,
		PasswordCallback:  func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return anybody, nil },
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return anybody, nil },
		ServerVersion:     "SSH-2.0-postern-proxy",
	}
	config.AddHostKey(key)
	return config, nil
}

// proxyHostKey is the host key of this person's proxies, beside their login. It
// opens nothing: it is only recognised.
func (a *app) proxyHostKey() (ssh.Signer, error) {
	at := a.credentials().path
	if at == "" {
		return nil, errors.New("neither HOME nor XDG_CONFIG_HOME is set")
	}
	file := filepath.Join(filepath.Dir(at), "proxy_host_key")
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		if text, err = newProxyHostKey(file); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return ssh.ParsePrivateKey(text)
}

// newProxyHostKey makes the key. Of two proxies that start at once, one keeps its
// own until it ends.
func newProxyHostKey(file string) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "postern proxy")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(block)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return text, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	return text, errors.Join(err, f.Close())
}

// asker is what a global request and one of a channel are sent to.
type asker interface {
	SendRequest(name string, wantReply bool, payload []byte) (bool, []byte, error)
}

// passRequests asks the other side what one side asks, in order.
func passRequests(to asker, requests <-chan *ssh.Request) {
	for r := range requests {
		ok, answer, err := to.SendRequest(r.Type, r.WantReply, r.Payload)
		if r.WantReply {
			_ = r.Reply(ok && err == nil, answer) // whoever asked may be gone
		}
	}
}

// channelAsker is a channel as an asker.
type channelAsker struct{ ssh.Channel }

func (c channelAsker) SendRequest(name string, wantReply bool, payload []byte) (bool, []byte, error) {
	ok, err := c.Channel.SendRequest(name, wantReply, payload)
	return ok, nil, err
}

// passChannels opens on the other side what one side opens, and carries it until
// both have ended it.
func passChannels(to ssh.Conn, channels <-chan ssh.NewChannel) {
	var all sync.WaitGroup
	defer all.Wait()
	for c := range channels {
		all.Go(func() { passChannel(to, c) })
	}
}

func passChannel(to ssh.Conn, c ssh.NewChannel) {
	far, farRequests, err := to.OpenChannel(c.ChannelType(), c.ExtraData())
	if err != nil {
		reason, words := ssh.ConnectionFailed, "the gateway is gone"
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			reason, words = refused.Reason, refused.Message
		}
		_ = c.Reject(reason, words) // whoever asked may be gone
		return
	}
	near, nearRequests, err := c.Accept()
	if err != nil {
		_ = far.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { passOneWay(far, near, nearRequests) })
	both.Go(func() { passOneWay(near, far, farRequests) })
	both.Wait()
}

// passOneWay carries what one end of a channel sends, and closes the other end
// once it has closed.
func passOneWay(to, from ssh.Channel, requests <-chan *ssh.Request) {
	var data, end sync.WaitGroup
	data.Go(func() { _, _ = io.Copy(to, from) }) // its end is told below
	data.Go(func() { _, _ = io.Copy(to.Stderr(), from.Stderr()) })
	end.Go(func() {
		data.Wait()
		_ = to.CloseWrite()
	})
	passRequests(channelAsker{to}, requests)
	end.Wait()
	_ = to.Close()
}
