package store

import (
	"context"
	"fmt"
	"time"

	"postern"
)

const notificationColumns = "id, channel, review, step, state, attempts, next_at, problem, created_at, body"

func scanNotification(r row) (postern.Notification, error) {
	var n postern.Notification
	var next, created int64
	var body string
	err := r.Scan(&n.ID, &n.Channel, &n.Review, &n.Step, &n.State, &n.Attempts, &next, &n.Problem, &created, &body)
	n.NextAt, n.CreatedAt, n.Body = fromMicros(next), fromMicros(created), []byte(body)
	return n, err
}

// AddNotification queues word of a step, unless the channel has it already.
func (db *DB) AddNotification(ctx context.Context, n postern.Notification) error {
	return db.tx(ctx, func(tx *transaction) error { // with the lock, which makes the next id ours
		_, err := tx.ExecContext(ctx, `INSERT INTO notifications (`+notificationColumns+`)
			VALUES ((SELECT COALESCE(MAX(n.id), 0) + 1 FROM notifications n), $1, $2, $3, $4, 0, $5, '', $6, $7)
			ON CONFLICT (channel, review, step) DO NOTHING`,
			n.Channel, n.Review, n.Step, postern.NotificationQueued, micros(n.NextAt), micros(n.CreatedAt), string(n.Body))
		return found(err, "queue notification")
	})
}

// ClaimNotifications takes up to n queued notifications that are due, and puts
// their next attempt at a moment by which this one has ended: no other process
// takes them until then.
func (db *DB) ClaimNotifications(ctx context.Context, now, until time.Time, n int) ([]postern.Notification, error) {
	var claimed []postern.Notification
	err := db.tx(ctx, func(tx *transaction) error {
		var q query
		q.add("state = $?", postern.NotificationQueued)
		q.add("next_at <= $?", micros(now))
		rows, err := tx.QueryContext(ctx, q.text("SELECT "+notificationColumns+" FROM notifications",
			fmt.Sprintf(" ORDER BY next_at, id LIMIT %d", limited(n))), q.args...)
		if err != nil {
			return err
		}
		if claimed, err = collect(rows, scanNotification); err != nil {
			return err
		}
		for i := range claimed {
			claimed[i].Attempts++
			claimed[i].NextAt = until
			_, err := tx.ExecContext(ctx, "UPDATE notifications SET attempts = $1, next_at = $2 WHERE id = $3", claimed[i].Attempts, micros(until), claimed[i].ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return claimed, found(err, "claim notifications")
}

// SettleNotification says how an attempt went: state, problem, and when the
// next one is due.
func (db *DB) SettleNotification(ctx context.Context, n postern.Notification) error {
	count, err := db.exec(ctx, "UPDATE notifications SET state = $1, problem = $2, next_at = $3, attempts = $4 WHERE id = $5",
		n.State, n.Problem, micros(n.NextAt), n.Attempts, n.ID)
	return touched(count, err, "settle notification")
}

// Notification returns one notification.
func (db *DB) Notification(ctx context.Context, id int64) (postern.Notification, error) {
	n, err := scanNotification(db.row(ctx, "SELECT "+notificationColumns+" FROM notifications WHERE id = $1", id))
	return n, found(err, "notification")
}

// Notifications returns notifications in a state ("": any), latest first.
func (db *DB) Notifications(ctx context.Context, state string, limit int) ([]postern.Notification, error) {
	var q query
	if state != "" {
		q.add("state = $?", state)
	}
	rows, err := db.from(ctx).QueryContext(ctx, q.text("SELECT "+notificationColumns+" FROM notifications",
		fmt.Sprintf(" ORDER BY id DESC LIMIT %d", limited(limit))), q.args...)
	if err != nil {
		return nil, found(err, "notifications")
	}
	all, err := collect(rows, scanNotification)
	return all, found(err, "notifications")
}

// ForgetNotifications removes what was sent, and what was seen, before a moment.
func (db *DB) ForgetNotifications(ctx context.Context, before time.Time) error {
	return db.tx(ctx, func(tx *transaction) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM notifications WHERE state = $1 AND created_at < $2", postern.NotificationSent, micros(before))
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM seen_messages WHERE seen_at < $1", micros(before))
		}
		return found(err, "forget notifications")
	})
}

// SeeOnce remembers a message by its digest, and says whether it is new.
func (db *DB) SeeOnce(ctx context.Context, digest string, at time.Time) (bool, error) {
	n, err := db.exec(ctx, "INSERT INTO seen_messages (digest, seen_at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING", digest, micros(at))
	return n == 1, found(err, "see message")
}
