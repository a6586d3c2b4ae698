package pipeline

import (
	"math/bits"
	"sync"
)

// buffers are the byte slices that batches of events stand in, used again once
// a batch is confirmed: making them anew is a large part of what an event costs,
// in clearing memory and in page faults. They are kept by size, in powers of
// two, so that a small batch never occupies a large one.
type buffers struct {
	bySize [25]sync.Pool // of *[]byte, with capacities from 1<<i up to 2<<i
}

// get returns an empty slice with room for n bytes.
func (b *buffers) get(n int) []byte {
	class := bits.Len(uint(max(n, 1) - 1)) // the smallest power of two that holds n
	if class < len(b.bySize) {
		if p, ok := b.bySize[class].Get().(*[]byte); ok {
			return (*p)[:0]
		}
	}
	return make([]byte, 0, 1<<class)
}

// put takes a slice back, which nobody reads any more. Larger ones than 32 MiB
// are left to the garbage collector.
func (b *buffers) put(p []byte) {
	if class := bits.Len(uint(cap(p))) - 1; cap(p) > 0 && class < len(b.bySize) {
		b.bySize[class].Put(&p)
	}
}
