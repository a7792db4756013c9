package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

func (a *api) notificationRoutes(h huma.API) {
	const tag = "notifications"
	type listInput struct {
		State string `query:"state" enum:"queued,sent,dead" doc:"Only those. Absent: all."`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	type listOutput struct {
		Body Page[postern.Notification]
	}
	handle(a, h, operation(http.MethodGet, "/notifications", "list-notifications", tag, "Word of reviews on its way to people, latest first; dead letters are those given up"),
		func(ctx context.Context, _ caller, in *listInput) (*listOutput, error) {
			all, err := a.Store.Notifications(ctx, in.State, in.Limit)
			for i := range all {
				all[i].NextAt, all[i].CreatedAt = utc(all[i].NextAt), utc(all[i].CreatedAt)
			}
			return &listOutput{Body: Page[postern.Notification]{Items: list(all)}}, err
		})
	type idInput struct {
		ID int64 `path:"id" minimum:"1"`
	}
	type output struct{ Body postern.Notification }
	handle(a, h, operation(http.MethodPost, "/notifications/{id}/retry", "retry-notification", tag, "Send it again"),
		func(ctx context.Context, c caller, in *idInput) (*output, error) {
			n, err := a.Store.Notification(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			n.State, n.Attempts, n.NextAt = postern.NotificationQueued, 0, a.Now()
			entry := postern.AuditEntry{Action: "notification.retry", Target: "notification:" + strconv.FormatInt(n.ID, 10), Review: n.Review, Reason: "to " + n.Channel}
			err = a.change(ctx, c, entry, func(ctx context.Context) error { return a.Store.SettleNotification(ctx, n) })
			return &output{Body: n}, err
		})
}
