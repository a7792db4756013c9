package ssh

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"postern"
)

// The ways in which a resource offers shells, files and forwarding.
const (
	byDefault  = ""
	allow      = "allow"
	deny       = "deny"
	record     = "record"    // shell: recorded, not controlled
	lineByLine = "lines"     // shell: each line is decided over
	masked     = "mask"      // sftp: what is read is masked
	firstUse   = "first-use" // host_key_policy: the first key that is shown is pinned
)

// settings are a resource's options, as this protocol reads them.
type settings struct {
	shell   string // "", record, lines, deny
	sftp    string // "", allow, mask, deny: what becomes of files where masks look at content
	forward string // "", allow, deny
	agent   string // "", allow
	command string // run in place of whatever a client asks for
	// fullScreen are programs that may take what is typed, which is recorded and
	// not controlled; programs are what else is known by name.
	fullScreen []string
	programs   map[string]postern.Access
	logins     []string
	env        []string // patterns of variables' names that pass
	// hostKeys and hostCAs are whom the server may be; firstUse pins whoever
	// is there first.
	hostKeys []ssh.PublicKey
	hostCAs  []ssh.PublicKey
	firstUse bool
	maxFile  int64 // of one file that is transferred; 0: any size
	keep     int64 // how much of a command's output the recording keeps, of each stream
}

// defaultKeep is how much of the output of a command without a terminal is kept.
const defaultKeep = 1 << 20

// readSettings reads a resource's options. An option that isn't known, and a
// value that isn't, is an error: it may have been meant to restrict something.
func readSettings(r postern.Resource) (settings, error) {
	set := settings{keep: defaultKeep}
	var problems []error
	for name, value := range r.Options {
		if err := set.read(name, value); err != nil {
			problems = append(problems, fmt.Errorf("options.%s: %w", name, err))
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if len(set.hostKeys)+len(set.hostCAs) > 0 && set.firstUse {
		problems = append(problems, errors.New("options.host_key_policy: first-use has no use where host_key or host_ca says whom to expect"))
	}
	return set, errors.Join(problems...)
}

func (set *settings) read(name, value string) (err error) {
	switch name {
	case "shell":
		set.shell, err = oneOf(value, record, lineByLine, deny)
	case "sftp":
		set.sftp, err = oneOf(value, allow, masked, deny)
	case "forward":
		set.forward, err = oneOf(value, allow, deny)
	case "agent":
		set.agent, err = oneOf(value, allow, deny)
	case "command":
		set.command = value
	case "full_screen":
		set.fullScreen, err = programNames(value)
	case "programs":
		set.programs, err = programAccess(value)
	case "logins":
		set.logins, err = loginNames(value)
	case "env":
		set.env, err = envPatterns(value)
	case "host_key":
		set.hostKeys, err = publicKeys(value)
	case "host_ca":
		set.hostCAs, err = publicKeys(value)
	case "host_key_policy":
		_, err = oneOf(value, firstUse)
		set.firstUse = err == nil
	case "max_file":
		set.maxFile, err = size(value)
	case "record_output":
		set.keep, err = size(value)
	default:
		err = errors.New("an SSH resource has no such option; known are agent, command, env, forward, full_screen, host_ca, " +
			"host_key, host_key_policy, logins, max_file, programs, record_output, sftp and shell")
	}
	return err
}

func oneOf(value string, known ...string) (string, error) {
	if !slices.Contains(known, value) {
		return "", fmt.Errorf("%s is none of %s", shown(value), strings.Join(known, ", "))
	}
	return value, nil
}

func splitList(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

func loginNames(value string) ([]string, error) {
	names := splitList(value)
	for _, name := range names {
		if !validLogin(name) {
			return nil, fmt.Errorf("%s is no user's name", shown(name))
		}
	}
	return names, nil
}

func programNames(value string) ([]string, error) {
	names := splitList(value)
	for _, name := range names {
		if !plainPath(name) || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%s is no program's name", shown(name))
		}
	}
	return names, nil
}

// programAccess reads "report=read, deploy=admin".
func programAccess(value string) (map[string]postern.Access, error) {
	known := make(map[string]postern.Access)
	for _, entry := range splitList(value) {
		name, level, _ := strings.Cut(entry, "=")
		var access postern.Access
		err := access.UnmarshalText([]byte(level))
		if err != nil || access < postern.Read || !plainPath(name) || strings.Contains(name, "/") {
			return nil, fmt.Errorf("%s: expected PROGRAM=read, PROGRAM=write or PROGRAM=admin", shown(entry))
		}
		known[name] = access
	}
	return known, nil
}

func envPatterns(value string) ([]string, error) {
	patterns := splitList(value)
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, "=/") {
			return nil, fmt.Errorf("%s is no pattern of a variable's name", shown(p))
		}
	}
	return patterns, nil
}

// publicKeys reads keys as authorized_keys and known_hosts spell them, one a line.
func publicKeys(value string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for rest := []byte(value); len(strings.TrimSpace(string(rest))) > 0; {
		key, _, options, more, err := ssh.ParseAuthorizedKey(rest)
		if err != nil || len(options) > 0 {
			return nil, errors.New(`expected "ssh-ed25519 AAAA…", one key a line, as ssh-keyscan prints them without the host's name`)
		}
		keys = append(keys, key)
		rest = more
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return keys, nil
}

// size reads "512MiB", "2GB" and plain numbers of bytes.
func size(value string) (int64, error) {
	number, unit := value, int64(1)
	for suffix, bytes := range map[string]int64{
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	} {
		if rest, ok := strings.CutSuffix(value, suffix); ok {
			number, unit = strings.TrimSpace(rest), bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%s is no size; expected one like 512MiB", shown(value))
	}
	return n * unit, nil
}

// passes says whether a variable of the client's environment may reach the
// server. What can change what a command means never does: loaders, shells'
// start files, paths.
func (set *settings) passes(name, value string) bool {
	if slices.Contains([]string{"LANG", "LANGUAGE", "COLORTERM", "NO_COLOR", "GIT_PROTOCOL"}, name) || localeName(name) {
		return !strings.Contains(value, "/") // a locale may be a file's name
	}
	return slices.ContainsFunc(set.env, func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	}) && !changesMeaning(name)
}

func localeName(name string) bool {
	rest, ok := strings.CutPrefix(name, "LC_")
	return ok && rest != "" && !strings.ContainsFunc(rest, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '_' })
}

// changesMeaning are variables that make programs run or load something else,
// whatever a pattern says.
func changesMeaning(name string) bool {
	for _, prefix := range []string{"LD_", "DYLD_", "BASH_", "GIT_SSH", "GIT_EXEC", "GIT_CONFIG", "PERL5", "PYTHON", "RUBY", "NODE_", "JAVA_", "SUDO_", "GCONV_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"PATH", "ENV", "IFS", "CDPATH", "SHELL", "SHELLOPTS", "PS4", "PROMPT_COMMAND", "HOME", "USER", "LOGNAME", "EDITOR", "VISUAL", "PAGER",
		"MANPAGER", "LESSOPEN", "LESSCLOSE", "FPATH", "ZDOTDIR", "GLOBIGNORE", "TMPDIR", "TERMINFO", "TERMCAP", "LOCPATH", "NLSPATH", "HISTFILE", "INPUTRC",
	}, name)
}

// takes says whether the server's user of that name may be asked for.
func (set *settings) takes(login string) bool { return slices.Contains(set.logins, login) }
