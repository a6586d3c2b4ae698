package window

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
)

// Span is what one request asks for: the rows whose time t is From <= t < To.
type Span struct {
	From, To time.Time
	// Parts is above 1 where an instant is too full for one answer: then only
	// the rows are asked for whose hash modulo Parts is Part.
	Part, Parts int
}

// Identity tells a row from every other row of its feed.
type Identity [12]byte

// Identify makes an identity of what distinguishes a row, e.g. its id, or its
// bytes and the time at which Azure took it in. 96 bits of SHA-256 make a
// mistaken identity, which would drop a row, less likely than a broken disk.
func Identify(parts ...[]byte) Identity {
	h := sha256.New()
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return Identity(sum[:len(Identity{})])
}

// Row is one row of a feed.
type Row struct {
	Payload event.Payload // the reader sets its Key
	ID      Identity
}

// Load says how an answer that was read to its end compares with what an answer
// may hold; the size of windows follows it.
type Load struct {
	// Share is 1 for an answer as large as answers should be, which is well
	// below what is refused: the largest of its shares of rows, bytes and time.
	Share float64
}

// ErrTooMuch says that a span holds more than one answer may: the answer was
// truncated, refused for its size, or took too long. The reader asks for less.
var ErrTooMuch = errors.New("the window holds more than one answer may")

// Fetch asks for a span and hands each row to yield, in any order. It returns
// nil only if the answer was complete; rows of an incomplete one are kept, and
// dropped when they come again. An error of yield must be returned as it is.
// It is not called concurrently.
type Fetch func(ctx context.Context, s Span, yield func(Row) error) (Load, error)

// Report tells what became of a window.
type Report struct {
	Span
	Pass     int       // 0: read for the first time; above: a sweep
	Rows     int       // new rows, which were emitted
	Repeats  int       // rows dropped because they had been emitted
	Read     time.Time // the end of the newest complete window: lag is its age
	Settled  time.Time // before this, nothing is read again
	Size     time.Duration
	Remember int // identities in memory
}

// Config is how a feed is read. Only Fetch, Ages, MaxSize and Now are required.
type Config struct {
	Fetch Fetch
	Start time.Time // where a feed without a cursor begins
	// End, if not zero, is where reading ends; Once ends it at what is old
	// enough now.
	End  time.Time
	Once bool

	// Ages are how old a range is when it is read, ascending: the first is the
	// delay, the others are those of the sweeps.
	Ages  []time.Duration
	Every time.Duration // between two windows of a feed that is up to date

	FirstSize  time.Duration // 0: MaxSize / 16
	MaxSize    time.Duration
	Resolution time.Duration // of the feed's time; 0: 100 ns, as Azure's
	// Fixed makes every window exactly MaxSize, from Start on; ErrTooMuch is then
	// an error like others.
	Fixed bool

	// Unique says that equal identities are one row wherever they appear. If
	// not, equal rows within one instant are counted: the feed has them as often
	// as they are emitted.
	Unique bool
	// Remember is how many identities a cursor carries; 0: 100,000. Rows that
	// are younger than the last of Ages are read only as far as this suffices.
	Remember int

	BatchRows  int // 0: 1000
	BatchBytes int // 0: 1 MiB

	// Oldest, if not nil, is the time before which the feed holds nothing any
	// more, and Gap is told what was lost to it.
	Oldest func(now time.Time) time.Time
	Gap    func(from, to time.Time)

	// Failed decides on an error of Fetch other than ErrTooMuch, which happened
	// tries times in a row: how long to wait before the next try, or with which
	// error to end. Nil: end with it.
	Failed func(err error, tries int) (wait time.Duration, end error)
	// Done is told of each window that is complete.
	Done func(Report)
	// Now is the feed's clock.
	Now func() time.Time
}

const (
	defaultRemember   = 100_000
	defaultBatchRows  = 1000
	defaultBatchBytes = 1 << 20
	// most identities of rows in memory, for windows that have to be read again
	// in smaller pieces: two of Azure's largest answers.
	mostRemembered = 1_000_000
	// maxParts bounds the splitting of an instant: 500,000 rows each.
	maxParts = 4096
)

func (c Config) withDefaults() Config {
	def := func(v *int, otherwise int) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	def(&c.Remember, defaultRemember)
	def(&c.BatchRows, defaultBatchRows)
	def(&c.BatchBytes, defaultBatchBytes)
	if c.Resolution <= 0 {
		c.Resolution = 100 * time.Nanosecond
	}
	if c.FirstSize <= 0 {
		c.FirstSize = max(c.MaxSize/16, c.Resolution)
	}
	if c.Every <= 0 {
		c.Every = time.Second
	}
	return c
}
