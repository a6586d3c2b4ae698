package source

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Turns lets instances of Lazuli take turns at a source: the one that holds the
// lease on its checkpoints reads. docs/adr/0014 has the reasons.
type Turns struct {
	Lease  checkpoint.Lease // nil: there is one instance, and it reads
	Once   bool             // do not wait for a turn
	Owned  func(held bool)  // told whether this instance reads
	Logger *slog.Logger
	Health *status.Group
	Part   string // of Health, that the checkpoints are
	Timing TurnTiming
}

// TurnTiming holds what tests shorten.
type TurnTiming struct {
	Retry    time.Duration // first wait after a failure that passes
	RetryMax time.Duration
	Standby  time.Duration // between two tries to get the lease that another instance has
	Release  time.Duration // for the answer when the lease is given back
}

// DefaultTurnTiming lets another instance take over within about a minute of a
// crash, the time of the lease.
func DefaultTurnTiming() TurnTiming {
	return TurnTiming{Retry: 500 * time.Millisecond, RetryMax: 30 * time.Second, Standby: 10 * time.Second, Release: 2 * time.Minute}
}

// Run calls read whenever it is this instance's turn, until ctx ends, read
// returns an error or, once, has read. The context of read ends, and lost is
// closed, when the lease is lost; lost is nil where there is no lease.
func (t *Turns) Run(ctx context.Context, read func(ctx context.Context, lost <-chan struct{}) error) error {
	if t.Lease == nil {
		return read(ctx, nil)
	}
	wait := t.Timing.Retry
	for ctx.Err() == nil {
		lost, err := t.Lease.Acquire(ctx)
		switch {
		case err == nil:
			wait = t.Timing.Retry
			if err := t.turn(ctx, lost, read); err != nil || t.Once || ctx.Err() != nil {
				return err
			}
			t.Logger.Warn("another instance may read the source now: this one lost its lease")
			continue
		case errors.Is(err, checkpoint.ErrHeld) && t.Once:
			return err
		case errors.Is(err, checkpoint.ErrHeld):
			t.Health.OK(t.Part)
			t.Health.Note("another instance reads this source; this one takes over when that ends", "")
			wait = t.Timing.Standby
		case ctx.Err() == nil:
			t.Health.Set(t.Part, status.Problem{State: status.Retrying, Reason: err.Error(), Remedy: "check the checkpoint container"})
			t.Logger.Warn("checkpoints cannot be read: it is tried again", "error", err)
			wait = min(2*wait, t.Timing.RetryMax)
			if t.Once {
				return err
			}
		}
		// Instances do not ask at the same moment.
		timer := time.NewTimer(time.Duration(float64(wait) * (0.75 + rand.Float64()/2)))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

// turn reads while the lease is held, and gives it back.
func (t *Turns) turn(ctx context.Context, lost <-chan struct{}, read func(context.Context, <-chan struct{}) error) error {
	t.Logger.Info("this instance reads the source")
	t.Health.OK(t.Part)
	t.Health.Note("", "")
	t.Owned(true)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-lost:
			stop()
		case <-reading.Done():
		}
	}()
	err := read(reading, lost)
	t.Owned(false)
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Timing.Release)
	defer cancel()
	if failed := t.Lease.Release(release); failed != nil {
		t.Logger.Warn("the lease was not given back: another instance has to wait until it runs out", "error", failed)
	}
	return err
}

// lostDrain is for what is in flight when the lease is lost: another instance
// reads it.
const lostDrain = 2 * time.Second

// Closing is the context for giving partitions up: it outlives ctx by the grace
// period or, if the lease is lost, by little.
func Closing(ctx context.Context, lost <-chan struct{}, grace time.Duration) (context.Context, context.CancelFunc) {
	closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		left := grace
		select {
		case <-lost:
			left = lostDrain
		default:
		}
		time.AfterFunc(left, cancel)
	})
	return closing, func() { stop(); cancel() }
}
