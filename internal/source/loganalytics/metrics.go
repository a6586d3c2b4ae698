package loganalytics

import "time"

// Metrics is where the source counts. Its methods are called concurrently and
// must not block.
type Metrics interface {
	// Lag reports the age of the newest complete window of a feed.
	Lag(partition string, age time.Duration)
	// Queried counts a query by its outcome: ok, too_much, throttled, refused
	// (needs a person) or failed (passes).
	Queried(outcome string)
	// Repeats counts rows that were fetched and had been emitted before.
	Repeats(rows int)
	// Owned reports how many partitions this instance reads, where instances take turns.
	Owned(partitions int)
}

const (
	outcomeOK        = "ok"
	outcomeTooMuch   = "too_much"
	outcomeThrottled = "throttled"
	outcomeRefused   = "refused"
	outcomeFailed    = "failed"
)

type noMetrics struct{}

func (noMetrics) Lag(string, time.Duration) {}
func (noMetrics) Queried(string)            {}
func (noMetrics) Repeats(int)               {}
func (noMetrics) Owned(int)                 {}
