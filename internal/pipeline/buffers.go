package pipeline

import "sync"

const (
	// freeBytes and freeBuffers bound what waits to be used again.
	freeBytes   = 16 << 20
	freeBuffers = 64
	// bufferStep keeps sizes apart enough that buffers fit more than one batch.
	bufferStep = 4096
)

// buffers are the byte slices that batches of events stand in, used again once
// a batch is confirmed: making them anew is a large part of what an event costs,
// in clearing memory and in page faults. It is a list of its own and not a
// sync.Pool, which every garbage collection empties, and those are frequent where
// memory is tight. Its methods may be called concurrently.
type buffers struct {
	mu    sync.Mutex
	free  [][]byte // guarded by mu
	bytes int      // capacity of all in free; guarded by mu
}

// get returns an empty slice with room for n bytes, and not for many more: a
// small batch must not occupy a large buffer.
func (b *buffers) get(n int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	best := -1
	for i, p := range b.free {
		if cap(p) >= n && cap(p) <= 2*n+bufferStep && (best < 0 || cap(p) < cap(b.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]byte, 0, (n+bufferStep-1)/bufferStep*bufferStep)
	}
	p := b.free[best]
	last := len(b.free) - 1
	b.free[best], b.free[last] = b.free[last], nil
	b.free = b.free[:last]
	b.bytes -= cap(p)
	return p[:0]
}

// put takes a slice back, which nobody reads any more. The oldest ones make
// room for it.
func (b *buffers) put(p []byte) {
	if cap(p) == 0 || cap(p) > freeBytes {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.free) == freeBuffers || b.bytes+cap(p) > freeBytes {
		b.bytes -= cap(b.free[0])
		b.free[0] = nil
		b.free = b.free[1:]
	}
	b.free = append(b.free, p)
	b.bytes += cap(p)
}
