package graph

import (
	"context"
	"sync"
	"time"
)

// limitClass is a group of feeds that share one of Graph's limits.
type limitClass int

const (
	limitReports limitClass = iota
	limitProtection
	limitSecurity
	limitClasses
)

func (c limitClass) String() string {
	return [...]string{"reports", "identity protection", "security"}[c]
}

// Limits keeps the requests of one application in one tenant below what Graph
// allows it (azure:graph.limits). All sources of a tenant share one; it may be
// used concurrently.
type Limits struct{ paces [limitClasses]*pace }

// NewLimits returns the limits of an application in a tenant, of which nothing
// is used yet.
func NewLimits() *Limits {
	// A request may take longer than the one after it: the periods are stretched,
	// so that two that are far enough apart here do not meet there.
	return &Limits{[limitClasses]*pace{
		limitReports:    {requests: 5, period: 10*time.Second + 500*time.Millisecond},
		limitProtection: {requests: 1, period: time.Second + 200*time.Millisecond},
		limitSecurity:   {requests: 150, period: time.Minute + time.Second},
	}}
}

// pace lets at most so many requests pass in any period. A bucket of tokens, as
// is usual, would let twice as many pass in the first.
type pace struct {
	requests int
	period   time.Duration

	mu     sync.Mutex
	passed []time.Time // when the newest of them pass, oldest first; guarded by mu
	until  time.Time   // Graph said not to come before; guarded by mu
}

// wait waits for the next place, or until ctx ends.
func (p *pace) wait(ctx context.Context, now func() time.Time) error {
	for at := p.place(now()); ; {
		if !sleep(ctx, at.Sub(now())) {
			return ctx.Err()
		}
		p.mu.Lock()
		held := p.until
		p.mu.Unlock()
		if !held.After(at) {
			return nil
		}
		// It was told to wait meanwhile: the place is still to be had, later.
		at = held
	}
}

// place reserves the next one.
func (p *pace) place(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now
	if p.until.After(at) {
		at = p.until
	}
	if n := len(p.passed); n >= p.requests {
		if next := p.passed[n-p.requests].Add(p.period); next.After(at) {
			at = next
		}
		p.passed = append(p.passed[:0], p.passed[n-p.requests+1:]...)
	}
	p.passed = append(p.passed, at)
	return at
}

// hold lets nothing pass before until.
func (p *pace) hold(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.until) {
		p.until = until
	}
}

// sleep waits for d, and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
