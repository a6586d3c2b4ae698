package azuremonitor

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limiter keeps what is sent to one data collection rule under its limits, over
// all sinks that lead to it. It may be used concurrently.
type Limiter struct {
	bytes, calls *rate.Limiter
	until        atomic.Int64 // unix nanoseconds; Azure asked to be left alone till then
}

// NewLimiter returns a limiter for one rule.
func NewLimiter(l Limits) *Limiter {
	perSecond := func(n int64) rate.Limit { return rate.Limit(float64(n) / 60) }
	// A burst is a twentieth of a minute's share, and one call at the least.
	return &Limiter{
		bytes: rate.NewLimiter(perSecond(int64(l.BytesPerMinute)), max(maxCall, int(l.BytesPerMinute/20))),
		calls: rate.NewLimiter(perSecond(int64(l.RequestsPerMinute)), max(1, l.RequestsPerMinute/20)),
	}
}

// wait blocks until a call of that size may be sent.
func (l *Limiter) wait(ctx context.Context, size int) error {
	if err := l.calls.Wait(ctx); err != nil {
		return fmt.Errorf("wait for the limit of calls a minute: %w", err)
	}
	if err := l.bytes.WaitN(ctx, size); err != nil {
		return fmt.Errorf("wait for the limit of bytes a minute: %w", err)
	}
	return nil
}

// pause notes that Azure wants no calls for a while.
func (l *Limiter) pause(until time.Time) {
	for {
		old := l.until.Load()
		if until.UnixNano() <= old || l.until.CompareAndSwap(old, until.UnixNano()) {
			return
		}
	}
}

// paused returns how long Azure still wants to be left alone.
func (l *Limiter) paused(now time.Time) time.Duration {
	return max(0, time.Duration(l.until.Load()-now.UnixNano()))
}
