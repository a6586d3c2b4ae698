package eventhub

import "time"

// Metrics is where the source counts. Its methods are called concurrently and
// must not block.
type Metrics interface {
	// Lag reports how many messages of the hub are not emitted yet, and for
	// how long at most the oldest of them has been in the hub.
	Lag(partition string, messages int64, behind time.Duration)
	// Reconnected counts links that broke and were opened again; cause is one
	// of a dozen words.
	Reconnected(partition, cause string)
	// Rebuilt counts what the watchdog replaced: "link" or "connection".
	Rebuilt(partition, what string)
	// Gap counts messages that Azure no longer had; cause is "retention", or
	// "reset" for a hub that was re-created.
	Gap(partition, cause string, messages int64)
	// Owned reports how many partitions this instance reads.
	Owned(partitions int)
}

type noMetrics struct{}

func (noMetrics) Lag(string, int64, time.Duration) {}
func (noMetrics) Reconnected(string, string)       {}
func (noMetrics) Rebuilt(string, string)           {}
func (noMetrics) Gap(string, string, int64)        {}
func (noMetrics) Owned(int)                        {}
