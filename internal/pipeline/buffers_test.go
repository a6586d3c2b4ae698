package pipeline

import "testing"

func TestBuffersFitTheirPurpose(t *testing.T) {
	var b buffers
	for _, n := range []int{0, 1, 2, 3, 4096, 4097, 1 << 20, 1<<24 + 1, 40 << 20} {
		p := b.get(n)
		if len(p) != 0 || cap(p) < n {
			t.Errorf("get(%d) has length %d and capacity %d", n, len(p), cap(p))
		}
		if n > 4096 && cap(p) > 2*n {
			t.Errorf("get(%d) has capacity %d: a small batch would hold a large buffer", n, cap(p))
		}
		b.put(p)
	}
	// A slice that append has grown to an odd size is never handed out for more.
	for n := 1; n < 1<<14; n += 37 {
		b.put(make([]byte, 0, n))
		for _, want := range []int{n, n + 1, n / 2} {
			if p := b.get(want); cap(p) < want {
				t.Fatalf("after put of capacity %d, get(%d) has capacity %d", n, want, cap(p))
			}
		}
	}
}
