// Package sourcetest is the contract of source.Source as tests: a recording
// pipeline whose acknowledgements, back-pressure and crashes a test controls,
// and the suite that every source passes against its simulator.
//
// It knows no source, and no acknowledgement of the real pipeline: it keeps the
// safe cursor by a rule of its own, so that the two cannot share a mistake.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
)

// Recorder is a pipeline that keeps what it is given. A batch is confirmed when
// it is emitted, unless Hold was called. Its bell rings at every change. Its
// methods may be called concurrently.
type Recorder struct {
	Bell
	store checkpoint.Store
	name  string

	mu      sync.Mutex
	parts   map[string]*Partition // guarded by mu
	held    bool                  // nothing is confirmed by itself
	blocked bool                  // Emit waits
	crashed bool                  // nothing is saved, nothing is taken
}

// Partition is what a Recorder knows of one partition.
type Partition struct {
	Origin   event.Origin
	Resumed  checkpoint.Cursor   // what the newest stream resumed from
	Payloads []event.Payload     // all that were emitted, over all streams
	Cursors  []checkpoint.Cursor // one for each Emit
	Saved    checkpoint.Cursor   // the store has it
	Open     bool
	Opened   int  // how often
	Waiting  bool // an Emit is blocked

	ends    []int // for each Emit, how many payloads there were behind it
	sizes   []int // for each Emit, how many payloads it had
	pending []int // the Emits of the newest stream that are not confirmed
	safe    checkpoint.Cursor
}

// NewRecorder returns a pipeline for the source of that name.
func NewRecorder(store checkpoint.Store, name string) *Recorder {
	return &Recorder{store: store, name: name, parts: map[string]*Partition{}}
}

func (r *Recorder) update(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.Ring()
}

// Hold stops confirming: what is emitted from now on is in flight until Confirm.
func (r *Recorder) Hold() { r.update(func() { r.held = true }) }

// Block makes Emit wait until Unblock.
func (r *Recorder) Block() { r.update(func() { r.blocked = true }) }

// Unblock lets blocked and later calls of Emit pass.
func (r *Recorder) Unblock() { r.update(func() { r.blocked = false }) }

// Confirm confirms the oldest n batches of a partition that are in flight, with
// the empty ones that follow, and saves the cursor behind them.
func (r *Recorder) Confirm(ctx context.Context, partition string, n int) error {
	var cursor checkpoint.Cursor
	r.update(func() {
		p := r.parts[partition]
		n = min(n, len(p.pending))
		for n > 0 && n < len(p.pending) && p.sizes[p.pending[n]] == 0 {
			n++
		}
		if n > 0 {
			p.safe = p.Cursors[p.pending[n-1]]
			p.pending = p.pending[n:]
		}
		cursor = p.safe
	})
	return r.save(ctx, partition, cursor)
}

// Crash ends the pipeline as SIGKILL would: from now on nothing is taken and
// nothing is saved.
func (r *Recorder) Crash() { r.update(func() { r.crashed = true }) }

// Partition returns a copy of what is known of a partition.
func (r *Recorder) Partition(id string) Partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[id]
	if p == nil {
		return Partition{}
	}
	c := *p
	c.Payloads, c.Cursors, c.ends = slices.Clone(p.Payloads), slices.Clone(p.Cursors), slices.Clone(p.ends)
	return c
}

// Partitions returns the ids of all partitions that were opened, in order.
func (r *Recorder) Partitions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.parts))
}

// Bodies returns the bodies emitted for a partition, in order.
func (r *Recorder) Bodies(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[id]
	if p == nil {
		return nil
	}
	bodies := make([]string, len(p.Payloads))
	for i, payload := range p.Payloads {
		bodies[i] = string(payload.Body)
	}
	return bodies
}

// Count returns how many payloads were emitted for a partition.
func (r *Recorder) Count(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.parts[id]; p != nil {
		return len(p.Payloads)
	}
	return 0
}

