package shell

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"postern"
)

// entry describes a program by a line of the table.
type entry struct {
	access   postern.Access
	operands string // what operands are: see operandsOf
	spec     spec
	effects  map[string]string // by option: see optionEffect
}

// table is the list of the programs that are known. Everything else is not, and
// so is refused under a restriction.
//
// A line is: names | access | operands | options. An option is
//
//	x:     takes a value            x:w  a file that is written      x:r  a file that is read
//	x:?    a value that may be code x!w  makes it write              x!a  makes it administer
//	x!?    can't be told            x!i  takes commands from a keyboard
//	x~     takes a value only when attached; followed by an effect as above: x~!w
//	x:s    a file in which secrets are expected anyway is read
//
// with x a letter or a long option's name. Options that aren't listed have
// neither a value nor an effect worth telling: every program of the table was
// read for that. "-" as operands: none, or text.
const table = `
cat tac rev comm cksum md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum sum tsort | r | r | output-delimiter:
nl | r | r | b: d: f: h: i: l: n: s: v: w:
od | r | r | A: j: N: S~ t: w~
cut | r | r | b: c: d: f: output-delimiter: fields: characters: bytes: delimiter:
paste | r | r | d: delimiters:
fold fmt | r | r | w: p: g: width: prefix: goal:
expand unexpand | r | r | t: tabs:
join | r | r | a: e: o: t: v: 1: 2: j:
base64 base32 basenc | r | r | w: wrap:
strings | r | r | n: t: e: T: s: U: bytes: radix: encoding:
look | r | 1r | t:
iconv | r | r | f: t: o:w output:w from-code: to-code:
head tail | r | r | n: c: s: lines: bytes: pid: sleep-interval: max-unchanged-stats:
uniq | r | r1w | f: s: w: D~ group~
wc | r | m | files0-from:s
hexdump hd | r | r | n: s: e: f:r
xxd | r | r1w | c: g: l: s: o: n: r p!r
grep egrep fgrep zgrep zegrep zfgrep bzgrep xzgrep | r | grep | A: B: C: m: d: D: e: f:r include: exclude: exclude-from:r exclude-dir: color~ colour~ label: max-count: context: after-context: before-context: regexp: file:r binary-files: directories: devices: group-separator:
rg ag ack | r | rg | A: B: C: m: g: t: T: e: f:r d: j: r: pre:? pre-glob: hostname-bin:? max-count: glob: type: iglob: ignore-file:r file:r regexp: context: search-zip pager:? color:
tr seq sleep true false nproc arch uptime w who whoami id groups tty factor numfmt logname users basename dirname pathchk cal ncal free vmstat lscpu lsmem lspci lsusb lsmod lsns lsipc runlevel clear tput locale getconf numastat expr echo printf mcookie uuidgen lsb_release yes dpkg-architecture systemd-detect-virt lshw getenforce sestatus | r | - |
printenv | r | env | 
ls dir vdir stat readlink realpath lsattr getfacl getfattr namei du df findmnt lsblk mountpoint getcap | r | m | w: T: I: c: f: format: printf: hide: ignore: block-size: time-style: sort: time: color~ L: P: filelimit: charset: o: output~ t: type: B: d: max-depth: exclude: threshold: X: exclude-from:s files0-from:s n: m: e: s: S: N: M: F:
tree | r | m | o:w L: P: I: filelimit: charset: sort: timefmt: fromfile:s R!w info:s gitfile:s infofile:s
file | r | m | f:s files-from:s m:r magic-file:r C!w compile!w F: e: P:
cmp diff colordiff | r | diff | i: n: U: C: W: x: X:r I: F: L: exclude-from:r exclude: label: to-file: from-file: color~ width: ignore-matching-lines: tabsize: palette:
wdiff | r | r | w: x: y: z: p!? l!? P!?
diff3 | r | r | L: diff-program:? label:
sdiff | r | r | o:w output:w diff-program:? w: I: 
column | r | r | c: s: o: N: t n: H: R: T: E: d: 
shuf | r | r | o:w output:w i: n: random-source:r e
sort | r | r | o:w output:w compress-program:? k: t: S: T: parallel: key: field-separator: buffer-size: temporary-directory: batch-size: files0-from:s random-source:r sort:
split | w | split | b: l: n: a: C: filter:? bytes: lines: number: suffix-length: additional-suffix: t:
csplit | w | split | f: b: n: prefix: suffix-format: digits:
date | r | date | d: f:s file:s r: s!a set!a date: reference: I~ iso-8601~ rfc-3339:
hostname dnsdomainname domainname nisdomainname | r | none!a | F!a file!a b!a
uname | r | - |
ps | r | ps | o: p: u: U: G: g: C: t: sort: format: N: q: s: F:
pstree pgrep pidof ipcs | r | - | o: p: u: U: G: g: C: t: sort: format: N: q: s: F:
top | r | top | n: d: p: u: o: w~
lsof | r | m | p: u: i~ c: d: g: s~ F~ D!? k!a
last lastb lastlog faillog utmpdump | r | r | n: f:r s: t: p: C!w S!w u: r!? o!w
dmesg | r | - | C!a c!w n!a D!a E!a clear!a read-clear!w console-level!a console-off!a console-on!a l: f: F:r w W T
journalctl | r | pager | u: n: p: o: S: U: t: g: D:r b~ M: unit: user-unit: lines~ priority: output: since: until: identifier: grep: boot~ directory:r file:r root: image: cursor: after-cursor: cursor-file:w facility: output-fields: namespace: vacuum-size!a vacuum-time!a vacuum-files!a rotate!a flush!a relinquish-var!a smart-relinquish-var!a sync!a setup-keys!a update-catalog!a header interval: verify-key:
zcat bzcat xzcat lzcat zstdcat lz4cat zcmp zdiff | r | r | S: T:
jq | r | jq | f:r from-file:r arg: argjson: slurpfile: rawfile: args jsonargs L:r indent: tab seq stream
xmllint | r | r | noent!? xinclude!? loaddtd!? dtdattr!? valid!? postvalid!? noxincludenode!? path:? catalogs!? output:w o:w xpath: schema:r relaxng:r dtdvalid:r shell!i encode: pattern: 
host nslookup dig drill | r | host | f:r k:r t: c: b: p: q: x: y: type~
ping ping6 traceroute traceroute6 tracepath arping fping | r | host | c: i: w: W: s: t: I: m: p: q: M: S: n4 f:
netstat ifstat nstat | r | - | 
ss | r | - | f: A: K!a kill!a D:w diag:w F:r filter:r N: net:
iostat mpstat pidstat vnstat sar | r | - | o:w f:r n: P: u: p: x: d: i: s: e: T: C: G:
apt-cache dpkg-query | r | - | o:? c:? option:? config-file:? f: W: showformat: 
getent | r | getent | s: i
which whereis whatis apropos | r | - | B: M: S: f: C:? m: s: l: r: M:
touch mkdir mkfifo mknod unlink rmdir | w | d | d: t: r: m: Z~ reference: date: mode: time:
mktemp | w | - | p: suffix: tmpdir~ t
truncate fallocate | w | w | s: r: l: o: size: reference: offset: length:
shred | w | w | n: s: u~ iterations: size: random-source:r remove~
sync | w | m |
link | w | ln |
chmod chgrp chown | w | 1d | reference: from: 
setfacl | w | d | m: x: M:r X:r b k restore:?  set: set-file:r modify: remove: 
chattr | a | 1d |
stty setterm | w | - | F:w
kill pkill skill killall killall5 renice | w | - | s: n: u: g: p: signal: l: o: y: G: P: t: U: F:r pidfile:r e: 
tee | w | w | 
gzip gunzip bzip2 bunzip2 xz unxz lzma unlzma zstd unzstd lz4 pigz pbzip2 compress uncompress brotli | w | zip | S: T: b: o:w p: D:r M: B: suffix: output:w threads: k c d t l
dos2unix unix2dos | w | w | 
patch | w | patch | p: i:r d: o:w r:w input:r output:w directory: strip: B: D: F: V: Y: z: g!? get!? 
 mkfs mkfs.ext2 mkfs.ext3 mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.vfat mke2fs mkswap wipefs blkdiscard hdparm nvme badblocks fdisk sfdisk cfdisk parted gdisk sgdisk lvremove vgremove pvremove mdadm cryptsetup | a | destroy | 
fsck fsck.ext4 e2fsck tune2fs resize2fs xfs_repair lvs vgs pvs lvdisplay vgdisplay pvdisplay lvcreate lvextend vgcreate pvcreate blkid dumpe2fs smartctl | a | - |
swapon swapoff umount | a | - | 
reboot shutdown poweroff halt init telinit | a | - | 
useradd adduser usermod groupadd groupmod groupdel passwd chpasswd chage chsh chfn gpasswd newusers pwck grpck | a | - | R!? root!? P!? prefix!? s:? shell:? G: g: u: d: c: e: 
userdel deluser delgroup | a | userdel | R!? root!? P!? prefix!? 
insmod modprobe rmmod depmod kmod | a | unknown | 
modinfo | r | - | F: k: b:
 ufw firewall-cmd ipset ebtables arptables conntrack | a | - | f:? modprobe:? 
tc | a | unknown |
ethtool brctl bridge ifconfig iwconfig route arp iw nmcli | a | - | b:? batch:? f:? file:?
setenforce restorecon chcon aa-status apparmor_status aa-complain aa-enforce auditctl ausearch aureport getsebool setsebool | a | - | R:? 
update-rc.d chkconfig rc-update | a | - |
ldconfig | a | - | f:? C:w r:? 
 wall | w | r | g: t: group: timeout:
write mesg | w | - |
logger | w | - | f:r file:r t: p: n: P: u: i~ s 
atq atrm | w | - | 
hwclock ntpdate chronyc ntpq rtcwake | a | - | 
bc | r | bc | f: e: 
units | r | - | f:r o:? 
pwgen apg | r | - |
shellcheck | r | r | s: e: f: o: S: P:r x
md5deep hashdeep | r | r | r 
 ffprobe | r | r | 
pv | r | r | L: s: N: i: w: o:w output:w P:w pidfile:w store-and-forward:w
pr | r | r | D: h: l: N: o: w: W: header: length: pages: width: page-width: indent: date-format:
ts | r | - | 
lp lpr | w | r | d: P: o: n: 
newaliases postsuper | a | - | 
mailq postqueue | r | - | c:? C:? 
postfix exim4 sendmail | w | unknown |
fail2ban-client | a | unknown |
certbot | a | unknown | 
nginx | a | nginx | c:? p:? g:? e: s: t T v V q 
apachectl apache2ctl | a | - | f:? d:? c:? C:? k: t S v V 
supervisorctl | a | supervisor | c:? s: u: p: 
pm2 forever | a | unknown |
redis-cli | w | unknown | 
rabbitmqctl | a | eval? | 
consul vault nomad etcdctl | w | unknown |
screen tmux byobu | w | unknown |
aws gcloud az gsutil doctl | w | unknown | 
`

