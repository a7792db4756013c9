package shell

import (
	"strings"

	"postern"
)

// runs walks what a wrapper runs: another program, never a builtin.
func (a *analyzer) runs(words []arg, in input, st *State) {
	if len(words) == 0 {
		return
	}
	sub := st.clone()
	a.invoke(words, in, false, &sub)
}

// wrapper is a program that runs another one after its own options and skip
// operands.
func wrapper(short string, skip int) program {
	return func(a *analyzer, inv *invocation, st *State) {
		s := spec{short: short, first: true, long: wrapperLong(inv.name)}
		if inv.name == "taskset" || inv.name == "chrt" {
			s.short = "TPD"
		}
		o := s.parse(inv.args)
		a.eff.did(inv.name, postern.Read)
		if o.unsure {
			a.unsure(inv.name)
			return
		}
		if inv.name == "time" {
			for _, v := range o.values("o", "output") {
				a.write(v, st)
				a.eff.did(inv.name, postern.Write)
			}
		}
		if (inv.name == "taskset" || inv.name == "chrt" || inv.name == "ionice") && o.has("p", "pid", "P", "u") {
			a.eff.did(inv.name, postern.Admin)
			return
		}
		if len(o.operands) > skip {
			for _, x := range o.operands[:skip] {
				if x.many {
					a.unsure(inv.name)
				}
			}
			a.runs(o.operands[skip:], inv.in, st)
		}
		if inv.name == "nohup" {
			a.write(exactArg("nohup.out"), st)
		}
	}
}

func wrapperLong(name string) []string {
	switch name {
	case "nice":
		return []string{"adjustment="}
	case "ionice":
		return []string{"class=", "classdata="}
	case "timeout":
		return []string{"kill-after=", "signal="}
	case "stdbuf":
		return []string{"input=", "output=", "error="}
	case "time":
		return []string{"format=", "output="}
	case "systemd-cat":
		return []string{"identifier=", "priority=", "stderr-priority=", "level-prefix="}
	}
	return nil
}

// env sets variables, takes others away, and runs a program.
func env(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "uCS", first: true, long: []string{"unset=", "chdir=", "split-string=", "block-signal?", "default-signal?", "ignore-signal?"}}
	o := s.parse(inv.args)
	if o.has("S", "split-string") || o.unsure {
		code, ok := joined(o.values("S", "split-string"))
		if !ok || o.unsure || strings.ContainsAny(code, "\\$'\"#") {
			a.eff.did("env", postern.Unknown)
			a.eff.problem("what env -S runs can't be told")
			return
		}
		var words []arg
		for w := range strings.FieldsSeq(code) {
			words = append(words, exactArg(w))
		}
		env(a, &invocation{name: "env", args: append(words, o.operands...), in: inv.in}, st)
		return
	}
	sub := st.clone()
	for _, dir := range o.values("C", "chdir") {
		sub.chdir(dir, false)
	}
	for _, v := range o.values("u", "unset") {
		if name, ok := v.exact(); !ok || steersPrograms(name) {
			a.eff.problem("env -u takes away what programs go by")
		}
	}
	ops := o.operands
	for len(ops) > 0 {
		name, _, ok := strings.Cut(ops[0].prefix(), "=")
		if !ok {
			break
		}
		if !isName(name) || ops[0].many {
			a.eff.problem("what env sets can't be told")
		}
		a.exported(name, &sub)
		ops = ops[1:]
	}
	if len(ops) == 0 {
		a.eff.did("env", postern.Read)
		a.secret("environment")
		return
	}
	a.eff.did("env", postern.Read)
	if o.has("i", "ignore-environment") || strings.HasPrefix(inv.args[0].prefix(), "-") {
		sub.PlainPagers = false
	}
	a.runs(ops, inv.in, &sub)
}

func sudo(a *analyzer, inv *invocation, st *State) {
	a.eff.privileged = true
	s := spec{short: "aCcDghpRrtTUu", first: true, long: []string{
		"close-from=", "chdir=", "group=", "host=", "prompt=", "chroot=", "role=", "type=", "command-timeout=", "other-user=", "user=", "auth-type=",
		"preserve-env?", "edit", "shell", "login", "list", "validate", "version", "reset-timestamp", "remove-timestamp", "non-interactive", "stdin", "background",
	}}
	o := s.parse(inv.args)
	a.eff.did("sudo", postern.Read)
	sub := st.clone()
	sub.PlainPagers = false // it starts with an environment of its own
	switch {
	case o.unsure:
		a.unsure("sudo")
		return
	case o.has("e", "edit"):
		a.keyboard("sudoedit", st)
		return
	case o.has("R", "chroot"):
		a.eff.problem("in another root, programs may be others")
	}
	for _, dir := range o.values("D", "chdir") {
		sub.chdir(dir, false)
	}
	ops := o.operands
	for len(ops) > 0 {
		name, _, ok := strings.Cut(ops[0].prefix(), "=")
		if !ok || !isName(name) {
			break
		}
		a.exported(name, &sub)
		ops = ops[1:]
	}
	if o.has("i", "login") {
		sub.cwd = []string{unknownDir}
	}
	if len(ops) == 0 {
		if o.has("i", "s", "login", "shell") {
			a.eff.did("sudo", postern.Unknown)
			a.eff.problem("sudo -i and -s start a shell that takes commands from elsewhere")
		}
		return
	}
	// With -s and -i, sudo quotes the words for the shell: they stay words.
	a.runs(ops, inv.in, &sub)
}

