package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/approval"
	"postern/internal/identity"
	"postern/internal/identity/authority"
	"postern/internal/policy"
)

// These are told alike wherever they arise.
var (
	errNotSignedIn = huma.Error401Unauthorized("not signed in, or the login has expired")
	errForbidden   = huma.Error403Forbidden("your identity may not do this")
	errNotFound    = huma.Error404NotFound("there is no such thing, or you may not see it")
	errInternal    = huma.Error500InternalServerError("the gateway could not do this; its log says why")
	errMisdirected = huma.NewError(http.StatusMisdirectedRequest, "this gateway doesn't go by that name")
	errCrossOrigin = huma.Error403Forbidden("pages of other sites can't call this")
	errUnaudited   = huma.Error503ServiceUnavailable("the audit log can't be written, so nothing was done; tell an administrator")
)

// RefusedError is a request that can't be granted as things stand, in words for
// whoever made it: an object that is kept in a file, a review that is decided
// already. Ports return it where the asker, not the gateway, must do something.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// DeniedError is a refusal for lack of a right, in words for whoever asked.
type DeniedError struct{ Reason string }

// Error implements error.
func (e *DeniedError) Error() string { return e.Reason }

// problem turns any error into one that the client may see. What isn't known
// to be fit for people is logged instead.
func (a *api) problem(route string, err error) error {
	var status huma.StatusError
	var refused *RefusedError
	var denied *DeniedError
	var mistake *policy.Problem
	if known := asking(err); known != nil {
		return known
	}
	switch {
	case errors.As(err, &status):
		return status
	case errors.As(err, &denied):
		return huma.Error403Forbidden(denied.Reason)
	case errors.As(err, &refused):
		return huma.Error409Conflict(refused.Reason)
	case errors.As(err, &mistake):
		return mistaken("the objects don't hold up, and nothing was changed", err)
	case errors.Is(err, postern.ErrNotFound):
		return errNotFound
	case errors.Is(err, identity.ErrTooMany):
		return huma.ErrorWithHeaders(huma.Error429TooManyRequests(identity.ErrTooMany.Error()), http.Header{"Retry-After": {"60"}})
	case errors.Is(err, identity.ErrUnauthenticated):
		return errNotSignedIn
	case errors.Is(err, approval.ErrNotApprover):
		return huma.Error403Forbidden(err.Error())
	case errors.Is(err, approval.ErrDecided):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, identity.ErrInvalid), errors.Is(err, approval.ErrInvalid), errors.Is(err, authority.ErrRequest):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, identity.ErrExists), errors.Is(err, identity.ErrTaken), errors.Is(err, identity.ErrDeclared):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, context.Canceled):
		return huma.NewError(499, "the client went away")
	case errors.Is(err, context.DeadlineExceeded):
		a.Log.Error("api call took too long", "route", route, "error", err)
		return huma.Error504GatewayTimeout("this took too long; try again")
	default:
		a.Log.Error("api call failed", "route", route, "error", err)
		return errInternal
	}
}

// mistaken is the answer to a document with mistakes: each of them, by itself.
func mistaken(detail string, err error) error {
	var details []error
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		details = append(details, errors.New(strings.TrimRight(line, "\n")))
	}
	return huma.Error422UnprocessableEntity(detail, details...)
}

// writeProblem renders an error outside of the described API.
func writeProblem(w http.ResponseWriter, err error) {
	var status huma.StatusError
	if !errors.As(err, &status) {
		status = errInternal
	}
	if status.GetStatus() == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="postern"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status.GetStatus())
	_ = json.NewEncoder(w).Encode(status) // the client may have gone
}

// withoutValues takes what the client sent out of problem documents: it may be
// a password.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	clean := *model
	clean.Errors = make([]*huma.ErrorDetail, len(model.Errors))
	for i, e := range model.Errors {
		clean.Errors[i] = &huma.ErrorDetail{Message: e.Message, Location: e.Location}
	}
	return &clean, nil
}
