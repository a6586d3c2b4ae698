// Package stdin reads records from the standard input until it ends: what another
// program writes into a pipe. Each line is a payload.
//
// A pipe cannot be read twice, so there is no checkpoint that a restart could go
// on from: what was read and not confirmed when Lazuli is killed is gone. At a
// stop, what was read is still delivered.
package stdin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Config is the settings of a stdin source; it has none.
type Config struct{}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config { return &Config{} }

// Validate implements config.Component.
func (*Config) Validate(*config.Report) {}

const (
	chunk = 256 << 10
	// maxLine is the longest line; what is longer is emitted in pieces, which
	// become dead letters.
	maxLine = 16 << 20
)

// Deps is what the program passes to a source.
type Deps struct {
	Name   string // configured name of the source
	Host   string // name of this machine, a part of the records' identity
	In     io.Reader
	Status *status.Component
	Grace  time.Duration // how long closing waits for what is in flight
	Now    func() time.Time
}

// Source reads one stream to its end. It implements source.Source.
type Source struct{ deps Deps }

// New returns a source.
func New(deps Deps) *Source { return &Source{deps: deps} }

// read is what a Read returned.
type read struct {
	data []byte
	err  error
}

// Run implements source.Source. It returns nil at the end of the input.
func (s *Source) Run(ctx context.Context, out source.Output) (err error) {
	stream, err := out.Open(ctx, event.Origin{
		Source: s.deps.Name, Partition: "stdin",
		// Another run reads other records at the same positions.
		Namespace: fmt.Sprintf("stdin/%s/%d", s.deps.Host, s.deps.Now().UnixNano()),
	})
	if err != nil {
		return err
	}
	s.deps.Status.Set(status.OK, "", "")
	// What was read is not in the pipe any more: a stop has the grace period to
	// deliver it.
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(s.deps.Grace, cancel) })
	defer stop()
	defer func() { err = errors.Join(err, stream.Close(late)) }()
	// A Read of a pipe cannot be interrupted: at a stop it is left behind.
	reads := make(chan read)
	done := make(chan struct{})
	defer close(done)
	go s.read(reads, done)
	var at int64
	var rest []byte // the beginning of a line
	for {
		var r read
		select {
		case r = <-reads:
		case <-ctx.Done():
			r.err = io.EOF
			select {
			case r = <-reads:
				r.err = io.EOF
			default:
			}
		}
		buf := append(rest, r.data...)
		end := bytes.LastIndexByte(buf, '\n') + 1
		if r.err != nil || len(buf)-end > maxLine {
			end = len(buf)
		}
		if emit(late, stream, buf[:end], at) != nil {
			return nil // the pipeline takes no more
		}
		at += int64(end)
		// What was emitted belongs to the pipeline.
		rest = append(make([]byte, 0, len(buf)-end+chunk), buf[end:]...)
		if errors.Is(r.err, io.EOF) {
			return nil
		}
		if r.err != nil {
			return fmt.Errorf("read the standard input: %w", r.err)
		}
	}
}

func (s *Source) read(reads chan<- read, done <-chan struct{}) {
	for {
		buf := make([]byte, chunk)
		n, err := s.deps.In.Read(buf)
		select {
		case reads <- read{buf[:n], err}:
		case <-done:
			return
		}
		if err != nil {
			return
		}
	}
}

// emit hands over the lines in buf, which stands at that offset.
func emit(ctx context.Context, stream source.Stream, buf []byte, at int64) error {
	var batch []event.Payload
	for len(buf) > 0 {
		line, rest, _ := bytes.Cut(buf, []byte{'\n'})
		if len(bytes.TrimSpace(line)) > 0 {
			batch = append(batch, event.Payload{Body: line, Position: at})
		}
		at += int64(len(buf) - len(rest))
		buf = rest
	}
	if len(batch) == 0 {
		return nil
	}
	return stream.Emit(ctx, batch, checkpoint.Cursor(fmt.Sprintf("v1:%d", at)))
}

// Forgetful is the store of a source that cannot go on where it stopped. It may
// be used concurrently.
type Forgetful struct{}

// Load implements checkpoint.Store.
func (Forgetful) Load(context.Context, checkpoint.Key) (checkpoint.Cursor, error) { return "", nil }

// Save implements checkpoint.Store.
func (Forgetful) Save(context.Context, checkpoint.Key, checkpoint.Cursor) error { return nil }

// List implements checkpoint.Store.
func (Forgetful) List(context.Context, string) ([]checkpoint.Entry, error) { return nil, nil }
