package httpsink

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// keptBuffers and keptBytes bound what an Encoder holds for later use.
	keptBuffers = 16
	keptBytes   = 8 << 20
)

// Encoder makes payloads in one compression and uses the memory of old ones
// again. It may be used concurrently.
type Encoder struct {
	compression string

	mu      sync.Mutex
	buffers [][]byte        // guarded by mu
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

// Payload is a request body: written, finished, sent any number of times, and
// freed. Its memory is used again only when the transport too has let go of it,
// which may be after the request has come back. Not safe for concurrent writes.
type Payload struct {
	encoder *Encoder
	out     sliceWriter
	to      compressor // nil without compression
	plain   int
	refs    atomic.Int32
}

type compressor interface {
	io.WriteCloser
	Reset(w io.Writer)
}

type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// New returns an empty payload.
func (e *Encoder) New() *Payload {
	p := &Payload{encoder: e}
	p.refs.Store(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.buffers); n > 0 {
		p.out.b, e.buffers = e.buffers[n-1][:0], e.buffers[:n-1]
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
		p.to.Reset(&p.out)
	}
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
		p.out.b = append(p.out.b, b...)
		return len(b), nil
	}
	return p.to.Write(b)
}

// Plain is the size of what was written, before compression.
func (p *Payload) Plain() int { return p.plain }

// Finish ends the body. It must be called once before it is sent.
func (p *Payload) Finish() error {
	if p.to == nil {
		return nil
	}
	err := p.to.Close()
	p.encoder.giveBack(p.to)
	p.to = nil
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
func (p *Payload) Len() int { return len(p.out.b) }

// Bytes is the finished body; it must not be used after Free.
func (p *Payload) Bytes() []byte { return p.out.b }

// Free says that the payload will not be sent again.
func (p *Payload) Free() {
	if p.to != nil { // given up before it was finished
		p.encoder.giveBack(p.to)
		p.to = nil
	}
	p.release()
}

func (p *Payload) release() {
	if p.refs.Add(-1) > 0 {
		return
	}
	b := p.out.b
	p.out.b = nil
	if cap(b) == 0 || cap(b) > keptBytes {
		return
	}
	p.encoder.mu.Lock()
	defer p.encoder.mu.Unlock()
	if len(p.encoder.buffers) < keptBuffers {
		p.encoder.buffers = append(p.encoder.buffers, b)
	}
}

// Reader returns the finished body from its start. The payload keeps its memory
// until every reader is closed, which net/http does in its own time.
func (p *Payload) Reader() io.ReadSeekCloser {
	p.refs.Add(1)
	return &reader{p: p}
}

// reader guards against a transport that reads while another part of it closes.
type reader struct {
	p *Payload

	mu     sync.Mutex
	at     int64 // guarded by mu
	closed bool  // guarded by mu
}

var errClosed = errors.New("the request body is closed")

func (r *reader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errClosed
	}
	if r.at >= int64(len(r.p.out.b)) {
		return 0, io.EOF
	}
	n := copy(b, r.p.out.b[r.at:])
	r.at += int64(n)
	return n, nil
}

// WriteTo hands the whole body over at once.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errClosed
	}
	n, err := w.Write(r.p.out.b[r.at:])
	r.at += int64(n)
	return int64(n), err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errClosed
	}
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += int64(len(r.p.out.b))
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d in a request body", offset)
	}
	r.at = offset
	return offset, nil
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.p.release()
	}
	return nil
}
