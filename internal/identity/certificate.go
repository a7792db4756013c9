package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern"
)

const (
	// minCertificateLife keeps a certificate from ending before it is used.
	minCertificateLife = time.Minute
	maxSSHKeyLife      = 366 * 24 * time.Hour
	sshKeyLife         = 90 * 24 * time.Hour
	maxSSHKeys         = 50
	maxComment         = 128
)

// CertificateTerms say what a certificate is for. All but Key may be left at
// its zero value.
type CertificateTerms struct {
	// Key is the fingerprint of the key that is certified.
	Key      string
	TTL      time.Duration // 0: as long as a login
	Resource string        // the only one that it opens; "": any
	Networks []netip.Prefix
	// Under is the login token or key that asks for it: it ends with that login.
	Under postern.Secret
}

// RegisterCertificate records that a key is to be certified as id's. What it
// returns is what the certificates say: the id is their serial number, and with
// RevokeToken they are worth nothing from that moment on.
func (s *Service) RegisterCertificate(ctx context.Context, id postern.Identity, terms CertificateTerms) (postern.Token, error) {
	session := SessionTerms{Resource: terms.Resource, Networks: terms.Networks, Key: terms.Key}
	if session.Resource == "" {
		session.Resource = "any"
	}
	if _, err := s.sessionLife(session); err != nil {
		return postern.Token{}, err
	}
	switch {
	case terms.Key == "":
		return postern.Token{}, fmt.Errorf("%w: a certificate is for a key, and none is named", ErrInvalid)
	case terms.TTL == 0:
		terms.TTL = s.cfg.LoginTTL
	case terms.TTL < minCertificateLife || terms.TTL > s.cfg.LoginTTL:
		return postern.Token{}, fmt.Errorf("%w: a certificate lives for %v to %v", ErrInvalid, minCertificateLife, s.cfg.LoginTTL)
	}
	parent, err := s.parent(ctx, terms.Under)
	if err != nil {
		return postern.Token{}, err
	}
	t := postern.Token{
		Kind: postern.Certificate, Identity: id, Resource: terms.Resource, Key: terms.Key, Networks: terms.Networks, Parent: parent,
	}
	if t.ID, err = newID(s.cfg.Rand, CertificatePrefix); err != nil {
		return postern.Token{}, err
	}
	t.Hash = "certificate:" + t.ID // no secret has this digest
	return s.put(ctx, t, terms.TTL)
}

// CertificatePrefix begins the id of a certificate.
const CertificatePrefix = "ct_"

// sshKeyHash is where a registered key is found by its owner and fingerprint:
// who registers another's public key as their own takes nothing from them. No
// secret has this digest.
func sshKeyHash(kind postern.IdentityKind, name, key string) string {
	return "ssh-key:" + string(kind) + ":" + key + ":" + name
}

// AddSSHKey registers a public key as id's for ttl (0: 90 days). Whoever holds
// the private key enters SSH as id, for as long as id itself may.
func (s *Service) AddSSHKey(ctx context.Context, id postern.Identity, key, comment string, ttl time.Duration) (postern.Token, error) {
	switch {
	case key == "" || checkKey(key) != nil:
		return postern.Token{}, fmt.Errorf("%w: that is no public key's fingerprint", ErrInvalid)
	case ttl < 0 || ttl > maxSSHKeyLife:
		return postern.Token{}, fmt.Errorf("%w: an SSH key is registered for at most %d days", ErrInvalid, int(maxSSHKeyLife.Hours()/24))
	case id.Actor != nil:
		return postern.Token{}, fmt.Errorf("%w: who acts for another can't register keys in their name", ErrInvalid)
	case ttl == 0:
		ttl = sshKeyLife
	}
	if err := checkComment(comment); err != nil {
		return postern.Token{}, err
	}
	if err := s.roomForSSHKey(ctx, id, key); err != nil {
		return postern.Token{}, err
	}
	t := postern.Token{Kind: postern.SSHKey, Identity: id, Key: key, Hash: sshKeyHash(id.Kind, id.Name, key), Comment: comment}
	t.Identity.Login, t.Identity.Expires = "", time.Time{} // the login that registers it may end; see today
	var err error
	if t.ID, err = newID(s.cfg.Rand, "sk_"); err != nil {
		return postern.Token{}, err
	}
	return s.put(ctx, t, ttl)
}

// roomForSSHKey says why a key can't be registered, or forgets what it once was.
func (s *Service) roomForSSHKey(ctx context.Context, id postern.Identity, key string) error {
	all, err := s.cfg.Store.TokensOf(ctx, id.Kind, id.Name)
	if err != nil {
		return err
	}
	n := 0
	for _, t := range all {
		if t.Kind == postern.SSHKey && s.valid(t) == nil {
			n++
		}
	}
	if n >= maxSSHKeys {
		return fmt.Errorf("%w: more than %d SSH keys; remove one", ErrInvalid, maxSSHKeys)
	}
	was, err := s.cfg.Store.TokenByHash(ctx, sshKeyHash(id.Kind, id.Name, key))
	switch {
	case errors.Is(err, postern.ErrNotFound):
		return nil
	case err != nil:
		return err
	case s.valid(was) == nil:
		return fmt.Errorf("the SSH key %w: it is %s", ErrExists, was.ID)
	default:
		return s.cfg.Store.DeleteToken(ctx, was.ID)
	}
}

func checkComment(comment string) error {
	if len(comment) > maxComment || !utf8.ValidString(comment) || strings.ContainsFunc(comment, unicode.IsControl) {
		return fmt.Errorf("%w: a comment has at most %d bytes, on one line", ErrInvalid, maxComment)
	}
	return nil
}

// checkKey says what is wrong with a fingerprint; "" is none.
func checkKey(key string) error {
	if key == "" {
		return nil
	}
	sum, ok := strings.CutPrefix(key, "SHA256:")
	if b, err := base64.RawStdEncoding.Strict().DecodeString(sum); !ok || err != nil || len(b) != 32 {
		return fmt.Errorf("%w: a key is named by its fingerprint, SHA256: and 43 characters", ErrInvalid)
	}
	return nil
}
