package ssh

import (
	"bytes"
	"errors"
	"path"
	"strings"

	"postern"
)

// operation is what a request does to the server's files.
type operation struct {
	name   string // the protocol's own word
	verbs  []string
	access postern.Access
	paths  []target
}

// target is a path that an operation touches.
type target struct {
	given string
	// follows says that a link at its end is followed: what it points to is touched.
	follows bool
	writes  bool
}

// request handles one request of the client's.
func (f *files) request(p filePacket) error {
	id, ok := p.id()
	if !ok {
		return errMalformed
	}
	switch p.kind {
	case fxClose, fxRead, fxWrite, fxFstat, fxFsetstat, fxReaddir:
		return f.onHandle(id, p)
	case fxRealpath:
		return f.onRealpath(id, p)
	case fxExtended:
		return f.onExtended(id, p)
	}
	op, ok, err := operationOf(p)
	if err != nil {
		return err
	}
	if !ok {
		return f.toClient(statusPacket(id, fxUnsupported, "postern: that operation doesn't pass"))
	}
	return f.onPaths(id, p, op)
}

// operationOf reads what a request that names paths does.
func operationOf(p filePacket) (operation, bool, error) {
	in := p.fields()
	var op operation
	switch p.kind {
	case fxOpen:
		name, flags := in.path(), in.uint32()
		op = openOperation(name, flags)
	case fxOpendir:
		op = operation{"opendir", []string{verbList}, postern.Read, []target{{given: in.path(), follows: true}}}
	case fxStat:
		op = operation{"stat", []string{verbList}, postern.Read, []target{{given: in.path(), follows: true}}}
	case fxLstat:
		op = operation{"lstat", []string{verbList}, postern.Read, []target{{given: in.path()}}}
	case fxReadlink:
		op = operation{"readlink", []string{verbList}, postern.Read, []target{{given: in.path()}}}
	case fxSetstat:
		op = operation{"setstat", []string{verbWrite}, postern.Write, []target{{given: in.path(), follows: true, writes: true}}}
	case fxMkdir:
		op = operation{"mkdir", []string{verbWrite}, postern.Write, []target{{given: in.path(), writes: true}}}
	case fxRemove:
		op = operation{"remove", []string{verbRemove}, postern.Write, []target{{given: in.path(), writes: true}}}
	case fxRmdir:
		op = operation{"rmdir", []string{verbRemove}, postern.Write, []target{{given: in.path(), writes: true}}}
	case fxRename:
		op = renameOperation("rename", in.path(), in.path())
	case fxSymlink:
		// OpenSSH sends what it points to first, whatever the draft says.
		to, link := in.path(), in.path()
		op = linkOperation("symlink", to, link)
	default:
		return op, false, nil
	}
	if in.bad {
		return op, false, errMalformed
	}
	return op, true, nil
}

func openOperation(name string, flags uint32) operation {
	op := operation{name: "open", access: postern.Read, paths: []target{{given: name, follows: true}}}
	if flags&(fxfWrite|fxfAppend|fxfCreate|fxfTrunc) != 0 {
		op.verbs, op.access = []string{verbWrite}, postern.Write
		op.paths[0].writes = true
	}
	if flags&fxfRead != 0 || len(op.verbs) == 0 {
		op.verbs = append(op.verbs, verbRead)
	}
	return op
}

func renameOperation(name, from, to string) operation {
	return operation{name, []string{verbRename}, postern.Write, []target{{given: from, writes: true}, {given: to, writes: true}}}
}

// linkOperation makes a link: what it points to can be reached through it, so
// that it counts as written, too.
func linkOperation(name, to, link string) operation {
	if !path.IsAbs(to) && name == "symlink" {
		to = path.Dir(link) + "/" + to
	}
	return operation{name, []string{verbWrite}, postern.Write, []target{{given: link, writes: true}, {given: to, follows: true, writes: true}}}
}

// onPaths decides over a request that names paths, and forwards it with the
// paths that were decided over.
func (f *files) onPaths(id uint32, p filePacket, op operation) error {
	leave, ok := f.enter(op)
	if !ok {
		return f.toClient(statusPacket(id, fxFailure, busyPaths))
	}
	q := &question{id: id, kind: p.kind, done: func() { leave() }}
	forwarded, err := f.onDecided(id, p, op, q, &leave)
	if !forwarded || err != nil {
		leave()
	}
	return err
}

const busyPaths = "postern: other operations on this server's files don't end; try again"

// enter keeps paths as they are until it is left, or changes them alone.
func (f *files) enter(op operation) (leave func(), ok bool) {
	return f.c.l.p.paths.of(strings.Join(f.c.l.s.Resource().Addresses, ",")).enter(f.c.ctx, op.changesPaths())
}

// changesPaths says whether paths may name other files afterwards.
func (op operation) changesPaths() bool {
	switch op.name {
	case "rename", "posix-rename", "symlink", "hardlink", "remove", "rmdir":
		return true
	}
	return false
}

