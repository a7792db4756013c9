package shell

import (
	"strings"

	"postern"
)

// git reads and writes; its configuration, hooks, aliases and transports run
// programs.
func git(a *analyzer, inv *invocation, st *State) {
	if onlyVersion(inv) {
		a.eff.did("git", postern.Read)
		return
	}
	sub := st.clone()
	args := inv.args
	for len(args) > 0 {
		s, ok := args[0].exact()
		if !ok || !strings.HasPrefix(s, "-") {
			break
		}
		switch {
		case s == "-C" && len(args) > 1:
			sub.chdir(args[1], true)
			args = args[1:]
		case s == "--no-pager" || s == "-P" || s == "--bare" || s == "--literal-pathspecs" || s == "--no-optional-locks":
			if s == "--no-pager" || s == "-P" {
				sub.PlainPagers = true
			}
		default:
			a.eff.problem("the option " + shown(s) + " of git can run a program, or takes settings from elsewhere")
			if s == "-c" && len(args) > 1 {
				args = args[1:]
			}
		}
		args = args[1:]
	}
	if len(args) == 0 {
		a.eff.did("git", postern.Read)
		return
	}
	verb, ok := args[0].exact()
	if !ok {
		a.eff.did("git", postern.Unknown)
		a.eff.problem("what git does isn't written there")
		return
	}
	args = args[1:]
	a.eff.did("git", gitAccess(verb, args))
	for _, x := range args {
		a.gitArgument(verb, x, &sub)
	}
	if st.Terminal && (hasPrefixWord(args, "-p", "--patch", "-i", "--interactive", "-e", "--edit") && inWords("add commit checkout restore reset stash branch notes cherry-pick revert", verb) ||
		!sub.PlainPagers && inWords("pull tag notes rebase am", verb) && !hasPrefixWord(args, "-m", "--message", "--no-edit", "--ff-only", "-l", "--list", "-d", "--delete")) {
		a.keyboard("the editor of git "+verb, st)
	}
	switch verb {
	case "clean":
		if !hasWord(args, "-n", "--dry-run") || hasWord(args, "-f", "--force") {
			a.eff.recursiveDelete = a.eff.recursiveDelete || hasCluster(args, "dxX")
		}
		if hasCluster(args, "i") {
			a.keyboard("git clean -i", st)
		}
	case "rm":
		a.eff.recursiveDelete = a.eff.recursiveDelete || hasCluster(args, "r")
	case "add": // what is in the repository can be read from there
		for _, x := range args {
			a.readTree(x, &sub)
		}
	case "worktree", "submodule":
		if hasWord(args, "remove", "prune", "deinit") {
			a.eff.recursiveDelete = true
		}
		if hasWord(args, "foreach") {
			a.eff.problem("git submodule foreach runs programs")
		}
	case "grep", "log", "diff", "show", "blame", "branch", "tag", "shortlog", "reflog", "whatchanged", "stash", "range-diff":
		a.paging("git", &sub)
		if verb == "grep" && hasPrefixWord(args, "-O", "--open") || verb == "diff" && hasPrefixWord(args, "--no-index") {
			if hasPrefixWord(args, "-O", "--open") {
				a.eff.problem("git grep -O opens a pager")
			}
			for _, x := range args {
				a.read(x, &sub)
			}
		}
		if hasPrefixWord(args, "--ext-d", "--output", "--textconv") {
			if hasPrefixWord(args, "--output") {
				a.eff.did("git", postern.Write)
			}
			a.eff.problem("an option of git " + verb + " runs a program, or writes a file")
		}
	case "clone", "fetch", "pull", "push", "ls-remote", "remote", "archive":
		if hasPrefixWord(args, "--upload-pack", "-u", "--receive-pack", "--exec", "-c", "--config", "--template", "--upl", "--rec", "--ex", "--con", "--te", "--output", "-o") {
			a.eff.problem("an option of git " + verb + " can run a program")
		}
		if verb == "clone" {
			a.unpackClone(args, &sub)
		}
	case "config":
		if !gitConfigReads(args) {
			a.eff.problem("settings of git can name programs that it runs")
		}
	case "commit", "merge", "cherry-pick", "revert":
		if !hasPrefixWord(args, "-m", "--message", "--no-edit", "-am", "-F", "--file", "--ff-only", "--abort", "--quit", "-C", "--allow-empty-message") {
			a.keyboard("the editor of git "+verb, st)
		}
	case "rebase":
		if hasPrefixWord(args, "-x", "--ex", "-i", "--int") {
			a.eff.problem("git rebase can run programs")
		}
	}
}

