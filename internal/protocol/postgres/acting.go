package postgres

import (
	"strings"

	"postern"
	"postern/internal/gate"
)

// maxApplicationName is what the server keeps of an application_name.
const maxApplicationName = 63

// actingName is the application_name of a session in which somebody acts for
// another, so that the server's own log and pg_stat_activity name both; "" for
// one in which nobody does.
func actingName(id postern.Identity) string {
	if id.Actor == nil {
		return ""
	}
	const between = " for "
	const each = (maxApplicationName - len(between)) / 2
	cut := func(name string) string { return name[:min(len(name), each)] } // names are ASCII
	return cut(id.Actor.Name) + between + cut(id.Name)
}

// settingsOf are the settings of a client's startup message that the server is
// to see, for a session.
func settingsOf(s *gate.Session, params map[string]string) map[string]string {
	out := settings(params)
	name := actingName(s.Identity())
	if name == "" {
		return out
	}
	for other := range out { // the server takes any case for the same
		if strings.EqualFold(other, "application_name") {
			delete(out, other)
		}
	}
	out["application_name"] = name
	return out
}

// disowned is an error when a client has taken away who acts for whom.
func (r *relay) disowned(name, value string) error {
	if acting := actingName(r.s.Identity()); name != "application_name" || acting == "" || value == acting {
		return nil
	}
	return &refusal{code: codeDenied, message: "application_name tells the server who acts for whom, and can't be changed in a delegated session; connect again"}
}
