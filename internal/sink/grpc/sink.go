package grpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/grpc/plugins"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// frameBytes is more than a log has beside its raw part, as a rule.
const frameBytes = 4 << 10

// Sink sends events to one engine. Deliver may be called concurrently.
type Sink struct {
	cfg      Config
	conn     *grpc.ClientConn
	metadata metadata.MD
	now      func() time.Time

	mu     sync.Mutex
	idle   []*stream // guarded by mu
	closed bool      // guarded by mu
}

// New returns a sink. It does not connect yet.
func New(cfg Config, now func() time.Time) (*Sink, error) {
	trust := insecure.NewCredentials()
	if !cfg.unix() && !cfg.Plaintext {
		files := httpsink.Connection{CAFile: cfg.TLS.CAFile, CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile}
		config, err := files.TLS()
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		config.ServerName = cfg.TLS.ServerName
		trust = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(cfg.Target, grpc.WithTransportCredentials(trust), grpc.WithConnectParams(grpc.ConnectParams{
		// The runner waits between tries; the connection should be ready by then.
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
		MinConnectTimeout: 10 * time.Second,
	}))
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", cfg.Target, err)
	}
	s := &Sink{cfg: cfg, conn: conn, metadata: metadata.MD{}, now: now}
	for name, value := range cfg.Metadata {
		s.metadata.Set(name, value.Reveal())
	}
	return s, nil
}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	s.closed = true
	for _, st := range s.idle {
		st.cancel()
	}
	s.idle = nil
	s.mu.Unlock()
	return s.conn.Close()
}

// Deliver implements sink.Sink.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	d := &delivery{s: s, ctx: ctx, failed: map[int]error{}}
	logs := make([]plugins.Log, len(events))
	todo := make([]int, 0, len(events))
	for i := range events {
		s.fill(&logs[i], &events[i])
		if len(events[i].Data)+frameBytes > int(s.cfg.MaxMessage) {
			if size := proto.Size(&logs[i]); size > int(s.cfg.MaxMessage) {
				d.failed[i] = fmt.Errorf("%w: the log has %d bytes; max_message is %d", sink.ErrRejected, size, s.cfg.MaxMessage)
				continue
			}
		}
		todo = append(todo, i)
	}
	d.deliver(logs, todo)
	return d.result(len(events))
}

// fill makes a log of an event. Its bytes are the event's.
func (s *Sink) fill(l *plugins.Log, e *event.Event) {
	at := e.Time
	if at.IsZero() {
		at = s.now()
	}
	l.Id, l.Timestamp, l.Raw = string(e.ID), at.UTC().Format(time.RFC3339Nano), e.Data
	l.DataType, l.DataSource, l.TenantId = s.cfg.DataType, s.cfg.DataSource, s.cfg.TenantID
	if other, ok := s.cfg.DataTypes[e.LogType]; ok {
		l.DataType = other
	}
	if e.Origin == nil {
		return
	}
	if l.DataSource == "" {
		l.DataSource = e.Origin.Source
	}
	if l.TenantId == "" {
		l.TenantId = e.Origin.TenantID
	}
	if other, ok := s.cfg.TenantIDs[e.Origin.Tenant]; ok {
		l.TenantId = other
	}
}

// open returns a stream that nobody uses.
func (s *Sink) open() (*stream, error) {
	s.mu.Lock()
	for len(s.idle) > 0 {
		st := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		select {
		case <-st.dead:
			st.cancel()
			continue
		default:
		}
		s.mu.Unlock()
		return st, nil
	}
	s.mu.Unlock()
	// The stream outlives the delivery that opens it.
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(context.Background(), s.metadata))
	var rpc grpc.BidiStreamingClient[plugins.Log, plugins.Ack]
	var err error
	if s.cfg.Service == "integration" {
		rpc, err = plugins.NewIntegrationClient(s.conn).ProcessLog(ctx)
	} else {
		rpc, err = plugins.NewEngineClient(s.conn).Input(ctx)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return newStream(rpc, cancel, s.cfg.Ack == "cumulative"), nil
}

// openWithin is open for as long as ctx lasts: opening may wait for a connection.
func (s *Sink) openWithin(ctx context.Context) (*stream, error) {
	type result struct {
		st  *stream
		err error
	}
	opened := make(chan result, 1)
	go func() {
		st, err := s.open()
		opened <- result{st, err}
	}()
	select {
	case r := <-opened:
		return r.st, r.err
	case <-ctx.Done():
		go func() { // the sink's Close ends the wait
			if r := <-opened; r.err == nil {
				s.giveBack(r.st)
			}
		}()
		return nil, fmt.Errorf("connect to %s: %w", s.cfg.Target, context.Cause(ctx))
	}
}

func (s *Sink) giveBack(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		st.cancel()
		return
	}
	s.idle = append(s.idle, st)
}

// delivery is one call of Deliver.
type delivery struct {
	s      *Sink
	ctx    context.Context
	failed map[int]error // by index of the event
	whole  error         // the error that all failed ones have, if they have one
}

