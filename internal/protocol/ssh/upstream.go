package ssh

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"postern"
	"postern/internal/gate"
)

// upstream is a connection to the server, logged in.
type upstream struct {
	ssh.Conn
	chans <-chan ssh.NewChannel
	reqs  <-chan *ssh.Request
}

// connectTime bounds reaching one address of the server and logging in there.
const connectTime = 15 * time.Second

// hostKeyError says that the server isn't the one that it should be.
type hostKeyError struct{ problem string }

// Error implements error.
func (e *hostKeyError) Error() string { return e.problem }

// connect logs in at the session's resource as a user of it, by a certificate as
// one of groups besides. The error is for the operator; [unreachable] words it for the client.
func (p *Protocol) connect(ctx context.Context, s *gate.Session, set settings, login string, groups []string) (*upstream, error) {
	creds, err := s.Login(ctx)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, address := range s.Resource().Addresses {
		up, err := p.connectTo(ctx, s, set, creds, principals(login, groups), address)
		if err == nil {
			return up, nil
		}
		problems = append(problems, err)
		var stranger *hostKeyError
		if errors.As(err, &stranger) {
			break // whoever answers there must not be walked around
		}
	}
	if len(problems) == 0 {
		problems = append(problems, errors.New("it has no address"))
	}
	return nil, fmt.Errorf("connect to %s: %w", s.Resource().Name, errors.Join(problems...))
}

func (p *Protocol) connectTo(ctx context.Context, s *gate.Session, set settings, creds postern.Login, as []string, address string) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	conn, err := s.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	auth, err := p.upstreamAuth(s, set, creds, as, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	config := &ssh.ClientConfig{
		Config: algorithms(), User: as[0], Auth: auth, ClientVersion: "SSH-2.0-Postern",
		HostKeyAlgorithms: hostKeyAlgorithms(set),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			return p.checkHost(ctx, s.Resource().Name, set, address, key)
		},
	}
	release := interrupt(ctx, conn)
	sc, chans, reqs, err := ssh.NewClientConn(conn, address, config)
	if !release() && err == nil {
		err = context.Cause(ctx)
		_ = sc.Close() // it came too late
	}
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(conn.Close()))
	}
	return &upstream{Conn: sc, chans: chans, reqs: reqs}, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// principals are what a certificate is for: a user, and groups under names that
// can't be a user's. A server goes by those through AuthorizedPrincipalsFile.
func principals(login string, groups []string) []string {
	all := []string{login}
	for _, g := range groups {
		all = append(all, "group:"+g)
	}
	return all
}

// upstreamAuth are the ways in which the gateway logs in at the server: with
// the resource's key and certificate, its password, or, when it has neither,
// with a certificate that is made for this connection.
func (p *Protocol) upstreamAuth(s *gate.Session, set settings, creds postern.Login, as []string, conn net.Conn) ([]ssh.AuthMethod, error) {
	var methods []ssh.AuthMethod
	if !creds.PrivateKey.IsZero() {
		signer, err := readSigner(creds)
		if err != nil {
			return nil, err
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	if !creds.Password.IsZero() {
		password := creds.Password.Reveal()
		methods = append(methods, ssh.Password(password), ssh.KeyboardInteractive(func(_, _ string, questions []string, echos []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range questions {
				if echos[i] || len(questions) > 1 {
					return nil, errors.New("the server asks for more than a password")
				}
				answers[i] = password
			}
			return answers, nil
		}))
	}
	if len(methods) > 0 {
		return methods, nil
	}
	signer, err := p.mint("postern "+s.ID(), as, localAddress(conn, s.Resource()), set.extensions())
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return append(methods, ssh.PublicKeys(signer)), nil
}

// readSigner reads a private key and, if there is one, the certificate for it.
func readSigner(creds postern.Login) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey([]byte(creds.PrivateKey.Reveal()))
	if err != nil {
		return nil, errors.New("credentials.private_key is no private key that can be used: it is in another format, or encrypted")
	}
	if creds.Certificate.IsZero() {
		return signer, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(creds.Certificate.Reveal()))
	cert, ok := key.(*ssh.Certificate)
	if err != nil || !ok {
		return nil, errors.New("credentials.certificate is no SSH certificate")
	}
	return ssh.NewCertSigner(cert, signer)
}

// localAddress is where the server sees the connection come from, or "" when
// that can't be known: behind a relay.
func localAddress(conn net.Conn, r postern.Resource) string {
	if r.Via != "" {
		return ""
	}
	tcp, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return tcp.AddrPort().Addr().Unmap().String()
}

// extensions are what a certificate of the gateway's lets its holder do.
func (set *settings) extensions() []string {
	all := []string{"permit-pty"}
	if set.forward != deny {
		all = append(all, "permit-port-forwarding")
	}
	if set.agent == allow {
		all = append(all, "permit-agent-forwarding")
	}
	return all
}

// hostKeyAlgorithms asks the server for the kind of key that it is known by:
// it may have several.
func hostKeyAlgorithms(set settings) []string {
	if len(set.hostKeys)+len(set.hostCAs) == 0 {
		return nil
	}
	supported := ssh.SupportedAlgorithms().HostKeys
	var wanted []string
	for _, algorithm := range supported {
		isCert := len(algorithm) > len(certSuffix) && algorithm[len(algorithm)-len(certSuffix):] == certSuffix
		known := isCert && len(set.hostCAs) > 0 || !isCert && slices.ContainsFunc(set.hostKeys, func(k ssh.PublicKey) bool {
			return slices.Contains(signatureAlgorithms(k.Type()), algorithm)
		})
		if known {
			wanted = append(wanted, algorithm)
		}
	}
	return wanted
}

const certSuffix = "-cert-v01@openssh.com"

func signatureAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	}
	return []string{keyType}
}

