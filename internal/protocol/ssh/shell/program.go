package shell

import (
	"strings"

	"postern"
)

// program walks a program that has its own way with arguments.
type program func(a *analyzer, inv *invocation, st *State)

// specials are the programs that a line of the table can't describe.
func specials() map[string]program {
	return map[string]program{
		// Deleting, copying, moving.
		"rm": rm, "cp": copyFiles, "mv": move, "install": installFiles, "ln": link, "dd": dd, "rsync": rsync, "scp": scp,
		"tar": tar, "bsdtar": tar, "zip": zip, "unzip": unzip, "cpio": opaque, "pax": opaque, "ar": opaque, "7z": opaque, "find": find, "fdfind": opaque, "fd": opaque,
		// Wrappers.
		"env": env, "sudo": sudo, "doas": doas, "su": su, "runuser": su, "nohup": wrapper("", 0), "nice": wrapper("n", 0), "ionice": wrapper("cn", 0),
		"timeout": wrapper("ks", 1), "stdbuf": wrapper("ioe", 0), "setsid": wrapper("", 0), "chrt": wrapper("TPD", 1), "taskset": wrapper("", 1),
		"chroot": chroot, "unshare": privileged("SGRw"), "nsenter": privileged("tSGC"), "setpriv": privileged(""), "setarch": opaque, "linux32": wrapper("", 0),
		"linux64": wrapper("", 0), "time": wrapper("fo", 0), "numactl": wrapper("miNpCl", 0), "unbuffer": wrapper("", 0), "command": wrapper("", 0), "cgexec": wrapper("g", 0),
		"prlimit": opaque, "xargs": xargs, "parallel": opaque, "watch": watch, "flock": flock, "script": scriptProgram, "systemd-run": opaque, "systemd-cat": wrapper("tp", 0),
		"systemd-inhibit": opaque, "catchsegv": wrapper("", 0), "strace": opaque, "ltrace": opaque, "gdb": opaque, "pkexec": opaque, "sg": opaque, "capsh": opaque, "dbus-run-session": wrapper("", 0),
		"start-stop-daemon": opaque, "busybox": multicall, "toybox": multicall,
		// Interpreters.
		"sh": shellProgram, "bash": shellProgram, "dash": shellProgram, "ash": shellProgram, "zsh": shellProgram, "ksh": shellProgram, "mksh": shellProgram, "rbash": shellProgram,
		"fish": interpreter, "csh": interpreter, "tcsh": interpreter, "perl": interpreter, "ruby": interpreter, "node": interpreter, "nodejs": interpreter, "php": interpreter, "lua": interpreter,
		"python": python, "python2": python, "python3": python, "tclsh": interpreter, "expect": interpreter, "Rscript": interpreter, "deno": interpreter, "bun": interpreter, "java": interpreter,
		"make": opaque, "gmake": opaque, "cmake": opaque, "ninja": opaque, "gcc": opaque, "cc": opaque, "g++": opaque, "go": goTool, "cargo": versions, "npm": versions, "npx": opaque, "yarn": versions, "pip": pip, "pip3": pip,
		"awk": awk, "gawk": awk, "mawk": awk, "nawk": awk, "sed": sed, "gsed": sed, "vim": editor, "vi": editor, "nano": editor, "emacs": editor, "ed": editor, "ex": editor, "nvim": editor, "mcedit": editor, "view": editor,
		"less": lessProgram, "more": lessProgram, "most": lessProgram, "man": man, "info": fullscreen, "htop": fullscreen, "btop": fullscreen, "nmtui": fullscreen, "mc": fullscreen, "ncdu": fullscreen, "mtr": fullscreen, "iotop": fullscreen, "iftop": fullscreen, "nethogs": fullscreen,
		"sqlite3": opaque, "psql": opaque, "mysql": opaque, "mariadb": opaque, "mongosh": opaque, "mysqldump": opaque, "pg_dump": opaque,
		// Remote.
		"ssh": ssh, "sftp": opaque, "ftp": opaque, "telnet": opaque, "nc": netcat, "ncat": opaque, "netcat": netcat, "socat": opaque, "curl": curl, "wget": wget,
		// Administration.
		"git": git, "docker": docker, "podman": docker, "docker-compose": compose, "kubectl": kubectl, "k3s": opaque, "helm": helm, "systemctl": systemctl, "service": service, "crontab": crontab, "at": opaque, "batch": opaque,
		"loginctl":    readVerbs("list-sessions list-users list-seats session-status user-status show-session show-user seat-status", postern.Admin),
		"timedatectl": readVerbs("status show list-timezones timesync-status", postern.Admin), "hostnamectl": readVerbs("status", postern.Admin),
		"localectl": readVerbs("status list-locales list-keymaps", postern.Admin), "resolvectl": readVerbs("status query statistics", postern.Admin),
		"networkctl": readVerbs("list status lldp", postern.Admin), "systemd-analyze": readVerbs("time blame critical-chain", postern.Unknown), "coredumpctl": readVerbs("list info", postern.Unknown),
		"apt": apt, "apt-get": apt, "aptitude": apt, "dpkg": dpkg, "rpm": rpm, "yum": apt, "dnf": apt, "apk": apt, "snap": readVerbs("list info find version changes", postern.Admin),
		"mount": mount, "ip": ip, "iptables": iptables, "ip6tables": iptables, "nft": readVerbs("list", postern.Admin), "sysctl": sysctl, "update-alternatives": opaque, "visudo": opaque, "vipw": editor,
		"terraform": readVerbs("version validate", postern.Unknown), "ansible": versions, "ansible-playbook": opaque, "openssl": openssl, "gpg": opaque, "ssh-keygen": opaque, "ssh-keyscan": opaque, "ssh-add": opaque, "ssh-copy-id": opaque,
		"systemd-tmpfiles": deletesTrees, "tmpreaper": deletesTrees, "tmpwatch": deletesTrees, "logrotate": opaque, "run-parts": opaque, "zfs": volumes, "zpool": volumes, "btrfs": volumes,
	}
}