func gitAccess(verb string, args []arg) postern.Access {
	switch verb {
	case "status", "log", "diff", "show", "blame", "grep", "ls-files", "ls-tree", "ls-remote", "rev-parse", "rev-list", "describe", "shortlog", "cat-file",
		"whatchanged", "show-ref", "for-each-ref", "merge-base", "name-rev", "count-objects", "show-branch", "range-diff", "var", "version", "help", "cherry", "check-ignore", "diff-tree":
		return postern.Read
	case "branch":
		if !hasOperand(args) && !hasPrefixWord(args, "-d", "-D", "-m", "-M", "-c", "-C", "-f", "-u", "--del", "--mov", "--cop", "--forc", "--set", "--uns", "--edit") || hasWord(args, "--list", "-l") && !hasPrefixWord(args, "-d", "-D", "-m", "-M") {
			return postern.Read
		}
		return postern.Write
	case "tag":
		if !hasOperand(args) && !hasPrefixWord(args, "-d", "--del") {
			return postern.Read
		}
		return postern.Write
	case "remote":
		if !hasOperand(args) || hasWord(args, "show", "get-url") && !hasWord(args, "set-url", "add", "remove", "rm", "rename", "prune", "update", "set-head") {
			return postern.Read
		}
		return postern.Write
	case "stash":
		if hasWord(args, "list", "show") {
			return postern.Read
		}
		return postern.Write
	case "config":
		if gitConfigReads(args) {
			return postern.Read
		}
		return postern.Write
	case "reflog":
		if !hasWord(args, "expire", "delete") {
			return postern.Read
		}
		return postern.Write
	case "add", "commit", "checkout", "switch", "restore", "reset", "merge", "rebase", "cherry-pick", "revert", "fetch", "pull", "push", "clone", "init", "rm", "mv",
		"clean", "gc", "prune", "apply", "am", "worktree", "submodule", "notes", "update-index", "update-ref", "read-tree", "write-tree", "archive", "bundle", "format-patch", "pack-refs", "repack", "fsck", "sparse-checkout", "maintenance":
		return postern.Write
	}
	return postern.Unknown // an alias, or a program of git's that isn't known
}

func gitConfigReads(args []arg) bool {
	for _, x := range args {
		if s, ok := x.exact(); ok && (s == "--get" || s == "-l" || s == "--list" || s == "--get-all" || s == "--get-regexp" || s == "get" || s == "list") {
			return true
		} else if !ok || !strings.HasPrefix(s, "-") {
			return false
		}
	}
	return false
}

// gitArgument looks at one argument: transports that run programs, files.
func (a *analyzer) gitArgument(verb string, x arg, st *State) {
	p := x.prefix()
	if strings.Contains(p, "::") {
		a.eff.problem("git reaches that address through a program")
	}
	if x.many && x.text.has(anything) && verb != "add" {
		a.unsure("git")
	} else if x.maybeOption() && (verb == "clone" || verb == "fetch" || verb == "pull" || verb == "push" || verb == "grep" || verb == "log" || verb == "diff" || verb == "rebase" || verb == "clean" || verb == "config" || verb == "archive" || verb == "rm") {
		a.unsure("git")
	}
	a.mention(x, st)
}

// unpackClone: a clone brings files, and hooks of none; but they lie where it
// is put.
func (a *analyzer) unpackClone(args []arg, st *State) {
	for _, x := range args {
		if s, ok := x.exact(); ok && !strings.HasPrefix(s, "-") && !strings.Contains(s, ":") {
			a.write(x, st)
		}
	}
}

// hasCluster says whether an option's letters hold one of letters.
func hasCluster(args []arg, letters string) bool {
	for _, x := range args {
		p := x.prefix()
		if len(p) > 1 && p[0] == '-' && p[1] != '-' && strings.ContainsAny(p[1:], letters) || x.maybeOption() {
			return true
		}
	}
	return false
}

func hasPrefixWord(args []arg, prefixes ...string) bool {
	for _, x := range args {
		p := x.prefix()
		if x.maybeOption() && p == "" {
			return true
		}
		for _, want := range prefixes {
			if strings.HasPrefix(p, want) {
				return true
			}
		}
	}
	return false
}

