package eventhub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// The namespace's Kafka ports: with TLS, and of Microsoft's emulator.
// azure:eventhub.kafka-endpoint
const (
	kafkaPort         = "9093"
	kafkaEmulatorPort = "9092"
)

// KafkaSource reads one event hub by its Kafka endpoint, as a member of a
// consumer group that shares the partitions. It implements source.Source.
//
// Over Kafka an event's offset is what AMQP calls its sequence number
// (azure:eventhub.kafka-offset), so cursors and event ids are the same over both.
type KafkaSource struct {
	cfg     Config
	target  Target
	start   start
	deps    Deps
	offsets *GroupOffsets
	log     *slog.Logger
	metrics Metrics
	health  *status.Group
	timing  timing
	options []kgo.Opt
}

// NewKafka checks cfg and prepares a source whose protocol is kafka. offsets, if
// not nil, is the store the runner saves to. It does not touch the network.
func NewKafka(cfg Config, deps Deps, offsets *GroupOffsets) (*KafkaSource, error) {
	fail := func(err error) (*KafkaSource, error) { return nil, fmt.Errorf("source %q: %w", deps.Name, err) }
	var report config.Report
	cfg.Validate(&report)
	if len(report.Problems) > 0 {
		p := report.Problems[0]
		return fail(fmt.Errorf("%s: %s; %s", p.Path, p.Rule, p.Fix))
	}
	target, err := cfg.Target()
	if err != nil {
		return fail(err)
	}
	begin, err := parseStart(cfg.Start)
	if err != nil {
		return fail(fmt.Errorf("start: %w", err))
	}
	if cfg.ConnectionString == "" && deps.Tenant == nil {
		return fail(fmt.Errorf("tenant %q was not passed", cfg.Tenant))
	}
	trust, err := azure.TLSConfig(string(cfg.CAFile))
	if err != nil {
		return fail(fmt.Errorf("ca_file: %w", err))
	}
	if deps.Tenant != nil && cfg.CAFile == "" && deps.Tenant.TLS != nil {
		trust = deps.Tenant.TLS
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = noMetrics{}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Grace == 0 {
		deps.Grace = 25 * time.Second
	}
	s := &KafkaSource{
		cfg: cfg, target: target, start: begin, deps: deps, offsets: offsets,
		log: deps.Logger.With("hub", target.Hub), metrics: deps.Metrics,
		health: status.NewGroup(deps.Status), timing: defaultTiming(),
	}
	s.options = s.clientOptions(trust)
	return s, nil
}

func (s *KafkaSource) clientOptions(trust *tls.Config) []kgo.Opt {
	host := s.target.FullyQualifiedNamespace
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h // the port is that of AMQP
	}
	emulator := strings.Contains(strings.ToLower(s.cfg.ConnectionString.Reveal()), "usedevelopmentemulator=true")
	port := kafkaPort
	if emulator {
		port = kafkaEmulatorPort
	}
	address := net.JoinHostPort(host, port)
	if s.cfg.Endpoint != "" {
		address = s.cfg.Endpoint
	}
	// A namespace is one broker, however it is reached: what it says of its own
	// address does not matter.
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		dialer := net.Dialer{Timeout: 10 * time.Second}
		if emulator {
			return dialer.DialContext(ctx, network, address)
		}
		config := trust.Clone()
		config.ServerName = host
		return (&tls.Dialer{NetDialer: &dialer, Config: config}).DialContext(ctx, network, address)
	}
	return []kgo.Opt{
		kgo.SeedBrokers(address), kgo.Dialer(dial), kgo.SASL(s.mechanism(host)), kgo.ClientID("lazuli"),
		kgo.ConsumeTopics(s.target.Hub), kgo.ConsumerGroup(s.target.ConsumerGroup),
		kgo.DisableAutoCommit(),
		// Where to begin is always explicit, so that a restart never jumps.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// azure:eventhub.kafka-limits: sessions last 6 s to 5 min, a message 1 MB.
		kgo.SessionTimeout(s.cfg.KafkaSession.Std()), kgo.HeartbeatInterval(min(3*time.Second, s.cfg.KafkaSession.Std()/3)), kgo.RebalanceTimeout(time.Minute),
		kgo.FetchMaxBytes(int32(min(s.cfg.PrefetchBytes, 64<<20))), kgo.FetchMaxPartitionBytes(2 << 20),
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.BrokerMaxReadBytes(128 << 20),
		kgo.RetryTimeout(20 * time.Second), kgo.RequestRetries(2),
	}
}

