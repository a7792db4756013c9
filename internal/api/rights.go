package api

import (
	"context"
	"net/netip"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// right says who may call a route. The zero right is nobody's.
type right uint8

const (
	nobody          right = iota
	anyone                // without signing in
	signedIn              // whoever has an identity
	owner                 // whoever has an identity: for what is theirs; auditors and admins for all
	ownerOrAdmin          // whoever has an identity: for what is theirs; admins for all
	approver              // whoever the thing itself names
	asker                 // whoever asked for it
	askerOrApprover       // whoever asked for it, whoever may decide over it, and admins
	auditor               // auditors and admins
	admin
)

// rights is the one table of who may call what. A route that isn't in it can't
// be registered.
func rights() map[string]right {
	return map[string]right{
		"POST /login":                          anyone,
		"POST /login/break-glass":              anyone, // by a secret of 238 bits
		"POST /login/break-glass/{id}/confirm": anyone, // by what a second person signs in with
		"POST /login/offline":                  anyone, // by an offline grant's code, of 238 bits
		"POST /factors/totp":                   signedIn,
		"POST /factors/totp/confirm":           signedIn,
		"DELETE /users/{name}/factors":         admin,
		"POST /logout":                         signedIn,
		"GET /whoami":                          signedIn,

		"GET /logins":         owner,
		"DELETE /logins/{id}": ownerOrAdmin,

		"GET /resources":      signedIn,
		"POST /tokens":        signedIn,
		"GET /tokens":         owner,
		"DELETE /tokens/{id}": ownerOrAdmin,

		"POST /certificates":        signedIn,
		"GET /certificates":         owner,
		"DELETE /certificates/{id}": ownerOrAdmin,
		"GET /authorities":          signedIn,
		"POST /delegations":         signedIn,
		"GET /delegations":          owner,
		"DELETE /delegations/{id}":  ownerOrAdmin,
		"POST /ssh-keys":            signedIn,
		"GET /ssh-keys":             owner,
		"DELETE /ssh-keys/{id}":     ownerOrAdmin,

		"GET /service-accounts":                 admin,
		"POST /service-accounts":                admin,
		"POST /service-accounts/{name}/rotate":  admin,
		"POST /service-accounts/{name}/disable": admin,
		"POST /service-accounts/{name}/enable":  admin,
		"DELETE /service-accounts/{name}":       admin,
		"GET /users":                            admin,
		"POST /users/{name}/disable":            admin,
		"POST /users/{name}/enable":             admin,

		"GET /trust": auditor,

		"GET /scim-tokens":                        admin,
		"POST /scim-tokens":                       admin,
		"DELETE /scim-tokens/{name}":              admin,
		"POST /scim-tokens/{name}/allow-removals": admin,

		"GET /reviews":               owner,
		"GET /reviews/{id}":          owner,
		"POST /reviews/{id}/approve": approver,
		"POST /reviews/{id}/deny":    approver,

		"GET /requests":                 owner,
		"POST /requests":                signedIn,
		"GET /requests/{id}":            owner,
		"POST /requests/{id}/approve":   approver,
		"POST /requests/{id}/deny":      approver,
		"POST /requests/{id}/revoke":    askerOrApprover,
		"POST /requests/{id}/extend":    asker,
		"POST /requests/{id}/look-over": approver,

		"GET /offline-grants":               owner, // and those who may approve them
		"POST /offline-grants":              admin,
		"POST /offline-grants/{id}/approve": approver,
		"POST /offline-grants/{id}/revoke":  ownerOrAdmin,

		"GET /access/unused":             auditor,
		"GET /notifications":             auditor,
		"POST /notifications/{id}/retry": admin,
		"GET /policy/shadow":             auditor,

		"GET /sessions":                   owner,
		"GET /sessions/{id}":              owner,
		"GET /sessions/{id}/events":       owner, // and as Recordings objects say; while it is open, for those whom one names in watch
		"GET /sessions/{id}/replay":       owner, // the same
		"POST /sessions/{id}/kill":        ownerOrAdmin,
		"DELETE /sessions/{id}/recording": admin,

		"GET /commands": owner, // and of others, for those who may see their recordings

		"GET /audit":         auditor,
		"GET /audit/export":  auditor,
		"POST /audit/verify": auditor,
		"GET /audit/key":     signedIn,

		"GET /audit/search":              auditor,
		"GET /audit/checkpoint":          auditor,
		"GET /audit/entries/{seq}/proof": auditor,
		"GET /audit/consistency":         auditor,

		"GET /objects":                  auditor,
		"GET /objects/{kind}/{name}":    auditor,
		"GET /objects/keys":             signedIn,
		"POST /objects/plan":            admin,
		"POST /objects/apply":           admin,
		"DELETE /objects/{kind}/{name}": admin,
		"POST /secrets/seal":            admin,

		"POST /resources/{name}/classify": admin,

		"POST /policy/explain": owner,
		"POST /policy/test":    auditor,
		"GET /status":          auditor,

		"GET /changes":             signedIn,
		"GET /insights":            auditor,
		"GET /sql/{resource}":      signedIn,
		"GET /terminal/{resource}": signedIn,
	}
}

// describe says in the API's description who may call.
func (r right) describe() string {
	switch r {
	case anyone:
		return "Anyone may call this."
	case signedIn:
		return "Whoever is signed in may call this."
	case owner:
		return "Whoever is signed in may call this for what is theirs; auditors and admins for all."
	case ownerOrAdmin:
		return "Whoever is signed in may call this for what is theirs; admins for all."
	case approver:
		return "Those whom the rule names as approvers may call this."
	case asker:
		return "Whoever asked for it may call this."
	case askerOrApprover:
		return "Whoever asked for it, those who may approve it, and admins may call this."
	case auditor:
		return "Auditors and admins may call this."
	case admin:
		return "Admins may call this."
	default:
		return "Nobody may call this."
	}
}

// caller is who calls, and how far their rights reach on this route.
type caller struct {
	identity postern.Identity
	bearer   postern.Secret
	source   netip.Addr
	cookie   bool // bearer came as a browser's cookie
	admin    bool
	auditor  bool // or admin
	all      bool // the route's right reaches beyond what is the caller's own

	// With a delegation, identity is the person's, and actor the caller's own.
	delegation string
	actor      postern.Identity
}

// owns says whether something that belongs to an identity is the caller's own.
func (c caller) owns(kind postern.IdentityKind, name string) bool {
	return name != "" && name == c.identity.Name && kind == c.identity.Kind
}

// may says whether the caller may touch something of that identity on this route.
func (c caller) may(kind postern.IdentityKind, name string) bool { return c.all || c.owns(kind, name) }

// ref names the caller for the audit log and for people: "user:alice".
func (c caller) ref() string { return ref(c.identity.Kind, c.identity.Name) }

func ref(kind postern.IdentityKind, name string) string { return string(kind) + ":" + name }

// admit lets a caller through to a route, or says why not.
func (a *api) admit(ctx huma.Context, need right) (caller, error) {
	if need == anyone {
		return caller{source: sourceOf(ctx.RemoteAddr())}, nil
	}
	c, err := a.identify(ctx.Context(), ctx)
	if err != nil {
		return caller{}, err
	}
	c, ok := c.reach(need)
	if !ok {
		a.Log.Warn("api call refused", "identity", c.identity.Name, "method", ctx.Method(), "path", ctx.Operation().Path, "source", c.source)
		if action := noted(ctx.Method() + " " + ctx.Operation().Path); action != "" {
			entry := postern.AuditEntry{Action: action, Outcome: "refused", Reason: "only admins may: the caller's role doesn't reach so far"}
			if err := a.note(context.WithoutCancel(ctx.Context()), c, entry); err != nil {
				return caller{}, err
			}
		}
		return caller{}, errForbidden
	}
	return c, nil
}

// noted is the act in the audit log under which it is noted that somebody tried a
// route whom the table doesn't let in; "" for most, of which only the gateway's
// own log tells.
func noted(route string) string {
	if route == "POST /offline-grants" {
		return "offline-grant.issue"
	}
	return ""
}

// reach is the caller with how far their rights reach where need is asked for;
// ok is false when they don't reach there at all.
func (c caller) reach(need right) (_ caller, ok bool) {
	switch need {
	case signedIn, approver, asker, askerOrApprover:
		ok = true
	case owner:
		ok, c.all = true, c.auditor
	case ownerOrAdmin:
		ok, c.all = true, c.admin
	case auditor:
		ok, c.all = c.auditor, true
	case admin:
		ok, c.all = c.admin, true
	}
	return c, ok
}

// maxBearer bounds a bearer token, in bytes.
const maxBearer = 8 << 10

// identify finds out who calls: with a bearer token, or else with a browser's
// cookie.
func (a *api) identify(ctx context.Context, h head) (caller, error) {
	if h.Header("Authorization") == "" && h.Header("Cookie") != "" {
		return a.cookieCaller(ctx, h)
	}
	return a.authenticate(ctx, h.Header("Authorization"), h.RemoteAddr())
}

// authenticate finds out who calls with a bearer token.
func (a *api) authenticate(ctx context.Context, authorization, remote string) (caller, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "bearer") || token == "" || len(token) > maxBearer {
		return caller{}, errNotSignedIn
	}
	return a.recognised(ctx, caller{bearer: postern.NewSecret(token), source: sourceOf(remote)})
}

