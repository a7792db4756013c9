package audit

import (
	"bytes"
	"context"
	"fmt"

	"postern"
)

// indexCheck makes the index anew from the entries, and compares. An index that
// leaves an entry out would hide it from whoever searches.
type indexCheck struct {
	index   *index
	segment *segment
	sealed  int64 // so many segments were stored when the check began
	wrong   int64 // the first entry of a segment that isn't what it should be; 0: none
}

// count is how many segments are stored.
func (x *index) count() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return int64(len(x.segments))
}

func (c *indexCheck) add(ctx context.Context, e *postern.AuditEntry) error {
	if c.segment.number >= c.sealed || c.wrong > 0 {
		return nil
	}
	c.segment.add(e)
	if !c.segment.full() {
		return nil
	}
	want := c.segment.stored()
	c.segment = newSegment(want.Number + 1)
	same, err := c.index.holds(ctx, &want)
	if err != nil {
		return err
	}
	if !same {
		c.wrong = want.Number*segmentSize + 1
	}
	return nil
}

// holds says whether a segment is stored as it should be.
func (x *index) holds(ctx context.Context, want *postern.AuditSegment) (bool, error) {
	x.mu.Lock()
	var have postern.AuditSegment // a zero one, when the index is being made anew
	if want.Number < int64(len(x.segments)) {
		have = x.segments[want.Number]
	}
	x.mu.Unlock()
	same := have.From.Equal(want.From) && have.To.Equal(want.To)
	for bucket := range want.Buckets {
		found := false
		err := x.store.AuditPostings(ctx, bucket, want.Number, want.Number, func(_ int64, postings []byte) error {
			found = true
			same = same && bytes.Equal(postings, want.Buckets[bucket])
			return nil
		})
		if err != nil {
			return false, err
		}
		same = same && found
	}
	return same, nil
}

// conclude has a wrong index made anew, and tells of it.
func (c *indexCheck) conclude(ctx context.Context) error {
	if c.wrong == 0 {
		return nil
	}
	if err := c.index.anew(ctx); err != nil {
		return err
	}
	return &TamperedError{Seq: c.wrong, Reason: fmt.Sprintf(
		"the entries are intact, but what is searched by doesn't say what entries %d to %d say, so that searches may have missed some; it is made anew",
		c.wrong, c.wrong+segmentSize-1)}
}
