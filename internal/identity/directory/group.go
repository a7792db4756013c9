package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern"
)

// GroupChange is what a directory says of a group.
type GroupChange struct {
	Name       string
	ExternalID string
	Members    []string // ids of its people
}

// CreateGroup takes a group in. Its name is the one that policies speak of; no
// two groups have it, of whatever directory.
func (d *Directory) CreateGroup(ctx context.Context, src Source, c GroupChange) (postern.DirectoryGroup, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now().UTC()
	id, err := d.newID("dg_")
	if err != nil {
		return postern.DirectoryGroup{}, err
	}
	return d.putGroup(ctx, src, postern.DirectoryGroup{ID: id, Provider: src.Provider, CreatedAt: now}, c)
}

// ReplaceGroup takes what a directory says of a group now. Rights follow the
// names in policies: renamed, a group loses what the old name gave its members,
// and has what the new name gives. That a rename gives somebody rights is
// refused, because many directories let a group's owner rename it. change makes
// of what is known what is said now; no other change comes between.
func (d *Directory) ReplaceGroup(ctx context.Context, src Source, id string, change func(postern.DirectoryGroup) (GroupChange, error)) (postern.DirectoryGroup, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, err := d.Group(ctx, src, id)
	if err != nil {
		return postern.DirectoryGroup{}, err
	}
	c, err := change(g)
	if err != nil {
		return postern.DirectoryGroup{}, err
	}
	if g.Name != c.Name && !d.cfg.Limits.RenameToNamed && d.cfg.Named(c.Name) {
		d.cfg.Log.Error("directory refused: a group would be renamed to one that policies or roles speak of", "provider", src.Provider, "group", g.Name, "to", c.Name)
		return postern.DirectoryGroup{}, fmt.Errorf("%w: group %q can't be renamed to %q, which policies or roles of the gateway speak of: "+
			"make a new group of that name, or have its administrator set identity.scim.rename_to_named", ErrInvalid, g.Name, c.Name)
	}
	return d.putGroup(ctx, src, g, c)
}

// DeleteGroup removes a group; its members lose what they had by it.
func (d *Directory) DeleteGroup(ctx context.Context, src Source, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, err := d.Group(ctx, src, id)
	if err != nil {
		return err
	}
	if err := d.guard(ctx, src, g.Members); err != nil {
		return err
	}
	// Rights first: a group that is still there, because that failed, is deleted again.
	groups, err := d.cfg.Store.DirectoryGroups(ctx, src.Provider)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(groups, func(other postern.DirectoryGroup) bool { return other.ID == id })
	if err := d.follow(ctx, src, g.Members, rest); err != nil {
		return err
	}
	return d.cfg.Store.DeleteDirectoryGroup(ctx, id)
}

// putGroup keeps what a directory says of a group, and brings the accounts of
// those in line who came or went. The caller holds mu.
func (d *Directory) putGroup(ctx context.Context, src Source, was postern.DirectoryGroup, c GroupChange) (postern.DirectoryGroup, error) {
	next := was
	next.Name, next.ExternalID, next.ModifiedAt = c.Name, c.ExternalID, d.cfg.Now().UTC()
	next.Members = slices.Compact(slices.Sorted(slices.Values(c.Members)))
	if err := d.checkGroup(ctx, src, next); err != nil {
		return postern.DirectoryGroup{}, err
	}
	gone := slices.Clone(was.Members)
	if was.Name == next.Name {
		gone = slices.DeleteFunc(gone, func(m string) bool { return slices.Contains(next.Members, m) })
	}
	if err := d.guard(ctx, src, gone); err != nil {
		return postern.DirectoryGroup{}, err
	}
	groups, err := d.cfg.Store.DirectoryGroups(ctx, src.Provider)
	if err != nil {
		return postern.DirectoryGroup{}, err
	}
	if i := slices.IndexFunc(groups, func(g postern.DirectoryGroup) bool { return g.ID == next.ID }); i >= 0 {
		groups[i] = next
	} else {
		groups = append(groups, next)
	}
	// What is lost, before the group is kept as it is now: should that fail, the
	// directory says the same again, and it counts. What is gained, afterwards.
	if err := d.follow(ctx, src, gone, groups); err != nil {
		return postern.DirectoryGroup{}, err
	}
	if err := d.cfg.Store.PutDirectoryGroup(ctx, next); err != nil {
		return postern.DirectoryGroup{}, err
	}
	return next, d.follow(ctx, src, next.Members, groups)
}

func (d *Directory) checkGroup(ctx context.Context, src Source, g postern.DirectoryGroup) error {
	if len(g.Name) > maxName || !utf8.ValidString(g.Name) || strings.TrimSpace(g.Name) != g.Name || strings.ContainsFunc(g.Name, unicode.IsControl) {
		return fmt.Errorf("%w: group %q: a name has 1 to %d bytes, and no spaces around it", ErrInvalid, g.Name, maxName)
	}
	if len(g.Members) > maxMembers {
		return fmt.Errorf("%w: a group has at most %d members", ErrInvalid, maxMembers)
	}
	all, err := d.cfg.Store.DirectoryGroups(ctx, "")
	if err != nil {
		return err
	}
	if len(all) >= maxGroups {
		return fmt.Errorf("%w: there are at most %d groups", ErrInvalid, maxGroups)
	}
	for _, other := range all {
		if other.ID != g.ID && same(other.Name, g.Name) {
			return fmt.Errorf("%w: a group %q", ErrConflict, other.Name)
		}
	}
	users, err := d.cfg.Store.DirectoryUsers(ctx, src.Provider)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, u := range users {
		known[u.ID] = !u.Deleted
	}
	for _, m := range g.Members {
		if !known[m] {
			return fmt.Errorf("%w: member %q isn't one of its people", ErrInvalid, m)
		}
	}
	return nil
}

// follow brings the accounts of people in line with the groups that they are in
// now, as far as they aren't. It goes on after an error: one person's must not
// keep what another is to lose.
func (d *Directory) follow(ctx context.Context, src Source, ids []string, groups []postern.DirectoryGroup) error {
	if len(ids) == 0 {
		return nil
	}
	users, err := d.cfg.Store.DirectoryUsers(ctx, src.Provider)
	if err != nil {
		return err
	}
	accounts, err := d.cfg.Accounts.Accounts(ctx)
	if err != nil {
		return err
	}
	people := map[string]postern.Account{}
	for _, a := range accounts {
		if a.Kind == postern.User {
			people[a.Name] = a
		}
	}
	var errs []error
	for _, u := range users {
		a, has := people[u.Account]
		if u.Deleted || !has || !slices.Contains(ids, u.ID) || slices.Equal(slices.Sorted(slices.Values(a.Groups)), groupsOf(u, groups)) {
			continue
		}
		errs = append(errs, d.provision(ctx, src, u, a.Email, groups))
	}
	return errors.Join(errs...)
}
