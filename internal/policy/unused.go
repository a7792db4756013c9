package policy

import "postern"

// Standing is a right that needs no request: an access, on one resource.
type Standing struct {
	Access   string
	Resource string
	To       []postern.Principal
	Verbs    []string // empty: anything that no rule denies
	Source   string   // file:line
}

// Standing lists every standing right, by resource and access.
func (s *Set) Standing() []Standing {
	var all []Standing
	for _, name := range s.names {
		for _, a := range s.resources[name].accesses {
			if a.spec.Request == nil {
				all = append(all, Standing{Access: a.object.Name, Resource: name, To: a.spec.To, Verbs: verbs([]*access{a}), Source: a.object.place()})
			}
		}
	}
	return all
}
