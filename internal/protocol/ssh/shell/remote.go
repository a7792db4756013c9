package shell

import (
	"strings"

	"postern"
)

// ssh: the command is another host's to decide over, and still what was asked
// for here.
func ssh(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "BbcDEeFIiJLlmOopQRSWw", first: true}
	o := s.parse(inv.args)
	a.eff.did("ssh", postern.Write)
	if onlyVersion(inv) {
		return
	}
	if o.unsure || len(o.operands) == 0 {
		a.eff.problem("where ssh goes isn't written there")
		return
	}
	if o.has("o") && !harmlessSSHOptions(&o) || o.has("F", "J", "D", "L", "R", "W", "w", "S", "O", "A", "X", "Y", "f", "N", "M", "E", "I") {
		a.eff.problem("an option of ssh opens another way, or can run a program")
	}
	host := o.operands[0]
	if name, ok := host.exact(); ok {
		if _, h, at := strings.Cut(name, "@"); at {
			name = h
		}
		a.eff.host(name)
	}
	rest := o.operands[1:]
	// ssh takes options behind the host, too.
	more := s.parse(rest)
	if len(more.list) > 0 {
		if more.unsure || more.has("F", "J", "D", "L", "R", "W", "w", "S", "O", "A", "X", "Y", "f", "N", "M", "E", "I") || more.has("o") && !harmlessSSHOptions(&more) {
			a.eff.problem("an option of ssh opens another way, or can run a program")
		}
		rest = more.operands
	}
	if len(rest) == 0 {
		a.eff.problem("ssh opens a shell on another host, which takes commands from elsewhere")
		return
	}
	code, ok := joined(rest)
	if !ok {
		a.eff.problem("what ssh runs isn't written there")
		return
	}
	sub := State{Terminal: st.Terminal}
	a.text(code, &sub)
}

// netcat sends and takes bytes; with -e and -c it runs programs.
func netcat(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "epcioIMmOPqsTVwXx"}
	o := s.parse(inv.args)
	a.eff.did("nc", postern.Write)
	if o.has("e", "c", "exec", "sh-exec", "lua-exec") || o.unsure {
		a.eff.problem("nc can run a program")
	}
	for _, x := range o.operands[:min(1, len(o.operands))] {
		if h, ok := x.exact(); ok {
			a.eff.host(h)
		}
	}
	if o.has("z") && !o.unsure && !o.has("e", "c", "l") {
		a.eff.verbs = dropTo(a.eff.verbs, "nc", postern.Read)
		return
	}
	for _, x := range o.operands {
		a.mention(x, st)
	}
}

