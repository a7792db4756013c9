package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/crypto/ssh"
)

// Bounds of a terminal page.
const (
	terminalMessage = 64 << 10
	terminalOutput  = 32 << 10 // bytes of one message to the page
	terminalDial    = 20 * time.Second
)

// TerminalAsk is what a page says besides what is typed, which comes as binary
// messages.
type TerminalAsk struct {
	Resize [2]int `json:"resize" doc:"Columns and rows."`
}

// TerminalTell is what a page is told besides what is printed, which comes as
// binary messages.
type TerminalTell struct {
	Banner string `json:"banner,omitempty"` // what is said before the shell begins
	Error  string `json:"error,omitempty"`  // why there is none
	Exit   *int   `json:"exit,omitempty"`   // the shell's exit status
}

// terminalRoutes are a terminal page's way to a resource: a client of the
// gateway's own SSH listener, as the SQL page is of PostgreSQL's.
func (a *api) terminalRoutes(h huma.API) {
	type input struct {
		Resource string `path:"resource" maxLength:"253"`
		Login    string `query:"login" maxLength:"64" doc:"The remote login. Absent: the resource's own."`
		Columns  int    `query:"columns" minimum:"2" maximum:"1000" default:"80"`
		Rows     int    `query:"rows" minimum:"2" maximum:"1000" default:"24"`
	}
	op := operation(http.MethodGet, "/terminal/{resource}", "terminal", "resources", "A shell for a page, over a WebSocket")
	op.Responses = map[string]*huma.Response{"101": {Description: "Binary messages are what is typed and printed; JSON messages: resize; banner, error and exit."}}
	handle(a, h, op, func(ctx context.Context, c caller, in *input) (*huma.StreamResponse, error) {
		token, err := a.mint(ctx, c, TokenRequest{Resource: in.Resource, TTL: pageTokenTime.String(), Uses: 1})
		if err != nil {
			return nil, err
		}
		if token.Protocol != "ssh" {
			return nil, &RefusedError{Reason: "this page speaks SSH, and " + in.Resource + " doesn't"}
		}
		user := token.User
		if in.Login != "" {
			user += "/" + in.Login
		}
		t := &terminal{api: a, source: c, user: user + "@" + in.Resource, token: token.Token, columns: in.Columns, rows: in.Rows}
		return &huma.StreamResponse{Body: func(hctx huma.Context) { a.socket(hctx, c, terminalMessage, t.run) }}, nil
	})
}

// terminal is one page with its shell.
type terminal struct {
	api           *api
	source        caller
	user, token   string
	columns, rows int
	page          *websocket.Conn
}

func (t *terminal) run(ctx context.Context, page *websocket.Conn, readers *sync.WaitGroup) error {
	t.page = page
	client, err := t.dial(ctx)
	if err != nil {
		return errors.Join(err, t.tell(ctx, TerminalTell{Error: "no session opens: you may have no access now, or the resource can't be reached"}))
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // whatever waits for it then fails
	defer stop()
	defer func() { _ = client.Close() }() // it may be closed already
	s, err := client.NewSession()
	if err != nil {
		return errors.Join(err, t.tell(ctx, TerminalTell{Error: err.Error()}))
	}
	return t.shell(ctx, readers, s)
}

// dial connects from within. There is nobody between: the listener's end of the
// pipe is in this process.
func (t *terminal) dial(ctx context.Context) (*ssh.Client, error) {
	conn, ok, err := t.api.Enter(ctx, "ssh", t.source.source)
	if err == nil && !ok {
		err = errors.New("nothing listens for ssh")
	}
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(terminalDial)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, "postern", &ssh.ClientConfig{
		User: t.user, Auth: []ssh.AuthMethod{ssh.Password(t.token)}, ClientVersion: "SSH-2.0-Postern-terminal-page",
		HostKeyCallback: func(string, net.Addr, ssh.PublicKey) error { return nil },
		BannerCallback:  func(message string) error { return t.tell(ctx, TerminalTell{Banner: message}) },
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return ssh.NewClient(c, chans, reqs), nil
}

// shell connects the page with a shell until one of them ends.
func (t *terminal) shell(ctx context.Context, readers *sync.WaitGroup, s *ssh.Session) error {
	in, err := s.StdinPipe()
	if err != nil {
		return err
	}
	out := &printer{ctx: ctx, page: t.page}
	s.Stdout, s.Stderr = out, out
	if err := s.RequestPty("xterm-256color", t.rows, t.columns, ssh.TerminalModes{}); err != nil {
		return errors.Join(err, t.tell(ctx, TerminalTell{Error: "the resource gives no terminal"}))
	}
	if err := s.Shell(); err != nil {
		return errors.Join(err, t.tell(ctx, TerminalTell{Error: "the resource gives no shell"}))
	}
	readers.Go(func() {
		t.typed(ctx, in, s)
		_ = s.Close() // the page has gone, and with it the shell
	})
	err = s.Wait()
	var status *ssh.ExitError
	code := 0
	if errors.As(err, &status) {
		code, err = status.ExitStatus(), nil
	}
	if err == nil {
		err = t.tell(ctx, TerminalTell{Exit: &code})
	}
	return err
}

// typed passes on what the page says, until it goes away.
func (t *terminal) typed(ctx context.Context, in io.WriteCloser, s *ssh.Session) {
	defer func() { _ = in.Close() }() // nothing more is typed
	for {
		kind, message, err := t.page.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageBinary {
			if _, err := in.Write(message); err != nil {
				return
			}
			continue
		}
		var ask TerminalAsk
		if json.Unmarshal(message, &ask) != nil || ask.Resize[0] < 2 || ask.Resize[1] < 2 || ask.Resize[0] > 1000 || ask.Resize[1] > 1000 {
			return
		}
		if err := s.WindowChange(ask.Resize[1], ask.Resize[0]); err != nil {
			return
		}
	}
}

func (t *terminal) tell(ctx context.Context, m TerminalTell) error {
	m.Banner, m.Error = strings.ToValidUTF8(m.Banner, "?"), strings.ToValidUTF8(m.Error, "?")
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sqlWrite)
	defer cancel()
	return t.page.Write(ctx, websocket.MessageText, body)
}

// printer writes what a shell prints to a page. A page that takes nothing holds
// the shell up, and after a while loses it.
type printer struct {
	ctx  context.Context //nolint:containedctx // io.Writer has no other place for it
	page *websocket.Conn
	mu   sync.Mutex
}

// Write implements [io.Writer].
func (p *printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for rest := b; len(rest) > 0; {
		piece := rest[:min(len(rest), terminalOutput)]
		ctx, cancel := context.WithTimeout(p.ctx, sqlWrite)
		err := p.page.Write(ctx, websocket.MessageBinary, piece)
		cancel()
		if err != nil {
			return len(b) - len(rest), err
		}
		rest = rest[len(piece):]
	}
	return len(b), nil
}