// programsTable is the table, read once.
var programsTable = sync.OnceValue(func() map[string]*entry {
	out := map[string]*entry{}
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		parts := strings.Split(line, "|")
		if len(parts) != 4 {
			panic("shell: a line of the table has not four parts: " + line)
		}
		e := &entry{operands: strings.TrimSpace(parts[2])}
		switch strings.TrimSpace(parts[1]) {
		case "r":
			e.access = postern.Read
		case "w":
			e.access = postern.Write
		case "a":
			e.access = postern.Admin
		}
		e.options(strings.Fields(parts[3]))
		for _, name := range strings.Fields(parts[0]) {
			if strings.HasSuffix(name, "0") && name != "files0" {
				continue
			}
			if out[name] != nil {
				panic(fmt.Sprintf("shell: %s is twice in the table", name))
			}
			out[name] = e
		}
	}
	return out
})

// options reads the options of a line.
func (e *entry) options(list []string) {
	e.effects = map[string]string{}
	for _, word := range list {
		i := strings.IndexAny(word, ":!~")
		if i < 0 {
			continue
		}
		name, sign, effect := word[:i], word[i], word[i+1:]
		if sign == '~' {
			effect = strings.TrimLeft(effect, "!:")
		}
		if effect != "" {
			e.effects[name] = effect
		}
		if len(name) > 1 {
			e.spec.long = append(e.spec.long, name+map[byte]string{':': "=", '!': "", '~': "?"}[sign])
			continue
		}
		switch sign {
		case ':':
			e.spec.short += name
		case '~':
			e.spec.maybe += name
		}
	}
}

