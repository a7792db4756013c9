package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern"
	"postern/internal/api"
	"postern/internal/gate"
	"postern/internal/mask/classify"
	"postern/internal/policy"
	"postern/internal/protocol"
	"postern/internal/upstream"
)

// classifyTime is less than a request of the API may take.
const classifyTime = 25 * time.Second

// classifierName is who looks at the columns: nobody that an access could name
// by mistake.
const classifierName = "postern-classify"

// classify says what the columns of a resource hold. It reads them over a session
// of the gateway's own, which no client has a part in; no value leaves this
// function.
func (s *Server) classify(ctx context.Context, resource string) (api.Classified, error) {
	set := s.objects.Set()
	r, ok := set.Resource(resource)
	if !ok {
		return api.Classified{}, postern.ErrNotFound
	}
	var sampler protocol.Sampler
	for _, p := range s.protocols {
		if one, ok := p.(protocol.Sampler); ok && p.Name() == r.Type {
			sampler = one
		}
	}
	if sampler == nil {
		return api.Classified{}, &api.RefusedError{Reason: "columns of resources of type " + r.Type + " can't be looked at"}
	}
	ctx, cancel := context.WithTimeout(ctx, classifyTime)
	defer cancel()
	session, err := s.ownSession(ctx, set, r)
	if err != nil {
		return api.Classified{}, err
	}
	out := api.Classified{Resource: resource, Columns: []api.ClassifiedColumn{}}
	classifier := classify.New()
	err = sampler.Sample(ctx, session, func(sampled protocol.Sampled) {
		if sampled.Unread {
			out.Unread = append(out.Unread, sampled.Column.Schema+"."+sampled.Column.Table)
			return
		}
		name, column := sampled.Column.Column, sampled.Column.String()
		if sampled.Path != "" {
			column += "$" + sampled.Path
			name = lastName(sampled.Path, name)
		}
		found := classifier.Column(name, sampled.Values)
		out.Columns = append(out.Columns, api.ClassifiedColumn{
			Column: column, Type: sampled.Type, Label: string(found.Label), Values: found.Values, Hits: found.Hits,
			Checked: found.Checked, Named: found.Named,
		})
	})
	if err != nil {
		s.log.Warn("columns can't be classified", "resource", resource, "error", err)
		_ = session.Close("failed")
		return api.Classified{}, &api.RefusedError{Reason: "its columns can't be looked at now; the gateway's log has the reason, and `postern doctor` may tell how to mend it"}
	}
	return out, session.Close("classified")
}

// lastName is the last name in a path, which says what stands there.
func lastName(path, column string) string {
	for path = strings.TrimRight(path, "[*]"); path != ""; {
		at := strings.LastIndexAny(path, ".")
		if name := strings.Trim(path[at+1:], `"`); name != "" {
			return name
		}
		path = path[:max(at, 0)]
	}
	return column
}

// ownSession opens a session on a resource for the gateway itself. It is in no
// list and no recording: no command of anybody runs in it.
func (s *Server) ownSession(ctx context.Context, set *policy.Set, r postern.Resource) (*gate.Session, error) {
	access, err := policy.Parse("classify", []byte("kind: Access\nname: "+classifierName+"\nto: [\"service:"+classifierName+"\"]\non: {names: ["+r.Name+"]}\n"))
	if err != nil {
		return nil, err
	}
	for _, o := range set.Objects() {
		if o.Kind == policy.KindResource && o.Name == r.Name {
			access = append(access, o)
		}
	}
	own, err := policy.NewSet(access, policyOptions(s.protocols))
	if err != nil {
		return nil, fmt.Errorf("open a session of the gateway's own: %w", err)
	}
	g, err := gate.New(gate.Config{
		Policy: func() *policy.Set { return own },
		Admit: func(_ context.Context, cred postern.Credential) (postern.Admission, error) {
			return postern.Admission{Identity: postern.Identity{Name: classifierName, Kind: postern.Service}, Resource: cred.Resource}, nil
		},
		Secrets: s.secrets.Resolve, Dial: upstream.Direct{}.Dial,
		StartRecording: func(postern.SessionInfo) (gate.Recording, error) { return unrecorded{}, nil },
		Audit:          nothing{}, Reviews: nothing{}, MaskKey: postern.NewSecret(classifierName),
		ReviewURL: func(string) string { return "" }, Now: s.now, Rand: rand.Reader, Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	caller, err := g.Authenticate(ctx, postern.Credential{User: classifierName, Resource: r.Name, Protocol: r.Type, Source: netip.MustParseAddrPort("127.0.0.1:1")})
	if err != nil {
		return nil, err
	}
	return caller.Open(ctx, postern.Target{Resource: r.Name, Client: "postern classify"})
}
