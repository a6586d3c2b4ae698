package eventhub

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the wait before the next try: doubling where the cause passes by
// itself, long where a person has to act.
type backoff struct {
	wait, limit, failed time.Duration
}

func (s *Source) backoff() *backoff {
	return &backoff{wait: s.timing.retry, limit: s.timing.retryMax, failed: s.timing.failed}
}

func (b *backoff) next(failed bool) time.Duration {
	if failed {
		return jitter(b.failed)
	}
	d := b.wait
	b.wait = min(2*b.wait, b.limit)
	return jitter(d)
}

// jitter returns between 0.75 and 1.25 of d, so that instances and partitions
// do not act at the same moment.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.75 + rand.Float64()/2))
}

// sleep waits for d and reports whether ctx is still alive.
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
