package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // to read answers
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// Sink delivers to one receiver. It implements sink.Sink; Deliver may be called
// concurrently.
type Sink struct {
	cfg    Config
	now    func() time.Time
	export func(ctx context.Context, r *request) (*collector.ExportLogsServiceResponse, error)
	free   sync.Pool // of *request
	close  func() error
}

// New prepares a sink. It does not touch the network.
func New(cfg Config, now func() time.Time) (*Sink, error) {
	s := &Sink{cfg: cfg, now: now}
	s.free.New = func() any { return &request{s: s, known: map[event.Origin]int{}} }
	if cfg.Protocol == "http" {
		return s, s.overHTTP()
	}
	return s, s.overGRPC()
}

func (s *Sink) overGRPC() error {
	u, err := url.Parse(s.cfg.Endpoint)
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	trust := insecure.NewCredentials()
	if u.Scheme == "https" {
		config, err := s.cfg.Connection.TLS()
		if err != nil {
			return err
		}
		trust = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(trust), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(new(codec))), grpc.WithConnectParams(grpc.ConnectParams{
		// The runner waits between tries; the connection should be ready by then.
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
		MinConnectTimeout: 10 * time.Second,
	})}
	if s.cfg.Compression == "gzip" {
		options = append(options, grpc.WithCompressor(newCompressor())) //nolint:staticcheck // see compressor
	}
	conn, err := grpc.NewClient("dns:///"+u.Host, options...)
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	md := metadata.MD{}
	for name, value := range s.cfg.Headers {
		md.Set(name, value.Reveal())
	}
	s.close = conn.Close
	s.export = func(ctx context.Context, r *request) (*collector.ExportLogsServiceResponse, error) {
		response := new(collector.ExportLogsServiceResponse)
		var header, trailer metadata.MD
		err := conn.Invoke(metadata.NewOutgoingContext(ctx, md), exportMethod, r, response, grpc.Header(&header), grpc.Trailer(&trailer))
		return response, classifyGRPC(err, len(header)+len(trailer) > 0)
	}
	return nil
}

// exportMethod is that of opentelemetry-proto's logs_service.proto. Its generated
// client would bring an HTTP gateway along.
const exportMethod = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// errTooLarge marks a request that a smaller one may fare better than: one event
// is to blame only from blamedSize on.
var errTooLarge = errors.New("the request is too large")

// blamedSize is a size that no receiver's limit is under.
const blamedSize = 64 << 10

// classifyGRPC says what a status means, by
// opentelemetry.io/docs/specs/otlp/#failures-1. answered tells a status that the
// receiver sent from one that the client made of a broken stream.
func classifyGRPC(err error, answered bool) error {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	var after time.Duration
	told := false
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			after, told = info.GetRetryDelay().AsDuration(), true
		}
	}
	switch st.Code() {
	case codes.ResourceExhausted, codes.Unavailable:
		if told {
			return &sink.ThrottledError{After: after, Err: err}
		}
		if st.Code() == codes.ResourceExhausted {
			// The size, as gRPC itself says it; but a Collector short of memory, or over a
			// rate further down, says the same.
			return fmt.Errorf("%w: %w", errTooLarge, err)
		}
		return err
	case codes.Internal:
		if answered { // a Collector's word for an error that is permanent
			return fmt.Errorf("%w: %w", sink.ErrRejected, err)
		}
		return err
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.DataLoss, codes.Unknown:
		return err
	case codes.Unauthenticated, codes.PermissionDenied:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "check the token in headers, and what it is allowed to do"}
	case codes.Unimplemented:
		return &sink.RemedyError{Err: err, Person: true, Remedy: "check endpoint: it takes no logs over OTLP/gRPC"}
	default:
		return fmt.Errorf("%w: %w", sink.ErrRejected, err)
	}
}

// classifyHTTP says what an answer means, by
// opentelemetry.io/docs/specs/otlp/#failures. An error's body is a google.rpc.Status
// in protobuf; a proxy's is not.
func classifyHTTP(answer *httpsink.Answer, now time.Time) error {
	of := new(rpc.Status)
	spoke := answer.Err() != nil && answer.Header.Get("Content-Type") == protobuf && proto.Unmarshal(answer.Body, of) == nil
	if spoke {
		answer.Body = []byte(of.GetMessage())
	}
	if spoke && answer.Status == http.StatusInternalServerError { // as codes.Internal
		return fmt.Errorf("%w: %w", sink.ErrRejected, answer.Err())
	}
	return answer.Classify(now)
}