// onDecided has a request decided over and forwards it: q then leaves the paths
// when it is answered. leave is another one when people had to decide.
func (f *files) onDecided(id uint32, p filePacket, op operation, q *question, leave *func()) (forwarded bool, err error) {
	cmd, failed, err := f.resolved(op)
	if err != nil {
		return false, err
	}
	waited := false
	d, err := f.c.decideTelling(func(words string) {
		waited = true
		(*leave)() // people take their time
		f.c.say(words)
	}, cmd)
	var said *refusal
	switch {
	case errors.As(err, &said):
		f.c.say(said.words)
		return false, f.toClient(statusPacket(id, fxPermissionDenied, said.words))
	case err != nil:
		return false, err
	case failed != nil:
		// The server can't say what it is, and so couldn't do it either.
		failed.setID(id)
		return false, f.toClient(*failed)
	}
	if waited {
		again, ok := f.enter(op)
		if !ok {
			return false, f.toClient(statusPacket(id, fxFailure, busyPaths))
		}
		*leave = again
		now, _, err := f.resolved(op)
		if err != nil {
			return false, err
		}
		if now.Text != cmd.Text {
			return false, f.refuse(id, &refusal{words: "postern: what the path means has changed since it was approved; try again", status: statusDenied})
		}
	}
	if p.kind == fxOpen || p.kind == fxOpendir {
		if handled, err := f.opening(id, p, op, q, d, cmd); handled || err != nil {
			return false, err
		}
	}
	return true, f.toServer(p.withPaths(op, cmd), q)
}

// opening readies what is known of a file that is about to be opened. handled is
// true when it was answered here.
func (f *files) opening(id uint32, p filePacket, op operation, q *question, d postern.Decision, cmd postern.Command) (handled bool, err error) {
	f.mu.Lock()
	tooMany := len(f.open) >= maxHandles
	f.mu.Unlock()
	if tooMany {
		return true, f.toClient(statusPacket(id, fxFailure, "postern: too many files are open"))
	}
	q.file = &file{
		path: cmd.Objects[0].Name, n: d.N, may: f.c.l.stand(d, nil, cmd),
		folder: p.kind == fxOpendir, reads: has(op.verbs, verbRead), writes: op.paths[0].writes,
	}
	if !q.file.folder {
		if err := q.file.may.opens(); err != nil {
			return true, f.refuse(id, err)
		}
	}
	if !q.file.reads {
		return false, nil
	}
	return f.openMasked(id, p.withPaths(op, cmd), q.file, d, cmd)
}

// withPaths is the request with the paths that were decided over: what a link
// has been made of in the meantime doesn't count. What a link says is as the
// client wants it.
func (p filePacket) withPaths(op operation, cmd postern.Command) filePacket {
	body := bytes.Clone(p.body[:4])
	in := p.fields()
	if p.kind == fxExtended {
		body = appendText(body, in.text())
	}
	link := op.name == "symlink" || op.name == "hardlink"
	for i := range op.paths {
		name, at := in.text(), i
		if link {
			at = 1 - i // it is the first to be decided over, and the second to be sent
		}
		if op.name != "symlink" || i == 1 {
			name = cmd.Objects[at].Name
		}
		body = appendText(body, name)
	}
	return filePacket{kind: p.kind, body: append(body, in.rest...)}
}

