package ssh

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever a client or a server sends, reading it ends, and what was read is
// sent on as it was.
func FuzzFilePackets(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0e\x03\x00\x00\x00\x01\x00\x00\x00\x01x\x00\x00\x00\x01"))
	f.Add([]byte("\x00\x00\x00\x05\x02\x00\x00\x00\x03\x00\x00\x00\x10"))
	f.Fuzz(func(t *testing.T, said []byte) {
		r := bytes.NewReader(said)
		var buf, again []byte
		for {
			var p filePacket
			var err error
			if p, buf, err = readFilePacket(r, buf); err != nil {
				break
			}
			again = p.append(again)
			op, ok, err := operationOf(p)
			if ok && err == nil && (len(op.verbs) == 0 || len(op.paths) == 0) {
				t.Errorf("%v does %+v", p, op)
			}
			for _, target := range op.paths {
				if ok && err == nil && strings.ContainsRune(target.given, 0) {
					t.Errorf("%v: a path with NUL", p)
				}
			}
			if p.kind == fxVersion {
				_, _ = offered(p)
			}
			if _, ok := p.id(); ok {
				p.setID(7)
			}
		}
		if !bytes.HasPrefix(said, again) {
			t.Errorf("%q was read as %q", said, again)
		}
	})
}

// No user name is taken for two, and no command line for scp's that a shell
// would take for more.
func FuzzNames(f *testing.F) {
	f.Add("alice/deploy@web-1", "scp -r -t -- /srv/x")
	f.Add("a@b@c/d", "scp -f $(id)")
	f.Add("a", `scp -f '/srv/it'\''s' `)
	f.Add("a", `scp -r -p -t "~/a b"`)
	f.Fuzz(func(t *testing.T, user, line string) {
		w := readUser(user)
		back := w.identity
		if w.login != "" || strings.HasSuffix(w.identity+"/", "//") {
			back += "/" + w.login
		}
		if w.resource != "" {
			back += "@" + w.resource
		}
		if strings.Count(user, "@") == 1 && strings.Count(user, "/") == 0 && !strings.HasSuffix(user, "@") && back != user {
			t.Errorf("%q is read as %+v", user, w)
		}
		if job, ok := readScp(line); ok {
			// The same, quoted whole, is the same; what a shell would expand is none.
			again, ok := readScp(job.quoted())
			if !ok || again != job || !strings.ContainsAny(line, `"'\`) && strings.ContainsAny(line, "$`;&|<>()*?[]{}!") {
				t.Errorf("%q is taken for %+v, and %q for %+v", line, job, job.quoted(), again)
			}
		}
		_ = shown(user)
	})
}

// quoted is a command line for the job, as a shell reads it.
func (job scpJob) quoted() string {
	line := "scp -f"
	if job.takes {
		line = "scp -t"
	}
	for flag, on := range map[string]bool{" -r": job.recursive, " -p": job.times, " -d": job.folder} {
		if on {
			line += flag
		}
	}
	return line + " -- '" + strings.ReplaceAll(job.path, "'", `'\''`) + "'"
}