const protobuf = "application/x-protobuf"

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func (s *Sink) overHTTP() error {
	client, err := httpsink.NewClient(s.cfg.Connection)
	if err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	encoder := httpsink.NewEncoder(s.cfg.Compression)
	header := http.Header{"Content-Type": {protobuf}}
	if e := encoder.ContentEncoding(); e != "" {
		header.Set("Content-Encoding", e)
	}
	for name, value := range s.cfg.Headers {
		header.Set(name, value.Reveal())
	}
	s.close = func() error { client.Close(); return nil }
	s.export = func(ctx context.Context, r *request) (*collector.ExportLogsServiceResponse, error) {
		p := encoder.New()
		defer p.Free()
		r.writeTo(p, p.Share) // Finish returns the error
		if err := p.Finish(); err != nil {
			return nil, err
		}
		answer, err := client.Do(ctx, http.MethodPost, s.cfg.Endpoint, header, p, maxAnswer)
		if err != nil {
			return nil, fmt.Errorf("send to the receiver: %w", err)
		}
		if err := classifyHTTP(answer, s.now()); err != nil {
			return nil, err
		}
		response := new(collector.ExportLogsServiceResponse)
		if err := proto.Unmarshal(answer.Body, response); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		return response, nil
	}
	return nil
}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error { return s.close() }

// Deliver implements sink.Sink.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	d := &delivery{s: s, ctx: ctx, events: events, failed: map[int]error{}}
	d.send(0, len(events))
	switch {
	case len(d.failed) == 0:
		return nil
	case d.stop != nil && len(d.failed) == len(events) && d.rejected == 0:
		return d.stop
	default:
		return &sink.PartialError{Failed: d.failed}
	}
}

// exportEvents sends events in one request. It keeps nothing of them.
func (s *Sink) exportEvents(ctx context.Context, events []event.Event) (*collector.ExportLogsServiceResponse, error) {
	r := s.free.Get().(*request) //nolint:forcetypeassert // nothing else is in it
	defer s.free.Put(r)
	r.fill(events)
	defer func() { r.events = nil }()
	return s.export(ctx, r)
}

// delivery is one call of Deliver.
type delivery struct {
	s        *Sink
	ctx      context.Context //nolint:containedctx // it lives as long as the call
	events   []event.Event
	failed   map[int]error // by index
	rejected int
	stop     error // what the rest would meet too
}

// send sends the events from one index up to another. What a receiver refuses is
// halved until it is one event, which then is to blame.
func (d *delivery) send(from, to int) {
	if d.stop != nil {
		for i := from; i < to; i++ {
			d.failed[i] = d.stop
		}
		return
	}
	response, err := d.s.exportEvents(d.ctx, d.events[from:to])
	if err == nil {
		// Which logs a partial success means it does not say, and the specification
		// forbids to send them again as they were. One by one they say it, at the
		// price of repeats, which the id tells.
		if p := response.GetPartialSuccess(); p.GetRejectedLogRecords() > 0 {
			err = fmt.Errorf("%w: the receiver refused %d of %d logs: %s", sink.ErrRejected, p.GetRejectedLogRecords(), to-from, httpsink.Excerpt([]byte(p.GetErrorMessage())))
			if int(p.GetRejectedLogRecords()) < to-from {
				for i := from; i < to; i++ {
					d.send(i, i+1)
				}
				return
			}
		}
	}
	switch {
	case err == nil:
	case to-from > 1 && (errors.Is(err, sink.ErrRejected) || errors.Is(err, errTooLarge)):
		half := (from + to) / 2
		d.send(from, half)
		d.send(half, to)
	case errors.Is(err, errTooLarge) && len(d.events[from].Data) >= blamedSize:
		d.failed[from] = fmt.Errorf("%w: %w", sink.ErrRejected, err)
		d.rejected++
	case errors.Is(err, sink.ErrRejected):
		d.failed[from] = err
		d.rejected++
	default:
		d.stop = err
		d.send(from, to)
	}
}
