package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

const topicName = "events"

// cluster is franz-go's fake of a broker behind a listener that can cut.
type cluster struct {
	*kfake.Cluster
	address string

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	cuts  atomic.Int64 // answers to be cut
}

type gate struct {
	net.Listener
	c *cluster
}

func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.c.mu.Lock()
		if g.c.down {
			g.c.mu.Unlock()
			conn.Close()
			continue
		}
		g.c.conns[conn] = true
		g.c.mu.Unlock()
		return &gated{Conn: conn, c: g.c}, nil
	}
}

type gated struct {
	net.Conn
	c *cluster
}

// Write cuts the connection in place of an answer, if one is to be cut and the
// answer is to what changed something.
func (g *gated) Write(b []byte) (int, error) {
	if g.c.cuts.Load() < 0 && g.c.cuts.Add(1) <= 0 {
		g.Close()
		return 0, net.ErrClosed
	}
	return g.Conn.Write(b)
}

func newCluster(t testing.TB, options ...kfake.Opt) *cluster {
	t.Helper()
	c := &cluster{conns: map[net.Conn]bool{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.address = ln.Addr().String()
	c.Cluster, err = kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(3, topicName),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return gate{ln, c}, nil }),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) config() Config {
	cfg := *DefaultConfig()
	cfg.Brokers, cfg.Topic, cfg.TLS = []string{c.address}, topicName, false
	return cfg
}

// records returns all records of the topics.
func (c *cluster) records(t testing.TB, topics ...string) (all []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.address), kgo.ConsumeTopics(topics...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topics...)
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for int64(len(all)) < left {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

func open(t testing.TB, cfg Config) *Sink {
	t.Helper()
	s, err := New(cfg, Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

// refuse answers a produce request with an error for each of its partitions.
func refuse(r *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	response := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range r.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, code
			t.Partitions = append(t.Partitions, p)
		}
		response.Topics = append(response.Topics, t)
	}
	return response
}

const keyProduce = 0

func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Harness {
		c := newCluster(t)
		cfg := c.config()
		cfg.Compression = "none" // a fault looks into the batches
		return sinktest.Harness{
			Sink: open(t, cfg), Limit: int(cfg.MaxMessage) - recordOverhead - 64, Repeats: true,
			Received: func(t *testing.T) (all []string) {
				for _, r := range c.records(t, topicName) {
					all = append(all, string(r.Value))
				}
				return all
			},
			Faults: sinktest.Faults{
				Fail: func(n int) {
					c.ControlKey(keyProduce, func(r kmsg.Request) (kmsg.Response, error, bool) {
						if n--; n < 0 {
							c.DropControl()
							return nil, nil, false
						}
						c.KeepControl()
						return refuse(r.(*kmsg.ProduceRequest), kerr.UnknownServerError.Code), nil, true
					})
				},
				Refuse: func(prefix string) {
					c.ControlKey(keyProduce, func(r kmsg.Request) (kmsg.Response, error, bool) {
						c.KeepControl()
						request := r.(*kmsg.ProduceRequest)
						for _, topic := range request.Topics {
							for _, partition := range topic.Partitions {
								if strings.Contains(string(partition.Records), `"`+prefix) {
									return refuse(request, kerr.InvalidRecord.Code), nil, true
								}
							}
						}
						return nil, nil, false
					})
				},
				Hang: func() func() {
					wait := make(chan struct{})
					c.ControlKey(keyProduce, func(kmsg.Request) (kmsg.Response, error, bool) {
						c.KeepControl()
						c.SleepControl(func() { <-wait })
						return nil, nil, false
					})
					return sync.OnceFunc(func() { close(wait) })
				},
				Cut: func(n int) {
					c.ControlKey(keyProduce, func(kmsg.Request) (kmsg.Response, error, bool) {
						if n--; n < 0 {
							c.DropControl()
						} else {
							c.cuts.Add(-1)
						}
						return nil, nil, false
					})
				},
				Down: func(*testing.T) func() {
					c.mu.Lock()
					c.down = true
					for conn := range c.conns {
						conn.Close()
					}
					c.mu.Unlock()
					return func() {
						c.mu.Lock()
						defer c.mu.Unlock()
						c.down = false
					}
				},
			},
			Lacks: map[sinktest.Fault]string{sinktest.Throttle: "the client itself waits as long as a broker asks"},
		}
	})
}

