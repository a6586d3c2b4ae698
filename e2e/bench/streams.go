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
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/config"
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
func benchSyslog(secure bool) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
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
		cfg.Address = ln.Addr().String()
		name := "`syslog` | none"
		dial := func() (net.Conn, error) { return net.Dial("tcp", cfg.Address) }
		if secure {
			name = "`syslog`, TLS | none"
			authority, err := ca.New(time.Now)
			if err != nil {
				return nil, err
			}
			dir, err := os.MkdirTemp("", "lazuli-bench-")
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(dir)
			cfg.TLS, cfg.CAFile = true, config.Path(filepath.Join(dir, "ca.pem"))
			if err := authority.WriteFile(string(cfg.CAFile)); err != nil {
				return nil, err
			}
			server, err := authority.ServerConfig("127.0.0.1")
			if err != nil {
				return nil, err
			}
			ln = tls.NewListener(ln, server)
			dial = func() (net.Conn, error) { return tls.Dial("tcp", cfg.Address, &tls.Config{RootCAs: authority.Pool()}) }
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
		s, err := syslog.New(*cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		conns := make(chan net.Conn, 4)
		for range cap(conns) {
			conn, err := dial()
			if err != nil {
				return nil, err
			}
			conns <- conn
		}
		return &contender{
			name: name, sink: s, batches: batches,
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

// finished is what a client of gRPC sends that was given it encoded, and what a
// server keeps that does not decode it.
type finished struct{ bytes []byte }

type finishedCodec struct{}

func (finishedCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(*finished).bytes)}, nil
}

func (finishedCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if to := v.(*finished); to.bytes != nil { // wanted
		to.bytes = data.Materialize()
	}
	return nil
}

func (finishedCodec) Name() string { return "proto" }

// fastGzip compresses as the bare clients over HTTP do.
type fastGzip struct{ free sync.Pool }

func (f *fastGzip) Do(w io.Writer, b []byte) error {
	z := f.free.Get().(*gzip.Writer)
	defer f.free.Put(z)
	z.Reset(w)
	_, _ = z.Write(b)
	return z.Close()
}

func (*fastGzip) Type() string { return "gzip" }

// benchOTLPOverGRPC measures against a client of the same library that sends
// requests which were encoded before.
func benchOTLPOverGRPC(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		const method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		var recorded []byte // by the deliveries before the measurement, which are one at a time
		recording := true
		server := grpc.NewServer(grpc.ForceServerCodecV2(finishedCodec{}), grpc.MaxRecvMsgSize(64<<20), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			in := new(finished)
			if recording {
				in.bytes = []byte{}
			}
			if err := stream.RecvMsg(in); err != nil {
				return err
			}
			if recording {
				recorded = in.bytes
			}
			return stream.SendMsg(new(finished))
		}))
		go func() { _ = server.Serve(ln) }()
		cfg := otlp.DefaultConfig()
		cfg.Endpoint, cfg.Compression = "http://"+ln.Addr().String(), compression
		s, err := otlp.New(*cfg, time.Now)
		if err != nil {
			return nil, err
		}
		batches := cut(events, cfg)
		requests := make([]*finished, len(batches))
		for i, b := range batches {
			if err := s.Deliver(context.Background(), b); err != nil {
				return nil, err
			}
			requests[i] = &finished{recorded}
		}
		recording = false
		options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(finishedCodec{}))}
		if compression == "gzip" {
			fast := &fastGzip{sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}}
			options = append(options, grpc.WithCompressor(fast)) //nolint:staticcheck // a registered one counts for the whole program
		}
		conn, err := grpc.NewClient(ln.Addr().String(), options...)
		if err != nil {
			return nil, err
		}
		return &contender{
			name: "`otlp`, gRPC | " + compression, sink: s, batches: batches,
			bare: func(ctx context.Context, batch int) error {
				return conn.Invoke(ctx, method, requests[batch], new(finished))
			},
			close: func() { _ = s.Close(context.Background()); conn.Close(); server.Stop() },
		}, nil
	}
}
