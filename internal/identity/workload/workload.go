// Package workload says who a program is by a JWT that it already holds: of a
// CI system, of Kubernetes, of SPIFFE, of any issuer that publishes its keys.
//
// Trust is exact. A rule names one issuer, one audience, a condition over
// claims that most of the issuer's tokens don't meet, and how the identity is
// called. A rule that trusts whatever the issuer signs is refused when it is
// made, and so are two whose identities could have one name.
package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"postern"
	"postern/internal/identity"
)

// Bounds of what is accepted.
const (
	maxToken    = 8 << 10 // bytes of a JWT
	maxRules    = 200
	maxClaims   = 128            // of a token, nested ones counted apart
	maxClaim    = 1 << 10        // bytes of a claim that identities keep
	maxTokenAge = 24 * time.Hour // from a token's issue, or from now, to its end
	skew        = time.Minute    // that clocks may differ by
	defaultLife = time.Hour      // of the login that a token is exchanged for
	maxLife     = 12 * time.Hour
	maxSubject  = 1 << 10                   // bytes of sub
	maxJTI      = 1 << 10                   // bytes of jti
	tokenForm   = "HEADER.CLAIMS.SIGNATURE" // for messages
)

// ErrRefused is every refusal of a token. What it is wrapped with is for the
// operator, and names the check that failed.
var ErrRefused = errors.New("workload token refused")

// Rule says whom to trust, and what to call them.
type Rule struct {
	Name     string
	Issuer   string // exactly as in the token; its discovery document names the keys
	Audience string // exactly the token's only audience
	Match    string // CEL over claims
	Identity string // a template: "ci:{{claims.repository}}"
	Groups   []string
	// Life is how long the identity that a token is exchanged for lives; 0: an hour.
	Life time.Duration
	// Reuse lets a token be exchanged more than once.
	Reuse bool
	// JWKSURL and JWKSFile say where the issuer's keys are, when not where its
	// discovery document says.
	JWKSURL  string
	JWKSFile string
	CAFile   string // that the issuer's TLS certificate is checked against; "": the system's
	Place    string // where the rule is written, for messages
}

// Store remembers which tokens were used.
type Store interface {
	// UseOnce remembers an id until a moment. It says whether it was new.
	UseOnce(ctx context.Context, id string, until time.Time) (bool, error)
}

// Config is what a Verifier is made of.
type Config struct {
	Rules []Rule
	Store Store
	Now   func() time.Time // nil: the system's clock
	// Transport reaches issuers; nil: the network, with each rule's CAFile.
	Transport http.RoundTripper
}

// Verifier verifies tokens. Its methods may be called from several goroutines.
type Verifier struct {
	rules []*rule
	store Store
	now   func() time.Time
}

type rule struct {
	Rule
	keys     *keys
	match    *condition
	identity template
}

// New compiles rules, or says what is wrong with each.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Store == nil {
		return nil, errors.New("workload: a store is required")
	}
	v := &Verifier{store: cfg.Store, now: cfg.Now}
	if len(cfg.Rules) > maxRules {
		return nil, fmt.Errorf("identity.workloads: more than %d rules", maxRules)
	}
	sources := map[string]*keys{}
	var errs []error
	for _, r := range cfg.Rules {
		made, err := compile(r)
		if err == nil {
			err = apart(v.rules, made)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: workload rule %q: %w", r.Place, r.Name, err))
			continue
		}
		if made.keys, err = source(sources, r, cfg); err != nil {
			errs = append(errs, fmt.Errorf("%s: workload rule %q: %w", r.Place, r.Name, err))
			continue
		}
		v.rules = append(v.rules, made)
	}
	return v, errors.Join(errs...)
}

// source shares one set of keys among the rules of one issuer.
func source(all map[string]*keys, r Rule, cfg Config) (*keys, error) {
	id := strings.Join([]string{r.Issuer, r.JWKSURL, r.JWKSFile, r.CAFile}, "\x00")
	if k, ok := all[id]; ok {
		return k, nil
	}
	k, err := newKeys(r, cfg)
	if err == nil {
		all[id] = k
	}
	return k, err
}

func compile(r Rule) (*rule, error) {
	switch {
	case r.Name == "":
		return nil, errors.New("name is missing")
	case r.Issuer == "":
		return nil, errors.New("issuer is missing")
	case r.Audience == "":
		return nil, errors.New("audience is missing")
	case r.Match == "":
		return nil, errors.New(`match is missing: a rule says which of the issuer's tokens it means, like claims.repository_id == "123456"`)
	case r.Identity == "":
		return nil, errors.New("identity is missing: what to call them, like ci:{{claims.repository}}")
	case r.Life < 0 || r.Life > maxLife:
		return nil, fmt.Errorf("ttl: it is at most %v", maxLife)
	}
	if err := checkIssuer(r); err != nil {
		return nil, err
	}
	if r.Life == 0 {
		r.Life = defaultLife
	}
	match, err := newCondition(r)
	if err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	name, err := newTemplate(r.Identity)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &rule{Rule: r, match: match, identity: name}, nil
}

