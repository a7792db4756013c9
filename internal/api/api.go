// Package api is the HTTP API for CLI, UI and programs: /api/v1, described by
// OpenAPI 3.1 at /api/openapi.json. It is the only place that renders errors to
// HTTP, as RFC 9457 problem documents, and the only place that knows who may
// call what: the one table in rights.go.
//
// Every act that changes something and its entry in the audit log are one transaction;
// when the log can't be written, the act is refused.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/directory"
	"postern/internal/identity/oidc"
	"postern/internal/policy"
)

// Config is what the API is made of. Everything is required, but for what says
// otherwise.
type Config struct {
	Identity   Identity
	Authority  Authority
	Workloads  Workloads // nil: no other issuer's tokens are trusted
	Store      Store
	Live       Live
	Votes      Votes
	Requests   Requests
	Offline    OfflineGrants
	Recordings Recordings
	Search     Search
	Audit      AuditLog
	Objects    Objects
	// Providers are where people sign in; may be empty.
	Providers oidc.Set
	// Vault seals what a browser keeps for the gateway. *vault.Vault is one.
	Vault interface {
		Seal(purpose string, plaintext []byte) (string, error)
		Unseal(purpose, sealed string) ([]byte, error)
	}
	// Issuer is the built-in identity provider; nil: there is none.
	Issuer Issuer
	// Seal seals a secret for a `sealed:` reference.
	Seal func(postern.Secret) (string, error)

	// Policy returns the set in force.
	Policy func() *policy.Set
	// Analyse says what commands a text is.
	Analyse policy.Analyse
	// Classify says what the columns of a resource hold; nil: it can't be asked.
	// Its errors are [postern.ErrNotFound] and *[RefusedError].
	Classify func(ctx context.Context, resource string) (Classified, error)
	// Endpoint says where clients of a protocol connect; ok is false when
	// nothing listens for it.
	Endpoint func(protocol string) (e Endpoint, ok bool)

	// Enter connects to a protocol's listener from within, encrypted, as a client
	// at that address would be; ok is false when nothing listens for it.
	Enter func(ctx context.Context, protocol string, from netip.Addr) (conn net.Conn, ok bool, err error)

	Admins   []postern.Principal // none: nobody is an admin
	Auditors []postern.Principal // none: only admins see what isn't theirs

	// PublicURL is the address that people reach the API under. Requests for
	// other host names are refused, but for localhost, numeric addresses and Hosts.
	PublicURL string
	Hosts     []string // more host names, lower case; may be empty

	// BreakGlassed counts the steps of break-glass logins; nil: nobody counts.
	BreakGlassed func(step string)
	// Directory takes what providers' directories say; nil: there is no SCIM.
	Directory *directory.Directory
	// Receivers take what providers say about their people; nil: nobody's word is taken.
	Receivers *Receivers

	Healthz http.Handler // nil: always well
	Readyz  http.Handler // nil: always ready
	Metrics http.Handler // nil: there is none
	// Clicks takes what people decide in Slack, below /integrations/slack/. What
	// comes there is signed, and by nobody who is signed in. nil: nothing is taken.
	Clicks http.Handler
	// Fallback serves every path that isn't the API's: the UI. nil: there is none.
	Fallback http.Handler

	// Stopping is closed when streams must end, so that the server can; nil: never.
	Stopping <-chan struct{}

	Version string
	Now     func() time.Time // nil: the system's clock
	Log     *slog.Logger     // nil: no log
}

// Endpoint is where native clients of one protocol connect.
type Endpoint struct {
	Host string
	Port int
	// DSN is the connection string with which a client enters; nil: the
	// protocol has none.
	DSN func(user string, token postern.Secret, resource string) string
}

// Bounds of every request.
const (
	maxBody     = 1 << 20          // bytes of a request's body
	bodyTime    = 15 * time.Second // to read it
	requestTime = 30 * time.Second // to answer it, streams apart
	refusalTime = time.Second      // how long every refused login takes
)

// prefix is where the API's paths begin.
const prefix = "/api/v1"

type api struct {
	Config
	rights map[string]right
	host   string // of PublicURL
	routes []string
	pages  pages
	limits webLimits
}

// webLimits count what strangers may do in a browser.
type webLimits struct {
	signIns *identity.Limiter // begun or finished, by place
}

// New makes the handler for everything that the HTTPS listener serves. It
// returns an error when cfg lacks a part.
func New(cfg Config) (http.Handler, error) {
	a, err := newAPI(cfg)
	if err != nil {
		return nil, err
	}
	mux, _ := a.mux()
	if a.Directory != nil {
		handler, err := a.scimHandler()
		if err != nil {
			return nil, err
		}
		mux.Handle("/scim/v2/", handler)
	}
	return a.guard(mux), nil
}

