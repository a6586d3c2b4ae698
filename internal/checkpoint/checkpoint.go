// Package checkpoint is the contract of the stores that keep how far each
// partition has been delivered.
package checkpoint

import (
	"context"
	"errors"
	"time"
)

// Cursor is a position in a partition, written and read by the source that
// owns it. It is versioned, readable by a human, and opaque to everyone else.
type Cursor string

// Key names one partition of one configured source.
type Key struct{ Source, Partition string }

// Entry is a stored checkpoint.
type Entry struct {
	Key
	Cursor Cursor
	Saved  time.Time
}

// Store keeps the last safe cursor of every partition. Its methods may be
// called concurrently for different keys.
//
// Save must be durable before it returns nil and must replace the value
// atomically: after a crash Load returns the old cursor or the new one.
type Store interface {
	// Load returns "" and no error for a partition that was never saved.
	Load(ctx context.Context, k Key) (Cursor, error)
	Save(ctx context.Context, k Key, c Cursor) error
	// List returns the checkpoints of one source, in no particular order.
	List(ctx context.Context, source string) ([]Entry, error)
}

// Journal is a Store that saves many cursors at the price of one, and can
// forget those of partitions that will never be read again: it is for sources
// with many partitions that come and go, such as blobs.
type Journal interface {
	Store
	// SaveAll is Save for many: all of them are durable before it returns nil.
	// After an error or a crash any of them may be.
	SaveAll(ctx context.Context, entries []Entry) error
	// Forget removes checkpoints; those that do not exist are no error. After a
	// crash they may be there again.
	Forget(ctx context.Context, keys []Key) error
}

// Lease is what instances take turns by to read a source.
type Lease interface {
	// Acquire takes the lease, or returns ErrHeld. From then on the store holds
	// what the last holder saved. The channel is closed when the lease is lost.
	Acquire(ctx context.Context) (lost <-chan struct{}, err error)
	// Release gives the lease back; without it there is nothing to do.
	Release(ctx context.Context) error
}

// ErrHeld says that another instance has the lease.
var ErrHeld = errors.New("another instance reads the source")
