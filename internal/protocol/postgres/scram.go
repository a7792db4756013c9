package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"postern"
	"postern/internal/gate"
)

// The SASL mechanisms that are offered (RFC 7677), best first: the first also
// proves that the client's TLS ends here.
const (
	scramPlus  = "SCRAM-SHA-256-PLUS"
	scramPlain = "SCRAM-SHA-256"
)

const (
	tokenMark   = "+tk_"
	tokenDigits = 30 // of a token's id, hexadecimal
	maxSASL     = 4 << 10
)

// cutToken takes the token's id off a user name like alice+tk_…: who connects
// so shows to know the token, and doesn't send it.
func cutToken(user string) (name, token string, ok bool) {
	at := strings.LastIndex(user, tokenMark)
	if at <= 0 || len(user)-at != len(tokenMark)+tokenDigits {
		return user, "", false
	}
	id := user[at+1:]
	for _, c := range id[len(tokenMark)-1:] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return user, "", false
		}
	}
	return user[:at], id, true
}

// scram lets the client show that it knows a token, and puts that into the
// credential. A client that doesn't is refused as for any wrong token.
func (p *Protocol) scram(ctx context.Context, client *clientConn, g *gate.Gate, cred *postern.Credential, token string) error {
	stored, err := p.verifier(ctx, g, token)
	if err != nil {
		return err
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return err
	}
	binding := channelBinding(client)
	mechanisms := []string{scramPlain}
	if binding.IsSupported() {
		mechanisms = []string{scramPlus, scramPlain}
	}
	if err := client.send(&pgproto3.AuthenticationSASL{AuthMechanisms: mechanisms}); err != nil {
		return err
	}
	mechanism, first, err := readSASLStart(client)
	if err != nil {
		return err
	}
	var conversation *scram.ServerConversation
	switch {
	case mechanism == scramPlus && binding.IsSupported():
		conversation = server.NewConversationWithChannelBindingRequired(binding)
	case mechanism == scramPlain && binding.IsSupported() && !strings.HasPrefix(first, "p="):
		conversation = server.NewConversationWithChannelBinding(binding) // so that a client that was told of no PLUS is refused
	case mechanism == scramPlain && !binding.IsSupported():
		conversation = server.NewConversation()
	default:
		return &refusal{code: codeProtocol, message: "the client chose a SASL mechanism that wasn't offered, or another way of channel binding than its mechanism's"}
	}
	challenge, err := conversation.Step(first)
	if err != nil {
		return p.refuseSASL(ctx, g, *cred, token, err)
	}
	if err := client.send(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)}); err != nil {
		return err
	}
	last, err := readPassword(client)
	if err != nil {
		return err
	}
	if len(last) > maxSASL {
		return errPasswordMessage
	}
	answer, err := conversation.Step(string(last))
	if err != nil || !conversation.Valid() {
		return p.refuseSASL(ctx, g, *cred, token, errors.Join(err, errors.New("the client doesn't know the token")))
	}
	cred.Proof.Token = token
	return client.send(&pgproto3.AuthenticationSASLFinal{Data: []byte(answer)})
}

// refuseSASL tells the operator what went wrong, without the values that the
// library quotes.
func (p *Protocol) refuseSASL(ctx context.Context, g *gate.Gate, cred postern.Credential, token string, err error) error {
	why := "the client doesn't know the token"
	if strings.Contains(err.Error(), "hannel binding") || strings.Contains(err.Error(), "downgrade") {
		why = "channel binding failed: somebody may stand between the client and the gateway"
	}
	return g.Refuse(ctx, cred, fmt.Errorf("SCRAM for token %s: %s", token, why))
}

// verifier is what the client's answers are checked against.
func (p *Protocol) verifier(ctx context.Context, g *gate.Gate, token string) (scram.StoredCredentials, error) {
	text, err := g.Verifier(ctx, token)
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	var iterations int
	rest, ok := strings.CutPrefix(text, scramPlain+"$")
	factors, keys, both := strings.Cut(rest, "$")
	count, salt, salted := strings.Cut(factors, ":")
	stored, server, split := strings.Cut(keys, ":")
	if _, err := fmt.Sscanf(count, "%d", &iterations); err != nil || !ok || !both || !salted || !split || iterations < 1 {
		return scram.StoredCredentials{}, errors.New("a token's SCRAM verifier is damaged")
	}
	decoded := make([][]byte, 3)
	for i, part := range []string{salt, stored, server} {
		if decoded[i], err = base64.StdEncoding.DecodeString(part); err != nil {
			return scram.StoredCredentials{}, errors.New("a token's SCRAM verifier is damaged")
		}
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(decoded[0]), Iters: iterations}, StoredKey: decoded[1], ServerKey: decoded[2],
	}, nil
}

// channelBinding is tls-server-end-point (RFC 5929, section 4.1) of the
// certificate that the client was shown; none without TLS, and for signatures
// that the RFC knows no hash for.
func channelBinding(client *clientConn) scram.ChannelBinding {
	if client.tls == nil || client.shown == nil || len(client.shown.Certificate) == 0 {
		return scram.ChannelBinding{}
	}
	der := client.shown.Certificate[0]
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return scram.ChannelBinding{}
	}
	var sum []byte
	switch cert.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS, x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		h := sha256.Sum256(der)
		sum = h[:]
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h := sha512.Sum384(der)
		sum = h[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h := sha512.Sum512(der)
		sum = h[:]
	default:
		return scram.ChannelBinding{}
	}
	return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum}
}

// readSASLStart reads a SASLInitialResponse.
func readSASLStart(client *clientConn) (mechanism, data string, err error) {
	body, err := readPassword(client)
	if err != nil {
		return "", "", err
	}
	name, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 4 || len(rest) > maxSASL || int64(int32(binary.BigEndian.Uint32(rest))) != int64(len(rest)-4) { //nolint:gosec // -1 is its spelling of none
		return "", "", errPasswordMessage
	}
	return string(name), string(rest[4:]), nil
}

// send writes one message.
func (c *clientConn) send(m pgproto3.BackendMessage) error {
	out, err := m.Encode(nil)
	if err != nil {
		return err
	}
	_, err = c.Write(out)
	return err
}
