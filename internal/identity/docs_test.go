package identity

import (
	"crypto/rand"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The form that docs/secrets.md gives to secret scanners is the form of what is
// minted, and its example verifies.
func TestDocumentedForm(t *testing.T) {
	text, err := os.ReadFile("../../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```\n")
	pattern, _, found := strings.Cut(rest, "\n```")
	if !found {
		t.Fatal("docs/secrets.md gives no pattern")
	}
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	for _, prefix := range []string{servicePrefix, sessionPrefix, loginPrefix, webPrefix, refreshPrefix, devicePrefix, codePrefix, scimPrefix, breakGlassPrefix, offlinePrefix} {
		secret, err := mint(rand.Reader, prefix)
		if err != nil {
			t.Fatal(err)
		}
		if !re.MatchString(secret.Reveal()) {
			t.Errorf("the documented pattern doesn't find what begins with %s", prefix)
		}
		if !strings.Contains(string(text), "`"+prefix+"…`") {
			t.Errorf("docs/secrets.md doesn't name %s", prefix)
		}
	}
	example := regexp.MustCompile(pattern).FindString(string(text))
	if !wellFormed(example, servicePrefix) {
		t.Errorf("the example %q isn't well formed", example)
	}
}