// mechanism is how the service lets Kafka clients in.
func (s *KafkaSource) mechanism(host string) sasl.Mechanism {
	if s.cfg.ConnectionString != "" {
		return plain.Auth{User: "$ConnectionString", Pass: s.cfg.ConnectionString.Reveal()}.AsMechanism()
	}
	scope := "https://" + host + "/.default" // azure:eventhub.kafka-token
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		token, err := s.deps.Tenant.Token(ctx, scope)
		return oauth.Auth{Token: token}, err
	})
}

// Run implements source.Source. It returns an error only if the source reads
// once and a person has to act; otherwise it goes on trying, slowly, and says
// so in its status.
func (s *KafkaSource) Run(ctx context.Context, out source.Output) error {
	defer s.health.Stop()
	s.health.Set(partHub, status.Problem{State: status.Starting})
	wait, logged := &backoff{wait: s.timing.retry, limit: s.timing.retryMax, failed: s.timing.failed}, ""
	for ctx.Err() == nil {
		err := s.session(ctx, out)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		p := s.explain(err)
		s.health.Set(partHub, p.report())
		if p.class != logged {
			logged = p.class
			s.log.Error("event hub is not read", "class", p.class, "reason", p.reason, "remedy", p.remedy)
		}
		s.metrics.Reconnected("", p.class)
		if s.deps.Once && p.state == status.Failed {
			return &problemError{p, err}
		}
		if !sleep(ctx, wait.next(p.state == status.Failed)) {
			return nil
		}
	}
	return nil
}

// member is one membership in the consumer group, from joining to leaving.
type member struct {
	s      *KafkaSource
	out    source.Output
	client *kgo.Client
	ctx    context.Context //nolint:containedctx // of the membership: the client's callbacks have none of ours
	fail   context.CancelCauseFunc

	mu       sync.Mutex
	readers  map[int32]*kafkaReader // of the partitions that are ours; guarded by mu
	assigned bool                   // the group has given us our share, at least once; guarded by mu
	closed   bool                   // no reader may be added any more; guarded by mu
	idle     chan struct{}          // told when a reader is done
	backlog  atomic.Int64           // bytes that readers have and did not emit
}

// session joins the group and reads until ctx ends, or, once, all is read. What
// it returns otherwise may pass with a new membership.
func (s *KafkaSource) session(ctx context.Context, out source.Output) (err error) {
	sessionCtx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	m := &member{s: s, out: out, ctx: sessionCtx, fail: fail, readers: map[int32]*kafkaReader{}, idle: make(chan struct{}, 1)}
	options := append(s.options[:len(s.options):len(s.options)],
		kgo.AdjustFetchOffsetsFn(m.open),
		kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.revoked),
		kgo.WithHooks(m))
	if m.client, err = kgo.NewClient(options...); err != nil {
		return fmt.Errorf("make a Kafka client: %w", err)
	}
	defer m.client.Close() // leaves the group
	if err := m.check(sessionCtx); err != nil {
		return err
	}
	if s.offsets != nil {
		s.offsets.use(m.client, s.target.Hub)
		defer s.offsets.use(nil, "")
	}
	s.log.Info("event hub is being read", "namespace", s.target.FullyQualifiedNamespace, "consumer_group", s.target.ConsumerGroup, "protocol", "kafka")
	err = m.poll(sessionCtx)
	if cause := context.Cause(sessionCtx); cause != nil && ctx.Err() == nil {
		err = cause
	}
	m.closeAll(ctx, err)
	s.metrics.Owned(0)
	return err
}

// check asks for the hub, so that what is wrong is known by its own name.
func (m *member) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.s.timing.management*3)
	defer cancel()
	topics, err := kadm.NewClient(m.client).ListTopics(ctx, m.s.target.Hub)
	if err != nil {
		return err
	}
	topic, found := topics[m.s.target.Hub]
	if !found {
		return kerr.UnknownTopicOrPartition
	}
	return topic.Err
}

// poll hands on what comes until the membership ends.
func (m *member) poll(ctx context.Context) error {
	for {
		if m.finished() {
			return nil
		}
		// A poll ends when there is something to hand on; once, it must also end
		// when the last reader is done.
		pollCtx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
		fetches := m.client.PollRecords(pollCtx, maxPrefetch)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) {
				continue
			}
			return e.Err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { m.hand(p) })
		m.throttle(ctx)
	}
}

