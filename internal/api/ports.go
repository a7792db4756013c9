package api

import (
	"context"
	"crypto"
	"io"
	"net/http"
	"net/netip"
	"time"

	"postern"
	"postern/internal/audit"
	"postern/internal/identity"
	"postern/internal/identity/authority"
	"postern/internal/identity/workload"
	"postern/internal/policy"
	"postern/internal/recording"
	"postern/internal/search"
)

// Identity says who calls, keeps accounts and mints tokens. *identity.Service
// is one; its sentinel errors are told apart here.
type Identity interface {
	// Exclusive keeps all others from changing anything until release is called.
	Exclusive(context.Context) (held context.Context, release func())

	// AuthenticateBearer verifies a login token or a service account's key, and
	// no session token. Its errors are for the operator.
	AuthenticateBearer(context.Context, postern.Secret) (postern.Identity, error)
	// AuthenticatePerson verifies a local user's password and second factor, and limits tries.
	// It takes the same time for a user that doesn't exist.
	AuthenticatePerson(ctx context.Context, name string, p identity.Proof, source netip.Addr) (postern.Identity, error)
	EnrolTOTP(ctx context.Context, name, issuer string) (identity.Enrolment, error)
	ConfirmTOTP(ctx context.Context, name, code string) error
	ResetFactors(ctx context.Context, name string) error

	BeginBreakGlass(ctx context.Context, id postern.Identity, source string) (postern.BreakGlassLogin, postern.Secret, error)
	BreakGlass(ctx context.Context, id string) (postern.BreakGlassLogin, error)
	ConfirmBreakGlass(ctx context.Context, id string, by postern.Identity) (postern.BreakGlassLogin, error)
	TakeBreakGlass(context.Context, postern.Secret) (postern.BreakGlassLogin, postern.Secret, postern.Token, error)

	// NewOfflineCode makes an offline grant's code, and its hash; OfflineHash is the
	// hash of one that is shown, whose failures are limited by place.
	NewOfflineCode() (code postern.Secret, hash string, err error)
	OfflineHash(code postern.Secret, source netip.Addr) (string, error)
	OfflineTaken(source netip.Addr)
	OfflineHolderNamed(ctx context.Context, name string) (postern.Identity, error)
	OfflineHolder(ctx context.Context, g postern.OfflineGrant, code string) (postern.Identity, error)
	EnterOffline(ctx context.Context, id postern.Identity, resource string, until time.Time, from identity.Where) (postern.Secret, postern.Token, error)

	// AuthenticateCookie verifies a browser's token, and nothing else.
	AuthenticateCookie(context.Context, postern.Secret) (postern.Identity, error)

	// Continues says whether who was let in with a secret a while ago would
	// still be, were it not for the time that the secret itself lives.
	Continues(context.Context, postern.Secret, postern.Identity) (postern.Identity, error)

	Logins
	MintLogin(context.Context, postern.Identity) (postern.Secret, postern.Token, error)
	MintSession(context.Context, postern.Identity, identity.SessionTerms) (postern.Secret, postern.Token, error)
	// Delegate records a person's consent that somebody acts for them.
	Delegate(context.Context, postern.Identity, identity.Consent) (postern.Token, error)
	// Delegated is the person of a delegation, with its actor acting for them.
	Delegated(ctx context.Context, delegation string, actor postern.Identity) (postern.Identity, error)
	MintDelegated(ctx context.Context, delegation string, actor postern.Identity, terms identity.SessionTerms) (postern.Secret, postern.Token, error)
	// RegisterCertificate records what a certificate is about to say.
	RegisterCertificate(context.Context, postern.Identity, identity.CertificateTerms) (postern.Token, error)
	AddSSHKey(ctx context.Context, id postern.Identity, key, comment string, ttl time.Duration) (postern.Token, error)
	Logout(context.Context, postern.Secret) error
	Tokens(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.Token, error)
	RevokeToken(ctx context.Context, id string) error

	Accounts(context.Context) ([]postern.Account, error)
	CreateServiceAccount(ctx context.Context, name string, groups []string) (postern.Account, postern.Secret, error)
	RotateKey(ctx context.Context, name string) (postern.Account, postern.Secret, error)
	Disable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
	Enable(ctx context.Context, kind postern.IdentityKind, name string) (postern.Account, error)
	Delete(ctx context.Context, kind postern.IdentityKind, name string) error

	// AuthenticateSCIM verifies what a directory calls with, and limits tries.
	AuthenticateSCIM(context.Context, postern.Secret, netip.Addr) (postern.SCIMToken, error)
	CreateSCIMToken(ctx context.Context, name, provider, subjects, by string, ttl time.Duration) (postern.SCIMToken, postern.Secret, error)
	SCIMTokens(context.Context) ([]postern.SCIMToken, error)
	RevokeSCIMToken(ctx context.Context, name string) error
}

