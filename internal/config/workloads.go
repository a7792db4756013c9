package config

import (
	"fmt"
	"time"
)

// Workload is an issuer of JWTs that programs already hold, and which of them
// are let in. What is more than the form of its values is checked where its
// condition is compiled.
type Workload struct {
	Name     string        `yaml:"name" doc:"What messages and the audit log call the rule; required."`
	Issuer   string        `yaml:"issuer" doc:"The tokens' iss, exactly; required. Its keys are found by OpenID Connect discovery."`
	Audience string        `yaml:"audience" doc:"The tokens' only aud, exactly. Default: public_url."`
	Match    string        `yaml:"match" doc:"A condition over claims, in CEL; required. One that holds for strangers, too, is refused."`
	Identity string        `yaml:"identity" doc:"What to call them, like \"ci:{{claims.repository}}\"; required. No two issuers' begin alike."`
	Groups   []string      `yaml:"groups" doc:"The groups that policies see."`
	TTL      time.Duration `yaml:"ttl" doc:"How long the login lasts that a token is exchanged for. Default: 1h; at most 12h."`
	Reuse    bool          `yaml:"reuse" doc:"Lets a token be exchanged more than once. Default: each counts once, by its jti."`
	JWKSURL  string        `yaml:"jwks_url" doc:"Where the issuer's keys are, when it has no discovery document."`
	JWKSFile string        `yaml:"jwks_file" path:"yes" doc:"A file with the issuer's keys, when it can't be reached."`
	CAFile   string        `yaml:"ca_file" path:"yes" doc:"PEM file that the issuer's TLS certificate is checked against. Default: the system's."`
	// Place is where the rule is written, for messages.
	Place string `yaml:"-"`
}

// finishWorkloads fills in what workload rules take from elsewhere.
func (c *Config) finishWorkloads(d *decoder) {
	for i := range c.Identity.Workloads {
		w := &c.Identity.Workloads[i]
		w.Place = d.place(fmt.Sprintf("identity.workloads[%d]", i))
		if w.Audience == "" {
			w.Audience = c.PublicURL
		}
	}
}
