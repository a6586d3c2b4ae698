package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/azuresim/engine"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/normalize"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/azuremonitor"
	"github.com/lazuli-logs/lazuli/internal/sink/elasticsearch"
	sinkgrpc "github.com/lazuli-logs/lazuli/internal/sink/grpc"
	"github.com/lazuli-logs/lazuli/internal/sink/grpc/plugins"
	sinkhttp "github.com/lazuli-logs/lazuli/internal/sink/http"
	"github.com/lazuli-logs/lazuli/internal/sink/splunkhec"
)

// contender is one sink and a bare client that sends the same to the same server.
type contender struct {
	name string
	sink sink.Sink
	bare func(ctx context.Context, batch int) error
	// batches are what each Deliver gets.
	batches [][]event.Event
	close   func()
}

// sinks measures each sink against a client that only sends what was built
// before, both with four workers over loopback to a server that throws it away.
// With a name, only those that have it in theirs.
func sinks(megabytes, rounds int, name, profiles string) error {
	events, size, err := sampleEvents()
	if err != nil {
		return err
	}
	fmt.Printf("## Sinks\n\n%d MB of ECS events of %d bytes on average, 4 workers, median of %d runs in turn. The server is in the same process and throws "+
		"away what it reads. The bare client sends requests that were built before; with gzip it compresses them as it sends.\n\n", megabytes, size/len(events), rounds)
	fmt.Println("| sink | compression | events/s | MB/s | bare client MB/s | ratio (wall) | CPU s/GB | bare CPU s/GB | ratio (CPU) | allocations per event |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, s := range []struct {
		name string
		open func([]event.Event) (*contender, error)
	}{
		{"azure_monitor", benchAzureMonitor("none")},
		{"azure_monitor", benchAzureMonitor("gzip")},
		{"elasticsearch", benchElastic("none")},
		{"elasticsearch", benchElastic("gzip")},
		{"splunk_hec", benchSplunk("none")},
		{"splunk_hec", benchSplunk("gzip")},
		{"http", benchHTTP("none")},
		{"http", benchHTTP("gzip")},
		{"grpc", benchGRPC},
		{"kafka", benchKafka("none")},
		{"kafka", benchKafka("zstd")},
		{"syslog", benchSyslog(false)},
		{"syslog", benchSyslog(true)},
		{"otlp", benchOTLP("none")},
		{"otlp", benchOTLP("gzip")},
		{"otlp", benchOTLPOverGRPC("none")},
		{"otlp", benchOTLPOverGRPC("gzip")},
		{"blob", benchBlob("ndjson", "none", false)},
		{"blob", benchBlob("ndjson", "zstd", false)},
		{"blob", benchBlob("parquet", "zstd", false)},
		{"blob", benchBlob("parquet", "zstd", true)},
	} {
		if !strings.Contains(s.name, name) {
			continue
		}
		c, err := s.open(events)
		if err != nil {
			return err
		}
		err = c.measure(megabytes, rounds, profiles)
		c.close()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (c *contender) measure(megabytes, rounds int, profiles string) error {
	size, count := 0, 0
	for _, b := range c.batches {
		for i := range b {
			size += len(b[i].Data)
		}
		count += len(b)
	}
	turns := max(1, megabytes*1_000_000/size)
	var own, bare []usage
	var allocs []float64
	profile := func(round int, who string, n int, do func(ctx context.Context, i int) error) (usage, error) {
		if profiles == "" || round < rounds-1 {
			return timeBatches(n, do)
		}
		name := strings.NewReplacer("`", "", " | ", "-", " ", "", ",", "-").Replace(c.name)
		f, err := os.Create(filepath.Join(profiles, name+"-"+who+".pprof"))
		if err != nil {
			return usage{}, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return usage{}, err
		}
		defer pprof.StopCPUProfile()
		return timeBatches(n, do)
	}
	for round := range rounds {
		used, err := profile(round, "bare", len(c.batches)*turns, func(ctx context.Context, i int) error { return c.bare(ctx, i%len(c.batches)) })
		if err != nil {
			return fmt.Errorf("bare client: %w", err)
		}
		bare = append(bare, used)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		used, err = profile(round, "sink", len(c.batches)*turns, func(ctx context.Context, i int) error { return c.sink.Deliver(ctx, c.batches[i%len(c.batches)]) })
		if err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		own = append(own, used)
		allocs = append(allocs, float64(after.Mallocs-before.Mallocs)/float64(count*turns))
	}
	slices.Sort(allocs)
	o, b := median(own), median(bare)
	mb := float64(size*turns) / 1e6
	fmt.Printf("| %s | %.0f | %.0f | %.0f | %.0f %% | %.1f | %.1f | %.0f %% | %.1f |\n", c.name, float64(count*turns)/o.wall, mb/o.wall, mb/b.wall,
		100*b.wall/o.wall, o.cpu/mb*1e3, b.cpu/mb*1e3, 100*b.cpu/o.cpu, allocs[rounds/2])
	return nil
}

// timeBatches does n things with four workers and returns what that took, of
// the server too.
func timeBatches(n int, do func(ctx context.Context, i int) error) (usage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var next atomic.Int64
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	before, begin := cpuSeconds(), time.Now()
	for range 4 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := do(ctx, int(i)); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return usage{wall: time.Since(begin).Seconds(), cpu: cpuSeconds() - before}, errors.Join(errs...)
}

// cpuSeconds is the processor time of this process so far.
func cpuSeconds() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
}

// sampleEvents is about 20 MB of ECS events.
func sampleEvents() (events []event.Event, size int, err error) {
	messages, _, _ := sample()
	m, err := normalize.Compile(normalize.ECS, normalize.DefaultOptions())
	if err != nil {
		return nil, 0, err
	}
	w, d := m.Worker(), decode.New(decode.Options{})
	in := normalize.Input{Origin: &event.Origin{Source: "hub", Partition: "0", Namespace: "ns/hub/0"}}
	var out []byte // events stand one after another, as the pipeline has them
	record := func(r *decode.Record) {
		in.Index, in.Node, in.Raw, in.Number = r.Index, r.Node, r.Raw, r.Number
		if cap(out)-len(out) < 256<<10 {
			out = make([]byte, 0, 2<<20)
		}
		start := len(out)
		var result normalize.Result
		out, result = w.Append(out, in)
		data := out[start:len(out):len(out)]
		events = append(events, event.Event{
			ID: result.ID, Time: result.Time, LogType: result.LogType, Schema: result.Schema, Dataset: result.Dataset, LacksDataStream: result.LacksDataStream,
			Severity: result.Severity, Data: data, Origin: in.Origin,
		})
		size += len(data)
	}
	for i, message := range messages {
		in.Position = int64(i)
		d.Decode(message, record, mustNot)
	}
	return events, size, nil
}

// cut makes batches as the runner does, by the sink's own defaults.
func cut(events []event.Event, defaults config.DeliveryDefaulter) (batches [][]event.Event) {
	d := config.DefaultSinkDelivery()
	defaults.DeliveryDefaults(&d)
	start, size := 0, 0
	for i := range events {
		if i > start && (i-start >= d.Batch.Events || size+len(events[i].Data) > int(d.Batch.Bytes)) {
			batches = append(batches, events[start:i])
			start, size = i, 0
		}
		size += len(events[i].Data)
	}
	return append(batches, events[start:])
}

// hole is a server that reads requests and throws them away; it keeps what the
// sink sent while it records.
type hole struct {
	server *httptest.Server
	status int
	answer string

	mu        sync.Mutex
	recording bool
	requests  []*request // guarded by mu
}

type request struct {
	method, url string
	header      http.Header
	body        []byte
}

func newHole(status int, answer string, secure bool) *hole {
	h := &hole{status: status, answer: answer}
	if secure {
		h.server = httptest.NewTLSServer(h)
	} else {
		h.server = httptest.NewServer(h)
	}
	return h
}

// trust is what a client of a secure one trusts.
func (h *hole) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(h.server.Certificate())
	return &tls.Config{RootCAs: pool}
}

