// Package source is the contract between the pipeline and the doors that logs
// come through, and the runner that keeps the checkpoints.
//
// A source never sees an acknowledgement. It says what is true of all doors:
// these payloads come next, and after them the position is this.
package source

import (
	"context"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
)

// Source reads one configured origin.
type Source interface {
	// Run reads until ctx is canceled, or, if the source was told to read
	// only what is there now, until that is read; then it closes its streams
	// and returns nil. It retries whatever can pass by itself and returns an
	// error only when a person has to act. It is called once.
	Run(ctx context.Context, out Output) error
}

// Output is the pipeline as a source sees it. Open may be called concurrently.
type Output interface {
	// Open starts or resumes a partition. There is one stream per partition at
	// a time: Open returns an error while an earlier one is not closed.
	Open(ctx context.Context, origin event.Origin) (Stream, error)
}

// Stream takes the payloads of one partition, in partition order. Its methods
// must not be called concurrently with each other.
type Stream interface {
	// Resume returns the cursor to read after; "" means the configured start.
	Resume() checkpoint.Cursor

	// Emit hands over the payloads that come next and the cursor that follows
	// them all; no cursor points inside a payload. It blocks while too much is
	// in flight. The batch may be empty: reading nothing also moves the cursor.
	// The bodies must not be modified afterwards; the slice may be reused.
	// An error means that ctx ended and the batch was not taken.
	Emit(ctx context.Context, batch []event.Payload, next checkpoint.Cursor) error

	// Close gives the partition up. It waits, until ctx is done, for what is in
	// flight, and saves the cursor reached. What is in flight after that may
	// still be delivered, but will be read again.
	Close(ctx context.Context) error
}

// Window bounds a backfill: what Azure took in at From or later, and before To.
type Window struct{ From, To time.Time }

// Contains tells whether Azure took something in within the window.
func (w Window) Contains(t time.Time) bool { return !t.Before(w.From) && t.Before(w.To) }

// Progress is what a Source may also implement, to say how much of a backfill is
// done, in a unit of its own: bytes, or seconds of the window. The total may
// grow; 0 means that it is not known yet. It may be called at any time.
type Progress interface {
	Progress() (done, total int64)
}
