package audit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"postern"
)

// feedSize is how many commits the index may be behind before it is left to
// read the rest from the store.
const feedSize = 64

// index is what the log is searched by. A goroutine keeps it behind the log, out
// of the way of those who wait for a commit.
type index struct {
	store Store
	log   *slog.Logger
	feed  chan []postern.AuditRecord // what was committed; closed by the sender
	done  chan struct{}

	work sync.Mutex // held by who changes the index

	mu       sync.Mutex // guards what follows
	segments []postern.AuditSegment
	segment  *segment // the last, which isn't stored yet
}

func openIndex(ctx context.Context, store Store, log *slog.Logger, size int64) (*index, error) {
	x := &index{store: store, log: log, feed: make(chan []postern.AuditRecord, feedSize), done: make(chan struct{})}
	segments, err := store.AuditSegments(ctx)
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(segments) && segments[n].Number == int64(n) && int64(n+1)*segmentSize <= size {
		n++
	}
	x.segments, x.segment = segments[:n:n], newSegment(int64(n))
	return x, nil
}

// run keeps the index up to date until feed is closed.
func (x *index) run(ctx context.Context) {
	defer close(x.done)
	for records := range x.feed {
		if err := x.take(ctx, records); err != nil {
			x.log.Warn("audit log's index is behind", "error", err)
		}
	}
}

// end waits for run to end. What comes later is read from the store.
func (x *index) end() {
	close(x.feed)
	<-x.done
}

// committed hands a commit's records on. It never waits: what finds no room is
// read from the store.
func (x *index) committed(records []postern.AuditRecord) {
	select {
	case x.feed <- records:
	default:
	}
}

func (x *index) take(ctx context.Context, records []postern.AuditRecord) error {
	x.work.Lock()
	defer x.work.Unlock()
	if err := x.catchUp(ctx, records[0].Seq-1); err != nil {
		return err
	}
	for i := range records {
		if records[i].Seq < x.segment.next() {
			continue
		}
		if err := x.add(ctx, &records[i].AuditEntry); err != nil {
			return err
		}
	}
	return nil
}

// reach returns when an entry, and all before it, are in the index.
func (x *index) reach(ctx context.Context, seq int64) error {
	x.work.Lock()
	defer x.work.Unlock()
	return x.catchUp(ctx, seq)
}

// catchUp reads what is not in the index, up to an entry.
func (x *index) catchUp(ctx context.Context, to int64) error {
	for next := x.segment.next(); next <= to; next = x.segment.next() {
		records, err := x.store.AuditRecords(ctx, next-1, int(min(to-next+1, page)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("entry %d is missing", next)
		}
		for i := range records {
			// One that isn't what was written is Verify's to tell of.
			var e *postern.AuditEntry
			if r, err := decodeBody(records[i].Body); err == nil && r.Seq == x.segment.next() {
				e = &r.AuditEntry
			}
			if err := x.add(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *index) add(ctx context.Context, e *postern.AuditEntry) error {
	x.mu.Lock()
	full := x.segment.full()
	if !full {
		x.segment.add(e)
	}
	x.mu.Unlock()
	if full { // it couldn't be stored before
		if err := x.seal(ctx); err != nil {
			return err
		}
		return x.add(ctx, e)
	}
	if x.segment.full() {
		return x.seal(ctx)
	}
	return nil
}

// seal stores a segment that is full, and begins the next.
func (x *index) seal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s := x.segment.stored()
	if err := x.store.PutAuditSegment(ctx, s); err != nil {
		return err
	}
	s.Buckets = nil
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments = append(x.segments, s)
	x.segment = newSegment(x.segment.number + 1)
	return nil
}

// anew forgets the index. It is made again by who next asks for it.
func (x *index) anew(ctx context.Context) error {
	x.work.Lock()
	defer x.work.Unlock()
	if err := x.store.DropAuditIndex(ctx); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.segments, x.segment = nil, newSegment(0)
	return nil
}

// pick calls fn with the number of each entry before an entry that has all
// terms, the last first, until it returns false.
func (x *index) pick(ctx context.Context, f *postern.AuditFilter, before int64, fn func(seq int64) bool) error {
	wanted := filterTerms(f)
	x.mu.Lock()
	segments, rest, number := slices.Clone(x.segments), everyPlace(x.segment.n), x.segment.number
	for _, t := range wanted {
		var here places
		if p := x.segment.postings[t]; p != nil {
			for _, place := range p.places {
				here.add(int(place))
			}
		}
		rest.keep(&here)
	}
	x.mu.Unlock()
	visit := func(number int64, set *places) bool {
		return set.backward(func(place int) bool {
			seq := number*segmentSize + int64(place) + 1
			return seq >= before || seq > f.After && fn(seq)
		})
	}
	if !visit(number, &rest) {
		return nil
	}
	const stride = 32 // segments that are looked at together
	for high := len(segments) - 1; high >= 0; high -= stride {
		low := max(high-stride+1, 0)
		found, err := x.postings(ctx, wanted, int64(low), int64(high))
		if err != nil {
			return err
		}
		for i := high; i >= low; i-- {
			s := &segments[i]
			if s.Number*segmentSize+1 >= before || !f.From.IsZero() && s.To.Before(f.From) || !f.To.IsZero() && !s.From.Before(f.To) {
				continue
			}
			if (s.Number+1)*segmentSize <= f.After {
				return nil
			}
			if !visit(s.Number, &found[i-low]) {
				return nil
			}
		}
	}
	return nil
}

// postings are the places that have all terms, for each of some segments.
func (x *index) postings(ctx context.Context, wanted []term, low, high int64) ([]places, error) {
	sets := make([]places, high-low+1)
	for i := range sets {
		sets[i] = everyPlace(segmentSize)
	}
	for _, t := range wanted {
		seen := make([]bool, len(sets))
		err := x.store.AuditPostings(ctx, t.bucket(), low, high, func(segment int64, bucket []byte) error {
			here, err := find(bucket, t)
			if err != nil {
				return err
			}
			sets[segment-low].keep(&here)
			seen[segment-low] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
		if slices.Contains(seen, false) {
			return nil, errIndex
		}
	}
	return sets, nil
}
