package loganalytics

import (
	"context"
	"sync"
	"time"
)

// limiter keeps the queries of one workspace below what Azure allows
// (azure:logs.query-limits). It may be used concurrently.
type limiter struct {
	slots, basic chan struct{} // places for queries at the same time
	requests     int
	now          func() time.Time

	mu     sync.Mutex
	passed []time.Time // of the newest queries, oldest first; guarded by mu
	until  time.Time   // Azure said not to come before; guarded by mu
}

// period is a little longer than Azure's 30 s: a query may take longer to get
// there than the one after it.
const period = 31 * time.Second

func newLimiter(l Limits, now func() time.Time) *limiter {
	return &limiter{
		slots: make(chan struct{}, l.Concurrent), basic: make(chan struct{}, l.BasicConcurrent),
		requests: l.Requests, now: now,
	}
}

// enter waits for a place, which leave gives back; or until ctx ends.
func (l *limiter) enter(ctx context.Context, basic bool) (leave func(), err error) {
	places := l.slots
	if basic {
		places = l.basic
	}
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	leave = func() { <-places }
	at := l.place()
	for {
		if d := at.Sub(l.now()); d > 0 && !sleep(ctx, d) {
			leave()
			return nil, ctx.Err()
		}
		l.mu.Lock()
		held := l.until
		l.mu.Unlock()
		if !held.After(at) {
			return leave, ctx.Err()
		}
		at = held // it was told to wait meanwhile
	}
}

// place reserves the next moment at which a query may be sent.
func (l *limiter) place() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.now()
	if l.until.After(at) {
		at = l.until
	}
	if n := len(l.passed); n >= l.requests {
		if next := l.passed[n-l.requests].Add(period); next.After(at) {
			at = next
		}
		l.passed = append(l.passed[:0], l.passed[n-l.requests+1:]...)
	}
	l.passed = append(l.passed, at)
	return at
}

// hold lets no query pass for d.
func (l *limiter) hold(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := l.now().Add(d); until.After(l.until) {
		l.until = until
	}
}

// sleep waits for d, and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
