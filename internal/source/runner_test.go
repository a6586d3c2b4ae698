package source

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/budget"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// memStore is a checkpoint store that can be made to fail.
type memStore struct {
	mu    sync.Mutex
	saved map[checkpoint.Key]checkpoint.Cursor
	saves int
	err   error
}

func (m *memStore) Load(_ context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved[k], nil
}

func (m *memStore) Save(_ context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if m.saved == nil {
		m.saved = map[checkpoint.Key]checkpoint.Cursor{}
	}
	m.saved[k] = c
	m.saves++
	return nil
}

func (m *memStore) List(context.Context, string) ([]checkpoint.Entry, error) { return nil, nil }

func (m *memStore) get(partition string) (checkpoint.Cursor, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved[checkpoint.Key{Source: "hub", Partition: partition}], m.saves
}

// holder is a Process that keeps one hold on each batch until the test lets go.
type holder struct {
	mu     sync.Mutex
	tokens []*ack.Token
	expand int64 // how many bytes a byte becomes
}

func (h *holder) process(_ context.Context, _ *event.Origin, batch []event.Payload, token *ack.Token) (Held, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	token.Hold(1)
	h.tokens = append(h.tokens, token)
	var n int64
	for _, p := range batch {
		n += int64(len(p.Body))
	}
	return Held{Bytes: n * h.expand}, nil
}

func (h *holder) release(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[i].Release(1)
}

type sourceFunc func(ctx context.Context, out Output) error

func (f sourceFunc) Run(ctx context.Context, out Output) error { return f(ctx, out) }

// emitting is a source that emits batches of that many bytes, one for each
// cursor, and then waits for the end.
func emitting(bytes int, cursors ...checkpoint.Cursor) Source {
	return sourceFunc(func(ctx context.Context, out Output) error {
		s, err := out.Open(ctx, event.Origin{Partition: "0"})
		if err != nil {
			return err
		}
		for _, c := range cursors {
			batch := payload(bytes)
			if bytes == 0 {
				batch = nil
			}
			if err := s.Emit(ctx, batch, c); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return s.Close(context.WithoutCancel(ctx))
	})
}

func newRunner(store checkpoint.Store, b *budget.Budget, p Process) *Runner {
	zero := func() float64 { return 0 }
	return NewRunner(RunnerConfig{
		Name: "hub", Store: store, Budget: b, Process: p, SaveEvery: 5 * time.Second, Grace: 20 * time.Second,
		Logger: slog.New(slog.DiscardHandler), Status: status.NewBoard(time.Now).Component("checkpoint", "hub"),
		Metrics: telemetry.NewMetrics(zero, zero),
	})
}

func payload(n int) []event.Payload { return []event.Payload{{Body: make([]byte, n)}} }

func TestRunnerSavesOnlyTheFinishedPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, h := &memStore{}, &holder{expand: 1}
		r := newRunner(store, budget.New(1<<20), h.process)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, emitting(10, "1", "2", "3")) }()
		synctest.Wait()
		h.release(1)
		h.release(2)
		time.Sleep(6 * time.Second)
		if c, n := store.get("0"); c != "" || n != 0 {
			t.Errorf("saved %q %d times while the first batch is open, want nothing", c, n)
		}
		h.release(0)
		time.Sleep(6 * time.Second)
		if c, n := store.get("0"); c != "3" || n != 1 {
			t.Errorf("saved %q in %d writes, want 3 in one", c, n)
		}
		time.Sleep(time.Minute)
		if _, n := store.get("0"); n != 1 {
			t.Errorf("%d writes although nothing moved, want 1", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestCloseWaitsForWhatIsInFlight(t *testing.T) {
	for name, tc := range map[string]struct {
		releaseAfter time.Duration
		want         checkpoint.Cursor
	}{
		"confirmed within the grace":      {releaseAfter: 15 * time.Second, want: "1"},
		"not confirmed within the grace":  {releaseAfter: 25 * time.Second, want: ""},
		"confirmed long before the grace": {releaseAfter: time.Second, want: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, h := &memStore{}, &holder{expand: 1}
				r := newRunner(store, budget.New(1<<20), h.process)
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx, emitting(10, "1")) }()
				synctest.Wait()
				cancel()
				time.Sleep(tc.releaseAfter)
				h.release(0)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if c, _ := store.get("0"); c != tc.want {
					t.Errorf("saved %q, want %q", c, tc.want)
				}
			})
		})
	}
}

func TestEmitIsHeldBackByTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(100)
		h := &holder{expand: 3}
		r := newRunner(&memStore{}, b, h.process)
		s, err := r.Open(t.Context(), event.Origin{Partition: "0"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Emit(t.Context(), payload(40), "1"); err != nil { // becomes 120 bytes
			t.Fatal(err)
		}
		if b.Used() != 120 {
			t.Errorf("in flight %d bytes, want 120", b.Used())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Emit(ctx, payload(1), "2"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Emit over the budget = %v, want %v", err, context.DeadlineExceeded)
		}
		h.release(0)
		if b.Used() != 0 {
			t.Errorf("in flight %d bytes after the release, want 0", b.Used())
		}
		if err := s.Emit(t.Context(), payload(1), "2"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAFailedBatchKeepsTheCursorBack(t *testing.T) {
	store := &memStore{}
	b := budget.New(100)
	r := newRunner(store, b, func(context.Context, *event.Origin, []event.Payload, *ack.Token) (Held, error) {
		return Held{}, errors.New("the dead letters are full")
	})
	s, err := r.Open(t.Context(), event.Origin{Partition: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Emit(t.Context(), payload(10), "1"); err == nil {
		t.Fatal("Emit = nil, want the error of the process")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if c, _ := store.get("0"); c != "" {
		t.Errorf("saved %q past a batch that was not taken care of", c)
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes stay in flight, want 0", b.Used())
	}
}

func TestOpenTwiceIsRefused(t *testing.T) {
	r := newRunner(&memStore{}, budget.New(1), (&holder{}).process)
	s, err := r.Open(t.Context(), event.Origin{Partition: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(t.Context(), event.Origin{Partition: "0"}); err == nil {
		t.Fatal("a second stream for partition 0 was opened")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(t.Context(), event.Origin{Partition: "0"}); err != nil {
		t.Fatalf("open again after Close: %v", err)
	}
}

func TestAFailingStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memStore{err: errors.New("no space left")}
		r := newRunner(store, budget.New(100), (&holder{}).process)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, emitting(0, "1")) }() // reading nothing moves the cursor too
		time.Sleep(12 * time.Second)
		if got := r.cfg.Status.Report().State; got != status.Retrying {
			t.Errorf("state %q while the store fails, want %q", got, status.Retrying)
		}
		store.mu.Lock()
		store.err = nil
		store.mu.Unlock()
		time.Sleep(5 * time.Second)
		if c, _ := store.get("0"); c != "1" {
			t.Errorf("saved %q, want 1", c)
		}
		if got := r.cfg.Status.Report().State; got != status.OK {
			t.Errorf("state %q after the store works again, want %q", got, status.OK)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