// Logins are made, renewed and ended here. *identity.Service has them.
type Logins interface {
	StartLogin(context.Context, postern.LoginKind, identity.Vouched, identity.Where) (identity.LoginTokens, error)
	RefreshLogin(context.Context, postern.Secret) (identity.LoginTokens, error)
	Login(ctx context.Context, id string) (postern.LoginRecord, error)
	LoginOf(context.Context, postern.Secret) (postern.LoginRecord, error)
	Logins(ctx context.Context, kind postern.IdentityKind, name string) ([]postern.LoginRecord, error)
	EndLogin(ctx context.Context, id, reason string) error

	IssueCode(ctx context.Context, by postern.Identity, challenge, redirect string, from identity.Where) (postern.Secret, error)
	RedeemCode(ctx context.Context, code postern.Secret, verifier, redirect string) (identity.LoginTokens, error)
	StartDevice(context.Context, identity.Where) (postern.Secret, postern.Device, error)
	WaitingDevice(ctx context.Context, by postern.Identity, userCode string, source netip.Addr) (postern.Device, error)
	DecideDevice(ctx context.Context, by postern.Identity, userCode string, source netip.Addr, approve bool) (postern.Device, error)
	PollDevice(ctx context.Context, code postern.Secret) (identity.LoginTokens, error)

	SpendOnce(ctx context.Context, what string, until time.Time) (bool, error)
}

// Issuer is the built-in identity provider: it speaks the protocol, and leaves
// to the API who a person is. *issuer.Issuer is one.
type Issuer interface {
	http.Handler
	// Pending is the state of a sign-in that waits for its person.
	Pending(id string) (state string, ok bool)
	// Done says whose it is, once, and where their browser goes on.
	Done(id, user string) (to string, ok bool)
}

// Authority certifies clients' keys. *authority.Authority is one.
type Authority interface {
	// Issue certifies a key as its registered certificate says.
	Issue(postern.Token, crypto.PublicKey) (authority.Issued, error)
	ClientCA() []byte
	SSHUserCA() string
	SSHHostCA() string
	SSHServerCAKey() string
}

// Workloads verifies JWTs of other issuers. *workload.Verifier is one.
type Workloads interface {
	// Verify says who the bearer is, and remembers that the token was used. Its
	// errors are for the operator.
	Verify(context.Context, postern.Secret) (postern.Identity, error)
	// Trusted are the rules, and how their issuers answer.
	Trusted(context.Context) []workload.Trusted
}

// Store is what the API reads by itself. *store.DB is one. What isn't there is
// [postern.ErrNotFound].
type Store interface {
	// After has f called once the act of ctx is durable.
	After(ctx context.Context, f func())
	Sessions(context.Context, postern.SessionFilter) ([]postern.SessionInfo, error)
	Session(ctx context.Context, id string) (postern.SessionInfo, error)
	CountSessions(ctx context.Context, since time.Time, slot time.Duration) ([]postern.SessionCount, error)
	Reviews(context.Context, postern.ReviewFilter) ([]postern.Review, error)
	Review(ctx context.Context, id string) (postern.Review, error)
	Token(ctx context.Context, id string) (postern.Token, error)
	OfflineGrant(ctx context.Context, id string) (postern.OfflineGrant, error)
	OfflineGrants(ctx context.Context, before string, limit int) ([]postern.OfflineGrant, error)
	Notifications(ctx context.Context, state string, limit int) ([]postern.Notification, error)
	Notification(ctx context.Context, id int64) (postern.Notification, error)
	SettleNotification(context.Context, postern.Notification) error
	Shadows(ctx context.Context, rule string, limit int) ([]postern.ShadowCount, error)
	AccessUse(context.Context) ([]postern.AccessUse, error)
}

