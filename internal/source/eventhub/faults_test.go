package eventhub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

func save(t *testing.T, store checkpoint.Store, partition string, c checkpoint.Cursor) {
	t.Helper()
	if err := store.Save(t.Context(), checkpoint.Key{Source: sourcetest.Name, Partition: partition}, c); err != nil {
		t.Fatal(err)
	}
}

func wantExactly(t *testing.T, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("payloads (-want +got):\n%s", diff)
	}
}

// waitStatus waits for a state whose reason holds the text, and returns the report.
func waitStatus(t *testing.T, p *probe, state status.State, text string) status.Report {
	t.Helper()
	until(t, fmt.Sprintf("status %s with %q", state, text), func() bool {
		r := p.status.Report()
		return r.State == state && strings.Contains(r.Reason, text)
	})
	return p.status.Report()
}

// Whatever breaks under load, every message arrives exactly once and in order.
func TestFaultsUnderLoad(t *testing.T) {
	for _, tc := range []struct {
		name    string
		disturb func(s *sim)
	}{
		{name: "connections cut", disturb: func(s *sim) { s.broker.Faults().CutConnections(-1) }},
		{name: "server busy", disturb: func(s *sim) {
			s.broker.Faults().RefuseAttach("com.microsoft:server-busy", "The request was terminated because the entity is being throttled.", 3)
			s.broker.Faults().DetachReceivers(simHub, eventhubs.AllPartitions, "com.microsoft:server-busy", "busy")
		}},
		{name: "detached by force", disturb: func(s *sim) {
			s.broker.Faults().DetachReceivers(simHub, eventhubs.AllPartitions, "amqp:link:detach-forced", "idle for 10 minutes")
		}},
		{name: "internal error", disturb: func(s *sim) {
			s.broker.Faults().DetachReceivers(simHub, eventhubs.AllPartitions, "amqp:internal-error", "try again")
		}},
		{name: "token service down", disturb: func(s *sim) {
			s.broker.Faults().AnswerCBS(500, "internal", 3)
			s.broker.Faults().CutConnections(-1)
		}},
		{name: "management down", disturb: func(s *sim) {
			s.broker.Faults().AnswerManagement(503, "busy", 5)
			s.broker.Faults().CutConnections(-1)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, p, store := newSim(t, 2, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
			rec := sourcetest.NewRecorder(store, sourcetest.Name)
			sourcetest.Start(t, open(t, s.config(), Deps{Checkpoints: store}, p), rec)
			want := map[string][]string{}
			for round := 1; round <= 8; round++ {
				for _, id := range []string{"0", "1"} {
					want[id] = append(want[id], s.append(t, id, 500)...)
				}
				rec.Wait(t, "part of the load", func() bool { return rec.Count("0") > 500*(round-1) })
				tc.disturb(s)
			}
			for _, id := range []string{"0", "1"} {
				rec.Wait(t, "all", func() bool { return rec.Count(id) >= len(want[id]) })
				wantExactly(t, rec.Bodies(id), want[id])
			}
			if p.gaps != nil {
				t.Errorf("gaps %v; want none", p.gaps)
			}
			waitStatus(t, p, status.OK, "")
		})
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(s *sim, c *Config)
		reason string
		remedy string
		cure   func(t *testing.T, s *sim) // nil: none without a restart
	}{
		{
			name: "wrong key",
			change: func(s *sim, c *Config) {
				c.ConnectionString = config.Secret(strings.Replace(c.ConnectionString.Reveal(), simKey, "d3Jvbmc=", 1))
			},
			reason: "not allowed to read", remedy: "Listen",
		},
		{
			name:   "hub does not exist",
			change: func(_ *sim, c *Config) { c.Hub = "later" },
			reason: `event hub "later"`, remedy: "create the event hub",
			cure: func(t *testing.T, s *sim) {
				hub, err := s.broker.CreateHub("later", 1, eventhubs.HubOptions{})
				if err != nil {
					t.Fatal(err)
				}
				s.hub = hub
			},
		},
		{
			name:   "consumer group does not exist",
			change: func(_ *sim, c *Config) { c.ConsumerGroup = "nobody" },
			reason: `consumer group "nobody" does not exist`, remedy: "consumer-group create",
		},
		{
			name: "too many readers",
			change: func(s *sim, _ *Config) {
				s.broker.Faults().RefuseAttach("amqp:resource-limit-exceeded", "Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5.", 1000)
			},
			reason: "5 per partition", remedy: "consumer group of its own",
			cure: func(_ *testing.T, s *sim) { s.broker.Faults().Clear() },
		},
		{
			name: "no one listens",
			change: func(_ *sim, c *Config) {
				c.ConnectionString = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=listen;SharedAccessKey=" + simKey + ";UseDevelopmentEmulator=true"
			},
			reason: "no connection", remedy: "5671",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
			cfg := s.config()
			tc.change(s, &cfg)
			rec := sourcetest.NewRecorder(store, sourcetest.Name)
			running := sourcetest.Start(t, open(t, cfg, Deps{Checkpoints: store}, p), rec)
			state := status.Failed
			if strings.Contains(tc.reason, "no connection") {
				state = status.Retrying
			}
			if r := waitStatus(t, p, state, tc.reason); !strings.Contains(r.Remedy, tc.remedy) {
				t.Errorf("remedy is %q; want it to hold %q", r.Remedy, tc.remedy)
			}
			if tc.cure != nil {
				tc.cure(t, s)
				want := s.append(t, "0", 3)
				rec.Wait(t, "messages after the cure", func() bool { return rec.Count("0") >= 3 })
				wantExactly(t, rec.Bodies("0"), want)
				waitStatus(t, p, status.OK, "")
			}
			if err := running.Stop(); err != nil {
				t.Errorf("Run returned %v; want nil", err)
			}
			if got := p.status.Report().State; got != status.Stopped {
				t.Errorf("status after the end is %s; want stopped", got)
			}
		})
	}
}

