package kafka

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// Event is a hub's event.
type Event struct {
	Sequence int64
	Enqueued time.Time
	Body     []byte // not changed
}

// Hub is what the endpoint shows as a topic.
type Hub interface {
	Name() string
	Partitions() int
	// Events returns up to limit events of a partition from a sequence number
	// on, and the oldest that is retained.
	Events(partition int, from int64, limit int) (events []Event, begin int64, err error)
	// Next returns the sequence number that the next event will have.
	Next(partition int) (int64, error)
	// Changed is closed when the partition next gets an event or is deleted.
	Changed(partition int) <-chan struct{}
}

// Options of an endpoint.
type Options struct {
	Listener net.Listener
	TLS      *tls.Config // nil: none, as Microsoft's emulator
	// VerifyConnectionString and VerifyToken check what a client signs in with.
	VerifyConnectionString func(text string) error
	VerifyToken            func(token string) error
	Logger                 *slog.Logger
}

// The users of the cluster itself.
const (
	reader = "reader"
	writer = "writer"
)

// Endpoint is a running Kafka endpoint. Its methods are safe for concurrent use.
type Endpoint struct {
	cluster  *kfake.Cluster
	writer   *kgo.Client
	log      *slog.Logger
	password string

	stop context.CancelFunc
	ctx  context.Context //nolint:containedctx // ends with the endpoint

	mu     sync.Mutex
	topics map[string]*topic // guarded by mu
}

// topic is a hub that is being copied.
type topic struct {
	hub     Hub
	copying sync.WaitGroup
	copied  []atomic.Int64 // by partition: sequence numbers below it are in the topic
}

// Start serves an endpoint without topics.
func Start(o Options) (*Endpoint, error) {
	e := &Endpoint{log: o.Logger, password: rand.Text(), topics: map[string]*topic{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	check := func(mechanism string, response []byte) (user, password string, err error) {
		name, secret := plainResponse(response)
		switch {
		case mechanism == "PLAIN" && name == writer && secret == e.password:
			return writer, e.password, nil
		case mechanism == "PLAIN" && name == "$ConnectionString":
			err = o.VerifyConnectionString(secret)
		case mechanism == "OAUTHBEARER":
			err = o.VerifyToken(bearer(response))
		default:
			err = fmt.Errorf("kafka: the user of %s must be $ConnectionString", mechanism)
		}
		return reader, e.password, err
	}
	address := o.Listener.Addr().String()
	l := &listener{Listener: o.Listener, tls: o.TLS, check: check}
	allow := func(resource kmsg.ACLResourceType, operation kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: resource, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
	}
	var err error
	e.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1), kfake.ClusterID("event-hubs"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return l, nil }),
		kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("PLAIN", writer, e.password),
		kfake.User("PLAIN", reader, e.password,
			allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationRead), allow(kmsg.ACLResourceTypeTopic, kmsg.ACLOperationDescribe),
			allow(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationRead), allow(kmsg.ACLResourceTypeGroup, kmsg.ACLOperationDescribe),
			allow(kmsg.ACLResourceTypeCluster, kmsg.ACLOperationDescribe)),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "8388608", "max.message.bytes": "8388608"}),
	)
	if err != nil {
		return nil, fmt.Errorf("start the Kafka endpoint on %s: %w", address, err)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(address), kgo.SASL(plain.Auth{User: writer, Pass: e.password}.AsMechanism()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(4 << 20), kgo.BrokerMaxReadBytes(64 << 20), kgo.ProducerLinger(0),
	}
	if o.TLS != nil {
		// The endpoint's own client, on loopback, to its own certificate.
		options = append(options, kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true})) //nolint:gosec // see above
	}
	if e.writer, err = kgo.NewClient(options...); err == nil {
		if err = e.letLibrdkafkaIn(); err != nil {
			e.writer.Close()
		}
	}
	if err != nil {
		e.cluster.Close()
		return nil, fmt.Errorf("start the Kafka endpoint on %s: %w", address, err)
	}
	return e, nil
}

// letLibrdkafkaIn lets the cluster say that it knows version 0 of SaslHandshake,
// which it does not. librdkafka takes a broker that lacks it for one without
// SASL, and then uses version 1 (rd_kafka_feature_map in its rdkafka_feature.c).
// Its clients ask with version 3; versions from 5 on, which name the broker, are
// left to the cluster.
func (e *Endpoint) letLibrdkafkaIn() error {
	ask := kmsg.NewPtrApiVersionsRequest()
	ask.ClientSoftwareName, ask.ClientSoftwareVersion = "azuresim", "1"
	known, err := ask.RequestWith(e.ctx, e.writer)
	if err != nil {
		return err
	}
	for i := range known.ApiKeys {
		if known.ApiKeys[i].ApiKey == int16(kmsg.SASLHandshake) {
			known.ApiKeys[i].MinVersion = 0
		}
	}
	e.cluster.ControlKey(int16(kmsg.ApiVersions), func(request kmsg.Request) (kmsg.Response, error, bool) {
		e.cluster.KeepControl()
		if request.GetVersion() >= 5 {
			return nil, nil, false
		}
		response := *known
		response.SetVersion(request.GetVersion())
		return &response, nil, true
	})
	return nil
}

