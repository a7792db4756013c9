package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
)

// directory is what a provider's directory has: a token, and the address.
type directory struct {
	t     *testing.T
	w     *apitest.World
	token string
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	w := apitest.New(t)
	return &directory{t: t, w: w, token: scimToken(t, w, "okta", "corp", "")}
}

func scimToken(t *testing.T, w *apitest.World, name, provider, subjects string) string {
	t.Helper()
	key := must(as(t, w, "adam").CreateSCIMToken(t.Context(), api.NewSCIMToken{Name: name, Provider: provider, Subjects: subjects}))(t)
	if !strings.HasPrefix(key.Token, "postern_sc_") || key.URL != "https://gw.example:8443/scim/v2" {
		t.Fatalf("%+v", key)
	}
	return key.Token
}

// do calls, and returns the status and the answer.
func (d *directory) do(method, path, body string) (int, map[string]any) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.w.URL+"/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/scim+json")
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	resp, err := d.w.Server.Client().Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	answer := map[string]any{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			d.t.Fatalf("%s %s: %s", method, path, text)
		}
	}
	return resp.StatusCode, answer
}

// want calls, and wants a status.
func (d *directory) want(status int, method, path, body string) map[string]any {
	d.t.Helper()
	got, answer := d.do(method, path, body)
	if got != status {
		d.t.Fatalf("%s %s: %d, want %d: %v", method, path, got, status, answer)
	}
	return answer
}

