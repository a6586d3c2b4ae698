package sink

import (
	"context"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
)

// group is a run of events of one source batch. token is nil where nobody waits
// for it: at a best-effort sink, but for a replay.
type group struct {
	events []event.Event
	token  *ack.Token
	since  time.Time
}

// queue holds what waits for a sink. For a required sink it is bounded by the
// budget of bytes in flight; a best-effort sink drops its oldest groups over
// maxBytes, unless somebody waits for them. Its methods may be called concurrently.
type queue struct {
	maxBytes int64 // 0: bounded elsewhere

	mu       sync.Mutex
	groups   []group // oldest first; guarded by mu
	events   int     // in groups; guarded by mu
	bytes    int64   // in groups; guarded by mu
	taken    int     // events popped and not yet done; guarded by mu
	draining bool    // do not wait for fuller batches; guarded by mu
	early    bool    // do not wait for the next batch to be fuller; guarded by mu
	wake     chan struct{}
}

func newQueue(maxBytes int64) *queue {
	return &queue{maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// push appends a group and returns how many events had to be dropped for it.
func (q *queue) push(g group) (dropped int) {
	q.mu.Lock()
	q.groups = append(q.groups, g)
	q.events += len(g.events)
	for i := range g.events {
		q.bytes += int64(len(g.events[i].Data))
	}
	for q.maxBytes > 0 && q.bytes > q.maxBytes && len(q.groups) > 1 && q.groups[0].token == nil {
		for _, e := range q.groups[0].events {
			q.bytes -= int64(len(e.Data))
		}
		n := len(q.groups[0].events)
		q.events -= n
		dropped += n
		q.groups[0] = group{}
		q.groups = q.groups[1:]
	}
	q.mu.Unlock()
	q.signal()
	return dropped
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// drain makes pop hand out what there is without waiting for more.
func (q *queue) drain() {
	q.mu.Lock()
	q.draining = true
	q.mu.Unlock()
	q.signal()
}

// len returns how many events are queued or popped and not yet done.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.events + q.taken
}

// done says that a popped batch of n events has come to its end.
func (q *queue) done(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken -= n
}

// batch is what one Deliver call gets; tokens[i] belongs to events[i].
type batch struct {
	events []event.Event
	tokens []*ack.Token
}

// ready tells whether the next batch is full or old enough to be sent; it needs mu.
func (q *queue) ready(limits config.Batch) bool {
	switch {
	case len(q.groups) == 0:
		return false
	case q.draining || q.early || q.events >= limits.Events || q.bytes >= int64(limits.Bytes):
		return true
	}
	return time.Since(q.groups[0].since) >= limits.Wait.Std()
}

// look tells whether a batch is being sent or can be, and otherwise when that
// is due which waits for more events; due is zero if nothing waits.
func (q *queue) look(limits config.Batch) (moving bool, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken > 0 || q.ready(limits) {
		return true, time.Time{}
	}
	if len(q.groups) > 0 {
		due = q.groups[0].since.Add(limits.Wait.Std())
	}
	return false, due
}

// sendEarly makes pop hand out the next batch without waiting for more.
func (q *queue) sendEarly() {
	q.mu.Lock()
	q.early = true
	q.mu.Unlock()
	q.signal()
}

// pop waits until a batch is ready, and returns it. A batch holds at least one
// event, however large that is; the caller calls done for it. ok is false once
// ctx ends.
func (q *queue) pop(ctx context.Context, limits config.Batch) (b batch, ok bool) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		q.mu.Lock()
		if q.ready(limits) {
			b = q.cut(limits.Events, int64(limits.Bytes))
			q.early = false
			more := len(q.groups) > 0
			q.mu.Unlock()
			if more {
				q.signal()
			}
			return b, true
		}
		timer.Reset(time.Hour)
		if len(q.groups) > 0 {
			timer.Reset(time.Until(q.groups[0].since.Add(limits.Wait.Std())))
		}
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return batch{}, false
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// cut takes a batch from the front; it needs mu.
func (q *queue) cut(maxEvents int, maxBytes int64) (b batch) {
	n := min(maxEvents, q.events)
	b.events = make([]event.Event, 0, n)
	b.tokens = make([]*ack.Token, 0, n)
	var size int64
	for len(q.groups) > 0 {
		g := &q.groups[0]
		taken := 0
		for taken < len(g.events) && len(b.events) < maxEvents {
			add := int64(len(g.events[taken].Data))
			if size+add > maxBytes && len(b.events) > 0 {
				break
			}
			size += add
			b.events = append(b.events, g.events[taken])
			b.tokens = append(b.tokens, g.token)
			taken++
		}
		if taken < len(g.events) {
			g.events = g.events[taken:]
			break
		}
		*g = group{}
		q.groups = q.groups[1:]
	}
	q.events -= len(b.events)
	q.taken += len(b.events)
	q.bytes -= size
	return b
}
