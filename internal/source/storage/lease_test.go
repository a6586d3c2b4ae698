package storage

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/blobjournal"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

// testLease lets two instances share a source: one reads, the other takes over
// when the first loses its lease, and nothing is read twice that was saved.
func testLease(t *testing.T, a *azurite) {
	name := a.container(t, "insights-logs-shared")
	checkpoints := a.client.NewContainerClient(fmt.Sprintf("checkpoints-%d", a.named.Add(1))) // made by the first
	blob := hourBlob(time.Now())
	partition := name + "/" + blob
	instance := func() (*blobjournal.Store, *sourcetest.Recorder, func() *sourcetest.Running) {
		store, err := blobjournal.New(checkpoints, sourcetest.Name, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		return store, rec, func() *sourcetest.Running {
			return sourcetest.Start(t, hastened(t, a.config(name), Deps{Checkpoints: store, Lease: store, Grace: 5 * time.Second}), rec)
		}
	}
	a.append(t, name, blob, "{\"n\":1}\n{\"n\":2}\n")
	oneStore, one, startOne := instance()
	first := startOne()
	wait(t, one, partition, 2)
	twoStore, two, startTwo := instance()
	if _, err := twoStore.Acquire(t.Context()); !errors.Is(err, checkpoint.ErrHeld) {
		t.Fatalf("a second lease: %v, want %v", err, checkpoint.ErrHeld)
	}
	second := startTwo()
	a.append(t, name, blob, "{\"n\":3}\n")
	wait(t, one, partition, 3)
	until(t, "the position to be saved", func() bool {
		c, _ := oneStore.Load(t.Context(), checkpoint.Key{Source: sourcetest.Name, Partition: partition})
		p, err := parseCursor(c)
		return err == nil && p.offset == 24
	})
	// The first is cut off: its lease is broken, and it must not overwrite anything.
	state := checkpoints.NewBlockBlobClient("lazuli/" + sourcetest.Name + "/journal.ndjson")
	breaker, err := lease.NewBlobClient(state, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := breaker.BreakLease(t.Context(), &lease.BlobBreakOptions{BreakPeriod: new(int32)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the second instance, or again the first, to hold the lease", func() bool {
		_, err := instanceFree(t.Context(), checkpoints)
		return errors.Is(err, checkpoint.ErrHeld)
	})
	a.append(t, name, blob, "{\"n\":4}\n")
	until(t, "the record to be read", func() bool { return one.Count(partition)+two.Count(partition) >= 4 })
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	a.append(t, name, blob, "{\"n\":5}\n")
	two.Wait(t, "the second instance to have taken over", func() bool { return contains(two.Bodies(partition), `{"n":5}`) })
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, body := range append(one.Bodies(partition), two.Bodies(partition)...) {
		seen[body]++
	}
	// What the first emitted when it was cut off may come again; nothing else.
	seen[`{"n":4}`] = min(seen[`{"n":4}`], 1)
	if diff := cmp.Diff(map[string]int{`{"n":1}`: 1, `{"n":2}`: 1, `{"n":3}`: 1, `{"n":4}`: 1, `{"n":5}`: 1}, seen); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	// Both gave the lease back.
	third, err := blobjournal.New(checkpoints, sourcetest.Name, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := third.Acquire(t.Context()); err != nil {
		t.Fatalf("after both ended: %v", err)
	}
	if err := third.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := third.Save(t.Context(), checkpoint.Key{Source: sourcetest.Name, Partition: "x"}, "1"); !errors.Is(err, blobjournal.ErrLost) {
		t.Errorf("a save without the lease: %v, want %v", err, blobjournal.ErrLost)
	}
}

// instanceFree tries the lease, and gives it back at once.
func instanceFree(ctx context.Context, c *container.Client) (bool, error) {
	s, err := blobjournal.New(c, sourcetest.Name, time.Now)
	if err != nil {
		return false, err
	}
	if _, err := s.Acquire(ctx); err != nil {
		return false, err
	}
	return true, s.Release(ctx)
}

func contains(list []string, text string) bool {
	for _, s := range list {
		if s == text {
			return true
		}
	}
	return false
}
