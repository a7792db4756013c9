package shell

import (
	"path"
	"strings"

	"postern"
)

func rm(a *analyzer, inv *invocation, st *State) {
	s := spec{long: []string{"force", "interactive?", "recursive", "dir", "verbose", "one-file-system", "no-preserve-root", "preserve-root?", "help", "version"}}
	o := s.parse(inv.args)
	a.eff.did("rm", postern.Write)
	if o.has("r", "R", "recursive") {
		a.eff.recursiveDelete = true
	}
	if o.unsure && !onlyFileNames(inv.args) {
		a.unsure("rm")
	}
	for _, x := range o.operands {
		a.change(x, st)
	}
}

// onlyFileNames says whether none of the patterns among the arguments can be
// the name of a file that rm would take for -r: a file called -rf is an old
// trick, one called -rf.log isn't.
func onlyFileNames(args []arg) bool {
	for _, x := range args {
		if !x.maybeOption() {
			continue
		}
		if x.many && x.text.has(anything) || len(x.text) == 0 {
			return false
		}
		strange := false
		for _, p := range x.text {
			if p.kind == anything {
				return false
			}
			if p.kind == literal && strings.Trim(p.lit, "-rRfidvIecus=x") != "" {
				strange = true
			}
		}
		if !strange {
			return false
		}
	}
	return true
}

// into is where a file goes that is put into a folder, or takes its name.
func into(dest, source arg) arg {
	name, ok := source.exact()
	if !ok || dest.many {
		return arg{text: dest.text.join(lit("/")).add(piece{wildcard, ""})}
	}
	return arg{text: dest.text.join(lit("/" + path.Base("/"+name)))}
}

// written says that files are put at a destination, which may be a folder.
func (a *analyzer) written(dest arg, sources []arg, st *State) {
	s, ok := dest.exact()
	if !ok || len(sources) > 1 || s == "." || s == ".." || s == "~" || strings.HasSuffix(s, "/") {
		for _, src := range sources {
			a.write(into(dest, src), st)
		}
		return
	}
	a.write(dest, st)
	for _, src := range sources {
		// If it is a folder after all, this is where the file goes: only what
		// would be run from there matters.
		for _, p := range a.places(into(dest, src), st) {
			if why := p.runsLater(); why != "" {
				a.eff.problem("it may write to " + shown(p.String()) + ", " + why)
			}
		}
	}
}

// spread says that a folder's contents, of which nobody knows the names, are put
// into another one.
func (a *analyzer) spread(dest arg, st *State) {
	for _, p := range a.places(dest, st) {
		s := strings.TrimSuffix(p.marked(), "/")
		switch {
		case s == "", s == "~", s == "/root", path.Dir(s) == "/home", s == "/etc", s == "/usr", s == "/usr/local", s == "/var", s == "/var/spool",
			codeFolder(s+"/x") != "", strings.Contains(s, markAny):
			a.eff.problem("what it copies to " + shown(p.String()) + " may be code that is run later: copy it into a folder of its own")
		}
	}
}

// destination is where a copy goes.
func destination(o *options) (arg, bool) {
	if dirs := o.values("t", "target-directory"); len(dirs) > 0 {
		return dirs[0], true
	}
	if len(o.operands) < 2 {
		return arg{}, false
	}
	return o.operands[len(o.operands)-1], true
}

// transfer is a program that copies sources to a destination.
func (a *analyzer) transfer(o *options, st *State) (sources []arg) {
	sources = o.operands
	if dirs := o.values("t", "target-directory"); len(dirs) > 0 {
		for _, dir := range dirs {
			a.written(arg{text: dir.text.join(lit("/")), many: dir.many}, sources, st)
		}
		return sources
	}
	if len(sources) < 2 {
		if len(sources) == 1 && sources[0].many {
			a.eff.problem("where it copies to isn't written there")
		}
		return nil
	}
	dest := sources[len(sources)-1]
	sources = sources[:len(sources)-1]
	if dest.many {
		a.eff.problem("where it copies to isn't known")
	}
	a.written(dest, sources, st)
	return sources
}

