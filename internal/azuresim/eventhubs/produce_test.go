package eventhubs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// sendBatch sends bodies in one batch.
func sendBatch(ctx context.Context, p *azeventhubs.ProducerClient, o azeventhubs.EventDataBatchOptions, bodies ...[]byte) error {
	batch, err := p.NewEventDataBatch(ctx, &o)
	if err != nil {
		return err
	}
	for _, body := range bodies {
		if err := batch.AddEventData(&azeventhubs.EventData{Body: body}, nil); err != nil {
			return err
		}
	}
	return p.SendEventDataBatch(ctx, batch, nil)
}

// stored returns the bodies of a partition.
func stored(t testing.TB, h *Hub, partition int) []string {
	t.Helper()
	events, err := h.Read(partition, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make([]string, len(events))
	for i, e := range events {
		bodies[i] = string(e.Body)
	}
	return bodies
}

func TestProducerChoosesThePartition(t *testing.T) {
	f := newFixture(t, testOptions(), 4, HubOptions{})
	ctx := testContext(t)
	p := f.producer(t)

	if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{PartitionID: new("2")}, []byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, stored(t, f.hub, 2)); diff != "" {
		t.Errorf("partition 2 (-want +got):\n%s", diff)
	}

	// In turn without a key: four batches go to four partitions.
	for range 4 {
		if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, []byte("turn")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		if bodies := stored(t, f.hub, i); len(bodies) == 0 || bodies[len(bodies)-1] != "turn" {
			t.Errorf("partition %d: got %q, want one more event", i, bodies)
		}
	}
}

func TestPartitionKeysStayTogether(t *testing.T) {
	f := newFixture(t, testOptions(), 4, HubOptions{})
	ctx := testContext(t)
	p := f.producer(t)
	const keys = 40
	for round := range 2 {
		for k := range keys {
			key := fmt.Sprintf("key %d", k)
			if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{PartitionKey: &key}, fmt.Appendf(nil, "%s/%d", key, round)); err != nil {
				t.Fatal(err)
			}
		}
	}
	partitionsOf := map[string]map[int]int{}
	for i := range 4 {
		events, err := f.hub.Read(i, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			t.Errorf("no key went to partition %d", i)
		}
		for _, e := range events {
			if partitionsOf[e.PartitionKey] == nil {
				partitionsOf[e.PartitionKey] = map[int]int{}
			}
			partitionsOf[e.PartitionKey][i]++
		}
	}
	if len(partitionsOf) != keys {
		t.Errorf("got %d keys, want %d", len(partitionsOf), keys)
	}
	for key, partitions := range partitionsOf {
		if len(partitions) != 1 || slices.Collect(maps.Values(partitions))[0] != 2 {
			t.Errorf("%s: events per partition %v, want 2 in one", key, partitions)
		}
	}
}

func TestMessagePropertiesReachTheConsumer(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	p := f.producer(t)
	batch, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: new("k")})
	if err != nil {
		t.Fatal(err)
	}
	want := &azeventhubs.EventData{
		Body:          []byte(`{"records":[]}`),
		ContentType:   new("application/json"),
		MessageID:     new("id"),
		CorrelationID: "correlation",
		Properties:    map[string]any{"text": "t", "number": int64(7), "flag": true},
	}
	if err := batch.AddEventData(want, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.SendEventDataBatch(ctx, batch, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.hub.AppendMessage(0, Message{
		Body: want.Body, PartitionKey: "k", ContentType: *want.ContentType, MessageID: *want.MessageID, CorrelationID: "correlation", Properties: want.Properties,
	}); err != nil {
		t.Fatal(err)
	}
	for i, got := range receive(ctx, t, reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest()), 2) {
		if diff := cmp.Diff(*want, got.EventData); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
		if got.PartitionKey == nil || *got.PartitionKey != "k" || len(got.SystemProperties) != 0 {
			t.Errorf("event %d: partition key %v, system properties %v", i, got.PartitionKey, got.SystemProperties)
		}
	}
	if _, err := f.hub.AppendMessage(0, Message{Properties: map[string]any{"int": 1}}); err == nil {
		t.Error("a property of a type that AMQP does not have was stored")
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	p := f.producer(t)
	var bodies [][]byte
	for i, size := range []int{300_000, 1, 65_536, 1_000_000, 0} {
		body := make([]byte, size)
		for j := range body {
			body[j] = byte(j*7 + i)
		}
		bodies = append(bodies, body)
		if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, body); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if _, err := f.hub.Append(0, body); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range receive(ctx, t, reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest()), 2*len(bodies)) {
		if !bytes.Equal(e.Body, bodies[i/2]) {
			t.Errorf("event %d: got %d bytes that differ from the %d sent", i, len(e.Body), len(bodies[i/2]))
		}
	}
}

