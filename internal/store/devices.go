package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"postern"
)

const deviceColumns = "hash, user_code, state, client, source, identity, created_at, expires_at"

func scanDevice(r row) (postern.Device, error) {
	var d postern.Device
	var identity string
	var created, expires int64
	err := r.Scan(&d.Hash, &d.UserCode, &d.State, &d.Client, &d.Source, &identity, &created, &expires)
	if err != nil {
		return postern.Device{}, err
	}
	if err := json.Unmarshal([]byte(identity), &d.Identity); err != nil {
		return postern.Device{}, fmt.Errorf("identity: %w", err)
	}
	d.CreatedAt, d.ExpiresAt = fromMicros(created), fromMicros(expires)
	return d, nil
}

// AddDevice adds a device that waits to be signed in. Its codes are new.
func (db *DB) AddDevice(ctx context.Context, d postern.Device) error {
	identity, err := json.Marshal(d.Identity)
	if err != nil {
		return fmt.Errorf("store: add device: %w", err)
	}
	_, err = db.exec(ctx, "INSERT INTO devices ("+deviceColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		d.Hash, d.UserCode, d.State, d.Client, d.Source, string(identity), micros(d.CreatedAt), micros(d.ExpiresAt))
	return found(err, "add device")
}

// Device returns the device whose device code has this hash.
func (db *DB) Device(ctx context.Context, hash string) (postern.Device, error) {
	d, err := scanDevice(db.row(ctx, "SELECT "+deviceColumns+" FROM devices WHERE hash = $1", hash))
	return d, found(err, "device")
}

// DeviceByUserCode returns the device with this user code.
func (db *DB) DeviceByUserCode(ctx context.Context, code string) (postern.Device, error) {
	d, err := scanDevice(db.row(ctx, "SELECT "+deviceColumns+" FROM devices WHERE user_code = $1", code))
	return d, found(err, "device")
}

// WaitingDevices says how many devices wait to be signed in.
func (db *DB) WaitingDevices(ctx context.Context, now time.Time) (int, error) {
	var n int
	err := db.row(ctx, "SELECT COUNT(*) FROM devices WHERE expires_at > $1", micros(now)).Scan(&n)
	return n, found(err, "waiting devices")
}

// MoveDevice moves a device that hasn't expired from one state to another, with
// the identity that it is signed in as. Of two that race one wins; the other's
// device is [postern.ErrNotFound].
func (db *DB) MoveDevice(ctx context.Context, hash string, from, to postern.DeviceState, who postern.Identity, now time.Time) error {
	identity, err := json.Marshal(who)
	if err != nil {
		return fmt.Errorf("store: move device: %w", err)
	}
	n, err := db.exec(ctx, "UPDATE devices SET state = $1, identity = $2 WHERE hash = $3 AND state = $4 AND expires_at > $5",
		to, string(identity), hash, from, micros(now))
	return touched(n, err, "move device")
}

const codeColumns = "hash, challenge, redirect, client, source, identity, expires_at, login"

// AddLoginCode adds a one-time code. It is new.
func (db *DB) AddLoginCode(ctx context.Context, c postern.LoginCode) error {
	identity, err := json.Marshal(c.Identity)
	if err != nil {
		return fmt.Errorf("store: add login code: %w", err)
	}
	_, err = db.exec(ctx, "INSERT INTO login_codes ("+codeColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		c.Hash, c.Challenge, c.Redirect, c.Client, c.Source, string(identity), micros(c.ExpiresAt), c.Login)
	return found(err, "add login code")
}

// LoginCode returns the one-time code with this hash, used or not.
func (db *DB) LoginCode(ctx context.Context, hash string) (postern.LoginCode, error) {
	var c postern.LoginCode
	var identity string
	var expires int64
	err := db.row(ctx, "SELECT "+codeColumns+" FROM login_codes WHERE hash = $1", hash).
		Scan(&c.Hash, &c.Challenge, &c.Redirect, &c.Client, &c.Source, &identity, &expires, &c.Login)
	if err == nil {
		err = json.Unmarshal([]byte(identity), &c.Identity)
	}
	c.ExpiresAt = fromMicros(expires)
	return c, found(err, "login code")
}

// UseLoginCode marks a code as exchanged for a login, once: of two that race
// the other's code is [postern.ErrNotFound].
func (db *DB) UseLoginCode(ctx context.Context, hash, login string, now time.Time) error {
	n, err := db.exec(ctx, "UPDATE login_codes SET login = $1 WHERE hash = $2 AND login = '' AND expires_at > $3", login, hash, micros(now))
	return touched(n, err, "use login code")
}
