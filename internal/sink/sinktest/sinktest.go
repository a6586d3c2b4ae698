// Package sinktest is the contract suite that every sink passes: what Deliver
// has confirmed is at the destination, whole; what it has not confirmed it
// reports in the class that makes the runner do the right thing; and after it
// has returned it never looks at the events again.
//
// The destination is a fake or a real server that the harness can make fail. A
// sink whose destination has no such thing as, say, throttling says so in
// Lacks, with the reason; what is neither there nor declared fails the suite.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

// Harness is one sink, a view of what its destination holds, and the means to
// make that fail.
type Harness struct {
	Sink sink.Sink
	// Received returns every event at the destination, in any order, in the form
	// that Form gives it. What is there twice is returned twice.
	Received func(t *testing.T) []string
	// Form is how an event looks at the destination; nil: as its data.
	Form func(event.Event) string
	// Limit is the size of the largest event that the destination takes, in bytes
	// of data; 0: it takes any.
	Limit int
	// Repeats says that the destination cannot recognize repeats by the event's
	// id: what was cut off before its answer may be there twice.
	Repeats bool
	Faults  Faults
	// Lacks says which faults the destination does not have, and why.
	Lacks map[Fault]string
}

// Faults make the destination fail. A request is what the sink sends at a time,
// e.g. one POST.
type Faults struct {
	// Throttle makes it refuse the next n requests, asking to be left alone for
	// that long.
	Throttle func(n int, after time.Duration)
	// Fail makes it fail the next n requests in a way that passes by itself.
	Fail func(n int)
	// Refuse makes it refuse for good, one by one, the events whose id begins with
	// prefix.
	Refuse func(prefix string)
	// Hang makes it take requests and not answer until release is called.
	Hang func() (release func())
	// Cut makes it keep the events of the next n requests and cut the connection
	// instead of answering.
	Cut func(n int)
	// Down makes it refuse connections until up is called; those that are open
	// are cut.
	Down func(t *testing.T) (up func())
}

// Fault names one of Faults.
type Fault string

// The faults that a destination may lack.
const (
	Throttle Fault = "throttle"
	Fail     Fault = "fail"
	Refuse   Fault = "refuse"
	Hang     Fault = "hang"
	Cut      Fault = "cut"
	Down     Fault = "down"
)

// Local is what a destination on this machine lacks: there is no peer that
// could answer.
func Local() map[Fault]string {
	const why = "nobody answers: the operating system takes the bytes or returns an error, which tests of the sink's own show"
	return map[Fault]string{Throttle: why, Fail: why, Refuse: why, Hang: why, Cut: why, Down: why}
}

// Run runs the suite; open makes a fresh destination and a sink for it. The
// suite closes the sink; open may do so again at the end of the test.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			if h.Form == nil {
				h.Form = func(e event.Event) string { return string(e.Data) }
			}
			if c.needs != "" {
				why, lacks := h.Lacks[c.needs]
				if has := h.has(c.needs); has == lacks {
					t.Fatalf("the harness must either offer the fault %q or say in Lacks why there is none", c.needs)
				}
				if lacks {
					t.Skipf("the destination has no %q: %s", c.needs, why)
				}
			}
			c.test(t, h)
		})
	}
}

func (h *Harness) has(f Fault) bool {
	return map[Fault]bool{
		Throttle: h.Faults.Throttle != nil, Fail: h.Faults.Fail != nil, Refuse: h.Faults.Refuse != nil,
		Hang: h.Faults.Hang != nil, Cut: h.Faults.Cut != nil, Down: h.Faults.Down != nil,
	}[f]
}

// Events returns n events whose data has size bytes or little more, each
// different from all others of another name.
func Events(name string, n, size int) []event.Event {
	origin := &event.Origin{
		Source: "suite", Tenant: "contoso", TenantID: "7d0cbf86-2c1d-4a0b-9d55-0c5d0b3f1a11",
		Partition: "0", Namespace: "contoso.servicebus.windows.net/insights/0",
	}
	at := time.Now().UTC().Add(-10 * time.Minute).Truncate(time.Second)
	out := make([]event.Event, n)
	for i := range out {
		id := fmt.Sprintf("%s-%d", name, i)
		at := at.Add(time.Duration(i) * time.Millisecond)
		out[i] = event.Event{
			ID: event.ID(id), Time: at, Schema: "ecs", LogType: "entra_signin", Origin: origin,
			Data: data(id, at, size),
		}
	}
	return out
}