func (h *hole) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	recording := h.recording
	h.mu.Unlock()
	if recording {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.requests = append(h.requests, &request{r.Method, h.server.URL + r.URL.String(), r.Header.Clone(), body})
		h.mu.Unlock()
	} else {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	w.WriteHeader(h.status)
	_, _ = io.WriteString(w, h.answer)
}

// record returns what the sink sends for each batch.
func (h *hole) record(s sink.Sink, batches [][]event.Event) ([][]*request, error) {
	recorded := make([][]*request, len(batches))
	h.recording = true
	for i, b := range batches {
		h.requests = nil
		if err := s.Deliver(context.Background(), b); err != nil {
			return nil, err
		}
		recorded[i] = h.requests
	}
	h.recording = false
	return recorded, nil
}

// httpContender records what the sink sends for each batch, and has the bare
// client send the same.
func httpContender(name, compression string, h *hole, s sink.Sink, batches [][]event.Event, client *http.Client) (*contender, error) {
	recorded, err := h.record(s, batches)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, requests := range recorded {
		for _, r := range requests {
			r.header.Del("Accept-Encoding")
			if compression == "gzip" {
				z, err := gzip.NewReader(bytes.NewReader(r.body))
				if err != nil {
					return nil, err
				}
				if r.body, err = io.ReadAll(z); err != nil {
					return nil, err
				}
			}
		}
	}
	zips := sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}
	send := func(ctx context.Context, r *request) error {
		body := r.body
		if compression == "gzip" {
			var out bytes.Buffer
			out.Grow(len(body) / 4)
			z := zips.Get().(*gzip.Writer)
			defer zips.Put(z)
			z.Reset(&out)
			_, _ = z.Write(body)
			if err := z.Close(); err != nil {
				return err
			}
			body = out.Bytes()
		}
		req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header = r.header
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return &contender{
		name: name + " | " + compression, sink: s, batches: batches,
		bare:  again(recorded, send),
		close: func() { _ = s.Close(context.Background()); h.server.Close() },
	}, nil
}

