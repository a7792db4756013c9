package shell

import (
	"path"
	"strings"

	"postern"
)

// read says that a file's content is read.
func (a *analyzer) read(x arg, st *State) {
	if s, ok := x.exact(); ok && (s == "" || s == "-" || a.device(s, st)) {
		return
	}
	for _, p := range a.places(x, st) {
		name := p.String()
		if p.mayKeepSecrets() {
			a.eff.fileAccess = true
			a.secret(name)
		}
		a.eff.touch(postern.Object{Kind: "path", Name: name})
	}
}

// readTree says that the contents of a folder and of all below it are read.
func (a *analyzer) readTree(x arg, st *State) {
	a.read(x, st)
	for _, p := range a.places(x, st) {
		if !p.harmlessTree() {
			a.eff.fileAccess = true
			a.secret(p.String())
		}
	}
}

// write says that a file's content is written.
func (a *analyzer) write(x arg, st *State) {
	if s, ok := x.exact(); ok && (s == "" || s == "-" || a.device(s, st)) {
		return
	}
	for _, p := range a.places(x, st) {
		if why := p.runsLater(); why != "" {
			a.eff.problem("it writes to " + shown(p.String()) + ", " + why)
		}
		a.eff.touch(postern.Object{Kind: "path", Name: p.String(), Write: true})
	}
}

// change says that a file or folder is made, removed, renamed or gets other
// rights, whatever is in it.
func (a *analyzer) change(x arg, st *State) {
	for _, p := range a.places(x, st) {
		a.eff.touch(postern.Object{Kind: p.kindOfEntry(), Name: p.String(), Write: true})
	}
}

// look says that a name, a size, rights or times are looked at.
func (a *analyzer) look(x arg, st *State) {
	for _, p := range a.places(x, st) {
		a.eff.touch(postern.Object{Kind: p.kindOfEntry(), Name: p.String()})
	}
}

// place is a path, as far as it is known. Absolute, below "~", or, when it
// begins with what isn't known, anywhere.
type place struct{ text }

// places are where an argument may lead.
func (a *analyzer) places(x arg, st *State) []place {
	if x.many && x.text.has(anything) || len(x.text) > 0 && x.text[0].kind == anything {
		return []place{{append(text{{anything, ""}}, x.text...)}}
	}
	p := x.prefix()
	if strings.HasPrefix(p, "/") || p == "~" || strings.HasPrefix(p, "~/") {
		return []place{{tidy(x.text)}}
	}
	var out []place
	for _, dir := range st.dirs() {
		if dir == unknownDir {
			out = append(out, place{text{{anything, ""}}.add(piece{literal, "/"}).join(x.text)})
			continue
		}
		out = append(out, place{tidy(lit(strings.TrimSuffix(dir, "/") + "/").join(x.text))})
	}
	return out
}

// marks stand for what isn't known while a path is taken apart. No text that
// is analysed holds them: control characters are refused.
const (
	markWild = "\x01"
	markAny  = "\x02"
)

func (t text) marked() string {
	var b strings.Builder
	for _, p := range t {
		switch p.kind {
		case literal:
			b.WriteString(p.lit)
		case wildcard, number:
			b.WriteString(markWild)
		default:
			b.WriteString(markAny)
		}
	}
	return b.String()
}

func unmark(s string) text {
	var t text
	for s != "" {
		i := strings.IndexAny(s, markWild+markAny)
		if i < 0 {
			return t.add(piece{literal, s})
		}
		k := wildcard
		if s[i:i+1] == markAny {
			k = anything
		}
		t = t.add(piece{literal, s[:i]}).add(piece{k, ""})
		s = s[i+1:]
	}
	return t
}

// tidy resolves . and .. where they are written.
func tidy(t text) text {
	s := t.marked()
	if strings.Contains(s, markAny) && strings.Contains(s, "..") {
		return text{{anything, ""}}
	}
	// What a pattern stands for may be a link: .. behind it leads anywhere.
	if i := strings.Index(s, markWild); i >= 0 && strings.Contains(s[i:], "..") {
		return text{{anything, ""}}
	}
	clean := cleanPath(s)
	if clean == unknownDir {
		return text{{anything, ""}}
	}
	return unmark(clean)
}

// kindOfEntry is the kind of object for a look at a file that isn't read: that
// a file of credentials is there is no secret.
func (p place) kindOfEntry() string {
	if p.mayKeepSecrets() {
		return "entry"
	}
	return "path"
}

