package main

import (
	"encoding/json"
	"errors"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"
)

// keyringService is the name that logins have in the system's keyring.
const keyringService = "postern"

// keyringTime bounds a keyring that asks its person to unlock it, or hangs.
const keyringTime = 20 * time.Second

// secrets keeps texts under names, where other programs of the person can't
// simply read them.
type secrets interface {
	get(name string) (string, error)
	set(name, value string) error
	remove(name string) error
}

// systemKeyring is macOS's Keychain, Windows' Credential Manager, or the Secret
// Service of a desktop.
type systemKeyring struct{}

func (systemKeyring) get(name string) (string, error) {
	return inTime(keyringTime, errKeyringSlow, func() (string, error) { return keyring.Get(keyringService, name) })
}

func (systemKeyring) set(name, value string) error {
	_, err := inTime(keyringTime, errKeyringSlow, func() (string, error) { return "", keyring.Set(keyringService, name, value) })
	return err
}

func (systemKeyring) remove(name string) error {
	_, err := inTime(keyringTime, errKeyringSlow, func() (string, error) { return "", keyring.Delete(keyringService, name) })
	return err
}

var errKeyringSlow = errors.New("the system's keyring doesn't answer; unlock it, or set POSTERN_KEYRING=off to keep logins in a file")

// inTime waits for a keyring or a TPM no longer than that. One that never
// answers is left behind: the program is about to end.
func inTime[T any](limit time.Duration, slow error, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := do()
		done <- answer{value, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-done:
		return a.value, a.err
	case <-timer.C:
		var none T
		return none, slow
	}
}

// keyring is where logins' secrets are kept; nil: in the file. A folder that
// POSTERN_CONFIG names is meant to hold everything, and where there is no
// desktop there is no keyring either.
func (a *app) keyring() secrets {
	if a.getenv("POSTERN_KEYRING") == "off" || a.getenv("POSTERN_CONFIG") != "" {
		return nil
	}
	if runtime.GOOS == "linux" && a.getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		return nil
	}
	return a.ring
}

// keptSecrets is what a keyring holds of one login.
type keptSecrets struct {
	Token   string `json:"token"`
	Refresh string `json:"refresh"`
}

// keep stores a login, its secrets in the keyring if there is one that takes
// them. Where it doesn't, the file holds them, for its owner alone.
func (a *app) keep(server string, login storedLogin) error {
	if ring := a.keyring(); ring != nil {
		text, err := json.Marshal(keptSecrets{Token: login.Token, Refresh: login.Refresh})
		if err == nil {
			err = ring.set(server, string(text))
		}
		if err == nil {
			login.Token, login.Refresh, login.Keyring = "", "", true
		}
	}
	return a.credentials().change(func(s *storedLogins) {
		s.Current = server
		s.Logins[server] = login
	})
}

// kept is a stored login with its secrets. One whose secrets are gone from the
// keyring has none.
func (a *app) kept(server string, login storedLogin) (storedLogin, error) {
	if !login.Keyring {
		return login, nil
	}
	ring := a.keyring()
	if ring == nil {
		return login, errors.New("the login is in the system's keyring, which can't be reached from here; sign in again, or unset POSTERN_KEYRING")
	}
	text, err := ring.get(server)
	if errors.Is(err, keyring.ErrNotFound) {
		return login, nil
	}
	if err != nil {
		return login, err
	}
	var s keptSecrets
	if json.Unmarshal([]byte(text), &s) != nil { // its words could quote a token
		return login, errors.New("the login in the system's keyring is damaged; sign in again")
	}
	login.Token, login.Refresh = s.Token, s.Refresh
	return login, nil
}

// forgetLogin removes a login and its secrets.
func (a *app) forgetLogin(server string) error {
	var err error
	if ring := a.keyring(); ring != nil {
		if err = ring.remove(server); errors.Is(err, keyring.ErrNotFound) {
			err = nil
		}
	}
	return errors.Join(err, a.credentials().change(func(s *storedLogins) {
		delete(s.Logins, server)
		if s.Current == server {
			s.Current = ""
		}
	}))
}
