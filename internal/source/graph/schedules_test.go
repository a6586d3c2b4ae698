package graph

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	sim "github.com/lazuli-logs/lazuli/internal/azuresim/graph"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

var schedules = flag.Int("schedules", 60, "how many schedules TestSchedules plays")

// TestSchedules lets a tenant live for hours in random ways: objects that come
// late, at one instant, twice over pages; that are updated while they are read;
// requests that fail in every way; clean stops, crashes and pauses. Whatever
// happens, every object is emitted as it was last; no version of it twice, unless
// there was a crash; and not many more requests are sent than it takes.
func TestSchedules(t *testing.T) {
	n := *schedules
	if testing.Short() {
		n = min(n, 20)
	}
	var total tally
	for seed := range uint64(n) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one := playSchedule(t, seed)
				total.objects += one.objects
				total.requests += one.requests
				total.minimum += one.minimum
				total.repeats += one.repeats
				total.crashes += one.crashes
			})
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d schedules: %d versions of objects, lost 0, %d emitted again after %d crashes; %d requests, %.1f times the least",
		n, total.objects, total.repeats, total.crashes, total.requests, float64(total.requests)/float64(total.minimum))
}

// tally counts what schedules did.
type tally struct{ objects, requests, minimum, repeats, crashes int }

// schedule is one life of a tenant and its collector.
type schedule struct {
	*bench
	rng     *rand.Rand
	feed    *feed
	overlap time.Duration
	// made are the versions there were, by id and version; last those at the end.
	made map[string]string
	last map[string]string // by id
	n    int
}

func playSchedule(t *testing.T, seed uint64) (result tally) {
	rng := rand.New(rand.NewPCG(seed, 20))
	names := []string{"directory_audits", "sign_ins", "provisioning", "risk_detections", "alerts"}
	s := &schedule{
		bench: newBench(t, sim.Options{Unlimited: rng.IntN(3) > 0}), rng: rng, feed: feedNamed(names[rng.IntN(len(names))]),
		made: map[string]string{}, last: map[string]string{},
	}
	s.overlap = 20*time.Minute + s.upTo(100*time.Minute)
	poll, top := time.Minute+s.upTo(9*time.Minute), 1+rng.IntN(8)
	for range rng.IntN(30) {
		s.make(s.upTo(3*time.Hour), 0)
	}
	begin := time.Now()
	horizon := begin.Add(time.Hour + s.upTo(2*time.Hour))
	living := make(chan struct{})
	go func() {
		defer close(living)
		s.live(horizon)
	}()

	// The collector has luck of its own: two goroutines must not share it.
	luck := rand.New(rand.NewPCG(seed, 21))
	store := sourcetest.NewStore()
	emitted := map[string]int{}
	running := time.Duration(0)
	for life := 0; ; life++ {
		final := !time.Now().Before(horizon)
		source := s.source(func(c *Config) {
			c.Poll, c.Overlap, c.LookBack = config.Duration(poll), config.Duration(s.overlap), config.Duration(4*time.Hour)
		}, s.feed.name)
		source.feeds[0].top, source.feeds[0].late = top, 0
		rec := sourcetest.NewRecorder(store, "audits")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- source.Run(ctx, rec) }()
		length := time.Minute + upTo(luck, 90*time.Minute)
		if final {
			<-living
			s.graph.Faults.Clear()
			s.refuseTokens(nil)
			// Whatever arrives in time is swept at the age of the overlap at the latest.
			length = s.overlap + 45*time.Minute
		}
		time.Sleep(length)
		running += length
		crash := !final && luck.IntN(2) == 0
		if crash {
			if luck.IntN(2) == 0 {
				rec.Hold()
				time.Sleep(upTo(luck, 10*time.Minute))
			}
			rec.Crash()
			result.crashes++
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		for _, body := range rec.Bodies(s.feed.name) {
			emitted[body]++
		}
		if final {
			break
		}
		time.Sleep(upTo(luck, 20*time.Minute))
	}

	for id, body := range s.last {
		if emitted[body] == 0 {
			t.Errorf("lost: %s of %s", id, s.feed.name)
		}
	}
	pages := 0
	for body, times := range emitted {
		if s.made[body] == "" {
			t.Errorf("never made: %s", body)
		}
		if times > 1 && result.crashes == 0 {
			t.Errorf("emitted %d times without a crash: %s", times, body)
		}
		result.repeats += times - 1
		pages++
	}
	result.objects = len(s.last)
	result.requests = int(s.wire.sent.Load())
	// The least: one request for each poll, and one for each full page.
	result.minimum = int(running/poll) + pages/top + 1
	if result.requests > 12*result.minimum+100 {
		t.Errorf("%d requests, the least are %d", result.requests, result.minimum)
	}
	return result
}

func (s *schedule) upTo(d time.Duration) time.Duration { return upTo(s.rng, d) }

func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

// make adds an object whose time lies a while back, and which arrives later.
func (s *schedule) make(age, later time.Duration) {
	s.n++
	id := fmt.Sprintf("object-%05d", s.n)
	at := time.Now().Add(-age)
	if s.rng.IntN(3) == 0 {
		at = at.Truncate(time.Minute) // ties
	}
	s.putVersion(id, at, time.Now().Add(later))
}

func (s *schedule) putVersion(id string, at, visible time.Time) {
	text := at.UTC().Format(graphForm)
	members := []string{s.feed.time, text}
	for _, other := range []string{"createdDateTime", "detectedDateTime", "activityDateTime"} {
		if other != s.feed.time {
			members = append(members, other, text)
		}
	}
	raw := object(id, members...)
	s.made[string(raw)], s.last[id] = id, string(raw)
	if err := s.graph.PutAt(s.feed.path, raw, visible); err != nil {
		s.t.Error(err)
	}
}

// live lets the tenant live until the horizon.
func (s *schedule) live(horizon time.Time) {
	for time.Now().Before(horizon) {
		time.Sleep(s.upTo(8 * time.Minute))
		for range 1 + s.rng.IntN(6) {
			later := time.Duration(0)
			switch s.rng.IntN(10) {
			case 0, 1:
				later = s.upTo(10 * time.Minute)
			case 2:
				later = s.upTo(s.overlap - 5*time.Minute)
			}
			s.make(s.upTo(2*time.Minute), later)
		}
		if s.feed.updated && s.n > 0 {
			for range s.rng.IntN(4) {
				s.putVersion(fmt.Sprintf("object-%05d", 1+s.rng.IntN(s.n)), time.Now(), time.Now())
			}
		}
		s.disturb()
	}
}

// disturb lets something go wrong, mostly nothing.
func (s *schedule) disturb() {
	faults, n := &s.graph.Faults, 1+s.rng.IntN(6)
	switch s.rng.IntN(16) {
	case 0:
		faults.Fail(n, 429, s.upTo(5*time.Minute), s.rng.IntN(2) == 0)
	case 1:
		faults.Fail(n, 429, 0, false)
	case 2:
		faults.Fail(2*n, 500+s.rng.IntN(5), 0, s.rng.IntN(2) == 0)
	case 3:
		faults.Cut(n)
	case 4:
		faults.Loop(n)
	case 5:
		faults.Foreign(n, "evil.example")
	case 6:
		faults.ExpireTokens(n)
	case 7:
		faults.Repeat(s.rng.IntN(3))
	case 8:
		faults.LinksLast(s.rng.IntN(2) == 0)
	case 9:
		s.refuseTokens(errExpired)
		time.AfterFunc(time.Minute, func() { s.refuseTokens(nil) })
	}
}
