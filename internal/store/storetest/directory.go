package storetest

import (
	"fmt"
	"testing"

	"postern"
)

func testDirectory(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	_, err := db.DirectoryUser(ctx, "du_1")
	missing(t, err)
	ann := postern.DirectoryUser{
		ID: "du_1", Provider: "corp", UserName: "ann", ExternalID: "x", Account: "ann", Active: true, Attributes: `{"a": "ü"}`, CreatedAt: at(1), ModifiedAt: at(2),
	}
	bea := postern.DirectoryUser{ID: "du_2", Provider: "other", UserName: "bea", Account: "bea", Disabled: true, Deleted: true, Attributes: "{}", CreatedAt: at(1), ModifiedAt: at(1)}
	ok(t, db.PutDirectoryUser(ctx, ann))
	ok(t, db.PutDirectoryUser(ctx, bea))
	ann.UserName, ann.Active, ann.ModifiedAt = "anna", false, at(3)
	ok(t, db.PutDirectoryUser(ctx, ann))
	got, err := db.DirectoryUser(ctx, "du_1")
	ok(t, err)
	same(t, got, ann)
	all, err := db.DirectoryUsers(ctx, "other")
	ok(t, err)
	same(t, all, []postern.DirectoryUser{bea})

	g := postern.DirectoryGroup{ID: "dg_1", Provider: "corp", Name: "dba", CreatedAt: at(1), ModifiedAt: at(1), Members: []string{}}
	for i := range 250 {
		g.Members = append(g.Members, fmt.Sprintf("du_%03d", i))
	}
	ok(t, db.PutDirectoryGroup(ctx, g))
	ok(t, db.PutDirectoryGroup(ctx, postern.DirectoryGroup{ID: "dg_2", Provider: "other", Name: "dev", CreatedAt: at(2), ModifiedAt: at(2)}))
	g.Name, g.Members = "dbas", g.Members[100:]
	ok(t, db.PutDirectoryGroup(ctx, g))
	groups, err := db.DirectoryGroups(ctx, "corp")
	ok(t, err)
	same(t, groups, []postern.DirectoryGroup{g})
	ok(t, db.DeleteDirectoryGroup(ctx, "dg_1"))
	groups, err = db.DirectoryGroups(ctx, "")
	ok(t, err)
	if len(groups) != 1 || groups[0].ID != "dg_2" || groups[0].Members == nil || len(groups[0].Members) != 0 {
		t.Errorf("%+v", groups)
	}
}

func testSCIMTokens(t *testing.T, e Engine) {
	ctx, db := t.Context(), e.Open(t)
	tk := postern.SCIMToken{Name: "okta", Hash: "h", Provider: "corp", Subjects: "external-id", CreatedBy: "user:adam", CreatedAt: at(1), ExpiresAt: at(9)}
	ok(t, db.PutSCIMToken(ctx, tk))
	if db.PutSCIMToken(ctx, tk) == nil {
		t.Error("two tokens of one name")
	}
	got, err := db.SCIMTokenByHash(ctx, "h")
	ok(t, err)
	same(t, got, tk)
	_, err = db.SCIMTokenByHash(ctx, "")
	missing(t, err)
	ok(t, db.RevokeSCIMToken(ctx, "okta"))
	ok(t, db.RevokeSCIMToken(ctx, "okta"))
	missing(t, db.RevokeSCIMToken(ctx, "nobody"))
	tk.Revoked = true
	all, err := db.SCIMTokens(ctx)
	ok(t, err)
	same(t, all, []postern.SCIMToken{tk})
}
