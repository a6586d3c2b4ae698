package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/budget"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// Process decodes, normalizes and queues one batch of a partition. It adds a
// hold to the token for each (event, required sink) pair before it returns, and
// returns what stays in memory until those are released: its size, and a
// function that takes it back. An error means that ctx ended before all of the
// batch was taken care of.
type Process func(ctx context.Context, origin *event.Origin, batch []event.Payload, token *ack.Token) (Held, error)

// Held is the memory of a batch that is not confirmed yet.
type Held struct {
	Bytes int64
	Free  func() // called once, when every hold is released; may be nil
}

// RunnerConfig is what a Runner needs.
type RunnerConfig struct {
	Name    string
	Store   checkpoint.Store
	Budget  *budget.Budget
	Process Process
	// Estimate returns how many bytes a batch of that size will hold once it is
	// processed; nil takes the size itself.
	Estimate  func(size int64) int64
	SaveEvery time.Duration // how often safe cursors are saved
	Grace     time.Duration // how long streams may drain after the run's context ends
	Logger    *slog.Logger
	Status    *status.Component // of the checkpoint store
	Metrics   *telemetry.Metrics
}

// Runner runs one source: it is the Output that the source sees, bounds what
// is in flight, and saves the safe cursor of each partition.
//
// After a crash the store holds, for each partition, a cursor behind which
// everything was resolved; it may be SaveEvery old.
type Runner struct {
	cfg RunnerConfig

	mu      sync.Mutex
	streams map[string]*stream // by partition; guarded by mu

	graceOver chan struct{} // closed when streams must not wait any longer
}

// NewRunner returns a Runner for one source.
func NewRunner(cfg RunnerConfig) *Runner {
	return &Runner{cfg: cfg, streams: map[string]*stream{}, graceOver: make(chan struct{})}
}

// Run runs src until it returns, saving cursors meanwhile. When ctx ends,
// streams have the grace period to drain. It is called once.
func (r *Runner) Run(ctx context.Context, src Source) error {
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(r.cfg.Grace, func() { close(r.graceOver) })
	})
	defer stop()
	done := make(chan struct{})
	var saver sync.WaitGroup
	saver.Go(func() { r.saveUntil(done) })
	err := src.Run(ctx, r)
	close(done)
	saver.Wait()
	// A source closes its streams itself; what a failed one left open is saved here.
	r.saveAll(context.WithoutCancel(ctx))
	r.observe()
	return err
}

// Open implements Output.
func (r *Runner) Open(ctx context.Context, origin event.Origin) (Stream, error) {
	key := checkpoint.Key{Source: r.cfg.Name, Partition: origin.Partition}
	cursor, err := r.cfg.Store.Load(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("load the checkpoint of partition %q: %w", origin.Partition, err)
	}
	if r.cfg.Status.Report().State == status.Starting {
		r.cfg.Status.Set(status.OK, "", "")
	}
	s := &stream{r: r, key: key, origin: &origin, resume: cursor, saved: cursor, tracker: ack.NewTracker(cursor)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams[origin.Partition] != nil {
		return nil, fmt.Errorf("open partition %q: it is open already", origin.Partition)
	}
	r.streams[origin.Partition] = s
	return s, nil
}

// saveUntil saves on each tick. The pending ages are observed more often than
// they are saved: saves cost money in a blob store.
func (r *Runner) saveUntil(done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	save := time.NewTicker(r.cfg.SaveEvery)
	defer save.Stop()
	observe := time.NewTicker(time.Second)
	defer observe.Stop()
	for {
		select {
		case <-done:
			return
		case <-observe.C:
			r.observe()
		case <-save.C:
			r.saveAll(ctx)
		}
	}
}

func (r *Runner) open() []*stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*stream, 0, len(r.streams))
	for _, s := range r.streams {
		all = append(all, s)
	}
	return all
}

func (r *Runner) saveAll(ctx context.Context) {
	if journal, ok := r.cfg.Store.(checkpoint.Journal); ok {
		r.saveTogether(ctx, journal)
		return
	}
	for _, s := range r.open() {
		_ = s.save(ctx) // logged and counted there, and tried again at the next tick
	}
}

// saveTogether saves every cursor that has moved, in one call.
func (r *Runner) saveTogether(ctx context.Context, journal checkpoint.Journal) {
	var moved []*stream
	var entries []checkpoint.Entry
	for _, s := range r.open() {
		s.mu.Lock() // until its cursor is saved: Close must not save an older one after this
		if safe := s.tracker.Safe(); safe != s.saved {
			moved = append(moved, s)
			entries = append(entries, checkpoint.Entry{Key: s.key, Cursor: safe})
		} else {
			s.mu.Unlock()
		}
	}
	if len(moved) == 0 {
		return
	}
	err := journal.SaveAll(ctx, entries)
	for i, s := range moved {
		if err == nil {
			s.saved = entries[i].Cursor
		}
		s.mu.Unlock()
	}
	r.report(ctx, fmt.Sprintf("%d partitions of %s", len(moved), r.cfg.Name), err, len(moved))
}

