package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

// Deps is what the program passes to a sink.
type Deps struct {
	Tenant *azure.Tenant // for sasl.mechanism entra
	Logger *slog.Logger
}

// Sink delivers to one cluster. It implements sink.Sink; Deliver may be called
// concurrently.
type Sink struct {
	cfg    Config
	topic  topic
	client *kgo.Client
	log    *slog.Logger
	free   sync.Pool // of *batch
}

// headers name what of an event is not in its bytes.
const (
	headerID      = "lazuli_id"
	headerLogType = "lazuli_log_type"
	headerSchema  = "lazuli_schema"
)

// recordOverhead is more than what surrounds a value in a batch: key, headers and
// the batch's own 61 bytes.
const recordOverhead = 1024

// New prepares a sink. It does not touch the network.
func New(cfg Config, deps Deps) (*Sink, error) {
	s := &Sink{cfg: cfg, log: deps.Logger}
	s.free.New = func() any { return new(batch) }
	var err error
	if s.topic, err = parseTopic(cfg.Topic); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID("lazuli"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(int32(cfg.MaxMessage)), kgo.ProducerBatchCompression(compression(cfg.Compression)...),
		kgo.ProducerLinger(5 * time.Millisecond),
		// Of our own too: Deliver copies, and a broker that hangs keeps what it was given.
		kgo.MaxBufferedBytes(64 << 20), kgo.MaxBufferedRecords(100_000),
		kgo.RetryTimeout(20 * time.Second), kgo.RecordRetries(5), kgo.ProduceRequestTimeout(10 * time.Second),
		// A record that Deliver gave up is sent again by the runner: better twice than
		// waiting for a broker that does not answer.
		kgo.AllowIdempotentProduceCancellation(),
	}
	if cfg.TLS {
		trust, err := azure.TLSConfig(string(cfg.CAFile))
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		if cfg.CertFile != "" {
			pair, err := tls.LoadX509KeyPair(string(cfg.CertFile), string(cfg.KeyFile))
			if err != nil {
				return nil, fmt.Errorf("cert_file and key_file: %w", err)
			}
			trust.Certificates = []tls.Certificate{pair}
		}
		options = append(options, kgo.DialTLSConfig(trust))
	}
	switch user, password := cfg.SASL.Username, cfg.SASL.Password.Reveal(); cfg.SASL.Mechanism {
	case "plain":
		options = append(options, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	case "scram-sha-256":
		options = append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
	case "scram-sha-512":
		options = append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	case "entra":
		if deps.Tenant == nil {
			return nil, fmt.Errorf("tenant %q was not passed", cfg.Tenant)
		}
		host, _, err := net.SplitHostPort(cfg.Brokers[0])
		if err != nil {
			return nil, fmt.Errorf("brokers: %w", err)
		}
		options = append(options, kgo.SASL(oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			// azure:eventhub.kafka-token
			token, err := deps.Tenant.Token(ctx, "https://"+host+"/.default")
			return oauth.Auth{Token: token}, err
		})))
	}
	if s.client, err = kgo.NewClient(options...); err != nil {
		return nil, err
	}
	return s, nil
}

func compression(name string) []kgo.CompressionCodec {
	switch name {
	case "zstd":
		return []kgo.CompressionCodec{kgo.ZstdCompression().WithLevel(1), kgo.NoCompression()}
	case "lz4":
		return []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.NoCompression()}
	case "snappy":
		return []kgo.CompressionCodec{kgo.SnappyCompression(), kgo.NoCompression()}
	case "gzip":
		return []kgo.CompressionCodec{kgo.GzipCompression().WithLevel(1), kgo.NoCompression()}
	}
	return []kgo.CompressionCodec{kgo.NoCompression()}
}

// Deliver implements sink.Sink. nil means that every in-sync replica has every
// event.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	failed := s.produceAll(ctx, events)
	// A broker refuses a batch for one of its records; so all of it is tried once
	// more, each record in a batch of its own.
	var alone []int
	for i, err := range failed {
		if len(events) > 1 && isRefusal(err) {
			alone = append(alone, i)
		}
	}
	for _, i := range alone {
		delete(failed, i)
		if again := s.produceAll(ctx, events[i:i+1]); again[0] != nil {
			failed[i] = again[0]
		}
	}
	if len(failed) == 0 {
		return nil
	}
	for i, err := range failed {
		failed[i] = s.classify(err)
	}
	return &sink.PartialError{Failed: failed}
}

// produceAll sends events, and again those that shared a batch with records of
// another Deliver that was given up: the client gives up whole batches.
func (s *Sink) produceAll(ctx context.Context, events []event.Event) map[int]error {
	failed := map[int]error{}
	if ctx.Err() != nil {
		for i := range events {
			failed[i] = context.Cause(ctx)
		}
		return failed
	}
	failed = s.produce(ctx, events)
	for i, err := range failed {
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		delete(failed, i)
		if again := s.produce(ctx, events[i:i+1]); again[0] != nil {
			failed[i] = again[0]
		}
	}
	return failed
}

