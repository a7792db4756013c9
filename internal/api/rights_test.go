package api_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"postern"
	"postern/internal/api"
	"postern/internal/api/apitest"
)

// TestEveryRouteIsInTheTable holds the table of rights against the routes, and
// against the description that clients are made from.
func TestEveryRouteIsInTheTable(t *testing.T) {
	w := apitest.New(t)
	routes, err := api.Routes(w.Config())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(routes)
	table := slices.Sorted(maps.Keys(api.Rights()))
	if !slices.Equal(routes, table) {
		t.Errorf("routes %v\n  table %v", routes, table)
	}
	var spec struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Description string                `json:"description"`
			Security    []map[string][]string `json:"security"`
		} `json:"paths"`
	}
	_, body := do(t, w, request{path: "/api/openapi.json"})
	if err := json.Unmarshal([]byte(body), &spec); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q, want 3.1", spec.OpenAPI)
	}
	described := 0
	for path, methods := range spec.Paths {
		for method, op := range methods {
			described++
			want, ok := api.Rights()[strings.ToUpper(method)+" "+path]
			if !ok || op.Description != want {
				t.Errorf("%s %s is described as %q, want %q", method, path, op.Description, want)
			}
			if public := want == "Anyone may call this."; public == (len(op.Security) > 0) {
				t.Errorf("%s %s: public %v, security %v", method, path, public, op.Security)
			}
		}
	}
	if described != len(table) {
		t.Errorf("%d routes are described, want %d", described, len(table))
	}
}

// unlisted says whether a route is about something of which the test has none.
func unlisted(route string) bool {
	return slices.ContainsFunc([]string{"/tokens/", "/certificates/", "/ssh-keys/", "/logins/", "/delegations/"}, func(part string) bool { return strings.Contains(route, part) })
}

// TestWhoMayCall calls every route as everyone.
func TestWhoMayCall(t *testing.T) {
	w := apitest.New(t)
	w.Review(t, "rv_1", "alice")
	if err := w.Store.AddNotification(t.Context(), postern.Notification{Channel: "hook", Review: "rv_1", Step: "submitted"}); err != nil {
		t.Fatal(err)
	}
	offline, _ := w.Offline(t, "alice", "emergency")
	info, rec := w.Session(t, "ss_1", "alice")
	w.EndSession(t, info, rec)
	tokens := map[string]string{"nobody": ""}
	for _, user := range []string{"alice", "dave", "adam", "audrey", "rita"} {
		tokens[user] = w.Token(t, user).Reveal()
	}
	if _, err := w.Identity.Disable(t.Context(), postern.User, "rita"); err != nil { // an admin, until just now
		t.Fatal(err)
	}
	// What each route needs besides a caller: these are wrong on purpose where
	// that keeps the act from happening, since only who gets that far matters.
	fill := strings.NewReplacer("/reviews/{id}", "/reviews/rv_1",
		"/requests/{id}/look-over", "/requests/"+w.Request(t, "alice", "emergency").ID+"/look-over",
		"/requests/{id}", "/requests/"+w.Request(t, "alice", "night-work").ID,
		"/offline-grants/{id}", "/offline-grants/"+offline,
		"/notifications/{id}", "/notifications/1",
		"/sessions/{id}", "/sessions/ss_1", "/tokens/{id}", "/tokens/tk_none",
		"{name}", "nothing-by-this-name", "{kind}", "Rule")
	everyone := []string{"alice", "dave", "adam", "audrey"}
	may := map[string][]string{
		"Anyone may call this.":               {"nobody", "alice", "dave", "adam", "audrey"},
		"Whoever is signed in may call this.": everyone,
		"Whoever is signed in may call this for what is theirs; auditors and admins for all.": {"alice", "adam", "audrey"},
		"Whoever is signed in may call this for what is theirs; admins for all.":              {"alice", "adam"},
		"Those whom the rule names as approvers may call this.":                               {"dave"},
		"Whoever asked for it may call this.":                                                 {"alice"},
		"Whoever asked for it, those who may approve it, and admins may call this.":           {"alice", "dave", "adam"},
		"Auditors and admins may call this.":                                                  {"adam", "audrey"},
		"Admins may call this.":                                                               {"adam"},
	}
	for route, description := range api.Rights() {
		if route == "POST /logout" || strings.HasPrefix(route, "POST /login") {
			continue // the first ends what the others need, the second has its own test
		}
		method, path, _ := strings.Cut(route, " ")
		for caller, token := range tokens {
			status, body := do(t, w, request{method: method, path: "/api/v1" + fill.Replace(path), token: token, body: bodyOf(route)})
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden
			want := slices.Contains(may[description], caller)
			switch {
			case (caller == "nobody" || caller == "rita") && !want:
				if status != http.StatusUnauthorized {
					t.Errorf("%s as %s: %d %s", route, caller, status, body)
				}
			case strings.Contains(route, "{id}"):
				// What isn't theirs doesn't exist for them.
				if got := !refused && status != http.StatusNotFound; got != want && !unlisted(route) && !decided(route, status) && !dba(route, caller) {
					t.Errorf("%s as %s: %d %s, want to be let in: %v", route, caller, status, body, want)
				}
			case strings.HasPrefix(description, "Whoever"):
				if refused {
					t.Errorf("%s as %s: %d %s", route, caller, status, body)
				}
			case refused == want:
				t.Errorf("%s as %s: %d %s, want to be let in: %v", route, caller, status, body, want)
			}
		}
	}
}

