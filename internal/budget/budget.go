// Package budget bounds the bytes that are in memory between a source and the
// confirmation of the last sink.
package budget

import (
	"container/list"
	"context"
	"sync"
)

// Budget is a number of bytes shared by all partitions. Its methods may be
// called concurrently. Waiters are served in the order in which they came, so
// that a large batch is not starved by small ones.
type Budget struct {
	limit   int64
	stalled func()

	mu      sync.Mutex
	used    int64     // guarded by mu
	working int       // callers that were let in and have not called Settle; guarded by mu
	waiting list.List // of *waiter, oldest first; guarded by mu
}

type waiter struct {
	n     int64
	ready chan struct{}
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget { return &Budget{limit: limit, stalled: func() {}} }

// OnStall sets what is called, without a lock, each time Stalled has become
// true. It is called before any other method.
func (b *Budget) OnStall(f func()) { b.stalled = f }

// Acquire waits until n bytes fit under the limit and takes them. A batch
// larger than the whole limit is let in when nothing else is in flight: it
// cannot be split here and must not block for ever. Who is let in calls Settle
// once its batch is queued or has failed.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	b.mu.Lock()
	if b.waiting.Len() == 0 && b.fits(n) {
		b.used += n
		b.working++
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	place := b.waiting.PushBack(w)
	stalled := b.isStalled()
	b.mu.Unlock()
	if stalled {
		b.stalled()
	}
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready: // admitted in the same moment: give it back
		b.used -= n
		b.working--
	default:
		b.waiting.Remove(place)
	}
	b.admit()
	return ctx.Err()
}

// Adjust changes what is in use by delta without waiting: it replaces an
// estimate by what a batch really holds, and with a negative delta returns it.
// What is in use may exceed the limit by one batch per partition.
func (b *Budget) Adjust(delta int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += delta
	b.admit()
}

// Settle ends what an Acquire began: the batch now waits for its sinks.
func (b *Budget) Settle() {
	b.mu.Lock()
	b.working--
	stalled := b.isStalled()
	b.mu.Unlock()
	if stalled {
		b.stalled()
	}
}

// Stalled tells whether callers wait for room and all that was let in is
// settled: only what the sinks confirm can make room then.
func (b *Budget) Stalled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isStalled()
}

// isStalled needs mu.
func (b *Budget) isStalled() bool { return b.working == 0 && b.waiting.Len() > 0 }

// Used returns the bytes in flight.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Limit returns the bytes that may be in flight.
func (b *Budget) Limit() int64 { return b.limit }

// fits needs mu.
func (b *Budget) fits(n int64) bool { return b.used+n <= b.limit || b.used <= 0 }

// admit lets waiters in while they fit; it needs mu.
func (b *Budget) admit() {
	for e := b.waiting.Front(); e != nil; e = b.waiting.Front() {
		w := e.Value.(*waiter)
		if !b.fits(w.n) {
			return
		}
		b.used += w.n
		b.working++
		b.waiting.Remove(e)
		close(w.ready)
	}
}