func newAPI(cfg Config) (*api, error) {
	switch {
	case cfg.Identity == nil, cfg.Authority == nil, cfg.Store == nil, cfg.Live == nil, cfg.Votes == nil, cfg.Requests == nil, cfg.Offline == nil, cfg.Recordings == nil, cfg.Search == nil,
		cfg.Audit == nil, cfg.Objects == nil, cfg.Seal == nil, cfg.Vault == nil, cfg.Policy == nil,
		cfg.Analyse == nil, cfg.Endpoint == nil, cfg.Enter == nil:
		return nil, errors.New("api: a part of the configuration is missing")
	}
	u, err := url.Parse(cfg.PublicURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("api: the public URL is none")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	pages, err := openPages()
	if err != nil {
		return nil, err
	}
	return &api{
		Config: cfg, rights: rights(), host: strings.ToLower(u.Hostname()), pages: pages,
		limits: webLimits{signIns: identity.NewLimiter(60, time.Second, cfg.Now)},
	}, nil
}

// mux routes every path. It panics when a route is missing from the table of
// rights: that is a bug in this package.
func (a *api) mux() (*http.ServeMux, huma.API) {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Postern", a.Version)
	config.OpenAPIPath = "" // served below, without the variants
	config.DocsPath, config.SchemasPath = "", ""
	config.CreateHooks = nil // no $schema in answers
	config.Transformers = []huma.Transformer{withoutValues}
	config.Servers = []*huma.Server{{URL: prefix}}
	config.Info.Description = "Everything that the command line does. Sign in with `POST /login`, or send a service account's key."
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A login token, or a service account's key."},
		"cookie": {
			Type: "apiKey", In: "cookie", Name: sessionCookie,
			Description: "A browser's login, made at /auth/login. Calls that change something also need the header " + csrfHeader + ", with what whoami calls csrf.",
		},
	}
	h := humago.NewWithPrefix(mux, prefix, config)

	a.loginRoutes(h)
	a.loginsRoutes(h)
	a.resourceRoutes(h)
	a.classifyRoutes(h)
	a.tokenRoutes(h)
	a.certificateRoutes(h)
	a.sshKeyRoutes(h)
	a.delegationRoutes(h)
	a.accountRoutes(h)
	a.trustRoutes(h)
	a.reviewRoutes(h)
	a.requestRoutes(h)
	a.offlineRoutes(h)
	a.usageRoutes(h)
	a.notificationRoutes(h)
	a.sessionRoutes(h)
	a.commandRoutes(h)
	a.auditRoutes(h)
	a.objectRoutes(h)
	a.policyRoutes(h)
	a.statusRoutes(h)
	a.changeRoutes(h)
	a.insightRoutes(h)
	a.sqlRoutes(h)
	a.scimTokenRoutes(h)
	a.factorRoutes(h)
	a.terminalRoutes(h)

	a.plainRoutes(mux, h)
	return mux, h
}

// plainRoutes are those that aren't part of the described API.
func (a *api) plainRoutes(mux *http.ServeMux, h huma.API) {
	fine := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // the client may have gone
	})
	or := func(h http.Handler) http.Handler {
		if h == nil {
			return fine
		}
		return h
	}
	mux.Handle("GET /healthz", or(a.Healthz))
	mux.Handle("GET /readyz", or(a.Readyz))
	if a.Clicks != nil {
		mux.Handle("POST /integrations/slack/", a.Clicks)
	}
	if a.Metrics != nil {
		mux.Handle("GET /metrics", a.metrics())
	}
	mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		spec, err := h.OpenAPI().MarshalJSON()
		if err != nil {
			a.Log.Error("api description can't be rendered", "error", err)
			writeProblem(w, errInternal)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(spec) // the client may have gone
	})
	a.signInRoutes(mux)
	a.programRoutes(mux)
	a.issuerRoutes(mux)
	notFound := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, huma.Error404NotFound("there is nothing at "+r.Method+" "+r.URL.Path+"; see /api/openapi.json"))
	})
	mux.Handle("/api/", notFound)
	a.eventRoutes(mux)
	if a.Fallback != nil {
		mux.Handle("/", a.Fallback)
		return
	}
	mux.Handle("/", notFound)
}

// metrics names resources, so those who aren't on this machine must be auditors.
func (a *api) metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !sourceOf(r.RemoteAddr).IsLoopback() {
			c, err := a.identify(r.Context(), requestHead{r})
			if err != nil {
				writeProblem(w, err)
				return
			}
			if !c.auditor {
				writeProblem(w, errForbidden)
				return
			}
		}
		a.Metrics.ServeHTTP(w, r)
	})
}

// operation describes a route; its rights come from the table.
func operation(method, path, id, tag, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}}
}

// handle registers a route. fn runs for callers whom the table of rights lets
// in, and no longer than requestTime; a stream's Body runs as long as it needs.
func handle[I, O any](a *api, h huma.API, op huma.Operation, fn func(context.Context, caller, *I) (*O, error)) {
	route := op.Method + " " + op.Path
	need, ok := a.rights[route]
	if !ok {
		panic("api: the table of rights lacks " + route)
	}
	op.MaxBodyBytes, op.BodyReadTimeout = maxBody, bodyTime
	op.Description = need.describe()
	if need != anyone {
		op.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}}
	}
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		c, err := a.admit(ctx, need)
		if err != nil {
			_, w := humago.Unwrap(ctx)
			writeProblem(w, err)
			return
		}
		next(huma.WithValue(ctx, callerKey{}, c))
	})
	a.routes = append(a.routes, route)
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		c, ok := ctx.Value(callerKey{}).(caller)
		if !ok {
			return nil, errForbidden
		}
		ctx, cancel := context.WithTimeout(ctx, requestTime)
		defer cancel()
		out, err := fn(ctx, c, in)
		if err != nil {
			return nil, a.problem(route, err)
		}
		return out, nil
	})
}

// callerKey is the key of a request's caller in its context.
type callerKey struct{}

// splitPort is host without its port.
func splitPort(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return hostport
}
