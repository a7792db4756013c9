package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postern"
)

// UserChange is what a directory says of a person, and what of it matters here.
type UserChange struct {
	UserName   string
	ExternalID string
	Email      string
	Active     bool
	Attributes string // JSON, for the directory to read again
}

// CreateUser takes a person in. They get an account under their user name, or
// the one that waits for them.
func (d *Directory) CreateUser(ctx context.Context, src Source, c UserChange) (postern.DirectoryUser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.cfg.Store.DirectoryUsers(ctx, src.Provider)
	if err != nil {
		return postern.DirectoryUser{}, err
	}
	if err := free(all, "", c); err != nil {
		return postern.DirectoryUser{}, err
	}
	if len(all) >= maxUsers {
		return postern.DirectoryUser{}, fmt.Errorf("%w: a directory has at most %d people", ErrInvalid, maxUsers)
	}
	now := d.cfg.Now().UTC()
	u := postern.DirectoryUser{Provider: src.Provider, Account: c.UserName, CreatedAt: now, ModifiedAt: now}
	// One who was deleted, and comes back under the name of their account.
	i := slices.IndexFunc(all, func(a postern.DirectoryUser) bool { return a.Deleted && a.Account == c.UserName })
	if i >= 0 {
		u.ID, u.Disabled, u.CreatedAt = all[i].ID, all[i].Disabled, all[i].CreatedAt
	} else if u.ID, err = d.newID("du_"); err != nil {
		return postern.DirectoryUser{}, err
	}
	return d.put(ctx, src, u, c)
}

// free says whether a user name and an external id belong to nobody but id.
func free(all []postern.DirectoryUser, id string, c UserChange) error {
	for _, u := range all {
		switch {
		case u.ID == id || u.Deleted:
		case same(u.UserName, c.UserName):
			return fmt.Errorf("%w: userName %q", ErrConflict, c.UserName)
		case c.ExternalID != "" && u.ExternalID == c.ExternalID:
			return fmt.Errorf("%w: externalId %q", ErrConflict, c.ExternalID)
		}
	}
	return nil
}

// ReplaceUser takes what a directory says of a person now. Their account keeps
// its name whatever they are called there: a name that can be changed elsewhere
// must not make them somebody of whom a policy speaks. change makes of what is
// known what is said now; no other change comes between.
func (d *Directory) ReplaceUser(ctx context.Context, src Source, id string, change func(postern.DirectoryUser) (UserChange, error)) (postern.DirectoryUser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u, err := d.User(ctx, src, id)
	if err != nil {
		return postern.DirectoryUser{}, err
	}
	c, err := change(u)
	if err != nil {
		return postern.DirectoryUser{}, err
	}
	all, err := d.cfg.Store.DirectoryUsers(ctx, src.Provider)
	if err != nil {
		return postern.DirectoryUser{}, err
	}
	if err := free(all, id, c); err != nil {
		return postern.DirectoryUser{}, err
	}
	if u.Active && !c.Active {
		if err := d.guard(ctx, src, []string{u.ID}); err != nil {
			return postern.DirectoryUser{}, err
		}
	}
	return d.put(ctx, src, u, c)
}

// DeleteUser takes everything from a person. Their account stays, disabled:
// else whoever can still sign in at the provider would have a new one.
func (d *Directory) DeleteUser(ctx context.Context, src Source, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	u, err := d.User(ctx, src, id)
	if err != nil {
		return err
	}
	if err := d.guard(ctx, src, []string{u.ID}); err != nil {
		return err
	}
	if err := d.switchOff(ctx, &u); err != nil {
		return err
	}
	groups, err := d.cfg.Store.DirectoryGroups(ctx, src.Provider)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if i := slices.Index(g.Members, u.ID); i >= 0 {
			g.Members = slices.Delete(g.Members, i, i+1)
			if err := d.cfg.Store.PutDirectoryGroup(ctx, g); err != nil {
				return err
			}
		}
	}
	u.Active, u.Deleted, u.Attributes, u.ModifiedAt = false, true, "{}", d.cfg.Now().UTC()
	return d.cfg.Store.PutDirectoryUser(ctx, u)
}

// put brings a person's account in line with what their directory says, and
// then keeps what it said. What is taken away comes first. The caller holds mu.
func (d *Directory) put(ctx context.Context, src Source, u postern.DirectoryUser, c UserChange) (postern.DirectoryUser, error) {
	was := u
	u.UserName, u.ExternalID, u.Attributes, u.Active, u.Deleted = c.UserName, c.ExternalID, c.Attributes, c.Active, false
	u.ModifiedAt = d.cfg.Now().UTC()
	if !u.Active && was.Active {
		if err := d.switchOff(ctx, &u); err != nil {
			return postern.DirectoryUser{}, err
		}
	}
	groups, err := d.cfg.Store.DirectoryGroups(ctx, src.Provider)
	if err != nil {
		return postern.DirectoryUser{}, err
	}
	if err := d.provision(ctx, src, u, c.Email, groups); err != nil {
		return postern.DirectoryUser{}, err
	}
	switch {
	case !u.Active && !was.Active && !was.Disabled: // new, and not to be let in
		if err := d.switchOff(ctx, &u); err != nil {
			return postern.DirectoryUser{}, err
		}
	case u.Active && !was.Active && u.Disabled:
		// Only what the directory switched off, it may switch on.
		if _, err := d.cfg.Accounts.Enable(ctx, postern.User, u.Account); err != nil {
			return postern.DirectoryUser{}, err
		}
		u.Disabled = false
	}
	return u, d.cfg.Store.PutDirectoryUser(ctx, u)
}

// switchOff disables a person's account, unless an administrator has.
func (d *Directory) switchOff(ctx context.Context, u *postern.DirectoryUser) error {
	a, err := d.cfg.Accounts.Account(ctx, postern.User, u.Account)
	if errors.Is(err, postern.ErrNotFound) {
		return nil // an administrator has deleted it
	}
	if err != nil || a.Disabled {
		return err
	}
	if _, err := d.cfg.Accounts.Disable(ctx, postern.User, u.Account); err != nil {
		return err
	}
	u.Disabled = true
	return nil
}

// provision gives a person's account the groups that they are in.
func (d *Directory) provision(ctx context.Context, src Source, u postern.DirectoryUser, email string, groups []postern.DirectoryGroup) error {
	id := postern.Identity{Name: u.Account, Kind: postern.User, Subject: src.Provider + ":", Email: email, Groups: groupsOf(u, groups)}
	if src.SubjectIsExternalID {
		id.Subject += u.ExternalID
	}
	_, err := d.cfg.Accounts.Provision(ctx, id)
	return err
}

// groupsOf are the names of the groups that a person is in, in order.
func groupsOf(u postern.DirectoryUser, groups []postern.DirectoryGroup) []string {
	names := []string{}
	for _, g := range groups {
		if _, in := slices.BinarySearch(g.Members, u.ID); in {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	return names
}
