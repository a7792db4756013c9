package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// NewServiceAccount asks for a service account.
type NewServiceAccount struct {
	Name   string   `json:"name" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"`
	Groups []string `json:"groups,omitempty" maxItems:"100"`
}

// ServiceKey is a service account with its key, shown this once.
type ServiceKey struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
	Key    string   `json:"key" doc:"It isn't shown again."`
}

// named is a path that names an account.
type named struct {
	Name string `path:"name" maxLength:"128"`
}

type accountOutput struct{ Body postern.Account }

type accountsOutput struct{ Body Page[postern.Account] }

type keyOutput struct{ Body ServiceKey }

func (a *api) accountRoutes(h huma.API) {
	type nothing struct{}
	lister := func(kind postern.IdentityKind) func(context.Context, caller, *nothing) (*accountsOutput, error) {
		return func(ctx context.Context, _ caller, _ *nothing) (*accountsOutput, error) {
			all, err := a.Identity.Accounts(ctx)
			page := Page[postern.Account]{Items: []postern.Account{}}
			for _, account := range all {
				if account.Kind == kind {
					page.Items = append(page.Items, shown(account))
				}
			}
			return &accountsOutput{Body: page}, err
		}
	}
	setter := func(kind postern.IdentityKind, action string, disabled bool) func(context.Context, caller, *named) (*accountOutput, error) {
		return func(ctx context.Context, c caller, in *named) (*accountOutput, error) {
			account, err := a.setDisabled(ctx, c, kind, in.Name, action, disabled)
			return &accountOutput{Body: account}, err
		}
	}
	const tag = "accounts"
	handle(a, h, operation(http.MethodGet, "/service-accounts", "list-service-accounts", tag, "Service accounts"), lister(postern.Service))
	handle(a, h, operation(http.MethodGet, "/users", "list-users", tag, "People who have an account"), lister(postern.User))
	handle(a, h, operation(http.MethodPost, "/service-accounts/{name}/disable", "disable-service-account", tag, "Disable, and end its sessions"),
		setter(postern.Service, "service-account.disable", true))
	handle(a, h, operation(http.MethodPost, "/service-accounts/{name}/enable", "enable-service-account", tag, "Enable"),
		setter(postern.Service, "service-account.enable", false))
	handle(a, h, operation(http.MethodPost, "/users/{name}/disable", "disable-user", tag, "Disable, and end their sessions"),
		setter(postern.User, "user.disable", true))
	handle(a, h, operation(http.MethodPost, "/users/{name}/enable", "enable-user", tag, "Enable"),
		setter(postern.User, "user.enable", false))
	a.serviceRoutes(h, tag)
}

func (a *api) serviceRoutes(h huma.API, tag string) {
	type createInput struct{ Body NewServiceAccount }
	create := operation(http.MethodPost, "/service-accounts", "create-service-account", tag, "Create, and get its key")
	create.DefaultStatus = http.StatusCreated
	handle(a, h, create, func(ctx context.Context, c caller, in *createInput) (*keyOutput, error) {
		entry := postern.AuditEntry{
			Action: "service-account.create", Target: ref(postern.Service, in.Body.Name),
			Reason: "groups: " + strings.Join(in.Body.Groups, ", "),
		}
		return a.key(ctx, c, entry, func(ctx context.Context) (postern.Account, postern.Secret, error) {
			return a.Identity.CreateServiceAccount(ctx, in.Body.Name, in.Body.Groups)
		})
	})
	handle(a, h, operation(http.MethodPost, "/service-accounts/{name}/rotate", "rotate-service-account", tag, "Replace its key"),
		func(ctx context.Context, c caller, in *named) (*keyOutput, error) {
			entry := postern.AuditEntry{Action: "service-account.rotate", Target: ref(postern.Service, in.Name)}
			return a.key(ctx, c, entry, func(ctx context.Context) (postern.Account, postern.Secret, error) {
				return a.Identity.RotateKey(ctx, in.Name)
			})
		})
	type nothing struct{}
	remove := operation(http.MethodDelete, "/service-accounts/{name}", "delete-service-account", tag, "Delete, and end its sessions")
	remove.DefaultStatus = http.StatusNoContent
	handle(a, h, remove, func(ctx context.Context, c caller, in *named) (*nothing, error) {
		entry := postern.AuditEntry{Action: "service-account.delete", Target: ref(postern.Service, in.Name)}
		return nil, a.change(ctx, c, entry, func(ctx context.Context) error { return a.Identity.Delete(ctx, postern.Service, in.Name) })
	})
}

// key does an act that yields a key.
func (a *api) key(ctx context.Context, c caller, entry postern.AuditEntry, do func(context.Context) (postern.Account, postern.Secret, error)) (*keyOutput, error) {
	var out keyOutput
	err := a.change(ctx, c, entry, func(ctx context.Context) error {
		account, key, err := do(ctx)
		out.Body = ServiceKey{Name: account.Name, Groups: list(account.Groups), Key: key.Reveal()}
		return err
	})
	return &out, err
}

func (a *api) setDisabled(ctx context.Context, c caller, kind postern.IdentityKind, name, action string, disabled bool) (postern.Account, error) {
	if disabled && c.owns(kind, name) {
		return postern.Account{}, &RefusedError{Reason: "you can't disable yourself; another admin can"}
	}
	var account postern.Account
	err := a.change(ctx, c, postern.AuditEntry{Action: action, Target: ref(kind, name)}, func(ctx context.Context) error {
		var err error
		if disabled {
			account, err = a.Identity.Disable(ctx, kind, name)
		} else {
			account, err = a.Identity.Enable(ctx, kind, name)
		}
		return err
	})
	return shown(account), err
}

// shown is an account fit for an answer.
func shown(account postern.Account) postern.Account {
	account.SecretHash, account.Groups = "", list(account.Groups)
	account.CreatedAt, account.RotatedAt, account.LoginAt = utc(account.CreatedAt), utc(account.RotatedAt), utc(account.LoginAt)
	return account
}

// splitRef reads KIND:NAME; a bare name is a user's.
func splitRef(text string) (postern.IdentityKind, string) {
	if kind, name, ok := strings.Cut(text, ":"); ok {
		switch k := postern.IdentityKind(kind); k {
		case postern.User, postern.Service, postern.Workload:
			return k, name
		}
	}
	return postern.User, text
}
