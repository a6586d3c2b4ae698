package storage

import "time"

// Metrics is where the source counts. Its methods are called concurrently and
// must not block.
type Metrics interface {
	// Request counts requests to Azure; operation is one of a dozen words.
	Request(operation string)
	// Lag reports, for a container, how long ago the oldest change was noticed
	// that is not read yet; 0 if there is none.
	Lag(container string, behind time.Duration)
	// Blobs reports how many blobs are kept in mind, and how many of them have
	// something that is not read and confirmed yet.
	Blobs(known, pending int)
	// Generation counts blobs that were replaced by others of their names.
	Generation()
	// Missing counts blobs that could not be read to their end; cause is
	// "deleted", "archived" or "damaged".
	Missing(cause string)
	// Owned reports how many shards of the work this instance has.
	Owned(shards int)
}

type noMetrics struct{}

func (noMetrics) Request(string)            {}
func (noMetrics) Lag(string, time.Duration) {}
func (noMetrics) Blobs(int, int)            {}
func (noMetrics) Generation()               {}
func (noMetrics) Missing(string)            {}
func (noMetrics) Owned(int)                 {}