func (d *directory) user(name string) (id string) {
	d.t.Helper()
	id, _ = d.want(201, "POST", "/Users", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": %q, "externalId": "ext-%s",
		"emails": [{"value": "%s@example.com", "primary": true}], "active": true, "password": "not to be kept"}`, name, name, name))["id"].(string)
	return id
}

func (d *directory) group(name string, members ...string) (id string) {
	d.t.Helper()
	list := []map[string]string{}
	for _, m := range members {
		list = append(list, map[string]string{"value": m})
	}
	text, err := json.Marshal(map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": name, "members": list})
	if err != nil {
		d.t.Fatal(err)
	}
	id, _ = d.want(201, "POST", "/Groups", string(text))["id"].(string)
	return id
}

func patch(operations string) string {
	return `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [` + operations + `]}`
}

func (d *directory) account(name string) postern.Account {
	d.t.Helper()
	return must(d.w.Identity.Account(d.t.Context(), postern.User, name))(d.t)
}

// groups checks an account's groups.
func (d *directory) groups(name string, want ...string) {
	d.t.Helper()
	if got := d.account(name).Groups; !slices.Equal(got, want) && len(got)+len(want) > 0 {
		d.t.Errorf("groups of %s: %v, want %v", name, got, want)
	}
}

// live opens a session of a person, and says whether it is still there.
func (d *directory) live(name string) (still func() bool) {
	d.t.Helper()
	id := fmt.Sprintf("ss_%030x", time.Now().UnixNano())
	_, rec := d.w.Session(d.t, id, name)
	d.t.Cleanup(func() { _, _ = rec.Close() })
	return func() bool {
		return slices.ContainsFunc(d.w.Live.Live(), func(s postern.SessionInfo) bool { return s.ID == id })
	}
}

// audited says whether an entry is in the audit log.
func (d *directory) audited(action, target, outcome string) bool {
	d.t.Helper()
	records := must(d.w.Audit.Tail(d.t.Context(), 0, 1000))(d.t)
	return slices.ContainsFunc(records, func(r postern.AuditRecord) bool {
		return r.Action == action && r.Target == target && r.Outcome == outcome && (r.Identity == "scim-token:okta" || strings.HasPrefix(action, "event."))
	})
}

// A person of a directory, from the first word of them to the last.
func TestDirectoryUser(t *testing.T) {
	d := newDirectory(t)
	id := d.user("ann")
	if a := d.account("ann"); a.Source != "directory corp" || a.Email != "ann@example.com" || a.Disabled || a.Subject != "corp:" {
		t.Errorf("%+v", a)
	}
	got := d.want(200, "GET", "/Users/"+id, "")
	if got["userName"] != "ann" || got["externalId"] != "ext-ann" || got["active"] != true || got["password"] != nil {
		t.Errorf("%v", got)
	}
	found := d.want(200, "GET", "/Users?filter="+url.QueryEscape(`userName eq "ann"`), "")
	if found["totalResults"] != 1.0 {
		t.Errorf("%v", found)
	}
	if found := d.want(200, "GET", "/Users?filter="+url.QueryEscape(`userName eq "bea"`), ""); found["totalResults"] != 0.0 {
		t.Errorf("%v", found)
	}
	still := d.live("ann")
	d.want(200, "PATCH", "/Users/"+id, patch(`{"op": "replace", "path": "displayName", "value": "Ann"}`))
	if !still() {
		t.Error("a new display name ended a session")
	}
	// Entra ID's spelling.
	d.want(200, "PATCH", "/Users/"+id, patch(`{"op": "Replace", "path": "active", "value": "False"}`))
	if still() || !d.account("ann").Disabled || !slices.Contains(d.w.Live.Reasons, "its account was disabled") {
		t.Error("deactivated, and there is still something")
	}
	if !d.audited("scim.user.deactivate", "user:ann", "ok") {
		t.Error("it isn't in the audit log")
	}
	d.want(200, "PATCH", "/Users/"+id, patch(`{"op": "replace", "value": {"active": true}}`))
	if d.account("ann").Disabled {
		t.Error("activated again, and disabled")
	}
	still = d.live("ann")
	d.want(204, "DELETE", "/Users/"+id, "")
	if still() || !d.account("ann").Disabled {
		t.Error("deleted, and there is still something")
	}
	d.want(404, "GET", "/Users/"+id, "")
	// Who can still sign in at the provider doesn't come back by that.
	_, err := d.w.Identity.SignIn(t.Context(), postern.Identity{Name: "ann", Kind: postern.User, Subject: "corp:1"})
	if err == nil {
		t.Error("a deleted person signed in")
	}
	again := d.user("ann")
	if d.account("ann").Disabled || again == "" {
		t.Error("taken in again, and disabled")
	}
	if text := d.w.Log.String(); strings.Contains(text, "not to be kept") {
		t.Error("a password is in the log")
	}
}

// What an administrator or a security event took away, a directory doesn't give back.
func TestDirectoryDoesntUndoAdministrators(t *testing.T) {
	d := newDirectory(t)
	id := d.user("ann")
	must(d.w.Identity.Disable(t.Context(), postern.User, "ann"))(t)
	full := `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann", "active": true}`
	d.want(200, "PUT", "/Users/"+id, full)
	d.want(200, "PATCH", "/Users/"+id, patch(`{"op": "replace", "path": "active", "value": false}`))
	d.want(200, "PATCH", "/Users/"+id, patch(`{"op": "replace", "path": "active", "value": true}`))
	if !d.account("ann").Disabled {
		t.Error("a directory enabled whom an administrator had disabled")
	}
}

func TestDirectoryNames(t *testing.T) {
	d := newDirectory(t)
	id := d.user("ann")
	for _, name := range []string{"ann", "ANN", "alice", "Alice", "postern", "a b", "", " ann"} {
		status, _ := d.do("POST", "/Users", fmt.Sprintf(`{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": %q}`, name))
		if status != 409 && status != 400 {
			t.Errorf("user %q: %d", name, status)
		}
	}
	if a := d.account("alice"); a.Source == "directory corp" || !slices.Equal(a.Groups, []string{"engineering"}) {
		t.Errorf("a directory has a local user's account: %+v", a)
	}
	// Renamed there, they are who they were here.
	d.want(200, "PATCH", "/Users/"+id, patch(`{"op": "replace", "path": "userName", "value": "adam"}`))
	if a := d.account("adam"); a.Source == "directory corp" {
		t.Errorf("renamed into an administrator: %+v", a)
	}
	d.group("engineering-2", id)
	d.groups("ann", "engineering-2")
	d.groups("adam", "admins")
}