func docker(a *analyzer, inv *invocation, st *State) {
	valued := []string{"-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--tlscacert", "--tlscert", "--tlskey"}
	verb, rest, ok := subcommand(inv.args, valued)
	if hasPrefixWord(inv.args[:len(inv.args)-len(rest)], "--config", "--root", "--runtime", "--storage-opt") {
		a.eff.problem("an option of " + inv.name + " takes settings from elsewhere")
	}
	if !ok {
		a.eff.did(inv.name, postern.Unknown)
		a.eff.problem("what " + inv.name + " does isn't written there")
		return
	}
	switch verb {
	case "container", "image", "volume", "network", "system", "context", "builder", "node", "stack", "swarm", "secret", "config", "plugin", "manifest":
		group := verb
		verb, rest, ok = subcommand(rest, nil)
		switch {
		case group == "volume" && (verb == "rm" || verb == "remove" || verb == "prune"), group == "system" && verb == "prune":
			a.eff.recursiveDelete = true
		}
		if inWords("ls list ps inspect df info events history top logs port stats diff images", verb) {
			a.eff.did(inv.name, postern.Read)
			return
		}
		if group != "container" && group != "image" {
			a.eff.did(inv.name, postern.Admin)
			if group == "plugin" || group == "stack" || !ok {
				a.eff.problem("what " + inv.name + " " + group + " does can't be told")
			}
			return
		}
	case "compose":
		compose(a, &invocation{name: inv.name, args: rest, in: inv.in}, st)
		return
	}
	for _, x := range rest {
		a.mention(x, st)
	}
	switch verb {
	case "inspect": // with the environment of what runs
		a.secret("environment")
		a.eff.did(inv.name, postern.Read)
	case "", "ps", "images", "logs", "version", "info", "top", "stats", "port", "diff", "history", "events", "search", "ls", "list", "help":
		a.eff.did(inv.name, postern.Read)
	case "start", "stop", "restart", "kill", "pause", "unpause", "rename", "update", "wait", "rm", "rmi", "tag", "pull", "push", "login", "logout", "save", "export", "commit", "prune", "remove", "load", "import":
		a.eff.did(inv.name, postern.Write)
		if verb == "rm" && hasCluster(rest, "v") {
			a.eff.recursiveDelete = true
		}
		s := spec{short: "o", long: []string{"output="}}
		o := s.parse(rest)
		for _, v := range o.values("o", "output") {
			a.write(v, st)
		}
	case "exec":
		s := spec{short: "ewu", first: true, long: []string{"env=", "env-file=", "workdir=", "user=", "detach-keys="}}
		o := s.parse(rest)
		a.eff.did(inv.name, postern.Read)
		a.inContainer(&o, 1, inv)
	case "run", "create":
		a.dockerRun(inv, rest)
	case "cp":
		a.eff.did(inv.name, postern.Write)
		for i, x := range rest {
			if _, remote := remoteFile(x); remote {
				continue
			}
			if i == len(rest)-1 {
				a.written(x, rest[:i], st)
			} else if !strings.HasPrefix(x.prefix(), "-") {
				a.readTree(x, st)
			}
		}
	default:
		a.eff.did(inv.name, postern.Unknown)
		a.eff.problem("what " + inv.name + " " + shown(verb) + " does can't be told from its arguments")
	}
}

// inContainer walks a command that runs in a container, behind skip operands.
func (a *analyzer) inContainer(o *options, skip int, inv *invocation) {
	if o.unsure || len(o.operands) < skip {
		a.eff.problem("what " + inv.name + " runs isn't written there")
		return
	}
	if len(o.operands) == skip {
		return
	}
	for _, x := range o.operands[:skip] {
		if x.many {
			a.eff.problem("what " + inv.name + " runs isn't written there")
		}
	}
	sub := State{cwd: []string{unknownDir}, Terminal: hasPrefixWord(inv.args, "-t", "-it", "-ti", "--tty", "-i")}
	sub.forget("HOME")
	a.invoke(o.operands[skip:], inv.in, false, &sub)
}

func (a *analyzer) dockerRun(inv *invocation, rest []arg) {
	s := spec{short: "aceghlmpuvw", first: true, long: []string{
		"name=", "env=", "env-file=", "user=", "workdir=", "entrypoint=", "network=", "net=", "memory=", "cpus=", "publish=", "label=", "hostname=", "restart=", "platform=", "pull=", "stop-signal=", "stop-timeout=", "ulimit=", "dns=", "add-host=", "expose=", "link=",
		"log-driver=", "log-opt=", "health-cmd=", "shm-size=", "tmpfs=", "volume=", "mount=", "volumes-from=", "device=", "cap-add=", "cap-drop=", "security-opt=", "pid=", "ipc=", "uts=", "userns=", "cgroupns=", "gpus=", "runtime=", "cidfile=", "ip=", "mac-address=", "group-add=", "isolation=", "privileged", "rm", "detach", "interactive", "tty", "init", "read-only",
	}}
	o := s.parse(rest)
	a.eff.did(inv.name, postern.Write)
	for _, x := range o.list {
		switch x.name {
		case "v", "volume", "mount", "volumes-from", "device", "cap-add", "security-opt", "pid", "ipc", "uts", "userns", "cgroupns", "runtime", "privileged", "entrypoint", "env-file", "gpus", "group-add", "cidfile", "network", "net", "isolation":
			a.eff.problem("a container that reaches the host, or runs what isn't written there: " + shown(x.name))
		}
	}
	a.inContainer(&o, 1, inv)
}