func doas(a *analyzer, inv *invocation, st *State) {
	a.eff.privileged = true
	s := spec{short: "aCu", first: true}
	o := s.parse(inv.args)
	a.eff.did("doas", postern.Read)
	if o.unsure || o.has("s", "C") || len(o.operands) == 0 {
		a.eff.problem("what doas runs can't be told")
		return
	}
	sub := st.clone()
	sub.PlainPagers = false
	a.runs(o.operands, inv.in, &sub)
}

// su runs a shell as somebody: with -c, a text; with runuser -u, a program.
func su(a *analyzer, inv *invocation, st *State) {
	a.eff.privileged = true
	a.eff.did(inv.name, postern.Read)
	s := spec{short: "cgGsuwC", long: []string{"command=", "session-command=", "group=", "supp-group=", "shell=", "user=", "whitelist-environment="}}
	if inv.name == "runuser" {
		s.first = hasWord(inv.args, "-u", "--user")
	}
	o := s.parse(inv.args)
	if o.unsure || o.has("s", "shell") {
		a.eff.problem("what " + inv.name + " runs can't be told")
		return
	}
	plain := st.clone()
	plain.PlainPagers = false
	st = &plain
	if o.has("u", "user") && inv.name == "runuser" {
		a.runs(o.operands, inv.in, st)
		return
	}
	code := o.values("c", "command", "session-command")
	switch {
	case len(code) == 1:
		a.shellCode(code[0], st)
	default:
		a.eff.problem(inv.name + " starts a shell that takes commands from elsewhere")
	}
}

// shellCode walks a text that a new shell runs.
func (a *analyzer) shellCode(code arg, st *State) {
	a.eff.interpreter = true
	s, ok := code.exact()
	if !ok {
		a.eff.problem("the code that a shell runs isn't written there")
		return
	}
	sub := st.fresh()
	a.text(s, &sub)
}

// fresh is the state of a shell that another one starts: functions and
// variables are those of the environment, of which nothing is known, and the
// folder is the same.
func (st *State) fresh() State {
	sub := State{
		Terminal: st.Terminal, PlainPagers: st.PlainPagers, FullScreen: st.FullScreen, Programs: st.Programs,
		cwd: st.dirs(), programs: st.programs, why: st.why, funcs: st.funcs, aliases: st.aliases,
	}
	sub = sub.clone()
	for name := range st.vars {
		sub.forget(name)
	}
	return sub
}

func chroot(a *analyzer, inv *invocation, st *State) {
	a.eff.privileged = true
	a.eff.did("chroot", postern.Read)
	s := spec{first: true, long: []string{"groups=", "userspec="}}
	o := s.parse(inv.args)
	if o.unsure || len(o.operands) < 2 {
		a.eff.problem("what chroot runs can't be told")
		return
	}
	if root, ok := o.operands[0].exact(); !ok || root != "/" {
		a.eff.problem("in another root, programs may be others")
	}
	sub := st.clone()
	sub.cwd = []string{"/"}
	a.runs(o.operands[1:], inv.in, &sub)
}

// privileged is a wrapper that gives a program other rights or other namespaces.
func privileged(short string) program {
	return func(a *analyzer, inv *invocation, st *State) {
		a.eff.privileged = true
		a.eff.did(inv.name, postern.Read)
		s := spec{short: short, first: true, maybe: "muinpUCTrw", long: []string{
			"target=", "setuid=", "setgid=", "root?", "wd?", "mount?", "uts?", "ipc?", "net?", "pid?", "user?", "cgroup?", "time?", "kill-child?", "propagation=", "setgroups=",
			"reuid=", "regid=", "ruid=", "euid=", "rgid=", "egid=", "groups=", "inh-caps=", "ambient-caps=", "bounding-set=", "securebits=", "pdeathsig=", "selinux-label=", "apparmor-profile=", "map-users=", "map-groups=", "map-user=", "map-group=",
		}}
		o := s.parse(inv.args)
		if o.unsure || len(o.operands) == 0 {
			a.eff.problem("what " + inv.name + " runs can't be told")
			return
		}
		if o.has("R", "root", "r", "mount", "m") && inv.name != "unshare" {
			a.eff.problem("in another root, programs may be others")
		}
		a.runs(o.operands, inv.in, st)
	}
}

