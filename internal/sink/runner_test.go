package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// scripted answers each Deliver with the next step of its script, then with nil.
type scripted struct {
	mu        sync.Mutex
	script    []func(ctx context.Context, events []event.Event) error
	calls     [][]string // the ids of each call
	delivered []string
	closed    bool
}

func (s *scripted) Deliver(ctx context.Context, events []event.Event) error {
	s.mu.Lock()
	var step func(context.Context, []event.Event) error
	if len(s.script) > 0 {
		step, s.script = s.script[0], s.script[1:]
	}
	var ids []string
	for _, e := range events {
		ids = append(ids, string(e.ID))
	}
	s.calls = append(s.calls, ids)
	s.mu.Unlock()
	if step != nil {
		if err := step(ctx, events); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.delivered = append(s.delivered, ids...)
	s.mu.Unlock()
	return nil
}

func (s *scripted) Close(context.Context) error { s.closed = true; return nil }

func fail(err error) func(context.Context, []event.Event) error {
	return func(context.Context, []event.Event) error { return err }
}

type bench struct {
	t       *testing.T
	sink    *scripted
	runner  *Runner
	letters *deadletter.Store
	tracker *ack.Tracker[int]
	added   int
	stop    func()
}

func delivery(change func(*config.SinkDelivery)) config.SinkDelivery {
	d := config.DefaultSinkDelivery()
	d.Concurrency = 1
	d.Batch = config.Batch{Events: 3, Bytes: 1 << 20, Wait: config.Duration(time.Second)}
	d.Retry = config.Retry{Initial: config.Duration(time.Second), Max: config.Duration(8 * time.Second)}
	d.Timeout = config.Duration(10 * time.Second)
	if change != nil {
		change(&d)
	}
	return d
}

func newBench(t *testing.T, d config.SinkDelivery, script ...func(context.Context, []event.Event) error) *bench {
	t.Helper()
	letters, err := deadletter.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, sink: &scripted{script: script}, letters: letters, tracker: ack.NewTracker(0)}
	zero := func() float64 { return 0 }
	b.runner = NewRunner(RunnerConfig{
		Name: "out", Sink: b.sink, Delivery: d, Letters: letters, Logger: slog.New(slog.DiscardHandler),
		Status: status.NewBoard(time.Now).Component("sink", "out"), Metrics: telemetry.NewMetrics(zero, zero),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.runner.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	}
	return b
}

// put queues events with these ids as one source batch.
func (b *bench) put(ids ...string) {
	b.added++
	tok := b.tracker.Add(b.added, time.Now(), nil)
	var events []event.Event
	for _, id := range ids {
		events = append(events, event.Event{ID: event.ID(id), Data: []byte(`{"id":"` + id + `"}`)})
	}
	if b.runner.Required() {
		tok.Hold(len(events))
		b.runner.Enqueue(events, tok)
	} else {
		b.runner.Enqueue(events, nil)
	}
	tok.Release(1)
}

func (b *bench) wantSafe(want int) {
	b.t.Helper()
	if got := b.tracker.Safe(); got != want {
		b.t.Errorf("safe cursor = %d, want %d", got, want)
	}
}

func (b *bench) wantDelivered(want string) {
	b.t.Helper()
	b.sink.mu.Lock()
	defer b.sink.mu.Unlock()
	if got := strings.Join(b.sink.delivered, " "); got != want {
		b.t.Errorf("delivered %q, want %q", got, want)
	}
}

func (b *bench) wantLetters(want string) {
	b.t.Helper()
	var got []string
	if err := b.letters.Each(context.Background(), func(l deadletter.Letter) error {
		got = append(got, fmt.Sprintf("%s/%s/%s", l.ID, l.Class, l.Sink))
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	if s := strings.Join(got, " "); s != want {
		b.t.Errorf("dead letters %q, want %q", s, want)
	}
}

func TestRunnerBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivery(nil))
		defer b.stop()
		b.put("a")
		b.put("b")
		synctest.Wait()
		b.wantDelivered("") // neither full nor old enough
		time.Sleep(time.Second)
		synctest.Wait()
		b.wantDelivered("a b")
		b.put("c", "d", "e", "f") // one batch of three at once, the fourth waits
		synctest.Wait()
		b.wantDelivered("a b c d e")
		b.wantSafe(2) // the batch of four is not whole yet
		time.Sleep(time.Second)
		synctest.Wait()
		b.wantDelivered("a b c d e f")
		b.wantSafe(3)
	})
}

func TestRunnerKeepsTheByteLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, delivery(func(d *config.SinkDelivery) { d.Batch.Bytes = 25 }))
		defer b.stop()
		b.put("a", strings.Repeat("x", 100), "b", "c") // 10, 109, 10 and 10 bytes
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := len(b.sink.calls); got != 3 {
			t.Errorf("%d calls, want 3: a, the large one alone, b with c", got)
		}
		b.wantSafe(1)
	})
}