func compose(a *analyzer, inv *invocation, _ *State) {
	verb, rest, ok := subcommand(inv.args, []string{"-f", "--file", "-p", "--project-name", "--profile", "--env-file", "--project-directory", "--ansi", "--progress"})
	name := inv.name
	switch {
	case !ok:
	case inWords("ps logs top images version ls events port stats", verb) || verb == "" && onlyVersion(inv):
		a.eff.did(name, postern.Read)
		return
	case inWords("stop start restart pause unpause kill pull push", verb):
		a.eff.did(name, postern.Write)
		return
	case verb == "down" || verb == "rm":
		a.eff.did(name, postern.Write)
		if hasCluster(rest, "v") || hasPrefixWord(rest, "--vol") {
			a.eff.recursiveDelete = true
		}
		return
	case verb == "exec":
		s := spec{short: "ewu", first: true, long: []string{"env=", "workdir=", "user=", "index="}}
		o := s.parse(rest)
		a.eff.did(name, postern.Read)
		a.inContainer(&o, 1, inv)
		return
	}
	a.eff.did(name, postern.Unknown)
	a.eff.problem("what compose " + shown(verb) + " runs stands in a file")
}

func kubectl(a *analyzer, inv *invocation, st *State) {
	valued := []string{"-n", "--namespace", "--context", "--cluster", "--user", "-s", "--server", "--as", "--as-group", "--request-timeout", "-v", "--cache-dir", "--kubeconfig"}
	verb, rest, ok := subcommand(inv.args, valued)
	for _, x := range inv.args {
		if strings.HasPrefix(x.prefix(), "--kubeconfig") {
			a.eff.problem("another kubeconfig may run programs")
		}
		a.mention(x, st)
	}
	if !ok {
		a.eff.did("kubectl", postern.Unknown)
		a.eff.problem("what kubectl does isn't written there")
		return
	}
	switch verb {
	case "get", "describe", "logs", "top", "version", "api-resources", "api-versions", "cluster-info", "explain", "events", "diff", "wait", "options", "help", "":
		a.eff.did("kubectl", postern.Read)
		if verb == "get" && hasPrefixWord(rest, "-f", "--filename", "-k", "--kustomize") {
			a.secret("kubernetes secrets") // whatever the file names
		}
		for _, x := range rest {
			s, exact := x.exact()
			if !exact && x.prefix() == "" || verb == "get" && strings.Contains(strings.ToLower(s), "secret") {
				a.secret("kubernetes secrets")
			}
		}
	case "config", "auth", "rollout", "certificate":
		sub, _, _ := subcommand(rest, nil)
		switch {
		case inWords("view current-context get-contexts get-clusters get-users can-i whoami status history", sub):
			a.eff.did("kubectl", postern.Read)
			if sub == "view" && hasPrefixWord(rest, "--raw", "--ra") {
				a.secret("kubeconfig")
			}
		case verb == "config":
			a.eff.did("kubectl", postern.Write)
			a.eff.problem("settings of kubectl can name programs that it runs")
		default:
			a.eff.did("kubectl", postern.Write)
		}
	case "apply", "create", "delete", "patch", "replace", "scale", "autoscale", "label", "annotate", "expose", "set", "run", "cordon", "uncordon", "drain", "taint", "port-forward", "proxy", "attach":
		a.eff.did("kubectl", postern.Write)
		if verb == "proxy" || verb == "port-forward" || verb == "attach" || hasPrefixWord(rest, "--edit") {
			a.eff.problem("kubectl " + verb + " opens a way that nobody decides over")
		}
	case "exec":
		s := spec{short: "cnf", first: false, long: []string{"container=", "namespace=", "filename=", "context=", "pod-running-timeout="}}
		// What is run stands behind --.
		for i, x := range rest {
			if w, ok := x.exact(); ok && w == "--" {
				a.eff.did("kubectl", postern.Read)
				o := options{operands: rest[i+1:]}
				if len(o.operands) > 0 {
					a.inContainer(&o, 0, inv)
					return
				}
			}
		}
		o := s.parse(rest)
		a.eff.did("kubectl", postern.Read)
		if len(o.operands) < 2 {
			a.eff.problem("what kubectl exec runs isn't written there")
			return
		}
		s.first = true
		o = s.parse(rest)
		a.inContainer(&o, 1, inv)
	case "cp":
		a.eff.did("kubectl", postern.Write)
		docker(a, &invocation{name: "docker", args: append([]arg{exactArg("cp")}, rest...)}, st)
	default:
		a.eff.did("kubectl", postern.Unknown)
		a.eff.problem("what kubectl " + shown(verb) + " does can't be told from its arguments")
	}
}

