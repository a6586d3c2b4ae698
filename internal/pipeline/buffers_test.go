package pipeline

import (
	"math/rand/v2"
	"testing"
)

func TestBuffersFitAndAreBounded(t *testing.T) {
	var b buffers
	r := rand.New(rand.NewPCG(1, 1))
	var out [][]byte
	reused := 0
	for range 5000 {
		if len(out) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(out))
			b.put(append(out[i], make([]byte, r.IntN(2*cap(out[i])+1))...)) // some grew to an odd size
			out = append(out[:i], out[i+1:]...)
		} else if len(out) < 100 {
			n := 1 << r.IntN(21)
			before := len(b.free)
			p := b.get(n)
			if len(p) != 0 || cap(p) < n || cap(p) > 2*n+bufferStep {
				t.Fatalf("get(%d) has length %d and capacity %d", n, len(p), cap(p))
			}
			if len(b.free) < before {
				reused++
			}
			out = append(out, p)
		}
		sum := 0
		for _, p := range b.free {
			sum += cap(p)
		}
		if sum != b.bytes || sum > freeBytes || len(b.free) > freeBuffers {
			t.Fatalf("%d buffers of %d bytes are kept, counted as %d", len(b.free), sum, b.bytes)
		}
	}
	if reused == 0 {
		t.Error("no buffer was used again")
	}
	b.put(make([]byte, 0, freeBytes+1))
	b.put(nil)
}
