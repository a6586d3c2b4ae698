package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/budget"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/checkpoint/filestore"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// hub is a source of payloads that stay in Azure until the test ends: a
// partition is a list, a cursor the number of payloads read.
type hub struct {
	partitions [][]string
	once       bool
}

func (h *hub) Run(ctx context.Context, out source.Output) error {
	var wg sync.WaitGroup
	errs := make([]error, len(h.partitions))
	for i, payloads := range h.partitions {
		wg.Go(func() { errs[i] = h.read(ctx, out, i, payloads) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(errs...)
}

func (h *hub) read(ctx context.Context, out source.Output, i int, payloads []string) error {
	s, err := out.Open(ctx, event.Origin{Source: "hub", Partition: fmt.Sprint(i), Namespace: fmt.Sprintf("ns/hub/%d", i)})
	if err != nil {
		return err
	}
	defer s.Close(context.WithoutCancel(ctx))
	next := 0
	if s.Resume() != "" {
		if _, err := fmt.Sscan(string(s.Resume()), &next); err != nil {
			return err
		}
	}
	for ; next < len(payloads); next++ {
		batch := []event.Payload{{Body: []byte(payloads[next]), Position: int64(next)}}
		if err := s.Emit(ctx, batch, checkpoint.Cursor(fmt.Sprint(next+1))); err != nil {
			return err
		}
	}
	if !h.once {
		<-ctx.Done()
	}
	return nil
}

// store is a destination; fail, if set, is asked before each delivery, and slow
// is how long one takes.
type store struct {
	mu     sync.Mutex
	events []event.Event
	fail   func(events []event.Event) error
	slow   time.Duration
}

func (s *store) Deliver(ctx context.Context, events []event.Event) error {
	if s.slow > 0 {
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(events); err != nil {
			return err
		}
	}
	s.keep(events)
	return nil
}

// keep copies: the bytes of events are used again after Deliver returns.
func (s *store) keep(events []event.Event) {
	for _, e := range events {
		e.Data = slices.Clone(e.Data)
		s.events = append(s.events, e)
	}
}

func (s *store) Close(context.Context) error { return nil }

func (s *store) data() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.events {
		all = append(all, string(e.Data))
	}
	return all
}

type world struct {
	state   string // folder of checkpoints and dead letters; survives
	letters *deadletter.Store
	sinks   map[string]*store
	metrics *telemetry.Metrics
	budget  *budget.Budget
	board   *status.Board
}

func newWorld(t *testing.T, sinks ...string) *world {
	t.Helper()
	w := &world{state: t.TempDir(), sinks: map[string]*store{}}
	for _, name := range sinks {
		w.sinks[name] = &store{}
	}
	var err error
	if w.letters, err = deadletter.Open(w.state+"/letters", time.Now); err != nil {
		t.Fatal(err)
	}
	return w
}

// pipeline wires a new program over what survives.
func (w *world) pipeline(t *testing.T, src source.Source, positions checkpoint.Store, routes []config.Route, change func(name string, d *config.SinkDelivery)) *Pipeline {
	t.Helper()
	w.budget = budget.New(1 << 20)
	zero := func() float64 { return 0 }
	w.metrics, w.board = telemetry.NewMetrics(zero, zero), status.NewBoard(time.Now)
	cfg := Config{
		Sources: []Source{{Name: "hub", Source: src, Store: positions}}, Routes: routes, KeepOriginal: true,
		Budget: w.budget, Letters: w.letters, SaveEvery: time.Second, Grace: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler), Board: w.board, Metrics: w.metrics,
	}
	for name, s := range w.sinks {
		d := config.DefaultSinkDelivery()
		d.Concurrency = 2
		d.Batch = config.Batch{Events: 10, Bytes: 1 << 20, Wait: config.Duration(10 * time.Millisecond)}
		d.Retry = config.Retry{Initial: config.Duration(10 * time.Millisecond), Max: config.Duration(100 * time.Millisecond)}
		if change != nil {
			change(name, &d)
		}
		cfg.Sinks = append(cfg.Sinks, Sink{Name: name, Sink: s, Delivery: d})
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) lettersLeft(t *testing.T) (all []deadletter.Letter) {
	t.Helper()
	if err := w.letters.Each(t.Context(), func(l deadletter.Letter) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func route(schema string, to ...string) config.Route {
	return config.Route{From: []string{"hub"}, Schema: schema, To: to}
}

// memory is a checkpoint store that survives the pipelines of one test.
type memory struct {
	mu    sync.Mutex
	saved map[checkpoint.Key]checkpoint.Cursor
}

func (m *memory) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved[k], nil
}

func (m *memory) Save(_ context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saved == nil {
		m.saved = map[checkpoint.Key]checkpoint.Cursor{}
	}
	m.saved[k] = c
	return nil
}

func (m *memory) List(context.Context, string) ([]checkpoint.Entry, error) { return nil, nil }

func TestRecordsReachEverySinkInItsSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "raw", "ecs", "both")
		positions := &memory{}
		src := &hub{once: true, partitions: [][]string{{
			`{"records":[{"time":"2026-03-04T05:06:07.1234567Z","category":"X","n":1},{"n": 2}]}`, `{"n":3}`,
		}}}
		p := w.pipeline(t, src, positions, []config.Route{route("raw", "raw", "both"), route("ecs", "ecs", "both")}, nil)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{`{"time":"2026-03-04T05:06:07.1234567Z","category":"X","n":1}`, `{"n":2}`, `{"n":3}`}
		if diff := cmp.Diff(want, w.sinks["raw"].data()); diff != "" {
			t.Errorf("raw (-want +got):\n%s", diff)
		}
		ecs := w.sinks["ecs"].events
		if len(ecs) != 3 || !strings.Contains(string(ecs[0].Data), `"@timestamp":"2026-03-04T05:06:07.123`) {
			t.Errorf("ecs: %d events, the first %.200s", len(ecs), ecs[0].Data)
		}
		if n := len(w.sinks["both"].events); n != 6 {
			t.Errorf("the sink of both routes has %d events, want 6", n)
		}
		ids := map[event.ID]bool{}
		for i, e := range ecs {
			if e.ID != w.sinks["raw"].events[i].ID {
				t.Errorf("record %d has ID %q as ecs and %q as raw", i, e.ID, w.sinks["raw"].events[i].ID)
			}
			ids[e.ID] = true
		}
		if len(ids) != 3 {
			t.Errorf("IDs are not unique: %v", ids)
		}
		if c := positions.saved[checkpoint.Key{Source: "hub", Partition: "0"}]; c != "2" {
			t.Errorf("saved cursor %q, want 2", c)
		}
		if w.budget.Used() != 0 {
			t.Errorf("%d bytes are still in flight", w.budget.Used())
		}
	})
}

