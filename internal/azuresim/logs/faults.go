package logs

import (
	"sync"
	"time"
)

// Faults makes a server fail on demand. The zero value causes none. It is safe
// for concurrent use.
type Faults struct {
	mu      sync.Mutex // guards what follows
	fail    int
	status  int
	after   time.Duration
	partial int
	cut     int
	slow    int
	wait    time.Duration
	late    share
	delayed share
	again   share
}

// share hits one row in so many.
type share struct {
	one, count int
	by         time.Duration
}

func (s *share) hit() bool {
	if s.one <= 0 {
		return false
	}
	s.count++
	return s.count%s.one == 0
}

// Fail answers the next queries with a status such as 429, 500, 502 or 503; an
// after of one second or more is sent as Retry-After.
func (f *Faults) Fail(times, status int, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.status, f.after = times, status, after
}

// Partial gives the next answers half of their rows and an error of the engine,
// with status 200.
func (f *Faults) Partial(times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.partial = times
}

// Cut ends the next answers in the middle.
func (f *Faults) Cut(times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = times
}

// Slow lets the next queries take that long; one that takes longer than the
// client is willing to wait is answered 504.
func (f *Faults) Slow(times int, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow, f.wait = times, wait
}

// Late lets one row in so many be visible only by later than it was taken in.
func (f *Faults) Late(one int, by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = share{one: one, by: by}
}

// Delay lets one row in so many be taken in by later than it happened.
func (f *Faults) Delay(one int, by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delayed = share{one: one, by: by}
}

// Repeat takes one row in so many in twice, the second time by later.
func (f *Faults) Repeat(one int, by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = share{one: one, by: by}
}

// Clear ends all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.partial, f.cut, f.slow = 0, 0, 0, 0
	f.late, f.delayed, f.again = share{}, share{}, share{}
}

// fate is what happens to one query.
type fate struct {
	status       int // 0: none
	after        time.Duration
	partial, cut bool
	wait         time.Duration
}

func (f *Faults) next() (out fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	take := func(n *int) bool {
		if *n <= 0 {
			return false
		}
		*n--
		return true
	}
	if take(&f.fail) {
		return fate{status: f.status, after: f.after}
	}
	if take(&f.slow) {
		out.wait = f.wait
	}
	out.partial, out.cut = take(&f.partial), take(&f.cut)
	return out
}

// times says when a row is taken in and visible, and when again (zero: not).
func (f *Faults) times(now time.Time) (ingested, visible, again time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ingested, visible = now, now
	if f.delayed.hit() {
		ingested, visible = now.Add(f.delayed.by), now.Add(f.delayed.by)
	}
	if f.late.hit() {
		visible = visible.Add(f.late.by)
	}
	if f.again.hit() {
		again = ingested.Add(f.again.by)
	}
	return ingested, visible, again
}
