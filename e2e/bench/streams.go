package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/lazuli-logs/lazuli/internal/event"
	sinkkafka "github.com/lazuli-logs/lazuli/internal/sink/kafka"
	"github.com/lazuli-logs/lazuli/internal/sink/otlp"
	"github.com/lazuli-logs/lazuli/internal/sink/syslog"
)

// benchKafka measures against a producer of the same library and options, whose
// records were made before.
func benchKafka(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"),
			kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }))
		if err != nil {
			return nil, err
		}
		cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			request, ok := r.(*kmsg.ProduceRequest)
			if !ok {
				return nil, errors.New("not a produce request"), true
			}
			return throwAway(request), nil, true
		})
		cfg := sinkkafka.DefaultConfig()
		cfg.Brokers, cfg.Topic, cfg.TLS, cfg.Compression = []string{ln.Addr().String()}, "events", false, compression
		s, err := sinkkafka.New(*cfg, sinkkafka.Deps{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		codec := kgo.NoCompression()
		if compression == "zstd" {
			codec = kgo.ZstdCompression().WithLevel(1)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(codec),
			kgo.ProducerBatchMaxBytes(int32(cfg.MaxMessage)), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000))
		if err != nil {
			return nil, err
		}
		batches := cut(events, cfg)
		bare := func(ctx context.Context, batch int) error {
			records := make([]*kgo.Record, len(batches[batch]))
			for i := range records {
				e := &batches[batch][i]
				records[i] = &kgo.Record{Topic: "events", Key: []byte(e.ID), Value: e.Data, Timestamp: e.Time}
			}
			return client.ProduceSync(ctx, records...).FirstErr()
		}
		return &contender{
			name: "`kafka` | " + compression, sink: s, batches: batches, bare: bare,
			close: func() { _ = s.Close(context.Background()); client.Close(); cluster.Close() },
		}, nil
	}
}

// throwAway confirms a request and forgets it.
func throwAway(request *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	response := kmsg.NewPtrProduceResponse()
	response.SetVersion(request.GetVersion())
	for _, topic := range request.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition = partition.Partition
			t.Partitions = append(t.Partitions, p)
		}
		response.Topics = append(response.Topics, t)
	}
	return response
}

// benchSyslog measures against a client that writes the same bytes and does not
// ask whether the receiver's system has them.
func benchSyslog(events []event.Event) (*contender, error) {
	cfg := syslog.DefaultConfig()
	cfg.TLS, cfg.MaxMessage = false, 4<<20
	batches := cut(events, cfg)
	frames := make([][]byte, len(batches))
	for i, b := range batches {
		var err error
		if frames[i], err = recordSyslog(*cfg, b); err != nil {
			return nil, fmt.Errorf("syslog: %w", err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, struct{ io.Reader }{conn}) // without splicing: a receiver reads
				conn.Close()
			}()
		}
	}()
	cfg.Address = ln.Addr().String()
	s, err := syslog.New(*cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	conns := make(chan net.Conn, 4)
	for range cap(conns) {
		conn, err := net.Dial("tcp", cfg.Address)
		if err != nil {
			return nil, err
		}
		conns <- conn
	}
	return &contender{
		name: "`syslog` | none", sink: s, batches: batches,
		bare: func(_ context.Context, batch int) error {
			conn := <-conns
			defer func() { conns <- conn }()
			_, err := conn.Write(frames[batch])
			return err
		},
		close: func() {
			_ = s.Close(context.Background())
			for range cap(conns) {
				(<-conns).Close()
			}
			ln.Close()
		},
	}, nil
}

// recordSyslog returns what the sink writes for a batch.
func recordSyslog(cfg syslog.Config, batch []event.Event) ([]byte, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	cfg.Address = ln.Addr().String()
	s, err := syslog.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		err := s.Deliver(context.Background(), batch)
		sent <- errors.Join(err, s.Close(context.Background()))
	}()
	conn, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	frames, err := io.ReadAll(conn)
	return frames, errors.Join(err, <-sent)
}

func benchOTLP(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		h := newHole(http.StatusOK, "", false)
		client, err := bareClient(&tls.Config{})
		if err != nil {
			return nil, err
		}
		cfg := otlp.DefaultConfig()
		cfg.Endpoint, cfg.Protocol, cfg.Compression = h.server.URL+"/v1/logs", "http", compression
		s, err := otlp.New(*cfg, time.Now)
		if err != nil {
			return nil, err
		}
		return httpContender("`otlp`, HTTP", compression, h, s, cut(events, cfg), client)
	}
}