// xargs runs a program with arguments that it reads.
func xargs(a *analyzer, inv *invocation, st *State) {
	a.eff.did("xargs", postern.Read)
	s := spec{short: "aEILnPsd", maybe: "eil", first: true, long: []string{
		"arg-file=", "delimiter=", "eof?", "replace?", "max-lines?", "max-args=", "max-procs=", "process-slot-var=", "max-chars=", "null", "no-run-if-empty", "verbose", "interactive", "exit", "open-tty", "show-limits",
	}}
	o := s.parse(inv.args)
	if o.unsure {
		a.unsure("xargs")
		return
	}
	for _, f := range o.values("a", "arg-file") {
		a.read(f, st)
	}
	words := append([]arg{}, o.operands...)
	if len(words) == 0 {
		words = []arg{exactArg("echo")}
	}
	replaced := ""
	if o.has("i", "replace") {
		replaced = "{}"
	}
	for _, v := range o.values("I", "i", "replace") {
		var ok bool
		if replaced, ok = v.exact(); !ok || replaced == "" {
			a.eff.problem("what xargs puts where can't be told")
			return
		}
	}
	for _, v := range o.values("process-slot-var") {
		if name, ok := v.exact(); !ok || steersPrograms(name) {
			a.eff.problem("xargs sets a variable that steers programs")
		}
	}
	if replaced == "" {
		a.runs(append(words, arg{text: text{{anything, ""}}, many: true}), input{}, st)
		return
	}
	a.runs(replace(words, replaced, piece{anything, ""}), input{}, st)
}

// replace puts p in the place of a mark in words.
func replace(words []arg, mark string, p piece) []arg {
	var out []arg
	for _, w := range words {
		var t text
		for _, q := range w.text {
			if q.kind != literal {
				t = t.add(q)
				continue
			}
			for i, s := range strings.Split(q.lit, mark) {
				if i > 0 {
					t = t.add(p)
				}
				t = t.add(piece{literal, s})
			}
		}
		out = append(out, arg{text: t, many: w.many})
	}
	return out
}

func watch(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "nq", maybe: "d", first: true, long: []string{"interval=", "differences?", "equexit="}}
	o := s.parse(inv.args)
	a.eff.did("watch", postern.Read)
	if o.unsure {
		a.unsure("watch")
		return
	}
	if o.has("x", "exec") {
		a.runs(o.operands, inv.in, st)
		return
	}
	if code, ok := joined(o.operands); ok {
		a.shellCode(exactArg(code), st)
		return
	}
	a.eff.problem("what watch runs isn't written there")
}

func flock(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "wEc", first: true, long: []string{"timeout=", "wait=", "conflict-exit-code=", "command="}}
	o := s.parse(inv.args)
	a.eff.did("flock", postern.Write)
	if o.unsure {
		a.unsure("flock")
		return
	}
	for _, code := range o.values("c", "command") {
		a.shellCode(code, st)
	}
	ops := o.operands
	if len(ops) == 0 {
		return
	}
	if n, ok := ops[0].exact(); !ok || !isNumber(n) {
		a.write(ops[0], st)
	}
	if ops = ops[1:]; len(ops) >= 2 {
		if s, ok := ops[0].exact(); ok && (s == "-c" || s == "--command") {
			a.shellCode(ops[1], st)
			return
		}
	}
	a.runs(ops, inv.in, st)
}

// scriptProgram records what a shell prints.
func scriptProgram(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "cEIOBTmo", maybe: "t", long: []string{"command=", "echo=", "log-in=", "log-out=", "log-io=", "log-timing=", "logging-format=", "output-limit=", "timing?"}}
	o := s.parse(inv.args)
	a.eff.did("script", postern.Write)
	code := o.values("c", "command")
	if o.unsure || len(code) != 1 {
		a.eff.problem("script starts a shell that takes commands from elsewhere")
		return
	}
	for _, f := range append(o.operands, o.values("I", "O", "B", "T", "log-in", "log-out", "log-io", "log-timing")...) {
		a.write(f, st)
	}
	a.shellCode(code[0], st)
}

