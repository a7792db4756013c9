package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/elimity-com/scim"
	scimerrors "github.com/elimity-com/scim/errors"
	"github.com/elimity-com/scim/optional"
	"github.com/elimity-com/scim/schema"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/directory"
)

// Bounds of what a directory sends.
const (
	maxSCIMFilter     = 2 << 10
	maxSCIMOperations = 1000
	maxSCIMPath       = 512
	scimPage          = 500
)

// scimHandler serves /scim/v2 (RFC 7644) for providers' directories.
func (a *api) scimHandler() (http.Handler, error) {
	users := scim.ResourceType{
		ID: optional.NewString("User"), Name: "User", Endpoint: "/Users", Description: optional.NewString("A person, and their account"),
		Schema: schema.CoreUserSchema(), SchemaExtensions: []scim.SchemaExtension{{Schema: schema.ExtensionEnterpriseUser()}},
	}
	groups := scim.ResourceType{
		ID: optional.NewString("Group"), Name: "Group", Endpoint: "/Groups", Description: optional.NewString("A group that policies may speak of"),
		Schema: schema.CoreGroupSchema(),
	}
	users.Handler, groups.Handler = &scimUsers{api: a}, &scimGroups{api: a}
	server, err := scim.NewServer(&scim.ServerArgs{
		ServiceProviderConfig: &scim.ServiceProviderConfig{
			MaxResults: scimPage, SupportFiltering: true, SupportPatch: true,
			AuthenticationSchemes: []scim.AuthenticationScheme{{
				Type: scim.AuthenticationTypeOauthBearerToken, Name: "Bearer token", Primary: true,
				Description: "What `postern scim-token create` prints.",
			}},
		},
		ResourceTypes: []scim.ResourceType{users, groups},
	}, scim.WithBaseURL(strings.TrimSuffix(a.PublicURL, "/")+"/scim/v2"))
	if err != nil {
		return nil, fmt.Errorf("api: SCIM: %w", err)
	}
	inner := http.StripPrefix("/scim", server)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := bounded(w, r, a.Now())
		defer cancel()
		d, err := a.directoryCaller(ctx, r)
		if err == nil {
			err = prepareSCIM(r)
		}
		if err != nil {
			refuseSCIM(w, err)
			return
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(ctx, directoryKey{}, d)))
	}), nil
}

// directoryKey is the key of a call's directory in its context.
type directoryKey struct{}

// directoryCall is whose directory calls, and with which token.
type directoryCall struct {
	caller
	token  postern.SCIMToken
	source directory.Source
}

// directoryCaller finds out whose directory calls. Every refusal is the same.
func (a *api) directoryCaller(ctx context.Context, r *http.Request) (directoryCall, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || len(secret) > maxBearer {
		secret = ""
	}
	source := sourceOf(r.RemoteAddr)
	t, err := a.Identity.AuthenticateSCIM(ctx, postern.NewSecret(strings.TrimSpace(secret)), source)
	if err == nil {
		return directoryCall{
			caller: caller{source: source}, token: t,
			source: directory.Source{Provider: t.Provider, SubjectIsExternalID: t.Subjects == identity.ExternalIDs},
		}, nil
	}
	a.Log.Warn("directory not known", "source", source, "cause", err)
	if errors.Is(err, identity.ErrTooMany) {
		return directoryCall{}, scimerrors.ScimError{Status: http.StatusTooManyRequests, Detail: identity.ErrTooMany.Error()}
	}
	return directoryCall{}, scimerrors.ScimError{Status: http.StatusUnauthorized, Detail: "this token isn't good for SCIM; an administrator makes one with `postern scim-token create`"}
}

// directoryOf is the call that a handler serves.
func directoryOf(r *http.Request) directoryCall {
	d, _ := r.Context().Value(directoryKey{}).(directoryCall) // scimHandler has put it there
	return d
}

func refuseSCIM(w http.ResponseWriter, err error) {
	var known scimerrors.ScimError
	if !errors.As(err, &known) {
		known = scimerrors.ScimErrorInvalidSyntax
	}
	w.Header().Set("Content-Type", "application/scim+json")
	switch known.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="postern SCIM"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	}
	w.WriteHeader(known.Status)
	_ = json.NewEncoder(w).Encode(known) // the client may have gone
}

