package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern/internal/api"
)

// keySocket lets a program enter that can't show a key which is in a TPM: it
// listens on a Unix socket in dir, a folder that its owner alone can open, and
// shows the key to the gateway for whoever connects there. What they say passes
// as it is, the session token's proof too. environ leads a PostgreSQL client
// there; close waits until all is over.
//
// ctx isn't what ends it, as the program decides itself what Ctrl-C means.
func (a *app) keySocket(ctx context.Context, t target, h holder, dir string, token api.SessionToken) (environ []string, closed func(), err error) {
	config, err := gatewayTLS(t, token.Host)
	if err != nil {
		return nil, nil, err
	}
	der, err := h.introduction()
	if err != nil {
		return nil, nil, err
	}
	// No authority that the gateway names has signed it, so it must be shown unasked.
	shown := h.shown(der)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil }
	port, address := strconv.Itoa(token.Port), net.JoinHostPort(token.Host, strconv.Itoa(token.Port))
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", filepath.Join(dir, ".s.PGSQL."+port))
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := a.serveLocal(ctx, l, func(ctx context.Context, local net.Conn) error {
			first, err := startupOf(local)
			if err != nil || first == nil {
				return err
			}
			return carry(ctx, local, config, address, framed(first), withoutBinding)
		})
		if err != nil {
			a.ui.say("the socket for %s: %v", token.Database, err)
		}
	}()
	return []string{"PGHOST=" + dir, "PGPORT=" + port, "PGSSLMODE=disable", "PGGSSENCMODE=disable"}, func() { cancel(); <-ended }, nil
}

// withoutBinding carries the gateway's first answer to a client whose TLS is ours:
// it can't bind its login to that, and libpq takes the mere offer for an attack.
func withoutBinding(gateway io.Reader, local io.Writer) error {
	for {
		var head [5]byte
		if _, err := io.ReadFull(gateway, head[:]); errors.Is(err, io.EOF) {
			return nil // a cancel request has no answer
		} else if err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[1:])
		if n < 4 || n > 10000 {
			return errors.New("the gateway doesn't speak PostgreSQL")
		}
		body := make([]byte, n-4)
		if _, err := io.ReadFull(gateway, body); err != nil {
			return err
		}
		message := append(head[:], body...)
		var offer pgproto3.AuthenticationSASL
		if head[0] == 'R' && offer.Decode(body) == nil {
			offer.AuthMechanisms = slices.DeleteFunc(offer.AuthMechanisms, func(name string) bool { return name == "SCRAM-SHA-256-PLUS" })
			var err error
			if message, err = offer.Encode(nil); err != nil {
				return err
			}
		}
		if _, err := local.Write(message); err != nil {
			return err
		}
		if head[0] != 'v' { // NegotiateProtocolVersion comes before
			return nil
		}
	}
}
