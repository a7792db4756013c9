package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"postern"
	"postern/internal/approval"
)

// Opinion is what a person says to a review.
type Opinion struct {
	Reason string `json:"reason,omitempty" maxLength:"2000" doc:"Shown to whoever waits, and kept in the audit log."`
}

type reviewOutput struct{ Body postern.Review }

func (a *api) reviewRoutes(h huma.API) {
	const tag = "reviews"
	type listInput struct {
		Paging
		State    string `query:"state" enum:"pending,approved,denied,timed_out,withdrawn,spent,void" doc:"Only those. Absent: all."`
		Identity string `query:"identity" maxLength:"128" doc:"Only those whose command it is."`
	}
	type listOutput struct{ Body Page[postern.Review] }
	handle(a, h, operation(http.MethodGet, "/reviews", "list-reviews", tag, "Reviews: mine, those I may decide, and for auditors all; newest first"),
		func(ctx context.Context, c caller, in *listInput) (*listOutput, error) {
			fetch := func(ctx context.Context, cursor string, limit int) ([]postern.Review, error) {
				return a.Store.Reviews(ctx, postern.ReviewFilter{
					State: postern.ReviewState(in.State), Identity: in.Identity, Before: cursor, Limit: limit,
				})
			}
			page, err := gather(ctx, in.Paging, fetch, func(rv postern.Review) string { return rv.ID },
				func(rv postern.Review) bool { return c.seesReview(rv) })
			for i := range page.Items {
				page.Items[i] = c.reviewShown(page.Items[i])
			}
			return &listOutput{Body: page}, err
		})

	type idInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	handle(a, h, operation(http.MethodGet, "/reviews/{id}", "get-review", tag, "A review, with all that was asked"),
		func(ctx context.Context, c caller, in *idInput) (*reviewOutput, error) {
			rv, err := a.review(ctx, c, in.ID)
			shown := c.reviewShown(rv)
			if err == nil {
				err = a.openSample(rv, shown.Evidence)
			}
			return &reviewOutput{Body: shown}, err
		})

	type voteInput struct {
		ID   string `path:"id" maxLength:"128"`
		Body Opinion
	}
	vote := func(approve bool) func(context.Context, caller, *voteInput) (*reviewOutput, error) {
		return func(ctx context.Context, c caller, in *voteInput) (*reviewOutput, error) {
			rv, err := a.vote(ctx, c, in.ID, approve, in.Body.Reason)
			return &reviewOutput{Body: c.reviewShown(rv)}, err
		}
	}
	handle(a, h, operation(http.MethodPost, "/reviews/{id}/approve", "approve-review", tag, "Let exactly what was shown run, once"), vote(true))
	handle(a, h, operation(http.MethodPost, "/reviews/{id}/deny", "deny-review", tag, "Refuse it"), vote(false))
}

// seesReview says whether the caller may see a review: whose command it is, who
// may decide over it, and who sees everything.
func (c caller) seesReview(rv postern.Review) bool {
	return c.auditor || c.owns(rv.Kind, rv.Identity) || postern.MatchesAny(rv.Approvers, c.identity)
}

func (a *api) review(ctx context.Context, c caller, id string) (postern.Review, error) {
	rv, err := a.Store.Review(ctx, id)
	if err == nil && !c.seesReview(rv) {
		err = errNotFound
	}
	return rv, err
}

// vote casts the caller's vote. Whether they may is checked, and written to the
// audit log, in the step in which the vote counts.
func (a *api) vote(ctx context.Context, c caller, id string, approve bool, reason string) (postern.Review, error) {
	if _, err := a.review(ctx, c, id); err != nil {
		return postern.Review{}, err
	}
	return a.Votes.Vote(ctx, id, c.identity, approve, reason)
}

// reviewShown is a review as the caller may see it. What the server said of a
// command is for those who may decide over it, and for auditors: whoever asked
// would otherwise read, by the number of rows, what nobody has approved.
func (c caller) reviewShown(rv postern.Review) postern.Review {
	asked := rv.Identity == c.identity.Name || rv.Actor != "" && rv.Actor == c.identity.Name
	if asked || approval.MayVote(rv, c.identity) != nil && !c.auditor {
		rv.Evidence = withoutServer(rv.Evidence)
	}
	return reviewShown(rv)
}

// openSample opens the rows of a review for who may see what the server said of it.
func (a *api) openSample(rv postern.Review, shown *postern.Evidence) error {
	if shown == nil || shown.Trial == nil || rv.Evidence.Trial.Sealed == "" {
		return nil
	}
	plain, err := a.Vault.Unseal(postern.SealSample, rv.Evidence.Trial.Sealed)
	if err != nil {
		return fmt.Errorf("rows of review %s: %w", rv.ID, err)
	}
	var sample postern.Sample
	if err := json.Unmarshal(plain, &sample); err != nil {
		return fmt.Errorf("rows of review %s: %w", rv.ID, err)
	}
	shown.Trial.Sample = &sample
	return nil
}

// unopened is evidence without what is sealed in it.
func unopened(e *postern.Evidence) *postern.Evidence {
	if e == nil || e.Trial == nil {
		return e
	}
	shown, trial := *e, *e.Trial
	trial.Sealed = ""
	shown.Trial = &trial
	return &shown
}

// withoutServer leaves out what the server was asked about a command.
func withoutServer(e *postern.Evidence) *postern.Evidence {
	if e == nil {
		return nil
	}
	return &postern.Evidence{Formatted: e.Formatted, Recent: e.Recent}
}

// reviewShown is a review with no list that is null, and its times in UTC.
func reviewShown(rv postern.Review) postern.Review {
	rv.Commands, rv.Approvers = list(rv.Commands), list(rv.Approvers)
	rv.Evidence = unopened(rv.Evidence)
	rv.CreatedAt, rv.ExpiresAt, rv.DecidedAt = utc(rv.CreatedAt), utc(rv.ExpiresAt), utc(rv.DecidedAt)
	rv.Votes = slices.Clone(rv.Votes)
	for i := range rv.Votes {
		rv.Votes[i].At = utc(rv.Votes[i].At)
	}
	return rv
}
