package eventhub

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
	"github.com/lazuli-logs/lazuli/internal/status"
)

const (
	simPolicy = "listen"
	simKey    = "aW52ZW50ZWQga2V5"
	simHub    = "insights"
)

// sim is a simulated namespace with one hub.
type sim struct {
	broker  *eventhubs.Broker
	hub     *eventhubs.Hub
	address string

	mu   sync.Mutex
	sent int
}

func newSim(t testing.TB, partitions int, options eventhubs.HubOptions) *sim {
	t.Helper()
	broker, err := eventhubs.New(eventhubs.Options{Keys: map[string]string{simPolicy: simKey}})
	if err != nil {
		t.Fatal(err)
	}
	hub, err := broker.CreateHub(simHub, partitions, options)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- broker.ServeAMQP(listener) }()
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
		<-served
	})
	return &sim{broker: broker, hub: hub, address: listener.Addr().String()}
}

func (s *sim) config() Config {
	c := DefaultConfig()
	c.ConnectionString = config.Secret(s.broker.EmulatorConnectionString(s.address, simPolicy, ""))
	c.Hub = simHub
	return c
}

// append stores n bodies, each different from all others.
func (s *sim) append(t testing.TB, partition string, n int) []string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	number, err := strconv.Atoi(partition)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make([]string, n)
	raw := make([][]byte, n)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`{"records":[{"partition":%q,"number":%d}]}`, partition, s.sent)
		raw[i] = []byte(bodies[i])
		s.sent++
	}
	if n > 0 {
		if _, err := s.hub.Append(number, raw...); err != nil {
			t.Fatal(err)
		}
	}
	return bodies
}

// quick is timing for tests: everything that waits in days of the real world.
func quick() timing {
	d := defaultTiming()
	d.round, d.poll = 50*time.Millisecond, 50*time.Millisecond
	d.settle, d.lostDrain, d.stolen = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	d.retry, d.retryMax, d.failed = 5*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
	d.management = 5 * time.Second
	d.sdk = azeventhubs.RetryOptions{MaxRetries: 1, RetryDelay: 5 * time.Millisecond, MaxRetryDelay: 20 * time.Millisecond}
	return d
}

// probe is what a test sees of a source besides what it emits.
type probe struct {
	status *status.Component
	logs   *logBuffer

	mu        sync.Mutex
	bell      sourcetest.Bell // rings when one of these changes
	lag       map[string]int64
	looks     int // at the lag
	gaps      []string
	rebuilt   []string
	reconnect []string
	owned     int
}

func newProbe() *probe {
	return &probe{
		status: status.NewBoard(time.Now).Component("source", sourcetest.Name),
		logs:   &logBuffer{}, lag: map[string]int64{},
	}
}

func (p *probe) Lag(partition string, n int64, _ time.Duration) {
	p.note(func() { p.lag[partition], p.looks = n, p.looks+1 })
}

func (p *probe) Reconnected(partition, cause string) {
	p.note(func() { p.reconnect = append(p.reconnect, cause) })
}

func (p *probe) Rebuilt(partition, what string) {
	p.note(func() { p.rebuilt = append(p.rebuilt, what) })
}

func (p *probe) Gap(partition, cause string, n int64) {
	p.note(func() { p.gaps = append(p.gaps, fmt.Sprintf("%s %s %d", partition, cause, n)) })
}

func (p *probe) Owned(n int) { p.note(func() { p.owned = n }) }

func (p *probe) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.bell.Ring()
}

// wait waits until what is noted is so.
func (p *probe) wait(t testing.TB, what string, condition func() bool) {
	t.Helper()
	p.bell.Wait(t, what, func() bool { return p.seen(condition) })
}

func (p *probe) seen(f func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f()
}

// until waits for something that nothing announces.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(sourcetest.Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for %s", sourcetest.Patience, what)
		}
	}
}

// logBuffer collects the log. No test may find a secret in it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open returns a source with quick timing.
func open(t testing.TB, cfg Config, deps Deps, p *probe) *Source {
	t.Helper()
	if deps.Name == "" {
		deps.Name = sourcetest.Name
	}
	deps.Logger = slog.New(slog.NewTextHandler(p.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	deps.Status, deps.Metrics = p.status, p
	if deps.Grace == 0 {
		deps.Grace = time.Second
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	s.timing = quick()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the source:\n%s", p.logs)
		}
		if strings.Contains(p.logs.String(), simKey) || strings.Contains(p.status.Report().Reason, simKey) {
			t.Error("the key was logged")
		}
	})
	return s
}

// steal reads a partition as a foreign program would, until the test ends.
func (s *sim) steal(t testing.TB, partition string) {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(s.broker.EmulatorConnectionString(s.address, simPolicy, ""), simHub,
		azeventhubs.DefaultConsumerGroup, &azeventhubs.ConsumerClientOptions{InstanceID: "thief"})
	if err != nil {
		t.Fatal(err)
	}
	link, err := client.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: to.Ptr(true)}, OwnerLevel: to.Ptr[int64](0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := link.ReceiveEvents(t.Context(), 1, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeWithin(t.Context(), time.Second, client.Close) })
}

func TestContract(t *testing.T) {
	sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
		s := newSim(t, 3, eventhubs.HubOptions{})
		return sourcetest.Harness{
			Partitions: []string{"0", "1", "2"},
			Append:     func(t *testing.T, partition string, n int) []string { return s.append(t, partition, n) },
			New: func(t *testing.T, store checkpoint.Store, once bool) source.Source {
				return open(t, s.config(), Deps{Checkpoints: store, Once: once}, newProbe())
			},
			Steal: func(t *testing.T, partition string) { s.steal(t, partition) },
		}
	})
}

// boundsRecorder remembers the largest batch.
type boundsRecorder struct {
	*sourcetest.Recorder
	mu            sync.Mutex
	events, bytes int
}

func (b *boundsRecorder) Open(ctx context.Context, origin event.Origin) (source.Stream, error) {
	s, err := b.Recorder.Open(ctx, origin)
	return &boundsStream{s, b}, err
}

type boundsStream struct {
	source.Stream
	b *boundsRecorder
}

func (s *boundsStream) Emit(ctx context.Context, batch []event.Payload, next checkpoint.Cursor) error {
	size := 0
	for _, p := range batch {
		size += len(p.Body)
	}
	s.b.mu.Lock()
	s.b.events, s.b.bytes = max(s.b.events, len(batch)), max(s.b.bytes, size)
	s.b.mu.Unlock()
	return s.Stream.Emit(ctx, batch, next)
}

// memoryOwnership keeps owners as the blob store does, conditional on nothing.
type memoryOwnership struct {
	mu     sync.Mutex
	owners map[string]azeventhubs.Ownership
	err    error
}

func (m *memoryOwnership) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memoryOwnership) ListOwnership(context.Context, string, string, string, *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []azeventhubs.Ownership
	for _, o := range m.owners {
		all = append(all, o)
	}
	return all, m.err
}

func (m *memoryOwnership) ClaimOwnership(_ context.Context, claims []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owners == nil {
		m.owners = map[string]azeventhubs.Ownership{}
	}
	for i := range claims {
		claims[i].LastModifiedTime = time.Now()
		m.owners[claims[i].PartitionID] = claims[i]
	}
	return claims, m.err
}