// multicall is a program that is many: busybox rm.
func multicall(a *analyzer, inv *invocation, st *State) {
	if len(inv.args) == 0 || hasWord(inv.args[:1], "--list", "--help", "--version", "--list-full") {
		a.eff.did(inv.name, postern.Read)
		return
	}
	name, ok := inv.args[0].exact()
	if !ok || strings.Contains(name, "/") || name == inv.name || strings.HasPrefix(name, "-") {
		a.eff.did(inv.name, postern.Unknown)
		a.eff.problem("which program " + inv.name + " is can't be told")
		return
	}
	a.eff.did(inv.name, postern.Read)
	switch name {
	case "sh", "ash", "hush", "vi", "ed", "awk", "sed", "find", "xargs", "env", "rm", "cat", "ls", "grep", "head", "tail", "wc", "cp", "mv", "ln", "tar", "echo", "ps", "df", "du",
		"date", "id", "uname", "hostname", "sort", "uniq", "cut", "tr", "touch", "mkdir", "rmdir", "chmod", "chown", "sleep", "free", "uptime", "kill", "true",
		"false", "nl", "od", "rev", "tac", "tee", "dd", "stat", "readlink", "which", "whoami", "base64", "hexdump", "strings", "cmp", "diff", "md5sum", "sha256sum",
		"unlink", "shred", "truncate", "nice", "nohup", "timeout", "setsid", "chroot", "watch", "wget", "nc", "ip", "mount", "umount", "gzip", "zcat", "expand", "fold", "paste", "printf", "test", "xxd", "pwd", "printenv", "seq", "yes", "dirname", "basename", "realpath":
	default:
		a.eff.did(inv.name, postern.Unknown)
		a.eff.problem("what " + inv.name + " " + shown(name) + " does isn't known")
	}
	a.invoke(inv.args, inv.in, false, st)
}

// shellProgram is a shell that is started.
func shellProgram(a *analyzer, inv *invocation, st *State) {
	a.eff.interpreter = true
	a.eff.did(inv.name, postern.Read)
	if onlyVersion(inv) {
		return
	}
	args := inv.args
	code := -1
	for i := 0; i < len(args); i++ {
		s, ok := args[i].exact()
		if !ok {
			a.eff.problem("what " + inv.name + " runs isn't written there")
			return
		}
		if s == "--" || s == "-" || s == "" || s[0] != '-' && s[0] != '+' {
			if s == "--" || s == "-" {
				args = append(append([]arg{}, args[:i]...), args[i+1:]...)
			}
			if code >= 0 {
				code = i
			}
			break
		}
		switch s {
		case "--norc", "--noprofile", "--posix", "--verbose":
			continue
		case "-o", "+o":
			if i++; i >= len(args) || !hasWord(args[i:i+1], "pipefail", "errexit", "nounset", "xtrace", "noglob", "noclobber") || args[i].many {
				a.eff.problem("an option of " + inv.name + " changes what code means")
			}
			continue
		}
		if strings.Trim(s[1:], "ceuxflvCn") != "" || s[0] == '+' {
			a.eff.problem("an option of " + inv.name + " changes what code means, or where it comes from")
			return
		}
		if strings.Contains(s, "c") {
			code = len(args)
		}
		if strings.Contains(s, "l") {
			login := st.clone()
			login.PlainPagers = false // what the profile says isn't known
			st = &login
		}
	}
	switch {
	case code >= 0 && code < len(args):
		if inv.name != "zsh" && inv.name != "fish" {
			a.shellCode(args[code], st)
			return
		}
		a.eff.problem(inv.name + " reads code in its own way")
	case code < 0 && !hasOperand(args) && inv.in.known:
		a.shellCode(exactArg(inv.in.text), st)
	default:
		for _, x := range args {
			if p := x.prefix(); !strings.HasPrefix(p, "-") {
				a.read(x, st)
			}
		}
		a.eff.problem(inv.name + " runs code that isn't written there: from a file, its input, or the keyboard")
	}
}

func hasOperand(args []arg) bool {
	for _, x := range args {
		if s, ok := x.exact(); !ok || s == "" || s[0] != '-' && s[0] != '+' {
			return true
		}
	}
	return false
}

// interpreter runs code of a language that isn't analysed.
func interpreter(a *analyzer, inv *invocation, st *State) {
	if onlyVersion(inv) || inv.name == "java" && len(inv.args) == 1 && hasWord(inv.args, "-version") || len(inv.args) == 1 && hasWord(inv.args, "-v") && inv.name != "tclsh" && inv.name != "expect" {
		a.eff.did(inv.name, postern.Read)
		return
	}
	a.eff.interpreter = true
	a.eff.did(inv.name, postern.Unknown)
	for _, x := range inv.args {
		a.mention(x, st)
	}
	a.eff.problem("it runs code in a language that isn't analysed: " + inv.name)
}
