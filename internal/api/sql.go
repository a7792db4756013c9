package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"postern"
)

// Bounds of a SQL page.
const (
	sqlMessage = 1 << 20          // bytes of a message from the page
	sqlRows    = 1000             // of one result; the page says that there were more
	sqlResult  = 4 << 20          // bytes of values of one result
	sqlWrite   = 20 * time.Second // for a page to take a message
	sqlQueue   = 16               // texts that wait for their turn
)

// SQLAsk is what a page says: run a text, or stop what runs.
type SQLAsk struct {
	Run    string `json:"run,omitempty"`
	Cancel bool   `json:"cancel,omitempty"`
}

// SQLTell is what a page is told. Each message has one of these.
type SQLTell struct {
	Open   *SQLOpen   `json:"open,omitempty"`   // the session is open
	Result *SQLResult `json:"result,omitempty"` // of one statement
	Notice *SQLNotice `json:"notice,omitempty"`
	Error  *SQLNotice `json:"error,omitempty"`
	Done   *SQLDone   `json:"done,omitempty"` // a text has run
}

// SQLOpen names what is open.
type SQLOpen struct {
	Resource string `json:"resource"`
	User     string `json:"user"`
	Version  string `json:"version"`
}

// SQLResult is the result of one statement. A value is nil for NULL.
type SQLResult struct {
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
	Tag     string      `json:"tag"`
	More    bool        `json:"more"`   // there were more rows than are here
	Masked  [][2]int    `json:"masked"` // row and column of values that were masked
}

// SQLNotice is a message of the server's or the gateway's.
type SQLNotice struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
	Position int32  `json:"position,omitempty"`
}

// SQLDone ends the answer to a text.
type SQLDone struct {
	Took   int64  `json:"took" doc:"Milliseconds."`
	Status string `json:"status" doc:"I: idle; T: in a transaction; E: in one that has failed."`
}

// sqlRoutes are a SQL page's way to a resource: the listener that every client
// uses, entered with a session token of its own, so that the page has no right,
// and leaves no trace, that psql doesn't.
func (a *api) sqlRoutes(h huma.API) {
	type input struct {
		Resource string `path:"resource" maxLength:"253"`
		Database string `query:"database" maxLength:"63" doc:"Another database of that server."`
	}
	op := operation(http.MethodGet, "/sql/{resource}", "sql", "resources", "Run SQL from a page, over a WebSocket")
	op.Responses = map[string]*huma.Response{"101": {Description: "JSON messages: run and cancel; open, result, notice, error and done."}}
	handle(a, h, op, func(ctx context.Context, c caller, in *input) (*huma.StreamResponse, error) {
		token, err := a.mint(ctx, c, TokenRequest{Resource: in.Resource, TTL: pageTokenTime.String(), Uses: 1})
		if err != nil {
			return nil, err
		}
		if token.Protocol != "postgres" {
			return nil, &RefusedError{Reason: "this page speaks PostgreSQL, and " + in.Resource + " doesn't"}
		}
		if in.Database != "" {
			token.Database += "/" + in.Database
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) { a.sqlPage(hctx, c, token) }}, nil
	})
}

// sqlPage serves one page until it goes away, or may no longer stay.
func (a *api) sqlPage(hctx huma.Context, c caller, token SessionToken) {
	a.socket(hctx, c, sqlMessage, func(ctx context.Context, page *websocket.Conn, readers *sync.WaitGroup) error {
		s := &sqlSession{page: page, source: c, api: a}
		return s.run(ctx, readers, token)
	})
}

// sqlSession is one page with its connection.
type sqlSession struct {
	api    *api
	page   *websocket.Conn
	source caller
	db     *pgconn.PgConn
}

func (s *sqlSession) run(ctx context.Context, readers *sync.WaitGroup, token SessionToken) error {
	config, err := pgconn.ParseConfig("")
	if err != nil {
		return err
	}
	config.Host, config.Port, config.Fallbacks = "postern", 1, nil // the dial below knows the way
	config.Database, config.User, config.Password = token.Database, token.User, token.Token
	config.TLSConfig, config.SSLNegotiation = nil, "" // the connection is encrypted already
	config.RuntimeParams = map[string]string{"application_name": "Postern SQL page", "_pq_.postern_masked": "on"}
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"postern"}, nil }
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, ok, err := s.api.Enter(ctx, token.Protocol, s.source.source)
		if err == nil && !ok {
			err = errors.New("nothing listens for " + token.Protocol)
		}
		return conn, err
	}
	var masked [][2]int
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if cells, ok := maskedCells(n); ok {
			masked = append(masked, cells...)
			return
		}
		if err := s.tell(ctx, SQLTell{Notice: shownNotice((*pgconn.PgError)(n))}); err != nil {
			s.api.Log.Debug("notice not delivered", "error", err)
		}
	}
	if s.db, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return errors.Join(err, s.tell(ctx, SQLTell{Error: sqlProblem(err)}))
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.db.Close(end) // the gateway ends the session either way
	}()
	if err := s.tell(ctx, SQLTell{Open: &SQLOpen{Resource: token.Database, User: token.User, Version: s.db.ParameterStatus("server_version")}}); err != nil {
		return err
	}
	texts := make(chan string, sqlQueue)
	open, over := context.WithCancel(ctx)
	defer over()
	readers.Go(func() {
		defer close(texts)
		defer over()
		s.read(ctx, open, texts)
	})
	for {
		text, ok, err := s.next(open, texts)
		if err != nil || !ok {
			return err
		}
		masked = masked[:0]
		if err := s.text(open, text, &masked); err != nil {
			return err
		}
	}
}