// program walks a program of the system.
func (a *analyzer) program(inv *invocation, st *State) {
	if access, ok := st.Programs[inv.name]; ok {
		for _, x := range inv.args {
			a.mention(x, st)
		}
		a.eff.did(inv.name, access)
		return
	}
	if p, ok := a.specials[inv.name]; ok {
		p(a, inv, st)
		return
	}
	if e, ok := programsTable()[inv.name]; ok {
		a.tabled(e, inv, st)
		return
	}
	switch inv.name { // builtins that are programs, too
	case "test", "[":
		doTest(a, inv, st)
		return
	}
	a.eff.did(shown(inv.name), postern.Unknown)
	a.eff.problem("what the program " + shown(inv.name) + " does isn't known")
	for _, x := range inv.args {
		a.mention(x, st)
	}
}

// opaque: what it does stands elsewhere, or can't be told from its arguments.
func opaque(a *analyzer, inv *invocation, st *State) {
	if onlyVersion(inv) {
		a.eff.did(inv.name, postern.Read)
		return
	}
	a.eff.did(inv.name, postern.Unknown)
	a.eff.problem("what " + inv.name + " runs or does can't be told from its arguments")
	for _, x := range inv.args {
		a.mention(x, st)
	}
}

// onlyVersion says whether a program is only asked for its version or help.
func onlyVersion(inv *invocation) bool {
	if len(inv.args) != 1 {
		return false
	}
	s, ok := inv.args[0].exact()
	return ok && (s == "--version" || s == "--help" || s == "-V" && inv.name != "nc" || s == "version" && inv.name != "make")
}

// versions: programs that are only known for their version.
func versions(a *analyzer, inv *invocation, st *State) { opaque(a, inv, st) }

func fullscreen(a *analyzer, inv *invocation, st *State) {
	if onlyVersion(inv) {
		a.eff.did(inv.name, postern.Read)
		return
	}
	a.eff.did(inv.name, postern.Write)
	a.keyboard(inv.name, st)
}

// readVerbs: a program whose first word says what it does, with those that only
// read; all others are as bad as said.
func readVerbs(list string, other postern.Access) program {
	return func(a *analyzer, inv *invocation, st *State) {
		verb, _, ok := subcommand(inv.args, nil)
		access := other
		if ok && (verb == "" && other == postern.Admin || inWords(list, verb)) {
			access = postern.Read
			a.paging(inv.name, st)
		}
		if onlyVersion(inv) {
			access = postern.Read
		}
		a.eff.did(inv.name, access)
		for _, x := range inv.args {
			a.mention(x, st)
		}
		if access == postern.Unknown {
			a.eff.problem("what " + inv.name + " " + shown(verb) + " does can't be told from its arguments")
		}
	}
}

func inWords(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// subcommand is the first operand, and what follows it. Options before it are
// skipped; those in valued take the next word. Not ok: it can't be told.
func subcommand(args []arg, valued []string) (name string, rest []arg, ok bool) {
	for i := 0; i < len(args); i++ {
		s, exact := args[i].exact()
		if !exact {
			if p := args[i].prefix(); strings.HasPrefix(p, "-") && strings.Contains(p, "=") && !args[i].many {
				continue
			}
			return "", nil, false
		}
		if strings.HasPrefix(s, "-") {
			for _, v := range valued {
				if s == v {
					i++
				}
			}
			continue
		}
		return s, args[i+1:], true
	}
	return "", nil, true
}

// hasWord says whether an argument is one of words, or may be.
func hasWord(args []arg, words ...string) bool {
	for _, x := range args {
		s, ok := x.exact()
		if !ok {
			if x.maybeOption() {
				return true
			}
			continue
		}
		for _, w := range words {
			if s == w || strings.HasPrefix(w, "--") && strings.HasPrefix(s, w+"=") {
				return true
			}
		}
	}
	return false
}
