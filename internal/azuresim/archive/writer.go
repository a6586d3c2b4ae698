package archive

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
)

const (
	// What is larger is flushed at once. An append blob takes 50,000 blocks.
	flushLines = 256 << 10
	flushFlows = 1 << 20
	// In the first minutes of an hour some batches are late.
	lateMinutes = 15

	flowHead = `{"records":[`
	flowTail = `]}`
)

// Store is where blobs are written; *blobs.Server is one.
type Store interface {
	CreateContainer(account, container string) error
	Append(account, container, blob string, data []byte) error
	PutBlocks(account, container, blob string, blocks []blobs.Block) error
	Delete(account, container, blob string) error
}

// Options of a Writer.
type Options struct {
	Store   Store
	Account string
	// Keep is how long blobs stay after their hour, as by a lifecycle rule; zero:
	// for ever.
	Keep time.Duration
	// LateShare makes one batch in so many, in the first minutes of an hour, go to
	// the blob of the hour before; zero: none.
	LateShare int
	Now       func() time.Time // nil: time.Now
}

// Writer archives records. It is safe for concurrent use.
type Writer struct {
	options Options

	mu         sync.Mutex // guards what follows
	containers map[string]bool
	blobs      map[string]*growing // by container and name
	batches    int
	pruned     time.Time // the hour up to which old blobs are gone
}

// growing is an hour's blob.
type growing struct {
	place
	name    string
	hour    time.Time
	pending []byte
	ids     []string // of the blocks of a flow log, but the last
}

// New returns a writer.
func New(options Options) *Writer {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Writer{options: options, containers: map[string]bool{}, blobs: map[string]*growing{}}
}

// Add takes records of one category; the next flush writes them. They are copied.
func (w *Writer) Add(category string, records ...[]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.options.Now().UTC()
	hour := now.Truncate(time.Hour)
	w.batches++
	if share := w.options.LateShare; share > 0 && w.batches%share == 0 && now.Minute() < lateMinutes {
		hour = hour.Add(-time.Hour)
	}
	for _, record := range records {
		p, err := placeOf(category, record)
		if err != nil {
			return err
		}
		g := w.blobLocked(p, hour)
		if g.flow {
			if len(g.ids) > 0 || len(g.pending) > 0 { // not the first record
				g.pending = append(g.pending, ',')
			}
			g.pending = append(g.pending, record...)
		} else {
			g.pending = append(append(g.pending, record...), g.lineEnd...)
		}
		if (!g.flow && len(g.pending) >= flushLines) || len(g.pending) >= flushFlows {
			if err := w.flushLocked(g); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) blobLocked(p place, hour time.Time) *growing {
	name := blobs.HourPath(p.prefix, hour, p.suffix)
	key := p.container + "/" + name
	g := w.blobs[key]
	if g == nil {
		g = &growing{place: p, name: name, hour: hour}
		w.blobs[key] = g
	}
	return g
}

// FlushLines writes what is pending for append blobs, as Azure does every few
// seconds, and deletes what is too old.
func (w *Writer) FlushLines() error { return w.flush(false) }

// FlushFlows writes what is pending for flow logs, as Azure does every minute.
func (w *Writer) FlushFlows() error { return w.flush(true) }

func (w *Writer) flush(flow bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(w.blobs)) {
		if g := w.blobs[key]; g.flow == flow {
			if err := w.flushLocked(g); err != nil {
				return err
			}
		}
	}
	return w.pruneLocked()
}

func (w *Writer) flushLocked(g *growing) error {
	if len(g.pending) == 0 {
		return nil
	}
	if !w.containers[g.container] {
		if err := w.options.Store.CreateContainer(w.options.Account, g.container); err != nil {
			return err
		}
		w.containers[g.container] = true
	}
	if !g.flow {
		if err := w.options.Store.Append(w.options.Account, g.container, g.name, g.pending); err != nil {
			return err
		}
		g.pending = g.pending[:0]
		return nil
	}
	var list []blobs.Block
	if len(g.ids) == 0 {
		g.ids = append(g.ids, blockID(0))
		list = append(list, blobs.Block{ID: g.ids[0], Data: []byte(flowHead)}, blobs.Block{})
	} else {
		for _, id := range g.ids {
			list = append(list, blobs.Block{ID: id})
		}
		list = append(list, blobs.Block{})
	}
	id := blockID(len(g.ids))
	list[len(list)-1] = blobs.Block{ID: id, Data: slices.Clone(g.pending)}
	list = append(list, blobs.Block{ID: blockID(tailBlock), Data: []byte(flowTail)})
	if err := w.options.Store.PutBlocks(w.options.Account, g.container, g.name, list); err != nil {
		return err
	}
	g.ids = append(g.ids, id)
	g.pending = g.pending[:0]
	return nil
}

// tailBlock numbers the last block, which stays the last.
const tailBlock = 99_999_999

// blockID returns an id; those of one blob must be equally long.
func blockID(n int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n)) }

// pruneLocked deletes the blobs whose time is up, once an hour.
func (w *Writer) pruneLocked() error {
	hour := w.options.Now().UTC().Truncate(time.Hour)
	if !w.pruned.Before(hour) {
		return nil
	}
	w.pruned = hour
	if w.options.Keep <= 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(w.blobs)) {
		g := w.blobs[key]
		if len(g.pending) > 0 || !g.hour.Add(time.Hour+w.options.Keep).Before(hour) {
			continue
		}
		if err := w.options.Store.Delete(w.options.Account, g.container, g.name); err != nil && !strings.Contains(err.Error(), "BlobNotFound") {
			return err
		}
		delete(w.blobs, key)
	}
	return nil
}