func TestDirectoryGroups(t *testing.T) {
	d := newDirectory(t)
	ann, bea := d.user("ann"), d.user("bea")
	id := d.group("dba", ann)
	d.groups("ann", "dba")
	d.groups("bea")
	annLive, beaLive := d.live("ann"), d.live("bea")
	d.want(200, "PATCH", "/Groups/"+id, patch(`{"op": "Add", "path": "members", "value": [{"value": "`+bea+`"}]}`))
	d.groups("bea", "dba")
	if !annLive() {
		t.Error("another's membership ended a session")
	}
	if beaLive() {
		t.Error("a session goes on with the groups of before")
	}
	beaLive = d.live("bea")
	d.want(200, "PATCH", "/Groups/"+id, patch(`{"op": "remove", "path": "members[value eq \"`+bea+`\"]"}`))
	d.groups("bea")
	if beaLive() || !annLive() {
		t.Error("the wrong session ended, or none")
	}
	d.want(200, "PATCH", "/Groups/"+id, patch(`{"op": "add", "path": "members", "value": [{"value": "`+bea+`"}]}`))
	// Entra ID's older way; without the value it would mean everybody.
	d.want(200, "PATCH", "/Groups/"+id, patch(`{"op": "Remove", "path": "members", "value": [{"value": "`+bea+`"}]}`))
	d.groups("bea")
	d.groups("ann", "dba")
	if got := d.want(200, "GET", "/Groups?excludedAttributes=members&filter="+url.QueryEscape(`displayName eq "dba"`), ""); got["totalResults"] != 1.0 ||
		strings.Contains(fmt.Sprint(got), ann) {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"dba", "DBA"} {
		d.want(409, "POST", "/Groups", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "`+bad+`"}`)
	}
	d.want(400, "PATCH", "/Groups/"+id, patch(`{"op": "add", "path": "members", "value": [{"value": "du_nobody"}]}`))
	d.want(204, "DELETE", "/Groups/"+id, "")
	d.groups("ann")
	if annLive() {
		t.Error("the session goes on without the group")
	}
}

// Rights follow the names in policies: a renamed group's members lose what the
// old name gave. Nobody gains any by a rename.
func TestGroupRename(t *testing.T) {
	d := newDirectory(t)
	ann := d.user("ann")
	id := d.group("dba", ann)
	lunch := d.group("lunch", ann)
	still := d.live("ann")
	for _, to := range []string{"admins", "engineering"} {
		answer := d.want(400, "PATCH", "/Groups/"+lunch, patch(`{"op": "replace", "path": "displayName", "value": "`+to+`"}`))
		if !strings.Contains(fmt.Sprint(answer["detail"]), "policies or roles") {
			t.Errorf("%v", answer)
		}
	}
	d.groups("ann", "dba", "lunch")
	if !still() {
		t.Error("what was refused ended a session")
	}
	d.want(200, "PATCH", "/Groups/"+id, patch(`{"op": "replace", "path": "displayName", "value": "former dba's"}`))
	d.groups("ann", "former dba's", "lunch")
	if still() {
		t.Error("the session goes on with the old name's rights")
	}
	if !d.audited("scim.group.rename", "group:lunch to group:admins", "failed") || !d.audited("scim.group.rename", "group:dba to group:former dba's", "ok") {
		t.Error("the renames aren't in the audit log")
	}
}

// A directory that takes from many is stopped, loudly, in whatever way it does it.
func TestMassRemoval(t *testing.T) {
	for name, remove := range map[string]func(d *directory, id string, group string, rest []string) (int, map[string]any){
		"delete": func(d *directory, id, _ string, _ []string) (int, map[string]any) {
			return d.do("DELETE", "/Users/"+id, "")
		},
		"deactivate": func(d *directory, id, _ string, _ []string) (int, map[string]any) {
			return d.do("PATCH", "/Users/"+id, patch(`{"op": "replace", "path": "active", "value": false}`))
		},
		"take out of a group": func(d *directory, id, group string, _ []string) (int, map[string]any) {
			return d.do("PATCH", "/Groups/"+group, patch(`{"op": "remove", "path": "members[value eq \"`+id+`\"]"}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirectory(t)
			var ids []string
			for i := range 8 {
				ids = append(ids, d.user(fmt.Sprintf("p%d", i)))
			}
			group := d.group("dba", ids...)
			for i, id := range ids {
				status, answer := remove(d, id, group, ids[i:])
				if refused := status == 403; refused != (i >= 3) {
					t.Fatalf("removal %d: %d %v", i, status, answer)
				}
			}
			if a := d.account("p7"); a.Disabled || !slices.Equal(a.Groups, []string{"dba"}) {
				t.Errorf("refused, and done: %+v", a)
			}
			// All at once is no way round.
			for _, call := range [][2]string{
				{"DELETE", ""},
				{"PATCH", patch(`{"op": "remove", "path": "members"}`)},
				{"PATCH", patch(`{"op": "replace", "path": "displayName", "value": "other"}`)},
				{"PUT", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "dba", "members": []}`},
			} {
				d.want(403, call[0], "/Groups/"+group, call[1])
			}
			d.groups("p7", "dba")
			records := must(d.w.Audit.Tail(t.Context(), 0, 1000))(t)
			if !slices.ContainsFunc(records, func(r postern.AuditRecord) bool {
				return r.Action == "scim.guard" && r.Outcome == "refused" && strings.Contains(r.Reason, "allow-removals")
			}) {
				t.Error("it isn't in the audit log")
			}
			allowed := must(as(t, d.w, "adam").AllowRemovals(t.Context(), "okta", api.Removals{For: "10m"}))(t)
			if allowed.Provider != "corp" {
				t.Errorf("%+v", allowed)
			}
			if status, answer := remove(d, ids[7], group, nil); status != 200 && status != 204 {
				t.Errorf("allowed, and refused: %d %v", status, answer)
			}
		})
	}
}

// Who holds no token of a directory is told nothing, and one of another
// directory sees nothing.
func TestDirectoryTokens(t *testing.T) {
	d := newDirectory(t)
	id := d.user("ann")
	good := d.token
	d.token = scimToken(t, d.w, "other", "partner", "external-id")
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"PATCH", patch(`{"op": "replace", "path": "active", "value": false}`)}} {
		d.want(404, call[0], "/Users/"+id, call[1])
	}
	if found := d.want(200, "GET", "/Users", ""); found["totalResults"] != 0.0 {
		t.Errorf("%v", found)
	}
	d.want(409, "POST", "/Users", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann"}`)
	d.user("otto")
	if a := d.account("otto"); a.Subject != "partner:ext-otto" {
		t.Errorf("%+v", a)
	}
	_, err := as(t, d.w, "").Whoami(t.Context())
	wantStatus(t, err, 401)
	_, err = with(t, d.w, postern.NewSecret(good)).Whoami(t.Context())
	wantStatus(t, err, 401)
	answers := map[string]bool{}
	for _, token := range []string{"", "x", "postern_sc_" + strings.Repeat("0", 46), d.w.Token(t, "adam").Reveal(), strings.Repeat("x", 20_000)} {
		d.token = token
		answers[fmt.Sprint(d.want(401, "GET", "/Users", ""))] = true
		d.want(401, "GET", "/ServiceProviderConfig", "")
	}
	if err := as(t, d.w, "adam").RevokeSCIMToken(t.Context(), "okta"); err != nil {
		t.Fatal(err)
	}
	d.token = good
	answers[fmt.Sprint(d.want(401, "GET", "/Users", ""))] = true
	if len(answers) != 1 {
		t.Errorf("refusals differ: %v", answers)
	}
	for _, cause := range []string{"no SCIM token", "is unknown", "SCIM token okta is revoked"} {
		if !strings.Contains(d.w.Log.String(), cause) {
			t.Errorf("the log doesn't say: %s", cause)
		}
	}
	_, err = as(t, d.w, "alice").CreateSCIMToken(t.Context(), api.NewSCIMToken{Name: "mine", Provider: "corp"})
	wantStatus(t, err, 403)
	_, err = as(t, d.w, "adam").CreateSCIMToken(t.Context(), api.NewSCIMToken{Name: "okta", Provider: "corp"})
	wantStatus(t, err, 409)
}

// What a directory sends can be anything.
func TestDirectoryBadInput(t *testing.T) {
	d := newDirectory(t)
	id := d.user("ann")
	deep := strings.Repeat("(", 1000) + `userName eq "a"` + strings.Repeat(")", 1000)
	for _, c := range []struct {
		method, path, body string
	}{
		{"POST", "/Users", ""},
		{"POST", "/Users", "null"},
		{"POST", "/Users", "[]"},
		{"POST", "/Users", "{"},
		{"POST", "/Users", `{"schemas": [], "userName": "x"}`},
		{"POST", "/Users", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": {"a": 1}}`},
		{"POST", "/Users", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "x", "active": "maybe"}`},
		{"POST", "/Users", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "x", "emails": [{"value": "no address"}]}`},
		{"POST", "/Groups", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "a\nb"}`},
		{"POST", "/Groups", `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "g", "members": [{"value": ""}]}`},
		{"PATCH", "/Users/" + id, `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": []}`},
		{"PATCH", "/Users/" + id, patch(`{"op": "explode"}`)},
		{"PATCH", "/Users/" + id, patch(`{"op": "remove"}`)},
		{"PATCH", "/Users/" + id, patch(`{"op": "remove", "path": "userName"}`)},
		{"PATCH", "/Users/" + id, patch(`{"op": "replace", "path": "nothing", "value": 1}`)},
		{"PATCH", "/Users/" + id, patch(`{"op": "replace", "path": "` + strings.Repeat("a", 600) + `", "value": 1}`)},
		{"PATCH", "/Users/" + id, patch(strings.Repeat(`{"op": "remove", "path": "title"},`, 1001) + `{"op": "remove", "path": "title"}`)},
		{"GET", "/Users?filter=" + url.QueryEscape(deep+deep), ""},
		{"GET", "/Users?filter=" + url.QueryEscape(`userName eq`), ""},
		{"GET", "/Users?filter=" + url.QueryEscape(`nothing eq "x"`), ""},
		{"GET", "/Users?startIndex=x", ""},
		{"POST", "/Bulk", `{}`},
		{"GET", "/Me", ""},
		{"POST", "/Users", `{"userName": "` + strings.Repeat("x", 2<<20) + `"}`},
	} {
		status, _ := d.do(c.method, c.path, c.body)
		if status < 400 || status == 500 {
			t.Errorf("%s %.80s %.80s: %d", c.method, c.path, c.body, status)
		}
	}
	if a := d.account("ann"); a.Disabled {
		t.Error("bad input disabled somebody")
	}
}

// Two changes of one group at once: neither undoes the other.
func TestGroupChangesRaced(t *testing.T) {
	d := newDirectory(t)
	var ids []string
	for i := range 6 {
		ids = append(ids, d.user(fmt.Sprintf("p%d", i)))
	}
	group := d.group("dba", ids[:3]...)
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			operation := `{"op": "remove", "path": "members[value eq \"` + id + `\"]"}`
			if i >= 3 {
				operation = `{"op": "add", "path": "members", "value": [{"value": "` + id + `"}]}`
			}
			if status, answer := d.do("PATCH", "/Groups/"+group, patch(operation)); status != 200 {
				t.Errorf("%d: %v", status, answer)
			}
		})
	}
	wg.Wait()
	for i := range ids {
		want := []string{}
		if i >= 3 {
			want = []string{"dba"}
		}
		d.groups(fmt.Sprintf("p%d", i), want...)
	}
}