func TestBadBytesCostNoNeighbor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "out")
		src := &hub{once: true, partitions: [][]string{{`{"n":1}`, `no json at all`, "{\"n\":2}\n[218 B blob data]\n{\"n\":3}"}}}
		p := w.pipeline(t, src, &memory{}, []config.Route{route("raw", "out")}, nil)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{`{"n":1}`, `{"n":2}`, `{"n":3}`}, w.sinks["out"].data()); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
		letters := w.lettersLeft(t)
		if len(letters) != 2 || string(letters[0].Data) != "no json at all" || letters[0].Position != 1 ||
			string(letters[1].Data) != "[218 B blob data]" || letters[1].Offset != 8 || letters[1].Reason == "" {
			t.Errorf("dead letters: %+v", letters)
		}
	})
}

// TestNothingIsLostOverCrashes runs the pipeline again and again over the same
// hub, killing it at random moments, with two required sinks that fail in every
// way, and checks that each record is in both, or in the dead letters.
func TestNothingIsLostOverCrashes(t *testing.T) {
	const partitions, payloads, perPayload = 3, 40, 5
	for seed := range uint64(25) {
		synctest.Test(t, func(t *testing.T) {
			r := &dice{r: rand.New(rand.NewPCG(seed, 7))}
			src := &hub{}
			for i := range partitions {
				var list []string
				for k := range payloads {
					var records []string
					for n := range perPayload {
						records = append(records, fmt.Sprintf(`{"id":"%d-%d-%d"}`, i, k, n))
					}
					list = append(list, `{"records":[`+strings.Join(records, ",")+`]}`)
				}
				src.partitions = append(src.partitions, list)
			}
			w := newWorld(t, "a", "b")
			for _, s := range w.sinks {
				s.fail = func(events []event.Event) error { // called with the store's lock
					switch r.IntN(12) {
					case 0:
						return errors.New("unreachable")
					case 1:
						return &sink.ThrottledError{After: 30 * time.Millisecond}
					case 2:
						s.keep(events)
						return errors.New("the connection was cut after the body was sent")
					case 3:
						// All but the last are there; that one fails, or for good.
						s.keep(events[:len(events)-1])
						failure := errors.New("shard busy")
						if r.IntN(3) == 0 {
							failure = fmt.Errorf("%w: mapping", sink.ErrRejected)
						}
						return &sink.PartialError{Failed: map[int]error{len(events) - 1: failure}}
					}
					return nil
				}
			}
			positions := &memory{}
			finished := func() bool {
				positions.mu.Lock()
				defer positions.mu.Unlock()
				for i := range partitions {
					if positions.saved[checkpoint.Key{Source: "hub", Partition: fmt.Sprint(i)}] != checkpoint.Cursor(fmt.Sprint(payloads)) {
						return false
					}
				}
				return true
			}
			runs := 0
			for ; !finished() && runs < 500; runs++ {
				p := w.pipeline(t, src, forgetful{positions, r}, []config.Route{route("raw", "a", "b")}, nil)
				p.cfg.Grace = 0 // a crash does not wait
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(120))*time.Millisecond)
				if err := p.Run(ctx); err != nil {
					t.Fatal(err)
				}
				cancel()
				synctest.Wait()
			}
			if !finished() {
				t.Fatalf("seed %d: not finished after %d runs", seed, runs)
			}
			dead := map[string]bool{}
			for _, l := range w.lettersLeft(t) {
				dead[l.Sink+string(l.Data)] = true
			}
			for name, s := range w.sinks {
				got := map[string]int{}
				for _, d := range s.data() {
					got[d]++
				}
				for i := range partitions {
					for k := range payloads {
						for n := range perPayload {
							data := fmt.Sprintf(`{"id":"%d-%d-%d"}`, i, k, n)
							if got[data] == 0 && !dead[name+data] {
								t.Fatalf("seed %d: sink %s never got %s, and it is no dead letter", seed, name, data)
							}
						}
					}
				}
			}
			t.Logf("seed %d: %d runs", seed, runs)
		})
	}
}

