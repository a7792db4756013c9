package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/identity"
	"postern/internal/identity/authority"
)

// CertificateRequest asks for certificates over a key that stays where it is.
type CertificateRequest struct {
	CSR      string         `json:"csr" minLength:"1" maxLength:"16384" doc:"A PKCS #10 request in PEM, signed with the key: that proves that you have it. Nothing else in it counts."`
	TTL      string         `json:"ttl,omitempty" maxLength:"32" doc:"How long the certificates let you in, like 1h. Absent: as long as a login. They end with the login, in any case."`
	Resource string         `json:"resource,omitempty" maxLength:"253" doc:"The only resource that they open. Absent: all that you may."`
	Networks []netip.Prefix `json:"networks,omitempty" maxItems:"32" doc:"Where they may be used from, like 192.0.2.0/24. Absent: anywhere."`
}

// Certificates are what a key was given: its X.509 client certificate and its
// SSH user certificate, which are one in the gateway's list.
type Certificates struct {
	ID             string    `json:"id"`
	User           string    `json:"user"`
	Key            string    `json:"key" doc:"The key's fingerprint."`
	Certificate    string    `json:"certificate" doc:"X.509, PEM."`
	SSHCertificate string    `json:"ssh_certificate" doc:"For a -cert.pub file beside the private key."`
	ExpiresAt      time.Time `json:"expires_at"`
	Authorities    `doc:"What to trust, and who signed."`
}

// Authorities are the public keys that certificates are signed with.
type Authorities struct {
	ClientCA    string `json:"client_ca" doc:"The CA of client certificates, PEM."`
	SSHUserCA   string `json:"ssh_user_ca" doc:"The key that signs SSH user certificates."`
	SSHHostCA   string `json:"ssh_host_ca" doc:"The key that signs the gateway's SSH host certificate, for an @cert-authority line of known_hosts."`
	SSHServerCA string `json:"ssh_server_ca" doc:"The key that signs the certificates with which the gateway logs in at SSH servers, for their TrustedUserCAKeys."`
}

func (a *api) authorities() Authorities {
	return Authorities{
		ClientCA: string(a.Authority.ClientCA()), SSHUserCA: a.Authority.SSHUserCA(),
		SSHHostCA: a.Authority.SSHHostCA(), SSHServerCA: a.Authority.SSHServerCAKey(),
	}
}

func (a *api) certificateRoutes(h huma.API) {
	type issueInput struct{ Body CertificateRequest }
	type issueOutput struct{ Body Certificates }
	issue := operation(http.MethodPost, "/certificates", "create-certificate", "certificates", "Get an X.509 and an SSH certificate for my key")
	issue.DefaultStatus = http.StatusCreated
	handle(a, h, issue, func(ctx context.Context, c caller, in *issueInput) (*issueOutput, error) {
		out, err := a.certify(ctx, c, in.Body)
		return &issueOutput{Body: out}, err
	})
	a.listing(h, operation(http.MethodGet, "/certificates", "list-certificates", "certificates", "Certificates that the gateway issued"), postern.Certificate)
	revoke := operation(http.MethodDelete, "/certificates/{id}", "revoke-certificate", "certificates", "Revoke a certificate, and end the sessions it opened")
	a.revoking(h, revoke, "certificate.revoke", func(kind postern.TokenKind) bool { return kind == postern.Certificate })

	type nothing struct{}
	type authoritiesOutput struct{ Body Authorities }
	handle(a, h, operation(http.MethodGet, "/authorities", "list-authorities", "certificates", "The public keys that certificates are signed with"),
		func(context.Context, caller, *nothing) (*authoritiesOutput, error) {
			return &authoritiesOutput{Body: a.authorities()}, nil
		})
}

