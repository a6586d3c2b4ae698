package graph

import (
	"net/http"
	"sync"
	"time"
)

// Faults makes a server fail on demand. The zero value causes none. It is safe
// for concurrent use.
type Faults struct {
	mu        sync.Mutex // guards what follows
	fails     []failure
	cuts      int
	loops     int
	foreign   int
	host      string
	tokens    int
	repeat    int
	share     int
	by        time.Duration
	late      int
	noLicense bool
	lastLinks bool
}

type failure struct {
	left, status int
	retryAfter   time.Duration
	continuation bool
}

// Fail answers the next count requests with an HTTP status such as 429, 500 or
// 503, or, if continuation is set, the next count requests of a page after the
// first. A retryAfter of one second or more is sent as Retry-After.
func (f *Faults) Fail(count, status int, retryAfter time.Duration, continuation bool) {
	f.set(func() { f.fails = append(f.fails, failure{count, status, retryAfter, continuation}) })
}

// Cut ends the next count answers in the middle of their body.
func (f *Faults) Cut(count int) { f.set(func() { f.cuts = count }) }

// Loop lets the next count nextLinks lead to the page that holds them.
func (f *Faults) Loop(count int) { f.set(func() { f.loops = count }) }

// Foreign lets the next count nextLinks lead to another host.
func (f *Faults) Foreign(count int, host string) { f.set(func() { f.foreign, f.host = count, host }) }

// ExpireTokens refuses the next count skip tokens, as Graph does with old ones.
func (f *Faults) ExpireTokens(count int) { f.set(func() { f.tokens = count }) }

// Repeat lets every page after the first begin with the last count objects of
// the page before.
func (f *Faults) Repeat(count int) { f.set(func() { f.repeat = count }) }

// Late lets one object in share that is added from now on arrive so much later
// than the others. A share of 0 ends it.
func (f *Faults) Late(share int, by time.Duration) { f.set(func() { f.share, f.by = share, by }) }

// Unlicensed takes the tenant's premium license away, or gives it back.
func (f *Faults) Unlicensed(on bool) { f.set(func() { f.noLicense = on }) }

// LinksLast puts nextLinks behind the objects instead of before them.
func (f *Faults) LinksLast(on bool) { f.set(func() { f.lastLinks = on }) }

// Clear ends all faults.
func (f *Faults) Clear() {
	f.set(func() {
		f.fails, f.cuts, f.loops, f.foreign, f.tokens, f.repeat, f.share = nil, 0, 0, 0, 0, 0, 0
		f.noLicense, f.lastLinks = false, false
	})
}

func (f *Faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// delay is how much later than the others the next object arrives.
func (f *Faults) delay() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.share == 0 {
		return 0
	}
	if f.late++; f.late%f.share != 0 {
		return 0
	}
	return f.by
}

// refusal returns the answer that a request gets instead of its own, if any.
func (f *Faults) refusal(continuation bool) (failure, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.fails {
		if fail := &f.fails[i]; fail.left > 0 && (continuation || !fail.continuation) {
			fail.left--
			return *fail, true
		}
	}
	if continuation && f.tokens > 0 {
		f.tokens--
		return failure{status: http.StatusBadRequest}, true
	}
	return failure{}, false
}

// answer is what is wrong with one answer.
type answer struct {
	cut, loop, linkLast bool
	foreign             string
	repeat              int
}

// next returns what is wrong with the next answer, which has a nextLink or not.
func (f *Faults) next(link bool) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := answer{linkLast: f.lastLinks, repeat: f.repeat}
	if f.cuts > 0 {
		f.cuts--
		a.cut = true
		return a
	}
	switch {
	case link && f.loops > 0:
		f.loops--
		a.loop = true
	case link && f.foreign > 0:
		f.foreign--
		a.foreign = f.host
	}
	return a
}

func (f *Faults) licensed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.noLicense
}
