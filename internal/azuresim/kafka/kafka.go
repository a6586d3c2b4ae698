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

	mu      sync.Mutex
	copying map[string]*sync.WaitGroup // by topic; guarded by mu
}

// Start serves an endpoint without topics.
func Start(o Options) (*Endpoint, error) {
	e := &Endpoint{log: o.Logger, password: rand.Text(), copying: map[string]*sync.WaitGroup{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	check := func(mechanism string, response []byte) (string, string) {
		user, password := plainResponse(response)
		var err error
		switch {
		case mechanism == "PLAIN" && user == writer && password == e.password:
			return writer, e.password
		case mechanism == "PLAIN" && user == "$ConnectionString":
			err = o.VerifyConnectionString(password)
		case mechanism == "OAUTHBEARER":
			err = o.VerifyToken(bearer(response))
		default:
			err = fmt.Errorf("user %q by %s", user, mechanism)
		}
		if err != nil {
			e.log.Debug("kafka client refused", "error", err)
			return reader, ""
		}
		return reader, e.password
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
	if e.writer, err = kgo.NewClient(options...); err != nil {
		e.cluster.Close()
		return nil, fmt.Errorf("start the Kafka endpoint on %s: %w", address, err)
	}
	return e, nil
}

// Close stops the endpoint.
func (e *Endpoint) Close() error {
	e.stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, copying := range e.copying {
		copying.Wait()
	}
	e.writer.Close()
	e.cluster.Close()
	return nil
}

// Add makes a topic of a hub and keeps it up to date until the hub is deleted
// or the endpoint closed; then Remove must follow.
func (e *Endpoint) Add(h Hub) error {
	create := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = h.Name(), int32(h.Partitions()), 1
	create.Topics = append(create.Topics, topic)
	response, err := create.RequestWith(e.ctx, e.writer)
	if err == nil && len(response.Topics) == 1 && response.Topics[0].ErrorCode != 0 {
		err = fmt.Errorf("error code %d", response.Topics[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("make a topic of hub %q: %w", h.Name(), err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	copying := new(sync.WaitGroup)
	e.copying[h.Name()] = copying
	for i := range h.Partitions() {
		copying.Go(func() {
			if err := e.copy(h, i); err != nil && e.ctx.Err() == nil {
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
	if copying := e.copying[name]; copying != nil {
		copying.Wait() // the hub is gone, so it ends
		delete(e.copying, name)
	}
	remove := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = &name
	remove.Topics, remove.TopicNames = append(remove.Topics, topic), []string{name}
	if _, err := remove.RequestWith(e.ctx, e.writer); err != nil {
		return fmt.Errorf("delete the topic of hub %q: %w", name, err)
	}
	e.writer.PurgeTopicsFromClient(name)
	return nil
}

// copy copies one partition until the hub is gone.
func (e *Endpoint) copy(h Hub, partition int) error {
	const limit, fill = 512, 8192
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
func (e *Endpoint) fill(topic string, partition int, n int64) error {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(partition)}
	}
	if err := e.writer.ProduceSync(e.ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	return nil
}

// truncate deletes what the hub no longer retains.
func (e *Endpoint) truncate(topic string, partition int, begin int64) error {
	remove := kmsg.NewPtrDeleteRecordsRequest()
	t := kmsg.NewDeleteRecordsRequestTopic()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	t.Topic, p.Partition, p.Offset = topic, int32(partition), begin
	t.Partitions = append(t.Partitions, p)
	remove.Topics = append(remove.Topics, t)
	if _, err := remove.RequestWith(e.ctx, e.writer); err != nil {
		return fmt.Errorf("delete what is no longer retained: %w", err)
	}
	return nil
}

// ErrGone says that a hub was deleted.
var ErrGone = errors.New("kafka: the hub was deleted")

// listener is that of the cluster's only broker.
type listener struct {
	net.Listener
	tls   *tls.Config
	check func(mechanism string, response []byte) (user, password string)
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
