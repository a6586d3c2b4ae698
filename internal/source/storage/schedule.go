package storage

import (
	"context"
	"sync"
	"time"
)

// schedule hands blobs to the workers in turns: containers take turns, and
// within one its blobs, so that neither a huge blob nor a container full of
// small ones keeps others waiting. A blob that is not read yet waits until one
// of the places for open blobs is free. Its methods may be called concurrently.
type schedule struct {
	now func() time.Time

	mu      sync.Mutex
	changed chan struct{}        // closed and replaced when there may be something to do
	waiting rounds               // blobs that need a place
	ready   rounds               // blobs that have one
	paused  map[string]time.Time // containers that are left alone until then
	places  int                  // that are free
}

func newSchedule(places int, now func() time.Time) *schedule {
	return &schedule{now: now, changed: make(chan struct{}), paused: map[string]time.Time{}, places: places}
}

// add queues a blob for its next turn; it has a place if it was handed out by
// take and not given back with done.
func (s *schedule) add(b *blob, hasPlace bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hasPlace {
		s.ready.push(b)
	} else {
		s.waiting.push(b)
	}
	s.signalLocked()
}

// done gives the place of a blob back.
func (s *schedule) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places++
	s.signalLocked()
}

// pause leaves a container alone for a while.
func (s *schedule) pause(container string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := s.now().Add(d); until.After(s.paused[container]) {
		s.paused[container] = until
	}
}

// resume ends a pause.
func (s *schedule) resume(container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.paused[container]; ok {
		delete(s.paused, container)
		s.signalLocked()
	}
}

func (s *schedule) signalLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// take waits for the blob whose turn it is, and gives it a place. It returns
// nil when ctx ends.
func (s *schedule) take(ctx context.Context) *blob {
	for {
		s.mu.Lock()
		b, wait := s.nextLocked()
		changed := s.changed
		s.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if b != nil {
			return b
		}
		if wait == 0 {
			wait = time.Hour
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// nextLocked returns the next blob, or for how long everything that waits is
// paused, 0 if nothing waits.
func (s *schedule) nextLocked() (*blob, time.Duration) {
	now := s.now()
	for c, until := range s.paused {
		if !now.Before(until) {
			delete(s.paused, c)
		}
	}
	for s.places > 0 {
		b := s.waiting.pop(s.paused)
		if b == nil {
			break
		}
		s.places--
		s.ready.push(b)
	}
	if b := s.ready.pop(s.paused); b != nil {
		return b, 0
	}
	var wait time.Duration
	for _, until := range s.paused {
		if d := until.Sub(now); wait == 0 || d < wait {
			wait = d
		}
	}
	return nil, wait
}

// rounds is a queue for each container, which take turns. The zero value is empty.
type rounds struct {
	queues map[string][]*blob
	order  []string // containers with a queue; the first is next
}

func (r *rounds) push(b *blob) {
	if r.queues == nil {
		r.queues = map[string][]*blob{}
	}
	c := b.folder.container
	if len(r.queues[c]) == 0 {
		r.order = append(r.order, c)
	}
	r.queues[c] = append(r.queues[c], b)
}

// pop takes the first blob of the first container that is not paused.
func (r *rounds) pop(paused map[string]time.Time) *blob {
	for i, c := range r.order {
		if _, ok := paused[c]; ok {
			continue
		}
		q := r.queues[c]
		b := q[0]
		q[0] = nil
		r.order = append(r.order[:i], r.order[i+1:]...)
		if len(q) == 1 {
			delete(r.queues, c)
		} else {
			r.queues[c] = q[1:]
			r.order = append(r.order, c)
		}
		return b
	}
	return nil
}
