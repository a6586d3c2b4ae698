package eventhubs

import (
	"fmt"
	"testing"
)

func TestConsumerReadsWhatWasAppended(t *testing.T) {
	f := newFixture(t, testOptions(), 2, HubOptions{})
	ctx := testContext(t)
	fill(t, f.hub, 1, 1000)
	c := f.consumer(t, DefaultConsumerGroup)
	props, err := c.GetEventHubProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if props.Name != testHub || len(props.PartitionIDs) != 2 {
		t.Errorf("hub properties: got %+v", props)
	}
	events := receive(ctx, t, reader(t, c, "1", earliest()), 1000)
	for i, e := range events {
		if string(e.Body) != fmt.Sprintf("event %d", i) || e.SequenceNumber != int64(i) {
			t.Fatalf("event %d: got body %q, sequence %d", i, e.Body, e.SequenceNumber)
		}
	}
}
