package tenant

import (
	"math/rand/v2"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

const (
	// MaxMessage is the most bytes a message gets; an event hub takes 1 MiB with
	// what the protocol adds.
	MaxMessage = 1_000_000
	// MaxRecords is the most records that a message gets.
	MaxRecords = 200
	// usualMessage is what diagnostic settings rarely exceed.
	usualMessage = 256 << 10
	messageHead  = `{"records":[`
	messageTail  = `]}`
)

// Options of a Generator. The zero value is usable.
type Options struct {
	// Now is the clock that records are dated by; nil: time.Now. Records are
	// dated a little before it, the last one of a story most closely.
	Now func() time.Time
	// Punctual dates every record by the moment it is made. Else a story's last
	// record has that date, and those before it come up to half an hour after theirs,
	// as they do from Azure.
	Punctual bool
	// First is the number of the first record.
	First uint64
	// Prepared is how many scenes (of 1 to about 50 records) are made in advance
	// and repeated from then on, in random order, with new ids and times: many
	// times faster. Zero makes every scene anew.
	Prepared int
	// RecordsPerMessage is how many records Message puts together, MaxRecords at
	// the most; zero varies.
	RecordsPerMessage int
	// Flows are the categories of flow logs to make (see FlowCategories); usually
	// none, since flow logs leave by a storage account alone.
	Flows []string
}

// Generator produces the records of one tenant. Equal seeds, options and clocks
// produce equal bytes. It is not safe for concurrent use.
type Generator struct {
	ids      recordid.Space
	org      *organization
	rng      *rand.Rand
	options  Options
	prepared [][]template

	number uint64 // of the next record
	scene  []template
	next   int // in scene
	start  time.Time
	base   uint64 // number of the scene's first record
}

// New returns a generator for the tenant that seed stands for.
func New(seed uint64, options Options) *Generator {
	if options.Now == nil {
		options.Now = time.Now
	}
	ids := recordid.New(seed)
	g := &Generator{ids: ids, org: newOrganization(seed, ids), rng: rand.New(rand.NewPCG(seed, options.First)), options: options, number: options.First}
	for range options.Prepared {
		g.prepared = append(g.prepared, g.makeScene())
	}
	return g
}

// TenantID returns the tenant's GUID.
func (g *Generator) TenantID() string { return g.org.tenantID }

// Subscription returns the GUID of the tenant's first subscription.
func (g *Generator) Subscription() string { return g.org.subscriptions[0] }

// Number returns the number of the record that is produced next.
func (g *Generator) Number() uint64 { return g.number }

// Next appends one record to dst: a JSON object on one line, without a line
// feed. It returns the record's number, whose id recordid gives, and its
// category. A record of a flow log takes a number for each of its tuples, in the
// order in which they stand in it.
func (g *Generator) Next(dst []byte) (out []byte, number uint64, category string) {
	return g.NextAtMost(dst, MaxRecords)
}

// NextAtMost is Next for a record that takes most numbers at the most, which
// must be one at least.
func (g *Generator) NextAtMost(dst []byte, most int) (out []byte, number uint64, category string) {
	t := g.advance(uint64(most))
	at := g.start.Add(t.after)
	if g.options.Punctual {
		at = g.options.Now().UTC()
	}
	number = g.number
	g.number += t.numbers()
	// The clock's step is coarser than Azure's 100 ns; fill up the digits.
	at = at.Add(-time.Duration(recordid.Mix(number) % uint64(time.Millisecond)))
	return t.appendRecord(dst, g.ids, stamp{number: number, correlation: g.base + t.activity, at: at}), number, t.category
}

// Message appends to dst what one event hub message of diagnostic settings
// holds: an object with the list "records". It returns the number of the first
// record and how many there are; their numbers are consecutive. At most limit
// records are put in, which must be one at least.
func (g *Generator) Message(dst []byte, limit int) (out []byte, first uint64, count int) {
	begin := len(dst)
	want := min(limit, g.recordsWanted(), MaxRecords)
	most := usualMessage
	if want > 60 || g.options.RecordsPerMessage > 0 {
		most = MaxMessage
	}
	dst = append(dst, messageHead...)
	first = g.number
	for count < want {
		// The largest record known is below 8 KiB; what if one is larger is only
		// that the message exceeds its size by that.
		if count > 0 {
			if len(dst)-begin+8<<10 > most {
				break
			}
			dst = append(dst, ',')
		}
		dst, _, _ = g.NextAtMost(dst, want-count)
		count = int(g.number - first)
	}
	return append(dst, messageTail...), first, count
}

// recordsWanted draws how many records a message has: mostly few, at times very
// many.
func (g *Generator) recordsWanted() int {
	if g.options.RecordsPerMessage > 0 {
		return g.options.RecordsPerMessage
	}
	switch weighted(g.rng, 40, 50, 9, 1) {
	case 0:
		return 1
	case 1:
		return 2 + g.rng.IntN(19)
	case 2:
		return 21 + g.rng.IntN(40)
	default:
		return MaxRecords
	}
}

// advance returns the template of the next record, which takes most numbers at
// the most, and begins a new scene where the last one is over.
func (g *Generator) advance(most uint64) *template {
	for g.next == len(g.scene) || g.scene[g.next].numbers() > most || (g.scene[g.next].count > 0 && g.number > recordid.MaxFlow-MaxRecords) {
		if len(g.prepared) > 0 {
			g.scene = g.prepared[g.rng.IntN(len(g.prepared))]
		} else {
			g.scene = g.makeScene()
		}
		g.next, g.base = 0, g.number
		// The scene ends now, so that nothing is dated in the future.
		g.start = g.options.Now().UTC().Add(-g.scene[len(g.scene)-1].after)
	}
	t := &g.scene[g.next]
	g.next++
	return t
}

func (g *Generator) makeScene() []template {
	s := stage{organization: g.org, ids: g.ids, rng: g.rng, now: g.options.Now(), flows: g.options.Flows}
	s.play()
	return s.scene
}
