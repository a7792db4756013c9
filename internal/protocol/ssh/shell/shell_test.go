package shell

import (
	"strings"
	"testing"

	"postern"
)

// describe words commands: access, verbs, > written and < read objects, facts.
func describe(cmds []postern.Command) string {
	var lines []string
	for _, c := range cmds {
		parts := []string{c.Access.String(), strings.Join(c.Verbs, ",")}
		for _, o := range c.Objects {
			arrow := "<"
			if o.Write {
				arrow = ">"
			}
			kind := ""
			if o.Kind != "path" {
				kind = o.Kind + ":"
			}
			parts = append(parts, arrow+kind+o.Name)
		}
		for _, a := range c.Attrs {
			if a.Kind == postern.AttrBool && a.Bool && a.Name != attrMulti {
				parts = append(parts, "!"+a.Name)
			}
		}
		lines = append(lines, strings.Join(parts, " "))
	}
	return strings.Join(lines, "; ")
}

func check(t *testing.T, text, want string) {
	t.Helper()
	got := Analyse(text, State{})
	if d := describe(got.Commands); d != want {
		t.Errorf("%q\n got %s\nwant %s\n%s", text, d, want, got.Commands[0].Problem)
	}
	if joinedTexts(got.Commands) != text {
		t.Errorf("%q: the commands' texts aren't the text", text)
	}
}

func TestWhatCommandsDo(t *testing.T) {
	check(t, "ls -la /srv", "read ls </srv")
	check(t, "cat notes.txt", "read cat <~/notes.txt")
	check(t, "cd /srv && cat a.txt", "read cat,cd </srv/a.txt")
	check(t, "cd /srv; cat a.txt", "control cd; read cat </srv/a.txt <~/a.txt") // there may be no /srv
	check(t, "cd /srv || exit 1; cat a.txt", "control cd,exit; read cat </srv/a.txt")
	check(t, "(cd /srv && ls .) ; ls .", "read ls,cd </srv; read ls <~")
	check(t, "rm -f -- /tmp/x", "write rm >/tmp/x")
	check(t, "rm -rf /tmp/x", "write rm >/tmp/x !recursive_delete")
	check(t, "rm --recurs /tmp/x", "write rm >/tmp/x !recursive_delete")
	check(t, "echo x > /tmp/y", "write write,echo >/tmp/y")
	check(t, "echo x 2>&1 >/dev/null", "read echo")
	check(t, "sort < /tmp/a | uniq -c > /tmp/b", "write write,sort,uniq </tmp/a >/tmp/b")
	check(t, "sudo systemctl restart nginx", "admin systemctl,sudo !privileged")
	check(t, "f=/etc/shadow; cat $f", "control assign; read cat <secret:/etc/shadow </etc/shadow !file_access")
	check(t, "for f in /var/log/*.log; do gzip \"$f\"; done", "write gzip </var/log/*.log >/var/log/*.log !has_glob")
	check(t, "bash -c 'rm -r /srv/x'", "write rm,bash >/srv/x !recursive_delete !interpreter")
	check(t, "sh <<'E'\nrm /tmp/x\nE\n", "write rm,sh >/tmp/x !interpreter")
	check(t, "find /srv -name '*.tmp' -exec rm -f {} +", "write rm,find </srv >entry:/srv?")
	check(t, "curl -sS https://example.com/x | jq .a", "read curl,jq <host:example.com")
	check(t, "tar xzf a.tgz -C /srv/new", "write tar <~/a.tgz >/srv/new/*")
	check(t, "f() { rm -r /srv/x; }", "control function")
	check(t, "f() { rm -r /srv/x; }; f", "control function; write rm,f >/srv/x !recursive_delete")
	check(t, "# nothing", "control nothing")
	check(t, "sleep 9 &", "read sleep !background")
	check(t, "tar czf b.tgz -C /srv app", "write tar >~/b.tgz </srv/app <~/app <secret:/srv/app <secret:~/app !file_access")
	check(t, "docker exec web rm -rf /data", "write rm,docker >/data !recursive_delete")
}

