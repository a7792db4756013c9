package lines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// local runs commands on this machine, as sshd would.
type local struct {
	t    *testing.T
	home string
	sh   string // the login shell
}

// process is one of them.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	pty    *os.File
	waited chan struct{}
	err    error
	once   sync.Once
}

func (l *local) open(_ context.Context, command string, t *Terminal) (Process, error) {
	p := &process{waited: make(chan struct{})}
	p.cmd = exec.Command(l.sh, "-c", command)
	p.cmd.Dir = l.home
	p.cmd.Env = []string{"HOME=" + l.home, "USER=deploy", "LOGNAME=deploy", "SHELL=" + l.sh, "PATH=/usr/bin:/bin", "TMPDIR=" + l.home + "/../tmp"}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var after []io.Closer
	if t == nil {
		inR, inW, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		outR, outW, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		p.cmd.Stdin, p.cmd.Stdout = inR, outW
		p.in, p.out = inW, outR
		after = append(after, inR, outW)
	} else {
		master, tty, err := openPTY()
		if err != nil {
			return nil, err
		}
		p.pty, p.in, p.out = master, master, master
		p.cmd.Env = append(p.cmd.Env, "TERM="+t.Name)
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
		p.cmd.SysProcAttr.Setctty = true
		after = append(after, tty)
		if err := p.Resize(t.Size); err != nil {
			return nil, err
		}
	}
	err := p.cmd.Start()
	for _, c := range after {
		_ = c.Close()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.waited)
	}()
	l.t.Cleanup(func() {
		_ = p.Close()
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.waited
	})
	return p, nil
}

func openPTY() (master, tty *os.File, err error) {
	// Closing it must end a read, so it doesn't block.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	return master, tty, err
}

func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if err != nil && (errors.Is(err, syscall.EIO) || errors.Is(err, os.ErrClosed)) {
		err = io.EOF
	}
	return n, err
}

func (p *process) Write(b []byte) (int, error) { return p.in.Write(b) }

func (p *process) CloseWrite() error {
	if p.pty != nil {
		return nil
	}
	return p.in.Close()
}

func (p *process) Resize(s Size) error {
	raw, err := p.pty.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(s.Rows), Col: uint16(s.Columns)})
	})
	return errors.Join(err, failed)
}

func (p *process) Wait() (int, error) {
	<-p.waited
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		if exit.ExitCode() < 0 {
			return 255, nil
		}
		return exit.ExitCode(), nil
	}
	return 0, p.err
}

// Close hangs up, as sshd does.
func (p *process) Close() error {
	p.once.Do(func() {
		_ = p.in.Close()
		_ = p.out.Close()
		select {
		case <-p.waited:
		default:
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGHUP)
		}
	})
	return nil
}
