package graph

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/source/window"
	"github.com/lazuli-logs/lazuli/internal/status"
)

const (
	// fullWindow is how many pages a window should have: so many that asking for
	// it costs little, so few that reading it again does.
	fullWindow = 10
	// maxPages is where a window is given up and a smaller one is read.
	maxPages = 100
	// maxPasses is how often a window is read whose pages shift.
	maxPasses = 5
	// pageTries is how often a page is asked for before its window begins anew.
	pageTries = 4
)

// reader fetches the windows of one feed. It is used by one goroutine.
type reader struct {
	s     *Source
	feed  *feed
	index jsonscan.Index
	bad   bool // a problem is shown
}

// fetch implements window.Fetch.
func (r *reader) fetch(ctx context.Context, span window.Span, yield func(window.Row) error) (window.Load, error) {
	known := map[window.Identity]bool{}
	single := span.To.Sub(span.From) <= r.s.timing.step
	for pass := 1; ; pass++ {
		pages, fresh, err := r.pages(ctx, span, single, known, yield)
		load := window.Load{Share: float64(pages) / fullWindow}
		switch {
		case err != nil:
			return load, err
		case !r.feed.shifts, pages < 2, fresh == 0, single && pass == maxPasses:
			return load, nil
		case pass == maxPasses:
			return load, fmt.Errorf("%w: its pages shifted %d times", window.ErrTooMuch, pass)
		}
	}
}

// pages reads a window once, and returns how many of its objects were new to
// known.
func (r *reader) pages(ctx context.Context, span window.Span, single bool, known map[window.Identity]bool, yield func(window.Row) error) (pages, fresh int, err error) {
	followed := map[string]bool{}
	for link := r.feed.first(r.s.client.base.String(), span); link != ""; {
		switch {
		case followed[link]:
			return pages, fresh, &linkError{link, "leads in a circle"}
		case pages == maxPages && !single:
			return pages, fresh, fmt.Errorf("%w: it has more than %d pages", window.ErrTooMuch, pages)
		}
		followed[link] = true
		link, err = r.page(ctx, link, func(object []byte) error {
			row, within := r.row(object, span)
			if !within {
				return nil
			}
			if r.feed.shifts && !known[row.ID] {
				known[row.ID] = true
				fresh++
			}
			return yield(row)
		})
		if err != nil {
			return pages, fresh, err
		}
		pages++
	}
	return pages, fresh, nil
}

// page reads one page, with patience.
func (r *reader) page(ctx context.Context, link string, each func([]byte) error) (next string, err error) {
	throttled := 0
	for tries := 1; ; tries++ {
		next, err = r.s.client.page(ctx, r.feed.limit, link, each)
		if err == nil {
			r.well()
			return next, nil
		}
		var consumer *consumerError
		if errors.As(err, &consumer) {
			return "", consumer.err
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		switch p := r.s.explain(r.feed, err); {
		case p.kind == kindThrottled:
			// All feeds that share the limit wait.
			throttled++
			tries--
			r.show(p)
			r.s.client.limits.paces[r.feed.limit].hold(r.s.deps.Now().Add(r.calm(err, throttled)))
		case p.kind != kindAgain || tries == pageTries:
			return "", err
		default:
			wait := backoff(r.s.timing.retry, r.s.timing.retryMax, tries)
			var refused *refusal
			if errors.As(err, &refused) {
				wait = max(wait, refused.retryAfter)
			}
			if !sleep(ctx, wait) {
				return "", ctx.Err()
			}
		}
	}
}

// calm is how long to wait where Graph throttles: as it says, else longer each
// time (azure:graph.limits: Identity Protection does not say).
func (r *reader) calm(err error, times int) time.Duration {
	var refused *refusal
	if errors.As(err, &refused) && refused.retryAfter > 0 {
		return refused.retryAfter
	}
	return backoff(r.s.timing.quiet, r.s.timing.quietMax, times)
}

// row returns an object with what tells it, and where objects change its version,
// from all others; or false if it belongs to a neighbor of the span. An object
// without an id, which Graph does not have, is its bytes.
func (r *reader) row(object []byte, span window.Span) (row window.Row, within bool) {
	row.Payload = event.Payload{Body: object}
	if _, err := r.index.Scan(object); err != nil {
		row.ID = window.Identify(object)
		return row, true
	}
	at, id := r.index.Member(0, r.feed.time), r.index.Member(0, "id")
	switch {
	case at >= 0 && !r.within(at, span):
		return row, false
	case id < 0:
		row.ID = window.Identify(object)
	case r.feed.updated && at >= 0:
		row.ID = window.Identify(r.index.Value(id), r.index.Value(at))
	default:
		row.ID = window.Identify(r.index.Value(id))
	}
	return row, true
}

// within reports whether a time lies in the half-open span. What is no time
// does: the object came as an answer to the question for it.
func (r *reader) within(at int, span window.Span) bool {
	if r.index.Nodes[at].Kind != jsonscan.String {
		return true
	}
	t, err := time.Parse(time.RFC3339Nano, string(r.index.Text(at)))
	return err != nil || !t.Before(span.From) && t.Before(span.To)
}

// failed implements window.Config.Failed.
func (r *reader) failed(err error, tries int) (wait time.Duration, end error) {
	p := r.s.explain(r.feed, err)
	r.show(p)
	if p.kind == kindPerson {
		if r.s.deps.Once || r.s.deps.Window != nil {
			return 0, &problemError{r.feed.name, p, err}
		}
		return r.s.timing.failed, nil
	}
	return backoff(r.s.timing.retry, r.s.timing.retryMax, tries), nil
}

// done implements window.Config.Done.
func (r *reader) done(report window.Report) {
	r.well()
	r.s.metrics.Repeats(r.feed.name, report.Repeats)
	r.s.mu.Lock()
	r.s.read[r.feed.name] = report.Read
	r.s.mu.Unlock()
	r.s.metrics.Lag(r.feed.name, r.s.deps.Now().Sub(report.Read))
}

func (r *reader) show(p problem) {
	r.bad = true
	r.s.report(r.feed, p)
}

// well says that the feed is read.
func (r *reader) well() {
	if r.bad {
		r.s.log.Info("feed is read again", "feed", r.feed.name)
	}
	r.bad = false
	r.s.health.Set(r.feed.name, status.Problem{State: status.OK})
}