func TestManyBatchesRenewCredit(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{RetainEvents: 10})
	ctx := testContext(t)
	p := f.producer(t)
	const batches = 2*producerCredit + 10
	body := make([]byte, 70_000) // two frames
	for range batches {
		if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, body); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := f.hub.Partition(0); err != nil || info.LastSequence != batches-1 {
		t.Errorf("got %+v, %v; want %d events", info, err, batches)
	}
}

func TestOversizedMessageIsRefused(t *testing.T) {
	o := testOptions()
	o.MaxMessageSize = 10_000
	f := newFixture(t, o, 1, HubOptions{})
	w := dialWire(t, f.address)
	w.login(testPolicy, testKey)
	w.open(amqp.Open{ContainerID: "c"})
	w.begin(100)
	if a := w.attachSender(0, testHub); a.MaxMessageSize != 10_000 {
		t.Errorf("max-message-size: got %d, want 10000", a.MaxMessageSize)
	}
	expect[*amqp.Flow](w)
	w.send(&amqp.Transfer{DeliveryID: new(uint32), DeliveryTag: []byte{1}, MessageFormat: new(uint32), More: true}, make([]byte, 6000)...)
	w.send(&amqp.Transfer{}, make([]byte, 6000)...)
	d, _ := expect[*amqp.Detach](w)
	if d.Error == nil || d.Error.Condition != condMessageSizeExceeded {
		t.Errorf("got %+v, want %s", d.Error, condMessageSizeExceeded)
	}
	if n := len(stored(t, f.hub, 0)); n != 0 {
		t.Errorf("%d events were stored", n)
	}
}

func TestBrokenMessagesAreRejected(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	w := dialWire(t, f.address)
	w.login(testPolicy, testKey)
	w.open(amqp.Open{ContainerID: "c"})
	w.begin(100)
	w.attachSender(0, testHub)
	expect[*amqp.Flow](w)
	data := func(b ...byte) []byte { return append(amqp.AppendBinaryHeader([]byte{0, 0x53, 0x75}, len(b)), b...) }
	for i, tc := range []struct {
		name    string
		format  uint32
		message []byte
	}{
		{"no sections", 0, nil},
		{"no body", 0, []byte{0, 0x53, 0x73, 0x45}},
		{"a footer but no body", 0, []byte{0, 0x53, 0x73, 0x45, 0, 0x53, 0x78, 0xc1, 1, 0}},
		{"application properties that are no map", 0, append([]byte{0, 0x53, 0x74, 0x41}, data(1)...)},
		{"garbage", 0, []byte("garbage")},
		{"cut body", 0, []byte{0, 0x53, 0x75, 0xa0, 9, 1}},
		{"sections out of order", 0, append(data(1), 0, 0x53, 0x73, 0x45)},
		{"batch of garbage", amqp.MessageFormatBatch, data('x')},
		{"empty batch", amqp.MessageFormatBatch, []byte{0, 0x53, 0x73, 0x45}},
	} {
		id := uint32(i)
		w.send(&amqp.Transfer{DeliveryID: &id, DeliveryTag: []byte{1}, MessageFormat: &tc.format}, tc.message...)
		d, _ := expect[*amqp.Disposition](w)
		if d.First != id || !d.Settled || d.Rejected == nil || d.Rejected.Condition != condDecodeError {
			t.Errorf("%s: got %+v, want rejected with %s", tc.name, d, condDecodeError)
		}
	}
	if n := len(stored(t, f.hub, 0)); n != 0 {
		t.Errorf("%d events were stored", n)
	}
}

