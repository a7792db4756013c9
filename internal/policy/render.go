package policy

import (
	"bytes"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"postern"
)

// Render is the object's canonical YAML: every key in its fixed place, defaults
// left out. It holds references to secrets, never a secret. Reading it gives
// the same object again.
func (o Object) Render() []byte {
	root := newTree()
	root.text("kind", o.Kind)
	root.text("name", o.Name)
	switch {
	case o.Resource != nil:
		renderResource(root, o.Resource)
	case o.Access != nil:
		renderAccess(root, o.Access)
	case o.Rule != nil:
		renderRule(root, o.Rule)
	case o.Mask != nil:
		renderMask(root, o.Mask)
	case o.Classification != nil:
		renderClassification(root, o.Classification)
	case o.Recordings != nil:
		renderRecordings(root, o.Recordings)
	case o.ServiceAccount != nil:
		root.texts("groups", o.ServiceAccount.Groups)
		root.flag("disabled", o.ServiceAccount.Disabled)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(root.node); err != nil {
		panic("policy: render " + o.Ref() + ": " + err.Error()) // the tree is our own
	}
	return out.Bytes()
}

func renderResource(t tree, r *postern.Resource) {
	t.text("type", r.Type)
	t.textMap("labels", r.Labels)
	if len(r.Addresses) == 1 {
		t.text("address", r.Addresses[0])
	} else {
		t.texts("addresses", r.Addresses)
	}
	t.text("database", r.Database)
	tls := newFlow()
	tls.text("mode", r.TLS.Mode)
	tls.text("ca_file", r.TLS.CAFile)
	tls.text("server_name", r.TLS.ServerName)
	t.tree("tls", tls)
	credentials := newFlow()
	credentials.text("username", r.Credentials.Username)
	credentials.tree("password", secretTree(r.Credentials.Password))
	credentials.tree("private_key", secretTree(r.Credentials.PrivateKey))
	credentials.tree("certificate", secretTree(r.Credentials.Certificate))
	t.tree("credentials", credentials)
	t.text("via", r.Via)
	recording := newFlow()
	recording.number("rows", r.RecordRows, defaultRecordRows)
	t.tree("recording", recording)
	t.textMap("options", r.Options)
}

func secretTree(ref postern.SecretRef) tree {
	t := newFlow()
	t.text("env", ref.Env)
	t.text("file", ref.File)
	t.text("vault", ref.Vault)
	t.text("sealed", ref.Sealed)
	return t
}

func renderAccess(t tree, a *Access) {
	t.principals("to", a.To)
	t.tree("on", selectorTree(a.On))
	if len(a.Allow) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, c := range a.Allow {
			item := newFlow()
			item.texts("verbs", c.Verbs)
			item.texts("objects", c.Objects)
			list.Content = append(list.Content, item.node)
		}
		t.add("allow", list)
	}
	if a.Within != nil {
		within := newFlow()
		if len(a.Within.Hours) > 0 {
			within.text("hours", a.Within.Hours.String())
		}
		var networks []string
		for _, n := range a.Within.Networks {
			networks = append(networks, n.String())
		}
		within.texts("networks", networks)
		t.tree("within", within)
	}
	if a.MaxSession > 0 {
		t.text("max_session", duration(a.MaxSession))
	}
	if a.Section != nil {
		(&Writer{t}).Inner(a.SectionOf, a.Section.Render)
	}
	if a.Request != nil {
		renderRequest(t, a.Request)
	}
}

func renderRequest(t tree, r *RequestTerms) {
	request, key, wait, approvals := newFlow(), "request", defaultAsking, defaultApprovals
	if r.BreakGlass {
		key, wait = "break_glass", defaultReviewTimeout
		if len(r.Approvers) == 0 {
			approvals = 0
		}
	}
	request.principals("approvers", r.Approvers)
	request.number("approvals", r.Approvals, approvals)
	request.principals("reviewers", r.Reviewers)
	if r.Max != defaultGrant {
		request.text("max", duration(r.Max))
	}
	if r.Timeout != wait {
		request.text("timeout", duration(r.Timeout))
	}
	request.text("when", r.When)
	request.text("message", r.Message)
	t.tree(key, request)
}