func (d *delivery) deliver(logs []plugins.Log, todo []int) {
	left, err := d.attempt(logs, todo, d.s.cfg.Window)
	if err == nil {
		return
	}
	if status.Code(err) != codes.InvalidArgument {
		d.fail(left, d.s.explain(err, len(left)))
		return
	}
	// The contract has no way to refuse one log; engines end the stream. One at a
	// time, it is clear which log they mean.
	for k, i := range left {
		rest, err := d.attempt(logs, []int{i}, 1)
		switch {
		case len(rest) == 0:
		case status.Code(err) == codes.InvalidArgument:
			d.failed[i] = fmt.Errorf("%w: %s", sink.ErrRejected, status.Convert(err).Message())
		default:
			d.fail(left[k:], d.s.explain(err, len(left)-k))
			return
		}
	}
}

// attempt sends the logs at these indices and returns the indices of those that
// were not acknowledged, with the reason.
func (d *delivery) attempt(logs []plugins.Log, todo []int, window int) (left []int, err error) {
	if len(todo) == 0 {
		return nil, nil
	}
	st, err := d.s.openWithin(d.ctx)
	if err != nil {
		return todo, err
	}
	batch := logs
	if len(todo) != len(logs) {
		batch = make([]plugins.Log, len(todo))
		for k, i := range todo {
			from := &logs[i]
			batch[k].Id, batch[k].DataType, batch[k].DataSource = from.Id, from.DataType, from.DataSource
			batch[k].Timestamp, batch[k].TenantId, batch[k].Raw = from.Timestamp, from.TenantId, from.Raw
		}
	}
	r, err := st.send(d.ctx, batch, window, d.s.cfg.Ack != "none")
	for k, i := range todo {
		if !r.acked[k] {
			left = append(left, i)
		}
	}
	if err == nil {
		d.s.giveBack(st)
		return left, nil
	}
	st.cancel()
	switch late := errors.Is(err, context.DeadlineExceeded); {
	case len(left) == 0:
		return nil, nil
	case late && r.last < 0 && r.sent.Load() == int64(len(todo)):
		err = fmt.Errorf("%w (%w)", err, errSilent)
	case late && r.gap():
		err = fmt.Errorf("%w (%w)", err, errGap)
	}
	return left, err
}

// gap tells whether a log was acknowledged and one before it was not.
func (r *round) gap() bool {
	for i := range max(r.last, 0) {
		if !r.acked[i] {
			return true
		}
	}
	return false
}

var (
	errGap    = errors.New("logs were acknowledged and others before them were not")
	errSilent = errors.New("nothing was acknowledged")
)

func (d *delivery) fail(indices []int, err error) {
	if len(d.failed) == 0 {
		d.whole = err
	}
	for _, i := range indices {
		d.failed[i] = err
	}
}

func (d *delivery) result(events int) error {
	switch {
	case len(d.failed) == 0:
		return nil
	case d.whole != nil && len(d.failed) == events:
		return d.whole
	default:
		return &sink.PartialError{Failed: d.failed}
	}
}

// explain says what the end of a stream means; n is how many logs were open.
func (s *Sink) explain(err error, n int) error {
	st, isStatus := status.FromError(err)
	what := func(text string) error { return fmt.Errorf("send %d logs to %s: %s: %w", n, s.cfg.Target, text, err) }
	switch {
	case errors.Is(err, errGap):
		return &sink.RemedyError{
			Err:    what("not all were acknowledged in time"),
			Remedy: "if the engine acknowledges only the last of several logs, set ack: cumulative",
		}
	case errors.Is(err, errSilent):
		return &sink.RemedyError{
			Err:    what("none was acknowledged in time"),
			Remedy: "check the engine's own log; if it never acknowledges, ack: none sends without knowing what arrives",
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return what("not acknowledged in time")
	case !isStatus:
		return what("the stream broke")
	}
	switch st.Code() {
	case codes.ResourceExhausted:
		after := 5 * time.Second
		for _, detail := range st.Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				after = min(info.GetRetryDelay().AsDuration(), time.Hour)
			}
		}
		return &sink.ThrottledError{After: after, Err: what("the engine is full")}
	case codes.Unauthenticated, codes.PermissionDenied:
		return &sink.RemedyError{Err: what("the engine does not know Lazuli"), Remedy: "check the keys in metadata", Person: true}
	case codes.Unimplemented:
		return &sink.RemedyError{
			Err:    what("the engine has no such service"),
			Remedy: "set service: engine for the engine's socket, service: integration for its TLS port", Person: true,
		}
	case codes.Unavailable:
		return &sink.RemedyError{Err: what("no connection"), Remedy: s.connectRemedy(err)}
	default:
		return what("the stream broke")
	}
}

func (s *Sink) connectRemedy(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return "name the engine's certificate authority in tls.ca_file"
	case s.cfg.unix():
		return "check that the engine runs, and that Lazuli's user may open the socket"
	default:
		return "check that the engine runs, the firewall, and tls.ca_file if the engine signs its own certificate"
	}
}
