// Package journal keeps the checkpoints of one source in one file: each save
// appends a line and syncs, saves that come at the same time share one sync,
// and the file is written anew when most of it is out of date. It is for
// sources with thousands of partitions, where a file and a sync for each
// (filestore) would cost more than the reading. docs/adr/0013 has the reasons.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/durable"
)

const version = 1

// line is one line of the file. The first line of a file has the version and
// the source, all others a partition.
type line struct {
	Version   int               `json:"version,omitempty"`
	Source    string            `json:"source,omitempty"`
	Partition string            `json:"partition,omitempty"`
	Cursor    checkpoint.Cursor `json:"cursor,omitempty"`
	Saved     time.Time         `json:"saved,omitzero"`
	Forgotten bool              `json:"forgotten,omitempty"`
}

// maxLine bounds what Open takes into memory for one line. The longest cursors are
// those of feeds that are asked for ranges of time: 1.6 MB.
const maxLine = 8 << 20

// slack is how many lines that are out of date a file may have beside as many
// as there are checkpoints.
const slack = 1000

// Store implements checkpoint.Journal for one source. Its methods may be called
// concurrently.
//
// After a crash of the process or of the machine every checkpoint has a value
// that was saved, and no older one than the last whose save returned nil. The
// whole of it is kept in memory: about 400 bytes for each partition.
type Store struct {
	path   string
	source string
	now    func() time.Time

	mu      sync.Mutex
	live    map[string]entry // what is in the file; guarded by mu
	file    *os.File         // guarded by mu, and by whoever writes
	size    int64            // of the whole lines in the file
	lines   int              // in the file
	pending *group           // saves that wait for the next write; nil if none
	writing bool             // somebody writes
	damaged error            // the file could not be brought back to whole lines
	closed  bool
}

type entry struct {
	cursor checkpoint.Cursor
	saved  time.Time
}

// group is the saves that share one write.
type group struct {
	changes []line
	done    chan struct{}
	err     error
}

// Open reads the journal of source at path, made if absent. The caller sees to
// it that no other process has it open: filestore's lock of the folder does.
func Open(path, source string, now func() time.Time) (*Store, error) {
	s := &Store{path: path, source: source, now: now, live: map[string]entry{}}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for the checkpoints of %q: %w", source, err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoints of %q: %w", source, err)
	}
	if err := s.load(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *Store) load(f *os.File) error {
	size, _, err := durable.CutTornLine(f) // a save that a crash cut short
	if err != nil {
		return fmt.Errorf("read the checkpoints %s: %w", s.path, err)
	}
	s.file, s.size = f, size
	if size == 0 {
		if err := s.compact(); err != nil {
			return fmt.Errorf("write the checkpoints %s: %w", s.path, err)
		}
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the checkpoints %s: %w", s.path, err)
	}
	entries, lines, err := Read(f, s.source)
	if err != nil {
		return fmt.Errorf("checkpoints %s: %w; mend the file, or delete it to start over from the configured start", s.path, err)
	}
	s.lines = lines
	for _, e := range entries {
		s.live[e.Partition] = entry{e.Cursor, e.Saved}
	}
	return nil
}

// Read returns the checkpoints of a source from what Write or a Store has
// written, and how many lines that has.
func Read(r io.Reader, source string) (entries []checkpoint.Entry, n int, err error) {
	live := map[string]checkpoint.Entry{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		n++
		var l line
		err := json.Unmarshal(lines.Bytes(), &l)
		switch {
		case err != nil:
		case n == 1 && l.Version != version:
			err = fmt.Errorf("they have version %d, this program reads version %d: use the program that wrote them", l.Version, version)
		case n == 1 && l.Source != source:
			err = fmt.Errorf("they are of source %q, not of %q: give each source a name of its own", l.Source, source)
		case n == 1:
		case l.Partition == "":
			err = errors.New("it names no partition")
		case l.Forgotten:
			delete(live, l.Partition)
		case l.Cursor == "":
			err = errors.New("it has no cursor")
		default:
			live[l.Partition] = checkpoint.Entry{Key: checkpoint.Key{Source: source, Partition: l.Partition}, Cursor: l.Cursor, Saved: l.Saved}
		}
		if err != nil {
			return nil, n, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, n, fmt.Errorf("after line %d: %w", n, err)
	}
	for _, e := range live {
		entries = append(entries, e)
	}
	return entries, n, nil
}

// Write writes checkpoints of a source.
func Write(w io.Writer, source string, entries []checkpoint.Entry) error {
	encoder := json.NewEncoder(w)
	err := encoder.Encode(line{Version: version, Source: source})
	for _, e := range entries {
		err = errors.Join(err, encoder.Encode(line{Partition: e.Partition, Cursor: e.Cursor, Saved: e.Saved}))
	}
	return err
}

// Close closes the file. Saves that come later fail.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.file.Close()
}

