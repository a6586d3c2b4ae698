package eventhubs

import "testing"

// The expected values are those that lookup3.c prints and, for the partitions,
// what the service's JavaScript client computes (e2e/js compares more of them).
func TestLookup3(t *testing.T) {
	for _, tc := range []struct {
		key  string
		b, c uint32
	}{
		{"", 0xdeadbeef, 0xdeadbeef},
		{"Four score and seven years ago", 0xce7226e6, 0x17770551},
	} {
		if b, c := lookup3(tc.key); b != tc.b || c != tc.c {
			t.Errorf("%q: got %08x %08x, want %08x %08x", tc.key, b, c, tc.b, tc.c)
		}
	}
}

func TestPartitionOf(t *testing.T) {
	for _, tc := range []struct {
		key            string
		of8, of32, of5 int
	}{
		{"a", 4, 28, 0},
		{"alphabet", 6, 22, 3},
		{"TestKey1", 1, 9, 2},
		{"123", 1, 9, 4},
		{"tenant-0001", 2, 18, 2},
		{"twelve bytes", 6, 14, 2},
		{"thirteen bytes", 6, 30, 0},
		{"größe", 7, 23, 1},
		{"a key that is longer than two blocks", 6, 14, 4},
	} {
		if got := [3]int{partitionOf(tc.key, 8), partitionOf(tc.key, 32), partitionOf(tc.key, 5)}; got != [3]int{tc.of8, tc.of32, tc.of5} {
			t.Errorf("%q of 8, 32 and 5 partitions: got %v, want %v", tc.key, got, [3]int{tc.of8, tc.of32, tc.of5})
		}
	}
}
