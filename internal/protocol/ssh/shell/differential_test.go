package shell

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern"
)

// scripts writes random scripts: the ways in which a shell comes to a program's
// name, one inside of another.
type scripts struct{ r *rand.Rand }

func (s *scripts) pick(of ...string) string { return of[s.r.IntN(len(of))] }

func (s *scripts) name() string { return s.pick("rm", "ls", "cat", "id", "wc") }

func (s *scripts) variable() string { return s.pick("X", "Y", "Z", "_", "IFS", "X", "Y") }

// word comes to a program's name, an option or a plain text.
func (s *scripts) word(depth int) string {
	n := s.name()
	v := s.variable()
	switch s.r.IntN(26) {
	case 0:
		return "'" + n + "'"
	case 1:
		return `"` + n + `"`
	case 2:
		return n[:1] + `""` + n[1:]
	case 3:
		return `\` + n
	case 4:
		return fmt.Sprintf(`$'\x%x%s'`, n[0], n[1:])
	case 5, 6, 7:
		return "$" + v
	case 8:
		return `"$` + v + `"`
	case 9:
		return "${" + v + s.pick(":-", ":=", ":+", "#", "%", "//x/", ":", ":0:", "^^", ",,", "@L", "[0]") + s.pick("", n, "1", "2") + "}"
	case 10:
		return "{" + n + ",-r}"
	case 11:
		if depth > 0 {
			return "$(" + s.statement(depth-1) + ")"
		}
	case 12:
		return "$(echo " + n + ")"
	case 13:
		return s.pick("$1", "$@", `"$@"`, "$*", "$0", "$#", "$?", "${!X}", "${X[@]}", `"${X[@]}"`)
	case 14:
		return n + s.pick("$Y", "${IFS}-r", "$*", "''", `\ x`, "*")
	case 15:
		return s.pick("-r", "-rf", "-f", "--", "x", "a b", `'-r f'`)
	case 16:
		return "$((" + s.pick("1+1", "X", "X=2", "Y++", "x[0]") + "))"
	case 17:
		return s.pick("~", "*", "?", "[a-z]m", "@(rm)", "!(x)", "r?")
	}
	return n
}

func (s *scripts) words(depth int) string {
	var all []string
	for range 1 + s.r.IntN(3) {
		all = append(all, s.word(depth))
	}
	return strings.Join(all, " ")
}

func (s *scripts) assignment(depth int) string {
	v := s.variable()
	return s.pick(v+"=", v+"=", v+"=", v+"+=", "X[0]=") + s.pick(s.word(depth), s.word(depth), s.name(), `"`+s.name()+` -r"`, "'-r x'", "("+s.name()+" -r)", ",")
}

func (s *scripts) statement(depth int) string {
	if depth <= 0 {
		return s.pick(s.assignment(0), s.words(0), s.words(0), s.name()+" "+s.word(0))
	}
	d := depth - 1
	v := s.variable()
	switch s.r.IntN(44) {
	case 0, 1, 2, 3:
		return s.assignment(d)
	case 4, 5, 6, 7:
		return s.words(d)
	case 8:
		return s.assignment(d) + " " + s.words(d)
	case 9, 10:
		return s.statement(d) + s.pick("; ", " && ", " || ", "\n", " & wait; ", " | ") + s.statement(d)
	case 11:
		return "{ " + s.statement(d) + "; }"
	case 12:
		return "( " + s.statement(d) + " )"
	case 13:
		return "if " + s.statement(d) + "; then " + s.statement(d) + "; else " + s.statement(d) + "; fi"
	case 14:
		return "for " + v + " in " + s.words(d) + "; do " + s.statement(d) + "; done"
	case 15:
		return "case " + s.word(d) + " in " + s.pick("*", "rm", "r*") + ") " + s.statement(d) + s.pick(";;", ";&", ";;&") + " *) " + s.statement(d) + ";; esac"
	case 16, 17:
		return s.pick("f", "g", "ls", "id", "echo") + "() { " + s.statement(d) + "; }"
	case 18, 19:
		return s.pick("f", "g", "f "+s.words(d), "g "+s.word(d))
	case 20:
		return "eval " + s.pick("'"+strings.ReplaceAll(s.statement(d), "'", "")+"'", s.words(d), `"$X"`)
	case 21:
		return "trap '" + strings.ReplaceAll(s.statement(0), "'", "") + "' " + s.pick("EXIT", "USR1", "DEBUG", "ERR")
	case 22:
		return s.pick("local", "declare", "export", "readonly", "typeset", "declare -l", "declare -g", "declare -i", "declare -n", "declare -a") + " " + s.assignment(0)
	case 23:
		return "unset " + s.pick("", "-f ", "-v ") + s.pick("X", "Y", "f", "ls")
	case 24:
		return "read " + v + " <<< " + s.word(d)
	case 25:
		return "printf -v " + v + " %s " + s.word(d)
	case 26:
		return s.pick("command ", "builtin ", "exec ", "env ", "nice ", "time ", "! ", "env X=1 ", "command -p ", "nohup ", "timeout 1 ", "xargs ") + s.words(d)
	case 27:
		return "set -- " + s.words(d)
	case 28:
		return s.pick("[[ ", "[ ") + s.word(d) + s.pick(" = ", " -eq ", " != ", " == ") + s.word(d) + s.pick(" ]]", " ]")
	case 29:
		return "((" + s.pick("X", "X=1", "Y", "1", "X+1", "Z++") + "))"
	case 30:
		return "cat <<E\n" + s.word(d) + "\nE\n" + s.statement(d)
	case 31:
		return s.words(d) + s.pick(" > /dev/null", " 2>&1", " < /dev/null", " <<< x", " > out")
	case 32:
		return "while " + s.statement(d) + "; do " + s.statement(d) + "; break; done"
	case 33:
		return s.pick("shift", "kill -USR1 $$", "set -e", "set -f", "shopt -s extglob", "shopt -s expand_aliases", "cd /", "cd .", ":", "true", "false", "exit", "return", "break", "set -o pipefail")
	case 34:
		return "alias " + s.pick("ls", "g", "zz") + "=" + s.pick("rm", "'rm -r'") + "\n" + s.statement(d)
	case 35:
		return "echo " + s.words(d) + " | while read " + v + "; do " + s.statement(d) + "; done"
	case 36:
		return s.pick("sh", "bash") + " -c " + s.pick("'"+strings.ReplaceAll(s.statement(d), "'", "")+"'", `"$X"`, s.word(d)) + s.pick("", " "+s.words(0))
	case 37:
		return "echo " + s.words(d) + " | " + s.pick("xargs ", "xargs -n1 ", "xargs -I{} ") + s.words(0)
	case 38:
		return "mapfile -t " + v + " <<< " + s.word(d) + "; " + s.statement(d)
	case 39:
		return ": " + s.words(d) + "; " + s.statement(d)
	case 40:
		return "select " + v + " in " + s.words(d) + "; do " + s.statement(d) + "; break; done <<< 1"
	case 41:
		return "IFS=" + s.pick(",", "r", "''") + "; " + s.statement(d)
	case 42:
		return "let " + s.pick("X=1", "Y=X", "'X[0]=1'")
	}
	return s.statement(d)
}

// stubs are programs that only tell that they were run, and how.
func stubs(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"rm", "ls", "cat", "id", "wc"} {
		stub := "#!/bin/sh\nprintf '%s' " + name + " >> \"$0.ran\"\nfor a; do printf ' %s' \"$a\" >> \"$0.ran\"; done\necho >> \"$0.ran\"\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(stub), 0o700); err != nil { //nolint:gosec // programs
			t.Fatal(err)
		}
	}
	for _, name := range []string{"env", "nice", "nohup", "timeout", "xargs", "sh", "bash"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// ran runs a script in bash, and says which stubs it ran, with their arguments.
func ran(t *testing.T, dir, script string) [][]string {
	t.Helper()
	work := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/bash", "-c", script)
	cmd.Dir = work
	cmd.Env = []string{"PATH=" + dir, "HOME=" + work}
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	_ = cmd.Run() // most fail
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left in the background
	}
	var all [][]string
	logs, _ := filepath.Glob(filepath.Join(dir, "*.ran"))
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if words := strings.Split(strings.TrimSuffix(line, "\n"), " "); slices.Contains([]string{"rm", "ls", "cat", "id", "wc"}, words[0]) {
				all = append(all, words)
			}
		}
		_ = os.Remove(log)
	}
	return all
}

// differentialRuns makes TestAgainstBash try that many scripts.
const differentialRuns = "POSTERN_SHELL_SCRIPTS"

// TestAgainstBash runs random scripts: a program that bash comes to run must be
// among those that the analyser named, or the analyser must have said that it
// doesn't know. The same for rm with -r.
func TestAgainstBash(t *testing.T) {
	n, seed := 250, uint64(1)
	if v, err := strconv.Atoi(os.Getenv(differentialRuns)); err == nil {
		n, seed = v, uint64(time.Now().UnixNano()) //nolint:gosec // any will do
	}
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	stubs(t, dir)
	s := &scripts{rand.New(rand.NewPCG(seed, 7))} //nolint:gosec // not a secret
	told, active := 0, 0
	for range n {
		var lines []string
		for range 1 + s.r.IntN(5) {
			lines = append(lines, s.statement(3))
		}
		script := strings.Join(lines, s.pick("; ", "\n"))
		cmds := Analyse(script, State{}).Commands
		unknown, recursive := false, false
		var verbs []string
		for _, c := range cmds {
			unknown = unknown || c.Access == postern.Unknown
			recursive = recursive || c.Attr(attrRecursiveDelete).Bool
			verbs = append(verbs, c.Verbs...)
		}
		if unknown {
			continue
		}
		told++
		did := ran(t, dir, script)
		if len(did) > 0 {
			active++
		}
		for _, words := range did {
			if !slices.Contains(verbs, words[0]) {
				t.Errorf("bash ran %q, the analyser saw %q in\n%s", words, verbs, script)
			}
			if words[0] == "rm" && !recursive && deletesTree(words[1:]) {
				t.Errorf("bash ran %q, which the analyser didn't see to be recursive, in\n%s", words, script)
			}
		}
	}
	t.Logf("%d scripts, %d of them understood, %d of those ran something", n, told, active)
	if active < n/50 {
		t.Error("too few scripts did anything")
	}
}

func deletesTree(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if len(a) > 1 && a[0] == '-' && a[1] != '-' && strings.ContainsAny(a, "rR") {
			return true
		}
	}
	return false
}