func copyFiles(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "tSZ", long: []string{
		"target-directory=", "suffix=", "recursive", "archive", "backup?", "preserve?", "no-preserve=", "reflink?", "sparse=", "context?", "symbolic-link", "link", "remove-destination",
		"no-target-directory", "parents", "update?", "attributes-only", "copy-contents", "dereference", "no-dereference", "force", "interactive", "no-clobber", "one-file-system", "verbose", "debug",
	}}
	o := s.parse(inv.args)
	a.eff.did("cp", postern.Write)
	tree := o.has("r", "R", "a", "recursive", "archive") || o.unsure
	if dest, ok := destination(&o); ok && tree && !onlyPlainFiles(a, o.operands[:len(o.operands)-1], st) {
		a.spread(dest, st)
	}
	for _, src := range a.transfer(&o, st) {
		if tree && !plainSource(a, src, st) {
			a.readTree(src, st)
		} else {
			a.read(src, st)
		}
	}
}

// onlyPlainFiles says whether sources are files, not folders, everywhere.
func onlyPlainFiles(a *analyzer, sources []arg, st *State) bool {
	for _, x := range sources {
		if !plainSource(a, x, st) {
			return false
		}
	}
	return true
}

func plainSource(a *analyzer, x arg, st *State) bool {
	p := a.places(x, st)
	return len(p) == 1 && plainFile(p[0])
}

func move(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "tSZ", long: []string{"target-directory=", "suffix=", "backup?", "force", "interactive", "no-clobber", "no-target-directory", "update?", "verbose", "strip-trailing-slashes", "exchange", "no-copy", "context?", "debug"}}
	o := s.parse(inv.args)
	a.eff.did("mv", postern.Write)
	for _, src := range a.transfer(&o, st) {
		a.change(src, st)
		a.read(src, st)
	}
}

func installFiles(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "tSgmoZ", long: []string{"target-directory=", "suffix=", "group=", "mode=", "owner=", "strip-program=", "directory", "backup?", "compare", "preserve-timestamps", "strip", "no-target-directory", "verbose"}}
	o := s.parse(inv.args)
	a.eff.did("install", postern.Write)
	if o.has("strip-program", "s", "strip") || o.unsure {
		a.eff.problem("install may run a program to strip what it installs")
	}
	if o.has("d", "directory") {
		for _, x := range o.operands {
			a.change(x, st)
		}
		return
	}
	for _, src := range a.transfer(&o, st) {
		a.read(src, st)
	}
}

// link: whoever reads the link reads what it leads to.
func link(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "tS", long: []string{"target-directory=", "suffix=", "backup?", "symbolic", "force", "relative", "no-target-directory", "no-dereference", "interactive", "logical", "physical", "verbose", "directory"}}
	o := s.parse(inv.args)
	a.eff.did("ln", postern.Write)
	if len(o.operands) == 1 {
		a.readTree(o.operands[0], st)
		a.write(into(exactArg("."), o.operands[0]), st)
		return
	}
	for _, src := range a.transfer(&o, st) {
		a.read(src, st)
		for _, p := range a.places(src, st) {
			// A link to a folder is a way to everything below it, and into what
			// is run later: by another name.
			if codeFolder(p.marked()+"/x") != "" && len(p.text) == 1 && p.text[0].kind == literal && codeFolder(p.marked()) == "" {
				a.eff.problem("it makes a second way to a folder from which code is run")
			}
			if !p.text.has(anything) && shallow(p) {
				a.eff.fileAccess = true
				a.secret(p.String())
			}
		}
	}
}

// shallow says whether a path is that of a folder that holds other people's
// folders.
func shallow(p place) bool {
	s := p.marked()
	return strings.Count(s, "/") < 2 || s == "~"
}

