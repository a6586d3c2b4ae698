package storage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// folder is where the blobs of one resource are, or all of a container that is
// not laid out by date. It is what discovery goes by: behind its low mark
// nothing is listed any more, so that the work does not grow with what is old.
//
// Its fields are guarded by Source.mu.
type folder struct {
	container string
	prefix    string // ends in a slash or is empty
	flat      bool

	// low: every blob of an hour before it (in a flat folder, last changed
	// before it) is read and confirmed, or has a checkpoint of its own. It is
	// what is saved.
	low time.Time
	// upto: all hours before it were listed when nothing could be added to them
	// any more. Low follows it as blobs are confirmed.
	upto  time.Time
	blobs map[string]*blob // by name; those that are not forgotten yet

	looks   map[time.Time]time.Time // for each hour from upto on, when it was last listed
	running bool                    // it is being listed
	next    time.Time               // when it is due again
	tries   int                     // failures in a row
	newest  time.Time               // hour of the newest blob that was seen
	pass    int                     // counts listings of a flat folder
	marked  bool                    // the store has a mark of it
}

func (f *folder) key() string { return f.container + "/" + f.prefix }

// markPrefix sets the checkpoint of a folder off from those of blobs: no
// container's name has a space.
const markPrefix = "folder "

func (f *folder) markKey(source string) checkpoint.Key {
	return checkpoint.Key{Source: source, Partition: markPrefix + f.key()}
}

// mark writes the folder's checkpoint, e.g. "v1 low=2026-01-31T23:00:00Z layout=dated".
func (f *folder) mark(low time.Time) checkpoint.Cursor {
	layout := "dated"
	if f.flat {
		layout = "flat"
	}
	return checkpoint.Cursor(cursorVersion + " low=" + low.UTC().Format(timeForm) + " layout=" + layout)
}

// parseMark reads what mark wrote.
func parseMark(c checkpoint.Cursor) (low time.Time, flat bool, err error) {
	fail := func(rule string) (time.Time, bool, error) {
		return time.Time{}, false, fmt.Errorf("read cursor %q: %s", string(c), rule)
	}
	rest, ok := strings.CutPrefix(string(c), cursorVersion+" low=")
	if !ok {
		return fail("it must begin with \"" + cursorVersion + " low=\"; it may be of a newer Lazuli")
	}
	text, layout, ok := strings.Cut(rest, " layout=")
	if !ok || layout != "dated" && layout != "flat" {
		return fail("layout must be dated or flat")
	}
	if low, err = time.Parse(timeForm, text); err != nil {
		return fail("low must be a time in UTC")
	}
	return low, layout == "flat", nil
}

// when is what a blob counts by: its hour, or when it was last changed.
func (b *blob) when() time.Time {
	if b.folder.flat {
		return b.listed.modified
	}
	return b.hour
}

// cursorError is a checkpoint that cannot be read.
type cursorError struct {
	partition string
	err       error
}

func (e *cursorError) Error() string {
	return fmt.Sprintf("checkpoint of %q: %v; mend it or delete it in the checkpoint store", e.partition, e.err)
}
func (e *cursorError) Unwrap() error { return e.err }