// secretNames are files that keep credentials, wherever they lie.
func secretNames() []string {
	return []string{
		"shadow", "shadow-", "gshadow", "gshadow-", "passwd-", "opasswd", "sudoers", "environ", "kcore", "mem", ".pgpass", ".my.cnf", ".mylogin.cnf",
		".netrc", "_netrc", ".git-credentials", ".npmrc", ".pypirc", ".vault-token", ".dockercfg", ".htpasswd", "credentials", "credentials.json",
		"authorized_keys", "kubeconfig", "admin.conf", "kubelet.conf", "krb5.keytab", "service-account.json", "terraform.tfstate", "k3s.yaml",
		".bash_history", ".psql_history", ".mysql_history", ".rediscli_history", ".zsh_history", ".python_history", "id_rsa", "id_dsa",
		"id_ecdsa", "id_ed25519", "id_ed25519_sk", "identity", "ssh_host_rsa_key", "ssh_host_ecdsa_key", "ssh_host_ed25519_key", "ssh_host_dsa_key",
		"pg_hba.conf", "pg_service.conf", ".pg_service.conf", "wp-config.php", ".env", ".pgpass.conf", "debian.cnf", "passwords", "passwd.db",
		"secret", "secrets", "token", "secrets.yml", "secrets.yaml", "secrets.json", "credentials.yml", "credentials.xml", "master.key", "htpasswd",
		"database.yml", ".s3cfg", ".boto", "rclone.conf", ".smbcredentials", "wpa_supplicant.conf", "tfstate", "vault.yml", ".fetchmailrc", ".msmtprc",
	}
}

// secretEndings are how names of files that keep credentials end.
func secretEndings() []string {
	return []string{
		".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".keytab", ".ppk", ".asc", ".gpg", ".tfvars", ".tfstate", ".pgpass",
		".crt.key", "_rsa", "_ed25519", "_ecdsa", "_dsa", ".env", ".secret", ".secrets", ".token", ".htpasswd", ".nmconnection",
	}
}

// secretFolders are folders of which every file counts as one that keeps
// credentials.
func secretFolders() []string {
	return []string{
		".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure", ".gcloud", "gcloud", ".password-store", "secret", "secrets",
		".secrets", ".secret", "private", "sudoers.d", "vault", ".vault", "pki", "keyrings", "credstore", "credstore.encrypted", "system-connections",
		"environ", "sssd", "letsencrypt", "serviceaccount",
	}
}

// mayKeepSecrets says whether what is read there may be credentials.
func (p place) mayKeepSecrets() bool {
	s := strings.ToLower(p.text.marked())
	anywhere := strings.Contains(s, markAny)
	if !anywhere && p.harmless() {
		return false
	}
	if strings.HasPrefix(s, "/dev/") || strings.HasPrefix(s, "/proc/") && strings.Contains(s, "/fd/") {
		return !strings.HasPrefix(s, "/dev/fd/") // a disk holds all files, and what another has open isn't known
	}
	parts := strings.Split(s, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		if strings.Contains(part, markAny) && (!last || part[:1] == markAny || i > 0) {
			return true // what isn't known may hold folders
		}
		if matchesAny(part, secretFolders()) && part != "" {
			return true
		}
		if !last {
			continue
		}
		if matchesAny(part, secretNames()) || strings.HasPrefix(part, ".env.") || endsLikeSecret(part) {
			return true
		}
	}
	return false
}

// harmless says whether a path lies where files are for everybody.
func (p place) harmless() bool {
	if len(p.text) == 0 || p.text[0].kind != literal {
		return false
	}
	for _, tree := range harmlessTrees() {
		if strings.HasPrefix(p.text[0].lit, tree+"/") || len(p.text) == 1 && p.text[0].lit == tree {
			return true
		}
	}
	return false
}

func harmlessTrees() []string {
	return []string{
		"/var/log", "/usr/share", "/usr/include", "/usr/src", "/usr/lib", "/usr/bin", "/usr/sbin", "/bin", "/sbin", "/lib", "/proc/sys", "/sys",
		"/etc/nginx/sites-enabled", "/etc/nginx/sites-available", "/etc/nginx/conf.d", "/etc/apache2/sites-enabled", "/etc/systemd", "/etc/cron.d",
		"/etc/cron.daily", "/etc/cron.hourly", "/etc/cron.weekly", "/etc/logrotate.d", "/etc/init.d", "/etc/default", "/etc/profile.d",
	}
}

// harmlessTree says whether nothing below a folder keeps credentials.
func (p place) harmlessTree() bool { return !p.text.has(anything) && p.harmless() }

// matchesAny says whether one of names fits a part of a path, patterns and all.
func matchesAny(part string, names []string) bool {
	if !strings.ContainsAny(part, markWild+markAny) {
		for _, n := range names {
			if part == n {
				return true
			}
		}
		return false
	}
	for _, n := range names {
		if n[0] == '.' && strings.HasPrefix(part, markWild) {
			continue // a pattern that begins with * leaves hidden files out
		}
		if matchMarks(part, n) {
			return true
		}
	}
	return false
}

