package issuer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// storage is the provider's memory: requests, for minutes. Nothing in it
// outlives the process; a sign-in that was under way begins again.
type storage struct {
	client client
	key    signingKey
	now    func() time.Time

	mu       sync.Mutex
	requests map[string]*request
	codes    map[string]string // code -> request
	tokens   map[string]grantedToken
}

type grantedToken struct {
	subject string
	until   time.Time
}

func newStorage(cfg Config, callback string) *storage {
	sum := sha256.Sum256(append(cfg.Key.X.Bytes(), cfg.Key.Y.Bytes()...))
	return &storage{
		client: client{callback: callback}, key: signingKey{id: base64.RawURLEncoding.EncodeToString(sum[:12]), key: cfg.Key}, now: cfg.Now,
		requests: map[string]*request{}, codes: map[string]string{}, tokens: map[string]grantedToken{},
	}
}

var (
	errUnknown = errors.New("the request is unknown, or took too long")
	errFull    = errors.New("too many people are signing in; try again in a minute")
	errNone    = errors.New("the built-in provider doesn't do that")
)

// forget drops what is over. The caller holds mu.
func (s *storage) forget() {
	now := s.now()
	for id, r := range s.requests {
		if !r.until.After(now) {
			delete(s.requests, id)
		}
	}
	for code, id := range s.codes {
		if _, ok := s.requests[id]; !ok {
			delete(s.codes, code)
		}
	}
	for id, t := range s.tokens {
		if !t.until.After(now) {
			delete(s.tokens, id)
		}
	}
}

// CreateAuthRequest implements [op.AuthStorage].
func (s *storage) CreateAuthRequest(_ context.Context, asked *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if len(s.requests) >= maxRequests {
		return nil, errFull
	}
	r := &request{
		id: rand.Text(), redirect: asked.RedirectURI, state: asked.State, nonce: asked.Nonce, scopes: asked.Scopes,
		challenge: oidc.CodeChallenge{Challenge: asked.CodeChallenge, Method: asked.CodeChallengeMethod},
		mode:      asked.ResponseMode, until: s.now().Add(requestTTL),
	}
	s.requests[r.id] = r
	return *r, nil
}

func (s *storage) pending(id string) (request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || !r.until.After(s.now()) || r.subject != "" {
		return request{}, false
	}
	return *r, true
}

func (s *storage) done(id, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || !r.until.After(s.now()) || r.subject != "" || user == "" {
		return false
	}
	r.subject, r.authTime, r.until = user, s.now(), s.now().Add(codeTTL)
	return true
}

// AuthRequestByID implements [op.AuthStorage].
func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || !r.until.After(s.now()) {
		return nil, errUnknown
	}
	return *r, nil
}

// AuthRequestByCode implements [op.AuthStorage].
func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	delete(s.codes, code) // whatever comes of it
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

// SaveAuthCode implements [op.AuthStorage]. A request has one code.
func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || r.coded || r.subject == "" {
		return errUnknown
	}
	r.coded = true
	s.codes[code] = id
	return nil
}

// DeleteAuthRequest implements [op.AuthStorage].
func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// CreateAccessToken implements [op.AuthStorage].
func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	id, until := rand.Text(), s.now().Add(tokenTTL)
	s.tokens[id] = grantedToken{subject: r.GetSubject(), until: until}
	return id, until, nil
}

// CreateAccessAndRefreshTokens implements [op.AuthStorage]. The account is asked
// at each use of what the gateway mints, so there is nothing to refresh.
func (s *storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNone
}

// TokenRequestByRefreshToken implements [op.AuthStorage].
func (s *storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNone
}

// TerminateSession implements [op.AuthStorage]: the provider has no sessions.
func (s *storage) TerminateSession(context.Context, string, string) error { return nil }

// RevokeToken implements [op.AuthStorage].
func (s *storage) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, id)
	return nil
}

// GetRefreshTokenInfo implements [op.AuthStorage].
func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// SigningKey implements [op.AuthStorage].
func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

// SignatureAlgorithms implements [op.AuthStorage].
func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

// KeySet implements [op.AuthStorage].
func (s *storage) KeySet(context.Context) ([]op.Key, error) { return []op.Key{publicKey{s.key}}, nil }

// GetClientByClientID implements [op.OPStorage].
func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != ClientID {
		return nil, errors.New("the only client is " + ClientID)
	}
	return s.client, nil
}

// AuthorizeClientIDSecret implements [op.OPStorage]: the client has no secret.
func (s *storage) AuthorizeClientIDSecret(context.Context, string, string) error { return errNone }

// SetUserinfoFromScopes implements [op.OPStorage].
func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest implements [op.CanSetUserinfoFromRequest].
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	fill(info, r.GetSubject())
	return nil
}

// SetUserinfoFromToken implements [op.OPStorage].
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, token, subject, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[token]
	if !ok || t.subject != subject || !t.until.After(s.now()) {
		return errUnknown
	}
	fill(info, subject)
	return nil
}

func fill(info *oidc.UserInfo, user string) {
	info.Subject, info.PreferredUsername = user, user
}

// SetIntrospectionFromToken implements [op.OPStorage].
func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNone
}

// GetPrivateClaimsFromScopes implements [op.OPStorage].
func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return map[string]any{}, nil
}

// GetKeyByIDAndClientID implements [op.OPStorage].
func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNone
}

// ValidateJWTProfileScopes implements [op.OPStorage].
func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNone
}

// Health implements [op.Storage].
func (s *storage) Health(context.Context) error { return nil }
