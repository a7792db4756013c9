package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"postern"
	"postern/internal/identity"
)

const (
	maxClaims     = 200
	maxClaimBytes = 64 << 10
	maxDepth      = 8
)

// claimer is an ID token, or what the userinfo endpoint says.
type claimer interface{ Claims(v any) error }

func decodeClaims(from claimer) (map[string]any, error) {
	var raw json.RawMessage
	if err := from.Claims(&raw); err != nil {
		return nil, refused("the claims can't be read")
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var claims map[string]any
	if err := dec.Decode(&claims); err != nil {
		return nil, refused("the claims can't be read")
	}
	return claims, nil
}

func notBefore(claims map[string]any) time.Time {
	n, ok := claims["nbf"].(json.Number)
	if !ok {
		return time.Time{}
	}
	seconds, err := n.Float64()
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// vouch is what verified claims say of a person. The userinfo endpoint is asked
// where the ID token lacks what the identity is made of.
func (p *Provider) vouch(ctx context.Context, found *discovered, token *oauth2.Token, claims map[string]any) (identity.Vouched, error) {
	_, named := lookup(claims, p.cfg.NameClaim)
	_, grouped := lookup(claims, p.cfg.GroupsClaim)
	if (!named || (!grouped && p.cfg.GroupsClaim != "")) && found.provider.UserInfoEndpoint() != "" {
		more, err := p.userinfo(ctx, found, token, claims["sub"])
		if err != nil {
			return identity.Vouched{}, err
		}
		maps.DeleteFunc(more, func(name string, _ any) bool { _, ok := claims[name]; return ok }) // what is signed counts
		maps.Copy(claims, more)
	}
	id, err := p.identity(claims)
	if err != nil {
		return identity.Vouched{}, err
	}
	sid, _ := claims["sid"].(string)
	return identity.Vouched{Identity: id, Refresh: postern.NewSecret(token.RefreshToken), SID: short(sid)}, nil
}

func (p *Provider) userinfo(ctx context.Context, found *discovered, token *oauth2.Token, sub any) (map[string]any, error) {
	info, err := found.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("%w: userinfo: %w", identity.ErrProviderDown, err)
	}
	if info.Subject == "" || info.Subject != sub { // OpenID Connect Core 1.0, section 5.3.2
		return nil, refused("the userinfo endpoint speaks of another subject")
	}
	return decodeClaims(info)
}

// identity is the person that claims speak of.
func (p *Provider) identity(claims map[string]any) (postern.Identity, error) {
	sub, _ := claims["sub"].(string)
	id := postern.Identity{Kind: postern.User, Subject: p.cfg.Name + ":" + sub}
	value, ok := lookup(claims, p.cfg.NameClaim)
	if id.Name, _ = value.(string); !ok || id.Name == "" {
		return id, refused("neither the ID token nor userinfo has the claim %s as a text: set name_claim to one of %s", p.cfg.NameClaim, texts(claims))
	}
	if p.cfg.NameClaim == "email" && claims["email_verified"] != true {
		// Anybody can claim any address that nobody has verified.
		return id, refused("name_claim is email, and the provider doesn't say that it has verified the address (email_verified)")
	}
	if email, _ := claims["email"].(string); claims["email_verified"] != false && isAddress(email) {
		id.Email = email
	}
	var err error
	if id.Groups, err = groups(claims, p.cfg.GroupsClaim); err != nil {
		return id, err
	}
	id.Claims, err = flatten(claims)
	return id, err
}

func isAddress(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text && len(text) <= 254
}

// texts names the claims that hold a text, for whoever has to choose one.
func texts(claims map[string]any) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		if _, ok := claims[name].(string); ok && !volatile(name) {
			names = append(names, name)
		}
	}
	return short(strings.Join(names, ", "))
}

// lookup finds a claim: by its whole name, as "https://corp.example/groups", or
// by a path, as "realm_access.roles".
func lookup(claims map[string]any, name string) (any, bool) {
	if name == "" {
		return nil, false
	}
	if v, ok := claims[name]; ok {
		return v, true
	}
	first, rest, nested := strings.Cut(name, ".")
	inner, ok := claims[first].(map[string]any)
	if !nested || !ok {
		return nil, false
	}
	return lookup(inner, rest)
}

// groups reads a claim of groups: a list of texts, or one text. A person
// without any may lack the claim.
func groups(claims map[string]any, name string) ([]string, error) {
	value, ok := lookup(claims, name)
	if !ok || value == nil {
		return nil, nil
	}
	switch value := value.(type) {
	case string:
		return []string{value}, nil
	case []any:
		var all []string
		for _, item := range value {
			group, ok := item.(string)
			if !ok {
				return nil, refused("the claim %s lists something that is no text", name)
			}
			all = append(all, group)
		}
		return all, nil
	}
	return nil, refused("the claim %s is no list of texts", name)
}

// volatile claims are about the token or the moment, not about the person.
func volatile(name string) bool {
	return slices.Contains([]string{"iat", "exp", "nbf", "nonce", "jti", "at_hash", "c_hash", "s_hash", "sid"}, name)
}

var errTooManyClaims = errors.New("the claims are too many, too deep or too large")

// flatten is the claims as policies see them: a nested claim's name is dotted,
// a list's value is its JSON.
func flatten(claims map[string]any) (postern.Claims, error) {
	out, size := postern.Claims{}, 0
	var walk func(prefix string, claims map[string]any, depth int) error
	walk = func(prefix string, claims map[string]any, depth int) error {
		for name, value := range claims {
			if prefix == "" && volatile(name) {
				continue
			}
			if inner, ok := value.(map[string]any); ok && depth < maxDepth {
				if err := walk(prefix+name+".", inner, depth+1); err != nil {
					return err
				}
				continue
			}
			text, ok := value.(string)
			if !ok {
				encoded, err := json.Marshal(value)
				if err != nil {
					return errTooManyClaims
				}
				text = string(encoded)
			}
			out[prefix+name] = text
			if size += len(prefix) + len(name) + len(text); size > maxClaimBytes || len(out) > maxClaims {
				return errTooManyClaims
			}
		}
		return nil
	}
	if err := walk("", claims, 1); err != nil {
		return nil, fmt.Errorf("%w: %w", identity.ErrUnauthenticated, err)
	}
	return out, nil
}

var (
	_ claimer = (*gooidc.IDToken)(nil)
	_ claimer = (*gooidc.UserInfo)(nil)
)
