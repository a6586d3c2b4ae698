package eventhubs

import (
	"encoding/binary"
	"math/bits"
)

// partitionOf maps a partition key to one of n partitions as the service does: a
// client that computes the partition by itself (the buffered producers do) must
// arrive at the same one.
func partitionOf(key string, n int) int {
	b, c := lookup3(key)
	p := int(int16(b^c)) % n
	return max(p, -p)
}

// lookup3 is Bob Jenkins' hash of that name (hashlittle2 with seeds of 0, public
// domain); c is its primary result.
func lookup3(key string) (b, c uint32) {
	a := 0xdeadbeef + uint32(len(key))
	b, c = a, a
	if len(key) == 0 {
		return b, c
	}
	add := func(block []byte) {
		a += binary.LittleEndian.Uint32(block)
		b += binary.LittleEndian.Uint32(block[4:])
		c += binary.LittleEndian.Uint32(block[8:])
	}
	rest := []byte(key)
	for ; len(rest) > 12; rest = rest[12:] {
		add(rest)
		a = a - c ^ bits.RotateLeft32(c, 4)
		c += b
		b = b - a ^ bits.RotateLeft32(a, 6)
		a += c
		c = c - b ^ bits.RotateLeft32(b, 8)
		b += a
		a = a - c ^ bits.RotateLeft32(c, 16)
		c += b
		b = b - a ^ bits.RotateLeft32(a, 19)
		a += c
		c = c - b ^ bits.RotateLeft32(b, 4)
		b += a
	}
	var last [12]byte // filled up with zeros
	copy(last[:], rest)
	add(last[:])
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	c = (c ^ b) - bits.RotateLeft32(b, 24)
	return b, c
}