func TestRecordsSayWhatTheyAre(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	origin := &event.Origin{Source: "insights", Tenant: "contoso", Partition: "7"}
	events := []event.Event{
		{ID: "a", Time: at, LogType: "entra_signin", Schema: "ecs", Data: []byte(`{"a":1}`), Origin: origin},
		{ID: "b", Time: at, LogType: "storage read/é", Schema: "raw", Data: []byte(`{"b":1}`), Origin: origin},
	}
	for _, tc := range []struct {
		key, topic string
		keys       []string
		topics     []string
	}{
		{key: "id", topic: "events", keys: []string{"a", "b"}, topics: []string{"events", "events"}},
		{key: "partition", topic: "x.{tenant}.{log_type}", keys: []string{"insights/7", "insights/7"}, topics: []string{"x.contoso.entra_signin", "x.contoso.storage_read__"}},
		{key: "none", topic: "{schema}-{source}", keys: []string{"", ""}, topics: []string{"ecs-insights", "raw-insights"}},
	} {
		t.Run(tc.key, func(t *testing.T) {
			c := newCluster(t, kfake.AllowAutoTopicCreation())
			cfg := c.config()
			cfg.Key, cfg.Topic = tc.key, tc.topic
			admin, err := kgo.NewClient(kgo.SeedBrokers(c.address))
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			for _, topic := range tc.topics {
				_, _ = kadm.NewClient(admin).CreateTopic(t.Context(), 1, 1, nil, topic) // may be there
			}
			if err := open(t, cfg).Deliver(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			for i, e := range events {
				found := 0
				for _, r := range c.records(t, tc.topics[i]) {
					if string(r.Value) != string(e.Data) {
						continue
					}
					found++
					headers := ""
					for _, h := range r.Headers {
						headers += fmt.Sprintf("%s=%s ", h.Key, h.Value)
					}
					want := fmt.Sprintf("lazuli_id=%s lazuli_log_type=%s lazuli_schema=%s ", e.ID, e.LogType, e.Schema)
					if string(r.Key) != tc.keys[i] || !r.Timestamp.Equal(at) || headers != want {
						t.Errorf("record with key %q, time %v, headers %q", r.Key, r.Timestamp, headers)
					}
				}
				if found != 1 {
					t.Errorf("event %s is %d times in topic %q", e.ID, found, tc.topics[i])
				}
			}
		})
	}
}

// The memory of records is used again: only its first use allocates.
func TestRecordsTakeNoNewMemory(t *testing.T) {
	s := &Sink{cfg: *DefaultConfig(), topic: topic{{text: topicName}}}
	events := sinktest.Events("a", 100, 2000)
	b := new(batch)
	if allocs := testing.AllocsPerRun(10, func() { b.fill(s, events) }); allocs > 1 {
		t.Errorf("%.0f allocations for %d records, want none", allocs, len(events))
	}
	for i := range events {
		if r := &b.records[i]; string(r.Value) != string(events[i].Data) || string(r.Key) != string(events[i].ID) || string(r.Headers[1].Value) != events[i].LogType {
			t.Fatalf("record %d is %q %q %v", i, r.Key, r.Value, r.Headers)
		}
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		options []kfake.Opt
		change  func(*Config)
		code    *kerr.Error
		remedy  string
	}{
		"no topic":             {change: func(c *Config) { c.Topic = "none" }, remedy: "create the topic"},
		"no right":             {code: kerr.TopicAuthorizationFailed, remedy: "WRITE"},
		"a compression's name": {code: kerr.UnsupportedCompressionType, remedy: "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, tc.options...)
			cfg := c.config()
			if tc.change != nil {
				tc.change(&cfg)
			}
			if tc.code != nil {
				c.ControlKey(keyProduce, func(r kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					return refuse(r.(*kmsg.ProduceRequest), tc.code.Code), nil, true
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			defer cancel()
			err := open(t, cfg).Deliver(ctx, sinktest.Events("a", 2, 100))
			var partial *sink.PartialError
			var remedy *sink.RemedyError
			if !errors.As(err, &partial) || len(partial.Failed) != 2 || !errors.As(partial.Failed[0], &remedy) || !strings.Contains(remedy.Remedy, tc.remedy) {
				t.Errorf("Deliver() = %v; want a remedy with %q for both", err, tc.remedy)
			}
		})
	}
}

func TestSignIn(t *testing.T) {
	for mechanism, kind := range map[string]string{"plain": "PLAIN", "scram-sha-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := newCluster(t, kfake.EnableSASL(), kfake.Superuser(kind, "lazuli", "s3cret"))
			cfg := c.config()
			cfg.SASL = SASL{Mechanism: mechanism, Username: "lazuli", Password: "s3cret"}
			if err := open(t, cfg).Deliver(t.Context(), sinktest.Events("a", 2, 100)); err != nil {
				t.Fatal(err)
			}
			cfg.SASL.Password = "another"
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			err := open(t, cfg).Deliver(ctx, sinktest.Events("a", 2, 100))
			if err == nil || strings.Contains(err.Error(), "another") {
				t.Errorf("Deliver() with a wrong password = %v", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"brokers[0]":     func(c *Config) { c.Brokers = []string{"kafka"} },
		"topic":          func(c *Config) { c.Topic = "a b" },
		"topic ":         func(c *Config) { c.Topic = "a-{what}" },
		"topic  ":        func(c *Config) { c.Topic = "a-{log_type" },
		"sasl.mechanism": func(c *Config) { c.SASL.Username = "x" },
		"sasl.username":  func(c *Config) { c.SASL.Mechanism = "scram-sha-512" },
		"tenant":         func(c *Config) { c.SASL.Mechanism = "entra" },
		"tls": func(c *Config) {
			c.TLS, c.SASL = false, SASL{Mechanism: "plain", Username: "u", Password: "p"}
		},
		"tls ":     func(c *Config) { c.TLS, c.CAFile = false, "ca.pem" },
		"key_file": func(c *Config) { c.CertFile = "x" },
	} {
		cfg := DefaultConfig()
		cfg.Brokers, cfg.Topic = []string{"k:9093"}, "events"
		var r config.Report
		cfg.Validate(&r)
		if len(r.Problems) != 0 {
			t.Fatalf("the defaults have problems: %v", r.Problems)
		}
		change(cfg)
		cfg.Validate(&r)
		if len(r.Problems) != 1 || r.Problems[0].Path != strings.TrimSpace(want) {
			t.Errorf("problems %v, want one at %q", r.Problems, want)
		}
	}
}
