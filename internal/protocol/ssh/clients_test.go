package ssh

import (
	"strings"
	"testing"
)

// Each script does the same directly and through the gateway.
func TestOpenSSHClient(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow"})
	for name, script := range map[string]string{
		"output and exit status":     `ssh -F $CONFIG $VIA 'echo out; echo err >&2; exit 3'`,
		"input":                      `printf 'one\ntwo\n' | ssh -F $CONFIG $VIA 'cat; echo end'`,
		"half-close":                 `printf 'b\na\n' | ssh -F $CONFIG $VIA sort`,
		"a signal":                   `ssh -F $CONFIG $VIA 'kill -TERM $$'`,
		"a shell without a terminal": `printf 'echo hello\nexit 4\n' | ssh -F $CONFIG $VIA`,
		"a terminal":                 `ssh -F $CONFIG -tt $VIA 'stty size; test -t 0 && echo tty' </dev/null`,
		"environment":                `LC_TEST=x FOO=y ssh -F $CONFIG -o SendEnv=LC_TEST $VIA 'echo "$LC_TEST"'`,
		"much output":                `ssh -F $CONFIG $VIA 'head -c 20000000 /dev/zero' | sha256sum`,
		"much input":                 `head -c 20000000 /dev/zero | ssh -F $CONFIG $VIA sha256sum`,
		"sftp":                       `mkdir -p s-$VIA && rm -rf s-$VIA/* && head -c 300000 /dev/urandom >up && printf 'cd %s\nput up f\nls -1\nget f back\nmkdir d\nrename f d/g\nls -1 d\nchmod 600 d/g\nln -s d/g link\nls -1\nrm d/g\nrmdir d\nrm link\nls -1\n' $PWD/s-$VIA | sftp -q -F $CONFIG $VIA | sed "s/s-$VIA/s-X/"; cmp up back && echo same`,
		"scp":                        `head -c 300000 /dev/urandom >up; scp -q -F $CONFIG up $VIA:$PWD/copy-$VIA && scp -q -F $CONFIG $VIA:$PWD/copy-$VIA back && cmp up back && echo same`,
		"scp, recursive":             `rm -rf tree back-$VIA; mkdir -p tree/a/b; echo 1 >tree/a/x; echo 2 >tree/a/b/y; scp -q -r -F $CONFIG tree $VIA:$PWD/to-$VIA && scp -q -r -F $CONFIG $VIA:$PWD/to-$VIA back-$VIA && diff -r tree back-$VIA && echo same`,
		"scp, old protocol":          `head -c 300000 /dev/urandom >up; scp -O -q -F $CONFIG up $VIA:$PWD/copy-$VIA && scp -O -q -F $CONFIG $VIA:$PWD/copy-$VIA back && cmp up back && echo same`,
		"rsync":                      `rm -rf tree; mkdir -p tree/a; head -c 500000 /dev/urandom >tree/a/x; rsync -a -e "ssh -F $CONFIG" tree/ $VIA:$PWD/rs-$VIA/ && rsync -a --delete -e "ssh -F $CONFIG" $VIA:$PWD/rs-$VIA/ rsb-$VIA/ && diff -r tree rsb-$VIA && echo same`,
		"git":                        `rm -rf repo-$VIA.git work-$VIA; git init -q --bare repo-$VIA.git && git init -q work-$VIA && cd work-$VIA && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m one && GIT_SSH_COMMAND="ssh -F $CONFIG" git push -q ssh://$VIA$PWD/../repo-$VIA.git HEAD:main && cd .. && rm -rf again-$VIA && GIT_SSH_COMMAND="ssh -F $CONFIG" git clone -q -b main ssh://$VIA$PWD/repo-$VIA.git again-$VIA && git -C again-$VIA log --format=%s`,
		"ControlMaster":              `ssh -F $CONFIG -M -S $PWD/cm-$VIA -fN $VIA && for i in 1 2 3 4 5 6 7 8 9 10; do ssh -F $CONFIG -S $PWD/cm-$VIA $VIA "echo $i" & done; wait; ssh -F $CONFIG -S $PWD/cm-$VIA $VIA 'echo last'; ssh -F $CONFIG -S $PWD/cm-$VIA -O exit $VIA 2>/dev/null`,
		"rekeying":                   `ssh -F $CONFIG -o RekeyLimit=1M $VIA 'head -c 8000000 /dev/zero' | sha256sum`,
		"nothing to run":             `ssh -F $CONFIG $VIA /does/not/exist 2>/dev/null`,
	} {
		t.Run(name, func(t *testing.T) {
			direct, through := w.sh("direct", script), w.sh("web-1", script)
			if name == "ControlMaster" { // each in its own time
				direct.out, through.out = sortedLines(direct.out), sortedLines(through.out)
			}
			if direct.out == "" && direct.code == 0 {
				t.Fatalf("the script does nothing: %q", direct.err)
			}
			if direct != through {
				t.Errorf("directly:\n%+v\nthrough the gateway:\n%+v", direct, through)
			}
		})
	}
}

func sortedLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		for j := i + 1; j < len(lines); j++ {
			if lines[j] < lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return strings.Join(lines, "\n")
}
