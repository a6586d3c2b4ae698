// Package ack knows when records are safe. A Token counts the parties still
// responsible for one batch; a Tracker keeps, per partition, the furthest
// cursor behind which nothing is outstanding.
//
// The invariant of the whole program rests here: every record at or before
// Tracker.Safe has been delivered to every required sink, stored as a dead
// letter, or dropped by a rule. Ordered is not enough: only a contiguous
// prefix of finished batches moves the safe cursor. docs/adr/0002 argues it.
package ack

import (
	"sync"
	"sync/atomic"
	"time"
)

// Token counts the parties still responsible for one batch. The party that
// creates it is the first. Its methods may be called concurrently.
type Token struct {
	held atomic.Int64
	done func()
}

// NewToken returns a token held once. done runs when the last holder releases,
// in that holder's goroutine.
func NewToken(done func()) *Token {
	t := &Token{done: done}
	t.held.Store(1)
	return t
}

// Hold adds n responsible parties. Only a current holder may call it: that is
// what keeps the count from touching zero while a batch is still being split.
// Hold after the last Release is a programmer's error and panics.
func (t *Token) Hold(n int) {
	if n < 0 || t.held.Add(int64(n)) <= int64(n) {
		panic("ack: Hold without being a holder")
	}
}

// Release ends the responsibility of n parties. It means delivered, stored as
// a dead letter, or dropped by a rule; a party that gives up must not call it.
func (t *Token) Release(n int) {
	if n <= 0 {
		panic("ack: Release of nothing")
	}
	switch left := t.held.Add(int64(-n)); {
	case left < 0:
		panic("ack: Release without Hold")
	case left == 0:
		t.done()
	}
}

// Tracker orders the batches of one partition. Its methods may be called
// concurrently, but Add must be called in partition order.
type Tracker[C any] struct {
	mu      sync.Mutex
	safe    C          // guarded by mu
	pending []*slot[C] // oldest first; guarded by mu
	changed chan struct{}
}

type slot[C any] struct {
	end   C
	added time.Time
	done  bool
}

// NewTracker returns a Tracker whose first batch follows start.
func NewTracker[C any](start C) *Tracker[C] {
	return &Tracker[C]{safe: start, changed: make(chan struct{})}
}

// Add registers the next batch, which ends at end and was read at now, and
// returns its token. onDone, if not nil, runs once when the batch is finished.
func (t *Tracker[C]) Add(end C, now time.Time, onDone func()) *Token {
	s := &slot[C]{end: end, added: now}
	t.mu.Lock()
	t.pending = append(t.pending, s)
	t.mu.Unlock()
	return NewToken(func() {
		t.resolve(s)
		if onDone != nil {
			onDone()
		}
	})
}

func (t *Tracker[C]) resolve(s *slot[C]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.done = true
	moved := false
	for len(t.pending) > 0 && t.pending[0].done {
		t.safe = t.pending[0].end
		t.pending[0] = nil
		t.pending = t.pending[1:]
		moved = true
	}
	if moved {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// Safe returns the furthest cursor behind which nothing is outstanding.
func (t *Tracker[C]) Safe() C {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.safe
}

// Pending returns how many batches hold the safe cursor back and when the
// oldest of them was added (zero if there is none).
func (t *Tracker[C]) Pending() (batches int, oldest time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) > 0 {
		oldest = t.pending[0].added
	}
	return len(t.pending), oldest
}

// Changed returns a channel that is closed when the safe cursor next moves.
// Take the channel before reading Safe or Pending, so that no move is missed.
func (t *Tracker[C]) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}