// load takes up what the store holds: folders with their marks, and the blobs
// that were not finished or could still grow.
func (s *Source) load(ctx context.Context) error {
	entries, err := s.deps.Checkpoints.List(ctx, s.deps.Name)
	if err != nil {
		return err
	}
	begin, err := parseStart(s.cfg.Start, s.deps.Now())
	if err != nil {
		return err
	}
	if w := s.deps.Window; w != nil {
		begin = w.From
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = begin
	s.folders = map[string]*folder{}
	for _, e := range entries {
		key, ok := strings.CutPrefix(e.Partition, markPrefix)
		if !ok {
			continue
		}
		low, flat, err := parseMark(e.Cursor)
		if err != nil {
			return &cursorError{e.Partition, err}
		}
		if key == startKey {
			s.start = low
			continue
		}
		container, prefix, _ := strings.Cut(key, "/")
		if s.wants(container) {
			f := s.folderLocked(container, prefix, flat, low)
			f.marked = true
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Partition, markPrefix) || strings.HasPrefix(e.Partition, queuePrefix) {
			continue
		}
		pos, err := parseCursor(e.Cursor)
		if err != nil {
			return &cursorError{e.Partition, err}
		}
		container, name, _ := strings.Cut(e.Partition, "/")
		if !s.wants(container) || !s.wantsBlob(name) {
			continue
		}
		f := s.folderOfLocked(container, name)
		b := &blob{folder: f, name: name, saved: true, pos: pos, clean: pos.zipped || pos.offset == pos.seen}
		_, b.hour, _ = splitDate(name)
		b.listed = item{name: name, size: pos.seen, etag: pos.etag, created: pos.created}
		f.blobs[name] = b
	}
	return s.saveStart(ctx, entries)
}

// startKey is where it is kept what "latest" meant when the source first ran.
const startKey = "*start"

// saveStart makes "latest" mean the same after a restart.
func (s *Source) saveStart(ctx context.Context, entries []checkpoint.Entry) error {
	if s.cfg.Start != "latest" || s.deps.Window != nil {
		return nil
	}
	key := checkpoint.Key{Source: s.deps.Name, Partition: markPrefix + startKey}
	for _, e := range entries {
		if e.Partition == key.Partition {
			return nil
		}
	}
	return s.deps.Checkpoints.Save(ctx, key, (&folder{}).mark(s.start))
}

// folderLocked returns the folder, made with that mark if it is new.
func (s *Source) folderLocked(container, prefix string, flat bool, low time.Time) *folder {
	key := container + "/" + prefix
	f := s.folders[key]
	if f == nil {
		if !flat {
			low = hourOf(low)
		}
		f = &folder{
			container: container, prefix: prefix, flat: flat, low: low, upto: low,
			blobs: map[string]*blob{}, looks: map[time.Time]time.Time{},
		}
		s.folders[key] = f
	}
	return f
}

// folderOfLocked returns the folder that a blob is in.
func (s *Source) folderOfLocked(container, name string) *folder {
	if f := s.folders[container+"/"]; f != nil && f.flat {
		return f
	}
	prefix, _, dated := splitDate(name)
	if !dated || s.cfg.Layout == "flat" {
		return s.folderLocked(container, "", true, s.start)
	}
	return s.folderLocked(container, prefix, false, s.start)
}

// wants tells whether the configuration names the container.
func (s *Source) wants(container string) bool {
	for _, pattern := range s.cfg.Containers {
		if matches(pattern, container) {
			return true
		}
	}
	return false
}

func (s *Source) wantsBlob(name string) bool {
	return strings.HasPrefix(name, s.cfg.Prefix) && strings.HasSuffix(name, s.cfg.Suffix)
}

// news takes in what a listing says of a blob, and queues it if there is
// something to read.
func (s *Source) news(f *folder, it item) {
	if !s.wantsBlob(it.name) {
		return
	}
	var hour time.Time
	if !f.flat {
		_, hour, _ = splitDate(it.name)
	}
	s.mu.Lock()
	b := f.blobs[it.name]
	if b == nil {
		b = &blob{folder: f, name: it.name, hour: hour}
		f.blobs[it.name] = b
	}
	b.pass, b.fresh = f.pass, true
	if hour.After(f.newest) {
		f.newest = hour
	}
	changed := b.listed.etag != it.etag
	b.listed = it
	archived := it.archived && !b.closed && b.state == idle && !b.current()
	switch {
	case archived:
		b.closed = true
	case b.closed && changed && !it.archived:
		b.closed = false // it is back
	}
	switch {
	case b.closed:
	case b.state != idle:
		b.dirty = b.dirty || changed
	case !b.current() || !b.clean && s.isFinal(it.modified):
		s.queueLocked(b)
	}
	s.mu.Unlock()
	if archived {
		p := problem{
			class: classArchived, state: status.Failed, reason: "blob " + b.partition() + " is in the archive tier",
			remedy: "rehydrate it and read it with lazuli backfill, or let the lifecycle policy archive later",
		}
		s.metrics.Missing(p.class)
		s.log.Warn("blob is not read", "container", f.container, "blob", it.name, "reason", p.reason, "remedy", p.remedy, "bytes_not_read", it.size)
		s.health.Note(p.reason, p.remedy)
	}
}

// queueLocked gives an idle blob to the workers.
func (s *Source) queueLocked(b *blob) {
	b.state = queued
	if b.noted.IsZero() {
		b.noted = s.deps.Now()
	}
	s.pending++
	s.bytesFound.Add(max(0, b.listed.size-b.pos.seen))
	s.schedule.add(b, false)
}

// gone takes note of a blob that a listing of its place did not show.
func (s *Source) gone(b *blob) {
	s.mu.Lock()
	if b.state != idle || b.closed {
		s.mu.Unlock()
		return
	}
	unread := b.listed.size - b.pos.seen
	current := b.current()
	b.closed = true
	s.mu.Unlock()
	if !current {
		s.metrics.Missing(classGone)
		s.log.Warn("blob was deleted before it was read to its end", "container", b.folder.container, "blob", b.name, "bytes_not_read", unread)
	}
}

// retire moves the folder's low mark over what is finished, and forgets that.
// The mark is saved first: what it covers must not look new after a restart.
func (s *Source) retire(ctx context.Context, f *folder) error {
	s.mu.Lock()
	low := f.upto
	for _, b := range f.blobs {
		// A blob with a checkpoint of its own is found by that.
		if when := b.when(); !b.saved && !b.finished() && when.Before(low) {
			low = when
		}
	}
	low = low.Truncate(time.Second)
	old, marked := f.low, f.marked
	s.mu.Unlock()
	if low.After(old) || !marked && !low.IsZero() {
		if err := s.deps.Checkpoints.Save(ctx, f.markKey(s.deps.Name), f.mark(low)); err != nil {
			return &storeError{err}
		}
	}
	var keys []checkpoint.Key
	s.mu.Lock()
	f.marked = f.marked || !low.IsZero()
	if low.After(f.low) {
		f.low = low
	}
	for name, b := range f.blobs {
		if b.finished() && b.when().Before(f.low) {
			delete(f.blobs, name)
			if b.saved {
				keys = append(keys, checkpoint.Key{Source: s.deps.Name, Partition: b.partition()})
			}
		}
	}
	s.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	if err := s.deps.Checkpoints.Forget(ctx, keys); err != nil {
		return &storeError{err}
	}
	return nil
}
