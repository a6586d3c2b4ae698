// Package recordid numbers the records of the simulated tenant: number n of a
// seed is one GUID, and the GUID gives back n. That lets a ledger of a billion
// records be a bitmap, and lets an id be found in an output line of any format.
//
// Invariant: Parse accepts exactly the GUIDs that Append makes for its seed.
// The package must not know what a record is.
package recordid

import "bytes"

// Len is the length of an id in bytes: a GUID in its usual text form.
const Len = 36

// MaxNumber is the largest number that an id can carry.
const MaxNumber = 1<<numberBits - 1

const (
	numberBits = 40
	checkMask  = 1<<48 - 1
	// scatter spreads neighboring numbers over the whole range, so that ids do
	// not look counted; unscatter is its inverse modulo 2^40.
	scatter   = 0x9E3779B97F4A7C15 & MaxNumber
	tagLen    = 9 // eight digits and the dash
	hexDigits = "0123456789abcdef"
)

// Space is the set of ids of one seed. The zero value is not usable; see New.
// It is immutable and may be shared.
type Space struct {
	seed      uint64
	tag       [tagLen]byte
	unscatter uint64
}

// New returns the ids of seed.
func New(seed uint64) Space {
	s := Space{seed: seed, unscatter: inverse(scatter)}
	putHex(s.tag[:8], Mix(seed))
	s.tag[8] = '-'
	return s
}

// Mix returns a number that looks random and depends on every bit of x
// (splitmix64, a bijection).
func Mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// Append appends the id of number n, in lower case, to dst. Numbers above
// MaxNumber wrap around.
func (s Space) Append(dst []byte, n uint64) []byte {
	n &= MaxNumber
	scattered := (n*scatter ^ s.seed) & MaxNumber
	var id [Len]byte
	copy(id[:], s.tag[:])
	putHex(id[9:13], scattered>>24)
	id[13], id[14] = '-', '4'
	putHex(id[15:18], scattered>>12)
	id[18], id[19] = '-', 'a'
	putHex(id[20:23], scattered)
	id[23] = '-'
	putHex(id[24:36], s.check(n))
	return append(dst, id[:]...)
}

// Parse returns the number of an id that Append made. It reports false for
// every other text, also for one of our ids with a digit changed.
func (s Space) Parse(id []byte) (n uint64, ok bool) {
	if len(id) != Len || !bytes.HasPrefix(id, s.tag[:]) ||
		id[13] != '-' || id[14] != '4' || id[18] != '-' || id[19] != 'a' || id[23] != '-' {
		return 0, false
	}
	high, okHigh := hex(id[9:13])
	middle, okMiddle := hex(id[15:18])
	low, okLow := hex(id[20:23])
	check, okCheck := hex(id[24:36])
	if !okHigh || !okMiddle || !okLow || !okCheck {
		return 0, false
	}
	n = ((high<<24 | middle<<12 | low) ^ s.seed) * s.unscatter & MaxNumber
	return n, check == s.check(n)
}

// Cut finds the first text in b that has the form of an id of this space and
// returns it with what follows it; candidate is nil where there is none. The
// candidate begins as our ids do, but only Parse tells whether it is one.
func (s Space) Cut(b []byte) (candidate, rest []byte) {
	at := bytes.Index(b, s.tag[:])
	if at < 0 {
		return nil, nil
	}
	end := min(at+Len, len(b))
	return b[at:end], b[end:]
}

// AppendOther appends a version 4 GUID made from x that no record of this space
// has as its id: for all the other GUIDs of a record.
func (s Space) AppendOther(dst []byte, x uint64) []byte {
	high, low := Mix(s.seed^x), Mix(^s.seed^Mix(x))
	var id [Len]byte
	putHex(id[0:8], high>>32)
	if bytes.Equal(id[:8], s.tag[:8]) {
		putHex(id[0:8], ^high>>32)
	}
	id[8] = '-'
	putHex(id[9:13], high>>16)
	id[13], id[14] = '-', '4'
	putHex(id[15:18], high)
	id[18], id[19] = '-', hexDigits[8+low>>62]
	putHex(id[20:23], low>>48)
	id[23] = '-'
	putHex(id[24:36], low)
	return append(dst, id[:]...)
}

func (s Space) check(n uint64) uint64 { return Mix(s.seed^Mix(n)) & checkMask }

// inverse returns the inverse of an odd number modulo 2^64, which is also its
// inverse modulo any smaller power of two (Newton's iteration).
func inverse(odd uint64) uint64 {
	x := odd
	for range 6 {
		x *= 2 - odd*x
	}
	return x
}

// putHex writes the lowest 4*len(dst) bits of v.
func putHex(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = hexDigits[v&15]
		v >>= 4
	}
}

func hex(src []byte) (v uint64, ok bool) {
	for _, c := range src {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
