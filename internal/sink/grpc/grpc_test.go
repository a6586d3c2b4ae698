package grpc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/engine"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/grpc/plugins"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// bench is a sink and an engine that it sends to.
type bench struct {
	sink            *Sink
	engine          *engine.Server
	network, listen string
	serving         <-chan error // the end of the engine
}

// open starts an engine on a Unix socket, or on TCP with TLS, and a sink for it.
func open(t testing.TB, overTLS bool, o engine.Options, change func(*Config)) *bench {
	t.Helper()
	b := &bench{network: "unix", listen: filepath.Join(t.TempDir(), "engine.sock")}
	cfg := DefaultConfig()
	cfg.Target = "unix://" + b.listen
	if overTLS {
		authority, err := ca.New(time.Now)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := authority.WriteFile(file); err != nil {
			t.Fatal(err)
		}
		serverTLS, err := authority.ServerConfig("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		serverTLS.NextProtos = []string{"h2"}
		o.Credentials = credentials.NewTLS(serverTLS)
		b.network, b.listen = "tcp", "127.0.0.1:0"
		cfg.Service, cfg.TLS.CAFile = "integration", config.Path(file)
	}
	b.engine = engine.New(o)
	b.start(t)
	t.Cleanup(b.engine.Stop)
	if overTLS {
		cfg.Target = b.listen
	}
	if change != nil {
		change(cfg)
	}
	var r config.Report
	if cfg.Validate(&r); len(r.Problems) > 0 {
		t.Fatalf("the configuration of the test is wrong: %+v", r.Problems)
	}
	var err error
	if b.sink, err = New(*cfg, time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.sink.Close(context.Background()) }) // the suite may have closed it
	return b
}

func (b *bench) start(t testing.TB) {
	ln := sinktest.Listen(t, b.network, b.listen)
	b.listen = ln.Addr().String()
	b.serving = b.engine.Serve(ln)
}

func (b *bench) down(t *testing.T) func() {
	b.engine.Stop()
	<-b.serving
	return func() { b.start(t) }
}

func (b *bench) received() (raw []string) {
	for _, l := range b.engine.Logs() {
		raw = append(raw, string(l.Raw))
	}
	return raw
}

func TestContract(t *testing.T) {
	for name, tc := range map[string]struct {
		tls    bool
		ack    engine.Acknowledge
		change func(*Config)
	}{
		"socket":           {},
		"TLS":              {tls: true, change: func(c *Config) { c.Metadata = map[string]config.Secret{"key": "hunter2"} }},
		"acks out of turn": {ack: engine.Shuffled},
		"acks repeated":    {ack: engine.Repeated, change: func(c *Config) { c.Window = 1 }},
		"acks cumulative":  {ack: engine.Cumulative, change: func(c *Config) { c.Ack = "cumulative" }},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				o := engine.Options{Acknowledge: tc.ack}
				if tc.tls {
					o.Metadata = map[string]string{"key": "hunter2"}
				}
				b := open(t, tc.tls, o, tc.change)
				return sinktest.Harness{
					Sink: b.sink, Repeats: true,
					Limit:    4<<20 - 200, // the frame
					Received: func(*testing.T) []string { return b.received() },
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { b.engine.Fail(n, codes.ResourceExhausted, after) },
						Fail:     func(n int) { b.engine.Fail(n, codes.Internal, 0) },
						Refuse:   b.engine.Refuse,
						Hang:     b.engine.Hang,
						Cut:      b.engine.Cut,
						Down:     b.down,
					},
				}
			})
		})
	}
}

