package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

func TestConsumerReadsWhatWasAppended(t *testing.T) {
	f := newFixture(t, testOptions(), 2, HubOptions{})
	ctx := testContext(t)
	fill(t, f.hub, 1, 3000)
	c := f.consumer(t, DefaultConsumerGroup)
	events := receive(ctx, t, reader(t, c, "1", earliest()), 3000)
	for i, e := range events {
		if string(e.Body) != fmt.Sprintf("event %d", i) || e.SequenceNumber != int64(i) {
			t.Fatalf("event %d: got body %q, sequence %d", i, e.Body, e.SequenceNumber)
		}
		if e.Offset == strconv.Itoa(i) {
			t.Fatalf("event %d: the offset equals the sequence number", i)
		}
	}
}

func TestManagementTellsTheState(t *testing.T) {
	clock := newStepClock()
	o := testOptions()
	o.Now = clock.now
	f := newFixture(t, o, 3, HubOptions{RetainEvents: 10})
	ctx := testContext(t)
	fill(t, f.hub, 2, 25)
	c := f.consumer(t, DefaultConsumerGroup)

	hub, err := c.GetEventHubProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, hub.PartitionIDs); diff != "" || hub.Name != testHub {
		t.Errorf("hub %q, partition ids (-want +got):\n%s", hub.Name, diff)
	}
	stored, err := f.hub.Read(2, 24, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		partition string
		want      azeventhubs.PartitionProperties
	}{
		{"0", azeventhubs.PartitionProperties{LastEnqueuedSequenceNumber: -1, LastEnqueuedOffset: "-1", LastEnqueuedOn: time.UnixMilli(0).UTC(), IsEmpty: true}},
		{"2", azeventhubs.PartitionProperties{BeginningSequenceNumber: 15, LastEnqueuedSequenceNumber: 24, LastEnqueuedOffset: stored[0].Offset, LastEnqueuedOn: clock.now().UTC()}},
	} {
		t.Run(tc.partition, func(t *testing.T) {
			got, err := c.GetPartitionProperties(ctx, tc.partition, nil)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.EventHubName, tc.want.PartitionID = testHub, tc.partition
			if diff := cmp.Diff(tc.want, got, cmp.Transformer("utc", func(t time.Time) time.Time { return t.UTC() })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := c.GetPartitionProperties(ctx, "3", nil); err == nil {
		t.Error("partition 3 of 3 has properties")
	}
}

func TestStartPositions(t *testing.T) {
	clock := newStepClock()
	o := testOptions()
	o.Now = clock.now
	f := newFixture(t, o, 1, HubOptions{RetainEvents: 8})
	for range 12 { // sequence numbers 4 to 11 remain, one per second
		fill(t, f.hub, 0, 1)
		clock.advance(time.Second)
	}
	stored, err := f.hub.Read(0, 0, 100)
	if err != nil || len(stored) != 8 || stored[0].Sequence != 4 {
		t.Fatalf("stored: %d events, %v", len(stored), err)
	}
	at := func(sequence int64) Event { return stored[sequence-4] }
	between := strconv.FormatInt(parseInt(t, at(6).Offset)+1, 10)
	for _, tc := range []struct {
		name  string
		start azeventhubs.StartPosition
		want  int64
	}{
		{"earliest", azeventhubs.StartPosition{Earliest: new(true)}, 4},
		{"after an offset", azeventhubs.StartPosition{Offset: &stored[2].Offset}, 7},
		{"at an offset", azeventhubs.StartPosition{Offset: &stored[2].Offset, Inclusive: true}, 6},
		{"after an offset between events", azeventhubs.StartPosition{Offset: &between}, 7},
		{"at an offset no longer retained", azeventhubs.StartPosition{Offset: new("4294967296"), Inclusive: true}, 4},
		{"offset -1", azeventhubs.StartPosition{Offset: new("-1")}, 4},
		{"after a sequence number", azeventhubs.StartPosition{SequenceNumber: new(int64(9))}, 10},
		{"at a sequence number", azeventhubs.StartPosition{SequenceNumber: new(int64(9)), Inclusive: true}, 9},
		{"after a sequence number no longer retained", azeventhubs.StartPosition{SequenceNumber: new(int64(1))}, 4},
		{"after a time", azeventhubs.StartPosition{EnqueuedTime: new(at(8).Enqueued)}, 9},
		{"at a time", azeventhubs.StartPosition{EnqueuedTime: new(at(8).Enqueued), Inclusive: true}, 8},
		{"after a time between events", azeventhubs.StartPosition{EnqueuedTime: new(at(8).Enqueued.Add(time.Millisecond))}, 9},
		{"after a time long ago", azeventhubs.StartPosition{EnqueuedTime: new(time.Unix(0, 0))}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := f.consumer(t, DefaultConsumerGroup)
			p := reader(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: tc.start})
			e := receive(testContext(t), t, p, 1)[0]
			want := at(tc.want)
			if e.SequenceNumber != tc.want || e.Offset != want.Offset || !e.EnqueuedTime.Equal(want.Enqueued) {
				t.Errorf("got sequence %d, offset %s, enqueued %s; want %+v", e.SequenceNumber, e.Offset, e.EnqueuedTime, want)
			}
			_ = p.Close(t.Context())
		})
	}
}

func parseInt(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLatestSkipsWhatIsThere(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fill(t, f.hub, 0, 10)
	p := reader(t, f.consumer(t, DefaultConsumerGroup), "0", azeventhubs.PartitionClientOptions{})
	got := make(chan *azeventhubs.ReceivedEventData, 1)
	ctx := testContext(t)
	go func() {
		if events, err := p.ReceiveEvents(ctx, 1, nil); err == nil {
			got <- events[0]
		} else {
			t.Error(err)
			close(got)
		}
	}()
	f.waitReceivers(t, 0, 1)
	fill(t, f.hub, 0, 1)
	if e := <-got; e != nil && e.SequenceNumber != 10 {
		t.Errorf("got sequence %d, want 10", e.SequenceNumber)
	}
}

func TestRefusedStarts(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fill(t, f.hub, 0, 5)
	for _, tc := range []struct {
		name      string
		hub       string
		group     string
		partition string
		start     azeventhubs.StartPosition
		condition amqp.ErrCond
		text      string
	}{
		{
			name: "sequence number that was never given", start: azeventhubs.StartPosition{SequenceNumber: new(int64(5))},
			condition: "com.microsoft:argument-error", text: "The supplied sequence number '5' is invalid. The last sequence number in the system is '4'",
		},
		{
			name: "offset that was never given", start: azeventhubs.StartPosition{Offset: new("99999999999")},
			condition: "com.microsoft:argument-error", text: "The supplied offset '99999999999' is invalid. The last offset in the system is '42949",
		},
		{
			name: "offset that is no number", start: azeventhubs.StartPosition{Offset: new("1:2:3")},
			condition: "com.microsoft:argument-error", text: "not a number",
		},
		{name: "unknown group", group: "nobody", condition: amqp.ErrCondNotFound, text: "could not be found"},
		{name: "unknown partition", partition: "1", condition: "com.microsoft:argument-out-of-range", text: "between 0 and 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			group, partition := DefaultConsumerGroup, "0"
			if tc.group != "" {
				group = tc.group
			}
			if tc.partition != "" {
				partition = tc.partition
			}
			_, err := reader(t, f.consumer(t, group), partition, azeventhubs.PartitionClientOptions{StartPosition: tc.start}).ReceiveEvents(testContext(t), 1, nil)
			// The client retries argument errors and then reports their text only.
			if err == nil || !strings.Contains(err.Error(), string(tc.condition)) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v; want %s with %q", err, tc.condition, tc.text)
			}
		})
	}
}

