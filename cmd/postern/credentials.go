package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// credentials is the file that logins are kept in, readable by its owner only.
type credentials struct{ path string }

// storedLogins are the logins, by server.
type storedLogins struct {
	Current string                 `json:"current"`
	Logins  map[string]storedLogin `json:"logins"`
	// Exchanged are the logins that JWTs were exchanged for, by the JWT's hash.
	Exchanged map[string]storedLogin `json:"exchanged,omitempty"`
}

// storedLogin is one login. Its secrets are in clear here, and in the file
// unless the system's keyring has them.
type storedLogin struct {
	User      string    `json:"user"`
	Token     string    `json:"token,omitempty"`
	ExpiresAt time.Time `json:"expires_at"` // of the token
	Refresh   string    `json:"refresh_token,omitempty"`
	LoginEnds time.Time `json:"login_expires_at,omitzero"`
	Keyring   bool      `json:"keyring,omitempty"`
	CAFile    string    `json:"ca_file,omitempty"`
	// TPMKey is the login's key as its TPM has wrapped it: no secret. "": it is in
	// no TPM.
	TPMKey string `json:"tpm_key,omitempty"`
}

// keyIn says where the login's key is; "": there is no login.
func (l storedLogin) keyIn() string {
	switch {
	case l.User == "":
		return ""
	case l.TPMKey != "":
		return keyInTPM
	default:
		return keyInFile
	}
}

// credentials finds the file: in POSTERN_CONFIG where that is a folder, else
// where the system keeps configuration. A gateway's postern.yaml may be what
// POSTERN_CONFIG names; it is no place for logins.
func (a *app) credentials() credentials {
	dir := a.getenv("POSTERN_CONFIG")
	if ext := filepath.Ext(dir); ext == ".yaml" || ext == ".yml" {
		dir = ""
	}
	if dir == "" {
		if base := a.getenv("XDG_CONFIG_HOME"); base != "" {
			dir = filepath.Join(base, "postern")
		} else if home := a.getenv("HOME"); home != "" {
			dir = filepath.Join(home, ".config", "postern")
		} else {
			return credentials{}
		}
	}
	return credentials{path: filepath.Join(dir, "credentials.json")}
}

// read returns what is stored; nothing when there is no file.
func (c credentials) read() (storedLogins, error) {
	stored := storedLogins{Logins: map[string]storedLogin{}}
	if c.path == "" {
		return stored, nil
	}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return stored, nil
	}
	if err != nil {
		return stored, fmt.Errorf("read logins: %w", err)
	}
	if err := json.Unmarshal(text, &stored); err != nil {
		// The decoder's own words may quote a token.
		return stored, fmt.Errorf("read logins: %s is damaged; remove it and sign in again", c.path)
	}
	if stored.Logins == nil {
		stored.Logins = map[string]storedLogin{}
	}
	return stored, nil
}

// write replaces the file as a whole.
func (c credentials) write(stored storedLogins) error {
	if c.path == "" {
		return errors.New("keep the login: neither HOME nor XDG_CONFIG_HOME is set")
	}
	text, err := json.MarshalIndent(stored, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), ".credentials-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("keep the login: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// change reads, changes and writes.
func (c credentials) change(change func(*storedLogins)) error {
	stored, err := c.read()
	if err != nil && !strings.Contains(err.Error(), "damaged") {
		return err
	}
	change(&stored)
	return c.write(stored)
}
