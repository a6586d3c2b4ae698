package storage

import (
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/source"
)

// blob is one that the source keeps in mind: it is not read to its end, or it
// may still grow.
type blob struct {
	folder *folder
	name   string
	hour   time.Time // of a dated folder

	// Guarded by Source.mu.
	state   state
	listed  item      // the newest that is known of it
	dirty   bool      // there is news since it began to be read
	noted   time.Time // when the oldest news was noticed that is not read yet
	saved   bool      // the store has a cursor of it
	fresh   bool      // listed is the service\'s word in this run, not the checkpoint\'s
	clean   bool      // nothing but space and closing brackets is behind what was read
	closed  bool      // it will not be read any more: archived, or damaged
	tries   int       // failures in a row
	pass    int       // the last listing that showed it
	polled  time.Time // when it was last asked for by itself
	notices []*notice // announcements that wait for it

	// The rest belongs to whoever has the blob while its state is busy, and is
	// not touched meanwhile by others.
	pos    position
	stream source.Stream
	last   checkpoint.Cursor // the newest that was emitted on stream, or resumed from
	header []string          // of CSV; nil: not read yet
	part   *part             // what is being downloaded, if it goes on over turns
}

type state uint8

const (
	idle     state = iota
	queued         // it waits for its first turn
	busy           // it is in turns
	settling       // it is read, and waits for confirmations
)

// current tells whether the blob was read to the end that the listing shows.
// It is called while the blob is not busy.
func (b *blob) current() bool {
	return b.pos.etag != "" && b.pos.etag == b.listed.etag && b.pos.seen == b.listed.size ||
		b.listed.size == 0 && b.pos.offset == 0 && b.pos.seen == 0
}

// finished tells whether there is nothing to do for the blob unless it changes.
func (b *blob) finished() bool {
	return b.state == idle && (b.closed || b.fresh && b.current() && b.clean) && len(b.notices) == 0
}

// partition is the blob's name for checkpoints.
func (b *blob) partition() string { return b.folder.container + "/" + b.name }