// What can't be told makes a command unknown, and says why.
func TestUnknown(t *testing.T) {
	for text, why := range map[string]string{
		"$CMD -rf /":                        "which program it runs",
		"./deploy.sh":                       "isn't one of the system's programs",
		"frobnicate --all":                  "isn't known",
		"echo cm0= | base64 -d | sh":        "runs code that isn't written there",
		"eval \"$x\"":                       "what eval runs",
		". ./env.sh":                        "it runs a file",
		"rm *":                              "may be an option",
		"echo hi >> ~/.bashrc":              "read for code to run later",
		"LD_PRELOAD=/tmp/x.so ls":           "LD_PRELOAD",
		"x='a[$(id)]'; ((x))":               "isn't a number",
		"python3 -c 'import os'":            "language that isn't analysed",
		"git -c core.pager=sh log":          "can run a program",
		"PATH=/tmp:$PATH; ls":               "PATH was changed",
		"while":                             "isn't valid",
		"ls\x01":                            "control characters",
		"alias ls=id\nls":                   "alias",
		strings.Repeat("a", maxText+1):      "too long",
		strings.Repeat("(", 500) + "ls":     "valid",
		strings.Repeat("sh -c '", 3) + "ls": "valid",
	} {
		cmds := Analyse(text, State{}).Commands
		last := cmds[len(cmds)-1]
		if last.Access != postern.Unknown || last.Verb != postern.VerbUnknown || !strings.Contains(last.Problem, why) {
			t.Errorf("%.60q: %s %s %q, want unknown: %s", text, last.Access, last.Verb, last.Problem, why)
		}
	}
}

// Later lines are understood by what earlier ones left behind.
func TestState(t *testing.T) {
	st := State{}
	run := func(text, want string) {
		t.Helper()
		got := Analyse(text, st)
		if d := describe(got.Commands); d != want {
			t.Errorf("%q\n got %s\nwant %s\n%s", text, d, want, got.Commands[0].Problem)
		}
		st = got.After
	}
	run("cd /srv/app", "control cd")
	st = st.InDir("/srv/app")
	run("ls .", "read ls </srv/app")
	run("clean() { rm -rf tmp; }", "control function")
	run("clean", "write rm,clean >/srv/app/tmp !recursive_delete")
	run("X=rm", "control assign")
	run("$X -r b", "write rm >/srv/app/b !recursive_delete")
	run("read X", "control read")
	run("$X b", "unknown unknown")
	run("ls", "unknown unknown,ls") // for nobody knows what $X was
}

func TestIncomplete(t *testing.T) {
	for text, want := range map[string]bool{
		"for f in a b; do": true, "echo 'a": true, "cat <<E\nx\n": true, "cat <<E": true, "cat <<E <<F\nE": true, "ls |": true, "a && ": true, "if true; then": true,
		"ls": false, "echo )": false, "fi": false, "cat <<E\nx\nE": false, "ls \\": true,
	} {
		if got := Incomplete(text); got != want {
			t.Errorf("%q: incomplete is %v, want %v", text, got, want)
		}
	}
}

// A pager on a terminal runs what is typed into it.
func TestTerminal(t *testing.T) {
	for _, text := range []string{"less /var/log/syslog", "journalctl -u nginx", "systemctl status nginx", "git log", "man ls", "vim /tmp/x", "htop"} {
		if got := Analyse(text, State{Terminal: true}).Commands[0].Access; got != postern.Unknown {
			t.Errorf("%q on a terminal: %s, want unknown", text, got)
		}
	}
	for _, text := range []string{"less /var/log/syslog", "journalctl -u nginx", "man ls"} {
		if got := Analyse(text, State{}).Commands[0].Access; got != postern.Read {
			t.Errorf("%q without a terminal: %s, want read", text, got)
		}
		if got := Analyse(text+" | cat", State{Terminal: true}).Commands[0].Access; got != postern.Read {
			t.Errorf("%q through a pipe: %s, want read", text, got)
		}
	}
	if got := Analyse("vim /tmp/x", State{Terminal: true, FullScreen: []string{"vim"}}).Commands[0]; got.Access != postern.Write || !got.Attr(attrInteractive).Bool {
		t.Errorf("vim, which may: %s", describe([]postern.Command{got}))
	}
}

func TestProgramsOfTheOperator(t *testing.T) {
	st := State{Programs: map[string]postern.Access{"deploy": postern.Write}}
	if got := describe(Analyse("deploy --all", st).Commands); got != "write deploy" {
		t.Error(got)
	}
}

func FuzzAnalyse(f *testing.F) {
	for _, text := range []string{"ls", "a=b; $a", "f() { f; }; f", "for i in {1..9}; do echo $i; done", "x=$((1+2)) <<E\n$x\nE", "[[ a -eq b ]]", "sed 's/a/b/w x'", "awk '{print $1/2 > \"x\"}'", "tar xzf a -C b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Analyse(text, State{})
		if len(got.Commands) == 0 || joinedTexts(got.Commands) != text {
			t.Fatalf("%q: the commands' texts aren't the text", text)
		}
		for _, c := range got.Commands {
			if c.Verb == "" || len(c.Verbs) == 0 || c.Verbs[0] != c.Verb {
				t.Fatalf("%+v", c)
			}
			if (c.Problem != "") != (c.Access == postern.Unknown) {
				t.Fatalf("%+v", c)
			}
		}
		Analyse(text, got.After)
	})
}
