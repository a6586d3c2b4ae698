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
	return &Limits{[limitClasses]*pace{
		limitReports:    newPace(5, 10*time.Second),
		limitProtection: newPace(1, time.Second),
		limitSecurity:   newPace(150, time.Minute),
	}}
}

// pace is a bucket of tokens. A request takes one, and brings it back when it is
// answered, to be used again a period later: so Graph never sees more requests in
// a period than there are tokens, however long each is on its way.
type pace struct {
	tokens chan time.Time // when each may be used again, soonest first
	period time.Duration

	mu    sync.Mutex
	until time.Time // Graph said not to come before; guarded by mu
}

// clockStep covers that Graph's clock may be read more coarsely than ours.
const clockStep = 50 * time.Millisecond

func newPace(requests int, period time.Duration) *pace {
	p := &pace{tokens: make(chan time.Time, requests), period: period + clockStep}
	for range requests {
		p.tokens <- time.Time{}
	}
	return p
}

// wait waits for a token, or until ctx ends. The request must be followed by a
// call of answered.
func (p *pace) wait(ctx context.Context, now func() time.Time) (answered func(), err error) {
	var at time.Time
	select {
	case at = <-p.tokens:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		p.mu.Lock()
		if p.until.After(at) {
			at = p.until
		}
		p.mu.Unlock()
		left := at.Sub(now())
		if left <= 0 {
			return func() { p.tokens <- now().Add(p.period) }, nil
		}
		if !sleep(ctx, left) {
			p.tokens <- at
			return nil, ctx.Err()
		}
	}
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