func TestDeclaredConsumerGroup(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{ConsumerGroups: []string{"siem"}})
	fill(t, f.hub, 0, 1)
	receive(testContext(t), t, reader(t, f.consumer(t, "SIEM"), "0", earliest()), 1)
}

func TestOwnerLevels(t *testing.T) {
	owner := func(level int64) azeventhubs.PartitionClientOptions {
		o := earliest()
		o.OwnerLevel = &level
		return o
	}
	for _, tc := range []struct {
		name          string
		first, second azeventhubs.PartitionClientOptions
		loser         int
		text          string
	}{
		{"a higher one steals", owner(1), owner(2), 0, "with higher epoch of '2' is created hence current receiver"},
		{"an equal one steals", owner(0), owner(0), 0, "with higher epoch of '0' is created hence current receiver"},
		{"any one steals from a reader without", earliest(), owner(0), 0, "is created hence current receiver"},
		{"a lower one is refused", owner(2), owner(1), 1, "with a higher epoch '2' already exists"},
		{"a reader without one is refused", owner(0), earliest(), 1, "non-epoch receiver is not allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, testOptions(), 1, HubOptions{})
			ctx := testContext(t)
			fill(t, f.hub, 0, 1)
			readers := []*azeventhubs.PartitionClient{
				reader(t, f.consumer(t, DefaultConsumerGroup), "0", tc.first),
				reader(t, f.consumer(t, DefaultConsumerGroup), "0", tc.second),
			}
			receive(ctx, t, readers[0], 1)
			winner := readers[1-tc.loser]
			if tc.loser == 0 {
				receive(ctx, t, winner, 1)
			}
			_, err := readers[tc.loser].ReceiveEvents(ctx, 1, nil)
			var ee *azeventhubs.Error
			if !errors.As(err, &ee) || ee.Code != azeventhubs.ErrorCodeOwnershipLost || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("the loser: got %v; want ownershiplost with %q", err, tc.text)
			}
			fill(t, f.hub, 0, 1)
			receive(ctx, t, winner, 1)
		})
	}
}

