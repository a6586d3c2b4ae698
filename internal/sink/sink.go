// Package sink is the contract between the pipeline and the destinations, and
// the runner that batches, retries and confirms.
package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
)

// Sink delivers to one destination.
type Sink interface {
	// Deliver returns nil only once the destination has said that it holds
	// every event. Any error means "not known to be delivered" and is retried
	// with the same events, unless it is a *PartialError or wraps ErrRejected.
	// It must not keep the events or their bytes after it returns, however it
	// returns: their memory is used again. It is called by at most the configured
	// number of workers at a time.
	Deliver(ctx context.Context, events []event.Event) error

	// Close releases what the sink holds. No Deliver runs or will follow.
	Close(ctx context.Context) error
}

// ErrRejected marks an error that sending the same events again cannot cure:
// they go to the dead letters.
var ErrRejected = errors.New("rejected by the destination")

// ThrottledError asks to wait before the next try.
type ThrottledError struct {
	After time.Duration
	Err   error
}

func (e *ThrottledError) Error() string { return fmt.Sprintf("throttled for %v: %v", e.After, e.Err) }

// Unwrap returns the destination's own error.
func (e *ThrottledError) Unwrap() error { return e.Err }

// PartialError says that some events of a batch failed; the others are
// delivered and must not be sent again.
type PartialError struct {
	Failed map[int]error // by index into the batch; each classified like Deliver's error
}

func (e *PartialError) Error() string {
	i, err := e.first()
	if err == nil {
		return "no event failed"
	}
	return fmt.Sprintf("%d events failed, event %d: %v", len(e.Failed), i, err)
}

// first returns the first event that is to be tried again, else the first one
// that failed.
func (e *PartialError) first() (index int, err error) {
	index = -1
	for i, failure := range e.Failed {
		better := errors.Is(err, ErrRejected) && !errors.Is(failure, ErrRejected)
		same := errors.Is(err, ErrRejected) == errors.Is(failure, ErrRejected)
		if index < 0 || better || same && i < index {
			index, err = i, failure
		}
	}
	return index, err
}

// RemedyError is an error of which the sink knows what the operator can do.
type RemedyError struct {
	Err    error
	Remedy string // e.g. a role to grant, with the command
	// Person says that it will not pass before somebody does so. It is tried
	// again all the same.
	Person bool
}

func (e *RemedyError) Error() string { return e.Err.Error() }

// Unwrap returns the destination's own error.
func (e *RemedyError) Unwrap() error { return e.Err }
