package ssh

import "testing"

// tree lists what is in a folder: names, kinds, modes, times and sizes.
const tree = `tree() { (cd "$1" && find . -mindepth 1 -printf '%P %y %m %T@ %s %l\n' | sort && find . -type f -exec sha256sum {} + | sort -k 2); }; `

// sample makes a folder with what copies get wrong: modes, times, empty files,
// names with spaces, quotes and line ends, and a folder in a folder.
const sample = `sample() { rm -rf "$1"; mkdir -p "$1/a/b" "$1/empty"; head -c 70001 /dev/zero | tr '\0' z >"$1/a/large"; : >"$1/a/none"; echo x >"$1/a/b/run"; chmod 751 "$1/a/b/run"; ` +
	`echo y >"$1/a/two words"; echo z >"$1/it's \$HOME; \"q\""; echo n >"$1/ö"; chmod 640 "$1/ö"; chmod 750 "$1/a/b"; find "$1" -exec touch -h -d 2021-02-03T04:05:06Z {} +; }; `

// Each script does the same directly and through the gateway.
func TestOpenSSHClient(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow"})
	w.write("editor.py", editor, 0o600)
	for name, script := range map[string]string{
		"output and exit status":     `ssh -F $CONFIG $VIA 'echo out; echo err >&2; exit 3'`,
		"input":                      `printf 'one\ntwo\n' | ssh -F $CONFIG $VIA 'cat; echo end'`,
		"half-close":                 `printf 'b\na\n' | ssh -F $CONFIG $VIA sort`,
		"a signal":                   `ssh -F $CONFIG $VIA 'kill -TERM $$'`,
		"a shell without a terminal": `printf 'echo hello\nexit 4\n' | ssh -F $CONFIG $VIA`,
		"a terminal":                 `ssh -F $CONFIG -tt $VIA 'stty size; test -t 0 && echo tty' </dev/null`,
		"environment":                `LC_TEST=x FOO=y ssh -F $CONFIG -o SendEnv=LC_TEST $VIA 'echo "$LC_TEST"'`,
		"much output":                `ssh -F $CONFIG $VIA 'head -c 20000000 /dev/zero' | sha256sum`,
		"much input":                 `head -c 20000000 /dev/zero | ssh -F $CONFIG $VIA sha256sum`,
		"sftp":                       `mkdir -p s-$VIA && rm -rf s-$VIA/* && head -c 300000 /dev/urandom >up && printf 'cd %s\nput up f\nls -1\nget f back\nmkdir d\nrename f d/g\nls -1 d\nchmod 600 d/g\nln -s d/g link\nls -1\nrm d/g\nrmdir d\nrm link\nls -1\n' $PWD/s-$VIA | sftp -q -F $CONFIG $VIA | sed "s/s-$VIA/s-X/"; cmp up back && echo same`,
		"scp":                        `head -c 300000 /dev/urandom >up; scp -q -F $CONFIG up $VIA:$PWD/copy-$VIA && scp -q -F $CONFIG $VIA:$PWD/copy-$VIA back && cmp up back && echo same`,
		"scp, recursive":             `rm -rf tree back-$VIA; mkdir -p tree/a/b; echo 1 >tree/a/x; echo 2 >tree/a/b/y; scp -q -r -F $CONFIG tree $VIA:$PWD/to-$VIA && scp -q -r -F $CONFIG $VIA:$PWD/to-$VIA back-$VIA && diff -r tree back-$VIA && echo same`,
		"scp, old protocol":          `head -c 300000 /dev/urandom >up; scp -O -q -F $CONFIG up $VIA:$PWD/copy-$VIA && scp -O -q -F $CONFIG $VIA:$PWD/copy-$VIA back && cmp up back && echo same`,
		"rsync":                      `rm -rf tree; mkdir -p tree/a; head -c 500000 /dev/urandom >tree/a/x; rsync -a -e "ssh -F $CONFIG" tree/ $VIA:$PWD/rs-$VIA/ && rsync -a --delete -e "ssh -F $CONFIG" $VIA:$PWD/rs-$VIA/ rsb-$VIA/ && diff -r tree rsb-$VIA && echo same`,
		"git":                        `rm -rf repo-$VIA.git work-$VIA; git init -q --bare repo-$VIA.git && git init -q work-$VIA && cd work-$VIA && git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m one && GIT_SSH_COMMAND="ssh -F $CONFIG" git push -q ssh://$VIA$PWD/../repo-$VIA.git HEAD:main && cd .. && rm -rf again-$VIA && GIT_SSH_COMMAND="ssh -F $CONFIG" git clone -q -b main ssh://$VIA$PWD/repo-$VIA.git again-$VIA && git -C again-$VIA log --format=%s`,
		"ControlMaster":              `ssh -F $CONFIG -M -S $PWD/cm-$VIA -fN $VIA && for i in 1 2 3 4 5 6 7 8 9 10; do ssh -F $CONFIG -S $PWD/cm-$VIA $VIA "echo $i" & done; wait; ssh -F $CONFIG -S $PWD/cm-$VIA $VIA 'echo last'; ssh -F $CONFIG -S $PWD/cm-$VIA -O exit $VIA 2>/dev/null`,
		"scp, modes and times":       tree + sample + `sample s; scp -q -r -p -F $CONFIG s $VIA:$PWD/sp-$VIA && tree sp-$VIA && rm -rf sb && scp -q -r -p -F $CONFIG $VIA:$PWD/sp-$VIA sb && tree sb`,
		"scp -O, modes and times":    tree + sample + `sample s; scp -O -q -r -p -F $CONFIG s $VIA:$PWD/so-$VIA && tree so-$VIA && rm -rf sb && scp -O -q -r -p -F $CONFIG $VIA:$PWD/so-$VIA sb && tree sb`,
		"scp -O, over what is there": tree + `umask 027; mkdir -p ov-$VIA/sub; echo "longer than the other" >ov-$VIA/f; chmod 604 ov-$VIA/f; echo short >f; echo g >g; chmod 444 g; scp -O -q -F $CONFIG f g $VIA:$PWD/ov-$VIA; echo $?; scp -O -q -F $CONFIG f $VIA:$PWD/ov-$VIA/sub/; scp -O -q -F $CONFIG f $VIA:$PWD/ov-$VIA/no/; echo $?; scp -O -q -F $CONFIG f $VIA:$PWD/no/such/folder; echo $?; tree ov-$VIA | sed 's/ [0-9]*[.][0-9]* / /'`,
		"scp -O, what isn't there":   `scp -O -q -F $CONFIG $VIA:/does/not/exist . ; echo $?; scp -O -q -F $CONFIG $VIA:/usr . ; echo $?; scp -O -q -F $CONFIG $VIA:/etc/hostname $VIA-h && cmp /etc/hostname $VIA-h; scp -O -q -F $CONFIG $VIA:'/etc/host*' . ; ls host*`,
		"scp -O, names with quotes":  `mkdir -p qq; echo q >"qq/two words"; scp -O -T -q -F $CONFIG "$VIA:'$PWD/qq/two words'" w-$VIA; echo $?; cat w-$VIA; scp -O -q -F $CONFIG w-$VIA "$VIA:'$PWD/qq/new one'"; echo $?; cat 'qq/new one'; rm -f 'qq/new one'`,
		"scp -O, to standard places": `echo x >f; scp -O -q -F $CONFIG f $VIA:/dev/null; echo $?; scp -O -q -F $CONFIG f $VIA:; cat ~/f; scp -O -q -F $CONFIG $VIA:f back; cat back; rm -f ~/f`,
		"scp between two servers":    `echo x >f; scp -3 -q -F $CONFIG $VIA:$PWD/f $VIA:$PWD/f3-$VIA && cat f3-$VIA`,
		"sftp, a whole tree":         tree + sample + `sample s; mkdir -p sf-$VIA; printf 'put -rp s %s\nget -rp %s sfb-%s\n' $PWD/sf-$VIA $PWD/sf-$VIA $VIA | sftp -q -F $CONFIG $VIA >/dev/null; tree sf-$VIA; tree sfb-$VIA`,
		"sftp, resumed":              `head -c 300000 /dev/zero >up; head -c 100000 up >part; printf 'put part %s\nreput up %s\n' $PWD/re-$VIA $PWD/re-$VIA | sftp -q -F $CONFIG $VIA >/dev/null; cmp up re-$VIA && echo same; head -c 5 up >down; printf 'reget %s down\n' $PWD/re-$VIA | sftp -q -F $CONFIG $VIA >/dev/null; cmp up down && echo same`,
		"rsync, again and changed":   tree + sample + `sample s; rsync -aH -e "ssh -F $CONFIG" s/ $VIA:$PWD/rr-$VIA/; tree rr-$VIA; echo more >>s/a/large; rm s/a/none; rsync -aHz --delete --checksum -i -e "ssh -F $CONFIG" s/ $VIA:$PWD/rr-$VIA/ | sort; rsync -a --partial --inplace -e "ssh -F $CONFIG" $VIA:$PWD/rr-$VIA/ rrb-$VIA/; tree rrb-$VIA | sed 's/ [0-9]*[.][0-9]* / /'`,
		"git, over and over":         `rm -rf gr-$VIA.git gw-$VIA; git init -q --bare gr-$VIA.git; git init -q gw-$VIA; cd gw-$VIA; export GIT_SSH_COMMAND="ssh -F $CONFIG" GIT_AUTHOR_DATE=2021-02-03T04:05:06Z GIT_COMMITTER_DATE=2021-02-03T04:05:06Z; git config user.name a; git config user.email a@example.com; for i in 1 2 3; do head -c 100000 /dev/zero | tr '\0' $i >f; git add f; git commit -q -m $i; git push -q ssh://$VIA$PWD/../gr-$VIA.git HEAD:main; done; git push -q ssh://$VIA$PWD/../gr-$VIA.git HEAD~1:main 2>/dev/null; echo $?; git ls-remote ssh://$VIA$PWD/../gr-$VIA.git; git fetch -q --depth 1 ssh://$VIA$PWD/../gr-$VIA.git main && git log --format=%H FETCH_HEAD | wc -l; git archive --remote=ssh://$VIA$PWD/../gr-$VIA.git main | tar t`,
		"an editor's server":         `exec /usr/bin/python3 editor.py $VIA`,
		"rekeying":                   `ssh -F $CONFIG -o RekeyLimit=1M $VIA 'head -c 8000000 /dev/zero' | sha256sum`,
		"nothing to run":             `ssh -F $CONFIG $VIA /does/not/exist 2>/dev/null`,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "ControlMaster" { // each in its own time
				script = "{ " + script + "; } | sort"
			}
			w.same(t, script)
		})
	}
}

