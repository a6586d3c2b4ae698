// Command otelcol is the OpenTelemetry Collector's own OTLP receiver, with a
// pipeline behind it that keeps what it is given and fails on demand: what the
// sink otlp is tested against (internal/sink/otlp/collectortest). It is a module
// of its own, so that nothing of the Collector becomes a dependency of Lazuli.
//
// Its one argument is the receiver's configuration as JSON. Stdout has a JSON
// object a line: first the addresses, then each log as the receiver handed it
// over, before the receiver answers. Lines on stdin make the pipeline fail, each
// answered by a line; the program ends with stdin.
//
//	fail N CODE AFTER  N requests end with that gRPC status, as an exporter returns it, asking
//	                   to wait for AFTER (0s: not); CODE 0 is an error without a status
//	permanent PREFIX   requests with a log whose id begins so end with a permanent error; no prefix: none
//	hang on|off        requests wait
//	crash              of the next request the logs are kept, and the program ends instead of answering
//	settle             nothing; its answer comes after the logs of all requests that were answered
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	metric "go.opentelemetry.io/otel/metric/noop"
	trace "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func main() {
	// A Ctrl-C at the tests is theirs to act on.
	signal.Ignore(os.Interrupt)
	if len(os.Args) != 2 {
		fail(errors.New("usage: otelcol CONFIG"))
	}
	if err := run(os.Args[1]); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func run(config string) error {
	ctx := context.Background()
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	var settings map[string]any
	if err := json.Unmarshal([]byte(config), &settings); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := confmap.NewFromStringMap(settings).Unmarshal(cfg); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	core, logged := observer.New(zap.InfoLevel)
	p := &pipeline{out: bufio.NewWriterSize(os.Stdout, 1<<16)}
	keep, err := consumer.NewLogs(p.consume)
	if err != nil {
		return err
	}
	r, err := factory.CreateLogs(ctx, receiver.Settings{
		ID: component.NewID(factory.Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger: zap.New(core), TracerProvider: trace.NewTracerProvider(), MeterProvider: metric.NewMeterProvider(), Resource: pcommon.NewResource(),
		},
	}, cfg, keep)
	if err != nil {
		return err
	}
	p.mu.Lock() // nothing comes before the addresses
	if err := r.Start(ctx, host{}); err != nil {
		return err
	}
	// With port 0, only the receiver's own log says where it listens.
	addresses := map[string]string{}
	for _, entry := range logged.All() {
		addresses[entry.Message], _ = entry.ContextMap()["endpoint"].(string)
	}
	p.put(map[string]any{"grpc": addresses["Starting GRPC server"], "http": addresses["Starting HTTP server"]})
	p.mu.Unlock()

	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := p.command(in.Text()); err != nil {
			return fmt.Errorf("%q: %w", in.Text(), err)
		}
		p.mu.Lock()
		p.put(map[string]any{"done": in.Text()})
		p.mu.Unlock()
	}
	return in.Err()
}

// host has no extensions.
type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

// pipeline is what the receiver hands logs to.
type pipeline struct {
	mu        sync.Mutex // guards what follows
	out       *bufio.Writer
	fail      int
	code      codes.Code
	after     time.Duration
	permanent string
	crash     bool
	hang      chan struct{} // closed when the waiting ends; nil: nobody waits
}

// put writes lines. The caller holds mu.
func (p *pipeline) put(lines ...map[string]any) {
	encoder := json.NewEncoder(p.out)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			fail(err)
		}
	}
	if err := p.out.Flush(); err != nil {
		fail(err)
	}
}

func (p *pipeline) command(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch word {
	case "fail":
		var after string
		if _, err = fmt.Sscan(rest, &p.fail, &p.code, &after); err == nil {
			p.after, err = time.ParseDuration(after)
		}
	case "permanent":
		p.permanent = rest
	case "hang":
		if p.hang != nil {
			close(p.hang)
			p.hang = nil
		}
		if rest == "on" {
			p.hang = make(chan struct{})
		}
	case "crash":
		p.crash = true
	case "settle":
	default:
		err = errors.New("unknown command")
	}
	return err
}

func (p *pipeline) consume(ctx context.Context, logs plog.Logs) error {
	lines := linesOf(logs)
	p.mu.Lock()
	hang := p.hang
	p.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail > 0 {
		p.fail--
		return p.failure()
	}
	if p.permanent != "" {
		for _, line := range lines {
			if id, _ := line["attributes"].(map[string]any)["log.record.uid"].(string); strings.HasPrefix(id, p.permanent) {
				return consumererror.NewPermanent(fmt.Errorf("the log %s is bad", id))
			}
		}
	}
	p.put(lines...)
	if p.crash {
		os.Exit(3)
	}
	return nil
}

func (p *pipeline) failure() error {
	if p.code == codes.OK {
		return errors.New("it cannot be exported")
	}
	s := status.New(p.code, "it cannot be exported")
	if p.after > 0 {
		with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(p.after)})
		if err != nil {
			fail(err)
		}
		s = with
	}
	return s.Err()
}

func linesOf(logs plog.Logs) (lines []map[string]any) {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, log := range scope.LogRecords().All() {
				lines = append(lines, map[string]any{
					"resource": resource.Resource().Attributes().AsRaw(), "scope": scope.Scope().Name(),
					"time": uint64(log.Timestamp()), "observed": uint64(log.ObservedTimestamp()),
					"severity": log.SeverityNumber(), "severity_text": log.SeverityText(),
					"event_name": log.EventName(), "attributes": log.Attributes().AsRaw(), "body": log.Body().AsRaw(),
				})
			}
		}
	}
	return lines
}