// matchMarks matches a part in which marks stand for any text.
func matchMarks(part, name string) bool {
	pieces := strings.FieldsFunc(part, func(r rune) bool { return r == 1 || r == 2 })
	if !strings.HasPrefix(part, markWild) && !strings.HasPrefix(part, markAny) {
		rest, ok := strings.CutPrefix(name, pieces[0])
		if !ok {
			return false
		}
		name, pieces = rest, pieces[1:]
	}
	if len(pieces) > 0 && !strings.HasSuffix(part, markWild) && !strings.HasSuffix(part, markAny) {
		rest, ok := strings.CutSuffix(name, pieces[len(pieces)-1])
		if !ok {
			return false
		}
		name, pieces = rest, pieces[:len(pieces)-1]
	}
	for _, piece := range pieces {
		_, rest, ok := strings.Cut(name, piece)
		if !ok {
			return false
		}
		name = rest
	}
	return true
}

func endsLikeSecret(part string) bool {
	tail := part
	wild := false
	if i := strings.LastIndexAny(part, markWild+markAny); i >= 0 {
		tail, wild = part[i+1:], true
	}
	for _, e := range secretEndings() {
		if strings.HasSuffix(tail, e) || wild && strings.HasSuffix(e, tail) {
			return true
		}
	}
	return false
}

// runsLater says why writing there is running something: a shell, a service
// manager or a program reads code from it.
func (p place) runsLater() string {
	s := p.text.marked()
	if strings.Contains(s, markAny) {
		if i := strings.Index(s, markAny); i > 0 {
			// Below a folder that is known, unless it is one that is read for code.
			head := path.Dir(s[:i] + "x")
			if head != "/" && head != "~" && head != "/etc" && !strings.HasPrefix(head, "/home") && !strings.HasPrefix(head, "/root") && codeFolder(head+"/x") == "" {
				return ""
			}
		}
		return "and where that is can't be told"
	}
	return codeFolder(s)
}

func codeFolder(s string) string {
	base := path.Base(s)
	const code = "which is read for code to run later"
	if strings.HasPrefix(base, "-") {
		return "a name that programs will take for an option"
	}
	for _, home := range []string{"~/", "/root/", "/home/"} {
		rest, ok := strings.CutPrefix(s, home)
		if !ok {
			continue
		}
		if home == "/home/" {
			_, rest, _ = strings.Cut(rest, "/")
		}
		if strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, markWild) || strings.HasPrefix(rest, "bin/") {
			if strings.HasPrefix(rest, ".cache/") || rest == ".bash_history" {
				return ""
			}
			return code
		}
	}
	for _, dir := range []string{
		"/bin/", "/sbin/", "/lib", "/usr/bin/", "/usr/sbin/", "/usr/lib", "/usr/local/bin/", "/usr/local/sbin/", "/usr/local/lib/", "/usr/share/", "/boot/", "/dev/sd", "/dev/nvme", "/dev/vd", "/dev/mapper", "/dev/mem",
		"/proc/", "/sys/", "/etc/profile", "/etc/bash", "/etc/cron", "/etc/anacrontab", "/etc/systemd/", "/etc/init", "/etc/rc", "/etc/ld.so", "/etc/sudoers", "/etc/pam.d/", "/etc/environment",
		"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/ssh/", "/etc/inputrc", "/etc/vim", "/etc/gitconfig", "/etc/apt/", "/etc/update-motd.d/", "/etc/logrotate", "/etc/udev/", "/etc/modprobe", "/etc/modules",
		"/etc/security/", "/etc/default/", "/etc/network/", "/etc/dhcp/", "/etc/alternatives/", "/etc/X11/", "/etc/zsh", "/etc/perl/", "/etc/python", "/etc/tmpfiles.d/", "/etc/binfmt.d/", "/etc/nsswitch",
		"/var/spool/cron", "/var/spool/at", "/var/spool/anacron", "/run/systemd/", "/lib/systemd/", "/etc/dpkg/", "/etc/kernel/", "/etc/NetworkManager/", "/etc/ppp/", "/etc/sysctl", "/etc/docker/", "/etc/kubernetes/manifests",
	} {
		if strings.HasPrefix(s, dir) {
			return code
		}
	}
	for _, in := range []string{"/.git/", "/hooks/", "/.config/", "/.vim/", "/.ssh/"} {
		if strings.Contains(s, in) {
			return code
		}
	}
	return ""
}