// decided says whether the review was decided by the caller before this one.
func decided(route string, status int) bool {
	return (strings.HasPrefix(route, "POST /offline-grants/") || strings.HasPrefix(route, "POST /reviews/") || strings.HasPrefix(route, "POST /requests/")) && status == http.StatusConflict
}

// dba says whether the caller sees a review for being its approver.
func dba(route, caller string) bool {
	return (route == "GET /reviews/{id}" || route == "GET /requests/{id}") && caller == "dave"
}

// bodyOf is what a route takes, as far as its handler looks before it asks who calls.
func bodyOf(route string) string {
	switch route {
	case "POST /tokens":
		return `{"resource": "orders-db"}`
	case "POST /service-accounts":
		return `{"name": "x"}`
	case "POST /offline-grants":
		return offlineBody("alice", "emergency")
	case "POST /requests":
		return `{"resource": "orders-db", "access": "night-work", "reason": "x"}`
	case "POST /requests/{id}/extend":
		return `{"for": "1h", "reason": "x"}`
	case "POST /requests/{id}/look-over":
		return `{"in_order": true, "words": "x"}`
	case "POST /policy/explain":
		return `{"resource": "orders-db", "command": "select"}`
	case "POST /secrets/seal":
		return `{"secret": "x"}`
	case "POST /objects/plan", "POST /objects/apply":
		return "kind: Rule\nname: more\nwhen: command.verb == \"truncate\"\nthen: deny\n"
	case "POST /policy/test":
		return "cases: []\n"
	default:
		if strings.HasPrefix(route, "POST /reviews") || strings.HasPrefix(route, "POST /requests/") || strings.HasPrefix(route, "POST /offline-grants/") || strings.HasSuffix(route, "/kill") {
			return "{}"
		}
		return ""
	}
}

// request is one HTTP request.
type request struct {
	method, path, token, body string
	header                    http.Header
	host                      string
}

// do sends a request and returns status and body.
func do(t *testing.T, w *apitest.World, r request) (int, string) {
	t.Helper()
	resp := send(t, w, r)
	defer func() { _ = resp.Body.Close() }()
	var all io.Reader = resp.Body
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		all = io.LimitReader(all, 1) // it has no end
	}
	body, err := io.ReadAll(all)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func send(t *testing.T, w *apitest.World, r request) *http.Response {
	t.Helper()
	if r.method == "" {
		r.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, w.URL+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if strings.HasPrefix(r.body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Host = r.host
	resp, err := w.Server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