func helm(a *analyzer, inv *invocation, st *State) {
	verb, rest, ok := subcommand(inv.args, []string{"-n", "--namespace", "--kube-context"})
	if hasPrefixWord(inv.args, "--post-rend", "--kubeconfig") {
		a.eff.problem("an option of helm runs a program")
	}
	for _, x := range inv.args {
		a.mention(x, st)
	}
	switch {
	case ok && inWords("list ls status history version env search show", verb), ok && verb == "get" && hasWord(rest, "values", "manifest", "notes", "hooks", "all", "metadata"):
		a.eff.did("helm", postern.Read)
	case ok && inWords("install upgrade uninstall rollback repo pull test", verb):
		a.eff.did("helm", postern.Write)
	default:
		a.eff.did("helm", postern.Unknown)
		a.eff.problem("what helm " + shown(verb) + " does can't be told from its arguments")
	}
}

func systemctl(a *analyzer, inv *invocation, st *State) {
	verb, rest, ok := subcommand(inv.args, []string{"-p", "--property", "-t", "--type", "-n", "--lines", "-o", "--output", "-H", "--host", "-M", "--machine", "-s", "--signal", "--state", "--job-mode", "--root", "--image"})
	if hasPrefixWord(inv.args, "--root", "--image", "-H", "--host") {
		a.eff.problem("an option of systemctl reaches another system")
	}
	switch {
	case ok && (verb == "" || inWords("status show cat list-units list-unit-files list-timers list-sockets list-dependencies list-jobs list-machines list-automounts list-paths is-active is-enabled is-failed is-system-running get-default show-environment help", verb)):
		a.eff.did("systemctl", postern.Read)
		if !hasWord(inv.args, "--no-pager") {
			a.paging("systemctl", st)
		}
		if verb == "show-environment" {
			a.secret("environment")
		}
	case ok && inWords("start stop restart reload try-restart reload-or-restart enable disable reenable mask unmask reset-failed daemon-reload daemon-reexec kill isolate preset set-default reboot poweroff halt suspend hibernate clean freeze thaw revert", verb):
		a.eff.did("systemctl", postern.Admin)
		for _, x := range rest {
			if s, exact := x.exact(); !exact || strings.Contains(s, "/") {
				a.eff.problem("which unit systemctl is about isn't known, or it lies in a file")
			}
		}
		if verb == "clean" {
			a.eff.recursiveDelete = true
		}
	default:
		a.eff.did("systemctl", postern.Unknown)
		a.eff.problem("what systemctl " + shown(verb) + " does can't be told from its arguments")
	}
}

func service(a *analyzer, inv *invocation, _ *State) {
	if len(inv.args) == 1 && hasWord(inv.args, "--status-all") {
		a.eff.did("service", postern.Read)
		return
	}
	name, rest, ok := subcommand(inv.args, nil)
	a.eff.did("service", postern.Admin)
	if !ok || len(rest) != 1 || strings.Contains(name, "/") {
		a.eff.problem("what service does isn't written there")
		return
	}
	if s, ok := rest[0].exact(); ok && s == "status" {
		a.eff.did("service", postern.Read)
		a.eff.verbs = dropTo(a.eff.verbs, "service", postern.Read)
	} else if !ok {
		a.eff.problem("what service does isn't written there")
	}
}

func dropTo(list []verb, name string, access postern.Access) []verb {
	for i := range list {
		if list[i].name == name {
			list[i].access = access
		}
	}
	return list
}

func crontab(a *analyzer, inv *invocation, _ *State) {
	s := spec{short: "u"}
	o := s.parse(inv.args)
	if o.has("l") && !o.unsure && !o.has("e", "r") {
		a.eff.did("crontab", postern.Read)
		return
	}
	a.eff.did("crontab", postern.Admin)
	if !o.has("r") || len(o.operands) > 0 || o.unsure {
		a.eff.problem("a crontab runs what it says, later")
	}
}

// apt are package managers: packages bring code that runs as root.
func apt(a *analyzer, inv *invocation, st *State) {
	verb, rest, ok := subcommand(inv.args, []string{"-t", "--target-release", "--enablerepo", "--disablerepo"})
	read := "list search show policy info depends rdepends repolist check-update provides whatprovides repoquery history grouplist changelog version madison why why-not"
	write := "update upgrade full-upgrade dist-upgrade install remove purge autoremove autopurge clean autoclean reinstall mark download makecache erase downgrade add del fix upgrade-minimal"
	for _, x := range inv.args {
		p := x.prefix()
		if strings.HasPrefix(p, "-o") || strings.HasPrefix(p, "-c") || strings.HasPrefix(p, "--opt") || strings.HasPrefix(p, "--conf") || strings.HasPrefix(p, "--setopt") ||
			strings.HasPrefix(p, "--root") || strings.HasPrefix(p, "--installroot") || strings.HasPrefix(p, "-p") && inv.name == "apk" || x.maybeOption() ||
			strings.HasPrefix(p, "--repository") || strings.HasPrefix(p, "-X") || strings.HasPrefix(p, "--repofrompath") {
			a.eff.problem("an option of " + inv.name + " can run programs")
		}
	}
	switch {
	case ok && (verb == "" || inWords(read, verb)):
		a.eff.did(inv.name, postern.Read)
		if verb == "changelog" || inv.name == "aptitude" && verb == "" {
			a.paging(inv.name, st)
			a.eff.problem("what " + inv.name + " opens takes commands from the keyboard")
		}
	case ok && inWords(write, verb):
		a.eff.did(inv.name, postern.Admin)
		if st.Terminal && (inv.name == "apt" || inv.name == "apt-get" || inv.name == "aptitude") && inWords("upgrade full-upgrade dist-upgrade install reinstall fix", verb) {
			// A question about a changed file offers a shell.
			a.keyboard(inv.name+" "+verb, st)
		}
		for _, x := range rest {
			if s, exact := x.exact(); !exact || strings.ContainsAny(s, "/") || strings.HasSuffix(s, ".deb") || strings.HasSuffix(s, ".rpm") || strings.HasSuffix(s, ".apk") {
				a.eff.problem("a package that isn't from the system's own repositories runs its own code")
			}
		}
	default:
		a.eff.did(inv.name, postern.Unknown)
		a.eff.problem("what " + inv.name + " " + shown(verb) + " does can't be told from its arguments")
	}
}

