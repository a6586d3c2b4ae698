package graph

import (
	"time"
)

// limit is so many requests in any period.
type limit struct {
	requests   int
	period     time.Duration
	retryAfter bool // says when to come again
}

// limits are those of learn.microsoft.com/graph/throttling-limits: reports and
// security for each application in each tenant, Identity Protection for all
// applications of a tenant together, and without Retry-After. That they count in
// a sliding period is assumed.
func limits() map[class]limit {
	return map[class]limit{
		reports:    {5, 10 * time.Second, true},
		protection: {1, time.Second, false},
		security:   {150, time.Minute, true},
	}
}

// throttle counts the requests of callers. The server's lock guards it.
type throttle struct {
	granted map[caller][]time.Time
}

type caller struct {
	class class
	app   string
}

// admit reports whether a request may pass, and otherwise how long it has to
// wait.
func (t *throttle) admit(c class, app string, now time.Time) (wait time.Duration, ok bool) {
	if c == protection {
		app = ""
	}
	l := limits()[c]
	key := caller{c, app}
	granted := t.granted[key]
	for len(granted) > 0 && now.Sub(granted[0]) >= l.period {
		granted = granted[1:]
	}
	defer func() { t.granted[key] = granted }()
	if len(granted) >= l.requests {
		return granted[0].Add(l.period).Sub(now), false
	}
	granted = append(granted, now)
	return 0, true
}
