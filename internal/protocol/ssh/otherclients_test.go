package ssh

import (
	"net"
	"os"
	"strings"
	"testing"
)

// paramiko, with a script that does what people's scripts do.
func TestParamiko(t *testing.T) {
	w := newWorld(t, worldOptions{options: "forward: allow", objects: aliceMay + "---\n{kind: Rule, name: guard, on: {names: [web-1]}, use: no-recursive-delete, then: deny}\n"})
	host, port, _ := net.SplitHostPort(w.addr)
	w.write("client.py", `
import os, sys, paramiko
c = paramiko.SSHClient()
c.set_missing_host_key_policy(paramiko.AutoAddPolicy())
c.connect("`+host+`", `+port+`, username="alice@web-1", password=os.environ["TOKEN"], look_for_keys=False, allow_agent=False)
def run(command, stdin=None):
    i, o, e = c.exec_command(command)
    if stdin is not None:
        i.write(stdin)
        i.channel.shutdown_write()
    return o.read().decode(), e.read().decode(), o.channel.recv_exit_status()
print(run("echo out; echo err >&2; exit 3"))
print(run("sort", "b\na\n"))
print(run("rm -rf /nowhere")[2])
f = c.open_sftp()
f.chdir(os.getcwd())
data = os.urandom(200000)
with f.open("p", "w") as w: w.write(data)
with f.open("p") as r: print(r.read() == data)
with f.open("p") as r:
    r.prefetch(); print(r.read() == data)
f.put("client.py", "q"); print(f.stat("q").st_size == os.stat("client.py").st_size)
f.rename("q", "r"); f.remove("r"); print("p" in f.listdir("."), "r" in f.listdir("."))
f.posix_rename("p", "s"); f.symlink("s", "t"); print(f.readlink("t"), f.normalize("t").endswith("/s"))
chan = c.invoke_shell() if len(sys.argv) > 1 else None
c.close()
`, 0o600)
	got := w.run("", "/usr/bin/python3", "client.py")
	want := "('out\\n', 'err\\n', 3)\n('a\\nb\\n', '', 0)\n126\nTrue\nTrue\nTrue\nTrue False\ns True\n"
	if got.out != want {
		t.Errorf("got %s%s, want %s", got.out, got.err, want)
	}
}

// PuTTY's plink and psftp.
func TestPuTTY(t *testing.T) {
	w := newWorld(t, worldOptions{objects: aliceMay + "---\n{kind: Rule, name: guard, on: {names: [web-1]}, use: no-recursive-delete, then: deny}\n"})
	host, port, _ := net.SplitHostPort(w.addr)
	w.write("token", "token-alice\n", 0o600)
	key := "$(ssh-keygen -lf hostkey.pub | cut -d' ' -f2)"
	hostKey, err := os.ReadFile(w.dir + "/known_hosts")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(strings.SplitN(string(hostKey), "\n", 2)[0], " ")
	w.write("hostkey.pub", line+"\n", 0o600)
	args := " -batch -pwfile token -hostkey " + key + " -P " + port + " -l alice@web-1 "
	if got := w.sh("web-1", "plink"+args+host+" 'echo hello; exit 5'"); got.out != "hello\n" || got.code != 5 {
		t.Errorf("plink: %+v", got)
	}
	if got := w.sh("web-1", "plink"+args+host+" 'rm -rf /nowhere'"); got.code != 126 || !strings.Contains(got.err, `"guard"`) {
		t.Errorf("plink, denied: %+v", got)
	}
	script := "head -c 100000 /dev/urandom >up; printf 'cd %s\nput up f\nget f back\nrm f\n' $PWD >batch; psftp" + args + "-b batch " + host + " >/dev/null && cmp up back && echo same"
	if got := w.sh("web-1", script); got.out != "same\n" {
		t.Errorf("psftp: %+v", got)
	}
}