func TestFields(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.FixedZone("CET", 3600))
	e := event.Event{
		ID: "id-1", Time: at, LogType: "entra_signin", Data: []byte(`{"é":1}`),
		Origin: &event.Origin{Source: "hub", Tenant: "contoso", TenantID: "entra-id"},
	}
	for name, tc := range map[string]struct {
		change func(*Config)
		event  event.Event
		want   engine.Log
	}{
		"defaults": {event: e, want: engine.Log{ID: "id-1", DataType: "azure", DataSource: "hub", TenantID: "entra-id", Timestamp: "2026-01-02T11:00:00.123456789Z", Raw: e.Data}},
		"configured": {
			change: func(c *Config) {
				c.DataType, c.DataTypes, c.DataSource = "o365", map[string]string{"entra_signin": "azure-signin"}, "Contoso"
				c.TenantID, c.TenantIDs = "other", map[string]string{"contoso": "own"}
			},
			event: e,
			want:  engine.Log{ID: "id-1", DataType: "azure-signin", DataSource: "Contoso", TenantID: "own", Timestamp: "2026-01-02T11:00:00.123456789Z", Raw: e.Data},
		},
		"another tenant": {
			change: func(c *Config) {
				c.TenantID, c.TenantIDs = "other", map[string]string{"fabrikam": "own"}
			},
			event: e,
			want:  engine.Log{ID: "id-1", DataType: "azure", DataSource: "hub", TenantID: "other", Timestamp: "2026-01-02T11:00:00.123456789Z", Raw: e.Data},
		},
		"no origin": {event: event.Event{ID: "id-2", Time: at, Data: e.Data}, want: engine.Log{ID: "id-2", DataType: "azure", Timestamp: "2026-01-02T11:00:00.123456789Z", Raw: e.Data}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, false, engine.Options{}, tc.change)
			if err := b.sink.Deliver(t.Context(), []event.Event{tc.event}); err != nil {
				t.Fatal(err)
			}
			if got := b.engine.Logs(); len(got) != 1 || fmt.Sprintf("%q", got[0]) != fmt.Sprintf("%q", tc.want) {
				t.Errorf("log is %q, want %q", got, tc.want)
			}
		})
	}
}

