// Package filestore keeps checkpoints in a folder: one small JSON file per
// partition, written anew and renamed, so that a crash at any moment leaves the
// old value or the new one, and a human can read and edit it.
package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/durable"
)

const version = 1

// document is the content of one file. docs/adr/0003 describes the format.
type document struct {
	Version   int               `json:"version"`
	Source    string            `json:"source"`
	Partition string            `json:"partition"`
	Cursor    checkpoint.Cursor `json:"cursor"`
	Saved     time.Time         `json:"saved"`
}

// Store implements checkpoint.Store in a folder that one process owns at a
// time. Its methods may be called concurrently.
type Store struct {
	dir  string
	now  func() time.Time
	lock io.Closer

	mu   sync.Mutex
	made map[string]bool // folders known to exist; guarded by mu
}

// Open takes the folder, made if absent, for this process. It fails if another
// process has it: two collectors on one state folder would read everything twice.
func Open(dir string, now func() time.Time) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the checkpoint folder: %w", err)
	}
	lock, err := durable.OpenLock(filepath.Join(dir, ".lock"), false)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("checkpoint folder %q is used by another running process: stop it, or give this one a folder of its own (checkpoint.path)", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the checkpoint folder %q: %w", dir, err)
	}
	return &Store{dir: dir, now: now, lock: lock, made: map[string]bool{}}, nil
}

// Close gives the folder up.
func (s *Store) Close() error { return s.lock.Close() }

// Load implements checkpoint.Store.
func (s *Store) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	doc, err := read(s.path(k))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return doc.Cursor, err
}

// Save implements checkpoint.Store: the new file is synced before it replaces
// the old one, and the folder after that.
func (s *Store) Save(_ context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	path := s.path(k)
	if err := s.makeDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make a folder for the checkpoint: %w", err)
	}
	data, err := json.MarshalIndent(document{version, k.Source, k.Partition, c, s.now().UTC()}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the checkpoint: %w", err)
	}
	if err := durable.ReplaceFile(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// List implements checkpoint.Store.
func (s *Store) List(_ context.Context, source string) ([]checkpoint.Entry, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, escape(source)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the checkpoints of %q: %w", source, err)
	}
	var entries []checkpoint.Entry
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		doc, err := read(filepath.Join(s.dir, escape(source), f.Name()))
		if err != nil {
			return nil, err
		}
		entries = append(entries, checkpoint.Entry{
			Key:    checkpoint.Key{Source: doc.Source, Partition: doc.Partition},
			Cursor: doc.Cursor, Saved: doc.Saved,
		})
	}
	return entries, nil
}

// Folder is where the checkpoints of a source are; it may not exist yet.
func (s *Store) Folder(source string) string { return filepath.Join(s.dir, escape(source)) }

func (s *Store) path(k checkpoint.Key) string {
	return filepath.Join(s.Folder(k.Source), escape(k.Partition)+".json")
}

// escape makes one safe file name of any text: no separator and no leading dot
// survives.
func escape(name string) string {
	name = url.PathEscape(name)
	if strings.HasPrefix(name, ".") {
		name = "%2E" + name[1:]
	}
	return name
}

func (s *Store) makeDir(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[dir] {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return err
	}
	s.made[dir] = true
	return nil
}

func read(path string) (document, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return document{}, err
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return document{}, fmt.Errorf("checkpoint %s is damaged: %w; mend it, or delete it to start over from the configured start", path, err)
	}
	if doc.Version != version {
		return document{}, fmt.Errorf("checkpoint %s has version %d, this program reads version %d: use the program that wrote it", path, doc.Version, version)
	}
	return doc, nil
}