// dangerous says whether an option could make more of the program than it is.
func (e *entry) dangerous() bool {
	for _, effect := range e.effects {
		if effect != "r" && effect != "s" {
			return true
		}
	}
	return false
}

// readsLists says whether an option names a file that is shown, of a program
// that otherwise looks at names alone.
func (e *entry) readsLists() bool {
	for _, effect := range e.effects {
		if effect == "s" {
			return true
		}
	}
	return false
}

// tabled walks a call of a program of the table.
func (a *analyzer) tabled(e *entry, inv *invocation, st *State) {
	o := e.spec.parse(inv.args)
	access := e.access
	if o.unsure && e.dangerous() {
		a.unsure(inv.name)
	}
	if o.unsure && e.readsLists() {
		a.read(arg{text: text{{anything, ""}}}, st) // or whatever file the option names
	}
	for _, opt := range o.list {
		switch e.effects[opt.name] {
		case "w":
			access = worse(access, postern.Write)
			if opt.has {
				a.write(opt.val, st)
			}
		case "a":
			access = worse(access, postern.Admin)
		case "?":
			a.eff.problem(fmt.Sprintf("the option %s of %s can run programs, or do what can't be told", shown(opt.name), inv.name))
		case "i":
			a.keyboard(inv.name, st)
		case "r":
			a.read(opt.val, st)
		case "s":
			a.read(opt.val, st)
		default:
			if opt.has {
				a.value(e, opt.val, st)
			}
		}
	}
	access = a.operandsOf(e, inv, &o, access, st)
	a.eff.did(inv.name, access)
}

