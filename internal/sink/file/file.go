package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/durable"
	"github.com/lazuli-logs/lazuli/internal/event"
)

// Deps is what a Sink needs beside its settings.
type Deps struct {
	Logger *slog.Logger
	Now    func() time.Time
}

// Sink writes events to a file. Deliver may be called concurrently; calls are
// written one after the other.
type Sink struct {
	cfg  Config
	deps Deps

	mu     sync.Mutex
	f      *os.File  // the active file, locked against other processes; guarded by mu
	size   int64     // of whole lines in f; guarded by mu
	period time.Time // the rotation period f belongs to; guarded by mu
	buf    []byte    // of chunkSize; guarded by mu

	stop       context.CancelFunc
	background sync.WaitGroup
	compress   chan struct{} // wakes the compressor
}

// New opens the file, cuts off a line that a crash left half written, and
// finishes compressions that a crash interrupted.
func New(cfg Config, deps Deps) (*Sink, error) {
	s := &Sink{cfg: cfg, deps: deps, buf: make([]byte, 0, chunkSize), compress: make(chan struct{}, 1)}
	if err := os.MkdirAll(filepath.Dir(s.path()), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of the output file: %w", err)
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.background.Go(func() { s.compressRotated(ctx) })
	if cfg.Rotate.Every > 0 {
		s.background.Go(func() { s.rotateOnTime(ctx) })
	}
	return s, nil
}

func (s *Sink) path() string { return string(s.cfg.Path) }

// open needs mu, or no other user of s.
func (s *Sink) open() error {
	f, err := os.OpenFile(s.path(), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open the output file: %w", err)
	}
	if err := durable.Lock(f, false); err != nil {
		f.Close()
		return fmt.Errorf("output file %q is written by another process: stop it, or give this sink a path of its own (%w)", s.path(), err)
	}
	size, cut, err := durable.CutTornLine(f)
	if err != nil {
		f.Close()
		return fmt.Errorf("look for a torn line in %q: %w", s.path(), err)
	}
	if cut > 0 {
		s.deps.Logger.Warn("cut off a line that was half written at a crash; it was not confirmed and will come again",
			"file", s.path(), "bytes", cut)
	}
	s.f, s.size, s.period = f, size, s.periodOf(s.deps.Now())
	if size > 0 {
		if info, err := f.Stat(); err == nil {
			s.period = s.periodOf(info.ModTime())
		}
	}
	return durable.SyncDir(filepath.Dir(s.path()))
}

// Deliver implements sink.Sink: after nil, the events are on the disk.
func (s *Sink) Deliver(_ context.Context, events []event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var size int64
	for i := range events {
		size += int64(len(events[i].Data)) + 1
	}
	if s.f == nil { // an earlier rotation could not open the new file
		if err := s.open(); err != nil {
			return err
		}
	}
	if s.size > 0 && (s.size+size > int64(s.cfg.Rotate.Size) || s.periodOf(s.deps.Now()).After(s.period)) {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	if s.size == 0 {
		s.period = s.periodOf(s.deps.Now())
	}
	err := s.write(events)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		// Nothing of a batch that is not confirmed may stay: it comes again.
		if cutErr := s.f.Truncate(s.size); cutErr != nil {
			err = errors.Join(err, cutErr)
		}
		return fmt.Errorf("write to the output file: %w", err)
	}
	s.size += size
	return nil
}

// chunkSize is how much is put together for one write: enough that its cost
// does not count, and little enough to stay in the processor's cache.
const chunkSize = 256 << 10

// write writes the events behind what the file holds; it needs mu.
func (s *Sink) write(events []event.Event) error {
	at := s.size
	s.buf = s.buf[:0]
	flush := func(p []byte) error {
		n, err := s.f.WriteAt(p, at)
		at += int64(n)
		s.buf = s.buf[:0]
		return err
	}
	for i := range events {
		data := events[i].Data
		if len(s.buf)+len(data)+1 > cap(s.buf) {
			if err := flush(s.buf); err != nil {
				return err
			}
			if len(data)+1 > cap(s.buf) {
				if err := flush(data); err != nil {
					return err
				}
				data = nil
			}
		}
		s.buf = append(append(s.buf, data...), '\n')
	}
	return flush(s.buf)
}

// Close implements sink.Sink. It waits for a compression that is under way.
func (s *Sink) Close(context.Context) error {
	s.stop()
	s.background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}