func TestRejectedSendIsRetried(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	p := f.producer(t)
	f.broker.Faults().RejectSends("com.microsoft:server-busy", "busy", 2)
	if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, []byte("a")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, stored(t, f.hub, 0)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	f.broker.Faults().RejectSends("amqp:not-allowed", "no", 1)
	if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, []byte("b")); err == nil {
		t.Error("a send rejected for good succeeded")
	}
	if n := f.broker.Faults().DetachSenders(testHub, "amqp:link:detach-forced", "idle"); n != 1 {
		t.Errorf("%d senders were detached, want 1", n)
	}
	if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, []byte("c")); err != nil {
		t.Errorf("after a forced detach: %v", err)
	}
}

// memoryStore keeps checkpoints and ownerships for one Processor.
type memoryStore struct {
	mu          chan struct{} // of capacity 1: a lock
	ownerships  map[string]azeventhubs.Ownership
	checkpoints map[string]azeventhubs.Checkpoint
}

func newMemoryStore() *memoryStore {
	return &memoryStore{make(chan struct{}, 1), map[string]azeventhubs.Ownership{}, map[string]azeventhubs.Checkpoint{}}
}

func (s *memoryStore) lock() func() {
	s.mu <- struct{}{}
	return func() { <-s.mu }
}

func (s *memoryStore) ClaimOwnership(_ context.Context, wanted []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	defer s.lock()()
	for i := range wanted {
		wanted[i].LastModifiedTime = time.Now()
		s.ownerships[wanted[i].PartitionID] = wanted[i]
	}
	return wanted, nil
}

func (s *memoryStore) ListCheckpoints(context.Context, string, string, string, *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	defer s.lock()()
	return slices.Collect(maps.Values(s.checkpoints)), nil
}

func (s *memoryStore) ListOwnership(context.Context, string, string, string, *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	defer s.lock()()
	return slices.Collect(maps.Values(s.ownerships)), nil
}

func (s *memoryStore) SetCheckpoint(_ context.Context, c azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	defer s.lock()()
	s.checkpoints[c.PartitionID] = c
	return nil
}

func TestProcessorReadsAllPartitionsAndResumes(t *testing.T) {
	const partitions, perRun = 4, 200
	f := newFixture(t, testOptions(), partitions, HubOptions{})
	store := newMemoryStore()
	for run := range 2 {
		for i := range partitions {
			fill(t, f.hub, i, perRun)
		}
		ctx, cancel := context.WithCancel(testContext(t))
		p, err := azeventhubs.NewProcessor(f.consumer(t, DefaultConsumerGroup), store, &azeventhubs.ProcessorOptions{
			LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy,
			StartPositions:        azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: new(true)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, partitions+1)
		go func() { done <- p.Run(ctx) }()
		for range partitions {
			pc := p.NextPartitionClient(ctx)
			if pc == nil {
				t.Fatal("the processor ended early")
			}
			go func() {
				defer func() { _ = pc.Close(context.WithoutCancel(ctx)) }()
				events, err := pc.ReceiveEvents(ctx, perRun, nil)
				if err == nil && events[0].SequenceNumber != int64(run*perRun) {
					err = fmt.Errorf("partition %s starts with sequence %d, want %d", pc.PartitionID(), events[0].SequenceNumber, run*perRun)
				}
				if err == nil {
					err = pc.UpdateCheckpoint(ctx, events[len(events)-1], nil)
				}
				done <- err
			}()
		}
		for range partitions {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