// value looks at the value of an option that has no effect worth telling. Of a
// program that reads files, one that isn't known may be a file.
func (a *analyzer) value(e *entry, x arg, st *State) {
	if _, ok := x.exact(); !ok && e.operands != "-" && e.operands != "m" {
		a.read(x, st)
		return
	}
	a.mention(x, st)
}

// unsure says that an argument that isn't known may be an option.
func (a *analyzer) unsure(name string) {
	a.eff.problem("an argument of " + name + " that isn't known may be an option: put -- before it, or write ./ in front of a pattern")
}

// keyboard says that a program takes commands from the keyboard.
func (a *analyzer) keyboard(name string, st *State) {
	a.eff.interactive = true
	if slices.Contains(st.FullScreen, name) {
		a.eff.did("fullscreen", postern.Write)
		return
	}
	a.eff.problem(name + " takes commands from the keyboard, which nobody decides over")
}

// paging says that a program shows what it prints in a pager, if there is a
// terminal: one that runs what is typed.
func (a *analyzer) paging(name string, st *State) {
	if st.Terminal && !st.PlainPagers && !a.piped {
		a.eff.interactive = true
		if !slices.Contains(st.FullScreen, name) {
			a.eff.problem(name + " may open a pager on the terminal, which runs what is typed: add | cat")
		}
	}
}

