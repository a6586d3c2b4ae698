package eventhub

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// kafkaSim is a simulated namespace with a Kafka endpoint and one hub.
type kafkaSim struct {
	*azuresim.Sim
	mu   sync.Mutex
	sent int
}

func newKafkaSim(t testing.TB, partitions int, retain int64) *kafkaSim {
	t.Helper()
	s, err := azuresim.Start(t.Context(), azuresim.Options{
		Kafka: true, Partitions: partitions, Hubs: []string{simHub}, RetainBytes: retain, Prepared: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
	})
	return &kafkaSim{Sim: s}
}

func (s *kafkaSim) config() Config {
	c := DefaultConfig()
	c.Protocol = "kafka"
	c.ConnectionString = config.Secret(s.Endpoints.NamespaceConnectionString)
	c.Endpoint = s.Endpoints.Kafka
	c.CAFile = config.Path(s.Endpoints.CAFile)
	c.Hub, c.ConsumerGroup = simHub, "lazuli"
	return c
}

func (s *kafkaSim) hub(t testing.TB) *eventhubs.Hub {
	t.Helper()
	hub, found := s.Broker.Hub(simHub)
	if !found {
		t.Fatal("no hub")
	}
	return hub
}

// append stores n bodies, each different from all others.
func (s *kafkaSim) append(t testing.TB, partition string, n int) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"records":[{"partition":%q,"number":%d}]}`, partition, s.sent)
		s.sent++
		var number int
		if _, err := fmt.Sscan(partition, &number); err != nil {
			t.Fatal(err)
		}
		if _, err := s.hub(t).Append(number, []byte(bodies[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// openKafka returns a source with quick timing.
func openKafka(t testing.TB, cfg Config, deps Deps, offsets *GroupOffsets, p *probe) *KafkaSource {
	t.Helper()
	deps.Name = sourcetest.Name
	deps.Logger = slog.New(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	deps.Status, deps.Metrics = p.status, p
	if deps.Grace == 0 {
		deps.Grace = time.Second
	}
	s, err := NewKafka(cfg, deps, offsets)
	if err != nil {
		t.Fatal(err)
	}
	s.timing = quick()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the source:\n%s", p.logs)
		}
		_, key, _ := strings.Cut(cfg.ConnectionString.Reveal(), "SharedAccessKey=")
		if key != "" && (strings.Contains(p.logs.String(), key) || strings.Contains(p.status.Report().Reason, key)) {
			t.Error("the key was logged")
		}
	})
	return s
}

func TestKafkaContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
		s := newKafkaSim(t, 3, -1)
		lives := 0
		return sourcetest.Harness{
			Partitions: []string{"0", "1", "2"},
			Append:     func(t *testing.T, partition string, n int) []string { return s.append(t, partition, n) },
			New: func(t *testing.T, store checkpoint.Store, once bool) source.Source {
				// The suite has positions of its own: a group that a crashed life has
				// not left would keep the partitions for the length of a session.
				cfg := s.config()
				lives++
				cfg.ConsumerGroup = fmt.Sprint("life", lives)
				return openKafka(t, cfg, Deps{Checkpoints: store, Once: once}, nil, newProbe())
			},
		}
	})
}

func TestKafkaCommitsWhatIsConfirmedAndNoMore(t *testing.T) {
	s := newKafkaSim(t, 1, -1)
	s.append(t, "0", 20)
	offsets, p := NewGroupOffsets(nil), newProbe()
	rec := sourcetest.NewRecorder(offsets, sourcetest.Name)
	running := sourcetest.Start(t, openKafka(t, s.config(), Deps{Checkpoints: offsets}, offsets, p), rec)
	rec.Wait(t, "the first payloads", func() bool { return rec.Count("0") >= 20 })
	if err := rec.Confirm(t.Context(), "0", 1000); err != nil {
		t.Fatal(err)
	}
	rec.Hold()
	second := s.append(t, "0", 30)
	rec.Wait(t, "the payloads in flight", func() bool { return rec.Count("0") >= 50 })
	rec.Crash()
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}

	offsets = NewGroupOffsets(nil)
	again := sourcetest.NewRecorder(offsets, sourcetest.Name)
	running = sourcetest.Start(t, openKafka(t, s.config(), Deps{Checkpoints: offsets}, offsets, newProbe()), again)
	again.Wait(t, "the rest", func() bool { return again.Count("0") >= 30 })
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := again.Bodies("0"); !slices.Equal(got, second) {
		t.Errorf("after the crash %d payloads, the first %s; want the %d that were not confirmed", len(got), got[0], len(second))
	}
}

func TestKafkaGoesOnWhereAMQPStopped(t *testing.T) {
	s, store := newKafkaSim(t, 2, -1), sourcetest.NewStore()
	all := map[string][]string{"0": s.append(t, "0", 30), "1": s.append(t, "1", 10)}
	amqp := s.config()
	amqp.Protocol, amqp.Endpoint = "amqp", s.Endpoints.AMQPS
	over := sourcetest.NewRecorder(store, sourcetest.Name)
	running := sourcetest.Start(t, open(t, amqp, Deps{Checkpoints: store}, newProbe()), over)
	over.Wait(t, "what is read over AMQP", func() bool { return over.Count("0") >= 30 && over.Count("1") >= 10 })
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	rest := map[string][]string{"0": s.append(t, "0", 5), "1": s.append(t, "1", 7)}
	offsets := NewGroupOffsets(store)
	rec := sourcetest.NewRecorder(offsets, sourcetest.Name)
	running = sourcetest.Start(t, openKafka(t, s.config(), Deps{Checkpoints: offsets}, offsets, newProbe()), rec)
	rec.Wait(t, "the rest", func() bool { return rec.Count("0") >= 5 && rec.Count("1") >= 7 })
	if err := running.Stop(); err != nil {
		t.Fatal(err)
	}
	for partition := range all {
		if got := rec.Bodies(partition); !slices.Equal(got, rest[partition]) {
			t.Errorf("partition %s over Kafka: %d payloads, want the %d that came after AMQP stopped", partition, len(got), len(rest[partition]))
		}
		a, k := over.Partition(partition), rec.Partition(partition)
		if a.Origin.Namespace != k.Origin.Namespace || k.Payloads[0].Position != a.Payloads[len(a.Payloads)-1].Position+1 || k.Payloads[0].Enqueued.IsZero() {
			t.Errorf("partition %s is %q from %d over Kafka, %q up to %d over AMQP: events would have other ids", partition,
				k.Origin.Namespace, k.Payloads[0].Position, a.Origin.Namespace, a.Payloads[len(a.Payloads)-1].Position)
		}
	}
}

func TestKafkaMembersShareThePartitions(t *testing.T) {
	const partitions, each = 6, 200
	s := newKafkaSim(t, partitions, -1)
	var want []string
	put := func(n int) {
		for i := range partitions {
			want = append(want, s.append(t, fmt.Sprint(i), n)...)
		}
	}
	type life struct {
		probe   *probe
		rec     *sourcetest.Recorder
		running *sourcetest.Running
	}
	start := func() life {
		offsets := NewGroupOffsets(nil)
		l := life{probe: newProbe(), rec: sourcetest.NewRecorder(offsets, sourcetest.Name)}
		l.running = sourcetest.Start(t, openKafka(t, s.config(), Deps{Checkpoints: offsets}, offsets, l.probe), l.rec)
		return l
	}
	put(each)
	one := start()
	one.rec.Wait(t, "the first events", func() bool { return one.rec.Count("0") > 0 })
	two := start()
	until(t, "both to have partitions", func() bool {
		var a, b int
		one.probe.seen(func() bool { a = one.probe.owned; return true })
		two.probe.seen(func() bool { b = two.probe.owned; return true })
		return a == partitions/2 && b == partitions/2
	})
	put(each)
	read := func() map[string]int {
		seen := map[string]int{}
		for _, l := range []life{one, two} {
			for i := range partitions {
				for _, body := range l.rec.Bodies(fmt.Sprint(i)) {
					seen[body]++
				}
			}
		}
		return seen
	}
	until(t, "all events so far", func() bool { return len(read()) == len(want) })
	if err := one.running.Stop(); err != nil {
		t.Fatal(err)
	}
	put(each)
	until(t, "the other to take all", func() bool {
		return two.probe.seen(func() bool { return two.probe.owned == partitions }) && len(read()) == len(want)
	})
	if err := two.running.Stop(); err != nil {
		t.Fatal(err)
	}
	seen := read()
	for _, body := range want {
		if seen[body] == 0 {
			t.Errorf("%s was not read", body)
		}
	}
}

func TestKafkaWithAToken(t *testing.T) {
	s := newKafkaSim(t, 1, -1)
	want := s.append(t, "0", 3)
	c := config.DefaultTenant()
	c.TenantID, c.CAFile, c.Endpoints.Authority = s.Endpoints.TenantID, config.Path(s.Endpoints.CAFile), strings.TrimSuffix(s.Endpoints.AuthorityHost, "/")
	c.Credential.ClientID, c.Credential.ClientSecret = s.Endpoints.ClientID, config.Secret(s.Endpoints.ClientSecret)
	tenant, err := azure.NewTenant("contoso", c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.config()
	cfg.ConnectionString, cfg.CAFile, cfg.Tenant, cfg.Namespace = "", "", "contoso", s.Endpoints.Namespace
	offsets := NewGroupOffsets(nil)
	rec := sourcetest.NewRecorder(offsets, sourcetest.Name)
	if err := openKafka(t, cfg, Deps{Tenant: tenant, Checkpoints: offsets, Once: true}, offsets, newProbe()).Run(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if got := rec.Bodies("0"); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if got := rec.Partition("0").Origin; got.TenantID != s.Endpoints.TenantID {
		t.Errorf("origin %+v, want the tenant's id", got)
	}
}

func TestKafkaStartPositions(t *testing.T) {
	s := newKafkaSim(t, 1, -1)
	before := s.append(t, "0", 5)
	middle := time.Now().Add(time.Millisecond) // the service's clock has milliseconds
	until(t, "the clock to move on", func() bool { return time.Now().After(middle.Add(2 * time.Millisecond)) })
	after := s.append(t, "0", 5)
	for _, start := range []string{"earliest", middle.UTC().Format(time.RFC3339Nano), "latest"} {
		t.Run(start, func(t *testing.T) {
			want := slices.Clone(after)
			switch start {
			case "earliest":
				want = slices.Concat(before, after)
			case "latest":
				want = nil
			}
			cfg := s.config()
			cfg.Start, cfg.ConsumerGroup = start, "starts"+start[:3]
			for range 2 { // what was decided once holds after a restart
				offsets := NewGroupOffsets(nil)
				rec := sourcetest.NewRecorder(offsets, sourcetest.Name)
				if err := openKafka(t, cfg, Deps{Checkpoints: offsets, Once: true}, offsets, newProbe()).Run(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
				if got := rec.Bodies("0"); !slices.Equal(got, want) {
					t.Errorf("read %d payloads, want %d", len(got), len(want))
				}
				want = s.append(t, "0", 2)
				after = append(after, want...)
			}
		})
	}
}

func TestKafkaReportsWhatIsMissing(t *testing.T) {
	t.Run("expired", func(t *testing.T) {
		s, store, p := newKafkaSim(t, 1, 200_000), sourcetest.NewStore(), newProbe()
		for range 30 {
			s.append(t, "0", 100)
			s.append(t, "0", 1)
		}
		for range 20 {
			if _, err := s.hub(t).Append(0, []byte(`{"fill":"`+strings.Repeat("x", 20_000)+`"}`)); err != nil {
				t.Fatal(err)
			}
		}
		info, err := s.hub(t).Partition(0)
		if err != nil || info.BeginSequence < 100 {
			t.Fatalf("partition %+v, %v; want an expired beginning", info, err)
		}
		save(t, store, "0", position{sequence: 9, enqueued: time.Unix(0, 0)}.cursor())
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		until(t, "the endpoint to forget", func() bool {
			if err := openKafka(t, s.config(), Deps{Checkpoints: store, Once: true}, nil, p).Run(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			return len(p.gaps) > 0
		})
		if want := fmt.Sprintf("0 retention %d", info.BeginSequence-10); p.gaps[0] != want {
			t.Errorf("gaps %q, want %q", p.gaps, want)
		}
	})
	t.Run("re-created", func(t *testing.T) {
		s, store, p := newKafkaSim(t, 1, -1), sourcetest.NewStore(), newProbe()
		want := s.append(t, "0", 3)
		save(t, store, "0", position{sequence: 99}.cursor())
		rec := sourcetest.NewRecorder(store, sourcetest.Name)
		if err := openKafka(t, s.config(), Deps{Checkpoints: store, Once: true}, nil, p).Run(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if got := rec.Bodies("0"); !slices.Equal(got, want) || !slices.Equal(p.gaps, []string{"0 reset 0"}) {
			t.Errorf("read %q with gaps %q; want all of the new hub", got, p.gaps)
		}
	})
}

func TestKafkaRefusalsNameTheRemedy(t *testing.T) {
	s := newKafkaSim(t, 1, -1)
	for name, tc := range map[string]struct {
		change func(*Config)
		reason string
		remedy string
	}{
		"wrong key": {
			change: func(c *Config) {
				before, _, _ := strings.Cut(c.ConnectionString.Reveal(), "SharedAccessKey=")
				c.ConnectionString = config.Secret(before + "SharedAccessKey=bm90IHRoZSBrZXk=")
			},
			reason: "not allowed to read", remedy: "Listen claim",
		},
		"no such hub":        {change: func(c *Config) { c.Hub = "none" }, reason: `"none" in`, remedy: "create the event hub"},
		"unknown authority":  {change: func(c *Config) { c.CAFile = "" }, reason: "TLS to", remedy: "ca_file"},
		"nobody listens":     {change: func(c *Config) { c.Endpoint = "127.0.0.1:1" }, reason: "no connection to", remedy: "9093"},
		"unreadable cursors": {reason: `read cursor "v9"`, remedy: "remove this checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, p, store := s.config(), newProbe(), sourcetest.NewStore()
			cfg.ConsumerGroup = strings.ReplaceAll(name, " ", "-")
			if tc.change != nil {
				tc.change(&cfg)
			} else {
				save(t, store, "0", "v9")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			src := openKafka(t, cfg, Deps{Checkpoints: store}, nil, p)
			go func() { done <- src.Run(ctx, sourcetest.NewRecorder(store, sourcetest.Name)) }()
			until(t, "the reason", func() bool {
				r := p.status.Report()
				return strings.Contains(r.Reason, tc.reason) && strings.Contains(r.Remedy, tc.remedy) && r.State != status.OK
			})
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v after the end of its context", err)
			}
		})
	}
}
