package sourcetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/source"
)

// Name is the configured name of the source under test.
const Name = "suite"

// Harness is one simulated door of Azure and the source that reads it.
type Harness struct {
	Partitions []string // at least one; empty at first
	// Append puts n new payloads behind those of the partition and returns
	// their bodies, each different from all others.
	Append func(t *testing.T, partition string, n int) []string
	// New returns a source called Name that begins at the earliest payload, as
	// after a start of the program.
	New func(t *testing.T, store checkpoint.Store, once bool) source.Source
	// Steal makes another reader take the partition from the source; nil if
	// the door has no such thing.
	Steal func(t *testing.T, partition string)
}

// Run runs the suite. Each test gets a door of its own.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, h Harness)
	}{
		{name: "everything in order", test: testOrder},
		{name: "clean stop and resume repeats nothing", test: testResume},
		{name: "crash and resume leaves no gap", test: testCrash},
		{name: "every cursor resumes behind its batch", test: testCursors},
		{name: "blocked Emit stops reading", test: testBackPressure},
		{name: "close saves what was confirmed during the drain", test: testCloseSaves},
		{name: "once ends by itself", test: testOnce},
		{name: "once with nothing new", test: testOnceEmpty},
		{name: "failing store is waited for", test: testStoreFails},
		{name: "lost partition is closed", test: testLost},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, newHarness(t)) })
	}
}

// Running is a source that runs.
type Running struct {
	cancel context.CancelFunc
	done   chan error
}

// Start runs a source until Stop or the end of the test.
func Start(t testing.TB, s source.Source, out source.Output) *Running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Running{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx, out) }()
	t.Cleanup(func() {
		cancel()
		r.done <- <-r.done // wait, and leave it for a second look
	})
	return r
}

// Stop cancels the source and returns what Run returned.
func (r *Running) Stop() error {
	r.cancel()
	return r.Result()
}

// Result waits for Run to return by itself.
func (r *Running) Result() error {
	err := <-r.done
	r.done <- err
	return err
}

func stop(t *testing.T, r *Running) {
	t.Helper()
	if err := r.Stop(); err != nil {
		t.Fatalf("Run returned %v after its context ended; want nil", err)
	}
}

func wantBodies(t *testing.T, partition string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("payloads of partition %q (-want +got):\n%s", partition, diff)
	}
}

func testOrder(t *testing.T, h Harness) {
	want := map[string][]string{}
	for _, p := range h.Partitions {
		want[p] = h.Append(t, p, 40)
	}
	store := NewStore()
	rec := NewRecorder(store, Name)
	running := Start(t, h.New(t, store, false), rec)
	for _, p := range h.Partitions {
		rec.Wait(t, "payloads of "+p, func() bool { return rec.Count(p) >= 40 })
		want[p] = append(want[p], h.Append(t, p, 3)...)
	}
	for _, p := range h.Partitions {
		rec.Wait(t, "later payloads of "+p, func() bool { return rec.Count(p) >= 43 })
	}
	stop(t, running)
	for _, p := range h.Partitions {
		wantBodies(t, p, rec.Bodies(p), want[p])
		got := rec.Partition(p)
		if got.Open {
			t.Errorf("partition %q is open after Run returned", p)
		}
		if got.Origin.Source != Name || got.Origin.Partition != p || got.Origin.Namespace == "" {
			t.Errorf("origin of partition %q is %+v; want source %q, that partition and a namespace", p, got.Origin, Name)
		}
		for i := 1; i < len(got.Payloads); i++ {
			if got.Payloads[i].Key == [16]byte{} && got.Payloads[i].Position <= got.Payloads[i-1].Position {
				t.Fatalf("partition %q: position %d follows %d", p, got.Payloads[i].Position, got.Payloads[i-1].Position)
			}
		}
	}
}

func testResume(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	var want, got []string
	for life := range 3 {
		want = append(want, h.Append(t, p, 10+life)...)
		rec := NewRecorder(store, Name)
		running := Start(t, h.New(t, store, false), rec)
		rec.Wait(t, "the new payloads", func() bool { return rec.Count(p) >= 10+life })
		stop(t, running)
		got = append(got, rec.Bodies(p)...)
	}
	wantBodies(t, p, got, want)
}

func testCrash(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	first := h.Append(t, p, 20)
	rec := NewRecorder(store, Name)
	running := Start(t, h.New(t, store, false), rec)
	rec.Wait(t, "the first payloads", func() bool { return rec.Count(p) >= 20 })

	rec.Hold()
	second := h.Append(t, p, 30)
	rec.Wait(t, "the payloads in flight", func() bool { return rec.Count(p) >= 50 })
	if err := rec.Confirm(t.Context(), p, 1); err != nil {
		t.Fatal(err)
	}
	rec.Crash()
	stop(t, running)

	third := h.Append(t, p, 5)
	again := NewRecorder(store, Name)
	running = Start(t, h.New(t, store, false), again)
	all := slices.Concat(first, second, third)
	rest := all[safeCount(rec, p):]
	again.Wait(t, "the rest", func() bool { return again.Count(p) >= len(rest) })
	stop(t, running)
	wantBodies(t, p, again.Bodies(p), rest)
}

// safeCount is how many payloads the confirmed batches of a held recorder hold.
func safeCount(r *Recorder, partition string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[partition]
	if len(p.pending) == 0 {
		return len(p.Payloads)
	}
	return p.ends[p.pending[0]] - p.sizes[p.pending[0]]
}