func renderRule(t tree, r *Rule) {
	t.tree("on", selectorTree(r.On))
	t.principals("to", r.To)
	t.principals("except", r.Except)
	t.text("when", r.When)
	t.text("use", r.Use)
	if r.MaxAffected > 0 {
		t.add("max_affected", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(r.MaxAffected, 10)})
	}
	t.text("then", r.Then.String())
	if r.Shadow {
		t.text("mode", "shadow")
	}
	t.text("message", r.Message)
	if r.Review != nil {
		review := newFlow()
		review.principals("approvers", r.Review.Approvers)
		review.number("approvals", r.Review.Approvals, defaultApprovals)
		if r.Review.Timeout != defaultReviewTimeout {
			review.text("timeout", duration(r.Review.Timeout))
		}
		if r.Review.Evidence != postern.EvidencePlan {
			review.text("evidence", r.Review.Evidence)
		}
		if c := r.Review.Commit; c != nil {
			review.text("before", "commit")
			if c.Hold != defaultHold {
				review.text("hold", duration(c.Hold))
			}
			review.number("rows", int(c.Rows), defaultHeldRows)
			review.number("sample", c.Sample, defaultSample)
		}
		t.tree("review", review)
	}
}

func renderMask(t tree, m *Mask) {
	t.tree("on", selectorTree(m.On))
	t.principals("to", m.To)
	t.principals("except", m.Except)
	t.texts("columns", m.Columns)
	t.texts("labels", m.Labels)
	t.texts("detect", m.Detect)
	if m.With == postern.MaskNull {
		t.add("with", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"})
	} else {
		t.text("with", string(m.With))
	}
	bucket := newFlow()
	bucket.number("number", int(m.Bucket.Number), 0)
	bucket.text("date", m.Bucket.Date)
	t.tree("bucket", bucket)
	if m.AllowPredicates {
		t.text("predicates", "allow")
	}
	if m.MaskOpaque {
		t.text("opaque", "mask")
	}
}

func renderClassification(t tree, c *Classification) {
	t.tree("on", selectorTree(c.On))
	columns := newTree()
	for _, name := range sortedKeys(c.Columns) {
		columns.texts(name, c.Columns[name])
	}
	t.tree("columns", columns)
}

func selectorTree(s Selector) tree {
	t := newFlow()
	t.texts("names", s.Names)
	labels := newFlow()
	for _, key := range sortedKeys(s.Labels) {
		labels.text(key, s.Labels[key])
	}
	t.tree("labels", labels)
	t.texts("types", s.Types)
	return t
}

// tree is a YAML mapping under construction. What is empty is left out.
type tree struct{ node *yaml.Node }

func newTree() tree { return tree{&yaml.Node{Kind: yaml.MappingNode}} }

// newFlow is a mapping that stands on one line: {a: b}.
func newFlow() tree { return tree{&yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}} }

func (t tree) add(key string, value *yaml.Node) {
	t.node.Content = append(t.node.Content, textNode(key), value)
}

func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if strings.ContainsAny(text, "\n\r\t\u0085\u2028\u2029\ufeff") || strings.TrimSpace(text) != text {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func (t tree) text(key, value string) {
	if value != "" {
		t.add(key, textNode(value))
	}
}

func (t tree) texts(key string, values []string) {
	if len(values) == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, value := range values {
		list.Content = append(list.Content, textNode(value))
	}
	t.add(key, list)
}

func (t tree) principals(key string, values []postern.Principal) {
	var texts []string
	for _, p := range values {
		texts = append(texts, string(p))
	}
	t.texts(key, texts)
}

func (t tree) textMap(key string, values map[string]string) {
	inner := newFlow()
	for _, k := range sortedKeys(values) {
		inner.text(k, values[k])
	}
	t.tree(key, inner)
}

func (t tree) tree(key string, inner tree) {
	if len(inner.node.Content) > 0 {
		t.add(key, inner.node)
	}
}

func (t tree) flag(key string, value bool) {
	if value {
		t.add(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	}
}

func (t tree) number(key string, value, absent int) {
	if value != absent {
		t.add(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(value)})
	}
}
