// Package memstore keeps checkpoints in memory: for a backfill, which must not
// touch those of the collector that runs.
package memstore

import (
	"context"
	"sync"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// Store implements checkpoint.Journal. Nothing outlives the process. Its
// methods may be called concurrently.
type Store struct {
	mu      sync.Mutex
	cursors map[checkpoint.Key]checkpoint.Cursor // guarded by mu
}

// New returns an empty store.
func New() *Store { return &Store{cursors: map[checkpoint.Key]checkpoint.Cursor{}} }

// Load implements checkpoint.Store.
func (s *Store) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[k], nil
}

// Save implements checkpoint.Store.
func (s *Store) Save(_ context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[k] = c
	return nil
}

// SaveAll implements checkpoint.Journal.
func (s *Store) SaveAll(_ context.Context, entries []checkpoint.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		s.cursors[e.Key] = e.Cursor
	}
	return nil
}

// Forget implements checkpoint.Journal.
func (s *Store) Forget(_ context.Context, keys []checkpoint.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		delete(s.cursors, k)
	}
	return nil
}

// List implements checkpoint.Store.
func (s *Store) List(_ context.Context, source string) ([]checkpoint.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []checkpoint.Entry
	for k, c := range s.cursors {
		if k.Source == source {
			entries = append(entries, checkpoint.Entry{Key: k, Cursor: c})
		}
	}
	return entries, nil
}