// checkHost decides whether a host key is the server's.
func (p *Protocol) checkHost(ctx context.Context, resource string, set settings, address string, key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		return p.checkHostCert(set, address, cert)
	}
	if slices.ContainsFunc(set.hostKeys, func(k ssh.PublicKey) bool { return sameKey(k, key) }) {
		return nil
	}
	shows := "it shows " + key.Type() + " " + ssh.FingerprintSHA256(key)
	switch {
	case len(set.hostKeys)+len(set.hostCAs) > 0:
		return &hostKeyError{"THE HOST KEY OF " + address + " IS NOT THE ONE IN host_key: " + shows + ". Somebody may be in between, or the server has a new key"}
	case !set.firstUse:
		return &hostKeyError{"nobody has said which host key " + address + " has: " + shows + ". Check it there, and put it into options.host_key (or its CA into host_ca)"}
	}
	pinned, err := p.o.Kept(ctx, "ssh host "+resource+" "+address, func() ([]byte, error) { return key.Marshal(), nil })
	if err != nil {
		return fmt.Errorf("look up the pinned host key: %w", err)
	}
	if subtle.ConstantTimeCompare(pinned, key.Marshal()) != 1 {
		return &hostKeyError{"THE HOST KEY OF " + address + " HAS CHANGED since it was first seen: " + shows +
			". Somebody may be in between; if the server really has a new key, put it into options.host_key"}
	}
	p.o.Log.Info("host key accepted as it was first seen", "resource", resource, "fingerprint", ssh.FingerprintSHA256(key))
	return nil
}

func (p *Protocol) checkHostCert(set settings, address string, cert *ssh.Certificate) error {
	checker := &ssh.CertChecker{
		IsHostAuthority: func(ca ssh.PublicKey, _ string) bool {
			return slices.ContainsFunc(set.hostCAs, func(k ssh.PublicKey) bool { return sameKey(k, ca) })
		},
		Clock: p.o.Now,
	}
	if err := checker.CheckHostKey(address, &net.TCPAddr{}, cert); err != nil {
		return &hostKeyError{"THE HOST CERTIFICATE OF " + address + " IS NOT VALID: " + err.Error()}
	}
	return nil
}

func sameKey(a, b ssh.PublicKey) bool {
	return subtle.ConstantTimeCompare(a.Marshal(), b.Marshal()) == 1
}

// unreachable words for the client why there is no connection to the resource.
// Addresses and credentials are nobody's business.
func unreachable(s *gate.Session, err error) string {
	name := s.Resource().Name
	var stranger *hostKeyError
	hint := " (session " + s.ID() + ")"
	switch {
	case errors.As(err, &stranger):
		return "postern: " + name + " doesn't prove to be the server that it should be, so nothing is sent to it; tell an administrator" + hint
	case isAuthError(err):
		return "postern: " + name + " refuses the gateway's own login; tell an administrator" + hint
	}
	return "postern: can't reach resource " + name + "; try again, and if that doesn't help tell an administrator" + hint
}

func isAuthError(err error) bool {
	var auth *ssh.ServerAuthError
	return errors.As(err, &auth) || err != nil && containsAny(err.Error(), "unable to authenticate", "no supported methods remain")
}
