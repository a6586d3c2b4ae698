package otlp

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// receiver answers exports, over gRPC and HTTP, and fails on demand.
type receiver struct {
	mu       sync.Mutex // guards what follows
	kept     []*collector.ExportLogsServiceRequest
	fail     int
	throttle time.Duration // of those that fail; 0: unavailable
	refuse   string
	partial  bool // refuses by partial success
	cut      int
	hang     chan struct{}
	token    string
}

var (
	errCut  = errors.New("cut")
	errFail = errors.New("unavailable")
	errBad  = errors.New("bad log")
)

func (r *receiver) export(ctx context.Context, request *collector.ExportLogsServiceRequest) (*collector.ExportLogsServiceResponse, error) {
	r.mu.Lock()
	hang := r.hang
	r.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return nil, errFail
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	response := new(collector.ExportLogsServiceResponse)
	if r.fail > 0 {
		r.fail--
		return nil, errFail
	}
	bad := int64(0)
	for _, resource := range request.GetResourceLogs() {
		for _, scope := range resource.GetScopeLogs() {
			var good []*logs.LogRecord
			for _, record := range scope.GetLogRecords() {
				if r.refuse != "" && strings.HasPrefix(record.GetAttributes()[0].GetValue().GetStringValue(), r.refuse) {
					bad++
				} else {
					good = append(good, record)
				}
			}
			scope.LogRecords = good
		}
	}
	if bad > 0 {
		if !r.partial {
			return nil, errBad
		}
		response.PartialSuccess = &collector.ExportLogsPartialSuccess{RejectedLogRecords: bad, ErrorMessage: "no such attribute"}
	}
	r.kept = append(r.kept, request)
	if r.cut > 0 {
		r.cut--
		return nil, errCut
	}
	return response, nil
}

func (r *receiver) bodies(*testing.T) (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, request := range r.kept {
		for _, resource := range request.GetResourceLogs() {
			for _, scope := range resource.GetScopeLogs() {
				for _, record := range scope.GetLogRecords() {
					all = append(all, record.GetBody().GetStringValue())
				}
			}
		}
	}
	return all
}

// ServeHTTP is OTLP/HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	var body io.Reader = in.Body
	if in.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	request := new(collector.ExportLogsServiceRequest)
	if err != nil || proto.Unmarshal(raw, request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	after, token := r.throttle, r.token
	r.mu.Unlock()
	if token != "" && in.Header.Get("Authorization") != token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	response, err := r.export(in.Context(), request)
	switch {
	case errors.Is(err, errCut):
		panic(http.ErrAbortHandler)
	case errors.Is(err, errBad):
		w.WriteHeader(http.StatusBadRequest)
		return
	case err != nil && after > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case err != nil:
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	answer, err := proto.Marshal(response)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

// grpcServer is OTLP/gRPC at an address that it can give up and take again.
type grpcServer struct {
	r      *receiver
	addr   string
	mu     sync.Mutex
	server *grpc.Server
	conns  map[net.Conn]bool // guarded by mu
}

type trackedListener struct {
	net.Listener
	g *grpcServer
}

func (l trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.g.mu.Lock()
		l.g.conns[conn] = true
		l.g.mu.Unlock()
	}
	return conn, err
}

func (g *grpcServer) start(t *testing.T) {
	t.Helper()
	ln := sinktest.Listen(t, "tcp", g.addr)
	g.addr = ln.Addr().String()
	handler := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := new(collector.ExportLogsServiceRequest)
		if err := decode(request); err != nil {
			return nil, err
		}
		g.r.mu.Lock()
		after, token := g.r.throttle, g.r.token
		g.r.mu.Unlock()
		if md, _ := metadata.FromIncomingContext(ctx); token != "" && (len(md.Get("authorization")) != 1 || md.Get("authorization")[0] != token) {
			return nil, status.Error(codes.Unauthenticated, "no token")
		}
		response, err := g.r.export(ctx, request)
		switch {
		case errors.Is(err, errCut):
			g.mu.Lock()
			for conn := range g.conns {
				conn.Close()
			}
			g.mu.Unlock()
			return nil, status.Error(codes.Unavailable, "cut")
		case errors.Is(err, errBad):
			return nil, status.Error(codes.InvalidArgument, err.Error())
		case err != nil && after > 0:
			st, _ := status.New(codes.Unavailable, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
			return nil, st.Err()
		case err != nil:
			return nil, status.Error(codes.Unavailable, err.Error())
		}
		return response, nil
	}
	g.server = grpc.NewServer(grpc.MaxRecvMsgSize(16 << 20))
	g.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.logs.v1.LogsService", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Export", Handler: handler}},
	}, g)
	go func(s *grpc.Server) { _ = s.Serve(trackedListener{ln, g}) }(g.server)
}

