package storage

import (
	"context"
	"errors"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// never is when a blob is read again that there is no more of.
const never time.Duration = -1

// settle waits, beside the workers, until what was emitted of a blob is
// confirmed and saved, and then lets go of it, or reads it again after a while.
func (s *Source) settle(closing context.Context, b *blob, again time.Duration) {
	s.mu.Lock()
	b.state = settling
	s.mu.Unlock()
	if b.stream == nil {
		s.settled(b, again)
		return
	}
	s.settling.Go(func() {
		if !s.closeStream(closing, b) {
			again = jitter(s.timing.failed)
		}
		s.settled(b, again)
	})
}

// closeStream closes a blob's stream. If what is saved then is not all that was
// emitted, it sets the blob back to that and returns false.
func (s *Source) closeStream(closing context.Context, b *blob) bool {
	stream, emitted := b.stream, b.last
	b.stream = nil
	key := checkpoint.Key{Source: s.deps.Name, Partition: b.partition()}
	ctx := context.WithoutCancel(closing)
	// While the store fails, the runner goes on trying to save what is confirmed;
	// closing now would mean to deliver it again.
	for s.storeFails.Load() && closing.Err() == nil {
		if saved, err := s.deps.Checkpoints.Load(ctx, key); err == nil && saved == emitted {
			s.storeFails.Store(false)
			break
		}
		sleep(closing, s.timing.tick)
	}
	err := stream.Close(closing)
	saved, loadErr := s.deps.Checkpoints.Load(ctx, key)
	if err == nil && loadErr == nil && saved == emitted {
		s.mu.Lock()
		b.saved = saved != ""
		s.mu.Unlock()
		return true
	}
	// What was not confirmed, or not saved, is read again.
	b.pos, b.header = position{}, nil
	if loadErr == nil && saved != "" {
		b.pos, loadErr = parseCursor(saved)
	}
	if err = errors.Join(err, loadErr); err != nil && closing.Err() == nil {
		s.storeFails.Store(true)
		s.log.Warn("a blob's position was not saved: it is read again from the last that was", "blob", b.partition(), "error", err)
	}
	s.mu.Lock()
	b.clean, b.dirty = false, true
	s.mu.Unlock()
	return false
}

// settled makes a blob idle, or queues it again if there is news of it.
func (s *Source) settled(b *blob, again time.Duration) {
	s.mu.Lock()
	if again == never && b.dirty {
		again = 0
	}
	if b.closed {
		again = never
	}
	var notices []*notice
	if again == never {
		b.state, b.noted = idle, time.Time{}
		s.pending--
		s.signalLocked()
		notices, b.notices = b.notices, nil
	} else {
		b.state = queued
	}
	s.mu.Unlock()
	s.schedule.done()
	for _, n := range notices {
		n.done()
	}
	switch {
	case again == 0:
		s.schedule.add(b, false)
	case again > 0:
		schedule := s.schedule // of this lease
		time.AfterFunc(again, func() { schedule.add(b, false) })
	}
}

func (s *Source) signalLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}