// hand gives a partition's records to its reader. The records of one that was
// revoked in the meantime are another's now.
func (m *member) hand(p kgo.FetchTopicPartition) {
	m.mu.Lock()
	r := m.readers[p.Partition]
	m.mu.Unlock()
	if r != nil && len(p.Records) > 0 {
		r.add(p.Records, p.HighWatermark)
	}
}

// throttle does not ask for more while the readers have enough: they wait for
// the pipeline, and memory is bounded.
func (m *member) throttle(ctx context.Context) {
	limit := int64(m.s.cfg.PrefetchBytes)
	for m.backlog.Load() > limit {
		select {
		case <-ctx.Done():
			return
		case <-m.idle:
		}
	}
}

// finished says that a source that reads once has read all that is its share.
func (m *member) finished() bool {
	if !m.s.deps.Once {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.readers {
		if !r.done.Load() {
			return false
		}
	}
	return m.assigned
}

func (m *member) wake() {
	select {
	case m.idle <- struct{}{}:
	default:
	}
}

// open opens the streams of partitions that the group has just given us, and
// says where to read them. It runs before anything is fetched of them.
func (m *member) open(ctx context.Context, committed map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	given := committed[m.s.target.Hub]
	if m.s.offsets != nil {
		m.s.offsets.fetched(given)
	}
	admin := kadm.NewClient(m.client)
	begins, err := admin.ListStartOffsets(ctx, m.s.target.Hub)
	if err != nil {
		m.fail(err)
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, m.s.target.Hub)
	if err != nil {
		m.fail(err)
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	for partition := range given {
		begin, _ := begins.Lookup(m.s.target.Hub, partition)
		end, _ := ends.Lookup(m.s.target.Hub, partition)
		if err := errors.Join(begin.Err, end.Err); err != nil {
			m.fail(err)
			return nil, err
		}
		r, err := m.newReader(ctx, partition, begin.Offset, end.Offset)
		if err != nil {
			m.fail(err)
			return nil, err
		}
		from[partition] = kgo.NewOffset().At(r.next).WithEpoch(-1)
		go r.run()
		m.mu.Lock()
		late := m.closed
		if !late {
			m.readers[partition] = r
		}
		m.mu.Unlock()
		if late {
			r.close(m.ctx)
			return nil, context.Cause(m.ctx)
		}
	}
	m.mu.Lock()
	m.assigned = true
	owned := len(m.readers)
	m.mu.Unlock()
	m.s.metrics.Owned(owned)
	m.s.health.OK(partHub)
	m.wake()
	return map[string]map[int32]kgo.Offset{m.s.target.Hub: from}, nil
}

// revoked closes the streams of partitions that go to another member. The group
// waits for it, so what is in flight gets little time.
func (m *member) revoked(ctx context.Context, _ *kgo.Client, partitions map[string][]int32) {
	var closing sync.WaitGroup
	for _, partition := range partitions[m.s.target.Hub] {
		m.mu.Lock()
		r := m.readers[partition]
		delete(m.readers, partition)
		owned := len(m.readers)
		m.mu.Unlock()
		if r == nil {
			continue
		}
		m.s.metrics.Owned(owned)
		closing.Go(func() {
			closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.s.timing.lostDrain)
			defer cancel()
			r.close(closeCtx)
			m.s.health.Forget(partPartition(r.origin.Partition))
		})
	}
	closing.Wait()
}

// closeAll closes the streams that are left: all of what is in flight gets its
// time when a source that reads once is done, the grace at shutdown.
func (m *member) closeAll(ctx context.Context, end error) {
	m.mu.Lock()
	readers := m.readers
	m.readers, m.closed = map[int32]*kafkaReader{}, true
	m.mu.Unlock()
	free := context.WithoutCancel(ctx)
	var cancel context.CancelFunc
	switch {
	case end == nil && ctx.Err() == nil:
		free, cancel = context.WithCancel(free)
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(m.s.deps.Grace, cancel) })
		defer stop()
	case ctx.Err() == nil:
		free, cancel = context.WithTimeout(free, m.s.timing.lostDrain)
	default:
		free, cancel = context.WithTimeout(free, m.s.deps.Grace)
	}
	defer cancel()
	var closing sync.WaitGroup
	for _, r := range readers {
		closing.Go(func() { r.close(free) })
	}
	closing.Wait()
}

// OnBrokerConnect implements kgo.HookBrokerConnect: the client retries by
// itself and would tell nobody.
func (m *member) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil && m.ctx.Err() == nil {
		m.s.health.Set(partHub, m.s.explain(err).report())
	}
}