// url notes the host of an address; a file's is a file that is read.
func (a *analyzer) url(x arg, st *State) {
	p := x.prefix()
	if len(p) >= 5 && strings.EqualFold(p[:5], "file:") {
		rest := arg{text: x.after(5)}
		s := rest.prefix()
		trimmed := strings.TrimLeft(s, "/")
		trimmed = strings.TrimPrefix(trimmed, "localhost/")
		if strings.ContainsAny(s, "%{[") {
			a.eff.fileAccess = true
			a.secret(x.String())
		}
		a.read(arg{text: lit("/" + trimmed).join(rest.after(len(s)))}, st)
		return
	}
	if _, ok := x.exact(); !ok && !strings.Contains(p, "://") && !strings.Contains(p, "/") {
		// It may be a file's address.
		a.eff.fileAccess = true
		a.secret(x.String())
		return
	}
	host := p
	if scheme, rest, ok := strings.Cut(p, "://"); ok {
		host = rest
		if strings.ContainsAny(scheme, "{[") { // curl's own patterns
			a.eff.fileAccess = true
			a.secret(x.String())
		}
	}
	host, _, _ = strings.Cut(host, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if metadata(host) {
		a.eff.fileAccess = true
		a.secret("the cloud's metadata")
	}
	a.eff.host(strings.TrimSuffix(host, "."))
}

// metadata says whether a host is the one that hands a cloud machine its
// credentials, or is written in a way that hides which one it is.
func metadata(host string) bool {
	host = strings.ToLower(host)
	for _, known := range []string{"169.254", "metadata", "100.100.100.200", "a9fe", "ec2::254"} {
		if strings.Contains(host, known) {
			return true
		}
	}
	// An address as one number, or in octal or hexadecimal, hides itself.
	name, _, _ := strings.Cut(host, ":")
	parts := strings.Split(name, ".")
	for _, part := range parts {
		digits := strings.TrimPrefix(part, "0x")
		if digits == "" || strings.Trim(digits, "0123456789abcdef") != "" || part[0] < '0' || part[0] > '9' {
			return false // a name
		}
		if len(part) > 1 && part[0] == '0' {
			return true
		}
	}
	return len(parts) != 4
}

// urlFile is the name that a download gets.
func urlFile(x arg, serverSays bool) arg {
	s, ok := x.exact()
	if _, rest, cut := strings.Cut(s, "://"); cut {
		s = rest
	}
	i := strings.LastIndexByte(s, '/')
	if !ok || serverSays || i < 0 || i == len(s)-1 || strings.ContainsAny(s, "{[?#%") {
		return arg{text: text{{wildcard, ""}}}
	}
	return exactArg("./" + s[i+1:])
}

func curl(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "AbcCdDeEFhHKmoPQrtTuUwxXyYzZ", long: []string{
		"output=", "output-dir=", "config=", "data=", "data-raw=", "data-binary=", "data-ascii=", "data-urlencode=", "json=", "form=", "form-string=", "header=", "upload-file=", "cookie=", "cookie-jar=", "dump-header=", "trace=", "trace-ascii=",
		"request=", "user=", "user-agent=", "referer=", "max-time=", "connect-timeout=", "retry=", "retry-delay=", "retry-max-time=", "write-out=", "proxy=", "cert=", "key=", "cacert=", "capath=", "resolve=", "connect-to=", "url=", "range=", "interface=", "dns-servers=", "limit-rate=", "max-filesize=", "max-redirs=",
		"stderr=", "etag-save=", "etag-compare=", "hsts=", "alt-svc=", "netrc-file=", "unix-socket=", "abstract-unix-socket=", "proto=", "proto-default=", "proto-redir=", "libcurl=", "quote=", "prequote=", "postquote=", "ciphers=", "tls13-ciphers=", "egd-file=", "random-file=", "engine=", "oauth2-bearer=", "aws-sigv4=", "noproxy=", "proxy-user=", "socks5=", "socks5-hostname=", "socks4=", "preproxy=", "time-cond=", "speed-limit=", "speed-time=", "mail-from=", "mail-rcpt=", "url-query=", "variable=", "expand-url=", "rate=", "parallel-max=", "crlfile=", "pinnedpubkey=", "login-options=", "keepalive-time=", "local-port=", "telnet-option=", "tftp-blksize=", "request-target=", "service-name=", "ip-tos=", "dns-interface=", "dns-ipv4-addr=", "doh-url=",
		"remote-name", "remote-name-all", "remote-header-name", "create-dirs", "silent", "show-error", "fail", "location", "insecure", "include", "head", "verbose", "compressed", "get", "next", "continue-at=", "netrc", "netrc-optional",
	}}
	o := s.parse(inv.args)
	access := postern.Read
	if o.unsure {
		a.unsure("curl")
	}
	for _, x := range o.list {
		switch x.name {
		case "o", "output", "c", "cookie-jar", "D", "dump-header", "trace", "trace-ascii", "stderr", "etag-save", "hsts", "alt-svc", "libcurl", "output-dir":
			if s, ok := x.val.exact(); ok && (s == "-" || a.device(s, st)) {
				continue
			}
			access = postern.Write
			a.write(x.val, st)
		case "O", "J", "remote-name", "remote-name-all", "remote-header-name":
			access = postern.Write
			for _, u := range append(o.values("url"), o.operands...) {
				a.write(urlFile(u, o.has("J", "remote-header-name")), st)
			}
		case "K", "config":
			a.eff.problem("the options of curl are in a file")
		case "T", "upload-file", "E", "cert", "key", "netrc-file", "b", "cookie", "etag-compare":
			if strings.Contains(x.val.prefix(), "=") && (x.name == "b" || x.name == "cookie") {
				break
			}
			if x.name == "T" || x.name == "upload-file" {
				access = postern.Write
			}
			a.read(x.val, st)
		case "netrc", "n", "netrc-optional":
			a.secret("~/.netrc")
		case "d", "data", "data-binary", "data-ascii", "data-urlencode", "json", "F", "form", "data-raw", "form-string", "H", "header", "w", "write-out", "variable", "url-query":
			switch x.name {
			case "H", "header", "w", "write-out", "url-query", "variable":
			default:
				if !o.has("G", "get") {
					access = postern.Write // a POST
				}
			}
			v := x.val.prefix()
			if i := strings.IndexAny(v, "@<"); i >= 0 && x.name != "data-raw" && x.name != "form-string" {
				at := arg{text: x.val.after(i + 1)}
				if i == 0 || strings.HasSuffix(v[:i], "=") || x.name == "data-urlencode" || x.name == "variable" || x.name == "url-query" {
					name, rest, cut := strings.Cut(at.prefix(), ";")
					if cut && rest != "" {
						at = exactArg(name)
					}
					a.read(at, st)
				}
			}
			if strings.Contains(v, "%output{") {
				access = postern.Write
				a.eff.problem("curl writes where its format says")
			}
			if _, ok := x.val.exact(); !ok && v == "" && x.name != "data-raw" && x.name != "form-string" {
				a.eff.fileAccess = true
				a.secret(x.val.String())
			}
		case "X", "request":
			if m, ok := x.val.exact(); !ok || m != "GET" && m != "HEAD" && m != "OPTIONS" {
				access = postern.Write
			}
		case "Q", "quote", "prequote", "postquote", "mail-rcpt", "telnet-option", "t":
			access = postern.Write
		case "unix-socket", "abstract-unix-socket":
			access = postern.Write
			a.eff.problem("through a socket, curl reaches services of the host that do anything")
		case "url":
			a.url(x.val, st)
		case "engine":
			a.eff.problem("curl loads code")
		case "proto-default":
			a.eff.problem("what curl reads isn't written as an address")
		case "connect-to", "resolve", "x", "proxy", "preproxy":
			if metadata(x.val.String()) {
				a.secret("the cloud's metadata")
			}
		}
	}
	for _, x := range o.operands {
		a.url(x, st)
	}
	a.eff.did("curl", access)
}