// One record may go to a sink twice, in two schemas: both have the same id, and
// each wants an acknowledgement of its own.
func TestEventsOfOneIDAreToldApart(t *testing.T) {
	b := open(t, false, engine.Options{}, nil)
	events := slices.Concat(sinktest.Events("a", 5, 300), sinktest.Events("a", 5, 400))
	if err := b.sink.Deliver(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if n := b.engine.Count(); n != 10 {
		t.Errorf("%d logs, want 10", n)
	}
	b = open(t, false, engine.Options{Acknowledge: engine.Never}, nil)
	st, err := b.sink.open()
	if err != nil {
		t.Fatal(err)
	}
	st.round = newRound([]plugins.Log{{Id: "a"}, {Id: "a"}, {Id: "c"}})
	st.round.sent.Store(2)
	want := func(what string, done int64) {
		t.Helper()
		if got := st.round.done.Load(); got != done {
			t.Errorf("%s: %d logs are acknowledged, want %d", what, got, done)
		}
	}
	st.note("a")
	want("one acknowledgement for an id that was sent twice", 1)
	st.note("b")
	want("an unknown id", 1)
	st.note("c")
	want("a log that was not sent yet", 1)
	st.note("a")
	st.note("a")
	want("three acknowledgements for two logs", 2)
	st.round.sent.Store(3)
	st.note("c")
	want("the last one, now that it was sent", 3)
	st.cancel()
	<-st.dead
}

// An engine that acknowledges every tenth log, and a sink that expects each: what
// was acknowledged is not sent again, and the operator learns what to set.
func TestCumulativeEnginesAreRecognized(t *testing.T) {
	b := open(t, false, engine.Options{Acknowledge: engine.Cumulative}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := b.sink.Deliver(ctx, sinktest.Events("a", 20, 300))
	var partial *sink.PartialError
	var known *sink.RemedyError
	if !errors.As(err, &partial) || len(partial.Failed) != 18 || !errors.As(partial.Failed[0], &known) || !strings.Contains(known.Remedy, "ack: cumulative") {
		t.Fatalf("Deliver() = %v; want 18 of 20 failed, and the remedy", err)
	}
	if partial.Failed[9] != nil || partial.Failed[19] != nil {
		t.Error("logs that were acknowledged count as failed")
	}
}

func TestSilentEnginesAreRecognized(t *testing.T) {
	b := open(t, false, engine.Options{Acknowledge: engine.Never}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := b.sink.Deliver(ctx, sinktest.Events("a", 20, 300))
	var known *sink.RemedyError
	if !errors.As(err, &known) || !strings.Contains(known.Remedy, "ack: none") {
		t.Errorf("Deliver() = %v, %+v; want the remedy to name ack: none", err, known)
	}
	arrived := make(chan struct{}, 1000)
	b = open(t, false, engine.Options{Acknowledge: engine.Never, Arrived: func([]byte) { arrived <- struct{}{} }}, func(c *Config) { c.Ack = "none" })
	for range 3 {
		if err := b.sink.Deliver(t.Context(), sinktest.Events("a", 20, 300)); err != nil {
			t.Fatal(err)
		}
	}
	late := time.After(time.Minute)
	for n := range 60 {
		select {
		case <-arrived:
		case <-late:
			t.Fatalf("%d logs arrived, want 60", n)
		}
	}
}

// No more than the window is on its way: a slow engine slows the sink down
// instead of losing logs.
func TestTheWindowIsKept(t *testing.T) {
	arrived := make(chan struct{}, 1000)
	b := open(t, false, engine.Options{Acknowledge: engine.Never, Arrived: func([]byte) { arrived <- struct{}{} }}, func(c *Config) { c.Window = 7 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.sink.Deliver(ctx, sinktest.Events("a", 100, 300)) }()
	for range 7 {
		<-arrived
	}
	select {
	case <-arrived:
		t.Error("an eighth log came although none was acknowledged")
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if err := <-done; err == nil || errors.Is(err, sink.ErrRejected) {
		t.Errorf("Deliver() = %v; want what was not acknowledged to be tried again", err)
	}
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		tls    bool
		o      engine.Options
		change func(*Config)
		remedy string
		person bool
	}{
		"wrong key":         {tls: true, o: engine.Options{Metadata: map[string]string{"key": "hunter2"}}, change: func(c *Config) { c.Metadata = map[string]config.Secret{"key": "wrong"} }, remedy: "metadata", person: true},
		"no engine":         {change: func(c *Config) { c.Target += ".other" }, remedy: "check that the engine runs"},
		"unknown authority": {tls: true, change: func(c *Config) { c.TLS = TLS{} }, remedy: "ca_file"},
		"other name":        {tls: true, change: func(c *Config) { c.TLS.ServerName = "engine.example" }, remedy: "ca_file"},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, tc.tls, tc.o, tc.change)
			err := b.sink.Deliver(t.Context(), sinktest.Events("a", 1, 300))
			var known *sink.RemedyError
			if !errors.As(err, &known) || !strings.Contains(known.Remedy, tc.remedy) || known.Person != tc.person {
				t.Errorf("Deliver() = %v, %+v; want the remedy to name %q", err, known, tc.remedy)
			}
			if strings.Contains(fmt.Sprint(err), "hunter2") || strings.Contains(fmt.Sprint(err), "wrong") {
				t.Errorf("the error %v shows a key", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		at     string
	}{
		"defaults":            {func(*Config) {}, ""},
		"no socket":           {func(c *Config) { c.Target = "unix:" }, "target"},
		"no port":             {func(c *Config) { c.Target = "engine.example" }, "target"},
		"TLS on a socket":     {func(c *Config) { c.TLS.ServerName = "a" }, "tls"},
		"plaintext elsewhere": {func(c *Config) { c.Target, c.Plaintext = "engine.example:50051", true }, "plaintext"},
		"plaintext here":      {func(c *Config) { c.Target, c.Plaintext = "127.0.0.1:50051", true }, ""},
		"plaintext and TLS":   {func(c *Config) { c.Target, c.Plaintext, c.TLS.CAFile = "[::1]:50051", true, "a" }, "plaintext"},
		"half a pair":         {func(c *Config) { c.Target, c.TLS.CertFile = "a:1", "a" }, "tls.cert_file"},
		"metadata":            {func(c *Config) { c.Metadata = map[string]config.Secret{"Key": "a"} }, "metadata.Key"},
	} {
		c := DefaultConfig()
		tc.change(c)
		var r config.Report
		c.Validate(&r)
		if tc.at == "" && len(r.Problems) > 0 || tc.at != "" && (len(r.Problems) == 0 || r.Problems[0].Path != tc.at) {
			t.Errorf("%s: problems %+v, want one at %q", name, r.Problems, tc.at)
		}
	}
	if _, err := New(Config{Target: "127.0.0.1:1", TLS: TLS{CAFile: "/nowhere"}}, time.Now); err == nil {
		t.Error("a CA file that is not there: want an error")
	}
}