// next is the next text to run; ok is false once the page has gone. A session
// that ends meanwhile is told at once.
func (s *sqlSession) next(ctx context.Context, texts <-chan string) (text string, ok bool, err error) {
	idle, stop := context.WithCancel(ctx)
	var why error // once ended is closed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for why == nil { // a notification is no end
			why = s.db.WaitForNotification(idle)
		}
	}()
	select {
	case text, ok = <-texts:
	case <-ended:
	}
	stop()
	<-ended
	select {
	case <-ctx.Done(): // the page has gone
		return "", false, nil
	default:
	}
	if !s.db.IsClosed() {
		return text, ok, nil
	}
	return "", false, errors.Join(why, s.tell(ctx, SQLTell{Error: sqlProblem(why)}))
}

// read takes what the page says until it goes away. A cancel overtakes what
// waits for its turn. Nothing is taken once the session is no longer open.
func (s *sqlSession) read(ctx, open context.Context, texts chan<- string) {
	for {
		_, message, err := s.page.Read(ctx)
		if err != nil {
			return
		}
		var ask SQLAsk
		if json.Unmarshal(message, &ask) != nil {
			return
		}
		if ask.Cancel {
			stop, done := context.WithTimeout(open, sqlWrite)
			if err := s.db.CancelRequest(stop); err != nil {
				s.api.Log.Debug("cancel not delivered", "error", err)
			}
			done()
			continue
		}
		select {
		case texts <- ask.Run:
		case <-open.Done():
		}
	}
}

// text runs one text and tells what came of it. An error ends the page.
func (s *sqlSession) text(ctx context.Context, text string, masked *[][2]int) error {
	began := time.Now()
	results := s.db.Exec(ctx, text)
	for results.NextResult() {
		result := readResult(results.ResultReader())
		tag, err := results.ResultReader().Close()
		result.Tag, result.Masked = tag.String(), append([][2]int{}, *masked...)
		*masked = (*masked)[:0]
		if err != nil {
			continue // results.Close says it again
		}
		if err := s.tell(ctx, SQLTell{Result: &result}); err != nil {
			return errors.Join(err, results.Close())
		}
	}
	if err := results.Close(); err != nil {
		if err := s.tell(ctx, SQLTell{Error: sqlProblem(err)}); err != nil {
			return err
		}
	}
	if s.db.IsClosed() {
		return errors.New("the session was ended")
	}
	return s.tell(ctx, SQLTell{Done: &SQLDone{Took: time.Since(began).Milliseconds(), Status: string(s.db.TxStatus())}})
}

// readResult keeps the first rows of a result.
func readResult(r *pgconn.ResultReader) SQLResult {
	out := SQLResult{Columns: []string{}, Rows: [][]*string{}}
	for _, f := range r.FieldDescriptions() {
		out.Columns = append(out.Columns, f.Name)
	}
	room := sqlResult
	for r.NextRow() {
		if len(out.Rows) == sqlRows || room <= 0 {
			out.More = true
			continue
		}
		row := make([]*string, len(r.Values()))
		for i, value := range r.Values() {
			if value == nil {
				continue
			}
			text := strings.ToValidUTF8(string(value), "\uFFFD")
			row[i] = &text
			room -= len(text)
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func (s *sqlSession) tell(ctx context.Context, t SQLTell) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sqlWrite)
	defer cancel()
	return s.page.Write(ctx, websocket.MessageText, body)
}

// sqlProblem words an error for the page. What isn't the server's or the gateway's
// own word stays inside.
func sqlProblem(err error) *SQLNotice {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return shownNotice(pg)
	}
	return &SQLNotice{Severity: "FATAL", Message: "the connection was lost"}
}

func shownNotice(e *pgconn.PgError) *SQLNotice {
	return &SQLNotice{Severity: e.Severity, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Position: e.Position}
}

// maskedCells reads the notice in which the gateway says which values it masked,
// to those who asked with _pq_.postern_masked.
func maskedCells(n *pgconn.Notice) (cells [][2]int, ok bool) {
	if n.Code != postern.MaskedNotice {
		return nil, false
	}
	return cells, json.Unmarshal([]byte(n.Detail), &cells) == nil
}