func wget(a *analyzer, inv *invocation, st *State) {
	s := spec{short: "aAeBDiIlOoPQRtTUwXn", long: []string{
		"output-document=", "output-file=", "append-output=", "directory-prefix=", "input-file=", "execute=", "use-askpass=", "config=", "post-data=", "post-file=", "body-data=", "body-file=", "method=", "header=", "user=", "password=", "load-cookies=", "save-cookies=", "timeout=", "tries=", "user-agent=", "referer=", "quota=", "limit-rate=", "level=", "accept=", "reject=", "domains=", "warc-file=", "ca-certificate=", "certificate=", "private-key=", "base=", "wait=", "rejected-log=", "hsts-file=", "cut-dirs=", "prefer-family=", "dns-timeout=", "connect-timeout=", "read-timeout=", "waitretry=", "max-redirect=", "bind-address=", "no-verbose", "quiet", "spider", "continue", "recursive", "mirror", "no-check-certificate", "server-response", "show-progress",
	}}
	o := s.parse(inv.args)
	access := postern.Write
	if o.unsure || o.has("e", "execute", "use-askpass", "config", "i", "input-file") {
		a.eff.problem("an option of wget can run a program, or stands in a file")
	}
	for _, v := range o.values("post-file", "body-file", "load-cookies", "certificate", "private-key") {
		a.read(v, st)
	}
	outputs := o.values("O", "output-document")
	toStdout := len(outputs) > 0 && !o.has("o", "a", "output-file", "append-output", "save-cookies", "warc-file", "rejected-log", "post-data", "post-file", "body-data", "body-file", "method")
	for _, v := range append(outputs, o.values("o", "a", "output-file", "append-output", "save-cookies", "warc-file", "rejected-log", "P", "directory-prefix")...) {
		if s, ok := v.exact(); !ok || s != "-" && !a.device(s, st) {
			toStdout = false
			a.write(v, st)
		}
	}
	if toStdout || o.has("spider") {
		access = postern.Read
	} else if len(outputs) == 0 {
		sub := st.clone()
		for _, dir := range o.values("P", "directory-prefix") {
			sub.chdir(dir, true)
		}
		for _, x := range o.operands {
			a.write(urlFile(x, o.has("content-disposition", "trust-server-names", "r", "m", "recursive", "mirror", "p", "page-requisites")), &sub)
		}
	}
	for _, x := range o.operands {
		a.url(x, st)
	}
	a.eff.did("wget", access)
}