func TestOnceReturnsWhatAPersonHasToCure(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{name: "hub", change: func(c *Config) { c.Hub = "nowhere" }, want: "nowhere"},
		{name: "consumer group", change: func(c *Config) { c.ConsumerGroup = "nobody" }, want: "nobody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, store := newSim(t, 2, eventhubs.HubOptions{}), sourcetest.NewStore()
			s.append(t, "1", 1)
			cfg := s.config()
			tc.change(&cfg)
			src := open(t, cfg, Deps{Checkpoints: store, Once: true}, newProbe())
			err := sourcetest.Start(t, src, sourcetest.NewRecorder(store, sourcetest.Name)).Result()
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "create") {
				t.Errorf("Run returned %v; want an error that names %q and what to do", err, tc.want)
			}
		})
	}
}

func TestStolenPartitionIsReportedAndTakenBack(t *testing.T) {
	s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	want := s.append(t, "0", 5)
	src := open(t, s.config(), Deps{Checkpoints: store}, p)
	src.timing.stolen = 300 * time.Millisecond
	sourcetest.Start(t, src, rec)
	rec.Wait(t, "messages", func() bool { return rec.Count("0") >= 5 })
	s.steal(t, "0")
	r := waitStatus(t, p, status.Retrying, `"thief"`)
	if !strings.Contains(r.Remedy, "consumer group of its own") {
		t.Errorf("remedy is %q", r.Remedy)
	}
	want = append(want, s.append(t, "0", 5)...)
	rec.Wait(t, "the partition to be taken back", func() bool { return rec.Count("0") >= 10 })
	wantExactly(t, rec.Bodies("0"), want)
	if got := rec.Partition("0").Opened; got != 2 {
		t.Errorf("the stream was opened %d times; want 2", got)
	}
}