func open(t testing.TB, change func(*Config)) *Sink {
	t.Helper()
	cfg := *DefaultConfig()
	change(&cfg)
	var report config.Report
	cfg.Validate(&report)
	if len(report.Problems) > 0 {
		t.Fatal(report.Problems)
	}
	s, err := New(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.WithoutCancel(t.Context())) })
	return s
}

// serve serves a receiver by a protocol and returns the endpoint, and what takes
// it down.
func serve(t *testing.T, r *receiver, protocol string) (endpoint string, down func(t *testing.T) func()) {
	t.Helper()
	if protocol == "http" {
		server := sinktest.NewServer(t, r, nil)
		return server.URL + "/v1/logs", server.Down
	}
	g := &grpcServer{r: r, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	g.start(t)
	t.Cleanup(func() { g.server.Stop() })
	return "http://" + g.addr, func(t *testing.T) func() {
		g.server.Stop()
		return func() { g.start(t) }
	}
}

func TestContract(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				r := new(receiver)
				endpoint, down := serve(t, r, protocol)
				set := func(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }
				return sinktest.Harness{
					Sink:     open(t, func(c *Config) { c.Endpoint, c.Protocol = endpoint, protocol }),
					Received: r.bodies, Repeats: true,
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { set(func() { r.fail, r.throttle = n, after }) },
						Fail:     func(n int) { set(func() { r.fail, r.throttle = n, 0 }) },
						Refuse:   func(prefix string) { set(func() { r.refuse = prefix }) },
						Hang: func() func() {
							wait := make(chan struct{})
							set(func() { r.hang = wait })
							return sync.OnceFunc(func() { set(func() { r.hang = nil }); close(wait) })
						},
						Cut:  func(n int) { set(func() { r.cut = n }) },
						Down: down,
					},
				}
			})
		})
	}
}

func TestPartialSuccessFindsWhatWasRefused(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			r := &receiver{refuse: "bad", partial: true}
			endpoint, _ := serve(t, r, protocol)
			s := open(t, func(c *Config) { c.Endpoint, c.Protocol = endpoint, protocol })
			events := append(sinktest.Events("good", 5, 100), sinktest.Events("bad", 2, 100)...)
			err := s.Deliver(t.Context(), events)
			var partial *sink.PartialError
			if !errors.As(err, &partial) || len(partial.Failed) != 2 || !errors.Is(partial.Failed[5], sink.ErrRejected) || !errors.Is(partial.Failed[6], sink.ErrRejected) ||
				!strings.Contains(partial.Failed[5].Error(), "no such attribute") {
				t.Fatalf("Deliver() = %v; want the two bad ones rejected, with the receiver's reason", err)
			}
			seen := map[string]bool{}
			for _, body := range r.bodies(t) {
				seen[body] = true
			}
			for _, e := range events[:5] {
				if !seen[string(e.Data)] {
					t.Errorf("event %s is not there", e.ID)
				}
			}
		})
	}
}