func dd(a *analyzer, inv *invocation, st *State) {
	access := postern.Read
	for _, x := range inv.args {
		key, _, ok := strings.Cut(x.prefix(), "=")
		if !ok || x.many {
			if x.maybeOption() {
				a.eff.problem("what dd writes isn't known")
			}
			continue
		}
		val := arg{text: x.after(len(key) + 1)}
		switch key {
		case "if":
			a.read(val, st)
		case "of":
			if s, ok := val.exact(); ok && a.device(s, st) {
				continue
			}
			access = postern.Write
			if strings.HasPrefix(val.prefix(), "/dev/") {
				access = postern.Admin
				a.eff.recursiveDelete = true
			}
			a.write(val, st)
		}
	}
	a.eff.did("dd", access)
}

func rsync(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "efBMT@", long: []string{
		"rsh=", "rsync-path=", "filter=", "exclude=", "include=", "exclude-from=", "include-from=", "files-from=", "log-file=", "password-file=", "partial-dir=", "temp-dir=",
		"compare-dest=", "copy-dest=", "link-dest=", "backup-dir=", "suffix=", "bwlimit=", "timeout=", "contimeout=", "port=", "address=", "sockopts=", "info=", "debug=", "chmod=", "chown=",
		"usermap=", "groupmap=", "max-size=", "min-size=", "block-size=", "compress-level=", "compress-choice=", "checksum-choice=", "out-format=", "log-file-format=", "modify-window=", "iconv=", "write-batch=",
		"only-write-batch=", "read-batch=", "protocol=", "max-delete=", "skip-compress=", "stop-after=", "stop-at=", "remote-option=", "early-input=", "outbuf=", "config=", "checksum-seed=", "max-alloc=",
		"del", "delete", "delete-before", "delete-during", "delete-delay", "delete-after", "delete-excluded", "delete-missing-args", "remove-source-files", "archive", "recursive", "daemon", "server", "dry-run", "relative", "human-readable", "progress", "stats", "partial", "inplace",
	}}
	o := s.parse(inv.args)
	if onlyVersion(inv) {
		a.eff.did("rsync", postern.Read)
		return
	}
	a.eff.did("rsync", postern.Write)
	if o.has("e", "rsh", "rsync-path", "daemon", "server", "write-batch", "only-write-batch", "read-batch", "M", "remote-option", "config", "early-input", "password-file") {
		ok := true
		for _, v := range o.values("e", "rsh") {
			ok = ok && sshCommand(v)
		}
		if !ok || o.has("rsync-path", "daemon", "server", "write-batch", "only-write-batch", "read-batch", "M", "remote-option", "config", "early-input", "password-file") {
			a.eff.problem("an option of rsync runs a program")
		}
	}
	if o.unsure {
		a.unsure("rsync")
	}
	for _, x := range o.list {
		if strings.HasPrefix(x.name, "del") || x.name == "remove-source-files" {
			a.eff.recursiveDelete = true
		}
	}
	for _, v := range o.values("log-file", "backup-dir", "partial-dir", "temp-dir", "T") {
		a.write(v, st)
	}
	for _, v := range o.values("files-from", "exclude-from", "include-from") {
		a.read(v, st)
	}
	for i, x := range o.operands {
		if host, ok := remoteFile(x); ok {
			a.eff.host(host)
			continue
		}
		if i == len(o.operands)-1 && len(o.operands) > 1 {
			a.written(x, o.operands[:i], st)
			a.spread(x, st)
			continue
		}
		a.readTree(x, st)
	}
}

// sshCommand says whether a remote shell is plain ssh, with harmless options.
func sshCommand(x arg) bool {
	s, ok := x.exact()
	if !ok {
		return false
	}
	words := strings.Fields(s)
	if len(words) == 0 || words[0] != "ssh" {
		return false
	}
	for i := 1; i < len(words); i++ {
		switch {
		case words[i] == "-p" || words[i] == "-i" || words[i] == "-l":
			i++
		case strings.HasPrefix(words[i], "-p"), words[i] == "-q", words[i] == "-C", words[i] == "-4", words[i] == "-6", words[i] == "-x", words[i] == "-T", words[i] == "-a":
		default:
			return false
		}
	}
	return true
}

