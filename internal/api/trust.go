package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"postern/internal/identity"
	"postern/internal/identity/oidc"
	"postern/internal/identity/workload"
)

// Trust is whose word counts about who somebody is.
type Trust struct {
	Providers []TrustedProvider `json:"providers" doc:"Where people sign in, in the order in which they are offered."`
	Workloads []TrustedWorkload `json:"workloads" doc:"The rules by which programs get in with a JWT that they hold already, in the order in which they are tried."`
}

// TrustedProvider is where people sign in.
type TrustedProvider struct {
	Name        string       `json:"name"`
	Title       string       `json:"title" doc:"What people read who choose one."`
	Issuer      string       `json:"issuer" doc:"What the provider calls itself; exactly this is taken."`
	NameClaim   string       `json:"name_claim" doc:"The claim that a person's name comes from."`
	GroupsClaim string       `json:"groups_claim" doc:"The claim that groups come from; empty: there are none."`
	KeptIn      string       `json:"kept_in" doc:"The file and line that declare it; empty: it is built in."`
	Discovery   IssuerHealth `json:"discovery" doc:"Of asking it what it says of itself."`
	Keys        IssuerHealth `json:"keys" doc:"Of asking it for the keys that it signs with."`
}

// TrustedWorkload is a rule about the tokens of one issuer.
type TrustedWorkload struct {
	Name     string       `json:"name"`
	Issuer   string       `json:"issuer" doc:"The tokens' iss, exactly."`
	Audience string       `json:"audience" doc:"The tokens' only aud, exactly."`
	Match    string       `json:"match" doc:"The condition over claims that they meet, in CEL."`
	Identity string       `json:"identity" doc:"What they are called: a text with claims in it."`
	Groups   []string     `json:"groups" doc:"The groups that policies see."`
	TTL      string       `json:"ttl" doc:"How long the login lasts that a token is exchanged for."`
	Reuse    bool         `json:"reuse" doc:"A token may be exchanged more than once."`
	KeysAt   string       `json:"keys_at" doc:"The URL or the file that the issuer's keys come from; empty: where its discovery document says."`
	KeptIn   string       `json:"kept_in" doc:"The file and line that declare it."`
	Keys     IssuerHealth `json:"keys" doc:"Of asking the issuer for the keys that it signs with."`
}

// IssuerHealth is how somebody answers whom this gateway asks.
type IssuerHealth struct {
	State   string    `json:"state" enum:"answers,fails,unasked" doc:"How the last answer was."`
	AskedAt time.Time `json:"asked_at,omitzero" doc:"When it was last asked."`
	GoodAt  time.Time `json:"good_at,omitzero" doc:"When the answer was last as it should be. Absent: not since the gateway started."`
	Error   string    `json:"error,omitempty" doc:"Why the last answer wasn't as it should be."`
}

func (a *api) trustRoutes(h huma.API) {
	type nothing struct{}
	type output struct{ Body Trust }
	handle(a, h, operation(http.MethodGet, "/trust", "trust", "identity", "Whose word counts about who somebody is, and whether they answer"),
		func(ctx context.Context, _ caller, _ *nothing) (*output, error) {
			return &output{Body: a.trust(ctx)}, nil
		})
}

// trust asks everybody at once who hasn't answered lately, as one that is down
// takes its time.
func (a *api) trust(ctx context.Context) Trust {
	out := Trust{Providers: make([]TrustedProvider, len(a.Providers)), Workloads: []TrustedWorkload{}}
	var asking sync.WaitGroup
	for i, p := range a.Providers {
		asking.Go(func() { out.Providers[i] = trustedProvider(p, p.Look(ctx)) })
	}
	if a.Workloads != nil {
		for _, t := range a.Workloads.Trusted(ctx) {
			out.Workloads = append(out.Workloads, trustedWorkload(t))
		}
	}
	asking.Wait()
	return out
}

func trustedProvider(p *oidc.Provider, health oidc.Health) TrustedProvider {
	return TrustedProvider{
		Name: p.Name(), Title: p.Title(), Issuer: p.Issuer(), NameClaim: p.NameClaim(), GroupsClaim: p.GroupsClaim(), KeptIn: p.Place(),
		Discovery: issuerHealth(health.Discovery), Keys: issuerHealth(health.Keys),
	}
}

func trustedWorkload(t workload.Trusted) TrustedWorkload {
	return TrustedWorkload{
		Name: t.Name, Issuer: t.Issuer, Audience: t.Audience, Match: t.Match, Identity: t.Identity, Groups: list(t.Groups), TTL: t.Life.String(), Reuse: t.Reuse,
		KeysAt: t.JWKSURL + t.JWKSFile, KeptIn: t.Place, Keys: issuerHealth(t.Keys), // a rule has one of the two at most
	}
}

func issuerHealth(ans identity.Answers) IssuerHealth {
	h := IssuerHealth{State: "answers", AskedAt: utc(ans.Asked), GoodAt: utc(ans.Good)}
	switch {
	case ans.Asked.IsZero():
		h.State = "unasked"
	case ans.Err != nil:
		h.State, h.Error = "fails", foreign(ans.Err.Error())
	}
	return h
}

// maxForeign bounds a text that a stranger has a part in, in characters.
const maxForeign = 400

// foreign is a text that a stranger has a part in, fit to be shown: short, and
// without what would steer a screen.
func foreign(text string) string {
	short := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	if len(short) > maxForeign {
		short = append(short[:maxForeign], '…')
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, string(short))
}
