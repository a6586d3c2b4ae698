package window_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source/window"
)

func newStream(resume checkpoint.Cursor) *stream {
	return &stream{resume: resume, emitted: map[string]int{}, keys: map[[16]byte]bool{}, busy: func() time.Duration { return 0 }}
}

func rowOf(id string, at time.Time) window.Row {
	return window.Row{ID: window.Identify([]byte(id)), Payload: event.Payload{Body: []byte(id), Enqueued: at}}
}

// A feed that cannot be read at first begins where it would have begun.
func TestTheStartIsPinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		cfg := window.Config{
			Fetch: func(context.Context, window.Span, func(window.Row) error) (window.Load, error) {
				return window.Load{}, refused
			},
			Ages: []time.Duration{time.Minute}, MaxSize: time.Hour, Now: time.Now, Start: time.Now().Add(-time.Hour),
		}
		out := newStream("")
		if err := window.New(cfg).Run(t.Context(), out); !errors.Is(err, refused) {
			t.Fatalf("Run returned %v; want the error", err)
		}
		time.Sleep(24 * time.Hour)
		var from time.Time
		cfg.Start = time.Now().Add(-time.Hour)
		cfg.Fetch = func(_ context.Context, s window.Span, _ func(window.Row) error) (window.Load, error) {
			from = s.From
			return window.Load{}, refused
		}
		_ = window.New(cfg).Run(t.Context(), newStream(out.cursors[0]))
		if want := time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC); !from.Equal(want) {
			t.Errorf("the first window begins at %v; want %v", from, want)
		}
	})
}

// A backfill reads its range once, however young, and ends.
func TestAnEndIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var spans []window.Span
		cfg := window.Config{
			Fetch: func(_ context.Context, s window.Span, yield func(window.Row) error) (window.Load, error) {
				spans = append(spans, s)
				return window.Load{Share: 1}, yield(rowOf(fmt.Sprint(len(spans)), s.From))
			},
			Ages: []time.Duration{0}, MaxSize: time.Hour, FirstSize: time.Hour, Now: time.Now,
			Start: begin.Add(-3 * time.Hour), End: begin.Add(-30 * time.Minute),
		}
		out := newStream("")
		if err := window.New(cfg).Run(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		if len(spans) != 3 || !spans[0].From.Equal(cfg.Start) || !spans[2].To.Equal(cfg.End) || !spans[1].From.Equal(spans[0].To) {
			t.Errorf("windows %v; want three from %v to %v", spans, cfg.Start, cfg.End)
		}
		if got := string(out.cursors[len(out.cursors)-1]); got != "v1 read=1999-12-31T23:30:00Z" {
			t.Errorf("the last cursor is %q", got)
		}
		// An end that is not reached yet: what there is.
		cfg.Start, cfg.End, spans = begin.Add(-time.Minute), begin.Add(time.Hour), nil
		if err := window.New(cfg).Run(t.Context(), newStream("")); err != nil || len(spans) != 1 || !spans[0].To.Equal(begin) {
			t.Errorf("windows %v, %v; want one to %v", spans, err, begin)
		}
	})
}

// What the feed does not hold any more is reported, with its range.
func TestAGapIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gaps [][2]time.Time
		var first time.Time
		cfg := window.Config{
			Fetch: func(_ context.Context, s window.Span, _ func(window.Row) error) (window.Load, error) {
				if first.IsZero() {
					first = s.From
				}
				return window.Load{}, nil
			},
			Ages: []time.Duration{0, time.Minute}, MaxSize: time.Hour, Now: time.Now, Once: true,
			Oldest: func(now time.Time) time.Time { return now.Add(-time.Hour) },
			Gap:    func(from, to time.Time) { gaps = append(gaps, [2]time.Time{from, to}) },
		}
		if err := window.New(cfg).Run(t.Context(), newStream("v1 read=1999-12-31T20:00:00Z,1999-12-31T19:00:00Z")); err != nil {
			t.Fatal(err)
		}
		want := [2]time.Time{time.Date(1999, 12, 31, 20, 0, 0, 0, time.UTC), time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC)}
		if len(gaps) != 1 || gaps[0] != want || !first.Equal(want[1]) {
			t.Errorf("gaps %v, first window from %v; want one gap %v", gaps, first, want)
		}
	})
}

// An instant of equal rows cannot be split for ever: that is said, not passed over.
func TestAnInstantThatCannotBeReadIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		cfg := window.Config{
			Fetch: func(context.Context, window.Span, func(window.Row) error) (window.Load, error) {
				requests++
				return window.Load{}, window.ErrTooMuch
			},
			Ages: []time.Duration{time.Minute}, MaxSize: time.Hour, Now: time.Now, Start: time.Now().Add(-time.Hour),
		}
		out := newStream("")
		if err := window.New(cfg).Run(t.Context(), out); !errors.Is(err, window.ErrTooMuch) {
			t.Fatalf("Run returned %v; want ErrTooMuch", err)
		}
		if len(out.cursors) != 1 || requests > 40 {
			t.Errorf("%d cursors, %d requests; want the cursor to stay", len(out.cursors), requests)
		}
	})
}

// Told to read once, the reader finds what has become visible since the last
// time, though it is too young for the next look.
func TestOnceLooksAgainAtWhatIsNotSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		rows := []window.Row{rowOf("early", begin.Add(time.Minute))}
		cfg := window.Config{
			Fetch: func(_ context.Context, s window.Span, yield func(window.Row) error) (window.Load, error) {
				for _, r := range rows {
					if at := r.Payload.Enqueued; !at.Before(s.From) && at.Before(s.To) {
						if err := yield(r); err != nil {
							return window.Load{}, err
						}
					}
				}
				return window.Load{}, nil
			},
			Ages: []time.Duration{0, time.Hour}, MaxSize: time.Hour, Now: time.Now, Once: true, Start: begin,
		}
		out := newStream("")
		for range 2 {
			time.Sleep(5 * time.Minute)
			if err := window.New(cfg).Run(t.Context(), out); err != nil {
				t.Fatal(err)
			}
			out.resume = out.cursors[len(out.cursors)-1]
			rows = append(rows, rowOf("late", begin.Add(2*time.Minute)))
		}
		if out.emitted["early"] != 1 || out.emitted["late"] != 1 {
			t.Errorf("emitted %v; want both rows, each once", out.emitted)
		}
	})
}

func TestAnUnreadableCursorIsNotGuessedAround(t *testing.T) {
	cfg := window.Config{Ages: []time.Duration{0}, MaxSize: time.Hour, Now: time.Now}
	if err := window.New(cfg).Run(t.Context(), newStream("v0 12")); err == nil {
		t.Error("Run returned nil; want an error")
	}
}
