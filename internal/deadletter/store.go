package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/durable"
)

const (
	currentName  = "letters.ndjson"
	lockName     = ".lock"
	replayPrefix = "replay-"
)

// Store is a folder of dead letters. Any number of processes may put letters
// into one folder; its methods may be called concurrently.
//
// Letters are appended to letters.ndjson. A replay moves that file aside as
// replay-<time>.ndjson and deletes it once everything in it was taken care of;
// after a crash in between, the next replay reads it again.
type Store struct {
	dir string
	now func() time.Time
	mu  sync.Mutex // serializes Put: the file lock is per process
}

// Open returns the store in folder dir, made if absent.
func Open(dir string, now func() time.Time) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the dead letter folder: %w", err)
	}
	return &Store{dir: dir, now: now}, nil
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

// Put stores letters. After nil they survive a crash of the machine. A letter
// without a time gets the present one. A letter that was half written when the machine
// crashed was never confirmed and is cut off by the next Put.
func (s *Store) Put(ctx context.Context, letters ...Letter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i := range letters {
		if letters[i].Time.IsZero() { // one that is put back keeps its time
			letters[i].Time = s.now().UTC()
		}
		if err := enc.Encode(&letters[i]); err != nil {
			return fmt.Errorf("encode a dead letter: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lock, err := durable.OpenLock(filepath.Join(s.dir, lockName), true)
	if err != nil {
		return fmt.Errorf("lock the dead letters: %w", err)
	}
	defer lock.Close()
	path := filepath.Join(s.dir, currentName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the dead letters: %w", err)
	}
	defer f.Close()
	end, _, err := durable.CutTornLine(f)
	if err != nil {
		return fmt.Errorf("read the end of %s: %w", path, err)
	}
	if _, err := f.WriteAt(buf.Bytes(), end); err != nil {
		_ = f.Truncate(end) // no half letter may stay before the next ones
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		_ = f.Truncate(end)
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if end == 0 { // the file may be new: its name must survive too
		if err := durable.SyncDir(s.dir); err != nil {
			return fmt.Errorf("sync %s: %w", s.dir, err)
		}
	}
	return nil
}

// ErrReplaying is returned by Replay while another replay of the folder runs.
var ErrReplaying = errors.New("another replay of these dead letters is running")

// replayBytes bounds the data of a batch: a letter may hold megabytes.
const replayBytes = 8 << 20

// Replay hands every letter to send, in batches of up to size, fewer where they
// are large. When send
// returns nil for a batch, its letters count as taken care of: the caller has
// delivered them, or has put them back with Put. A file is deleted once all its
// letters are; on the first error Replay stops, and the rest stays for the next
// replay. Lines that are no letters are reported and kept.
func (s *Store) Replay(ctx context.Context, size int, send func(ctx context.Context, letters []Letter) error) (sent int, err error) {
	lock, err := durable.OpenLock(filepath.Join(s.dir, replayPrefix+"lock"), false)
	if errors.Is(err, durable.ErrLocked) {
		return 0, ErrReplaying
	} else if err != nil {
		return 0, fmt.Errorf("lock the dead letters for a replay: %w", err)
	}
	defer lock.Close()
	if err := s.moveAside(); err != nil {
		return 0, err
	}
	files, err := filepath.Glob(filepath.Join(s.dir, replayPrefix+"*.ndjson"))
	if err != nil {
		return 0, err
	}
	for _, path := range files {
		n, err := s.replayFile(ctx, path, size, send)
		sent += n
		if err != nil {
			return sent, err
		}
		if err := os.Remove(path); err != nil {
			return sent, fmt.Errorf("remove the replayed letters: %w", err)
		}
	}
	return sent, durable.SyncDir(s.dir)
}

func (s *Store) moveAside() error {
	lock, err := durable.OpenLock(filepath.Join(s.dir, lockName), true)
	if err != nil {
		return fmt.Errorf("lock the dead letters: %w", err)
	}
	defer lock.Close()
	// A clock that stands still or went back must not overwrite an earlier file.
	stamp := replayPrefix + s.now().UTC().Format("20060102T150405.000000000Z")
	var aside string
	for n := 0; ; n++ {
		aside = filepath.Join(s.dir, fmt.Sprintf("%s-%03d.ndjson", stamp, n))
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	err = os.Rename(filepath.Join(s.dir, currentName), aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("move the dead letters aside: %w", err)
	}
	return durable.SyncDir(s.dir)
}

func (s *Store) replayFile(ctx context.Context, path string, size int, send func(context.Context, []Letter) error) (sent int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open dead letters: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	batch := make([]Letter, 0, size)
	bytesHeld := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := send(ctx, batch); err != nil {
			return fmt.Errorf("replay %s: %w", filepath.Base(path), err)
		}
		sent += len(batch)
		clear(batch)
		batch, bytesHeld = batch[:0], 0
		return nil
	}
	for line := 1; ; line++ {
		text, readErr := r.ReadBytes('\n')
		if readErr == io.EOF && len(text) > 0 && text[len(text)-1] != '\n' {
			text = nil // torn by a crash, never confirmed
		} else if readErr != nil && readErr != io.EOF {
			return sent, fmt.Errorf("read %s: %w", path, readErr)
		}
		if len(bytes.TrimSpace(text)) > 0 {
			var l Letter
			if err := json.Unmarshal(text, &l); err != nil {
				return sent, fmt.Errorf("%s:%d is not a dead letter: %w; mend or remove the line and replay again", path, line, err)
			}
			bytesHeld += len(l.Data)
			if batch = append(batch, l); len(batch) == size || bytesHeld >= replayBytes {
				if err := flush(); err != nil {
					return sent, err
				}
			}
		}
		if readErr == io.EOF {
			return sent, flush()
		}
	}
}

// Each calls yield with every letter stored, without changing anything. Files
// that a replay has begun come first.
func (s *Store) Each(ctx context.Context, yield func(Letter) error) error {
	files, err := filepath.Glob(filepath.Join(s.dir, "*.ndjson"))
	if err != nil {
		return err
	}
	for pass := range 2 {
		for _, path := range files {
			if isReplay := strings.HasPrefix(filepath.Base(path), replayPrefix); isReplay != (pass == 0) {
				continue
			}
			_, err := s.replayFile(ctx, path, 1, func(_ context.Context, l []Letter) error { return yield(l[0]) })
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