func checkIssuer(r Rule) error {
	if r.JWKSFile != "" && r.JWKSURL != "" {
		return errors.New("jwks_file and jwks_url exclude each other")
	}
	if r.JWKSFile != "" {
		return nil // the issuer is only a name
	}
	for key, text := range map[string]string{"issuer": r.Issuer, "jwks_url": r.JWKSURL} {
		if text == "" || key == "issuer" && r.JWKSURL != "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("%s: %q is no https URL", key, text)
		}
	}
	return nil
}

// apart is an error when a rule's identities could have the name of another
// rule's, and aren't the same ones: of another issuer, or by another template.
func apart(rules []*rule, r *rule) error {
	for _, other := range rules {
		if other.Name == r.Name {
			return fmt.Errorf("there are two rules of this name, here and in %s", other.Place)
		}
		same := other.Issuer == r.Issuer && other.Rule.Identity == r.Rule.Identity
		a, b := other.identity.prefix(), r.identity.prefix()
		if !same && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)) {
			return fmt.Errorf("identity: its names begin like those of rule %q (%q and %q), and could be the same for different programs; "+
				"give each issuer a beginning of its own", other.Name, b, a)
		}
	}
	return nil
}

// Trusted is a rule that is in force, and how its issuer answers when it is asked
// for its keys.
type Trusted struct {
	Rule
	Keys identity.Answers
}

// Trusted are the rules, in the order in which they are tried. Issuers whose last
// answer is older than [identity.LookAfter] are asked for their keys.
func (v *Verifier) Trusted(ctx context.Context) []Trusted {
	var asking sync.WaitGroup
	asked := map[*keys]bool{}
	for _, r := range v.rules {
		if !asked[r.keys] {
			asked[r.keys] = true
			asking.Go(func() { r.keys.look(ctx) })
		}
	}
	asking.Wait()
	var all []Trusted
	for _, r := range v.rules {
		all = append(all, Trusted{Rule: r.Rule, Keys: r.keys.answers()})
	}
	return all
}

// Enabled says whether any token is trusted.
func (v *Verifier) Enabled() bool { return len(v.rules) > 0 }