func dpkg(a *analyzer, inv *invocation, st *State) {
	s := spec{maybe: "D", long: []string{"list", "listfiles", "status", "search", "print-avail", "get-selections", "audit", "verify", "architecture", "info", "contents", "version", "compare-versions"}}
	o := s.parse(inv.args)
	read := len(o.list) > 0 && !o.unsure
	for _, x := range o.list {
		if !inWords("l L s S p C V I c list listfiles status search print-avail get-selections audit verify print-architecture architecture info contents version compare-versions no-pager", x.name) {
			read = false
		}
	}
	if read {
		a.eff.did("dpkg", postern.Read)
		a.paging("dpkg", st)
		return
	}
	a.eff.did("dpkg", postern.Admin)
	if !o.has("r", "P", "remove", "purge") || o.unsure || hasPrefixWord(inv.args, "--pre", "--post", "--root", "--inst", "--adm", "--unpack", "--config", "-i", "--path", "--force") {
		a.eff.problem("dpkg runs a package's own code")
	}
}

func rpm(a *analyzer, inv *invocation, _ *State) {
	for i, x := range inv.args {
		s, ok := x.exact()
		if i == 0 && (!ok || !strings.HasPrefix(s, "-q") && s != "-V" && s != "--version" && s != "-Va" && s != "--query" && s != "--verify") ||
			!ok && x.maybeOption() || strings.HasPrefix(s, "--pipe") || strings.HasPrefix(s, "--eval") || strings.HasPrefix(s, "-E") || strings.HasPrefix(s, "--load") || strings.HasPrefix(s, "--define") || strings.HasPrefix(s, "-D") || strings.HasPrefix(s, "--root") || strings.HasPrefix(s, "--rcfile") || strings.HasPrefix(s, "--macros") || strings.HasPrefix(s, "--qf") || strings.HasPrefix(s, "--queryformat") && strings.Contains(s, "%{lua") {
			a.eff.did("rpm", postern.Admin)
			a.eff.problem("what rpm does may run code")
			return
		}
	}
	a.eff.did("rpm", postern.Read)
}

func mount(a *analyzer, inv *invocation, st *State) {
	if len(inv.args) == 0 || len(inv.args) == 1 && hasWord(inv.args, "-l", "--version") {
		a.eff.did("mount", postern.Read)
		return
	}
	a.eff.did("mount", postern.Admin)
	a.eff.problem("what is mounted may put other files in the place of those that are known")
	for _, x := range inv.args {
		a.mention(x, st)
	}
}

func ip(a *analyzer, inv *invocation, _ *State) {
	object, rest, ok := subcommand(inv.args, []string{"-f", "-family", "-l", "-n", "-netns", "-rc", "-rcvbuf"})
	verb := ""
	if ok {
		verb, _, ok = subcommand(rest, nil)
	}
	switch {
	case !ok || hasPrefixWord(inv.args, "-b", "-force", "-n", "-netns") || strings.HasPrefix("netns", object) && object != "n" && object != "" || strings.HasPrefix("vrf", object) && object != "":
		a.eff.did("ip", postern.Admin)
		if verb == "" || inWords("list show", verb) {
			a.eff.did("ip", postern.Admin)
		}
		a.eff.problem("what ip does may run a program")
	case object == "" || verb == "" || inWords("show list sh s ls l lst get g monitor help", verb):
		a.eff.did("ip", postern.Read)
	default:
		a.eff.did("ip", postern.Admin)
	}
}