func TestRecords(t *testing.T) {
	r := new(receiver)
	endpoint, _ := serve(t, r, "grpc")
	at, observed := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	cfg := *DefaultConfig()
	cfg.Endpoint, cfg.Body, cfg.Resource = endpoint, "map", map[string]string{"b": "2", "a": "1"}
	s, err := New(cfg, func() time.Time { return observed })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	data := `{"n":9007199254740993,"big":123456789012345678901234567890,"f":1.5,"t":true,"z":null,"l":["é\n",{}],"event":{"kind":"alert"},"log":{"level":"Error"}}`
	err = s.Deliver(t.Context(), []event.Event{
		{ID: "a", Time: at, LogType: "entra_signin", Schema: "ecs", Data: []byte(data), Origin: &event.Origin{Source: "s", Tenant: "contoso", TenantID: "7d0c", Partition: "1"}, Severity: event.Severity{Text: "Error", Alert: true}},
		{ID: "b", LogType: "x", Schema: "ocsf", Severity: event.Severity{Text: "Critical", ID: 5}, Data: []byte(`{"severity_id":5,"severity":"Critical"}`), Origin: &event.Origin{Source: "s", Tenant: "contoso", TenantID: "7d0c", Partition: "2"}},
		{ID: "c", LogType: "x", Schema: "raw", Data: []byte(`{"log":{"level":"Warning"}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	resources := r.kept[0].GetResourceLogs()
	if len(resources) != 2 {
		t.Fatalf("%d resources, want one for each source and tenant", len(resources))
	}
	pairs := func(list []*common.KeyValue) (text string) {
		for _, kv := range list {
			text += kv.GetKey() + "=" + kv.GetValue().GetStringValue() + " "
		}
		return text
	}
	if got, want := pairs(resources[0].GetResource().GetAttributes()),
		"service.name=lazuli cloud.provider=azure azure.tenant.id=7d0c lazuli.source=s lazuli.tenant=contoso a=1 b=2 "; got != want {
		t.Errorf("resource %q, want %q", got, want)
	}
	first := resources[0].GetScopeLogs()[0].GetLogRecords()[0]
	if got, want := pairs(first.GetAttributes()), "log.record.uid=a lazuli.log_type=entra_signin lazuli.schema=ecs "; got != want {
		t.Errorf("attributes %q, want %q", got, want)
	}
	if first.GetTimeUnixNano() != uint64(at.UnixNano()) || first.GetObservedTimeUnixNano() != uint64(observed.UnixNano()) || first.GetEventName() != "entra_signin" ||
		first.GetSeverityNumber() != logs.SeverityNumber_SEVERITY_NUMBER_WARN3 {
		t.Errorf("record %v", first)
	}
	var got []string
	for _, kv := range first.GetBody().GetKvlistValue().GetValues() {
		got = append(got, fmt.Sprintf("%s=%v", kv.GetKey(), kv.GetValue().GetValue()))
	}
	text := strings.Join(got, " ")
	for _, want := range []string{"n=&{9007199254740993}", "big=&{123456789012345678901234567890}", "f=&{1.5}", "t=&{true}", "z=<nil>"} {
		if !strings.Contains(text, want) {
			t.Errorf("body %s, want %s in it", text, want)
		}
	}
	if second := resources[0].GetScopeLogs()[0].GetLogRecords()[1]; second.GetSeverityNumber() != logs.SeverityNumber_SEVERITY_NUMBER_ERROR || second.GetSeverityText() != "Critical" || second.GetTimeUnixNano() != 0 {
		t.Errorf("record %v", second)
	}
}

func TestATokenIsSentAndItsLackExplained(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			r := &receiver{token: "Bearer s3cret"}
			endpoint, _ := serve(t, r, protocol)
			with := open(t, func(c *Config) {
				c.Endpoint, c.Protocol, c.Headers = endpoint, protocol, map[string]config.Secret{"authorization": "Bearer s3cret"}
			})
			if err := with.Deliver(t.Context(), sinktest.Events("a", 1, 100)); err != nil {
				t.Fatal(err)
			}
			without := open(t, func(c *Config) { c.Endpoint, c.Protocol = endpoint, protocol })
			var remedy *sink.RemedyError
			if err := without.Deliver(t.Context(), sinktest.Events("a", 1, 100)); !errors.As(err, &remedy) || !remedy.Person {
				t.Errorf("Deliver() = %v; want a remedy", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		path   string
		change func(*Config)
	}{
		"no URL":              {"endpoint", func(c *Config) { c.Endpoint = "otel:4317" }},
		"no TLS":              {"endpoint", func(c *Config) { c.Endpoint = "http://otel:4317" }},
		"gRPC with a path":    {"endpoint", func(c *Config) { c.Endpoint = "https://otel:4317/v1/logs" }},
		"gRPC without port":   {"endpoint", func(c *Config) { c.Endpoint = "https://otel" }},
		"HTTP without path":   {"endpoint", func(c *Config) { c.Protocol = "http" }},
		"a header's name":     {"headers.a b", func(c *Config) { c.Headers = map[string]config.Secret{"a b": "c"} }},
		"loopback needs none": {"", func(c *Config) { c.Endpoint = "http://127.0.0.1:4317" }},
	} {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			c.Endpoint = "https://otel:4317"
			tc.change(c)
			var r config.Report
			c.Validate(&r)
			switch {
			case tc.path == "" && len(r.Problems) > 0, tc.path != "" && (len(r.Problems) != 1 || r.Problems[0].Path != tc.path):
				t.Errorf("problems %v, want one at %q", r.Problems, tc.path)
			}
		})
	}
}