func TestRunnerOutcomes(t *testing.T) {
	boom := errors.New("boom")
	reject := fmt.Errorf("%w: mapping", ErrRejected)
	for name, tc := range map[string]struct {
		change    func(*config.SinkDelivery)
		script    []func(context.Context, []event.Event) error
		after     time.Duration // what the clock shows when all must be over
		delivered string
		letters   string
		calls     int
		safe      int
	}{
		"delivered": {after: time.Second, delivered: "a b c", calls: 1, safe: 1},
		"an unknown error is tried again": {
			script: []func(context.Context, []event.Event) error{fail(boom), fail(boom)},
			after:  5 * time.Second, delivered: "a b c", calls: 3, safe: 1,
		},
		"nothing is released while the sink is down": {
			script: []func(context.Context, []event.Event) error{fail(boom), fail(boom), fail(boom), fail(boom), fail(boom), fail(boom), fail(boom)},
			after:  2 * time.Second, calls: -1, safe: 0,
		},
		"rejected events are dead letters": {
			script: []func(context.Context, []event.Event) error{fail(reject)},
			after:  time.Second, letters: "a/rejected/out b/rejected/out c/rejected/out", calls: 1, safe: 1,
		},
		"a partial failure repeats only what failed": {
			script: []func(context.Context, []event.Event) error{fail(&PartialError{Failed: map[int]error{0: boom, 2: reject}})},
			after:  3 * time.Second, delivered: "a", letters: "c/rejected/out", calls: 2, safe: 1,
		},
		"a throttled batch waits as asked": {
			script: []func(context.Context, []event.Event) error{fail(&ThrottledError{After: time.Minute, Err: boom})},
			after:  59 * time.Second, calls: 1, safe: 0,
		},
		"a throttled batch goes on after that": {
			script: []func(context.Context, []event.Event) error{fail(&ThrottledError{After: time.Minute, Err: boom})},
			after:  61 * time.Second, delivered: "a b c", calls: 2, safe: 1,
		},
		"a hanging destination is given up after the timeout and tried again": {
			script: []func(context.Context, []event.Event) error{func(ctx context.Context, _ []event.Event) error { <-ctx.Done(); return ctx.Err() }},
			after:  12 * time.Second, delivered: "a b c", calls: 2, safe: 1,
		},
		"a sink that stays down spills": {
			change: func(d *config.SinkDelivery) { d.SpillAfter = config.Duration(5 * time.Second) },
			script: []func(context.Context, []event.Event) error{fail(boom), fail(boom), fail(boom), fail(boom), fail(boom), fail(boom)},
			after:  30 * time.Second, letters: "a/spilled/out b/spilled/out c/spilled/out", safe: 1, calls: -1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, delivery(tc.change), tc.script...)
				b.put("a", "b", "c")
				time.Sleep(tc.after)
				synctest.Wait()
				b.wantDelivered(tc.delivered)
				b.wantLetters(tc.letters)
				b.wantSafe(tc.safe)
				if got := len(b.sink.calls); tc.calls >= 0 && got != tc.calls {
					t.Errorf("%d calls, want %d", got, tc.calls)
				}
				b.stop()
				if !b.sink.closed {
					t.Error("the sink was not closed")
				}
				b.wantSafe(tc.safe) // stopping releases nothing
			})
		})
	}
}

func TestBestEffortSinkDropsTheOldestOverItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func(ctx context.Context, _ []event.Event) error { <-ctx.Done(); return ctx.Err() }
		var script []func(context.Context, []event.Event) error
		for range 100 {
			script = append(script, down)
		}
		b := newBench(t, delivery(func(d *config.SinkDelivery) { d.Delivery = "best_effort" }), script...)
		for range 40 {
			b.runner.Enqueue([]event.Event{{ID: "x", Data: bytes.Repeat([]byte("x"), 1<<20)}}, nil)
		}
		synctest.Wait()
		if got := b.runner.queue.len(); got > bestEffortBytes>>20+3 {
			t.Errorf("%d events of 1 MiB wait, the bound is %d MiB", got, bestEffortBytes>>20)
		}
		b.put("y")
		b.wantSafe(1) // nobody waits for it
		b.stop()
	})
}

func TestConcurrentWorkersReleaseEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flaky := func(_ context.Context, events []event.Event) error {
			return &PartialError{Failed: map[int]error{len(events) / 2: errors.New("one fails")}}
		}
		var script []func(context.Context, []event.Event) error
		for range 300 {
			script = append(script, nil, flaky)
		}
		b := newBench(t, delivery(func(d *config.SinkDelivery) { d.Concurrency = 8; d.Batch.Events = 7 }), script...)
		for i := range 500 {
			b.put(fmt.Sprintf("%d-0", i), fmt.Sprintf("%d-1", i), fmt.Sprintf("%d-2", i))
		}
		b.runner.Hurry()
		b.runner.Drain(t.Context())
		b.wantSafe(500)
		b.stop()
	})
}

func TestWhatSomebodyWaitsForIsNotDropped(t *testing.T) {
	q := newQueue(10)
	tok := ack.NewToken(func() {})
	large := []event.Event{{Data: make([]byte, 100)}}
	for i := range 3 {
		if n := q.push(group{events: large, token: tok}); n != 0 {
			t.Errorf("push %d dropped %d events that a replay waits for", i, n)
		}
	}
	q = newQueue(10)
	q.push(group{events: large})
	if n := q.push(group{events: large}); n != 1 {
		t.Errorf("dropped %d events over the bound, want the oldest", n)
	}
}

func TestTheRemedyReachesTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reject := fmt.Errorf("%w: bad", ErrRejected)
		refused := &PartialError{Failed: map[int]error{0: reject, 1: &RemedyError{Err: errors.New("not allowed"), Remedy: "grant the role", Person: true}}}
		b := newBench(t, delivery(nil), fail(refused), fail(refused))
		defer b.stop()
		b.put("a", "b", "c")
		synctest.Wait()
		got := b.runner.cfg.Status.Report()
		if got.State != status.Failed || got.Reason != "not allowed" || got.Remedy != "grant the role" {
			t.Errorf("status = %+v; want what the sink knows", got)
		}
		b.wantLetters("a/rejected/out")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.runner.cfg.Status.Report(); got.State != status.OK {
			t.Errorf("status = %+v after it works again; want ok", got)
		}
		b.wantSafe(1)
	})
}