// mention looks at a value that may name a file: what is behind = @ : or ,
// counts, too.
func (a *analyzer) mention(x arg, st *State) {
	t := x.text
	for {
		if len(t) == 0 {
			return
		}
		candidate := arg{text: t}
		if t[0].kind == literal {
			if s := strings.TrimPrefix(t[0].lit, "file://"); s != t[0].lit {
				candidate = arg{text: t.after(len("file://"))}
			}
		}
		if a.mayRead(candidate, st) {
			a.read(candidate, st)
		}
		// on behind the next separator
		i := 0
		for ; i < len(t); i++ {
			if t[i].kind == literal && strings.ContainsAny(t[i].lit, "=@:,<") {
				break
			}
		}
		if i == len(t) {
			return
		}
		rest := append(text{}, t[i:]...)
		t = rest.after(strings.IndexAny(rest[0].lit, "=@:,<") + 1)
	}
}

// mayRead says whether a text, if it is a file's name, is the name of one that
// keeps credentials. A text of which nothing is known is taken for a value.
func (a *analyzer) mayRead(x arg, st *State) bool {
	if len(x.text) == 0 || x.text[0].kind != literal {
		return false
	}
	s := x.prefix()
	if !strings.ContainsAny(s, "/.~") && !matchesAny(strings.ToLower(s), secretNames()) {
		return false
	}
	for _, p := range a.places(arg{text: x.text}, st) {
		if p.mayKeepSecrets() {
			return true
		}
	}
	return false
}

// operandsOf says what a program does to its operands.
func (a *analyzer) operandsOf(e *entry, inv *invocation, o *options, access postern.Access, st *State) postern.Access {
	each := func(list []arg, do func(arg, *State)) {
		for _, x := range list {
			do(x, st)
		}
	}
	ops := o.operands
	switch e.operands {
	case "-":
		if inv.name != "echo" && inv.name != "printf" && inv.name != "expr" && inv.name != "basename" && inv.name != "dirname" {
			each(ops, a.mention)
		}
	case "r":
		each(ops, a.read)
	case "m":
		each(ops, a.look)
	case "w":
		each(ops, a.write)
	case "d":
		each(ops, a.change)
	case "1d":
		if !o.has("reference") && len(ops) > 0 {
			ops = ops[1:]
		}
		each(ops, a.change)
	case "diff": // of folders, what is in them
		tree := o.has("r", "N", "P", "recursive", "new-file", "unidirectional-new-file") || o.unsure
		for _, x := range ops {
			if tree && !plainSource(a, x, st) {
				a.readTree(x, st)
			} else {
				a.read(x, st)
			}
		}
	case "ps": // ps e shows the environment
		for _, x := range ops {
			if s, ok := x.exact(); !ok || strings.ContainsAny(s, "eE") {
				a.secret("environment")
			}
		}
	case "jq":
		if !o.has("f", "from-file") && len(ops) > 0 {
			if s, ok := ops[0].exact(); !ok || strings.Contains(strings.ToLower(s), "env") {
				a.secret("environment")
			}
			ops = ops[1:]
		}
		each(ops, a.read)
	case "1r":
		if !o.has("f", "from-file") && len(ops) > 0 {
			ops = ops[1:]
		}
		each(ops, a.read)
	case "grep", "rg":
		a.grepOperands(e, o, st)
	case "r1w": // uniq IN OUT
		if len(ops) > 0 {
			a.read(ops[0], st)
		}
		for _, x := range ops[min(1, len(ops)):] {
			a.write(x, st)
			access = worse(access, postern.Write)
		}
		if len(ops) == 1 && ops[0].many {
			a.eff.problem("what " + inv.name + " takes for its output isn't known")
		}
	case "split":
		if len(ops) > 0 {
			a.read(ops[0], st)
		}
		prefix := append(text{}, lit("x")...)
		if inv.name == "csplit" {
			prefix = lit("xx")
			for _, v := range o.values("f", "prefix") {
				prefix = v.text
			}
		} else if len(ops) > 1 {
			prefix = ops[1].text
		}
		a.write(arg{text: prefix.add(piece{wildcard, ""})}, st)
	case "date":
		for _, x := range ops {
			if s := x.prefix(); !strings.HasPrefix(s, "+") {
				access = worse(access, postern.Admin)
			}
		}
	case "none!a":
		if len(ops) > 0 {
			access = worse(access, postern.Admin)
		}
	case "top":
		if !o.has("b") && st.Terminal {
			a.keyboard(inv.name, st)
		}
	case "pager":
		a.paging(inv.name, st)
	case "host":
		for _, x := range ops {
			if s, ok := x.exact(); ok && !strings.HasPrefix(s, "+") {
				a.eff.host(strings.TrimPrefix(s, "@"))
			}
		}
	case "env":
		if len(ops) == 0 {
			a.secret("environment")
		}
		for _, x := range ops {
			if s, ok := x.exact(); !ok || secretVariable(s) {
				a.secret("environment")
			}
		}
	case "getent":
		for _, x := range ops {
			if s, ok := x.exact(); !ok || s == "shadow" || s == "gshadow" {
				a.eff.fileAccess = true
				a.secret("shadow")
			}
		}
	case "ln":
		for i, x := range ops {
			if i == len(ops)-1 && len(ops) > 1 {
				a.write(x, st)
			} else {
				a.read(x, st)
			}
		}
	case "zip":
		a.zipOperands(o, &access, st)
	case "patch":
		each(ops, a.write)
		if len(ops) == 0 && !o.has("dry-run") {
			a.eff.problem("the files that patch changes are named in its input")
		}
	case "destroy":
		a.eff.recursiveDelete = true
		each(ops, a.change)
	case "userdel":
		if o.has("r", "remove", "remove-home", "remove-all-files", "f", "force") || o.unsure {
			a.eff.recursiveDelete = true
		}
	case "bc":
		each(ops, a.read)
	case "nginx":
		if o.has("t", "T", "v", "V") && !o.has("s") {
			access = postern.Read
		}
	case "supervisor":
		if len(ops) == 0 {
			a.keyboard(inv.name, st)
		}
	default:
		a.eff.problem("what " + inv.name + " does isn't known well enough")
	}
	return access
}

