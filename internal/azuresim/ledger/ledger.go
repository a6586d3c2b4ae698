package ledger

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// Ledger compares what was produced with what was seen. It is safe for
// concurrent use; the order of Produced and Seen does not matter.
type Ledger struct {
	space    recordid.Space
	produced *production

	mu         sync.Mutex // guards what follows; taken before produced.mu
	seen       bitset
	duplicated uint64
	foreign    uint64 // look like our ids, but no number has them
	noID       uint64
}

// production is what was produced; several ledgers may compare with it.
type production struct {
	mu    sync.Mutex // guards what follows
	set   bitset
	maybe []span
}

type span struct{ first, end uint64 }

// Report is a ledger's balance. Produced = Delivered + Lost.
type Report struct {
	Produced   uint64 `json:"produced"`
	Delivered  uint64 `json:"delivered"`  // produced and seen, each counted once
	Lost       uint64 `json:"lost"`       // produced and not seen
	Duplicated uint64 `json:"duplicated"` // seen again: a record seen three times counts two
	Unknown    uint64 `json:"unknown"`    // ids that were never produced
	NoID       uint64 `json:"no_id"`      // lines read that hold no id of this ledger
}

// String says the balance in one line.
func (r Report) String() string {
	return fmt.Sprintf("produced %d, delivered %d, lost %d, duplicated %d, unknown %d, lines without an id %d",
		r.Produced, r.Delivered, r.Lost, r.Duplicated, r.Unknown, r.NoID)
}

// New returns an empty ledger for the ids of seed.
func New(seed uint64) *Ledger {
	return &Ledger{
		space:    recordid.New(seed),
		produced: &production{set: newBitset()},
		seen:     newBitset(),
	}
}

// Fresh returns a ledger that has seen nothing and shares with l what was and
// will be produced: for checking an output from its beginning once more.
func (l *Ledger) Fresh() *Ledger {
	return &Ledger{space: l.space, produced: l.produced, seen: newBitset()}
}

// Produced notes count records, numbered from first, as produced.
func (l *Ledger) Produced(first, count uint64) {
	l.produced.mu.Lock()
	defer l.produced.mu.Unlock()
	l.produced.set.addRange(first, first+count)
}

// MaybeProduced notes count records, numbered from first, of which is not known
// whether they were produced, because the producer was killed: one that is seen
// was produced, one that is never seen is not lost.
func (l *Ledger) MaybeProduced(first, count uint64) {
	l.produced.mu.Lock()
	defer l.produced.mu.Unlock()
	l.produced.maybe = append(l.produced.maybe, span{first, first + count})
}

// Seen notes that the record with this id arrived. It reports false, and counts
// an unknown, if id is not an id of this ledger's seed.
func (l *Ledger) Seen(id []byte) (known bool) {
	n, ok := l.space.Parse(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.foreign++
		return false
	}
	l.seeLocked(n)
	return true
}

func (l *Ledger) seeLocked(n uint64) {
	if !l.seen.add(n) {
		l.duplicated++
		return
	}
	l.produced.mu.Lock()
	defer l.produced.mu.Unlock()
	for _, s := range l.produced.maybe {
		if s.first <= n && n < s.end {
			l.produced.set.add(n)
		}
	}
}

// Report returns the balance of this moment.
func (l *Ledger) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.produced.mu.Lock()
	defer l.produced.mu.Unlock()
	delivered := l.produced.set.common(&l.seen)
	return Report{
		Produced:   l.produced.set.count,
		Delivered:  delivered,
		Lost:       l.produced.set.count - delivered,
		Duplicated: l.duplicated,
		Unknown:    l.foreign + l.seen.count - delivered,
		NoID:       l.noID,
	}
}

// Lost returns the ids of the first lost records in the order of production,
// limit of them at the most.
func (l *Ledger) Lost(limit int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.produced.mu.Lock()
	defer l.produced.mu.Unlock()
	return l.difference(&l.produced.set, &l.seen, limit)
}

// Unknown returns the ids of the first records that were seen, have a proper
// id, and were never produced; limit of them at the most.
func (l *Ledger) Unknown(limit int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.produced.mu.Lock()
	defer l.produced.mu.Unlock()
	return l.difference(&l.seen, &l.produced.set, limit)
}

func (l *Ledger) difference(in, notIn *bitset, limit int) []string {
	ids := []string{}
	for _, key := range slices.Sorted(maps.Keys(in.pages)) {
		if notIn.full(key) {
			continue
		}
		for i := range wordsPerPage {
			for word := in.word(key, i) &^ notIn.word(key, i); word != 0; word &= word - 1 {
				if len(ids) >= limit {
					return ids
				}
				n := key*bitsPerPage + uint64(i)*64 + uint64(bits.TrailingZeros64(word))
				ids = append(ids, string(l.space.Append(nil, n)))
			}
		}
	}
	return ids
}