// remoteFile says whether a file lies on another host: host:path, user@host:path.
func remoteFile(x arg) (host string, ok bool) {
	p := x.prefix()
	if rest, ok := strings.CutPrefix(p, "rsync://"); ok {
		host, _, _ = strings.Cut(rest, "/")
		return host, true
	}
	host, _, ok = strings.Cut(p, ":")
	if !ok || strings.Contains(host, "/") || host == "" {
		return "", false
	}
	if _, h, ok := strings.Cut(host, "@"); ok {
		host = h
	}
	return host, true
}

func scp(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "cDFiJloPSX"}
	o := s.parse(inv.args)
	a.eff.did("scp", postern.Write)
	if o.has("S", "o", "F", "D", "J") && !harmlessSSHOptions(&o) || o.has("S", "F", "D") {
		a.eff.problem("an option of scp can run a program")
	}
	if o.unsure {
		a.unsure("scp")
	}
	if o.has("t", "f") { // the other end of a copy, that the client's scp starts
		for _, x := range o.operands {
			if o.has("t") {
				a.written(arg{text: x.text.join(lit("/")), many: x.many}, []arg{{text: text{{anything, ""}}}}, st)
				a.write(x, st)
			} else if o.has("r") {
				a.readTree(x, st)
			} else {
				a.read(x, st)
			}
		}
		return
	}
	for i, x := range o.operands {
		if host, ok := remoteFile(x); ok {
			a.eff.host(host)
			continue
		}
		switch {
		case i == len(o.operands)-1 && len(o.operands) > 1:
			a.written(x, o.operands[:i], st)
			if o.has("r") {
				a.spread(x, st)
			}
		case o.has("r"):
			a.readTree(x, st)
		default:
			a.read(x, st)
		}
	}
}

