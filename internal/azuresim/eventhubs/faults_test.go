package eventhubs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

func TestRefusalsThatAClientSurvives(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*Faults)
	}{
		{"attach refused twice", func(f *Faults) { f.RefuseAttach("com.microsoft:server-busy", "busy", 2) }},
		{"CBS answers 500 twice", func(f *Faults) { f.AnswerCBS(500, "internal", 2) }},
		{"CBS answers 503 once", func(f *Faults) { f.AnswerCBS(503, "busy", 1) }},
		{"called off", func(f *Faults) {
			f.RefuseAttach("amqp:not-found", "gone", 1000)
			f.AnswerCBS(401, "no", 1000)
			f.Clear()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, testOptions(), 1, HubOptions{})
			fill(t, f.hub, 0, 1)
			tc.set(f.broker.Faults())
			receive(testContext(t), t, reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest()), 1)
		})
	}
}

func TestRefusalsThatAreFatal(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*Faults)
		want string
	}{
		{"attach", func(f *Faults) { f.RefuseAttach("com.microsoft:entity-disabled", "switched off", 1) }, "switched off"},
		{"CBS", func(f *Faults) { f.AnswerCBS(401, "no entry", 1) }, "no entry"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, testOptions(), 1, HubOptions{})
			fill(t, f.hub, 0, 1)
			tc.set(f.broker.Faults())
			p := reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest())
			_, err := p.ReceiveEvents(testContext(t), 1, nil)
			requireError(t, err, tc.want, false)
			receive(testContext(t), t, p, 1) // once only
		})
	}
}

func TestManagementFault(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	c := f.consumer(t, DefaultConsumerGroup)
	f.broker.Faults().AnswerManagement(404, "nowhere", 1)
	if _, err := c.GetEventHubProperties(testContext(t), nil); err == nil {
		t.Error("a 404 from $management went unnoticed")
	}
	if _, err := c.GetEventHubProperties(testContext(t), nil); err != nil {
		t.Errorf("after the fault: %v", err)
	}
}

func TestStalledPartition(t *testing.T) {
	f := newFixture(t, testOptions(), 2, HubOptions{})
	ctx := testContext(t)
	faults := f.broker.Faults()
	if err := faults.Stall(testHub, 0, true); err != nil {
		t.Fatal(err)
	}
	fill(t, f.hub, 0, 1)
	fill(t, f.hub, 1, 1)
	c := f.consumer(t, DefaultConsumerGroup)
	stuck := reader(t, c, "0", earliest())
	got := make(chan error, 1)
	go func() {
		_, err := stuck.ReceiveEvents(ctx, 1, nil)
		got <- err
	}()
	f.waitReceivers(t, 0, 1)
	receive(ctx, t, reader(t, c, "1", earliest()), 1) // the other one flows
	if props, err := c.GetPartitionProperties(ctx, "0", nil); err != nil || props.LastEnqueuedSequenceNumber != 0 {
		t.Errorf("$management of the stalled partition: got %+v, %v", props, err)
	}
	select {
	case err := <-got:
		t.Fatalf("the stalled partition answered: %v", err)
	default:
	}
	if err := faults.Stall(testHub, AllPartitions, false); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("after the stall: %v", err)
	}
	if faults.Stall("missing", 0, true) == nil || faults.Stall(testHub, 2, true) == nil {
		t.Error("what is not there was stalled")
	}
}

func TestDelay(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fill(t, f.hub, 0, 1)
	f.broker.Faults().Delay(time.Hour)
	p := reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest())
	ctx, cancel := context.WithCancel(testContext(t))
	got := make(chan error, 1)
	go func() {
		_, err := p.ReceiveEvents(ctx, 1, nil)
		got <- err
	}()
	f.waitReceivers(t, 0, 1)
	select {
	case err := <-got:
		t.Fatalf("got %v within the delay", err)
	default:
	}
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	// A detached link leaves at once, not after its delay.
	f.broker.Faults().DetachReceivers(testHub, 0, "amqp:link:detach-forced", "idle")
	f.waitReceivers(t, 0, 0)
	f.broker.Faults().Delay(time.Millisecond)
	receive(testContext(t), t, reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest()), 1)
}

func TestCutSomeConnections(t *testing.T) {
	f := newFixture(t, testOptions(), 3, HubOptions{})
	ctx := testContext(t)
	var readers []*azeventhubs.PartitionClient
	for i := range 3 {
		fill(t, f.hub, i, 1)
		readers = append(readers, reader(t, f.consumer(t, DefaultConsumerGroup), f.hub.partitions[i].id, earliest()))
		receive(ctx, t, readers[i], 1)
	}
	if n := f.broker.Faults().CutConnections(2); n != 2 {
		t.Errorf("%d connections were cut, want 2", n)
	}
	waitFor(t, "one connection is left", func() bool { return len(f.broker.connections()) == 1 })
	for i, p := range readers {
		fill(t, f.hub, i, 1)
		receive(ctx, t, p, 1)
	}
}