// A position that the hub does not hold any longer is told with what is missing.
func TestRetentionGap(t *testing.T) {
	read := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		retain int // of 100 messages
		at     position
		gaps   []string
		want   int
	}{
		{name: "before the first kept", retain: 30, at: position{sequence: 9, offset: "9", enqueued: read}, gaps: []string{"0 retention 60"}, want: 30},
		{name: "just before it", retain: 30, at: position{sequence: 69, offset: "69", enqueued: read}, want: 30},
		{name: "within", retain: 30, at: position{sequence: 89, offset: "89", enqueued: read}, want: 10},
		{name: "at the end", retain: 30, at: position{sequence: 99, offset: "99", enqueued: read}, want: 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, p, store := newSim(t, 1, eventhubs.HubOptions{RetainEvents: tc.retain}), newProbe(), sourcetest.NewStore()
			all := s.append(t, "0", 100)
			save(t, store, "0", tc.at.cursor())
			rec := sourcetest.NewRecorder(store, sourcetest.Name)
			src := open(t, s.config(), Deps{Checkpoints: store}, p)
			running := sourcetest.Start(t, src, rec)
			rec.Wait(t, "what is left", func() bool { return rec.Count("0") >= tc.want })
			late := s.append(t, "0", 1)
			rec.Wait(t, "a later message", func() bool { return rec.Count("0") > tc.want })
			want := append(slices.Clone(all[100-tc.want:]), late...)
			wantExactly(t, rec.Bodies("0"), want)
			if diff := cmp.Diff(tc.gaps, p.gaps); diff != "" {
				t.Errorf("gaps (-want +got):\n%s", diff)
			}
			if tc.gaps != nil {
				r := waitStatus(t, p, status.OK, "messages 10 to 69 (60, enqueued between 2026-01-01T00:00:00Z and ")
				if !strings.Contains(r.Remedy, "retention") || !strings.Contains(p.logs.String(), "level=ERROR") {
					t.Errorf("remedy %q; want the retention named, and the log at error level", r.Remedy)
				}
			}
			if err := running.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHubReCreated(t *testing.T) {
	recreate := func(t *testing.T, s *sim) {
		t.Helper()
		if err := s.broker.DeleteHub(simHub); err != nil {
			t.Fatal(err)
		}
		hub, err := s.broker.CreateHub(simHub, 1, eventhubs.HubOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.hub = hub
	}
	t.Run("while stopped", func(t *testing.T) {
		s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
		save(t, store, "0", position{sequence: 4711, offset: "538920"}.cursor())
		want := s.append(t, "0", 10)
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		sourcetest.Start(t, open(t, s.config(), Deps{Checkpoints: store}, p), rec)
		rec.Wait(t, "all messages", func() bool { return rec.Count("0") >= 10 })
		wantExactly(t, rec.Bodies("0"), want)
		if diff := cmp.Diff([]string{"0 reset 0"}, p.gaps); diff != "" {
			t.Errorf("gaps (-want +got):\n%s", diff)
		}
		waitStatus(t, p, status.OK, "re-created")
	})
	t.Run("while reading", func(t *testing.T) {
		s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
		want := s.append(t, "0", 50)
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		sourcetest.Start(t, open(t, s.config(), Deps{Checkpoints: store}, p), rec)
		rec.Wait(t, "all messages", func() bool { return rec.Count("0") >= 50 })
		recreate(t, s)
		want = append(want, s.append(t, "0", 10)...)
		rec.Wait(t, "the new hub's messages", func() bool { return rec.Count("0") >= 60 })
		wantExactly(t, rec.Bodies("0"), want)
		waitStatus(t, p, status.OK, "re-created")
	})
}

func TestWatchdogReplacesAStalledLink(t *testing.T) {
	s, p, store := newSim(t, 2, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	want := s.append(t, "0", 5)
	src := open(t, s.config(), Deps{Checkpoints: store}, p)
	src.cfg.Watchdog = config.Duration(100 * time.Millisecond)
	sourcetest.Start(t, src, rec)
	rec.Wait(t, "messages", func() bool { return rec.Count("0") >= 5 })

	if err := s.broker.Faults().Stall(simHub, 0, true); err != nil {
		t.Fatal(err)
	}
	want = append(want, s.append(t, "0", 5)...)
	other := s.append(t, "1", 5)
	rec.Wait(t, "the partition that is not stalled", func() bool { return rec.Count("1") >= 5 })
	p.wait(t, "a new link, then a new connection", func() bool { return len(p.rebuilt) >= 2 && p.lag["0"] == 5 })
	if err := s.broker.Faults().Stall(simHub, 0, false); err != nil {
		t.Fatal(err)
	}
	rec.Wait(t, "the stalled messages", func() bool { return rec.Count("0") >= 10 })
	wantExactly(t, rec.Bodies("0"), want)
	wantExactly(t, rec.Bodies("1"), other)
	p.mu.Lock()
	defer p.mu.Unlock()
	if diff := cmp.Diff([]string{"link", "connection"}, p.rebuilt[:2]); diff != "" {
		t.Errorf("rebuilt (-want +got):\n%s", diff)
	}
}

// Back-pressure is not a stall, and the lag says how much waits.
func TestWatchdogLeavesBackPressureAlone(t *testing.T) {
	s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	rec.Block()
	want := s.append(t, "0", 20)
	src := open(t, s.config(), Deps{Checkpoints: store}, p)
	src.cfg.Watchdog = config.Duration(20 * time.Millisecond)
	sourcetest.Start(t, src, rec)
	rec.Wait(t, "a blocked Emit", func() bool { return rec.Partition("0").Waiting })
	p.wait(t, "the lag", func() bool { return p.lag["0"] == 20 })
	before := 0
	p.seen(func() bool { before = p.looks; return true })
	p.wait(t, "some more looks", func() bool { return p.looks > before+4 })
	if p.seen(func() bool { return len(p.rebuilt) > 0 }) {
		t.Errorf("the watchdog replaced %v of a partition that is held back by the pipeline", p.rebuilt)
	}
	rec.Unblock()
	rec.Wait(t, "messages", func() bool { return rec.Count("0") >= 20 })
	wantExactly(t, rec.Bodies("0"), want)
	p.wait(t, "no lag", func() bool { return p.lag["0"] == 0 })
}

func TestStartPositions(t *testing.T) {
	t.Run("latest is pinned before the first message", func(t *testing.T) {
		s, store := newSim(t, 2, eventhubs.HubOptions{}), sourcetest.NewStore()
		cfg := s.config()
		cfg.Start = "latest"
		s.append(t, "0", 10) // before the first start: not wanted
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		running := sourcetest.Start(t, open(t, cfg, Deps{Checkpoints: store}, newProbe()), rec)
		for _, id := range []string{"0", "1"} {
			rec.Wait(t, "the pinned cursor", func() bool { return len(rec.Partition(id).Cursors) > 0 })
		}
		rec.Crash()
		if err := running.Stop(); err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{"0": s.append(t, "0", 5), "1": s.append(t, "1", 5)} // while it is down
		rec = sourcetest.NewRecorder(store, sourcetest.Name)
		sourcetest.Start(t, open(t, cfg, Deps{Checkpoints: store}, newProbe()), rec)
		for id := range want {
			rec.Wait(t, "what came while it was down", func() bool { return rec.Count(id) >= 5 })
			wantExactly(t, rec.Bodies(id), want[id])
		}
	})
	t.Run("latest never applies to one partition among others with checkpoints", func(t *testing.T) {
		s, store := newSim(t, 2, eventhubs.HubOptions{}), sourcetest.NewStore()
		cfg := s.config()
		cfg.Start = "latest"
		save(t, store, "0", position{sequence: -1, offset: "-1"}.cursor())
		want := s.append(t, "1", 5) // a partition that was added while Lazuli was stopped
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		sourcetest.Start(t, open(t, cfg, Deps{Checkpoints: store}, newProbe()), rec)
		rec.Wait(t, "the new partition's messages", func() bool { return rec.Count("1") >= 5 })
		wantExactly(t, rec.Bodies("1"), want)
	})
	t.Run("time", func(t *testing.T) {
		s, store := newSim(t, 1, eventhubs.HubOptions{}), sourcetest.NewStore()
		s.append(t, "0", 5)
		info, err := s.hub.Partition(0)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.config()
		cfg.Start = info.LastEnqueued.Add(2 * time.Millisecond).UTC().Format(time.RFC3339Nano)
		until(t, "that time to pass", func() bool { return time.Since(info.LastEnqueued) > 5*time.Millisecond })
		want := s.append(t, "0", 5)
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		src := open(t, cfg, Deps{Checkpoints: store, Once: true}, newProbe())
		if err := sourcetest.Start(t, src, rec).Result(); err != nil {
			t.Fatal(err)
		}
		wantExactly(t, rec.Bodies("0"), want)
	})
	t.Run("time after the last message, once", func(t *testing.T) {
		s, store := newSim(t, 1, eventhubs.HubOptions{}), sourcetest.NewStore()
		s.append(t, "0", 5)
		cfg := s.config()
		cfg.Start = time.Now().Add(time.Hour).Format(time.RFC3339)
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		src := open(t, cfg, Deps{Checkpoints: store, Once: true}, newProbe())
		if err := sourcetest.Start(t, src, rec).Result(); err != nil {
			t.Fatal(err)
		}
		wantExactly(t, rec.Bodies("0"), []string{})
	})
}

func TestUnreadableCursorIsNotGuessedAround(t *testing.T) {
	s, p, store := newSim(t, 1, eventhubs.HubOptions{}), newProbe(), sourcetest.NewStore()
	save(t, store, "0", "v9 something new")
	s.append(t, "0", 5)
	rec := sourcetest.NewRecorder(store, sourcetest.Name)
	running := sourcetest.Start(t, open(t, s.config(), Deps{Checkpoints: store}, p), rec)
	waitStatus(t, p, status.Failed, "v9 something new")
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := rec.Count("0"); n != 0 {
		t.Errorf("%d messages were emitted from a position nobody knows", n)
	}
	if c, _ := store.Load(context.Background(), checkpoint.Key{Source: sourcetest.Name, Partition: "0"}); c != "v9 something new" {
		t.Errorf("the cursor was overwritten with %q", c)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	s, store := newSim(t, 1, eventhubs.HubOptions{}), sourcetest.NewStore()
	small := s.append(t, "0", 100)
	big := make([]byte, 300_000)
	for i := range big {
		big[i] = 'x'
	}
	for range 8 {
		if _, err := s.hub.Append(0, big); err != nil {
			t.Fatal(err)
		}
	}
	cfg := s.config()
	cfg.Batch = Batch{Events: 10, Bytes: 1_000_000}
	bounds := &boundsRecorder{Recorder: sourcetest.NewRecorder(store, sourcetest.Name)}
	src := open(t, cfg, Deps{Checkpoints: store, Once: true}, newProbe())
	if err := sourcetest.Start(t, src, bounds).Result(); err != nil {
		t.Fatal(err)
	}
	if got := bounds.Count("0"); got != len(small)+8 {
		t.Errorf("%d messages; want %d", got, len(small)+8)
	}
	if bounds.events > 10 || bounds.bytes > 1_000_000 {
		t.Errorf("largest batch: %d messages, %d bytes; want at most 10 and 1000000", bounds.events, bounds.bytes)
	}
}