// certify registers a certificate over the request's key, and issues it.
func (a *api) certify(ctx context.Context, c caller, in CertificateRequest) (Certificates, error) {
	ttl, err := parseTTL(in.TTL)
	if err != nil {
		return Certificates{}, err
	}
	key, err := authority.ReadRequest([]byte(in.CSR))
	if err != nil {
		return Certificates{}, err
	}
	fingerprint, err := postern.Fingerprint(key)
	if err != nil {
		return Certificates{}, err
	}
	out := Certificates{User: c.identity.Name, Key: fingerprint, Authorities: a.authorities()}
	entry := postern.AuditEntry{Action: "certificate.create", Target: c.ref(), Resource: in.Resource, Reason: "for key " + fingerprint}
	err = a.change(ctx, c, entry, func(ctx context.Context) error {
		t, err := a.Identity.RegisterCertificate(ctx, c.identity, identity.CertificateTerms{
			Key: fingerprint, TTL: ttl, Resource: in.Resource, Networks: in.Networks, Under: c.bearer,
		})
		if err != nil {
			return err
		}
		if err := a.stillIn(ctx, c, t); err != nil {
			return err
		}
		issued, err := a.Authority.Issue(t, key)
		out.ID, out.ExpiresAt = t.ID, t.ExpiresAt.UTC()
		out.Certificate, out.SSHCertificate = string(issued.X509), issued.SSH
		return err
	})
	return out, err
}

// listing is a route that lists an identity's tokens of one kind.
func (a *api) listing(h huma.API, op huma.Operation, kind postern.TokenKind) {
	type listInput struct {
		Identity string `query:"identity" maxLength:"256" doc:"KIND:NAME of another identity. Absent: mine."`
	}
	type listOutput struct{ Body Page[Token] }
	handle(a, h, op, func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
		of, name := c.identity.Kind, c.identity.Name
		if in.Identity != "" {
			of, name = splitRef(in.Identity)
		}
		if !c.may(of, name) {
			return nil, errForbidden
		}
		tokens, err := a.Identity.Tokens(ctx, of, name)
		page := Page[Token]{Items: []Token{}}
		for _, t := range tokens {
			if kind == "" || t.Kind == kind {
				page.Items = append(page.Items, listedToken(t))
			}
		}
		return &listOutput{Body: page}, err
	})
}

// SSHKeyRequest registers a public key.
type SSHKeyRequest struct {
	PublicKey string `json:"public_key" minLength:"1" maxLength:"16384" doc:"A line as in a .pub file."`
	Comment   string `json:"comment,omitempty" maxLength:"128" doc:"What to call it. Absent: the line's own comment."`
	TTL       string `json:"ttl,omitempty" maxLength:"32" doc:"How long it lets you in, like 720h. Absent: 90 days."`
}

func (a *api) sshKeyRoutes(h huma.API) {
	type addInput struct{ Body SSHKeyRequest }
	type addOutput struct{ Body Token }
	add := operation(http.MethodPost, "/ssh-keys", "add-ssh-key", "certificates", "Register an SSH public key as mine")
	add.DefaultStatus = http.StatusCreated
	handle(a, h, add, func(ctx context.Context, c caller, in *addInput) (*addOutput, error) {
		out, err := a.addSSHKey(ctx, c, in.Body)
		return &addOutput{Body: out}, err
	})
	a.listing(h, operation(http.MethodGet, "/ssh-keys", "list-ssh-keys", "certificates", "Registered SSH public keys"), postern.SSHKey)
	remove := operation(http.MethodDelete, "/ssh-keys/{id}", "remove-ssh-key", "certificates", "Remove an SSH public key, and end the sessions it opened")
	a.revoking(h, remove, "ssh-key.remove", func(kind postern.TokenKind) bool { return kind == postern.SSHKey })
}

func (a *api) addSSHKey(ctx context.Context, c caller, in SSHKeyRequest) (Token, error) {
	ttl, err := parseTTL(in.TTL)
	if err != nil {
		return Token{}, err
	}
	fingerprint, comment, err := authority.ReadSSHKey(in.PublicKey)
	if err != nil {
		return Token{}, err
	}
	if in.Comment != "" {
		comment = in.Comment
	}
	var t postern.Token
	err = a.change(ctx, c, postern.AuditEntry{Action: "ssh-key.add", Target: c.ref(), Reason: "key " + fingerprint}, func(ctx context.Context) error {
		var err error
		if t, err = a.Identity.AddSSHKey(ctx, c.identity, fingerprint, comment, ttl); err != nil {
			return err
		}
		return a.stillIn(ctx, c, t)
	})
	return listedToken(t), err
}
