package sink

import (
	"context"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
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

// pop waits until a batch is full, or its oldest event has waited for wait, and
// returns it. A batch holds at least one event, however large that is; the
// caller calls done for it. ok is false once ctx ends.
func (q *queue) pop(ctx context.Context, maxEvents int, maxBytes int64, wait time.Duration) (b batch, ok bool) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		q.mu.Lock()
		var remains time.Duration
		if len(q.groups) > 0 {
			remains = wait - time.Since(q.groups[0].since)
			if q.draining || q.events >= maxEvents || q.bytes >= maxBytes || remains <= 0 {
				b = q.cut(maxEvents, maxBytes)
				more := len(q.groups) > 0
				q.mu.Unlock()
				if more {
					q.signal()
				}
				return b, true
			}
			timer.Reset(remains)
		} else {
			timer.Reset(time.Hour)
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