// Load implements checkpoint.Store.
func (s *Store) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[k.Partition].cursor, nil
}

// List implements checkpoint.Store.
func (s *Store) List(context.Context, string) ([]checkpoint.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]checkpoint.Entry, 0, len(s.live))
	for partition, e := range s.live {
		entries = append(entries, checkpoint.Entry{
			Key: checkpoint.Key{Source: s.source, Partition: partition}, Cursor: e.cursor, Saved: e.saved,
		})
	}
	return entries, nil
}

// Save implements checkpoint.Store.
func (s *Store) Save(ctx context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	return s.SaveAll(ctx, []checkpoint.Entry{{Key: k, Cursor: c}})
}

// SaveAll implements checkpoint.Journal.
func (s *Store) SaveAll(_ context.Context, entries []checkpoint.Entry) error {
	now := s.now().UTC()
	changes := make([]line, 0, len(entries))
	for _, e := range entries {
		changes = append(changes, line{Partition: e.Partition, Cursor: e.Cursor, Saved: now})
	}
	return s.commit(changes)
}

// Forget implements checkpoint.Journal.
func (s *Store) Forget(_ context.Context, keys []checkpoint.Key) error {
	s.mu.Lock()
	changes := make([]line, 0, len(keys))
	for _, k := range keys {
		if _, ok := s.live[k.Partition]; ok {
			changes = append(changes, line{Partition: k.Partition, Forgotten: true})
		}
	}
	s.mu.Unlock()
	return s.commit(changes)
}

// commit makes the changes durable together with those that other goroutines
// want at the same time: while one write and its sync run, the next group forms.
func (s *Store) commit(changes []line) error {
	if len(changes) == 0 {
		return nil
	}
	s.mu.Lock()
	g := s.pending
	if g == nil {
		g = &group{done: make(chan struct{})}
		s.pending = g
	}
	g.changes = append(g.changes, changes...)
	if s.writing { // who writes now takes this group next
		s.mu.Unlock()
		<-g.done
		return g.err
	}
	s.writing = true
	for s.pending != nil {
		next := s.pending
		s.pending = nil
		s.mu.Unlock()
		next.err = s.write(next.changes)
		s.mu.Lock()
		if next.err == nil {
			s.apply(next.changes)
		}
		close(next.done)
	}
	s.writing = false
	s.mu.Unlock()
	return g.err
}

// apply is called with mu held.
func (s *Store) apply(changes []line) {
	for _, c := range changes {
		if c.Forgotten {
			delete(s.live, c.Partition)
		} else {
			s.live[c.Partition] = entry{c.Cursor, c.Saved}
		}
	}
}

// write appends changes and syncs. It is called by one goroutine at a time.
func (s *Store) write(changes []line) error {
	s.mu.Lock()
	damaged, old, closed := s.damaged, s.lines > 2*len(s.live)+slack, s.closed
	s.mu.Unlock()
	if closed {
		return fmt.Errorf("append to the checkpoints %s: they are closed", s.path)
	}
	if old || damaged != nil {
		// A new file also cures an old one that could not be cut.
		if err := s.compact(); err != nil {
			return fmt.Errorf("write the checkpoints %s anew: %w", s.path, err)
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	for _, c := range changes {
		if err := encoder.Encode(c); err != nil {
			return fmt.Errorf("encode the checkpoint of %q: %w", c.Partition, err)
		}
	}
	_, err := s.file.WriteAt(out.Bytes(), s.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		// What was written in part must not stand before the next line.
		if cut := s.file.Truncate(s.size); cut != nil {
			s.mu.Lock()
			s.damaged = errors.Join(err, cut)
			s.mu.Unlock()
		}
		return fmt.Errorf("append to the checkpoints %s: %w", s.path, err)
	}
	s.size += int64(out.Len())
	s.lines += len(changes)
	return nil
}

// compact writes what is live to a new file, which replaces the old one.
func (s *Store) compact() error {
	entries, err := s.List(context.Background(), s.source)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := Write(&out, s.source, entries); err != nil {
		return err
	}
	if err := durable.ReplaceFile(s.path, out.Bytes(), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.file.Close() // of a file that has no name any more
	s.file, s.size, s.lines, s.damaged = f, int64(out.Len()), 1+len(entries), nil
	return nil
}