// data is a document of at most size bytes, and not many less. No text in it
// is longer than 32,000 bytes: destinations cut longer ones.
func data(id string, at time.Time, size int) []byte {
	b := fmt.Appendf(nil, `{"@timestamp":%q,"event":{"id":%q},"message":"é \"quoted\" \\ €"`, at.Format(time.RFC3339Nano), id)
	for i := 0; ; i++ {
		name := fmt.Sprintf(`,"labels_%d":"`, i)
		room := min(32_000, size-len(b)-len(name)-len(`"}`))
		if room < 1 {
			return append(b, '}')
		}
		b = append(append(append(b, name...), strings.Repeat("x", room)...), '"')
	}
}

// outcome is what became of events that the suite delivered as the runner does.
type outcome struct {
	rejected  []event.Event
	throttled time.Duration // the longest time asked for
	errs      []error       // one for each try that did not end well
}

// persist delivers events as the runner does: again and again, only what
// failed, until all are confirmed or rejected. It does not wait as asked.
func persist(t *testing.T, h Harness, events []event.Event) (o outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for len(events) > 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d events were not delivered; the last error was: %v", len(events), o.errs[len(o.errs)-1])
		}
		err := h.Sink.Deliver(ctx, events)
		if err == nil {
			return o
		}
		o.errs = append(o.errs, err)
		events = o.sort(t, events, err)
		pause(ctx, 10*time.Millisecond)
	}
	return o
}

// sort notes what an error of Deliver says and returns what to send again.
func (o *outcome) sort(t *testing.T, events []event.Event, err error) (again []event.Event) {
	t.Helper()
	var partial *sink.PartialError
	if !errors.As(err, &partial) {
		o.note(err)
		if errors.Is(err, sink.ErrRejected) {
			o.rejected = append(o.rejected, events...)
			return nil
		}
		return events
	}
	if len(partial.Failed) == 0 {
		t.Errorf("Deliver() returned a PartialError in which nothing failed; want nil")
	}
	for i := range partial.Failed {
		if i < 0 || i >= len(events) {
			t.Fatalf("PartialError names event %d of %d", i, len(events))
		}
	}
	for i, e := range events {
		failure, failed := partial.Failed[i]
		switch {
		case !failed:
		case errors.Is(failure, sink.ErrRejected):
			o.rejected = append(o.rejected, e)
		default:
			o.note(failure)
			again = append(again, e)
		}
	}
	return again
}

func (o *outcome) note(err error) {
	var throttled *sink.ThrottledError
	if errors.As(err, &throttled) {
		o.throttled = max(o.throttled, throttled.After)
	}
}

// pause waits between two tries, as the runner does; nothing depends on how long.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func closeSink(t *testing.T, h Harness) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := h.Sink.Close(ctx); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// want checks what the destination holds: each of events once, or at least
// once where repeats are allowed, and nothing else.
func want(t *testing.T, h Harness, repeats bool, events []event.Event) {
	t.Helper()
	got := map[string]int{}
	for _, data := range h.Received(t) {
		got[data]++
	}
	for _, e := range events {
		form := h.Form(e)
		switch n := got[form]; {
		case n == 1 || n > 1 && repeats:
		case n == 0:
			t.Errorf("event %s was confirmed and is not at the destination", e.ID)
		default:
			t.Errorf("event %s is %d times at the destination", e.ID, n)
		}
		delete(got, form)
	}
	shown := 0
	for data, n := range got {
		if shown++; shown > 3 {
			t.Errorf("and %d more that were not sent", len(got)-3)
			break
		}
		t.Errorf("the destination holds, %d times, what was not sent: %.200q", n, data)
	}
}
