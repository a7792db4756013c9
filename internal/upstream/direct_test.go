package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestDial(t *testing.T) {
	l := listen(t)
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(conn, "hello")
			err = errors.Join(err, conn.Close())
		}
		served <- err
	}()
	conn, err := Direct{}.Dial(t.Context(), postern.Resource{Name: "db"}, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := errors.Join(conn.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// A resource behind a relay is never dialled from here, even where it could be.
func TestDialVia(t *testing.T) {
	l := listen(t)
	conn, err := Direct{}.Dial(t.Context(), postern.Resource{Name: "db", Via: "dc1"}, l.Addr().String())
	if conn != nil || err == nil || !strings.Contains(err.Error(), `no relay named "dc1" is connected`) {
		t.Errorf("%v, %v", conn, err)
	}
}

func TestDialFails(t *testing.T) {
	l := listen(t)
	address := l.Addr().String()
	_ = l.Close()
	if _, err := (Direct{}).Dial(t.Context(), postern.Resource{}, address); err == nil {
		t.Error("dialled a closed port")
	}
	if _, err := (Direct{}).Dial(t.Context(), postern.Resource{}, "db.example"); err == nil || !strings.Contains(err.Error(), "port") {
		t.Errorf("an address without a port: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Direct{}).Dial(over, postern.Resource{}, address); !errors.Is(err, context.Canceled) {
		t.Errorf("context over: %v", err)
	}
}

// A dial that takes longer than its limit ends with a timeout.
func TestDialTimeout(t *testing.T) {
	began := time.Now()
	_, err := Direct{Timeout: time.Nanosecond}.Dial(t.Context(), postern.Resource{}, listen(t).Addr().String())
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