// again says whether what the caller came in with still lets them in.
func (a *api) again(ctx context.Context, c caller) (postern.Identity, error) {
	if c.cookie {
		return a.Identity.AuthenticateCookie(ctx, c.bearer)
	}
	return a.Identity.AuthenticateBearer(ctx, c.bearer)
}

// recognised is a caller with the identity behind what they came with.
func (a *api) recognised(ctx context.Context, c caller) (caller, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	id, err := a.again(ctx, c)
	if err != nil || id.Name == "" {
		a.Log.Info("api caller not known", "source", c.source, "cause", err)
		return caller{}, errNotSignedIn
	}
	return a.withRoles(c, id), nil
}

// withRoles is a caller with an identity, and the roles that it has. One that
// acts on another's behalf has a role only when both have it.
func (a *api) withRoles(c caller, id postern.Identity) caller {
	c.identity = id
	has := func(role []postern.Principal) bool {
		return postern.MatchesAny(role, id) && (id.Actor == nil || postern.MatchesAny(role, *id.Actor))
	}
	c.admin = has(a.Admins)
	c.auditor = c.admin || has(a.Auditors)
	return c
}

// sourceOf is the address of a request's sender; the zero Addr when it has none.
func sourceOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// parseAddr is an address as it was kept; the zero Addr when it is none.
func parseAddr(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}
