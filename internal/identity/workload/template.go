package workload

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const (
	maxName  = 200 // bytes of an identity's name
	maxValue = 160 // bytes of one claim in it
)

// template makes an identity's name of claims: "ci:{{claims.repository}}". It
// begins with a word and a colon of its own, which no account's name has, so
// that a workload is never called like a person or a service.
type template struct{ parts []part }

// part is a text, or the claim that stands there.
type part struct {
	text  string
	claim []string
}

var (
	placeholder = regexp.MustCompile(`\{\{\s*claims((?:\.[A-Za-z_][A-Za-z0-9_]*|\["[^"\\{}]{1,100}"\])+)\s*\}\}`)
	step        = regexp.MustCompile(`\.([A-Za-z_][A-Za-z0-9_]*)|\["([^"\\]+)"\]`)
	beginning   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}:`)
	literal     = regexp.MustCompile(`^[A-Za-z0-9._/@:-]*$`)
	plainValue  = regexp.MustCompile(`^[A-Za-z0-9._/@-]+$`)
	lastValue   = regexp.MustCompile(`^[A-Za-z0-9._/@:-]+$`)
)

func newTemplate(source string) (template, error) {
	var t template
	rest := source
	for rest != "" {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			t.parts = append(t.parts, part{text: rest})
			break
		}
		if at[0] > 0 {
			t.parts = append(t.parts, part{text: rest[:at[0]]})
		}
		var claim []string
		for _, m := range step.FindAllStringSubmatch(rest[at[2]:at[3]], -1) {
			claim = append(claim, m[1]+m[2])
		}
		t.parts = append(t.parts, part{claim: claim})
		rest = rest[at[1]:]
	}
	return t, t.check()
}

// check says why two programs could get one name.
func (t template) check() error {
	if !beginning.MatchString(t.prefix()) {
		return errors.New(`it begins with a word and a colon, like "ci:", so that no person or service is called alike`)
	}
	for i, p := range t.parts {
		switch {
		case p.claim == nil && !literal.MatchString(p.text):
			return fmt.Errorf("%q: besides {{claims.NAME}} it has only letters, digits and . _ / @ : -", p.text)
		case p.claim != nil && i > 0 && t.parts[i-1].claim != nil,
			p.claim == nil && i > 0 && i < len(t.parts)-1 && !strings.Contains(p.text, ":"):
			return errors.New(`between two claims there is a colon, which no claim but the last may hold: otherwise "a" and "b-c" would read like "a-b" and "c"`)
		}
	}
	return nil
}

// prefix is what every name begins with.
func (t template) prefix() string {
	if len(t.parts) == 0 {
		return ""
	}
	return t.parts[0].text
}

// claims is how many parts are claims.
func (t template) claims() (n int) {
	for _, p := range t.parts {
		if p.claim != nil {
			n++
		}
	}
	return n
}

// render makes a name. A value that has more than the characters of a name is
// refused rather than changed: changed, it might be another's.
func (t template) render(claims map[string]any) (string, error) {
	var name strings.Builder
	alone := t.claims() == 1 && t.parts[len(t.parts)-1].claim != nil
	for _, p := range t.parts {
		if p.claim == nil {
			name.WriteString(p.text)
			continue
		}
		value, err := lookup(claims, p.claim)
		if err != nil {
			return "", err
		}
		allowed := plainValue
		if alone {
			allowed = lastValue
		}
		if len(value) > maxValue || !allowed.MatchString(value) {
			return "", fmt.Errorf("claim %s is %s: a name takes only letters, digits and . _ / @ -, and at most %d of them",
				strings.Join(p.claim, "."), quoted(value), maxValue)
		}
		name.WriteString(value)
	}
	if name.Len() > maxName {
		return "", fmt.Errorf("the name would be longer than %d bytes", maxName)
	}
	return name.String(), nil
}

// lookup finds a claim that is a text or a whole number.
func lookup(claims map[string]any, path []string) (string, error) {
	var at any = claims
	for _, name := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return "", fmt.Errorf("there is no claim %s", strings.Join(path, "."))
		}
		at = m[name]
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case float64:
		if n := int64(v); float64(n) == v && n >= 0 && n < 1<<53 {
			return strconv.FormatInt(n, 10), nil
		}
	}
	return "", fmt.Errorf("claim %s is no text", strings.Join(path, "."))
}
