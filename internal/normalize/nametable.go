package normalize

import (
	"encoding/binary"
	"math/bits"
)

// nameTable finds short names among a fixed set without allocating: an open
// hash over the length and the first and last eight bytes, which tell member
// names apart well. It is immutable after its last add and then safe for
// concurrent use.
type nameTable struct {
	mask    uint32
	entries []nameEntry
	len     int
}

type nameEntry struct {
	name  string
	value int32
	used  bool
}

// add puts a name in, or replaces its value.
func (t *nameTable) add(name string, value int32) {
	if (t.len+1)*4 > len(t.entries) { // at most a quarter full: a miss mostly ends at the first slot
		old := t.entries
		t.entries = make([]nameEntry, max(8, 2*len(old)))
		t.mask = uint32(len(t.entries) - 1)
		t.len = 0
		for _, e := range old {
			if e.used {
				t.add(e.name, e.value)
			}
		}
	}
	i := hashName([]byte(name)) & t.mask
	for ; t.entries[i].used; i = (i + 1) & t.mask {
		if t.entries[i].name == name {
			t.entries[i].value = value
			return
		}
	}
	t.entries[i] = nameEntry{name: name, value: value, used: true}
	t.len++
}

// find returns the value of a name, or -1.
func (t *nameTable) find(name []byte) int32 {
	if t.len == 0 {
		return -1
	}
	for i := hashName(name) & t.mask; t.entries[i].used; i = (i + 1) & t.mask {
		if t.entries[i].name == string(name) {
			return t.entries[i].value
		}
	}
	return -1
}

func hashName(b []byte) uint32 {
	const k = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio: spreads near values
	var head, tail uint64
	switch n := len(b); {
	case n >= 8:
		head = binary.LittleEndian.Uint64(b)
		tail = binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		head = uint64(binary.LittleEndian.Uint32(b))
		tail = uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		head = uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	hi, lo := bits.Mul64(head^uint64(len(b))<<56^k, bits.RotateLeft64(tail, 29)^k)
	return uint32(hi ^ lo ^ lo>>32)
}