// algorithms are the signatures that count: no "none", and nothing symmetric.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// Verify says who the bearer of a token is. A token counts once, unless its
// rule says otherwise. Every refusal is [ErrRefused].
func (v *Verifier) Verify(ctx context.Context, token postern.Secret) (postern.Identity, error) {
	id, err := v.verify(ctx, token.Reveal())
	if err != nil {
		return postern.Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return id, nil
}

func (v *Verifier) verify(ctx context.Context, text string) (postern.Identity, error) {
	if len(text) > maxToken {
		return postern.Identity{}, fmt.Errorf("it is longer than %d bytes", maxToken)
	}
	if strings.Count(text, ".") != 2 || strings.ContainsFunc(text, notJWT) {
		return postern.Identity{}, errors.New("it is no JWT: " + tokenForm)
	}
	token, err := jwt.ParseSigned(text, algorithms())
	if err != nil {
		return postern.Identity{}, errors.New("it is no JWT that is signed with one of RS256 … PS512, ES256 … ES512 and EdDSA")
	}
	rules, err := v.of(token)
	if err != nil {
		return postern.Identity{}, err
	}
	claims, err := verified(ctx, rules, token)
	if err != nil {
		return postern.Identity{}, err
	}
	standard, err := v.standing(claims)
	if err != nil {
		return postern.Identity{}, err
	}
	r, err := choose(rules, claims, standard)
	if err != nil {
		return postern.Identity{}, err
	}
	id, err := v.identify(r, claims, standard)
	if err != nil {
		return postern.Identity{}, fmt.Errorf("rule %q: %w", r.Name, err)
	}
	return id, v.once(ctx, r, standard, text)
}

// notJWT says whether a character is in no JWT: a decoder may skip it, so that
// one token could be written in several ways.
func notJWT(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !letter && r != '.' && r != '-' && r != '_'
}

// of finds the rules of the issuer that a token names.
func (v *Verifier) of(token *jwt.JSONWebToken) ([]*rule, error) {
	var named struct {
		Issuer string `json:"iss"`
	}
	if err := token.UnsafeClaimsWithoutVerification(&named); err != nil {
		return nil, errors.New("its claims can't be read")
	}
	var rules []*rule
	for _, r := range v.rules {
		if r.Issuer == named.Issuer {
			rules = append(rules, r)
		}
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("no rule trusts its issuer %s", quoted(named.Issuer))
	}
	return rules, nil
}

// verified are the claims, once the signature is seen to be a key's of the
// issuer. Rules of one issuer may know different keys of it.
func verified(ctx context.Context, rules []*rule, token *jwt.JSONWebToken) (map[string]any, error) {
	var errs []error
	tried := map[*keys]bool{}
	for _, r := range rules {
		if tried[r.keys] {
			continue
		}
		tried[r.keys] = true
		claims := map[string]any{}
		err := r.keys.verify(ctx, token, &claims)
		if err == nil {
			return claims, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// standard are the claims that every token has.
type standard struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	ID        string           `json:"jti"`
}

// standing checks the claims that every token has.
func (v *Verifier) standing(claims map[string]any) (standard, error) {
	var s standard
	text, err := json.Marshal(claims)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	now := v.now()
	switch {
	case err != nil:
		return s, errors.New("one of iss, sub, aud, exp, nbf, iat and jti is not of its type")
	case s.Subject == "" || len(s.Subject) > maxSubject:
		return s, errors.New("it has no sub, or one that is too long")
	case len(s.ID) > maxJTI:
		return s, errors.New("its jti is too long")
	case s.Expiry == nil:
		return s, errors.New("it never expires: it has no exp")
	case !now.Before(s.Expiry.Time().Add(skew)):
		return s, fmt.Errorf("it expired at %s", s.Expiry.Time().UTC().Format(time.RFC3339))
	case s.NotBefore != nil && now.Add(skew).Before(s.NotBefore.Time()):
		return s, fmt.Errorf("it is good from %s on only", s.NotBefore.Time().UTC().Format(time.RFC3339))
	case s.IssuedAt != nil && now.Add(skew).Before(s.IssuedAt.Time()):
		return s, errors.New("it was issued in the future: is a clock wrong?")
	case s.Expiry.Time().After(now.Add(maxTokenAge + skew)):
		return s, fmt.Errorf("it lives for more than %v: have it issued for less", maxTokenAge)
	}
	return s, nil
}

// choose finds the first rule that a token meets.
func choose(rules []*rule, claims map[string]any, s standard) (*rule, error) {
	var why []string
	for _, r := range rules {
		switch {
		case len(s.Audience) != 1 || s.Audience[0] != r.Audience:
			why = append(why, fmt.Sprintf("rule %q: its audience is %s, not %q alone", r.Name, quoted(s.Audience...), r.Audience))
		case !r.match.holds(claims):
			why = append(why, fmt.Sprintf("rule %q: its claims don't match", r.Name))
		default:
			return r, nil
		}
	}
	return nil, fmt.Errorf("%s (its sub is %s)", strings.Join(why, "; "), quoted(s.Subject))
}

// quoted are texts of a token, fit for a log.
func quoted(texts ...string) string {
	var out []string
	for _, t := range texts {
		if len(t) > 200 {
			t = strings.ToValidUTF8(t[:200], "") + "…"
		}
		out = append(out, fmt.Sprintf("%q", t))
	}
	return strings.Join(out, ", ")
}

// identify is who the bearer of a verified token is.
func (v *Verifier) identify(r *rule, claims map[string]any, s standard) (postern.Identity, error) {
	name, err := r.identity.render(claims)
	if err != nil {
		return postern.Identity{}, fmt.Errorf("identity: %w", err)
	}
	flat, err := flatten(claims)
	if err != nil {
		return postern.Identity{}, err
	}
	return postern.Identity{
		Name: name, Kind: postern.Workload, Subject: s.Issuer + "#" + s.Subject,
		Groups: append([]string{}, r.Groups...), Claims: flat, Expires: v.now().Add(r.Life).UTC(),
	}, nil
}

// once remembers that a token was used. It is asked last, so that only what an
// issuer signed, and a rule lets in, takes room.
func (v *Verifier) once(ctx context.Context, r *rule, s standard, text string) error {
	if r.Reuse {
		return nil
	}
	used, err := usedID(s, text)
	if err != nil {
		return err
	}
	fresh, err := v.store.UseOnce(ctx, used, s.Expiry.Time().Add(2*skew))
	switch {
	case err != nil:
		return fmt.Errorf("whether it was used before can't be told: %w", err)
	case !fresh:
		return fmt.Errorf("rule %q: it was used before (jti %s); each counts once", r.Name, quoted(s.ID))
	}
	return nil
}

// flatten makes claims of nested ones: a nested claim's name is dotted, a list's
// value is its JSON. What is too long to keep is left out; two of one name are
// an error, since a policy could mean either.
func flatten(claims map[string]any) (postern.Claims, error) {
	flat, n := postern.Claims{}, 0
	var add func(prefix string, value any) error
	add = func(name string, value any) error {
		if n++; n > maxClaims {
			return fmt.Errorf("it has more than %d claims", maxClaims)
		}
		if nested, ok := value.(map[string]any); ok {
			for key, v := range nested {
				if err := add(name+"."+key, v); err != nil {
					return err
				}
			}
			return nil
		}
		text, isText := value.(string)
		if !isText {
			b, err := json.Marshal(value)
			if err != nil {
				return errors.New("a claim can't be read")
			}
			text = string(b)
		}
		if _, twice := flat[name]; twice {
			return fmt.Errorf("two of its claims are called %s", quoted(name))
		}
		if len(text) <= maxClaim && len(name) <= maxClaim && utf8.ValidString(text) {
			flat[name] = text
		}
		return nil
	}
	for key, v := range claims {
		if err := add(key, v); err != nil {
			return nil, err
		}
	}
	return flat, nil
}