// harmlessSSHOptions says whether -o only sets what runs nothing.
func harmlessSSHOptions(o *options) bool {
	for _, v := range o.values("o") {
		s, ok := v.exact()
		key, _, _ := strings.Cut(strings.ReplaceAll(s, " ", "="), "=")
		switch strings.ToLower(key) {
		case "stricthostkeychecking", "userknownhostsfile", "batchmode", "connecttimeout", "port", "user", "identityfile", "loglevel",
			"serveraliveinterval", "serveralivecountmax", "identitiesonly", "passwordauthentication", "addressfamily", "compression", "connectionattempts":
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	return true
}

func tar(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "fbCFgHIKLNTVX", old: true, long: []string{
		"file=", "directory=", "use-compress-program=", "to-command=", "checkpoint-action=", "checkpoint?", "info-script=", "new-volume-script=", "rsh-command=", "rmt-command=",
		"exclude=", "exclude-from=", "files-from=", "transform=", "xform=", "strip-components=", "listed-incremental=", "newer=", "after-date=", "owner=", "group=", "mode=", "mtime=", "format=", "label=",
		"tape-length=", "starting-file=", "suffix=", "backup?", "blocking-factor=", "record-size=", "index-file=", "volno-file=", "occurrence?", "one-top-level?", "pax-option=", "quoting-style=", "sort=", "totals?", "warning=",
		"add-file=", "hole-detection=", "level=", "exclude-tag=", "exclude-ignore=", "newer-mtime=", "sparse-version=", "set-mtime-command=", "xattrs-include=", "xattrs-exclude=", "recursive-unlink", "remove-files", "to-stdout", "extract", "get", "create", "list", "append", "update", "concatenate", "catenate", "delete", "diff", "compare", "test-label", "absolute-names", "keep-old-files", "overwrite", "unlink-first", "gzip", "bzip2", "xz", "zstd", "auto-compress", "verbose", "verify", "preserve-permissions", "same-owner", "numeric-owner", "dereference", "hard-dereference", "no-recursion", "recursion", "show-transformed-names", "wildcards", "anchored", "ignore-case",
	}}
	o := s.parse(inv.args)
	if o.has("I", "F", "use-compress-program", "to-command", "checkpoint-action", "info-script", "new-volume-script", "rsh-command", "rmt-command", "set-mtime-command", "L") {
		a.eff.problem("an option of tar runs a program")
	}
	if o.unsure {
		a.unsure("tar")
	}
	if o.has("remove-files", "recursive-unlink") {
		a.eff.recursiveDelete = true
	}
	if o.has("transform", "xform") {
		for _, v := range o.values("transform", "xform") {
			if s, ok := v.exact(); !ok || strings.ContainsAny(s, "\n") {
				a.eff.problem("a transformation of tar isn't known")
			}
		}
	}
	sub := st.clone()
	for _, dir := range o.values("C", "directory") {
		sub.chdir(dir, o.has("x", "extract", "get")) // of what is packed, what stands before it is from where tar was
	}
	for _, v := range o.values("T", "files-from", "X", "exclude-from") {
		a.read(v, st)
	}
	if o.has("T", "files-from") {
		a.eff.problem("what tar packs is named in a file, which may hold options, too")
	}
	files := o.values("f", "file")
	for _, f := range files {
		if s, ok := f.exact(); ok && strings.Contains(s, ":") && !strings.HasPrefix(s, "/") && !o.has("force-local") {
			a.eff.problem("an archive on another host is reached by a program")
		}
	}
	switch {
	case o.has("c", "r", "u", "A", "create", "append", "update", "concatenate", "catenate", "delete"):
		access := postern.Read
		for _, f := range files {
			if s, ok := f.exact(); !ok || s != "-" && !a.device(s, st) {
				access = postern.Write
			}
			a.write(f, st)
		}
		a.eff.did("tar", access)
		for _, x := range o.operands {
			if !strings.HasPrefix(x.prefix(), "@") {
				a.readTree(x, &sub)
			}
		}
	case o.has("x", "extract", "get"):
		for _, f := range files {
			a.read(f, st)
		}
		if o.has("O", "to-stdout") {
			a.eff.did("tar", postern.Read)
			return
		}
		a.eff.did("tar", postern.Write)
		a.unpack(o.has("P", "absolute-names"), &sub)
	case o.has("t", "list", "d", "diff", "compare", "test-label") && !o.has("listed-incremental", "g"):
		a.eff.did("tar", postern.Read)
		for _, f := range files {
			a.read(f, st)
		}
	default:
		if onlyVersion(inv) {
			a.eff.did("tar", postern.Read)
			return
		}
		a.eff.did("tar", postern.Unknown)
		a.eff.problem("what tar does isn't known")
	}
	if o.has("index-file", "volno-file", "g", "listed-incremental") {
		a.eff.did("tar", postern.Write)
	}
}

// unpack says that files whose names nobody knows are written below a folder.
func (a *analyzer) unpack(anywhere bool, st *State) {
	if anywhere {
		a.eff.problem("what is unpacked may lie anywhere")
		return
	}
	for _, dir := range st.dirs() {
		if dir == "~" || dir == unknownDir || dir == "/" || codeFolder(dir+"/x") != "" || dir == "/root" || path.Dir(dir) == "/home" || dir == "/etc" || dir == "/usr" || dir == "/var" {
			a.eff.problem("what is unpacked into " + dir + " may be code that is run later: unpack it into a folder of its own")
		}
	}
	a.write(arg{text: text{{wildcard, ""}}}, st)
}

func zip(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "bitnOPsxT"}
	o := s.parse(inv.args)
	a.eff.did("zip", postern.Write)
	if o.has("T", "unzip-command") || o.unsure || hasLong(&o, "unzip") || hasWord(inv.args, "-TT") {
		a.eff.problem("zip -T runs a program")
	}
	if o.has("m") || hasLong(&o, "move") {
		a.eff.recursiveDelete = true
	}
	for i, x := range o.operands {
		if i == 0 {
			a.write(x, st)
		} else if o.has("r", "R") || hasLong(&o, "recurse") {
			a.readTree(x, st)
		} else {
			a.read(x, st)
		}
	}
}

func hasLong(o *options, prefix string) bool {
	for _, x := range o.list {
		if len(x.name) > 1 && strings.HasPrefix(x.name, prefix[:min(len(prefix), len(x.name))]) {
			return true
		}
	}
	return false
}

