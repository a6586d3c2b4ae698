package storageapi

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Fault makes requests fail. What is zero does not happen.
type Fault struct {
	// Operation is hit alone; empty: all. PathPart must occur in "container/blob".
	Operation, PathPart string
	// Times is how many requests are hit; zero: one; negative: all until Clear.
	Times int

	// Error is answered.
	Error *Error
	// Delay passes before the answer.
	Delay time.Duration
	// BytesPerSecond bounds the speed of the body.
	BytesPerSecond int
	// TruncateAfter ends the connection after so many bytes of the body.
	TruncateAfter int64
	// Cut ends the connection without an answer.
	Cut bool
}

// Faults makes a service fail on demand. The zero value causes none. It is safe
// for concurrent use.
type Faults struct {
	mu   sync.Mutex // guards what follows
	list []*Fault
}

// Add adds a fault. A request is hit by the first one that fits.
func (f *Faults) Add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault.Times == 0 {
		fault.Times = 1
	}
	f.list = append(f.list, &fault)
}

// Clear ends all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
}

func (f *Faults) take(operation, path string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.list {
		if (fault.Operation != "" && fault.Operation != operation) || !strings.Contains(path, fault.PathPart) {
			continue
		}
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.list = append(f.list[:i:i], f.list[i+1:]...)
			}
		}
		return *fault, true
	}
	return Fault{}, false
}

// apply lets the fault happen that the request meets, and returns what the
// answer is to be written to.
func (f *Faults) apply(c *Call, operation string) (http.ResponseWriter, error) {
	fault, hit := f.take(operation, c.Path)
	if !hit {
		return c.ResponseWriter, nil
	}
	pause(c.Context(), fault.Delay)
	switch {
	case fault.Cut:
		panic(http.ErrAbortHandler) // how a handler closes the connection without an answer
	case fault.Error != nil:
		return nil, fault.Error
	case fault.BytesPerSecond > 0 || fault.TruncateAfter > 0:
		return &lameWriter{ResponseWriter: c.ResponseWriter, ctx: c.Context(), rate: fault.BytesPerSecond, left: fault.TruncateAfter, truncate: fault.TruncateAfter > 0}, nil
	}
	return c.ResponseWriter, nil
}

// lameWriter writes slowly, or not to the end.
type lameWriter struct {
	http.ResponseWriter
	ctx      context.Context
	rate     int
	left     int64
	truncate bool
}

func (w *lameWriter) Write(b []byte) (n int, err error) {
	const steps = 20 // a second
	piece := len(b)
	if w.rate > 0 {
		piece = max(w.rate/steps, 1)
	}
	for len(b) > 0 {
		part := b[:min(piece, len(b))]
		if w.truncate && int64(len(part)) >= w.left {
			_, _ = w.ResponseWriter.Write(part[:w.left])
			_ = http.NewResponseController(w.ResponseWriter).Flush()
			panic(http.ErrAbortHandler)
		}
		written, err := w.ResponseWriter.Write(part)
		n += written
		if err != nil {
			return n, err
		}
		w.left -= int64(len(part))
		b = b[len(part):]
		if w.rate > 0 {
			_ = http.NewResponseController(w.ResponseWriter).Flush()
			if !pause(w.ctx, time.Second/steps) {
				return n, w.ctx.Err()
			}
		}
	}
	return n, nil
}

// pause waits, and reports false if the request ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Counts counts requests by operation. The zero value is usable. It is safe for
// concurrent use.
type Counts struct {
	mu sync.Mutex // guards what follows
	by map[string]int64
}

func (c *Counts) add(operation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]int64{}
	}
	c.by[operation]++
}

// All returns how many requests there were of each operation, also those that
// were refused or met a fault.
func (c *Counts) All() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}

// Of returns how many requests there were of one operation.
func (c *Counts) Of(operation string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[operation]
}
