// Package blobjournal keeps the checkpoints of one source in one blob, which the
// instance that reads the source holds a lease on: so one instance reads at a
// time, another takes over when it dies, and one that was cut off cannot
// overwrite what its successor saved. docs/adr/0014 has the reasons.
package blobjournal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/journal"
)

// ErrLost says that the lease is not held, or not for certain any more.
var ErrLost = errors.New("this instance does not hold the lease on the source's checkpoints")

// The lease times. A lease that could not be renewed is given up before it runs
// out, so that there are never two readers by the clock of either.
const (
	leaseTime  = 60 * time.Second // the longest that is not for ever: azure:storage.lease-time
	renewEvery = 15 * time.Second
	giveUp     = 45 * time.Second
	// saveEvery is the least time between two writes of the blob: each is on Azure's bill.
	saveEvery = time.Second
)

// Store implements checkpoint.Journal. Its methods may be called concurrently.
// Without the lease every save fails.
type Store struct {
	container *container.Client
	blob      *blockblob.Client
	lease     *lease.BlobClient
	source    string
	now       func() time.Time

	mu      sync.Mutex
	entries map[string]checkpoint.Entry // what is to be in the blob; guarded by mu
	saved   map[string]checkpoint.Entry // what is in it; guarded by mu
	held    bool                        // guarded by mu
	lost    chan struct{}               // closed when the lease is lost; guarded by mu
	pending *group                      // saves that wait for the next write; guarded by mu
	writing bool                        // guarded by mu
	written time.Time                   // guarded by mu
}

// group is the saves that share one write.
type group struct {
	done chan struct{}
	err  error
}

// New returns the store of a source in a container. It does not touch the network.
func New(c *container.Client, source string, now func() time.Time) (*Store, error) {
	b := c.NewBlockBlobClient("lazuli/" + url.PathEscape(source) + "/journal.ndjson")
	l, err := lease.NewBlobClient(b, nil)
	if err != nil {
		return nil, fmt.Errorf("prepare the lease on the checkpoints of %q: %w", source, err)
	}
	return &Store{container: c, blob: b, lease: l, source: source, now: now, entries: map[string]checkpoint.Entry{}}, nil
}

// Acquire takes the lease and reads the checkpoints. It returns checkpoint.ErrHeld while
// another instance has it. The channel is closed when the lease is lost; until
// then it is renewed, also after ctx has ended, until Release.
func (s *Store) Acquire(ctx context.Context) (lost <-chan struct{}, err error) {
	if err := s.make(ctx); err != nil {
		return nil, err
	}
	began := s.now()
	_, err = s.lease.AcquireLease(ctx, int32(leaseTime/time.Second), nil)
	switch {
	case bloberror.HasCode(err, bloberror.LeaseAlreadyPresent):
		return nil, checkpoint.ErrHeld
	case err != nil:
		return nil, fmt.Errorf("take the lease on the checkpoints: %w", brief(err))
	}
	entries, err := s.read(ctx)
	if err != nil {
		_, _ = s.lease.ReleaseLease(ctx, nil) // it runs out otherwise
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = byPartition(entries)
	s.saved = byPartition(entries)
	s.held, s.lost = true, make(chan struct{})
	go s.renew(s.lost, began) //nolint:gosec // it ends with the lease, not with the request
	return s.lost, nil
}

// make makes the container and the blob if they are not there.
func (s *Store) make(ctx context.Context) error {
	var empty bytes.Buffer
	if err := journal.Write(&empty, s.source, nil); err != nil {
		return err
	}
	for try := 0; ; try++ {
		_, err := s.blob.Upload(ctx, streaming.NopCloser(bytes.NewReader(empty.Bytes())), &blockblob.UploadOptions{
			AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}},
		})
		switch {
		case bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.LeaseIDMissing):
			return nil
		case bloberror.HasCode(err, bloberror.ContainerNotFound) && try == 0:
			if _, err := s.container.Create(ctx, nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
				return fmt.Errorf(`create the checkpoint container: %w; create it, and grant the role "Storage Blob Data Contributor" on it`, brief(err))
			}
			continue
		case err != nil:
			return fmt.Errorf(`write into the checkpoint container: %w; with Entra, grant the role "Storage Blob Data Contributor" on it`, brief(err))
		}
		return nil
	}
}

func (s *Store) read(ctx context.Context) ([]checkpoint.Entry, error) {
	r, err := s.blob.DownloadStream(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints: %w", brief(err))
	}
	defer r.Body.Close()
	entries, _, err := journal.Read(r.Body, s.source)
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints in blob lazuli/%s/journal.ndjson: %w", s.source, err)
	}
	return entries, nil
}

// renew keeps the lease until it is lost or released.
func (s *Store) renew(lost chan struct{}, last time.Time) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-lost:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), renewEvery)
		began := s.now()
		_, err := s.lease.RenewLease(ctx, nil)
		cancel()
		switch {
		case err == nil:
			last = began
		case notOurs(err) || s.now().Sub(last) > giveUp-renewEvery:
			s.drop(lost)
			return
		}
	}
}