func has(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// resolved is an operation as a command, with its paths as the server takes
// them. When the server can't say what one is, failed is its answer.
func (f *files) resolved(op operation) (cmd postern.Command, failed *filePacket, err error) {
	cmd = command(op.verbs[0], op.access, "")
	cmd.Verbs = op.verbs
	cmd.Attrs = []postern.Attr{postern.BoolAttr(attrResolved, true)} // what isn't is not forwarded
	text := strings.Join(op.verbs, "+")
	for _, t := range op.paths {
		resolved, status, err := f.resolve(t)
		if err != nil {
			return cmd, nil, err
		}
		if status != nil {
			failed = status
		}
		cmd.Objects = append(cmd.Objects, postern.Object{Kind: "path", Name: resolved, Write: t.writes})
		if given := path.Clean(f.absolute(t.given)); given != resolved {
			text += " " + shown(given) + " which is"
		}
		text += " " + shown(resolved)
	}
	cmd.Text = text
	return f.st.dress([]postern.Command{cmd}, op.name)[0], failed, nil
}

// resolve is what the server takes a path for: links on the way are followed,
// one at its end only by operations that do. When the server can't say, status
// is its answer, and the path is as the client gave it.
func (f *files) resolve(t target) (found string, status *filePacket, err error) {
	given := f.absolute(t.given)
	if t.follows {
		found, status, err = f.realpath(given)
	} else {
		base := path.Base(given)
		if base == ".." || base == "." || strings.HasSuffix(given, "/") {
			// No name of its own: the server follows these.
			found, status, err = f.realpath(given)
		} else if found, status, err = f.realpath(path.Dir(given)); err == nil && status == nil {
			found = path.Join(found, base)
		}
	}
	if err != nil {
		return "", nil, err
	}
	if status != nil {
		return path.Clean(given), status, nil
	}
	if !path.IsAbs(found) || path.Clean(found) != found {
		return "", nil, errMalformed
	}
	return found, nil, nil
}

// onRealpath answers what a path really is. It tells of links, so that it is
// decided over like a look at the path; where it begins, everybody may know.
func (f *files) onRealpath(id uint32, p filePacket) error {
	in := p.fields()
	given := in.path()
	if in.bad {
		return errMalformed
	}
	if path.Clean(f.absolute(given)) == path.Clean(f.home) {
		return f.toServer(p, &question{id: id, kind: p.kind})
	}
	return f.onPaths(id, p, operation{"realpath", []string{verbList}, postern.Read, []target{{given: given, follows: true}}})
}

// onHandle handles what is done to an open file. That was decided over when it
// was opened.
func (f *files) onHandle(id uint32, p filePacket) error {
	in := p.fields()
	handle := in.text()
	if in.bad {
		return errMalformed
	}
	f.mu.Lock()
	o := f.open[handle]
	if p.kind == fxClose {
		delete(f.open, handle)
	}
	f.mu.Unlock()
	if o == nil {
		return f.toClient(statusPacket(id, fxFailure, "postern: no such handle"))
	}
	q := &question{id: id, kind: p.kind, file: o}
	if p.kind != fxClose {
		if err := o.may.holds(); err != nil {
			return f.refuse(id, err)
		}
	}
	if o.contents != nil {
		return f.onContents(id, p, o, in)
	}
	switch p.kind {
	case fxRead:
		q.offset = in.uint64()
		if in.uint32(); in.bad {
			return errMalformed
		}
		if limit := f.c.l.set.maxFile; limit > 0 && q.offset >= uint64(limit) {
			return f.tooLarge(id)
		}
		if !o.reads {
			return f.toClient(statusPacket(id, fxPermissionDenied, "postern: it isn't open for reading"))
		}
	case fxWrite:
		offset, data := in.uint64(), in.bytes()
		if in.bad {
			return errMalformed
		}
		if limit := f.c.l.set.maxFile; limit > 0 && (offset > uint64(limit) || offset+uint64(len(data)) > uint64(limit)) {
			return f.tooLarge(id)
		}
		if !o.writes {
			return f.toClient(statusPacket(id, fxPermissionDenied, "postern: it isn't open for writing"))
		}
		if err := o.may.pass(len(data)); err != nil {
			return f.refuse(id, err)
		}
		o.mu.Lock()
		o.written.add(offset, data)
		o.mu.Unlock()
		f.count(len(data))
	case fxFsetstat:
		if !o.writes {
			return f.toClient(statusPacket(id, fxPermissionDenied, "postern: it isn't open for writing"))
		}
	case fxClose:
		if err := f.closed(o, ""); err != nil {
			return err
		}
	}
	return f.toServer(p, q)
}

func (f *files) tooLarge(id uint32) error {
	words := "postern: files of more than the resource's max_file don't pass"
	f.c.say(words)
	return f.toClient(statusPacket(id, fxFailure, words))
}

// onExtended handles OpenSSH's extensions.
func (f *files) onExtended(id uint32, p filePacket) error {
	in := p.fields()
	name := in.text()
	if in.bad {
		return errMalformed
	}
	var op operation
	switch name {
	case "posix-rename@openssh.com":
		op = renameOperation("posix-rename", in.path(), in.path())
	case "hardlink@openssh.com":
		to, link := in.path(), in.path()
		op = linkOperation("hardlink", to, link)
	case "lsetstat@openssh.com":
		op = operation{"lsetstat", []string{verbWrite}, postern.Write, []target{{given: in.path(), writes: true}}}
	case "statvfs@openssh.com":
		op = operation{"statvfs", []string{verbList}, postern.Read, []target{{given: in.path(), follows: true}}}
	case "fsync@openssh.com", "fstatvfs@openssh.com":
		f.mu.Lock()
		o := f.open[in.text()]
		f.mu.Unlock()
		if o == nil || o.contents != nil {
			return f.toClient(statusPacket(id, fxFailure, "postern: no such handle"))
		}
		return f.toServer(p, &question{id: id, kind: p.kind, file: o})
	case "limits@openssh.com":
		return f.toServer(p, &question{id: id, kind: p.kind})
	default:
		return f.toClient(statusPacket(id, fxUnsupported, "postern: that extension doesn't pass"))
	}
	if in.bad {
		return errMalformed
	}
	return f.onPaths(id, p, op)
}
