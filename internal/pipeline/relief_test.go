package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// lake collects for a minute, in batches larger than the budget.
func lake(d *config.SinkDelivery) {
	d.Batch = config.Batch{Events: 100_000, Bytes: 8 << 20, Wait: config.Duration(time.Minute)}
}

func alone(d *config.SinkDelivery) { d.Concurrency = 1 }

// TestSourcesNeedNotWaitForABatchToBeDue reads records of 10 kB, of which the
// budget holds about sixty.
func TestSourcesNeedNotWaitForABatchToBeDue(t *testing.T) {
	const total = 1300
	where := func(condition string, to ...string) config.Route {
		return config.Route{From: []string{"hub"}, Schema: "raw", Where: condition, To: to}
	}
	for name, tc := range map[string]struct {
		rare     int // one record in so many is rare
		routes   []config.Route
		delivery map[string]func(*config.SinkDelivery)
		fail     func(try int) bool // of the sink out
		slow     time.Duration      // is the sink out
		after    time.Duration
		least    map[string]int // what sinks must have by then
		smallest int            // batch of the lake, in events
		early    bool           // some of the lake go out early
	}{
		"a lake alone": {
			rare: 10, routes: []config.Route{route("raw", "lake")}, delivery: map[string]func(*config.SinkDelivery){"lake": lake},
			after: time.Second, least: map[string]int{"lake": total - 100}, smallest: 50, early: true,
		},
		"few events of all are for the lake": {
			rare: 10, routes: []config.Route{where("record.category == 'Rare'", "lake"), route("raw", "out")},
			delivery: map[string]func(*config.SinkDelivery){"lake": lake},
			after:    time.Second, least: map[string]int{"lake": 50, "out": total - 100}, smallest: 40, early: true,
		},
		"two lakes on one route": {
			rare: 10, routes: []config.Route{route("raw", "lake", "out")}, delivery: map[string]func(*config.SinkDelivery){"lake": lake, "out": lake},
			after: time.Second, least: map[string]int{"lake": total - 100, "out": total - 100}, smallest: 50, early: true,
		},
		"a best-effort sink beside that never answers": {
			rare: 10, routes: []config.Route{route("raw", "lake", "out")},
			delivery: map[string]func(*config.SinkDelivery){"lake": lake, "out": func(d *config.SinkDelivery) { d.Delivery = "best_effort" }},
			slow:     time.Hour, after: time.Second, least: map[string]int{"lake": total - 100}, smallest: 50, early: true,
		},
		// Its answers make room all the time: batches of the lake stay whole.
		"a slow sink beside": {
			rare: 20, routes: []config.Route{where("record.category == 'Rare'", "lake"), where("record.category != 'Rare'", "out")},
			delivery: map[string]func(*config.SinkDelivery){"lake": lake, "out": alone}, slow: 1001 * time.Millisecond,
			after: 2*time.Minute + time.Second, least: map[string]int{"lake": 50, "out": 1100}, smallest: 25,
		},
		"a sink beside that fails now and then": {
			rare: 10, routes: []config.Route{route("raw", "out"), where("record.category == 'Rare'", "lake")},
			delivery: map[string]func(*config.SinkDelivery){"lake": lake, "out": alone}, slow: 1001 * time.Millisecond,
			fail:  func(try int) bool { return try%3 != 0 },
			after: 2*time.Minute + time.Second, least: map[string]int{"lake": 30, "out": 350}, smallest: 15,
		},
		"a sink beside that is down for long": {
			rare: 150, routes: []config.Route{where("record.category == 'Rare'", "out"), where("record.category != 'Rare'", "lake")},
			delivery: map[string]func(*config.SinkDelivery){"lake": lake, "out": alone},
			fail:     func(try int) bool { return try < 400 },
			after:    2 * time.Minute, least: map[string]int{"lake": total - total/150 - 100, "out": total / 150}, smallest: 15, early: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := make([]string, total)
				for i := range list {
					category := "Common"
					if i%tc.rare == 0 {
						category = "Rare"
					}
					list[i] = fmt.Sprintf(`{"n":%d,"category":"%s","x":"%s"}`, i, category, strings.Repeat("x", 10_000))
				}
				w := newWorld(t, "lake")
				var batches []int // guarded by the lake's lock
				w.sinks["lake"].fail = func(events []event.Event) error { batches = append(batches, len(events)); return nil }
				if tc.delivery["out"] != nil || len(tc.routes) > 1 {
					tries := 0
					w.sinks["out"] = &store{slow: tc.slow, fail: func([]event.Event) error {
						if tries++; tc.fail != nil && tc.fail(tries) {
							return errors.New("down")
						}
						return nil
					}}
				}
				p := w.pipeline(t, &hub{partitions: [][]string{list}}, &memory{}, tc.routes, func(name string, d *config.SinkDelivery) {
					if change := tc.delivery[name]; change != nil {
						change(d)
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- p.Run(ctx) }()
				time.Sleep(tc.after)
				synctest.Wait()
				for name, least := range tc.least {
					if got := len(w.sinks[name].data()); got < least {
						t.Errorf("%s has %d events after %v, want %d", name, got, tc.after, least)
					}
				}
				if len(batches) == 0 || slices.Min(batches) < tc.smallest {
					t.Errorf("batches of the lake: %v, want none under %d", batches, tc.smallest)
				}
				if early := telemetry.Sum(w.metrics.SinkEarly.WithLabelValues("lake")); (early > 0) != tc.early {
					t.Errorf("%v batches went out early", early)
				}
				cancel()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
