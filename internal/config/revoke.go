package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Signal is a transmitter of security events (Shared Signals) whose word ends
// sessions and disables accounts.
type Signal struct {
	Name     string        `yaml:"name" doc:"Its name in the log, and in the address that it sends to: PUBLIC_URL/events/NAME; required."`
	Issuer   string        `yaml:"issuer" doc:"The iss of its events, exactly; required."`
	Audience string        `yaml:"audience" doc:"The aud of its events, exactly: the one that was agreed with it for this gateway; required."`
	Provider string        `yaml:"provider" doc:"The provider whose people its events are about: a name of identity.oidc, or of a SCIM token. It may speak of nobody else; required."`
	JWKSURL  string        `yaml:"jwks_url" doc:"Where its public keys are. Absent: where the issuer's discovery document says."`
	MaxAge   time.Duration `yaml:"max_age" doc:"How old an event may be. Each is remembered for as long, so that none counts twice. 0: a week, because a transmitter that was down sends late."`
}

// SCIM bounds what a provider's directory may do through SCIM.
type SCIM struct {
	MaxRemovals   int  `yaml:"max_removals" doc:"How many people a directory may deactivate, delete or take out of groups within an hour, whatever their share. More are refused, and it is told in log, audit log and metrics, until an administrator allows them with \"postern scim-token allow-removals\"."`
	MaxShare      int  `yaml:"max_share" doc:"The same as a share of its active people, in percent. The larger of the two counts."`
	RenameToNamed bool `yaml:"rename_to_named" doc:"Let a directory rename a group to a name that a policy or a role speaks of. Its members would get those rights by a rename, which owners of a group can do in many directories."`
}

// signalName says whether a transmitter or a provider can have this name: it
// is a part of addresses.
func signalName(name string) bool {
	return name != "" && len(name) <= 64 && name != "local" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	})
}

// finishRevocation checks what is about ending people's access.
func (c *Config) finishRevocation(d *decoder) {
	seen := map[string]bool{}
	for i, s := range c.Identity.Signals {
		key := fmt.Sprintf("identity.signals[%d]", i)
		for _, part := range []struct{ name, value string }{
			{"name", s.Name}, {"issuer", s.Issuer}, {"audience", s.Audience}, {"provider", s.Provider},
		} {
			if part.value == "" {
				d.fail(key, part.name+" is missing")
			}
		}
		if s.Name != "" && !signalName(s.Name) {
			d.fail(key+".name", "a name is up to 64 lower-case letters, digits and - _ .")
		}
		if s.Provider != "" && !signalName(s.Provider) {
			d.fail(key+".provider", "it is no provider's name")
		}
		if seen[s.Name] {
			d.fail(key+".name", fmt.Sprintf("transmitter %q is there twice", s.Name))
		}
		seen[s.Name] = true
		if s.Issuer != "" && !secureURL(s.Issuer) {
			d.fail(key+".issuer", "an issuer is a URL, https://…")
		}
		if s.JWKSURL != "" && !secureURL(s.JWKSURL) {
			d.fail(key+".jwks_url", "keys are fetched by https")
		}
		if s.MaxAge < 0 {
			d.fail(key+".max_age", "it is negative")
		}
	}
	if n := c.Identity.SCIM.MaxShare; n < 0 || n > 100 {
		d.fail("identity.scim.max_share", "a share is between 0 and 100 percent")
	}
	if c.Identity.SCIM.MaxRemovals < 0 {
		d.fail("identity.scim.max_removals", "it is negative")
	}
}

// secureURL says whether text is an https URL, or one of http to this machine.
func secureURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback())
}
