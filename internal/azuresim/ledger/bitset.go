package ledger

import "math/bits"

const (
	wordsPerPage = 1024
	bitsPerPage  = wordsPerPage * 64
)

// bitset is a set of numbers in pages. A page in the map that is nil has every
// bit set, so a long history of delivered records takes no room.
type bitset struct {
	pages map[uint64]*page
	count uint64
}

type page struct {
	words [wordsPerPage]uint64
	ones  int
}

func newBitset() bitset { return bitset{pages: map[uint64]*page{}} }

// add puts n into the set and reports whether it is new.
func (s *bitset) add(n uint64) bool {
	key := n / bitsPerPage
	p, exists := s.pages[key]
	if exists && p == nil {
		return false
	}
	if !exists {
		p = &page{}
		s.pages[key] = p
	}
	word, bit := &p.words[n%bitsPerPage/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.count++
	if p.ones++; p.ones == bitsPerPage {
		s.pages[key] = nil
	}
	return true
}

// addRange puts the numbers from first up to end, which is not in it, into the set.
func (s *bitset) addRange(first, end uint64) {
	for n := first; n < end; {
		key := n / bitsPerPage
		if _, exists := s.pages[key]; !exists && n%bitsPerPage == 0 && end-n >= bitsPerPage {
			s.pages[key] = nil
			s.count += bitsPerPage
			n += bitsPerPage
			continue
		}
		s.add(n)
		n++
	}
}

// word returns 64 bits of a page; i counts the words of the page.
func (s *bitset) word(key uint64, i int) uint64 {
	p, exists := s.pages[key]
	switch {
	case !exists:
		return 0
	case p == nil:
		return ^uint64(0)
	default:
		return p.words[i]
	}
}

// full reports whether every number of the page is in the set.
func (s *bitset) full(key uint64) bool {
	p, exists := s.pages[key]
	return exists && p == nil
}

// common returns how many numbers are in both sets.
func (s *bitset) common(other *bitset) (count uint64) {
	for key := range s.pages {
		if s.full(key) && other.full(key) {
			count += bitsPerPage
			continue
		}
		if _, exists := other.pages[key]; !exists {
			continue
		}
		for i := range wordsPerPage {
			count += uint64(bits.OnesCount64(s.word(key, i) & other.word(key, i)))
		}
	}
	return count
}