// Close stops the endpoint.
func (e *Endpoint) Close() error {
	e.stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.topics {
		t.copying.Wait()
	}
	e.writer.Close()
	e.cluster.Close()
	return nil
}

// Add makes a topic of a hub and keeps it up to date until the hub is deleted
// or the endpoint closed; then Remove must follow.
func (e *Endpoint) Add(h Hub) error {
	create := kmsg.NewPtrCreateTopicsRequest()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = h.Name(), int32(h.Partitions()), 1
	create.Topics = append(create.Topics, wanted)
	response, err := create.RequestWith(e.ctx, e.writer)
	if err == nil && len(response.Topics) == 1 && response.Topics[0].ErrorCode != 0 {
		err = fmt.Errorf("error code %d", response.Topics[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("make a topic of hub %q: %w", h.Name(), err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t := &topic{hub: h, copied: make([]atomic.Int64, h.Partitions())}
	e.topics[h.Name()] = t
	for i := range h.Partitions() {
		t.copying.Go(func() {
			if err := e.copy(t, i); err != nil && e.ctx.Err() == nil {
				e.log.Error("events of a hub are not in its topic", "hub", h.Name(), "partition", i, "error", err)
			}
		})
	}
	return nil
}

// Remove deletes the topic of a hub that is deleted.
func (e *Endpoint) Remove(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.topics[name]; t != nil {
		t.copying.Wait() // the hub is gone, so it ends
		delete(e.topics, name)
	}
	remove := kmsg.NewPtrDeleteTopicsRequest()
	unwanted := kmsg.NewDeleteTopicsRequestTopic()
	unwanted.Topic = &name
	remove.Topics, remove.TopicNames = append(remove.Topics, unwanted), []string{name}
	if _, err := remove.RequestWith(e.ctx, e.writer); err != nil {
		return fmt.Errorf("delete the topic of hub %q: %w", name, err)
	}
	e.writer.PurgeTopicsFromClient(name)
	return nil
}

// copy copies one partition until the hub is gone.
func (e *Endpoint) copy(t *topic, partition int) error {
	const limit, fill = 512, 8192
	h := t.hub
	var next, deleted int64
	for e.ctx.Err() == nil {
		changed := h.Changed(partition)
		events, begin, err := h.Events(partition, next, limit)
		switch {
		case errors.Is(err, ErrGone):
			return nil
		case err != nil:
			return err
		}
		// Offsets must stay sequence numbers: what the hub deleted before it was
		// copied gets records too, which are deleted below.
		for ; next < begin; next += min(begin-next, fill) {
			if err := e.fill(h.Name(), partition, min(begin-next, fill)); err != nil {
				return err
			}
		}
		for len(events) > 0 && events[0].Sequence < next { // deleted in between
			events = events[1:]
		}
		records := make([]*kgo.Record, len(events))
		for i := range events {
			records[i] = &kgo.Record{Topic: h.Name(), Partition: int32(partition), Value: events[i].Body, Timestamp: events[i].Enqueued}
		}
		if len(records) > 0 {
			if err := e.writer.ProduceSync(e.ctx, records...).FirstErr(); err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			next += int64(len(records))
		}
		t.copied[partition].Store(next)
		if begin > deleted && begin <= next {
			if err := e.truncate(h.Name(), partition, begin); err != nil {
				return err
			}
			deleted = begin
		}
		if len(records) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-e.ctx.Done():
		}
	}
	return nil
}

// fill appends empty records.
func (e *Endpoint) fill(name string, partition int, n int64) error {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: name, Partition: int32(partition)}
	}
	if err := e.writer.ProduceSync(e.ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	return nil
}

// truncate deletes what the hub no longer retains.
func (e *Endpoint) truncate(name string, partition int, begin int64) error {
	remove := kmsg.NewPtrDeleteRecordsRequest()
	t := kmsg.NewDeleteRecordsRequestTopic()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	t.Topic, p.Partition, p.Offset = name, int32(partition), begin
	t.Partitions = append(t.Partitions, p)
	remove.Topics = append(remove.Topics, t)
	if _, err := remove.RequestWith(e.ctx, e.writer); err != nil {
		return fmt.Errorf("delete what is no longer retained: %w", err)
	}
	return nil
}

// Settle waits until all events that the hubs hold now can be read.
func (e *Endpoint) Settle(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, t := range e.topics {
		for i := range t.copied {
			next, err := t.hub.Next(i)
			if err != nil {
				return err
			}
			for t.copied[i].Load() < next {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-e.ctx.Done():
					return nil
				}
			}
		}
	}
	return nil
}

// ErrGone says that a hub was deleted.
var ErrGone = errors.New("kafka: the hub was deleted")

// listener is that of the cluster's only broker.
type listener struct {
	net.Listener
	tls   *tls.Config
	check func(mechanism string, response []byte) (user, password string, err error)
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.tls != nil {
		conn = tls.Server(conn, l.tls)
	}
	return &signingIn{Conn: conn, check: l.check}, nil
}
