// Package stdout delivers events to the standard output, one JSON object a
// line. What is written to a pipe counts as delivered: whether its reader keeps
// it, Lazuli cannot know.
package stdout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
)

// Config is the settings of the stdout sink; it has none.
type Config struct{}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config { return &Config{} }

// Validate implements config.Component.
func (*Config) Validate(*config.Report) {}

// DeliveryDefaults implements config.DeliveryDefaulter: one writer, and little
// delay for whoever watches.
func (*Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Concurrency = 1
	d.Batch = config.Batch{Events: 5000, Bytes: 4 << 20, Wait: config.Duration(100 * time.Millisecond)}
}

// Sink writes events to one writer. Deliver may be called concurrently; calls
// are written one after the other.
type Sink struct {
	mu  sync.Mutex
	out io.Writer     // guarded by mu
	buf *bufio.Writer // guarded by mu
}

// New returns a sink that writes to out.
func New(out io.Writer) *Sink { return &Sink{out: out, buf: bufio.NewWriterSize(out, 64<<10)} }

// Deliver implements sink.Sink.
func (s *Sink) Deliver(_ context.Context, events []event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset(s.out) // an earlier error would stick to it
	for i := range events {
		_, _ = s.buf.Write(events[i].Data) // Flush returns the first error
		_ = s.buf.WriteByte('\n')
	}
	if err := s.buf.Flush(); err != nil {
		return fmt.Errorf("write to the standard output: %w", err)
	}
	return nil
}

// Close implements sink.Sink; the standard output stays open.
func (s *Sink) Close(context.Context) error { return nil }