// dice is a random source that goroutines share.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// forgetful fails now and then to save.
type forgetful struct {
	*memory
	r *dice
}

func (f forgetful) Save(ctx context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	if f.r.IntN(4) == 0 {
		return errors.New("store not reachable")
	}
	return f.memory.Save(ctx, k, c)
}

func TestOneDeadBestEffortSinkDoesNotHoldTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "good", "dead")
		w.sinks["dead"].fail = func([]event.Event) error { return errors.New("down") }
		var list []string
		for i := range 100 {
			list = append(list, fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", 40_000)))
		}
		positions := &memory{}
		p := w.pipeline(t, &hub{once: true, partitions: [][]string{list}}, positions, []config.Route{route("raw", "good", "dead")},
			func(name string, d *config.SinkDelivery) {
				if name == "dead" {
					d.Delivery = "best_effort"
				}
			})
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(w.sinks["good"].events); n != 100 {
			t.Errorf("the required sink has %d events, want 100", n)
		}
		if c := positions.saved[checkpoint.Key{Source: "hub", Partition: "0"}]; c != "100" {
			t.Errorf("saved cursor %q, want 100", c)
		}
	})
}

func TestADeadRequiredSinkStopsReadingAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "dead")
		w.sinks["dead"].fail = func([]event.Event) error { return errors.New("down") }
		var list []string
		for i := range 1000 {
			list = append(list, fmt.Sprintf(`{"n":%d,"x":"%s"}`, i, strings.Repeat("x", 40_000)))
		}
		positions := &memory{}
		p := w.pipeline(t, &hub{partitions: [][]string{list}}, positions, []config.Route{route("ecs", "dead")}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(30 * time.Second)
		if used, limit := w.budget.Used(), w.budget.Limit(); used > limit+512<<10 {
			t.Errorf("%d bytes in flight, the limit is %d and one batch", used, limit)
		}
		if n := telemetry.Sum(w.metrics.SourceReceivedPayloads); n > 30 {
			t.Errorf("%v payloads of 40 kB were read with a limit of 1 MiB", n)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(positions.saved) != 0 {
			t.Errorf("saved %v although nothing was confirmed", positions.saved)
		}
	})
}

func TestASourceThatCannotGoOnDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "out")
		p := w.pipeline(t, broken{}, &memory{}, []config.Route{route("raw", "out")}, nil)
		other := &hub{partitions: [][]string{{`{"n":1}`}}}
		p.cfg.Sources = append(p.cfg.Sources, Source{Name: "other", Source: other, Store: &memory{}})
		p.processors["other"] = p.processors["hub"]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := p.Run(ctx)
		if err == nil || !strings.Contains(err.Error(), `source "hub": the hub is gone`) {
			t.Errorf("Run() = %v, want the error of the source", err)
		}
		if diff := cmp.Diff([]string{`{"n":1}`}, w.sinks["out"].data()); diff != "" {
			t.Errorf("the other source (-want +got):\n%s", diff)
		}
	})
}

type broken struct{}

