package ssh

import (
	"net"
	"os"
	"strings"
	"testing"
)

// putty writes how PuTTY's programs reach each side: "putty.direct" and "putty.web-1".
func (w *world) putty(t *testing.T) {
	t.Helper()
	hosts, err := os.ReadFile(w.dir + "/known_hosts")
	if err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(string(hosts), "\n")
	for via, at := range map[string]struct{ addr, user, login, host string }{
		"web-1":  {w.addr, "alice@web-1", "-pwfile token", keys[0]},
		"direct": {w.server.Addr, w.server.User, "-i key.ppk", keys[2]},
	} {
		_, port, _ := net.SplitHostPort(at.addr)
		_, key, _ := strings.Cut(at.host, " ")
		w.write("hostkey.pub", key+"\n", 0o600)
		fingerprint := strings.Fields(w.run("", "ssh-keygen", "-lf", "hostkey.pub").out)[1]
		w.write("putty."+via, "-batch "+at.login+" -hostkey "+fingerprint+" -P "+port+" -l "+at.user, 0o600)
	}
	w.write("token", "token-alice\n", 0o600)
	if got := w.run("", "puttygen", "key", "-O", "private", "-o", "key.ppk"); got.code != 0 {
		t.Fatalf("puttygen: %+v", got)
	}
}