func TestSixthReaderIsRefused(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{ConsumerGroups: []string{"other"}})
	ctx := testContext(t)
	fill(t, f.hub, 0, 1)
	c := f.consumer(t, DefaultConsumerGroup)
	var readers []*azeventhubs.PartitionClient
	for range maxReceivers {
		readers = append(readers, reader(t, c, "0", earliest()))
		receive(ctx, t, readers[len(readers)-1], 1)
	}
	sixth := reader(t, c, "0", earliest())
	_, err := sixth.ReceiveEvents(ctx, 1, nil)
	var ae *amqp.Error
	if !errors.As(err, &ae) || ae.Condition != amqp.ErrCondResourceLimitExceeded {
		t.Fatalf("the sixth: got %v, want %s", err, amqp.ErrCondResourceLimitExceeded)
	}
	receive(ctx, t, reader(t, f.consumer(t, "other"), "0", earliest()), 1) // groups count by themselves
	if err := readers[0].Close(ctx); err != nil {
		t.Fatal(err)
	}
	receive(ctx, t, reader(t, c, "0", earliest()), 1)
}

func TestDeletedHub(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	fill(t, f.hub, 0, 30)
	c := f.consumer(t, DefaultConsumerGroup)
	p := reader(t, c, "0", earliest())
	receive(ctx, t, p, 30)
	if err := f.broker.DeleteHub(testHub); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ReceiveEvents(ctx, 1, nil); err == nil || !strings.Contains(err.Error(), "could not be found") {
		t.Errorf("receive from a deleted hub: got %v, want not found", err)
	}
	if _, err := f.hub.Append(0, []byte("late")); err == nil {
		t.Error("a deleted hub took an event")
	}

	again, err := f.broker.CreateHub(testHub, 1, HubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, again, 0, 3)
	stale := reader(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{SequenceNumber: new(int64(29))}})
	if _, err := stale.ReceiveEvents(ctx, 1, nil); err == nil || !strings.Contains(err.Error(), "The last sequence number in the system is '2'") {
		t.Errorf("a position of the old hub: got %v, want argument-error", err)
	}
	if e := receive(ctx, t, reader(t, c, "0", earliest()), 1)[0]; e.SequenceNumber != 0 {
		t.Errorf("the new hub starts with sequence %d, want 0", e.SequenceNumber)
	}
}

