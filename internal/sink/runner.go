package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// bestEffortBytes bounds what waits for a best-effort sink, beyond the budget
// of bytes in flight: nobody waits for it, so it must not hold others' memory.
const bestEffortBytes = 16 << 20

// RunnerConfig is what a Runner needs.
type RunnerConfig struct {
	Name     string
	Sink     Sink
	Delivery config.SinkDelivery
	Letters  *deadletter.Store
	Logger   *slog.Logger
	Status   *status.Component
	Metrics  *telemetry.Metrics
	// Changed is called, without a lock, when a batch has come to its end, and
	// while the sink is down; nil: nobody asks.
	Changed func()
}

// Runner feeds one sink: it batches across partitions, retries with capped,
// jittered back-off, stores what is rejected as dead letters, and releases the
// hold on each event only when the destination has it or the dead letter is
// durable. Enqueue may be called concurrently.
type Runner struct {
	cfg   RunnerConfig
	queue *queue

	failingSince atomic.Int64 // unix nanoseconds of the first failure in a row; 0: the sink works
}

// NewRunner returns a Runner for one sink.
func NewRunner(cfg RunnerConfig) *Runner {
	var bound int64
	if !cfg.Delivery.Required() {
		bound = bestEffortBytes
	}
	return &Runner{cfg: cfg, queue: newQueue(bound)}
}

// Required tells whether checkpoints wait for this sink.
func (r *Runner) Required() bool { return r.cfg.Delivery.Required() }

// Enqueue takes events to deliver and never blocks. For a required sink, token
// must hold len(events) times for this call; the runner releases them one by
// one. For a best-effort sink token is nil, unless somebody does wait: a replay.
func (r *Runner) Enqueue(events []event.Event, token *ack.Token) {
	if len(events) == 0 {
		return
	}
	if n := r.queue.push(group{events: events, token: token, since: time.Now()}); n > 0 {
		r.cfg.Metrics.SinkDropped.WithLabelValues(r.cfg.Name).Add(float64(n))
	}
	r.observe()
}

func (r *Runner) observe() {
	r.cfg.Metrics.SinkQueuedEvents.WithLabelValues(r.cfg.Name).Set(float64(r.queue.len()))
}

// Run delivers until ctx ends and then closes the sink. What is not confirmed
// by then is not released: it will be read again. It is called once.
func (r *Runner) Run(ctx context.Context) error {
	r.cfg.Status.Set(status.OK, "nothing delivered yet", "")
	var workers sync.WaitGroup
	for range max(1, r.cfg.Delivery.Concurrency) {
		workers.Go(func() {
			d := &r.cfg.Delivery
			for {
				b, ok := r.queue.pop(ctx, d.Batch)
				if !ok {
					return
				}
				n := len(b.events)
				r.deliver(ctx, b)
				r.queue.done(n)
				r.observe()
				r.changed()
			}
		})
	}
	workers.Wait()
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := r.cfg.Sink.Close(closeCtx)
	r.cfg.Status.Set(status.Stopped, "", "")
	if err != nil {
		return fmt.Errorf("close sink %q: %w", r.cfg.Name, err)
	}
	return nil
}

// Hurry makes the runner send what is queued without waiting for fuller
// batches, from now on: the program is about to stop.
func (r *Runner) Hurry() { r.queue.drain() }

func (r *Runner) changed() {
	if r.cfg.Changed != nil {
		r.cfg.Changed()
	}
}

