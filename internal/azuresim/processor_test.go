package azuresim

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// process lets Microsoft's processor read, with its checkpoints in the simulated
// storage account, until the ledger has seen all.
func process(t *testing.T, s *Sim, events uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	blobs, err := container.NewClientFromConnectionString(s.Endpoints.Storage.ConnectionString, "checkpoints", nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := checkpoints.NewBlobStore(blobs, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := azeventhubs.NewConsumerClientFromConnectionString(s.Endpoints.ConnectionString, Hub, ConsumerGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	earliest := true
	processor, err := azeventhubs.NewProcessor(client, store, &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy, UpdateInterval: 50 * time.Millisecond,
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &earliest}},
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	seen := make(chan struct{}, 1) // there is news in the ledger
	var all sync.WaitGroup
	all.Go(func() {
		for {
			p := processor.NextPartitionClient(running)
			if p == nil {
				return
			}
			all.Go(func() {
				defer p.Close(context.Background())
				for {
					few, done := context.WithTimeout(running, 100*time.Millisecond)
					got, err := p.ReceiveEvents(few, 100, nil)
					done()
					for _, e := range got {
						s.Ledger.SeenLine(e.Body)
					}
					select {
					case seen <- struct{}{}:
					default:
					}
					if len(got) > 0 {
						if err := p.UpdateCheckpoint(ctx, got[len(got)-1], nil); err != nil {
							t.Error(err)
						}
					}
					if running.Err() != nil || (err != nil && !errors.Is(err, context.DeadlineExceeded)) {
						return
					}
				}
			})
		}
	})
	all.Go(func() {
		if err := processor.Run(running); err != nil && running.Err() == nil {
			t.Error(err)
		}
	})
	for s.Ledger.Report().Delivered < events && ctx.Err() == nil {
		select {
		case <-seen:
		case <-ctx.Done():
		}
	}
	stop()
	all.Wait()
}

func TestProcessorsGoOnFromCheckpointsInBlobs(t *testing.T) {
	s := start(t, Options{Seed: 9})
	if err := s.Blobs.CreateContainer(s.Endpoints.Storage.Account, "checkpoints"); err != nil {
		t.Fatal(err)
	}
	const events = 2000
	for round := uint64(1); round <= 2; round++ {
		if _, err := s.Produce(t.Context(), events, 0); err != nil {
			t.Fatal(err)
		}
		process(t, s, round*events)
	}
	if got := s.Ledger.Report(); got.Lost != 0 || got.Duplicated != 0 || got.Unknown != 0 {
		t.Errorf("ledger: %v", got)
	}
	if n := len(s.Blobs.Names(s.Endpoints.Storage.Account, "checkpoints")); n != 8 {
		t.Errorf("%d blobs of checkpoints and ownership, want 8 for four partitions", n)
	}
}