func (r *Recorder) save(ctx context.Context, partition string, c checkpoint.Cursor) error {
	if c == "" {
		return nil
	}
	if err := r.store.Save(ctx, checkpoint.Key{Source: r.name, Partition: partition}, c); err != nil {
		return err
	}
	r.update(func() { r.parts[partition].Saved = c })
	return nil
}

// Open implements source.Output.
func (r *Recorder) Open(ctx context.Context, origin event.Origin) (source.Stream, error) {
	cursor, err := r.store.Load(ctx, checkpoint.Key{Source: origin.Source, Partition: origin.Partition})
	if err != nil {
		return nil, err
	}
	err = errors.New("crashed")
	r.update(func() {
		if r.crashed {
			return
		}
		p := r.parts[origin.Partition]
		if p == nil {
			p = &Partition{}
			r.parts[origin.Partition] = p
		}
		if p.Open {
			err = fmt.Errorf("open partition %q: it is open", origin.Partition)
			return
		}
		p.Origin, p.Resumed, p.Open, p.safe, p.pending = origin, cursor, true, cursor, nil
		p.Opened++
		err = nil
	})
	if err != nil {
		return nil, err
	}
	return &stream{recorder: r, partition: origin.Partition, resumed: cursor}, nil
}

type stream struct {
	recorder  *Recorder
	partition string
	resumed   checkpoint.Cursor
	closed    bool
}

func (s *stream) Resume() checkpoint.Cursor { return s.resumed }

func (s *stream) Emit(ctx context.Context, batch []event.Payload, next checkpoint.Cursor) error {
	if s.closed {
		return errors.New("emit into a closed stream")
	}
	r := s.recorder
	for {
		r.mu.Lock()
		changed, wait := r.rung(), r.blocked || r.crashed
		p := r.parts[s.partition]
		announced := p.Waiting
		r.mu.Unlock()
		if !wait {
			break
		}
		if !announced {
			r.update(func() { p.Waiting = true })
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var save checkpoint.Cursor
	r.update(func() {
		p := r.parts[s.partition]
		p.Waiting = false
		p.Payloads = append(p.Payloads, batch...)
		p.Cursors = append(p.Cursors, next)
		p.ends, p.sizes = append(p.ends, len(p.Payloads)), append(p.sizes, len(batch))
		// There is nothing to confirm in an empty batch, but what is before it.
		if r.held && (len(batch) > 0 || len(p.pending) > 0) {
			p.pending = append(p.pending, len(p.Cursors)-1)
		} else {
			p.safe, save = next, next
		}
	})
	return r.save(ctx, s.partition, save)
}

func (s *stream) Close(ctx context.Context) error {
	if s.closed {
		return errors.New("close of a closed stream")
	}
	s.closed = true
	r := s.recorder
	var cursor checkpoint.Cursor
	var waited error
	for {
		r.mu.Lock()
		p, changed := r.parts[s.partition], r.rung()
		pending, crashed := len(p.pending), r.crashed
		cursor = p.safe
		r.mu.Unlock()
		if crashed {
			cursor = ""
			break
		}
		if pending == 0 {
			break
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			waited = ctx.Err()
		}
		break
	}
	err := r.save(context.WithoutCancel(ctx), s.partition, cursor)
	r.update(func() { r.parts[s.partition].Open = false })
	return errors.Join(waited, err)
}

// Store is a checkpoint.Store in memory. It survives a crash of the Recorder.
type Store struct {
	mu      sync.Mutex
	cursors map[checkpoint.Key]checkpoint.Cursor // guarded by mu
	fail    error                                // guarded by mu
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{cursors: map[checkpoint.Key]checkpoint.Cursor{}} }

// Fail makes every method return err until it is called with nil.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Load implements checkpoint.Store.
func (s *Store) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[k], s.fail
}

// Save implements checkpoint.Store.
func (s *Store) Save(_ context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		s.cursors[k] = c
	}
	return s.fail
}

// List implements checkpoint.Store.
func (s *Store) List(_ context.Context, source string) ([]checkpoint.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []checkpoint.Entry
	for k, c := range s.cursors {
		if k.Source == source {
			entries = append(entries, checkpoint.Entry{Key: k, Cursor: c})
		}
	}
	return entries, s.fail
}