func testCursors(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	rec := NewRecorder(store, Name)
	running := Start(t, h.New(t, store, false), rec)
	var all []string
	for n := range 4 { // several batches
		all = append(all, h.Append(t, p, n+1)...)
		rec.Wait(t, "a batch", func() bool { return rec.Count(p) >= len(all) })
	}
	stop(t, running)
	seen := rec.Partition(p)
	for i, cursor := range seen.Cursors {
		behind := seen.ends[i]
		t.Run(fmt.Sprintf("cursor %d", i), func(t *testing.T) {
			store := NewStore()
			if err := store.Save(t.Context(), checkpoint.Key{Source: Name, Partition: p}, cursor); err != nil {
				t.Fatal(err)
			}
			rec := NewRecorder(store, Name)
			if err := Start(t, h.New(t, store, true), rec).Result(); err != nil {
				t.Fatal(err)
			}
			got := rec.Bodies(p)
			if len(got) == 0 {
				got = []string{}
			}
			wantBodies(t, p, got, append([]string{}, all[behind:]...))
		})
	}
}

func testBackPressure(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	rec := NewRecorder(store, Name)
	rec.Block()
	want := h.Append(t, p, 200)
	running := Start(t, h.New(t, store, false), rec)
	rec.Wait(t, "a blocked Emit", func() bool { return rec.Partition(p).Waiting })
	want = append(want, h.Append(t, p, 200)...)
	if n := rec.Count(p); n != 0 {
		t.Fatalf("%d payloads were taken by a blocked pipeline", n)
	}
	rec.Unblock()
	rec.Wait(t, "everything", func() bool { return rec.Count(p) >= len(want) })
	stop(t, running)
	wantBodies(t, p, rec.Bodies(p), want)

	// A source that is stopped while Emit is blocked must not hang or lose.
	rec = NewRecorder(store, Name)
	rec.Block()
	late := h.Append(t, p, 5)
	running = Start(t, h.New(t, store, false), rec)
	rec.Wait(t, "a blocked Emit", func() bool { return rec.Partition(p).Waiting })
	stop(t, running)
	rec = NewRecorder(store, Name)
	running = Start(t, h.New(t, store, false), rec)
	rec.Wait(t, "what was not taken", func() bool { return rec.Count(p) >= len(late) })
	stop(t, running)
	wantBodies(t, p, rec.Bodies(p), late)
}

func testCloseSaves(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	rec := NewRecorder(store, Name)
	rec.Hold()
	want := h.Append(t, p, 7)
	running := Start(t, h.New(t, store, false), rec)
	rec.Wait(t, "payloads in flight", func() bool { return rec.Count(p) >= len(want) })
	running.cancel()
	if err := rec.Confirm(t.Context(), p, len(want)); err != nil { // while it closes, or before
		t.Fatal(err)
	}
	stop(t, running)

	rec = NewRecorder(store, Name)
	if err := Start(t, h.New(t, store, true), rec).Result(); err != nil {
		t.Fatal(err)
	}
	if got := rec.Bodies(p); len(got) != 0 {
		t.Errorf("%d payloads were read again although they were confirmed before Close returned: %q", len(got), got)
	}
}

func testOnce(t *testing.T, h Harness) {
	store := NewStore()
	want := map[string][]string{}
	for i, p := range h.Partitions {
		want[p] = h.Append(t, p, 25*i) // none in the first
	}
	rec := NewRecorder(store, Name)
	rec.Hold()
	running := Start(t, h.New(t, store, true), rec)
	for i, p := range h.Partitions {
		rec.Wait(t, "payloads of "+p, func() bool { return rec.Count(p) >= 25*i })
	}
	select {
	case err := <-running.done:
		if len(h.Partitions) > 1 {
			t.Fatalf("Run returned %v before what it read was delivered", err)
		}
		running.done <- err
	default:
	}
	for i, p := range h.Partitions {
		if i == 0 {
			continue
		}
		if err := rec.Confirm(t.Context(), p, 1_000_000); err != nil {
			t.Fatal(err)
		}
	}
	if err := running.Result(); err != nil {
		t.Fatalf("Run returned %v; want nil", err)
	}
	for i, p := range h.Partitions {
		if i > 0 {
			wantBodies(t, p, rec.Bodies(p), want[p])
		}
	}
}

func testOnceEmpty(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	h.Append(t, p, 3)
	for life, want := range []int{3, 0, 0} {
		rec := NewRecorder(store, Name)
		if err := Start(t, h.New(t, store, true), rec).Result(); err != nil {
			t.Fatal(err)
		}
		if got := rec.Count(p); got != want {
			t.Errorf("run %d emitted %d payloads; want %d", life, got, want)
		}
	}
}

func testStoreFails(t *testing.T, h Harness) {
	store, p := NewStore(), h.Partitions[0]
	want := h.Append(t, p, 3)
	store.Fail(fmt.Errorf("the disk is full"))
	rec := NewRecorder(store, Name)
	running := Start(t, h.New(t, store, false), rec)
	store.Fail(nil)
	rec.Wait(t, "payloads", func() bool { return rec.Count(p) >= len(want) })
	stop(t, running)
	wantBodies(t, p, rec.Bodies(p), want)
}

func testLost(t *testing.T, h Harness) {
	if h.Steal == nil {
		t.Skip("partitions of this source cannot be taken by another reader")
	}
	store, p := NewStore(), h.Partitions[0]
	rec := NewRecorder(store, Name)
	want := h.Append(t, p, 3)
	running := Start(t, h.New(t, store, false), rec)
	rec.Wait(t, "payloads", func() bool { return rec.Count(p) >= len(want) })
	rec.Hold() // what is in flight must not keep a lost partition open
	h.Append(t, p, 3)
	rec.Wait(t, "payloads in flight", func() bool { return rec.Count(p) >= 6 })
	h.Steal(t, p)
	rec.Wait(t, "the stream to close", func() bool { return !rec.Partition(p).Open })
	running.cancel()
	stop(t, running)
}