func unzip(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "dxP"}
	o := s.parse(inv.args)
	for _, x := range o.operands[:min(1, len(o.operands))] {
		a.read(x, st)
	}
	if o.has("l", "t", "p", "c", "v", "Z", "z") && !o.unsure {
		a.eff.did("unzip", postern.Read)
		return
	}
	a.eff.did("unzip", postern.Write)
	sub := st.clone()
	for _, dir := range o.values("d") {
		sub.chdir(dir, true)
	}
	a.unpack(o.has(":"), &sub)
}

// find looks for files, and does things to them.
func find(a *analyzer, inv *invocation, st *State) {
	a.eff.did("find", postern.Read)
	args := inv.args
	var roots []arg
	i := 0
	for ; i < len(args); i++ { // options before the roots
		s, ok := args[i].exact()
		if ok && (s == "-L" || s == "-H" || s == "-P" || strings.HasPrefix(s, "-O")) {
			continue
		}
		if ok && s == "-D" {
			i++
			continue
		}
		break
	}
	for ; i < len(args); i++ {
		s, ok := args[i].exact()
		if ok && (strings.HasPrefix(s, "-") || s == "(" || s == "!" || s == ")" || s == ",") {
			break
		}
		if !ok && args[i].maybeOption() {
			a.unsure("find")
		}
		roots = append(roots, args[i])
	}
	if len(roots) == 0 {
		roots = []arg{exactArg(".")}
	}
	for _, r := range roots {
		a.look(r, st)
	}
	for ; i < len(args); i++ {
		s, ok := args[i].exact()
		if !ok {
			if args[i].maybeOption() && (i == 0 || !findTakesValue(args[i-1])) || args[i].many && args[i].text.has(anything) {
				a.unsure("find")
			}
			continue
		}
		switch s {
		case "-delete":
			a.eff.recursiveDelete = true
			a.eff.did("find", postern.Write)
			for _, r := range roots {
				a.change(r, st)
			}
		case "-fprint", "-fprint0", "-fls", "-fprintf":
			a.eff.did("find", postern.Write)
			if i+1 < len(args) {
				i++
				a.write(args[i], st)
			}
		case "-exec", "-execdir", "-ok", "-okdir":
			end := i + 1
			for end < len(args) {
				if w, ok := args[end].exact(); ok && (w == ";" || w == "+" && end > i+1) {
					break
				}
				end++
			}
			a.findRuns(args[i+1:min(end, len(args))], roots, strings.HasSuffix(s, "dir"), st)
			i = end
		case "-files0-from":
			a.eff.problem("where find looks is named in a file")
		case "-name", "-iname", "-path", "-ipath", "-wholename", "-regex", "-iregex", "-lname", "-newer", "-type", "-size", "-mtime", "-mmin", "-maxdepth", "-mindepth", "-user", "-group", "-perm", "-printf", "-atime", "-amin", "-ctime", "-cmin", "-samefile", "-fstype", "-inum", "-links", "-regextype", "-used", "-xtype", "-uid", "-gid", "-anewer", "-cnewer":
			if i++; i < len(args) && args[i].many && args[i].text.has(anything) {
				a.unsure("find")
			}
		}
	}
}

func findTakesValue(x arg) bool {
	s, ok := x.exact()
	return ok && strings.HasPrefix(s, "-")
}

// findRuns walks what find runs for each file: {} is a path below a root.
func (a *analyzer) findRuns(words, roots []arg, inDir bool, st *State) {
	if len(words) == 0 {
		return
	}
	sub := st.clone()
	if inDir {
		sub.cwd = []string{unknownDir}
	}
	for _, root := range roots {
		t := root.text.add(piece{anything, ""})
		if inDir {
			t = lit("./").add(piece{anything, ""})
		}
		var out []arg
		for _, w := range words {
			s, ok := w.exact()
			switch {
			case ok && s == "{}":
				out = append(out, arg{text: t})
			case ok && strings.Contains(s, "{}"):
				out = append(out, replace([]arg{w}, "{}", piece{anything, ""})...)
			default:
				out = append(out, w)
			}
		}
		a.runs(out, input{}, &sub)
	}
}
