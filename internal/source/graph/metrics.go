package graph

import "time"

// Metrics is where the source counts. Its methods are called concurrently and
// must not block.
type Metrics interface {
	// Request counts requests; outcome is "ok", "throttled", "refused" or "failed".
	Request(outcome string)
	// Lag reports the age of the newest window of a feed that is complete.
	Lag(feed string, age time.Duration)
	// Repeats counts objects that came again and were dropped.
	Repeats(feed string, objects int)
	// Gap counts ranges that Graph did not retain.
	Gap(feed string)
	// Owned reports how many feeds this instance reads, where instances take turns.
	Owned(feeds int)
}

type noMetrics struct{}

func (noMetrics) Request(string)            {}
func (noMetrics) Lag(string, time.Duration) {}
func (noMetrics) Repeats(string, int)       {}
func (noMetrics) Gap(string)                {}
func (noMetrics) Owned(int)                 {}
