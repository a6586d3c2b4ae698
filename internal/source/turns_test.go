package source

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// lease is one that a test gives and takes.
type lease struct {
	mu       sync.Mutex // guards what follows
	err      error      // of Acquire
	lost     chan struct{}
	acquired int
	released int
}

func (l *lease) Acquire(context.Context) (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acquired++
	if l.err != nil {
		return nil, l.err
	}
	l.lost = make(chan struct{})
	return l.lost, nil
}

func (l *lease) Release(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released++
	return nil
}

// answer changes what Acquire returns, and with lose ends the lease.
func (l *lease) answer(err error, lose bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	if lose {
		close(l.lost)
	}
}

func (l *lease) counts() (acquired, released int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acquired, l.released
}

func turnsOf(l *lease, once bool, owned *[]bool) (*Turns, *status.Component) {
	report := status.NewBoard(time.Now).Component("source", "s")
	return &Turns{
		Lease: l, Once: once, Logger: slog.New(slog.DiscardHandler), Health: status.NewGroup(report), Part: "checkpoints", Timing: DefaultTurnTiming(),
		Owned: func(held bool) { *owned = append(*owned, held) },
	}, report
}

func TestInstancesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lease{err: checkpoint.ErrHeld}
		var owned []bool
		turns, report := turnsOf(l, false, &owned)
		ctx, cancel := context.WithCancel(t.Context())
		var reading atomic.Bool
		var reads atomic.Int32
		done := make(chan error, 1)
		go func() {
			done <- turns.Run(ctx, func(ctx context.Context, _ <-chan struct{}) error {
				reading.Store(true)
				reads.Add(1)
				<-ctx.Done()
				reading.Store(false)
				return nil
			})
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if tries, _ := l.counts(); reads.Load() != 0 || tries < 4 || tries > 9 {
			t.Errorf("%d reads and %d tries in a minute while another instance has the lease", reads.Load(), tries)
		}
		if r := report.Report(); r.State != status.OK || r.Reason == "" {
			t.Errorf("status %+v; want ok, and that another instance reads", r)
		}
		l.answer(errors.New("the container is gone"), false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := report.Report(); r.State != status.Retrying || reads.Load() != 0 {
			t.Errorf("status %+v, %d reads without a store", r, reads.Load())
		}
		l.answer(nil, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !reading.Load() || report.Report().State != status.OK || report.Report().Reason != "" {
			t.Errorf("reading %v, status %+v with the lease", reading.Load(), report.Report())
		}
		l.answer(checkpoint.ErrHeld, true)
		synctest.Wait()
		if reading.Load() {
			t.Error("it reads without the lease")
		}
		l.answer(nil, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if !reading.Load() || reads.Load() != 2 {
			t.Errorf("reading %v, %d reads; want the second", reading.Load(), reads.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, released := l.counts(); released != 2 || len(owned) != 4 || !owned[0] || owned[1] || !owned[2] || owned[3] {
			t.Errorf("released %d times, owned %v", released, owned)
		}
	})
}

func TestATurnThatIsReadOnce(t *testing.T) {
	gone, failed := errors.New("the container is gone"), errors.New("reading failed")
	for name, tc := range map[string]struct{ lease, read, want error }{
		"read":                  {},
		"another instance":      {lease: checkpoint.ErrHeld, want: checkpoint.ErrHeld},
		"no store":              {lease: gone, want: gone},
		"a failure of the read": {read: failed, want: failed},
	} {
		t.Run(name, func(t *testing.T) {
			var owned []bool
			l := &lease{err: tc.lease}
			turns, _ := turnsOf(l, true, &owned)
			reads := 0
			err := turns.Run(t.Context(), func(context.Context, <-chan struct{}) error { reads++; return tc.read })
			if !errors.Is(err, tc.want) || (reads == 1) != (tc.lease == nil) || l.released != reads {
				t.Errorf("Run = %v after %d reads, released %d times; want %v", err, reads, l.released, tc.want)
			}
		})
	}
}

func TestClosingAfterALostLeaseIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lose := range []bool{false, true} {
			ctx, stop := context.WithCancel(t.Context())
			lost := make(chan struct{})
			closing, done := Closing(ctx, lost, time.Minute)
			want := time.Minute
			if lose {
				close(lost)
				want = lostDrain
			}
			begin := time.Now()
			stop()
			<-closing.Done()
			if took := time.Since(begin); took != want {
				t.Errorf("lost %v: closing took %v, want %v", lose, took, want)
			}
			done()
		}
	})
}