// again is a bare client that sends what was recorded for a batch.
func again(recorded [][]*request, send func(context.Context, *request) error) func(ctx context.Context, batch int) error {
	return func(ctx context.Context, batch int) error {
		for _, r := range recorded[batch] {
			if err := send(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

func bareClient(trust *tls.Config) (*http.Client, error) { return azure.HTTPClient(trust, "") }

type fixedToken struct{}

func (fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

type noMetrics struct{}

func (noMetrics) Truncated(int) {}

func benchAzureMonitor(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		h := newHole(http.StatusNoContent, "", true)
		client, err := bareClient(h.trust())
		if err != nil {
			return nil, err
		}
		cloud, err := azure.LookupCloud("public", config.Endpoints{})
		if err != nil {
			return nil, err
		}
		cfg := azuremonitor.DefaultConfig()
		cfg.Endpoint, cfg.Rule, cfg.Stream, cfg.Compression = h.server.URL, "dcr-00000000000000000000000000000000", "Custom-A_CL", compression
		cfg.Limits.BytesPerMinute = 1 << 40
		cfg.Limits.RequestsPerMinute = 10_000_000
		s, err := azuremonitor.New(*cfg, azuremonitor.Deps{
			Tenant: &azure.Tenant{Cloud: cloud, Credential: fixedToken{}, HTTP: client}, Limiter: azuremonitor.NewLimiter(cfg.Limits),
			Logger: slog.New(slog.DiscardHandler), Metrics: noMetrics{}, Now: time.Now,
		})
		if err != nil {
			return nil, err
		}
		return httpContender("`azure_monitor`, TLS", compression, h, s, cut(events, cfg), client)
	}
}

func benchElastic(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		h := newHole(http.StatusOK, `{"errors":false,"items":[]}`, false)
		client, err := bareClient(&tls.Config{})
		if err != nil {
			return nil, err
		}
		cfg := elasticsearch.DefaultConfig()
		cfg.URLs, cfg.Compression = []string{h.server.URL}, compression
		s, err := elasticsearch.New(*cfg, time.Now)
		if err != nil {
			return nil, err
		}
		return httpContender("`elasticsearch`", compression, h, s, cut(events, cfg), client)
	}
}

func benchSplunk(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		h := newHole(http.StatusOK, `{"text":"Success","code":0}`, false)
		client, err := bareClient(&tls.Config{})
		if err != nil {
			return nil, err
		}
		cfg := splunkhec.DefaultConfig()
		cfg.URL, cfg.Token, cfg.Compression = h.server.URL, "token", compression
		s, err := splunkhec.New(*cfg, time.Now)
		if err != nil {
			return nil, err
		}
		return httpContender("`splunk_hec`", compression, h, s, cut(events, cfg), client)
	}
}

func benchHTTP(compression string) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		h := newHole(http.StatusOK, "", false)
		client, err := bareClient(&tls.Config{})
		if err != nil {
			return nil, err
		}
		cfg := sinkhttp.DefaultConfig()
		cfg.URL, cfg.Compression = h.server.URL, compression
		s, err := sinkhttp.New(*cfg, time.Now)
		if err != nil {
			return nil, err
		}
		return httpContender("`http`", compression, h, s, cut(events, cfg), client)
	}
}

func benchGRPC(events []event.Event) (*contender, error) {
	dir, err := os.MkdirTemp("", "lazuli-bench-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "engine.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	server := engine.New(engine.Options{Discard: true})
	ended := server.Serve(ln)
	cfg := sinkgrpc.DefaultConfig()
	cfg.Target = "unix://" + path
	s, err := sinkgrpc.New(*cfg, time.Now)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(cfg.Target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	batches := cut(events, cfg)
	logs := make([][]*plugins.Log, len(batches))
	for i, b := range batches {
		for k := range b {
			logs[i] = append(logs[i], &plugins.Log{
				Id: string(b[k].ID), DataType: "azure", DataSource: "hub", Timestamp: b[k].Time.UTC().Format(time.RFC3339Nano), Raw: b[k].Data,
			})
		}
	}
	client := plugins.NewEngineClient(conn)
	streams := sync.Pool{}
	bare := func(_ context.Context, batch int) error {
		stream, ok := streams.Get().(plugins.Engine_InputClient)
		if !ok {
			var err error
			if stream, err = client.Input(context.Background()); err != nil {
				return err
			}
		}
		acked := make(chan error, 1)
		go func() {
			for range logs[batch] {
				if _, err := stream.Recv(); err != nil {
					acked <- err
					return
				}
			}
			acked <- nil
		}()
		for _, l := range logs[batch] {
			if err := stream.Send(l); err != nil {
				return err
			}
		}
		err := <-acked
		streams.Put(stream)
		return err
	}
	return &contender{
		name: "`grpc`, Unix socket | none", sink: s, batches: batches, bare: bare,
		close: func() {
			_ = s.Close(context.Background())
			conn.Close()
			server.Stop()
			<-ended
			os.RemoveAll(dir)
		},
	}, nil
}
