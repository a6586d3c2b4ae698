package httpsink

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// keptBuffers, keptBytes and keptRuns bound what an Encoder holds for later use.
	keptBuffers = 16
	keptBytes   = 8 << 20
	keptRuns    = 64 << 10
)

// Encoder makes payloads in one compression and uses the memory of old ones
// again. It may be used concurrently.
type Encoder struct {
	compression string

	mu      sync.Mutex
	buffers []buffer        // guarded by mu
	gzips   []*gzip.Writer  // guarded by mu
	zstds   []*zstd.Encoder // guarded by mu
}

// NewEncoder returns an encoder for "none", "gzip" or "zstd".
func NewEncoder(compression string) *Encoder { return &Encoder{compression: compression} }

// ContentEncoding is the value of the header, "" for none.
func (e *Encoder) ContentEncoding() string {
	if e.compression == "none" {
		return ""
	}
	return e.compression
}

// buffer is the memory of a body: bytes of its own, and what is between them.
type buffer struct {
	own    []byte
	shared []shared
	runs   [][]byte // the body in order
}

// shared is bytes that are not the body's own, and how many of those stand
// before.
type shared struct {
	after int
	bytes []byte
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.own = append(b.own, p...)
	return len(p), nil
}

// Payload is a request body: written, finished, sent any number of times, and
// freed. Not safe for concurrent writes.
type Payload struct {
	encoder *Encoder
	to      compressor // nil without compression
	plain   int
	size    int

	mu    sync.Mutex // guards what follows once it is finished
	body  buffer
	freed bool
}

type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// New returns an empty payload.
func (e *Encoder) New() *Payload {
	p := &Payload{encoder: e}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.buffers); n > 0 {
		p.body, e.buffers = e.buffers[n-1], e.buffers[:n-1]
	}
	switch e.compression {
	case "gzip":
		p.to = take(&e.gzips, func() *gzip.Writer {
			w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level exists
			return w
		})
	case "zstd":
		p.to = take(&e.zstds, func() *zstd.Encoder {
			// The options are constants that exist. One goroutine, a window that
			// suits bodies of a MiB.
			w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
			return w
		})
	}
	if p.to != nil {
		p.to.Reset(&p.body)
	}
	return p
}

// Body returns a finished payload, which is b without compression.
func Body(b []byte) *Payload {
	p := NewEncoder("none").New()
	_, _ = p.Share(b)
	_ = p.Finish() // only compression fails
	return p
}

func take[T any](free *[]T, fresh func() T) T {
	if n := len(*free); n > 0 {
		t := (*free)[n-1]
		*free = (*free)[:n-1]
		return t
	}
	return fresh()
}

// Write appends to the body.
func (p *Payload) Write(b []byte) (int, error) {
	p.plain += len(b)
	if p.to == nil {
		return p.body.Write(b)
	}
	return p.to.Write(b)
}

// Share appends bytes that stay as they are until Free: without compression they
// are not copied before the transport does.
func (p *Payload) Share(b []byte) (int, error) {
	if p.to != nil {
		return p.Write(b)
	}
	p.plain += len(b)
	p.body.shared = append(p.body.shared, shared{len(p.body.own), b})
	return len(b), nil
}

// Plain is the size of what was written, before compression.
func (p *Payload) Plain() int { return p.plain }

// Finish ends the body. It must be called once before it is sent.
func (p *Payload) Finish() error {
	var err error
	if p.to != nil {
		err = p.to.Close()
		p.encoder.giveBack(p.to)
		p.to = nil
	}
	at := 0
	b := &p.body
	for _, s := range b.shared {
		if s.after > at {
			b.runs = append(b.runs, b.own[at:s.after])
			at = s.after
		}
		b.runs = append(b.runs, s.bytes)
	}
	b.runs = append(b.runs, b.own[at:])
	for _, run := range b.runs {
		p.size += len(run)
	}
	if err != nil {
		return fmt.Errorf("compress with %s: %w", p.encoder.compression, err)
	}
	return nil
}

func (e *Encoder) giveBack(c compressor) {
	c.Reset(nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch w := c.(type) {
	case *gzip.Writer:
		if len(e.gzips) < keptBuffers {
			e.gzips = append(e.gzips, w)
		}
	case *zstd.Encoder:
		if len(e.zstds) < keptBuffers {
			e.zstds = append(e.zstds, w)
		}
	}
}

// Len is the size of the finished body.
func (p *Payload) Len() int { return p.size }

// WriteTo writes the finished body, for a digest of it.
func (p *Payload) WriteTo(w io.Writer) (n int64, err error) {
	for _, run := range p.body.runs {
		written, err := w.Write(run)
		if n += int64(written); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Free says that the payload will not be sent again. A transport may still read
// it, after the request has come back: it gets an error from now on.
func (p *Payload) Free() {
	if p.to != nil { // given up before it was finished
		p.encoder.giveBack(p.to)
		p.to = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.body
	p.body, p.freed = buffer{}, true
	clear(b.shared)
	clear(b.runs)
	b = buffer{b.own[:0], b.shared[:0], b.runs[:0]}
	if cap(b.own) > keptBytes || cap(b.runs) > keptRuns {
		return
	}
	p.encoder.mu.Lock()
	defer p.encoder.mu.Unlock()
	if len(p.encoder.buffers) < keptBuffers {
		p.encoder.buffers = append(p.encoder.buffers, b)
	}
}

// Reader returns the finished body from its start.
func (p *Payload) Reader() io.ReadSeekCloser { return &reader{p: p} }

// reader reads a payload. The lock of that is held while bytes are copied, which
// is never for longer than one Read takes, so that Free has the last word.
type reader struct {
	p *Payload

	run, at int // where it stands: in which of the runs, and where in that
	closed  bool
}

var errClosed = errors.New("the request body is closed")

func (r *reader) Read(b []byte) (n int, err error) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.closed || r.p.freed {
		return 0, errClosed
	}
	for runs := r.p.body.runs; n < len(b) && r.run < len(runs); {
		copied := copy(b[n:], runs[r.run][r.at:])
		n += copied
		if r.at += copied; r.at == len(runs[r.run]) {
			r.run, r.at = r.run+1, 0
		}
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.closed || r.p.freed {
		return 0, errClosed
	}
	runs := r.p.body.runs
	switch whence {
	case io.SeekCurrent:
		for _, run := range runs[:r.run] {
			offset += int64(len(run))
		}
		offset += int64(r.at)
	case io.SeekEnd:
		offset += int64(r.p.size)
	}
	if offset < 0 || offset > int64(r.p.size) {
		return 0, fmt.Errorf("seek to %d in a request body of %d bytes", offset, r.p.size)
	}
	left := offset
	for r.run, r.at = 0, 0; r.run < len(runs) && left >= int64(len(runs[r.run])); r.run++ {
		left -= int64(len(runs[r.run]))
	}
	r.at = int(left)
	return offset, nil
}

func (r *reader) Close() error {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.closed = true
	return nil
}
