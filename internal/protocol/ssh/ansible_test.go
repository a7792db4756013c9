package ssh

import (
	"os"
	"strings"
	"testing"
)

// playbook does what playbooks do: it runs modules and commands, feeds one and
// fails one, copies, fills in a template, reads back, and changes nothing twice.
const playbook = `
- hosts: all
  gather_facts: false
  vars: {to: "{{ dir }}/{{ inventory_hostname }}", colour: blue}
  tasks:
    - ping:
    - command: {argv: [sh, -c, "cat; echo 'two  words' >&2; exit 3"], stdin: fed}
      register: ran
      failed_when: ran.rc != 3
    - debug: {msg: "{{ ran.stdout }}|{{ ran.stderr }}|{{ ran.rc }}"}
    - copy: {src: large, dest: "{{ to }}/la rge", mode: "0640"}
    - copy: {src: large, dest: "{{ to }}/la rge", mode: "0640"}
    - template: {src: note.j2, dest: "{{ to }}/note", mode: "0600"}
    - fetch: {src: "{{ to }}/note", dest: "{{ to }}-note", flat: true}
    - command: /does/not/exist
`

// rawbook needs nothing of the server but a shell.
const rawbook = `
- hosts: all
  gather_facts: false
  tasks:
    - raw: "echo before; exit 0"
    - raw: "rm -rf {{ dir }}/kept"
      ignore_errors: true
      register: gone
    - debug: {msg: "{{ gone.rc }} {{ gone.stdout }}{{ gone.stderr }}"}
    - raw: "echo after"
      register: after
    - debug: {var: after.stdout}
    - copy: {src: large, dest: "{{ dir }}/forbidden"}
`

// ansible writes a playbook and what it needs, and returns the script that runs it.
func (w *world) ansible(t *testing.T, name, book string) string {
	t.Helper()
	if _, err := os.Stat("/usr/bin/ansible-playbook"); err != nil {
		t.Fatalf("scripts/deps test installs it: %v", err)
	}
	w.write(name, book, 0o600)
	w.write("large", strings.Repeat("a line of a file\n", 60000), 0o600)
	w.write("note.j2", "It is {{ colour }}, ö.\n", 0o600)
	w.write("hosts", "direct\nweb-1\n", 0o600)
	return `cat >ansible.cfg <<END
[defaults]
inventory = hosts
remote_tmp = $PWD/tmp-$VIA
local_tmp = $PWD/local-$VIA
interpreter_python = /usr/bin/python3
retry_files_enabled = false
forks = 1
nocows = true
[ssh_connection]
pipelining = $PIPE
sftp_batch_mode = false
ssh_args = -F $CONFIG -o PreferredAuthentications=publickey,keyboard-interactive -o KbdInteractiveAuthentication=yes -o ControlMaster=auto -o ControlPersist=30s
control_path_dir = $PWD/cp
END
mkdir -p $VIA; export ANSIBLE_CONFIG=$PWD/ansible.cfg; { /usr/bin/ansible-playbook -l $VIA -e dir=$PWD ` + name + `; echo "ended with $?"; } | sed 's/^\([^ ]*\)  *: ok=/\1 : ok=/'; ` +
		`for s in cp/*; do ssh -F $CONFIG -S $s -O exit $VIA 2>/dev/null; done; `
}

// Ansible's playbooks come to the same directly and through the gateway, with
// modules that are copied there, and with modules that are fed to an interpreter.
func TestAnsible(t *testing.T) {
	w := newWorld(t, worldOptions{})
	run := w.ansible(t, "book.yml", playbook) + tree + `tree $VIA | sed 's/ [0-9]*[.][0-9]* / /'; cat $VIA-note; rm -rf $VIA $VIA-note`
	for _, pipelining := range []string{"false", "true"} {
		t.Run("pipelining "+pipelining, func(t *testing.T) {
			got := w.same(t, "PIPE="+pipelining+"; "+run)
			if !strings.Contains(got.out, "fed|two  words|3") || !strings.Contains(got.out, "It is blue, ö.") || !strings.Contains(got.out, "ended with 2") {
				t.Errorf("the playbook doesn't run: %+v", got)
			}
		})
	}
}

// What is denied fails its task with the gateway's words, and the playbook goes
// on. A module is a program that the gateway can't look into: refused, too.
func TestAnsibleIsRefused(t *testing.T) {
	w := newWorld(t, worldOptions{objects: aliceMay + `---
{kind: Rule, name: keep-it, on: {names: [web-1]}, use: no-recursive-delete, then: deny, message: Ask before you delete.}
`})
	run := "PIPE=false; mkdir -p kept; " + w.ansible(t, "raw.yml", rawbook) + "ls -d kept forbidden 2>/dev/null"
	got := w.sh("web-1", run)
	for _, want := range []string{"126 postern: ", `denied by rule \"keep-it\": Ask before you delete.`, "it runs code in a language that isn't analysed: python3", "after", "failed=1 ", "\nkept\n"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q isn't in what came of it: %+v", want, got)
		}
	}
	if strings.Contains(got.out, "\nforbidden") {
		t.Errorf("a forbidden file was written: %+v", got)
	}
	if ran := w.commands(); !strings.Contains(ran, "deny rm path:"+w.dir+"/kept\n") || !strings.Contains(ran, "deny unknown\n") || strings.Contains(ran, "allow unknown") {
		t.Errorf("recorded:\n%s", ran)
	}
}
