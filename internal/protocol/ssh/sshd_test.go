package ssh

import (
	"os"
	"sync"
	"testing"

	"postern/internal/sshserver"
)

var theServer struct {
	once sync.Once
	s    *sshserver.Server
	err  error
	stop func()
}

// server returns the sshd that all tests of the package share.
func server(t testing.TB) *sshserver.Server {
	t.Helper()
	theServer.once.Do(func() {
		dir, err := os.MkdirTemp("", "postern-sshd-")
		if err == nil {
			theServer.s, theServer.stop, err = sshserver.Start(sshserver.Options{Dir: dir})
		}
		theServer.err = err
	})
	if theServer.err != nil {
		t.Fatalf("no OpenSSH server to test against (scripts/deps test installs it): %v", theServer.err)
	}
	return theServer.s
}

func TestMain(m *testing.M) {
	code := m.Run()
	if theServer.stop != nil {
		theServer.stop()
		_ = os.RemoveAll(theServer.s.Dir)
	}
	os.Exit(code)
}
