package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"postern"
)

// Insights are what happened over time, in slots of equal length.
type Insights struct {
	Since     time.Time       `json:"since"`
	Slot      int64           `json:"slot" doc:"The length of a slot, in seconds."`
	Slots     []InsightsSlot  `json:"slots" doc:"Oldest first, without gaps."`
	Resources []InsightsCount `json:"resources" doc:"The busiest, by sessions."`
	Reviews   ReviewInsights  `json:"reviews"`
}

// InsightsSlot is what began in one slot.
type InsightsSlot struct {
	At       time.Time `json:"at"`
	Sessions int64     `json:"sessions"`
	Commands int64     `json:"commands"`
	Denied   int64     `json:"denied"`
	Masked   int64     `json:"masked"`
}

// InsightsCount is one resource's share.
type InsightsCount struct {
	Name     string `json:"name"`
	Sessions int64  `json:"sessions"`
	Commands int64  `json:"commands"`
	Denied   int64  `json:"denied"`
}

// ReviewInsights say how reviews ended, and how long people were waited for.
type ReviewInsights struct {
	States map[string]int64 `json:"states"`
	Median float64          `json:"median" doc:"Seconds until a decision; half took less."`
	P90    float64          `json:"p90" doc:"Seconds until a decision; nine in ten took less."`
}

const (
	insightsSlots     = 48     // how many slots a span is cut into
	insightsResources = 10     // how many resources are told
	insightsReviews   = 20_000 // how many reviews are looked at, at most
)

func (a *api) insightRoutes(h huma.API) {
	type input struct {
		Span string `query:"span" enum:"24h,7d,30d" default:"7d" doc:"How far back."`
	}
	type output struct{ Body Insights }
	handle(a, h, operation(http.MethodGet, "/insights", "insights", "sessions", "Sessions, denials and reviews over time"),
		func(ctx context.Context, _ caller, in *input) (*output, error) {
			span := map[string]time.Duration{"24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}[in.Span]
			body, err := a.insights(ctx, span)
			return &output{Body: body}, err
		})
}

func (a *api) insights(ctx context.Context, span time.Duration) (Insights, error) {
	slot := span / insightsSlots
	until := a.Now().UTC().Truncate(slot).Add(slot)
	since := until.Add(-span)
	counts, err := a.Store.CountSessions(ctx, since, slot)
	if err != nil {
		return Insights{}, err
	}
	out := Insights{Since: since, Slot: int64(slot / time.Second)}
	for i := range insightsSlots {
		out.Slots = append(out.Slots, InsightsSlot{At: since.Add(time.Duration(i) * slot)})
	}
	busy := map[string]*InsightsCount{}
	for _, n := range counts {
		if i := int(n.At.Sub(since) / slot); i >= 0 && i < len(out.Slots) {
			s := &out.Slots[i]
			s.Sessions += n.Sessions
			s.Commands += n.Commands
			s.Denied += n.Denied
			s.Masked += n.Masked
		}
		if busy[n.Resource] == nil {
			busy[n.Resource] = &InsightsCount{Name: n.Resource}
		}
		busy[n.Resource].Sessions += n.Sessions
		busy[n.Resource].Commands += n.Commands
		busy[n.Resource].Denied += n.Denied
	}
	out.Resources = []InsightsCount{}
	for _, name := range slices.SortedFunc(maps.Keys(busy), func(x, y string) int { return int(busy[y].Sessions - busy[x].Sessions) }) {
		if len(out.Resources) < insightsResources {
			out.Resources = append(out.Resources, *busy[name])
		}
	}
	out.Reviews, err = a.reviewInsights(ctx, since)
	return out, err
}

// reviewInsights looks at the reviews since then, newest first.
func (a *api) reviewInsights(ctx context.Context, since time.Time) (ReviewInsights, error) {
	out := ReviewInsights{States: map[string]int64{}}
	var waits []float64
	for before, seen := "", 0; seen < insightsReviews; {
		page, err := a.Store.Reviews(ctx, postern.ReviewFilter{Before: before, Limit: 500})
		if err != nil {
			return out, err
		}
		for i := range page {
			rv := &page[i]
			if rv.CreatedAt.Before(since) {
				page = page[:i]
				break
			}
			out.States[string(rv.State)]++
			if len(rv.Votes) > 0 && !rv.DecidedAt.IsZero() {
				waits = append(waits, rv.DecidedAt.Sub(rv.CreatedAt).Seconds())
			}
			before = rv.ID
		}
		seen += len(page)
		if len(page) < 500 {
			break
		}
	}
	slices.Sort(waits)
	if n := len(waits); n > 0 {
		out.Median, out.P90 = waits[n/2], waits[min(n*9/10, n-1)]
	}
	return out, nil
}
