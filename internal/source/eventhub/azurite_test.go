package eventhub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

func containerClient(t *testing.T, address, key, name string) *container.Client {
	t.Helper()
	client, err := container.NewClientFromConnectionString("DefaultEndpointsProtocol=http;AccountName="+azuritetest.Account+
		";AccountKey="+key+";BlobEndpoint=http://"+address+"/"+azuritetest.Account+";", name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func blobCheckpoints(t *testing.T, client *container.Client, cfg Config) *BlobCheckpoints {
	t.Helper()
	target, err := cfg.Target()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBlobCheckpoints(client, target)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWithAzurite(t *testing.T) {
	address := azuritetest.Blob(t)
	t.Run("checkpoints are the SDK's", func(t *testing.T) { testBlobFormat(t, address) })
	t.Run("missing permission", func(t *testing.T) { testBlobPermission(t, address) })
	t.Run("consumer group is taken over and given back", func(t *testing.T) { testTakeOver(t, address) })
	t.Run("shares with an SDK's processor", func(t *testing.T) { testSharesWithProcessor(t, address) })
	t.Run("two instances share the partitions", func(t *testing.T) { testTwoInstances(t, address) })
	t.Run("once", func(t *testing.T) { testOnceWithBlobs(t, address) })
}

func testBlobFormat(t *testing.T, address string) {
	ctx := t.Context()
	client := containerClient(t, address, azuritetest.Key, "format")
	cfg := DefaultConfig()
	cfg.ConnectionString, cfg.Hub = testConnection, "insights"
	ours := blobCheckpoints(t, client, cfg)
	for range 2 { // the container is created, and then found
		if err := ours.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
	}
	key := checkpoint.Key{Source: "any", Partition: "3"}
	if c, err := ours.Load(ctx, key); c != "" || err != nil {
		t.Fatalf("Load of nothing = %q, %v; want none", c, err)
	}
	for _, c := range []checkpoint.Cursor{"v1 seq=10 time=2026-01-01T00:00:00.000Z offset=1000", "v1 seq=11 offset=1100"} {
		if err := ours.Save(ctx, key, c); err != nil {
			t.Fatal(err)
		}
	}
	theirs, err := checkpoints.NewBlobStore(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	list := func() []azeventhubs.Checkpoint {
		all, err := theirs.ListCheckpoints(ctx, "sec.servicebus.windows.net", "insights", "$Default", nil)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := azeventhubs.Checkpoint{
		FullyQualifiedNamespace: "sec.servicebus.windows.net", EventHubName: "insights", ConsumerGroup: "$Default",
		PartitionID: "3", SequenceNumber: to.Ptr[int64](11), Offset: to.Ptr("1100"),
	}
	if diff := cmp.Diff([]azeventhubs.Checkpoint{want}, list()); diff != "" {
		t.Errorf("what the SDK reads (-want +got):\n%s", diff)
	}
	want.SequenceNumber, want.Offset = to.Ptr[int64](12), to.Ptr("1200")
	if err := theirs.SetCheckpoint(ctx, want, nil); err != nil {
		t.Fatal(err)
	}
	if c, err := ours.Load(ctx, key); c != "v1 seq=12 offset=1200" || err != nil {
		t.Errorf("Load of what the SDK wrote = %q, %v", c, err)
	}
	entries, err := ours.List(ctx, "entra")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Key != (checkpoint.Key{Source: "entra", Partition: "3"}) ||
		entries[0].Cursor != "v1 seq=12 offset=1200" || entries[0].Saved.IsZero() {
		t.Errorf("List = %+v", entries)
	}
}

func testBlobPermission(t *testing.T, address string) {
	s, p := newSim(t, 1, eventhubs.HubOptions{}), newProbe()
	const wrong = "d3Jvbmc="
	blobs := blobCheckpoints(t, containerClient(t, address, wrong, "denied"), s.config())
	running := sourcetest.Start(t, open(t, s.config(), Deps{Checkpoints: blobs, Ownership: blobs}, p), sourcetest.NewRecorder(blobs, sourcetest.Name))
	r := waitStatus(t, p, status.Failed, "use checkpoint container http://"+address)
	if !strings.Contains(r.Remedy, "Storage Blob Data Contributor") {
		t.Errorf("remedy is %q; want the role named", r.Remedy)
	}
	if strings.Contains(r.Reason, "\n") || strings.Contains(r.Reason, wrong) {
		t.Errorf("reason is not one line without secrets: %q", r.Reason)
	}
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
}

// An SDK program reads a while, Lazuli goes on, and the program goes on again.
func testTakeOver(t *testing.T, address string) {
	s := newSim(t, 1, eventhubs.HubOptions{})
	cfg := s.config()
	client := containerClient(t, address, azuritetest.Key, "takeover")
	blobs := blobCheckpoints(t, client, cfg)
	if err := blobs.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := s.append(t, "0", 10)
	wantExactly(t, sdkProgram(t, s, client, 10), first)

	second := s.append(t, "0", 20)
	rec := sourcetest.NewRecorder(blobs, sourcetest.Name)
	running := sourcetest.Start(t, open(t, cfg, Deps{Checkpoints: blobs, Ownership: blobs}, newProbe()), rec)
	rec.Wait(t, "what the program left", func() bool { return rec.Count("0") >= 20 })
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	wantExactly(t, rec.Bodies("0"), second)

	third := s.append(t, "0", 10)
	wantExactly(t, sdkProgram(t, s, client, 10), third)
}

// sdkProgram reads n messages as any program does that is written with the
// SDK's processor, checkpoints the last, and stops.
func sdkProgram(t *testing.T, s *sim, c *container.Client, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sourcetest.Patience)
	defer cancel()
	store, err := checkpoints.NewBlobStore(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(s.config().ConnectionString.Reveal(), simHub, azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeWithin(ctx, time.Second, consumer.Close)
	processor, err := azeventhubs.NewProcessor(consumer, store, &azeventhubs.ProcessorOptions{
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: to.Ptr(true)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- processor.Run(running) }()
	partition := processor.NextPartitionClient(ctx)
	if partition == nil {
		t.Fatalf("the SDK's processor got no partition: %v", <-done)
	}
	events, err := partition.ReceiveEvents(ctx, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := partition.UpdateCheckpoint(ctx, events[len(events)-1], nil); err != nil {
		t.Fatal(err)
	}
	closeWithin(ctx, time.Second, partition.Close)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, e := range events {
		bodies = append(bodies, string(e.Body))
	}
	return bodies
}

// Lazuli reads everything until a program with the SDK's own Processor joins the
// group: then each has half, and both read.
func testSharesWithProcessor(t *testing.T, address string) {
	s, p := newSim(t, 4, eventhubs.HubOptions{}), newProbe()
	cfg := s.config()
	client := containerClient(t, address, azuritetest.Key, "mixed")
	blobs := blobCheckpoints(t, client, cfg)
	rec := sourcetest.NewRecorder(blobs, sourcetest.Name)
	src := open(t, cfg, Deps{Checkpoints: blobs, Ownership: blobs}, p)
	// The SDK's processor may leave claims behind when it is stopped in the
	// middle of renewing them. The store's clock ticks in seconds.
	src.claims.expiry = 3 * time.Second
	running := sourcetest.Start(t, src, rec)
	owns := func(n int) {
		t.Helper()
		p.wait(t, fmt.Sprintf("Lazuli to own %d partitions", n), func() bool { return p.owned == n })
	}
	owns(4)
	before := map[string][]string{}
	for i := range 4 { // its links are open
		id := fmt.Sprint(i)
		before[id] = s.append(t, id, 1)
		rec.Wait(t, "a message, and its position to be saved", func() bool { return rec.Partition(id).Saved != "" })
	}

	store, err := checkpoints.NewBlobStore(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(cfg.ConnectionString.Reveal(), simHub, azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeWithin(t.Context(), time.Second, consumer.Close)
	processor, err := azeventhubs.NewProcessor(consumer, store, &azeventhubs.ProcessorOptions{
		StartPositions: azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: to.Ptr(true)}},
		UpdateInterval: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), sourcetest.Patience)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- processor.Run(ctx) }()
	theirs := map[string]*azeventhubs.ProcessorPartitionClient{}
	for len(theirs) < 2 {
		partition := processor.NextPartitionClient(ctx)
		if partition == nil {
			t.Fatal("the SDK's processor did not get its share")
		}
		theirs[partition.PartitionID()] = partition
	}
	owns(2)
	for i := range 4 {
		id := fmt.Sprint(i)
		want := s.append(t, id, 10)
		if partition := theirs[id]; partition != nil {
			events, err := partition.ReceiveEvents(ctx, 10, nil)
			if err != nil || string(events[0].Body) != want[0] {
				t.Errorf("the SDK's program got %d messages of partition %s, %v; want 10 from %s on", len(events), id, err, want[0])
			}
			continue
		}
		rec.Wait(t, "the messages of Lazuli's share", func() bool { return rec.Count(id) >= 11 })
		wantExactly(t, rec.Bodies(id), append(before[id], want...))
	}
	stop()
	<-done
	owns(4)
	if err := running.Stop(); err != nil {
		t.Error(err)
	}
}

func testTwoInstances(t *testing.T, address string) {
	const partitions = 4
	s := newSim(t, partitions, eventhubs.HubOptions{})
	cfg := s.config()
	client := containerClient(t, address, azuritetest.Key, "shared")
	blobs := blobCheckpoints(t, client, cfg)
	produced := map[string][]string{}
	produce := func() {
		for i := range partitions {
			id := fmt.Sprint(i)
			produced[id] = append(produced[id], s.append(t, id, 20)...)
		}
	}
	type instance struct {
		*probe
		rec     *sourcetest.Recorder
		running *sourcetest.Running
	}
	var all []*instance
	start := func() *instance {
		p := newProbe()
		i := &instance{probe: p, rec: sourcetest.NewRecorder(blobs, sourcetest.Name)}
		i.running = sourcetest.Start(t, open(t, cfg, Deps{Checkpoints: blobs, Ownership: blobs}, p), i.rec)
		all = append(all, i)
		return i
	}
	owns := func(i *instance, n int) {
		t.Helper()
		until(t, fmt.Sprintf("an instance to own %d partitions", n), func() bool {
			return i.seen(func() bool { return i.owned == n })
		})
	}
	delivered := func() {
		t.Helper()
		until(t, "everything to be delivered by one instance or the other", func() bool {
			for id, want := range produced {
				seen := map[string]bool{}
				for _, i := range all {
					for _, b := range i.rec.Bodies(id) {
						seen[b] = true
					}
				}
				if len(seen) < len(want) {
					return false
				}
			}
			return true
		})
	}

	produce()
	a := start()
	owns(a, partitions)
	delivered()
	b := start()
	owns(b, partitions/2)
	owns(a, partitions/2)
	produce()
	delivered()
	if err := a.running.Stop(); err != nil {
		t.Fatal(err)
	}
	owns(b, partitions)
	produce()
	delivered()
	b.rec.Crash() // an instance that dies saves nothing more
	if err := b.running.Stop(); err != nil {
		t.Fatal(err)
	}
	produce()
	c := start()
	owns(c, partitions)
	delivered()
	if err := c.running.Stop(); err != nil {
		t.Fatal(err)
	}

	// Each instance saw each partition in order, and together they saw all of it.
	// What is in flight when a partition changes hands may come twice.
	for id, want := range produced {
		var got []string
		for _, i := range all {
			bodies := i.rec.Bodies(id)
			if !sort.SliceIsSorted(bodies, func(x, y int) bool { return index(want, bodies[x]) < index(want, bodies[y]) }) {
				t.Errorf("partition %s is out of order in one instance", id)
			}
			got = append(got, bodies...)
		}
		sort.Slice(got, func(x, y int) bool { return index(want, got[x]) < index(want, got[y]) })
		wantExactly(t, slices.Compact(got), want)
	}
}

func index(list []string, s string) int {
	for i, v := range list {
		if v == s {
			return i
		}
	}
	return -1
}

func testOnceWithBlobs(t *testing.T, address string) {
	s := newSim(t, 2, eventhubs.HubOptions{})
	cfg := s.config()
	blobs := blobCheckpoints(t, containerClient(t, address, azuritetest.Key, "once"), cfg)
	for life := range 3 {
		want := s.append(t, "1", life*5)
		rec := sourcetest.NewRecorder(blobs, sourcetest.Name)
		src := open(t, cfg, Deps{Checkpoints: blobs, Ownership: blobs, Once: true}, newProbe())
		if err := sourcetest.Start(t, src, rec).Result(); err != nil {
			t.Fatal(err)
		}
		wantExactly(t, append([]string{}, rec.Bodies("1")...), append([]string{}, want...))
	}
}

// A storage account that cannot be reached is told without its SAS token.
func TestStoreErrorsHideTheToken(t *testing.T) {
	client, err := container.NewClientWithNoCredential("http://127.0.0.1:1/account/name?sv=2025-01-05&sig=hunter2", &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.ConnectionString, cfg.Hub = testConnection, "insights"
	b := blobCheckpoints(t, client, cfg)
	_, loadErr := b.Load(t.Context(), checkpoint.Key{Source: "entra", Partition: "0"})
	for _, err := range []error{b.Prepare(t.Context()), loadErr} {
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "http://127.0.0.1:1/account/name") {
			t.Errorf("error is %v; want one that names the container and not the token", err)
		}
	}
}

// The store of owners going away does not stop what is being read.
func TestOwnersUnknownReadsOn(t *testing.T) {
	s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
	owners := &memoryOwnership{}
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	want := s.append(t, "0", 5)
	sourcetest.Start(t, open(t, s.config(), Deps{Checkpoints: store, Ownership: owners}, p), rec)
	rec.Wait(t, "messages", func() bool { return rec.Count("0") >= 5 })
	owners.fail(errors.New("storage is down"))
	waitStatus(t, p, status.Retrying, "storage is down")
	want = append(want, s.append(t, "0", 5)...)
	rec.Wait(t, "messages while owners are unknown", func() bool { return rec.Count("0") >= 10 })
	owners.fail(nil)
	waitStatus(t, p, status.OK, "")
	wantExactly(t, rec.Bodies("0"), want)
}