func iptables(a *analyzer, inv *invocation, _ *State) {
	access := postern.Admin
	if hasWord(inv.args, "-L", "-S", "--list", "--list-rules", "-V", "--version") && !hasPrefixWord(inv.args, "-A", "-D", "-I", "-R", "-F", "-Z", "-N", "-X", "-P", "-E", "--append", "--delete", "--insert", "--flush", "--zero") {
		access = postern.Read
	}
	if hasPrefixWord(inv.args, "--modprobe", "--mod") || hasCluster(inv.args, "M") {
		a.eff.problem("iptables --modprobe runs a program")
	}
	for _, x := range inv.args {
		if s, ok := x.exact(); ok && strings.HasPrefix(s, "-") && !strings.HasPrefix(s, "--") && len(s) > 2 && strings.ContainsAny(s[1:], "ADIRFZNXPE") {
			access = postern.Admin
		}
	}
	a.eff.did(inv.name, access)
}

func sysctl(a *analyzer, inv *invocation, _ *State) {
	access := postern.Read
	for _, x := range inv.args {
		s, ok := x.exact()
		if !ok || strings.Contains(s, "=") || strings.HasPrefix(s, "-w") || strings.HasPrefix(s, "-p") || strings.HasPrefix(s, "--") && s != "--all" && s != "--names" && s != "--values" || strings.HasPrefix(s, "-") && strings.ContainsAny(s, "wfp") {
			access = postern.Admin
			if strings.Contains(s, "core_pattern") || strings.Contains(s, "modprobe") || strings.Contains(s, "hotplug") || !ok || strings.HasPrefix(s, "-p") || strings.Contains(s, "load") || strings.Contains(s, "system") {
				a.eff.problem("a setting of the kernel can name a program to run")
			}
		}
	}
	a.eff.did("sysctl", access)
}

func openssl(a *analyzer, inv *invocation, st *State) {
	for _, x := range inv.args {
		a.mention(x, st)
	}
	verb, _, ok := subcommand(inv.args, nil)
	if ok && verb == "version" || onlyVersion(inv) {
		a.eff.did("openssl", postern.Read)
		return
	}
	s := spec{dash: true, long: []string{"in=", "out=", "engine=", "provider=", "provider-path=", "config=", "writerand=", "keyout=", "CAkey=", "key=", "inkey=", "passin=", "passout=", "pass=", "connect=", "servername=", "rand=", "file=", "CAfile=", "CApath=", "cert=", "certfile=", "inform=", "outform=", "keyform=", "signature=", "verify="}}
	if len(inv.args) == 0 || !ok || !inWords("x509 s_client rsa pkey ec req crl dgst enc rand verify ciphers base64 asn1parse pkcs7 pkcs12 genrsa genpkey ecparam sha256 sha1 md5 crl2pkcs7 prime passwd speed", verb) {
		a.eff.did("openssl", postern.Unknown)
		a.eff.problem("what openssl " + shown(verb) + " does can't be told from its arguments")
		return
	}
	o := s.parse(inv.args[1:])
	access := postern.Read
	for _, x := range o.list {
		switch x.name {
		case "out", "keyout", "writerand", "CAcreateserial", "certout", "sess_out", "keylogfile", "msgfile", "signature":
			if x.name == "signature" {
				a.read(x.val, st)
				continue
			}
			access = postern.Write
			if x.has {
				a.write(x.val, st)
			}
		case "engine", "provider", "provider-path", "config":
			a.eff.problem("openssl loads code")
		case "in", "key", "inkey", "CAkey", "file", "rand", "CAfile", "cert", "certfile", "passin", "passout", "pass":
			if strings.HasPrefix(x.name, "pass") && !strings.HasPrefix(x.val.prefix(), "file:") {
				continue
			}
			a.read(x.val, st)
		case "connect":
			if h, ok := x.val.exact(); ok {
				h, _, _ = strings.Cut(h, ":")
				a.eff.host(h)
			}
		}
	}
	if o.unsure {
		a.unsure("openssl")
	}
	for _, x := range o.operands {
		a.read(x, st)
	}
	a.eff.did("openssl", access)
}

func deletesTrees(a *analyzer, inv *invocation, st *State) {
	a.eff.did(inv.name, postern.Write)
	a.eff.recursiveDelete = true
	for _, x := range inv.args {
		a.mention(x, st)
	}
}

func volumes(a *analyzer, inv *invocation, _ *State) {
	verb, rest, ok := subcommand(inv.args, nil)
	second, _, _ := subcommand(rest, nil)
	switch {
	case ok && (inWords("list get status iostat history version", verb) || inWords("list show usage df info", second)):
		a.eff.did(inv.name, postern.Read)
	default:
		a.eff.did(inv.name, postern.Admin)
		if !ok || inWords("destroy rollback delete labelclear", verb) || inWords("delete del", second) {
			a.eff.recursiveDelete = true
		}
		if !ok || inWords("send receive recv diff program", verb) {
			a.eff.problem("what " + inv.name + " does can't be told")
		}
	}
}