// prepareSCIM bounds what the library is going to parse, and spells what some
// directories spell otherwise: Entra ID sends "active": "False".
func prepareSCIM(r *http.Request) error {
	if len(r.URL.Query().Get("filter")) > maxSCIMFilter {
		return scimerrors.ScimErrorInvalidFilter
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return scimerrors.ScimError{Status: http.StatusRequestEntityTooLarge, Detail: "the request is too large"}
	}
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return scimerrors.ScimErrorInvalidSyntax
	}
	for name, value := range doc {
		if strings.EqualFold(name, "filter") {
			if text, ok := value.(string); ok && len(text) > maxSCIMFilter {
				return scimerrors.ScimErrorInvalidFilter
			}
		}
		if strings.EqualFold(name, "operations") {
			operations, _ := value.([]any)
			if len(operations) > maxSCIMOperations {
				return scimerrors.ScimErrorTooMany
			}
			for _, o := range operations {
				if err := prepareOperation(o); err != nil {
					return err
				}
			}
		}
	}
	respell(doc)
	if body, err = json.Marshal(doc); err != nil {
		return scimerrors.ScimErrorInvalidSyntax
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

func prepareOperation(o any) error {
	operation, _ := o.(map[string]any)
	about := ""
	for name, value := range operation {
		if strings.EqualFold(name, "path") {
			about, _ = value.(string)
			if len(about) > maxSCIMPath {
				return scimerrors.ScimErrorInvalidPath
			}
		}
	}
	for name, value := range operation {
		if !strings.EqualFold(name, "value") {
			continue
		}
		if strings.EqualFold(about, "active") {
			operation[name] = truth(value)
		}
		if inner, ok := value.(map[string]any); ok {
			respell(inner)
		}
	}
	return nil
}

func respell(doc map[string]any) {
	for name, value := range doc {
		if strings.EqualFold(name, "active") {
			doc[name] = truth(value)
		}
	}
}

// truth is the truth value that a text spells.
func truth(value any) any {
	text, ok := value.(string)
	switch {
	case ok && strings.EqualFold(text, "true"):
		return true
	case ok && strings.EqualFold(text, "false"):
		return false
	}
	return value
}

// scimError words an error for a directory.
func (a *api) scimError(err error) error {
	if err == nil {
		return nil
	}
	var known scimerrors.ScimError
	var refused *RefusedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, postern.ErrNotFound):
		return scimerrors.ScimError{Status: http.StatusNotFound, Detail: "there is no such resource"}
	case errors.Is(err, directory.ErrConflict), errors.Is(err, identity.ErrTaken), errors.Is(err, identity.ErrExists):
		return scimerrors.ScimError{Status: http.StatusConflict, ScimType: scimerrors.ScimTypeUniqueness, Detail: err.Error()}
	case errors.Is(err, directory.ErrGuarded):
		return scimerrors.ScimError{Status: http.StatusForbidden, Detail: err.Error()}
	case errors.Is(err, directory.ErrInvalid), errors.Is(err, identity.ErrInvalid):
		return scimerrors.ScimError{Status: http.StatusBadRequest, ScimType: scimerrors.ScimTypeInvalidValue, Detail: err.Error()}
	case errors.As(err, &refused):
		return scimerrors.ScimError{Status: http.StatusBadRequest, ScimType: scimerrors.ScimTypeInvalidValue, Detail: refused.Reason}
	}
	a.Log.Error("directory's call failed", "error", err)
	return scimerrors.ScimError{Status: http.StatusInternalServerError, Detail: "the gateway could not do this; its log says why"}
}

// scimAct does what a directory says, as one transaction with its entry. That it was
// refused for its limits has an entry of its own.
func (a *api) scimAct(r *http.Request, action, target string, do func(context.Context, directoryCall) error) error {
	d := directoryOf(r)
	entry := postern.AuditEntry{Action: action, Target: target, Identity: "scim-token:" + d.token.Name, Reason: "by the directory of " + d.token.Provider}
	ctx := r.Context()
	err := a.change(ctx, d.caller, entry, func(ctx context.Context) error { return do(ctx, d) })
	if errors.Is(err, directory.ErrGuarded) {
		entry.Action, entry.Outcome, entry.Reason = "scim.guard", "refused", err.Error()
		if err := a.note(context.WithoutCancel(ctx), d.caller, entry); err != nil {
			return a.scimError(err)
		}
	}
	return a.scimError(err)
}