// batch is the records of some events with memory of their own: the client may
// still hold them when ctx has ended and Deliver has returned.
type batch struct {
	records []kgo.Record
	headers []kgo.RecordHeader
	block   []byte // of values, keys and headers
}

func (b *batch) fill(s *Sink, events []event.Event) {
	size := 0
	for i := range events {
		size += len(events[i].Data) + 256
	}
	b.block = slices.Grow(b.block[:0], size)
	b.headers = slices.Grow(b.headers[:0], 3*len(events))
	b.records = slices.Grow(b.records[:0], len(events))
	for i := range events {
		e := &events[i]
		id := put(b, string(e.ID))
		var key []byte
		switch {
		case s.cfg.Key == "id":
			key = id
		case s.cfg.Key == "partition" && e.Origin != nil:
			key = put(b, e.Origin.Source+"/"+e.Origin.Partition)
		}
		b.headers = append(b.headers,
			kgo.RecordHeader{Key: headerID, Value: id},
			kgo.RecordHeader{Key: headerLogType, Value: put(b, e.LogType)},
			kgo.RecordHeader{Key: headerSchema, Value: put(b, e.Schema)})
		b.records = append(b.records, kgo.Record{
			Topic: s.topic.of(e), Key: key, Value: put(b, e.Data),
			Headers: b.headers[len(b.headers)-3 : len(b.headers) : len(b.headers)], Timestamp: e.Time,
		})
	}
}

// put copies into the block. That may move while it grows; what is in the old one
// stays as it was.
func put[T ~string | ~[]byte](b *batch, value T) []byte {
	from := len(b.block)
	b.block = append(b.block, value...)
	return b.block[from:len(b.block):len(b.block)]
}

// of returns the topic of an event. What a topic's name may not have becomes "_".
func (t topic) of(e *event.Event) string {
	if len(t) == 1 && t[0].field == "" {
		return t[0].text
	}
	var b strings.Builder
	for _, p := range t {
		switch p.field {
		case "":
			b.WriteString(p.text)
		case "log_type":
			b.WriteString(safe(e.LogType))
		case "schema":
			b.WriteString(safe(e.Schema))
		case "tenant":
			if e.Origin != nil {
				b.WriteString(safe(e.Origin.Tenant))
			}
		case "source":
			if e.Origin != nil {
				b.WriteString(safe(e.Origin.Source))
			}
		}
	}
	return b.String()
}

func safe(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

// produce sends events and waits until each is confirmed or has failed, or ctx
// ends. It returns what failed.
func (s *Sink) produce(ctx context.Context, events []event.Event) map[int]error {
	b := s.free.Get().(*batch) //nolint:forcetypeassert // nothing else is in it
	b.fill(s, events)
	var mu sync.Mutex
	failed := map[int]error{}
	left := len(b.records)
	done := make(chan struct{})
	settled := make([]bool, len(b.records))
	for i := range b.records {
		r := &b.records[i]
		finish := func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if settled[i] = true; err != nil {
				failed[i] = err
			}
			if left--; left == 0 {
				close(done)
			}
		}
		if len(r.Value)+len(r.Key)+recordOverhead > int(s.cfg.MaxMessage) {
			finish(r, kerr.MessageTooLarge)
			continue
		}
		s.client.TryProduce(ctx, r, finish)
	}
	if len(b.records) > 0 {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if left == 0 { // the client lets go of a record before it says what became of it
		s.free.Put(b)
		return failed
	}
	out := map[int]error{}
	for i := range settled {
		switch {
		case failed[i] != nil:
			out[i] = failed[i]
		case !settled[i]:
			out[i] = fmt.Errorf("produce: %w", context.Cause(ctx))
		}
	}
	return out
}

// isRefusal tells whether a broker will never take a record, or a batch that
// holds such a one.
func isRefusal(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.RecordListTooLarge) ||
		errors.Is(err, kerr.InvalidTimestamp) || errors.Is(err, kerr.CorruptMessage)
}

func (s *Sink) classify(err error) error {
	remedy := func(text string) error { return &sink.RemedyError{Err: err, Remedy: text, Person: true} }
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: the event is larger than max_message (%v) or than the topic's max.message.bytes: %w", sink.ErrRejected, s.cfg.MaxMessage, err)
	case isRefusal(err):
		return fmt.Errorf("%w: %w", sink.ErrRejected, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return remedy(fmt.Sprintf("create the topic (%s), or let the brokers create topics by themselves", s.cfg.Topic))
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return remedy("allow the user WRITE and DESCRIBE on the topic, and IDEMPOTENT_WRITE on the cluster; for Event Hubs the claim Send, or the role Azure Event Hubs Data Sender")
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return remedy("check sasl: mechanism, username and password")
	case errors.Is(err, kerr.UnsupportedCompressionType):
		return remedy("the brokers do not take this compression: set compression to gzip or none")
	}
	if problem, ok := azure.ExplainSignIn(err); ok {
		return &sink.RemedyError{Err: fmt.Errorf("sign in to Entra: %s", problem.Reason), Remedy: problem.Remedy, Person: problem.Permanent}
	}
	return err
}

// Close implements sink.Sink.
func (s *Sink) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.client.Close()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
