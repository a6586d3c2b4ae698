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
	ends  nameEnds
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
	ends := endsOf([]byte(name))
	i := ends.hash(len(name)) & t.mask
	for ; t.entries[i].used; i = (i + 1) & t.mask {
		if t.entries[i].name == name {
			t.entries[i].value = value
			return
		}
	}
	t.entries[i] = nameEntry{ends: ends, name: name, value: value, used: true}
	t.len++
}

// find returns the value of a name, or -1.
func (t *nameTable) find(name []byte) int32 {
	if t.len == 0 {
		return -1
	}
	ends := endsOf(name)
	for i := ends.hash(len(name)) & t.mask; ; i = (i + 1) & t.mask {
		e := &t.entries[i]
		if !e.used {
			return -1
		}
		if e.ends == ends && len(e.name) == len(name) && (len(name) <= wholeEnds || e.name == string(name)) {
			return e.value
		}
	}
}

// nameEnds are the first and the last bytes of a name. Names of one length up to
// wholeEnds are the same if these are, which spares a look at the names.
type nameEnds struct{ head, tail uint64 }

const wholeEnds = 16

func endsOf(b []byte) (e nameEnds) {
	switch n := len(b); {
	case n >= 8:
		e.head = binary.LittleEndian.Uint64(b)
		e.tail = binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		e.head = uint64(binary.LittleEndian.Uint32(b))
		e.tail = uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		e.head = uint64(b[0]) | uint64(b[n/2])<<8 | uint64(b[n-1])<<16
	}
	return e
}

// spread is 2^64 divided by the golden ratio: multiplying by it spreads near values.
const spread = 0x9E3779B97F4A7C15

func (e nameEnds) hash(length int) uint32 {
	hi, lo := bits.Mul64(e.head^uint64(length)<<56^spread, bits.RotateLeft64(e.tail, 29)^spread)
	return uint32(hi ^ lo ^ lo>>32)
}

func hashName(b []byte) uint32 { return endsOf(b).hash(len(b)) }
