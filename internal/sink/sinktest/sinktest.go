// Package sinktest is the contract suite that every sink passes: what Deliver
// has confirmed is at the destination, whole and once.
package sinktest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

// Harness is one sink and a view of what its destination holds.
type Harness struct {
	Sink sink.Sink
	// Received returns the data of every event at the destination, in any order.
	Received func(t *testing.T) []string
}

// Run runs the suite; open makes a fresh destination and a sink for it.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Run("accept", func(t *testing.T) {
		h := open(t)
		deliver(t, h, events("a", 3, 10)...)
		want(t, h, events("a", 3, 10))
		closeSink(t, h)
	})
	t.Run("a large event and a large batch", func(t *testing.T) {
		h := open(t)
		large := slices.Concat(events("large", 1, 3<<20), events("many", 5000, 100))
		deliver(t, h, large...)
		want(t, h, large)
		closeSink(t, h)
	})
	t.Run("concurrent deliveries", func(t *testing.T) {
		h := open(t)
		var wg sync.WaitGroup
		var all []event.Event
		for g := range 8 {
			part := events(fmt.Sprint("worker", g), 50, 1000)
			all = append(all, part...)
			wg.Go(func() {
				for chunk := range slices.Chunk(part, 7) {
					if err := h.Sink.Deliver(t.Context(), chunk); err != nil {
						t.Errorf("Deliver() = %v", err)
					}
				}
			})
		}
		wg.Wait()
		want(t, h, all)
		closeSink(t, h)
	})
	t.Run("everything confirmed is there after Close", func(t *testing.T) {
		h := open(t)
		deliver(t, h, events("a", 100, 100)...)
		closeSink(t, h)
		want(t, h, events("a", 100, 100))
	})
}

func events(name string, n, size int) []event.Event {
	out := make([]event.Event, n)
	for i := range out {
		id := fmt.Sprintf("%s-%d", name, i)
		out[i] = event.Event{ID: event.ID(id), Schema: "raw", LogType: "test", Data: []byte(`{"id":"` + id + `","x":"é` + strings.Repeat("x", size) + `"}`)}
	}
	return out
}

func deliver(t *testing.T, h Harness, events ...event.Event) {
	t.Helper()
	if err := h.Sink.Deliver(t.Context(), events); err != nil {
		t.Fatalf("Deliver() = %v", err)
	}
}

func closeSink(t *testing.T, h Harness) {
	t.Helper()
	if err := h.Sink.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

func want(t *testing.T, h Harness, events []event.Event) {
	t.Helper()
	got := map[string]int{}
	for _, data := range h.Received(t) {
		got[data]++
	}
	for _, e := range events {
		switch n := got[string(e.Data)]; n {
		case 1:
		case 0:
			t.Errorf("event %s was confirmed and is not at the destination", e.ID)
		default:
			t.Errorf("event %s is %d times at the destination", e.ID, n)
		}
		delete(got, string(e.Data))
	}
	for data := range got {
		t.Errorf("the destination holds what was not sent: %.80q", data)
	}
}
