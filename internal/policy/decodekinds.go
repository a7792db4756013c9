package policy

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"postern"
)

// The defaults of keys that are absent.
const (
	defaultRecordRows    = 100
	maxRecordRows        = 100_000
	defaultApprovals     = 1
	maxApprovals         = 20
	defaultReviewTimeout = 15 * time.Minute
	defaultGrant         = time.Hour
	maxGrant             = 30 * 24 * time.Hour
	defaultAsking        = 24 * time.Hour // that a request waits
	maxAsking            = 7 * 24 * time.Hour
	maxMessage           = 1000 // bytes
)

const nameRule = "expected 1 to 63 of a-z, 0-9, dot, dash and underscore, a letter or digit first"

// ValidName says whether a name may be an object's.
func ValidName(name string) bool {
	const maxName = 63
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// object reads a document. It returns false when that isn't an object that
// could be named in a further message.
func (d *decoder) object(root *yaml.Node) (Object, bool) {
	m := d.mapping(root, "")
	if m == nil {
		return Object{}, false
	}
	kind := m.need("kind", "every object has a kind: "+strings.Join(Kinds(), ", "))
	name := m.need("name", "every object has a name")
	if name != "" && !ValidName(name) {
		m.fail("name", "%s is not a name; %s", shown(name), nameRule)
	}
	o := Object{Kind: kind, Name: name, Source: d.file, Line: d.line(root), lines: d.lines}
	switch kind {
	case KindResource:
		o.Resource = m.resource(name)
	case KindAccess:
		o.Access = m.access()
	case KindRule:
		o.Rule = m.rule()
	case KindMask:
		o.Mask = m.mask()
	case KindClassification:
		o.Classification = m.classification()
	case KindServiceAccount:
		o.ServiceAccount = &ServiceAccount{Name: name, Source: d.file, Groups: m.groups(), Disabled: m.flag("disabled")}
	case KindRecordings:
		o.Recordings = m.recordings()
	case "":
		return Object{}, false
	default:
		m.fail("kind", "%s is not a kind; %s", shown(kind), oneOf(kind, Kinds()))
		return Object{}, false
	}
	m.done()
	return o, true
}

func (m *mapping) groups() []string {
	groups := m.texts("groups")
	for i, g := range groups {
		if strings.ContainsFunc(g, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
			m.fail("groups", "[%d] %s is not a group's name: it holds white space", i, shown(g))
		}
	}
	return groups
}

func (m *mapping) resource(name string) *postern.Resource {
	r := &postern.Resource{
		Name: name, Type: m.need("type", "the protocol that the resource speaks"),
		Labels: m.textMap("labels"), Addresses: m.addresses(), Database: m.text("database"),
		Via: m.text("via"), RecordRows: defaultRecordRows,
	}
	if t := m.inner("tls"); t != nil {
		r.TLS = postern.TLS{Mode: t.word("mode", "disable", "require", "verify-full"), CAFile: t.text("ca_file"), ServerName: t.text("server_name")}
		t.done()
	}
	if c := m.inner("credentials"); c != nil {
		r.Credentials = postern.CredentialRefs{
			Username: c.text("username"), Password: c.secret("password"),
			PrivateKey: c.secret("private_key"), Certificate: c.secret("certificate"),
		}
		c.done()
	}
	if rec := m.inner("recording"); rec != nil {
		r.RecordRows = rec.number("rows", 0, maxRecordRows, defaultRecordRows)
		rec.done()
	}
	r.Options = m.textMap("options")
	return r
}

// addresses reads `address: "h:p"`, `address: "h1:p,h2:p"` or `addresses: ["h:p"]`.
func (m *mapping) addresses() []string {
	if m.has("address") && m.has("addresses") {
		m.fail("addresses", "give either address or addresses, not both")
	}
	var all []string
	if m.has("addresses") {
		all = m.texts("addresses")
		m.known = append(m.known, "address")
	} else {
		for part := range strings.SplitSeq(m.need("address", "where the resource is, as host:port"), ",") {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
		m.known = append(m.known, "addresses")
	}
	key := "address"
	if m.has("addresses") {
		key = "addresses"
	}
	for _, address := range all {
		host, port, err := net.SplitHostPort(address)
		number, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || number == 0 || host == "" || strings.ContainsFunc(host, unicode.IsSpace) {
			m.fail(key, "%s is no address; expected host:port", shown(address))
		}
	}
	return all
}

// secret reads where a secret is kept. No message repeats a value: someone may
// have written the secret itself.
func (m *mapping) secret(key string) postern.SecretRef {
	n := m.take(key)
	if n == nil {
		return postern.SecretRef{}
	}
	const how = "expected where it is kept: {env: VARIABLE}, {file: PATH}, {vault: PATH#FIELD} or {sealed: TEXT}"
	if n.Kind != yaml.MappingNode {
		m.fail(key, "a secret never stands in an object; %s", how)
		return postern.SecretRef{}
	}
	inner := m.d.mapping(n, join(m.path, key))
	ref := postern.SecretRef{Env: inner.text("env"), File: inner.text("file"), Sealed: inner.text("sealed"), Vault: inner.text("vault")}
	set := 0
	for _, value := range []string{ref.Env, ref.File, ref.Sealed, ref.Vault} {
		if value != "" {
			set++
		}
	}
	m.d.lesson.learn(inner.path, inner.known)
	if set != 1 || len(inner.keys) != 1 {
		m.fail(key, "%s, and exactly one of them", how)
	}
	return ref
}

func (m *mapping) selector(needed bool) Selector {
	n := m.take("on")
	if n == nil {
		if needed {
			m.fail("on", `is missing: the resources that it opens; {names: ["*"]} is all of them`)
		}
		return Selector{}
	}
	on := m.d.mapping(n, join(m.path, "on"))
	if on == nil {
		return Selector{}
	}
	s := Selector{Names: on.texts("names"), Labels: on.textMap("labels"), Types: on.texts("types")}
	on.done()
	if len(on.keys) == 0 {
		m.fail("on", `picks nothing; expected names, labels or types; {names: ["*"]} is every resource`)
	}
	return s
}

func (m *mapping) access() *Access {
	a := &Access{To: m.principals("to"), On: m.selector(true)}
	if !m.has("to") {
		m.fail("to", "is missing: who it is for; [everyone] is all identities")
	}
	for i, n := range m.list("allow") {
		path := fmt.Sprintf("%s[%d]", join(m.path, "allow"), i)
		clause := m.d.mapping(n, path)
		if clause == nil {
			continue
		}
		c := Clause{Verbs: clause.texts("verbs"), Objects: clause.texts("objects")}
		if !clause.has("verbs") {
			clause.fail("verbs", `is missing: what may be done; ["*"] is anything`)
		}
		for _, pattern := range c.Objects {
			if _, err := parsePattern(pattern); err != nil {
				clause.fail("objects", "%s: %v", shown(pattern), err)
			}
		}
		clause.done()
		a.Allow = append(a.Allow, c)
	}
	a.Within = m.within()
	a.MaxSession = m.duration("max_session", 0)
	a.SectionOf, a.Section = m.section()
	if r := m.inner("request"); r != nil {
		a.Request = &RequestTerms{
			Approvers: r.approvers(), Approvals: r.number("approvals", 1, maxApprovals, defaultApprovals),
		}
		r.asking(a.Request, defaultAsking)
	}
	if r := m.inner("break_glass"); r != nil {
		if a.Request != nil {
			m.fail("break_glass", "an access is either had on request or by breaking the glass; make two of it")
		}
		a.Request = r.breakGlass()
	}
	return a
}

// asking reads what every way to ask for an access has.
func (m *mapping) asking(terms *RequestTerms, wait time.Duration) {
	terms.Max, terms.Timeout = m.duration("max", defaultGrant), m.duration("timeout", wait)
	terms.When, terms.Message = m.text("when"), m.message()
	if terms.Max > maxGrant {
		m.fail("max", "a grant lasts at most %s; a longer right is a standing one", duration(maxGrant))
	}
	if terms.Timeout > maxAsking {
		m.fail("timeout", "a request waits at most %s", duration(maxAsking))
	}
	m.done()
}

// breakGlass reads how an access is had in an emergency: at once, or with a
// second person.
func (m *mapping) breakGlass() *RequestTerms {
	terms := &RequestTerms{
		BreakGlass: true, Approvers: m.principals("approvers"),
		Approvals: m.number("approvals", 0, maxApprovals, 0), Reviewers: m.principals("reviewers"),
	}
	if !m.has("approvals") && m.has("approvers") {
		terms.Approvals = defaultApprovals
	}
	if terms.Approvals > 0 && len(terms.Approvers) == 0 {
		m.fail("approvers", "is missing: who may be the second person")
	}
	if len(terms.Reviewers) == 0 {
		m.fail("reviewers", "is missing: who looks at it afterwards")
	}
	m.asking(terms, defaultReviewTimeout)
	return terms
}

func (m *mapping) approvers() []postern.Principal {
	approvers := m.principals("approvers")
	if !m.has("approvers") {
		m.fail("approvers", "is missing: who may approve")
	}
	return approvers
}

func (m *mapping) within() *Within {
	in := m.inner("within")
	if in == nil {
		return nil
	}
	w := &Within{}
	if text := in.text("hours"); text != "" {
		hours, err := ParseHours(text)
		if err != nil {
			in.fail("hours", "%v", err)
		}
		w.Hours = hours
	}
	for i, text := range in.texts("networks") {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Zone() != "" {
			in.fail("networks", "[%d] %s is no network; expected one like 10.0.0.0/8 or 2001:db8::/32", i, shown(text))
			continue
		}
		if prefix != prefix.Masked() {
			in.fail("networks", "[%d] %s has bits behind its length; did you mean %q?", i, shown(text), prefix.Masked().String())
			continue
		}
		if prefix.Addr().Is4In6() {
			in.fail("networks", "[%d] %s is an IPv4 network in IPv6 clothes; write it as IPv4", i, shown(text))
			continue
		}
		w.Networks = append(w.Networks, prefix)
	}
	in.done()
	if len(in.keys) == 0 {
		m.fail("within", "bounds nothing; expected hours or networks")
	}
	return w
}

func (m *mapping) rule() *Rule {
	r := &Rule{On: m.selector(false), To: m.principals("to"), Except: m.principals("except"), When: m.text("when"), Use: m.text("use")}
	r.MaxAffected = int64(m.number("max_affected", 1, maxBucket, 0))
	switch {
	case r.MaxAffected > 0 && m.has("use"):
		m.fail("use", "a shipped rule denies whatever it matches, so max_affected has no meaning here; say with when which commands it is about")
	case r.MaxAffected == 0 && m.has("when") == m.has("use"):
		m.fail("when", "expected either when (a condition in CEL) or use (a shipped rule)")
	}
	m.d.lesson.learnWords(join(m.path, "then"), []string{"allow", "deny", "review"})
	m.d.lesson.learnWords(join(m.path, "use"), shippedNames())
	switch then := m.need("then", "what happens: allow, deny or review"); then {
	case "allow":
		r.Then = postern.Allow
	case "review":
		r.Then = postern.NeedsReview
	case "deny", "":
		r.Then = postern.Deny
	default:
		m.fail("then", "%s", oneOf(then, []string{"allow", "deny", "review"}))
	}
	r.Message = m.message()
	r.Shadow = m.word("mode", "enforce", "shadow") == "shadow"
	if terms := m.inner("review"); terms != nil {
		r.Review = &postern.ReviewTerms{
			Approvers: terms.approvers(), Approvals: terms.number("approvals", 1, maxApprovals, defaultApprovals),
			Timeout:  terms.duration("timeout", defaultReviewTimeout),
			Evidence: cmp.Or(terms.word("evidence", postern.EvidenceNone, postern.EvidencePlan, postern.EvidenceCount), postern.EvidencePlan),
		}
		r.Review.Commit = terms.commit()
		terms.done()
	}
	if r.Then == postern.NeedsReview && !m.has("review") {
		m.fail("review", `is missing: who may approve, as {approvers: ["group:dba"]}`)
	}
	if r.Then == postern.Allow && r.Use != "" {
		m.fail("then", "a shipped rule describes what is dangerous, so `allow` has no meaning here; to exempt someone from another rule, use that rule's except")
	}
	if r.MaxAffected > 0 && (r.Then != postern.Deny || r.Shadow) {
		m.fail("then", "with max_affected it is deny, and not in the shadow: what changes more rows is undone")
	}
	if r.Then == postern.Allow && r.Shadow {
		m.fail("mode", "a rule that only allows has nothing to try out in the shadow")
	}
	return r
}

// Bounds of a command that is run before it is approved.
const (
	defaultHold, minHold, maxHold = time.Minute, time.Second, 10 * time.Minute
	defaultHeldRows, maxHeldRows  = 1000, 1_000_000
	defaultSample, maxSample      = 5, 50
)

// commit reads what bounds a command that is approved before it is committed; nil
// when it is approved before it runs.
func (m *mapping) commit() *postern.CommitTerms {
	before := m.word("before", "run", "commit")
	c := &postern.CommitTerms{
		Hold: m.duration("hold", defaultHold), Rows: int64(m.number("rows", 1, maxHeldRows, defaultHeldRows)),
		Sample: m.number("sample", 0, maxSample, defaultSample),
	}
	if before == "commit" {
		if c.Hold < minHold || c.Hold > maxHold {
			m.fail("hold", "expected %v to %v: what the command has locked stays locked for as long", minHold, maxHold)
		}
		return c
	}
	for _, key := range []string{"hold", "rows", "sample"} {
		if m.has(key) {
			m.fail(key, "it has no meaning without `before: commit`")
		}
	}
	return nil
}

func (m *mapping) message() string {
	message := strings.TrimSpace(m.text("message"))
	if len(message) > maxMessage {
		m.fail("message", "has %d bytes; the most is %d", len(message), maxMessage)
	}
	if strings.ContainsFunc(message, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) {
		m.fail("message", "holds control characters")
	}
	return message
}

func (m *mapping) mask() *Mask {
	k := &Mask{
		On: m.selector(false), To: m.principals("to"), Except: m.principals("except"),
		Columns: m.texts("columns"), Labels: m.texts("labels"), Detect: m.texts("detect"), With: m.style(), Bucket: m.bucket(),
	}
	k.AllowPredicates = m.word("predicates", "deny", "allow") == "allow"
	k.MaskOpaque = m.word("opaque", "deny", "mask") == "mask"
	for i, column := range k.Columns {
		if problem := columnProblem(column); problem != "" {
			m.fail("columns", "[%d] %s %s", i, shown(column), problem)
		}
	}
	for i, label := range k.Labels {
		if !validLabel(label) {
			m.fail("labels", "[%d] %s is no label; expected words with dots between them, such as pii.email or pii.*", i, shown(label))
		}
	}
	if !m.has("columns") && !m.has("labels") && !m.has("detect") {
		m.fail("columns", "expected columns, labels, detect or several of them: without them the mask hides nothing")
	}
	if m.has("bucket") && k.With != postern.MaskBucket {
		m.fail("bucket", "it has no meaning without `with: bucket`")
	}
	return k
}

// columnProblem says what is wrong with a pattern of columns; "" is nothing.
func columnProblem(column string) string {
	name, path := splitPath(column)
	if parts, err := splitName(name); err != nil || len(parts) != 3 {
		return "is no column; expected schema.table.column, each part a name or a glob"
	}
	if path != "" && !validPath(path) {
		return `holds no path of a document behind its $; expected one like $.customer.email, $."a name", $.items[*].email or $..email`
	}
	return ""
}

// maxBucket bounds how wide a bucket may be: wider ones hold everything.
const maxBucket = 1 << 53

func (m *mapping) bucket() postern.Bucket {
	in := m.inner("bucket")
	if in == nil {
		return postern.Bucket{}
	}
	b := postern.Bucket{
		Number: int64(in.number("number", 1, maxBucket, 0)),
		Date:   in.word("date", "year", "quarter", "month", "week", "day", "hour"),
	}
	in.done()
	if len(in.keys) == 0 {
		m.fail("bucket", "says no size; expected number, date or both")
	}
	return b
}

func (m *mapping) classification() *Classification {
	c := &Classification{On: m.selector(false), Columns: map[string][]string{}}
	columns := m.inner("columns")
	if columns == nil {
		m.fail("columns", "is missing: which columns hold what, as public.customers.email: [pii.email]")
		return c
	}
	for _, key := range columns.keys {
		name := key.Value
		if problem := columnProblem(name); problem != "" {
			m.fail("columns", "%s %s", shown(name), problem)
		}
		labels := columns.texts(name)
		for _, label := range labels {
			if !validLabel(label) || strings.Contains(label, "*") {
				m.fail("columns", "%s: %s is no label; expected words with dots between them, such as pii.email", shown(name), shown(label))
			}
		}
		c.Columns[name] = labels
	}
	columns.done()
	return c
}

// validLabel says whether a word may name what columns hold. In masks, * stands
// for any text within a part.
func validLabel(label string) bool {
	for part := range strings.SplitSeq(label, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '*')
		}) {
			return false
		}
	}
	return len(label) <= 100
}

// style reads `with`. YAML reads the style null as nothing, and so it comes in
// two spellings.
func (m *mapping) style() postern.MaskStyle {
	if n := m.values["with"]; n != nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Value == "null" {
		m.take("with")
		return postern.MaskNull
	}
	style := m.word("with", "redact", "partial", "hash", "bucket", "null")
	if style == "" {
		return postern.MaskRedact
	}
	return postern.MaskStyle(style)
}

// place is where the object stands, as messages spell it.
func (o Object) place() string { return fmt.Sprintf("%s:%d", o.Source, max(o.Line, 1)) }

// lineOf is the line of a key's value, or of the nearest key around it.
func (o Object) lineOf(path string) int {
	for ; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		if line, ok := o.lines[path]; ok {
			return line
		}
	}
	return o.Line
}

// sortedKeys are a map's keys in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
