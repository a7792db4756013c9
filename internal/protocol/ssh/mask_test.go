package ssh

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern"
)

const secretMask = `---
{kind: Mask, name: secrets, on: {names: [web-1]}, detect: [secret, email, credit_card], with: redact}
`

const theSecret = "AKIAZ7QJ3XN5KD2MPLWT"

// A secret that the server prints in pieces of one byte, with pauses and colours
// between them, reaches neither the client nor the recording.
func TestSecretsInPieces(t *testing.T) {
	w := newWorld(t, worldOptions{options: "shell: record", objects: aliceMay + secretMask})
	slowly := "for c in " + strings.Join(strings.Split(theSecret, ""), " ") + "; do printf %s $c; sleep 0.03; done; echo"
	var colours strings.Builder
	for _, c := range theSecret {
		colours.WriteString(`\033[3` + string('0'+c%8) + "m" + string(c))
	}
	w.write("script", "printf 'id "+colours.String()+`\033[0m`+"\\n'\nexit\n", 0o600)
	w.write("plain", "id "+theSecret+" and 4111 1111 1111 1111\n", 0o600)
	for name, script := range map[string]string{
		"at once":                     `ssh -F $CONFIG $VIA "cat $PWD/plain"`,
		"byte by byte":                `ssh -F $CONFIG $VIA "` + strings.ReplaceAll(slowly, "$", `\$`) + `"`,
		"on standard error":           `ssh -F $CONFIG $VIA "cat $PWD/plain >&2"`,
		"byte by byte, on a terminal": `ssh -F $CONFIG -tt $VIA "` + strings.ReplaceAll(slowly, "$", `\$`) + `"`,
		"coloured, in a shell":        `ssh -F $CONFIG -tt $VIA <script`,
		"with a pause in it":          `ssh -F $CONFIG $VIA "printf ` + theSecret[:14] + `; sleep 1; echo ` + theSecret[14:] + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			got := w.sh("web-1", script)
			shown := anySequence.ReplaceAllString(got.out+got.err, "")
			if strings.Contains(shown, theSecret) || strings.Contains(shown, theSecret[:15]) || strings.Contains(shown, "4111 1111 1111 1111") || !strings.Contains(shown, "[redacted]") {
				t.Errorf("the client sees %+v", got)
			}
			ended := w.ended()
			var recorded strings.Builder
			for _, e := range w.Recordings.Last().Events() {
				if e.Kind == postern.EventOutput {
					recorded.WriteString(e.Text)
				}
			}
			if text := anySequence.ReplaceAllString(recorded.String(), ""); strings.Contains(text, theSecret) || !strings.Contains(text, "[redacted]") {
				t.Errorf("the recording has %q", text)
			}
			if ended.MaskedValues == 0 {
				t.Error("nothing was counted")
			}
		})
	}
}

// Files are masked, refused or let through as the resource says.
func TestMaskedFiles(t *testing.T) {
	for option, c := range map[string]struct {
		got, says string
	}{
		"":            {"", "files don't pass"},
		"sftp: deny":  {"", "files don't pass"},
		"sftp: mask":  {"id [redacted]\n", ""},
		"sftp: allow": {"id " + theSecret + "\n", ""},
	} {
		t.Run(option, func(t *testing.T) {
			w := newWorld(t, worldOptions{options: option, objects: aliceMay + secretMask})
			w.write("plain", "id "+theSecret+"\n", 0o600)
			w.write("binary", "\x00\x01"+theSecret, 0o600)
			got := w.sh("web-1", `scp -q -F $CONFIG $VIA:$PWD/plain back`)
			data, _ := os.ReadFile(filepath.Join(w.dir, "back"))
			if string(data) != c.got || !strings.Contains(got.err, c.says) || (got.code == 0) != (c.says == "") {
				t.Errorf("got %q, %+v", data, got)
			}
			denied := slices.ContainsFunc(w.Audit.Entries(), func(e postern.AuditEntry) bool {
				return e.Outcome == "deny" && strings.Contains(e.Reason, "files don't pass")
			})
			if denied != (c.says != "") {
				t.Errorf("denied in the audit log: %v", denied)
			}
			if option == "sftp: mask" {
				if got := w.sh("web-1", `scp -q -F $CONFIG $VIA:$PWD/binary back`); !strings.Contains(got.err, "it isn't text") {
					t.Errorf("a binary file: %+v", got)
				}
			}
			if got := w.sh("web-1", `scp -q -F $CONFIG plain $VIA:$PWD/up && cmp plain up`); got.code != 0 {
				t.Errorf("a file that is written: %+v", got)
			}
		})
	}
}