// notOurs says that somebody else has the lease, or had it since.
func notOurs(err error) bool {
	return bloberror.HasCode(err, bloberror.LeaseIDMismatchWithLeaseOperation, bloberror.LeaseIDMismatchWithBlobOperation,
		bloberror.LeaseLost, bloberror.LeaseNotPresentWithBlobOperation, bloberror.LeaseNotPresentWithLeaseOperation,
		bloberror.LeaseIDMissing, bloberror.BlobNotFound, bloberror.ContainerNotFound)
}

// drop notes that the lease is not held any more.
func (s *Store) drop(lost chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held && s.lost == lost {
		s.held = false
		close(s.lost)
	}
}

// Release gives the lease back, so that another instance need not wait for it.
func (s *Store) Release(ctx context.Context) error {
	s.mu.Lock()
	held, lost := s.held, s.lost
	s.mu.Unlock()
	if !held {
		return nil
	}
	s.drop(lost)
	if _, err := s.lease.ReleaseLease(ctx, nil); err != nil && !notOurs(err) {
		return fmt.Errorf("give back the lease on the checkpoints: %w", brief(err))
	}
	return nil
}

func byPartition(entries []checkpoint.Entry) map[string]checkpoint.Entry {
	all := make(map[string]checkpoint.Entry, len(entries))
	for _, e := range entries {
		all[e.Partition] = e
	}
	return all
}

// Load implements checkpoint.Store.
func (s *Store) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[k.Partition].Cursor, nil
}

// List implements checkpoint.Store.
func (s *Store) List(context.Context, string) ([]checkpoint.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]checkpoint.Entry, 0, len(s.saved))
	for _, e := range s.saved {
		entries = append(entries, e)
	}
	return entries, nil
}

func (s *Store) listLocked() []checkpoint.Entry {
	entries := make([]checkpoint.Entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	return entries
}

// Save implements checkpoint.Store.
func (s *Store) Save(ctx context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	return s.SaveAll(ctx, []checkpoint.Entry{{Key: k, Cursor: c}})
}

// SaveAll implements checkpoint.Journal.
func (s *Store) SaveAll(_ context.Context, entries []checkpoint.Entry) error {
	now := s.now().UTC()
	return s.commit(func() {
		for _, e := range entries {
			e.Saved = now
			s.entries[e.Partition] = e
		}
	})
}

// Forget implements checkpoint.Journal.
func (s *Store) Forget(_ context.Context, keys []checkpoint.Key) error {
	return s.commit(func() {
		for _, k := range keys {
			delete(s.entries, k.Partition)
		}
	})
}

// commit changes the entries and returns when that is in the blob. Changes that
// come while one write runs, or within saveEvery of it, share the next. What a
// write that failed was to bring is brought by the next one.
func (s *Store) commit(change func()) error {
	s.mu.Lock()
	if !s.held {
		s.mu.Unlock()
		return ErrLost
	}
	change()
	g := s.pending
	if g == nil {
		g = &group{done: make(chan struct{})}
		s.pending = g
	}
	if s.writing { // who writes now takes this group next
		s.mu.Unlock()
		<-g.done
		return g.err
	}
	s.writing = true
	for s.pending != nil {
		wait, lost := saveEvery-s.now().Sub(s.written), s.lost
		s.mu.Unlock()
		timer := time.NewTimer(max(0, wait))
		select {
		case <-timer.C:
		case <-lost:
			timer.Stop()
		}
		s.mu.Lock()
		next := s.pending
		s.pending = nil
		held, entries := s.held, s.listLocked()
		s.mu.Unlock()
		if held {
			next.err = s.write(entries)
		} else {
			next.err = ErrLost
		}
		s.mu.Lock()
		s.written = s.now()
		if next.err == nil {
			s.saved = byPartition(entries)
		}
		close(next.done)
	}
	s.writing = false
	s.mu.Unlock()
	return g.err
}

func (s *Store) write(entries []checkpoint.Entry) error {
	slices.SortFunc(entries, func(a, b checkpoint.Entry) int { return bytes.Compare([]byte(a.Partition), []byte(b.Partition)) })
	var out bytes.Buffer
	if err := journal.Write(&out, s.source, entries); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), renewEvery)
	defer cancel()
	_, err := s.blob.Upload(ctx, streaming.NopCloser(bytes.NewReader(out.Bytes())), &blockblob.UploadOptions{
		AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: s.lease.LeaseID()}},
	})
	if err == nil {
		return nil
	}
	if notOurs(err) {
		s.mu.Lock()
		lost := s.lost
		s.mu.Unlock()
		s.drop(lost)
		return ErrLost
	}
	return fmt.Errorf("write the checkpoints: %w", brief(err))
}

// brief leaves the page of headers out that the SDK prints, and the URL, which
// may hold a signature.
func brief(err error) error {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return fmt.Errorf("the storage service answered %s (HTTP %d)", answer.ErrorCode, answer.StatusCode)
	}
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}