// Drain waits until nothing is queued or ctx ends. No Enqueue may follow.
func (r *Runner) Drain(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.queue.len() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// deliver brings one batch to its end: every event of it confirmed, or stored
// as a dead letter, or given up because ctx ended.
func (r *Runner) deliver(ctx context.Context, b batch) {
	for try := 0; ; try++ {
		start := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, r.cfg.Delivery.Timeout.Std())
		err := r.cfg.Sink.Deliver(callCtx, b.events)
		cancel()
		r.cfg.Metrics.SinkDeliverSeconds.WithLabelValues(r.cfg.Name).Observe(time.Since(start).Seconds())
		if err == nil {
			r.confirmed(b)
			return
		}
		var rejected batch
		var wait time.Duration
		var cause error
		rejected, b, wait, cause = r.sort(b, err)
		if len(rejected.events) > 0 {
			r.cfg.Metrics.SinkRejected.WithLabelValues(r.cfg.Name).Add(float64(len(rejected.events)))
			if !r.bury(ctx, rejected, "rejected", cause) {
				return
			}
		}
		if len(b.events) == 0 {
			r.working()
			return
		}
		if ctx.Err() != nil {
			return
		}
		if down := r.failing(err); r.spills(down) {
			r.cfg.Metrics.SinkSpilled.WithLabelValues(r.cfg.Name).Add(float64(len(b.events)))
			r.bury(ctx, b, "spilled", fmt.Errorf("the sink has been down for %v: %w", down.Round(time.Second), err))
			return
		}
		if r.down() {
			r.changed()
		}
		if wait == 0 {
			wait = r.backoff(try)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// sort splits a failed batch into what is rejected for good and what to try
// again, after at least wait; the rest was delivered and is released here.
func (r *Runner) sort(b batch, err error) (rejected, again batch, wait time.Duration, cause error) {
	retry := func(class string) {
		r.cfg.Metrics.SinkRetries.WithLabelValues(r.cfg.Name, class).Inc()
	}
	var partial *PartialError
	var throttled *ThrottledError
	switch {
	case errors.As(err, &partial):
		var done batch
		for i, e := range b.events {
			failure, failed := partial.Failed[i]
			to := &done
			switch {
			case !failed:
			case errors.Is(failure, ErrRejected):
				to, cause = &rejected, failure
			default:
				to = &again
				if errors.As(failure, &throttled) {
					wait = max(wait, throttled.After)
				}
			}
			to.events, to.tokens = append(to.events, e), append(to.tokens, b.tokens[i])
		}
		r.confirmed(done)
		if len(again.events) > 0 {
			retry("partial")
		}
		return rejected, again, wait, cause
	case errors.Is(err, ErrRejected):
		return b, batch{}, 0, err
	case errors.As(err, &throttled):
		retry("throttled")
		return batch{}, b, throttled.After, nil
	default:
		retry("error")
		return batch{}, b, 0, nil
	}
}

func (r *Runner) confirmed(b batch) {
	if len(b.events) == 0 {
		return
	}
	var size int
	for i := range b.events {
		size += len(b.events[i].Data)
	}
	r.cfg.Metrics.SinkEvents.WithLabelValues(r.cfg.Name).Add(float64(len(b.events)))
	r.cfg.Metrics.SinkBytes.WithLabelValues(r.cfg.Name).Add(float64(size))
	r.working()
	release(b.tokens)
}

// release gives up one hold per event, those of one token together.
func release(tokens []*ack.Token) {
	for i := 0; i < len(tokens); {
		n := 1
		for i+n < len(tokens) && tokens[i+n] == tokens[i] {
			n++
		}
		if tokens[i] != nil {
			tokens[i].Release(n)
		}
		i += n
	}
}

// bury stores a batch as dead letters, for as long as that takes, and then
// releases it. It returns false if ctx ended first.
func (r *Runner) bury(ctx context.Context, b batch, class string, cause error) bool {
	letters := make([]deadletter.Letter, len(b.events))
	for i, e := range b.events {
		letters[i] = deadletter.FromEvent(e, r.cfg.Name, class, cause.Error())
	}
	for try := 0; ; try++ {
		err := r.cfg.Letters.Put(ctx, letters...)
		if err == nil {
			r.cfg.Metrics.DeadLetters.WithLabelValues(class).Add(float64(len(letters)))
			r.cfg.Logger.Error("events went to the dead letters", "sink", r.cfg.Name, "events", len(letters), "class", class, "reason", cause)
			release(b.tokens)
			return true
		}
		r.cfg.Logger.Error("dead letters not stored: the sink waits", "sink", r.cfg.Name, "error", err)
		r.cfg.Status.Set(status.Retrying, err.Error(), "make room or fix the permissions of the dead letter folder")
		timer := time.NewTimer(r.backoff(try))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

func (r *Runner) working() {
	if r.failingSince.Swap(0) != 0 {
		r.cfg.Logger.Info("sink works again", "sink", r.cfg.Name)
	}
	r.cfg.Status.Set(status.OK, "", "")
}

// failing notes a failure and returns for how long the sink has been failing.
func (r *Runner) failing(err error) time.Duration {
	var partial *PartialError
	if errors.As(err, &partial) {
		_, err = partial.first()
	}
	state, remedy := status.Retrying, "check the destination; nothing is lost while it is down"
	var known *RemedyError
	if errors.As(err, &known) {
		remedy = known.Remedy
		if known.Person {
			state = status.Failed
		}
	}
	now := time.Now()
	if r.failingSince.CompareAndSwap(0, now.UnixNano()) {
		r.cfg.Logger.Warn("sink fails: its events are tried again", "sink", r.cfg.Name, "error", err, "remedy", remedy)
	}
	r.cfg.Status.Set(state, err.Error(), remedy)
	since := r.failingSince.Load()
	if since == 0 { // another worker got through in between
		return 0
	}
	return now.Sub(time.Unix(0, since))
}

// spills tells whether a required sink that has been down for that long sends
// its events to the dead letters so that the others can go on.
func (r *Runner) spills(down time.Duration) bool {
	after := r.cfg.Delivery.SpillAfter.Std()
	return after > 0 && r.cfg.Delivery.Required() && down >= after
}

// backoff returns the pause before try+1: doubled each time, capped, and
// jittered by half so that many instances do not come back together.
func (r *Runner) backoff(try int) time.Duration {
	d := r.cfg.Delivery.Retry.Initial.Std() << min(try, 20)
	if limit := r.cfg.Delivery.Retry.Max.Std(); d > limit || d <= 0 {
		d = limit
	}
	return d/2 + rand.N(d/2+1)
}
