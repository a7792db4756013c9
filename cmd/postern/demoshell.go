package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"

	"postern/internal/pgserver"
	"postern/internal/sshserver"
)

// shellResource is the file of what is about the demo's server with a shell. It
// isn't there where the demo goes without one.
func shellResource(dir string) string { return filepath.Join(dir, "objects", "web-1.yaml") }

// startShell runs the demo's server with a shell, and writes what is about it.
// Without OpenSSH on this machine the demo goes on without; missing then says why
// not, and what to do about it.
func (d *demo) startShell() (stop func(), missing string, err error) {
	nothing := func() {}
	if _, err := exec.LookPath("ssh"); err != nil {
		return nothing, "there is no OpenSSH client; apt-get install openssh-client", nil //nolint:nilerr // the demo goes on
	}
	owner, missing := shellOwner()
	if missing != "" {
		return nothing, missing, nil
	}
	enter := `ForceCommand /bin/sh "$HOME/enter" "$HOME"` // in whatever shell that user has
	if owner != nil {
		enter = "ForceCommand runuser -u " + owner.Username + ` -- /bin/sh "$HOME/enter" "$HOME"`
	}
	s, stop, err := sshserver.Start(sshserver.Options{Extra: enter + "\nDisableForwarding yes"})
	if errors.Is(err, sshserver.ErrMissing) {
		return nothing, "there is no OpenSSH server; apt-get install openssh-server", nil
	}
	if err != nil {
		return nothing, "", err
	}
	if err := errors.Join(writeHome(s.Dir, owner), d.writeShell(s)); err != nil {
		stop()
		return nothing, "", err
	}
	return stop, "", nil
}

// shellOwner is whose the shells are: nil for whoever runs the demo. Root gives
// them to the user that the sample database runs as; where there is none, missing
// says so, and nobody gets a shell of root's.
func shellOwner() (owner *user.User, missing string) {
	if os.Geteuid() != 0 {
		return nil, ""
	}
	if _, err := exec.LookPath("runuser"); err != nil {
		return nil, "root has no runuser to give a shell away with; start the demo as somebody else"
	}
	for _, name := range []string{pgserver.Superuser, "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return u, ""
		}
	}
	return nil, "root has no other user to give a shell to; start the demo as somebody else"
}

// enterHome has whoever comes in begin in the demo's home, and not in that of
// whoever runs it.
const enterHome = `cd "$1/home" || exit 1
HOME=$PWD
export HOME
exec /bin/sh -c "${SSH_ORIGINAL_COMMAND:-exec /bin/sh}"
`

// writeHome writes the files that a shell of the demo starts beside, below the
// folder of its server, and gives them to owner.
func writeHome(dir string, owner *user.User) error {
	uid, gid := os.Getuid(), os.Getgid()
	if owner != nil {
		var err, gidErr error
		uid, err = strconv.Atoi(owner.Uid)
		gid, gidErr = strconv.Atoi(owner.Gid)
		if err := errors.Join(err, gidErr, os.Chmod(dir, 0o711)); err != nil { //nolint:gosec // owner passes through it; its files stay private
			return err
		}
	}
	give := func(at string, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(at, uid, gid)
	}
	enter := filepath.Join(dir, "enter")
	if err := give(enter, os.WriteFile(enter, []byte(enterHome), 0o600)); err != nil {
		return err
	}
	return fs.WalkDir(demoFiles, "demo/home", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, "demo/")))
		if entry.IsDir() {
			return give(at, os.Mkdir(at, 0o700))
		}
		content, err := demoFiles.ReadFile(name)
		if err != nil {
			return err
		}
		return give(at, os.WriteFile(at, content, 0o600))
	})
}

func (d *demo) writeShell(s *sshserver.Server) error {
	keyFile := filepath.Join(d.dir, "web-1.key")
	tmpl, err := template.ParseFS(demoFiles, "demo/shell/web-1.yaml")
	if err != nil {
		return err
	}
	var text strings.Builder
	err = tmpl.Execute(&text, struct{ Address, User, KeyFile, HostKey string }{
		s.Addr, strconv.Quote(s.User), strconv.Quote(keyFile), strconv.Quote(s.HostKey),
	})
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(keyFile, []byte(s.Key), 0o600),
		os.WriteFile(shellResource(d.dir), []byte(text.String()), 0o600),
	)
}