func (broken) Run(context.Context, source.Output) error { return errors.New("the hub is gone") }

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		rejectAll := func([]event.Event) error { return fmt.Errorf("%w: no", sink.ErrRejected) }
		w.sinks["a"].fail, w.sinks["b"].fail = rejectAll, rejectAll
		src := &hub{once: true, partitions: [][]string{{`{"n":1} stray {"n":2}`}}}
		routes := []config.Route{route("raw", "a", "b")}
		if err := w.pipeline(t, src, &memory{}, routes, nil).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(w.lettersLeft(t)); n != 5 {
			t.Fatalf("%d dead letters, want two events for each of two sinks, and the stray bytes", n)
		}
		ids := map[event.ID]bool{}
		for _, l := range w.lettersLeft(t) {
			if l.Sink == "a" {
				ids[l.ID] = true
			}
		}

		w.sinks["a"].fail = nil
		done, err := w.pipeline(t, src, &memory{}, routes, nil).Replay(t.Context(), "a")
		if err != nil || done != (Replayed{Read: 5, Kept: 3}) {
			t.Fatalf("replay of sink a = %+v, %v; want 5 read, 3 kept", done, err)
		}
		if got := w.sinks["a"].data(); len(got) != 2 {
			t.Errorf("sink a has %q, want both events", got)
		}
		for _, e := range w.sinks["a"].events {
			if !ids[e.ID] {
				t.Errorf("replayed event has ID %q, which it did not have before", e.ID)
			}
		}

		done, err = w.pipeline(t, src, &memory{}, routes, nil).Replay(t.Context(), "")
		if err != nil || done.Kept != 3 {
			t.Errorf("replay while b still rejects and the bytes are still stray = %+v, %v; want 3 kept", done, err)
		}
		w.sinks["b"].fail = nil
		done, err = w.pipeline(t, src, &memory{}, routes, nil).Replay(t.Context(), "")
		if err != nil || done.Kept != 1 || len(w.sinks["b"].data()) != 2 {
			t.Errorf("last replay = %+v, %v with %q in b; want only the stray bytes kept", done, err, w.sinks["b"].data())
		}
	})
}

func TestABestEffortSinksLettersAreReplayedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "out")
		bestEffort := func(_ string, d *config.SinkDelivery) { d.Delivery = "best_effort" }
		w.sinks["out"].fail = func([]event.Event) error { return fmt.Errorf("%w: no", sink.ErrRejected) }
		src := &hub{once: true, partitions: [][]string{{`{"n":1}`, `{"n":2}`}}}
		routes := []config.Route{route("raw", "out")}
		if err := w.pipeline(t, src, &memory{}, routes, bestEffort).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(w.lettersLeft(t)); n != 2 {
			t.Fatalf("%d dead letters, want 2", n)
		}
		w.sinks["out"].fail = nil
		done, err := w.pipeline(t, src, &memory{}, routes, bestEffort).Replay(t.Context(), "out")
		if err != nil || done != (Replayed{Read: 2}) || len(w.sinks["out"].data()) != 2 {
			t.Errorf("replay = %+v, %v with %q delivered; want both", done, err, w.sinks["out"].data())
		}
	})
}

func TestAReplayedPieceHasAnIdentityOfItsOwn(t *testing.T) {
	w := newWorld(t, "out")
	// What an older program could not read, this one can: the letter holds a record.
	origin := &event.Origin{Source: "hub", Partition: "0", Namespace: "ns/hub/0"}
	if err := w.letters.Put(t.Context(), deadletter.FromPayload(origin, 7, 100, []byte(`{"n":2}`), "not_json", "r")); err != nil {
		t.Fatal(err)
	}
	routes := []config.Route{route("raw", "out")}
	if _, err := w.pipeline(t, &hub{}, &memory{}, routes, nil).Replay(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	src := &hub{once: true, partitions: [][]string{{"", "", "", "", "", "", "", `{"n":1}`}}}
	if err := w.pipeline(t, src, &memory{}, routes, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.sinks["out"].events
	if len(got) != 2 || got[0].ID == got[1].ID {
		t.Errorf("the replayed piece and the first record of its payload: %+v, want two events with different IDs", got)
	}
}

func TestPositionsSurviveInFiles(t *testing.T) {
	w := newWorld(t, "out")
	for run := range 3 {
		files, err := filestore.Open(w.state+"/checkpoints", time.Now)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for i := range (run + 1) * 10 {
			list = append(list, fmt.Sprintf(`{"n":%d}`, i))
		}
		p := w.pipeline(t, &hub{once: true, partitions: [][]string{list}}, files, []config.Route{route("raw", "out")}, nil)
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := files.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got := w.sinks["out"].data()
	if len(got) != 30 {
		t.Errorf("%d events after three runs over 10, 20 and 30 payloads, want each once", len(got))
	}
}