// report tells how saving the cursors of what went.
func (r *Runner) report(ctx context.Context, what string, err error, n int) {
	if err == nil {
		r.cfg.Metrics.CheckpointSaves.WithLabelValues(r.cfg.Name).Add(float64(n))
		r.cfg.Status.Set(status.OK, "", "")
		return
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	r.cfg.Metrics.CheckpointSaveErrors.WithLabelValues(r.cfg.Name).Inc()
	r.cfg.Status.Set(status.Retrying, fmt.Sprintf("save the checkpoint of %s: %v", what, err),
		"check the checkpoint store; deliveries go on, but a restart would repeat them")
	r.cfg.Logger.Warn("checkpoint not saved: it is tried again", "source", r.cfg.Name, "of", what, "error", err)
}

func (r *Runner) observe() {
	var oldest time.Time
	for _, s := range r.open() {
		if _, at := s.tracker.Pending(); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	age := 0.0
	if !oldest.IsZero() {
		age = time.Since(oldest).Seconds()
	}
	r.cfg.Metrics.CheckpointOldestPending.WithLabelValues(r.cfg.Name).Set(age)
}

type stream struct {
	r       *Runner
	key     checkpoint.Key
	origin  *event.Origin
	resume  checkpoint.Cursor
	tracker *ack.Tracker[checkpoint.Cursor]

	mu    sync.Mutex        // serializes saves
	saved checkpoint.Cursor // guarded by mu
}

// Resume implements Stream.
func (s *stream) Resume() checkpoint.Cursor { return s.resume }

// Emit implements Stream.
func (s *stream) Emit(ctx context.Context, batch []event.Payload, next checkpoint.Cursor) error {
	var size int64
	for i := range batch {
		size += int64(len(batch[i].Body))
	}
	// What a batch becomes is many times larger than the batch: a flow log is an
	// event for each of its tuples.
	taken := size
	if s.r.cfg.Estimate != nil {
		taken = s.r.cfg.Estimate(size)
	}
	b := s.r.cfg.Budget
	if err := b.Acquire(ctx, taken); err != nil {
		return err
	}
	defer b.Settle()
	// held is written before this goroutine releases its own hold, and read
	// after the last release.
	held := new(Held)
	token := s.tracker.Add(next, time.Now(), func() {
		if held.Free != nil {
			held.Free()
		}
		b.Adjust(-held.Bytes)
	})
	if len(batch) > 0 {
		m := s.r.cfg.Metrics
		m.SourceReceivedPayloads.WithLabelValues(s.r.cfg.Name).Add(float64(len(batch)))
		m.SourceReceivedBytes.WithLabelValues(s.r.cfg.Name).Add(float64(size))
		kept, err := s.r.cfg.Process(ctx, s.origin, batch, token)
		if err != nil {
			// The token keeps its first hold, so the cursor never passes this batch.
			b.Adjust(-taken)
			return fmt.Errorf("process a batch of partition %q: %w", s.key.Partition, err)
		}
		*held = kept
	}
	b.Adjust(held.Bytes - taken)
	token.Release(1)
	return nil
}

// Close implements Stream.
func (s *stream) Close(ctx context.Context) error {
	defer func() {
		s.r.mu.Lock()
		delete(s.r.streams, s.key.Partition)
		s.r.mu.Unlock()
	}()
	for {
		changed := s.tracker.Changed()
		if n, _ := s.tracker.Pending(); n == 0 {
			break
		}
		select {
		case <-changed:
			continue
		case <-s.r.graceOver:
		case <-ctx.Done():
		}
		if n, oldest := s.tracker.Pending(); n > 0 {
			s.r.cfg.Logger.Warn("partition closed before everything was confirmed: it will be read again",
				"source", s.key.Source, "partition", s.key.Partition, "batches", n, "oldest", oldest)
		}
		break
	}
	// The cursor is worth saving even when ctx has ended.
	saveCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.save(saveCtx)
}

// save stores the safe cursor if it has moved since the last save.
func (s *stream) save(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	safe := s.tracker.Safe()
	if safe == s.saved {
		return nil
	}
	err := s.r.cfg.Store.Save(ctx, s.key, safe)
	s.r.report(ctx, s.key.Source+"/"+s.key.Partition, err, 1)
	if err != nil {
		return fmt.Errorf("save the checkpoint of partition %q: %w", s.key.Partition, err)
	}
	s.saved = safe
	return nil
}
