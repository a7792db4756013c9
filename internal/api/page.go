package api

import "context"

// Page is one part of a list. Next, where it isn't empty, asks for the part
// that follows: send it back as `cursor`.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Send it back as cursor to get what follows."`
}

// Paging are the parameters of every list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many at most."`
	Cursor string `query:"cursor" maxLength:"128" doc:"The next of the page before."`
}

// maxRounds bounds how often a list asks its store for more when the caller may
// see little of what there is.
const maxRounds = 20

// gather fills a page with what keep picks. fetch returns records after a
// cursor, fewer than asked for only at the end; id is a record's cursor.
func gather[T any](ctx context.Context, p Paging, fetch func(ctx context.Context, cursor string, limit int) ([]T, error), id func(T) string, keep func(T) bool) (Page[T], error) {
	page := Page[T]{Items: []T{}}
	cursor := p.Cursor
	for range maxRounds {
		got, err := fetch(ctx, cursor, p.Limit)
		if err != nil {
			return Page[T]{}, err
		}
		for _, record := range got {
			if len(page.Items) == p.Limit {
				page.Next = cursor
				return page, nil
			}
			cursor = id(record)
			if keep(record) {
				page.Items = append(page.Items, record)
			}
		}
		if len(got) < p.Limit {
			return page, nil
		}
	}
	page.Next = cursor
	return page, nil
}