func goTool(a *analyzer, inv *invocation, st *State) {
	verb, _, ok := subcommand(inv.args, nil)
	if ok && (verb == "version" || verb == "env" && !hasWord(inv.args, "-w", "-u")) {
		a.eff.did("go", postern.Read)
		return
	}
	opaque(a, inv, st)
}

func pip(a *analyzer, inv *invocation, st *State) {
	verb, _, ok := subcommand(inv.args, nil)
	if onlyVersion(inv) || ok && inWords("list show freeze check", verb) && !hasPrefixWord(inv.args, "--python", "--pyth", "--log") {
		a.eff.did(inv.name, postern.Read)
		return
	}
	opaque(a, inv, st)
}

// python runs code, but for code that only computes and prints, and for a
// module that only reads. Modules are looked for in the working folder first,
// where anybody may have put one, unless -I says that they aren't.
func python(a *analyzer, inv *invocation, st *State) {
	if onlyVersion(inv) {
		a.eff.did(inv.name, postern.Read)
		return
	}
	args := inv.args
	isolated := false
	for len(args) > 0 {
		s, _ := args[0].exact()
		if s != "-I" && s != "-B" && s != "-u" {
			break
		}
		isolated = isolated || s == "-I"
		args = args[1:]
	}
	if len(args) >= 2 {
		flag, _ := args[0].exact()
		module, ok := args[1].exact()
		switch {
		case flag == "-m" && module == "json.tool" && isolated:
			a.jsonTool(inv.name, args[2:], st)
			return
		case flag == "-c" && len(args) == 2 && ok && pythonPrints(module, isolated):
			a.eff.interpreter = true
			a.eff.did(inv.name, postern.Read)
			return
		}
	}
	interpreter(a, inv, st)
}

func (a *analyzer) jsonTool(name string, args []arg, st *State) {
	s := spec{long: []string{"indent=", "sort-keys", "no-ensure-ascii", "json-lines", "tab", "no-indent", "compact"}}
	o := s.parse(args)
	access := postern.Read
	for i, x := range o.operands {
		if i == 0 && !x.many {
			a.read(x, st)
		} else {
			access = postern.Write
			a.write(x, st)
		}
	}
	if o.unsure {
		a.unsure(name)
	}
	a.eff.did(name, access)
}

func editor(a *analyzer, inv *invocation, st *State) {
	if onlyVersion(inv) {
		a.eff.did(inv.name, postern.Read)
		return
	}
	a.eff.did(inv.name, postern.Write)
	for _, x := range inv.args {
		p := x.prefix()
		if strings.HasPrefix(p, "-") || strings.HasPrefix(p, "+") || x.maybeOption() {
			if strings.Trim(strings.TrimPrefix(p, "+"), "0123456789") != "" {
				a.eff.problem("an option of " + inv.name + " can run commands")
			}
			continue
		}
		a.read(x, st)
		a.write(x, st)
	}
	a.keyboard(inv.name, st)
}

// lessProgram: what isn't shown on a terminal is only copied.
func lessProgram(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "bhjkoOpPtTxyzn", long: []string{"log-file=", "LOG-FILE=", "lesskey-file=", "lesskey-src=", "lesskey-content=", "tag=", "tag-file="}}
	o := s.parse(inv.args)
	a.eff.did(inv.name, postern.Read)
	if o.unsure || hasPrefixWord(inv.args, "+") || o.has("o", "O", "k", "log-file", "LOG-FILE", "lesskey-file", "lesskey-src", "lesskey-content", "t", "tag", "T") {
		a.eff.problem("an option of " + inv.name + " can run commands, or writes a file")
	}
	for _, x := range o.operands {
		a.read(x, st)
	}
	if st.Terminal && !a.piped {
		a.keyboard(inv.name, st)
	}
}

func man(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "CDEHLMPRSTXelmprs", maybe: "HTXZ", long: []string{"pager=", "html?", "preprocessor=", "config-file=", "local-file", "prompt=", "manpath=", "extension=", "sections=", "locale=", "systems=", "recode=", "encoding=", "gxditview?", "ditroff", "troff-device?", "whatis", "apropos", "where", "path"}}
	o := s.parse(inv.args)
	a.eff.did("man", postern.Read)
	if o.unsure || o.has("P", "H", "C", "l", "p", "X", "T", "Z", "t", "M", "pager", "html", "config-file", "local-file", "preprocessor", "gxditview", "troff-device", "ditroff", "manpath") {
		a.eff.problem("an option of man runs a program, or shows a file of which nobody knows what it runs")
	}
	for _, x := range o.operands {
		if s, ok := x.exact(); !ok || strings.Contains(s, "/") {
			a.eff.problem("man shows a file, and what is in it can run programs")
		}
	}
	a.paging("man", st)
}