// Live are the sessions that are open on this gateway. *gate.Gate is one.
type Live interface {
	Live() []postern.SessionInfo
	// End ends the sessions that match picks, telling their clients why, and
	// says how many they were.
	End(reason string, match func(postern.SessionInfo) bool) int
	// Watch tells a session's client that somebody follows it, and returns what
	// tells it that they have stopped. A *gate.DeniedError says why nobody may;
	// [postern.ErrNotFound]: it isn't open here.
	Watch(id, who string) (stop func(), err error)
}

// Recordings reads what happened in sessions. *recording.Folder is one.
type Recordings interface {
	Read(id string) (*recording.Reader, error)
	// Digest is a recording's, from its file alone.
	Digest(id string) (string, error)
	// Condemn keeps that one is to be deleted, as part of an act, and
	// DeleteCondemned destroys its key, and removes its file.
	Condemn(ctx context.Context, id string) error
	DeleteCondemned(context.Context) error
	Follow(ctx context.Context, id string, fn func(postern.Event) error) error
}

// Search finds commands in recordings. *search.Index is one.
type Search interface {
	Scopes(context.Context) ([]postern.SearchScope, error)
	Search(ctx context.Context, q search.Query, in []search.Readable, cursor string, limit int, show search.Show) (hits []search.Hit, next string, err error)
	// Forget removes for good what is searched of a session's recording.
	Forget(ctx context.Context, session string) error
}

// Objects changes the objects in force. Mistakes in documents are
// [*policy.Problem]s, joined; an object that is kept in a file is a
// [*RefusedError].
type Objects interface {
	// Keys are what may stand in objects.
	Keys() []policy.Keys
	// Plan says what applying documents would change.
	Plan(ctx context.Context, documents []byte) ([]policy.Change, error)
	// Apply keeps documents, and puts them in force. act is called with the changes
	// and with what keeps them; its error stops the change and is returned.
	Apply(ctx context.Context, by string, documents []byte, act ObjectsAct) ([]policy.Change, error)
	// Delete takes an object out of force, as Apply does.
	Delete(ctx context.Context, kind, name string, act ObjectsAct) ([]policy.Change, error)
	// Problem is why the latest change, in files too, isn't in force; or nil.
	Problem() error
}

// ObjectsAct keeps changes of objects by calling keep, together with what is to
// be said about them.
type ObjectsAct func(changes []policy.Change, keep func(context.Context) error) error

// Votes casts votes over reviews. *approval.Service is one; its sentinel
// errors are told apart here. It writes the audit log itself.
type Votes interface {
	Vote(ctx context.Context, id string, by postern.Identity, approve bool, reason string) (postern.Review, error)
}

// AuditLog is the append-only log of decisions and administrative acts.
// *audit.Log is one.
type AuditLog interface {
	// Append returns when the entry is durable.
	Append(context.Context, postern.AuditEntry) error
	// Act does an act that the store keeps, and writes its entries, as one
	// transaction; [postern.ErrUnaudited] says that they can't be written.
	Act(ctx context.Context, entries func() []postern.AuditEntry, do func(context.Context) error) error
	// Size is the seq of the last entry.
	Size() int64
	Tail(ctx context.Context, after int64, limit int) ([]postern.AuditRecord, error)
	Follow(ctx context.Context, after int64, fn func(postern.AuditRecord) error) error
	Search(context.Context, postern.AuditFilter) ([]postern.AuditRecord, error)
	Verify(context.Context, audit.Digester) (audit.Report, error)
	Checkpoint(context.Context) (string, error)
	Prove(ctx context.Context, seq int64) (audit.Proof, error)
	ProveExtension(ctx context.Context, size int64) (audit.Extension, error)
	Export(context.Context, io.Writer) error
	PublicKey() string
}
