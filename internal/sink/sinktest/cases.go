package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

type contractCase struct {
	name  string
	needs Fault // "": none
	test  func(t *testing.T, h Harness)
}

func cases() []contractCase {
	return []contractCase{
		{name: "accept", test: testAccept},
		{name: "a large event and a large batch", test: testLarge},
		{name: "an event over the limit is rejected alone", test: testOverLimit},
		{name: "concurrent deliveries", test: testConcurrent},
		{name: "everything confirmed is there after Close", test: testClose},
		{name: "a context that has ended", test: testEndedContext},
		{name: "throttle", needs: Throttle, test: testThrottle},
		{name: "failure that passes", needs: Fail, test: testFail},
		{name: "partial", needs: Refuse, test: testPartial},
		{name: "reject", needs: Refuse, test: testReject},
		{name: "hang past the time-out", needs: Hang, test: testHang},
		{name: "close after a hang", needs: Hang, test: testCloseAfterHang},
		{name: "connection cut after the body was sent", needs: Cut, test: testCut},
		{name: "reconnect", needs: Down, test: testReconnect},
		{name: "concurrent deliveries among failures", needs: Fail, test: testConcurrentFailures},
	}
}

func testAccept(t *testing.T, h Harness) {
	events := Events("a", 3, 300)
	deliver(t, h, events)
	want(t, h, false, events)
	closeSink(t, h)
}

func testLarge(t *testing.T, h Harness) {
	size := 3 << 20
	if h.Limit > 0 {
		size = h.Limit
	}
	events := slices.Concat(Events("large", 1, size), Events("many", 5000, 300))
	deliver(t, h, events)
	want(t, h, false, events)
	closeSink(t, h)
}

func testOverLimit(t *testing.T, h Harness) {
	if h.Limit == 0 {
		t.Skip("the destination takes events of any size")
	}
	good, large := Events("good", 4, 300), Events("large", 1, h.Limit+1000)
	events := slices.Concat(good[:2], large, good[2:])
	o := persist(t, h, events)
	if len(o.rejected) != 1 || o.rejected[0].ID != large[0].ID {
		t.Errorf("rejected %v; want only the event that is too large", ids(o.rejected))
	}
	want(t, h, false, good)
	closeSink(t, h)
}