// receiveInOrder reads n events in small batches while disturb is called between
// them, and requires each event exactly once and in order.
func receiveInOrder(ctx context.Context, t *testing.T, p *azeventhubs.PartitionClient, n int, disturb func(received int)) {
	t.Helper()
	for next := 0; next < n; {
		disturb(next)
		for _, e := range receive(ctx, t, p, min(100, n-next)) {
			if e.SequenceNumber != int64(next) || string(e.Body) != fmt.Sprintf("event %d", next) {
				t.Fatalf("got sequence %d, body %q; want event %d", e.SequenceNumber, e.Body, next)
			}
			next++
		}
	}
}

func TestEveryEventInOrderThroughDisturbances(t *testing.T) {
	const n = 5000
	for _, tc := range []struct {
		name    string
		disturb func(*fixture) int
	}{
		{"cut connections", func(f *fixture) int { return f.broker.Faults().CutConnections(-1) }},
		{"server busy", func(f *fixture) int {
			return f.broker.Faults().DetachReceivers(testHub, 0, "com.microsoft:server-busy", "busy")
		}},
		{"detach forced", func(f *fixture) int {
			return f.broker.Faults().DetachReceivers(testHub, AllPartitions, "amqp:link:detach-forced", "idle")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, testOptions(), 1, HubOptions{})
			fill(t, f.hub, 0, n)
			p := reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest())
			hit := 0
			receiveInOrder(testContext(t), t, p, n, func(received int) {
				if received > 0 && received%500 == 0 {
					hit += tc.disturb(f)
				}
			})
			if hit < 3 {
				t.Errorf("only %d disturbances hit anything", hit)
			}
		})
	}
}

func TestRetentionOvertakesASlowReader(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{RetainBytes: 100_000})
	ctx := testContext(t)
	body := make([]byte, 10_000)
	for range 5 {
		if _, err := f.hub.Append(0, body); err != nil {
			t.Fatal(err)
		}
	}
	o := earliest()
	o.Prefetch = -1 // no credit beyond what is asked for
	p := reader(t, f.consumer(t, DefaultConsumerGroup), "0", o)
	receive(ctx, t, p, 5)
	for range 95 {
		if _, err := f.hub.Append(0, body); err != nil {
			t.Fatal(err)
		}
	}
	info, err := f.hub.Partition(0)
	if err != nil || info.BeginSequence != 90 || info.LastSequence != 99 {
		t.Fatalf("got %+v, %v; want sequence numbers 90 to 99", info, err)
	}
	if e := receive(ctx, t, p, 1)[0]; e.SequenceNumber != 90 {
		t.Errorf("got sequence %d, want the oldest that is left, 90", e.SequenceNumber)
	}
}

func TestRetentionByAge(t *testing.T) {
	clock := newStepClock()
	o := testOptions()
	o.Now = clock.now
	f := newFixture(t, o, 1, HubOptions{RetainAge: time.Hour})
	fill(t, f.hub, 0, 3)
	clock.advance(30 * time.Minute)
	fill(t, f.hub, 0, 2)
	for _, tc := range []struct {
		advance time.Duration
		begin   int64
		empty   bool
	}{
		{0, 0, false},
		{31 * time.Minute, 3, false},
		{time.Hour, 5, true},
	} {
		clock.advance(tc.advance)
		if info, err := f.hub.Partition(0); err != nil || info.BeginSequence != tc.begin || info.Empty != tc.empty || info.LastSequence != 4 {
			t.Errorf("after another %s: got %+v, %v; want begin %d, empty %t", tc.advance, info, err, tc.begin, tc.empty)
		}
	}
}