// editor does what VS Code does: it feeds a shell the script that starts its
// server there, and talks to that over SOCKS, over a port that it has a shared
// connection forward meanwhile, and over many channels of that.
const editor = `
import os, re, socket, struct, subprocess, sys
via, ssh = sys.argv[1], ["ssh", "-F", os.environ["CONFIG"]]
bootstrap = """
set -e
echo "%% begin $(basename "$SHELL" | wc -l)"
cat >"$HOME/server-$$.py" <<'END'
import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print("listening on", s.getsockname()[1], flush=True)
def serve(c):
    data = c.makefile("rb").read()
    c.sendall(b"%d bytes, " % len(data) + data[:5])
    c.close()
from threading import Thread
for _ in range(12):
    Thread(target=serve, args=(s.accept()[0],)).start()
END
python3 "$HOME/server-$$.py" </dev/null
rm "$HOME/server-$$.py"
echo "%% end"
exit 7
"""
def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
def talk(c, text):
    c.sendall(text)
    c.shutdown(socket.SHUT_WR)
    got = c.makefile("rb").read()
    c.close()
    return got.decode()
def socks(proxy, port):
    c = socket.create_connection(("127.0.0.1", proxy))
    c.sendall(b"\5\1\0")
    assert c.recv(2) == b"\5\0"
    c.sendall(b"\5\1\0\3" + bytes([9]) + b"127.0.0.1" + struct.pack(">H", port))
    answer = c.recv(10, socket.MSG_WAITALL)
    assert answer[:2] == b"\5\0", answer
    return c
proxy, local = free(), free()
shell = subprocess.Popen(ssh + ["-T", "-D", str(proxy), "-o", "ExitOnForwardFailure=yes", via, "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
shell.stdin.write(bootstrap.encode())
shell.stdin.close()
print(shell.stdout.readline().decode().strip())
port = int(re.match("listening on ([0-9]+)", shell.stdout.readline().decode()).group(1))
print(talk(socks(proxy, port), b"hello"), talk(socks(proxy, port), b"h" * 3000000))
control = os.path.join(os.getcwd(), "e-" + via)
subprocess.run(ssh + ["-M", "-S", control, "-fN", via], check=True)
subprocess.run(ssh + ["-S", control, "-O", "forward", "-L", "%d:127.0.0.1:%d" % (local, port), via], check=True)
print(talk(socket.create_connection(("127.0.0.1", local)), b"again"))
many = [socks(proxy, port) for _ in range(4)] + [socket.create_connection(("127.0.0.1", local)) for _ in range(5)]
for i, c in enumerate(many):
    print(talk(c, b"x" * i))
print(subprocess.run(ssh + ["-S", control, via, "sh -c 'uname; exit 3'"], stdout=subprocess.PIPE).returncode)
subprocess.run(ssh + ["-S", control, "-O", "exit", via], stderr=subprocess.DEVNULL)
print(shell.stdout.read().decode(), shell.wait())
`