// grepOperands: a pattern, unless an option has it, and files; with -r folders.
func (a *analyzer) grepOperands(e *entry, o *options, st *State) {
	ops := o.operands
	if !o.has("e", "f", "regexp", "file", "files") && len(ops) > 0 {
		ops = ops[1:]
	}
	tree := e.operands == "rg" || o.has("r", "R", "recursive", "dereference-recursive") || o.unsure
	for _, v := range o.values("d", "directories") {
		if s, ok := v.exact(); !ok || strings.HasPrefix(s, "r") {
			tree = true
		}
	}
	if tree && len(ops) == 0 {
		ops = []arg{exactArg(".")}
	}
	for _, x := range ops {
		if tree {
			if p := a.places(x, st); len(p) == 1 && plainFile(p[0]) {
				a.read(x, st)
				continue
			}
			a.readTree(x, st)
		} else {
			a.read(x, st)
		}
	}
}

// plainFile says whether a path is that of a file that is one everywhere.
func plainFile(p place) bool {
	switch p.String() {
	case "/etc/hostname", "/etc/hosts", "/etc/os-release", "/etc/passwd", "/etc/group", "/etc/fstab", "/etc/resolv.conf", "/etc/services",
		"/etc/issue", "/etc/motd", "/etc/debian_version", "/etc/timezone", "/etc/crontab", "/etc/ssh/sshd_config", "/etc/nginx/nginx.conf", "/proc/meminfo", "/proc/cpuinfo", "/proc/mounts":
		return true
	}
	return false
}

// zipOperands: packers replace files, unless they only print or test.
func (a *analyzer) zipOperands(o *options, access *postern.Access, st *State) {
	prints := (o.has("c", "stdout", "to-stdout", "t", "test", "l", "list") || len(o.operands) == 0) && !o.unsure
	if prints {
		*access = postern.Read
	}
	for _, x := range o.operands {
		a.read(x, st)
		if !prints {
			a.write(x, st)
		}
	}
}