// alike is what a program says, but for where it put things, and that PuTTY's
// tell whom they take the user for and how they ask.
func alike(said string) string {
	said = strings.NewReplacer("direct", "X", "web-1", "X").Replace(said)
	var kept strings.Builder
	for line := range strings.Lines(said) {
		if !strings.Contains(line, "eyboard-interactive ") && !strings.HasPrefix(line, "Using username ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// same runs a script directly and through the gateway, and compares all that
// can be seen of it, which it returns.
func (w *world) same(t *testing.T, script string) ran {
	t.Helper()
	direct, through := w.sh("direct", script), w.sh("web-1", script)
	for _, r := range []*ran{&direct, &through} {
		r.out, r.err = alike(r.out), alike(r.err)
	}
	if direct.out == "" && direct.code == 0 {
		t.Fatalf("the script does nothing: %q", direct.err)
	}
	if direct != through {
		t.Errorf("directly:\n%+v\nthrough the gateway:\n%+v", direct, through)
	}
	return through
}

// pscp copies a folder there and back. The times of folders aren't kept.
func pscp(option string) string {
	return `sample s; mkdir pc-$VIA pcb-$VIA; pscp ` + option + ` -q -p -r $(cat putty.$VIA) s 127.0.0.1:$PWD/pc-$VIA; pscp ` + option +
		` -q -p -r $(cat putty.$VIA) 127.0.0.1:$PWD/pc-$VIA pcb-$VIA; for d in pc-$VIA pcb-$VIA; do tree $d | sed 's/ d \([0-7]*\) [0-9.]* / d \1 /'; done; rm -r pc-$VIA pcb-$VIA`
}

// PuTTY's plink, psftp and pscp with either protocol do the same directly and
// through the gateway.
func TestPuTTY(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow"})
	w.putty(t)
	for name, script := range map[string]string{
		"plink":       `plink $(cat putty.$VIA) 127.0.0.1 'echo out; echo err >&2; exit 5'`,
		"plink input": `printf 'b\na\n' | plink $(cat putty.$VIA) 127.0.0.1 sort`,
		"plink, nc":   `plink $(cat putty.$VIA) 127.0.0.1 -nc 127.0.0.1:1 </dev/null 2>/dev/null; test $? != 0 && echo refused`,
		"psftp":       tree + sample + `sample s; printf 'put -r s %s/ps-'$VIA'\nget -r %s/ps-'$VIA' psb-'$VIA'\nmkdir %s/pd-'$VIA'\nmv %s/ps-'$VIA'/a/none %s/pd-'$VIA'/moved\nchmod 600 %s/pd-'$VIA'/moved\nrm %s/ps-'$VIA'/a/large\n' $PWD $PWD $PWD $PWD $PWD $PWD $PWD >batch; psftp $(cat putty.$VIA) -b batch 127.0.0.1 >/dev/null; echo $?; for d in ps-$VIA psb-$VIA pd-$VIA; do tree $d | sed 's/ [0-9]*[.][0-9]* / /'; done`,
		"pscp":        tree + sample + pscp(""),
		"pscp -scp":   tree + sample + pscp("-scp") + `; pscp -scp -q $(cat putty.$VIA) 127.0.0.1:/does/not/exist . ; echo $?`,
	} {
		t.Run(name, func(t *testing.T) { w.same(t, script) })
	}
}

// paramiko, with a script that does what people's scripts do.
func TestParamiko(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow"})
	host, port, _ := net.SplitHostPort(w.addr)
	shost, sport, _ := net.SplitHostPort(w.server.Addr)
	w.write("client.py", `
import os, socket, stat, sys, threading, paramiko
via = sys.argv[1]
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
if via == "direct":
    c.connect("`+shost+`", `+sport+`, username="`+w.server.User+`", key_filename="key", look_for_keys=False, allow_agent=False)
else:
    c.connect("`+host+`", `+port+`, username="alice@web-1", password=os.environ["TOKEN"], look_for_keys=False, allow_agent=False)
def run(command, stdin=None, pty=False):
    i, o, e = c.exec_command(command, get_pty=pty)
    if stdin is not None:
        i.write(stdin)
        i.channel.shutdown_write()
    return o.read().decode(), e.read().decode(), o.channel.recv_exit_status()
print(run("echo out; echo err >&2; exit 3"))
print(run("sort", "b\na\n"))
print(run("test -t 1 && echo tty", pty=True))
print(run("kill -9 $$")[2])
many = [c.exec_command("cat; echo %d" % n) for n in range(8)]
for i, o, e in many:
    i.channel.shutdown_write()
print([o.read() for i, o, e in many])
os.makedirs(via + "-d")
f = c.open_sftp()
f.chdir(os.getcwd() + "/" + via + "-d")
data = os.urandom(200000)
with f.open("p", "w") as w: w.write(data)
with f.open("p") as r: print(r.read() == data)
with f.open("p") as r:
    r.prefetch(); print(r.read() == data)
with f.open("p", "r+") as r:
    r.seek(100); r.write(b"changed"); r.truncate(150)
print(f.stat("p").st_size, f.open("p").read()[100:107])
f.put("client.py", "q"); print(f.stat("q").st_size == os.stat("client.py").st_size)
f.rename("q", "r"); f.remove("r"); print("p" in f.listdir("."), "r" in f.listdir("."))
f.posix_rename("p", "s"); f.symlink("s", "t"); print(f.readlink("t"), f.normalize("t").endswith("/s"))
f.chmod("s", 0o640); f.utime("s", (1, 2)); print(oct(f.stat("s").st_mode), f.stat("s").st_mtime, stat.S_ISLNK(f.lstat("t").st_mode))
for wrong in ("f.open('none')", "f.mkdir('s')", "f.rmdir('none')", "f.listdir('/nowhere')", "f.rename('s', 't')"):
    try:
        eval(wrong); print("done")
    except IOError as err:
        print(wrong, err.errno, type(err).__name__)
s = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: s.accept()[0].sendall(b"through the port\n")).start()
t = c.get_transport().open_channel("direct-tcpip", s.getsockname(), ("127.0.0.1", 1))
print(t.recv(100))
c.close()
`, 0o600)
	w.same(t, "/usr/bin/python3 client.py $VIA")
}

// What isn't allowed is refused to every client in its own protocol's words,
// with its own bad status, and leaves nothing behind.
func TestRefusedClients(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.putty(t)
	for _, dir := range []string{"open", "closed", "repo.git"} {
		if err := os.Mkdir(w.dir+"/"+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.write("closed/secret", "secret\n", 0o600)
	w.write("up", "up\n", 0o600)
	w.write("param.py", `
import os, sys, paramiko
t = paramiko.Transport(("127.0.0.1", `+w.addr[strings.LastIndexByte(w.addr, ':')+1:]+`))
t.connect(username="alice@web-1", password=os.environ["TOKEN"])
f = paramiko.SFTPClient.from_transport(t)
try:
    eval(sys.argv[1])
except IOError as err:
    print(err); sys.exit(1)
`, 0o600)
	w.SetObjects("{kind: Resource, name: web-1, type: ssh, address: '" + w.server.Addr + "', credentials: {username: " + w.server.User +
		", private_key: {env: X}}, options: {forward: allow, shell: record, host_key: '" + w.server.HostKey + "'}}" + `
---
{kind: Access, name: files, to: ['user:alice'], on: {names: [web-1]}, allow: [{verbs: [list, read, write], objects: ['path:` + w.dir + `/open', 'path:` + w.dir + `/open/**']}]}
`)
	for name, c := range map[string]struct {
		script string
		code   int // 0: any but 0
	}{
		"a command":       {`ssh -F $CONFIG $VIA 'touch $PWD/closed/made'`, 126},
		"a shell":         {`ssh -F $CONFIG $VIA </dev/null`, 126},
		"scp down":        {`scp -F $CONFIG $VIA:$PWD/closed/secret got`, 1},
		"scp up":          {`scp -F $CONFIG up $VIA:$PWD/closed/made`, 1},
		"scp -r":          {`scp -r -F $CONFIG $VIA:$PWD/closed got`, 1},
		"scp -O down":     {`scp -O -F $CONFIG $VIA:$PWD/closed/secret got`, 1},
		"scp -O up":       {`scp -O -F $CONFIG up $VIA:$PWD/closed/made`, 1},
		"scp -O -r down":  {`scp -O -r -F $CONFIG $VIA:$PWD/closed got`, 1},
		"scp -O -r up":    {`mkdir -p made; scp -O -r -F $CONFIG made $VIA:$PWD/closed/made`, 1},
		"sftp":            {`echo "put up $PWD/closed/made" | sftp -F $CONFIG $VIA; echo "get $PWD/closed/secret got" | sftp -F $CONFIG $VIA; test -e got`, 1},
		"rsync up":        {`rsync -a -e "ssh -F $CONFIG" up $VIA:$PWD/closed/made`, 0},
		"rsync down":      {`rsync -a -e "ssh -F $CONFIG" $VIA:$PWD/closed/secret got`, 0},
		"git clone":       {`GIT_SSH_COMMAND="ssh -F $CONFIG" git clone ssh://$VIA$PWD/repo.git got`, 128},
		"an editor":       {`echo "touch $PWD/closed/made" | ssh -F $CONFIG -T $VIA bash`, 126},
		"a port":          {`ssh -F $CONFIG -W 127.0.0.1:22 $VIA </dev/null`, 255},
		"plink":           {`plink $(cat putty.$VIA) 127.0.0.1 "touch $PWD/closed/made"`, 126},
		"pscp":            {`pscp $(cat putty.$VIA) up 127.0.0.1:$PWD/closed/made`, 1},
		"pscp -scp":       {`pscp -scp $(cat putty.$VIA) 127.0.0.1:$PWD/closed/secret got`, 1},
		"psftp":           {`echo "get $PWD/closed/secret got" >batch; psftp $(cat putty.$VIA) -b batch 127.0.0.1`, 2},
		"paramiko's get":  {`/usr/bin/python3 param.py "f.get('$PWD/closed/secret', 'got.tmp')" 2>&1`, 1},
		"paramiko's put":  {`/usr/bin/python3 param.py "f.put('up', '$PWD/closed/made')" 2>&1`, 1},
		"a new subsystem": {`ssh -F $CONFIG -s $VIA other </dev/null`, 126},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.sh("web-1", c.script)
			if got.code == 0 || c.code != 0 && got.code != c.code {
				t.Errorf("status %d, want %d", got.code, c.code)
			}
			if !strings.Contains(got.out+got.err, `postern: denied by rule "files": `) {
				t.Errorf("nobody is told why: %+v", got)
			}
			for _, trace := range []string{"got", "closed/made"} {
				if _, err := os.Lstat(w.dir + "/" + trace); err == nil {
					t.Errorf("%s is there", trace)
					_ = os.RemoveAll(w.dir + "/" + trace)
				}
			}
		})
	}
}
