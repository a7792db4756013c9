package ssh

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"postern"
)

// wish is what a client's user name asks for.
type wish struct {
	identity string
	login    string // as whom, on the server; "": the resource's own
	resource string // "": not said
}

// readUser reads "alice@web-1" and "alice/deploy@web-1". The last at sign
// counts, so that identities may be e-mail addresses. In front of it the last
// slash does; an identity with a slash in its name logs in as "postern".
func readUser(user string) wish {
	w := wish{identity: user}
	if at := strings.LastIndexByte(user, '@'); at >= 0 {
		w.identity, w.resource = user[:at], user[at+1:]
	}
	if slash := strings.LastIndexByte(w.identity, '/'); slash >= 0 {
		w.identity, w.login = w.identity[:slash], w.identity[slash+1:]
	}
	return w
}

// validLogin says whether a name may be a remote user's. Certificates hold it
// as a principal, in a list, and it stands in messages.
func validLogin(name string) bool {
	const most = 64
	for i, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		case i > 0 && (c == '-' || c == '.' || c == '$'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= most
}

// dsn is a connection string in the form that curl, lftp and libraries take.
func dsn(host string, port int, user string, token postern.Secret, resource string) string {
	u := url.URL{
		Scheme: "ssh", User: url.UserPassword(user+"@"+resource, token.Reveal()),
		Host: net.JoinHostPort(host, strconv.Itoa(port)),
	}
	return u.String()
}

func sourceOf(conn net.Conn) netip.AddrPort {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// shown is a name as it may stand in a message: one line, and nothing in it
// that moves a cursor.
func shown(name string) string {
	quoted := strconv.Quote(name)
	if quoted[1:len(quoted)-1] == name && name != "" && !strings.ContainsAny(name, " \t'") {
		return name
	}
	return quoted
}