func testConcurrent(t *testing.T, h Harness) {
	var wg sync.WaitGroup
	var all []event.Event
	for g := range 8 {
		part := Events(fmt.Sprint("worker", g), 50, 1000)
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
	want(t, h, false, all)
	closeSink(t, h)
}

func testClose(t *testing.T, h Harness) {
	events := Events("a", 100, 300)
	deliver(t, h, events)
	closeSink(t, h)
	want(t, h, false, events)
}

// A sink that cannot be interrupted may deliver all the same, but nil must be true.
func testEndedContext(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	events := Events("a", 3, 300)
	if err := h.Sink.Deliver(ctx, events); err != nil {
		if errors.Is(err, sink.ErrRejected) {
			t.Errorf("Deliver() = %v; nobody has rejected anything", err)
		}
		deliver(t, h, events)
	}
	want(t, h, h.Repeats, events)
	closeSink(t, h)
}

func testThrottle(t *testing.T, h Harness) {
	const after = 2 * time.Second
	h.Faults.Throttle(1, after)
	events := Events("a", 20, 300)
	o := persist(t, h, events)
	if len(o.errs) == 0 || o.throttled != after {
		t.Errorf("the errors were %v, asking to wait %v; want a ThrottledError with the %v that the destination asked for", o.errs, o.throttled, after)
	}
	if len(o.rejected) > 0 {
		t.Errorf("rejected %v; being throttled is not being refused", ids(o.rejected))
	}
	want(t, h, false, events)
	closeSink(t, h)
}

func testFail(t *testing.T, h Harness) {
	h.Faults.Fail(2)
	events := Events("a", 20, 300)
	o := persist(t, h, events)
	if len(o.errs) == 0 {
		t.Error("Deliver() = nil although the destination failed")
	}
	if len(o.rejected) > 0 {
		t.Errorf("rejected %v after a failure that passes", ids(o.rejected))
	}
	want(t, h, h.Repeats, events)
	closeSink(t, h)
}

func testPartial(t *testing.T, h Harness) {
	h.Faults.Refuse("bad")
	good, bad := Events("good", 20, 300), Events("bad", 2, 300)
	events := slices.Concat(good[:5], bad[:1], good[5:15], bad[1:], good[15:])
	o := persist(t, h, events)
	if got := ids(o.rejected); !slices.Equal(got, ids(bad)) {
		t.Errorf("rejected %v; want %v and nothing else", got, ids(bad))
	}
	for _, err := range o.errs {
		if err.Error() == "" {
			t.Error("an error without a text")
		}
	}
	want(t, h, false, good)
	deliver(t, h, Events("later", 3, 300))
	closeSink(t, h)
}

func testReject(t *testing.T, h Harness) {
	h.Faults.Refuse("bad")
	bad := Events("bad", 3, 300)
	o := persist(t, h, bad)
	if got := ids(o.rejected); !slices.Equal(got, ids(bad)) {
		t.Errorf("rejected %v; want all three", got)
	}
	want(t, h, false, nil)
	closeSink(t, h)
}

// The sink must come back when its context ends, and must not look at the
// events afterwards: their memory is used for others by then. The race detector
// sees a sink that does.
func testHang(t *testing.T, h Harness) {
	release := h.Faults.Hang()
	defer release()
	events := Events("a", 20, 300)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	sent := clone(events)
	if err := h.Sink.Deliver(ctx, sent); err == nil {
		t.Error("Deliver() = nil although nobody answered")
	} else if errors.Is(err, sink.ErrRejected) {
		t.Errorf("Deliver() = %v; no answer is not a rejection", err)
	}
	for i := range sent {
		for k := range sent[i].Data {
			sent[i].Data[k] = '#'
		}
		sent[i] = event.Event{}
	}
	release()
	persist(t, h, events)
	want(t, h, h.Repeats, events)
	closeSink(t, h)
}

func testCloseAfterHang(t *testing.T, h Harness) {
	release := h.Faults.Hang()
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := h.Sink.Deliver(ctx, Events("a", 3, 300)); err == nil {
		t.Error("Deliver() = nil although nobody answered")
	}
	limit, stop := context.WithTimeout(context.WithoutCancel(t.Context()), time.Second)
	defer stop()
	_ = h.Sink.Close(limit) // it may complain; what counts is that it comes back
}

func testCut(t *testing.T, h Harness) {
	before := Events("before", 3, 300)
	deliver(t, h, before) // the connection stands
	h.Faults.Cut(1)
	events := Events("a", 20, 300)
	o := persist(t, h, events)
	if len(o.rejected) > 0 {
		t.Errorf("rejected %v after a lost connection", ids(o.rejected))
	}
	want(t, h, h.Repeats, slices.Concat(before, events))
	closeSink(t, h)
}

func testReconnect(t *testing.T, h Harness) {
	before, after := Events("before", 3, 300), Events("after", 3, 300)
	deliver(t, h, before)
	up := h.Faults.Down(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := h.Sink.Deliver(ctx, after)
	if err == nil {
		t.Error("Deliver() = nil although the destination was down")
	}
	if errors.Is(err, sink.ErrRejected) {
		t.Errorf("Deliver() = %v; a destination that is down has rejected nothing", err)
	}
	up()
	persist(t, h, after)
	want(t, h, h.Repeats, slices.Concat(before, after))
	closeSink(t, h)
}

func testConcurrentFailures(t *testing.T, h Harness) {
	h.Faults.Fail(10)
	if h.Faults.Cut != nil {
		h.Faults.Cut(3)
	}
	var wg sync.WaitGroup
	var all []event.Event
	for g := range 4 {
		part := Events(fmt.Sprint("worker", g), 40, 1000)
		all = append(all, part...)
		wg.Go(func() {
			for chunk := range slices.Chunk(part, 10) {
				if o := persist(t, h, chunk); len(o.rejected) > 0 {
					t.Errorf("rejected %v; want none", ids(o.rejected))
				}
			}
		})
	}
	wg.Wait()
	want(t, h, h.Repeats, all)
	closeSink(t, h)
}

func deliver(t *testing.T, h Harness, events []event.Event) {
	t.Helper()
	if err := h.Sink.Deliver(t.Context(), events); err != nil {
		t.Fatalf("Deliver() = %v", err)
	}
}

// clone copies events with their bytes, so that a test may spoil them.
func clone(events []event.Event) []event.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Data = slices.Clone(out[i].Data)
	}
	return out
}

func ids(events []event.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = string(e.ID)
	}
	slices.Sort(out)
	return out
}
