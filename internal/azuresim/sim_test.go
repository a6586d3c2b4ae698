package azuresim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
	"github.com/lazuli-logs/lazuli/internal/azuresim/tenant"
)

func start(t *testing.T, options Options) *Sim {
	t.Helper()
	s, err := Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// clientTLS trusts the simulator through its file, as another program would.
func clientTLS(t *testing.T, s *Sim) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(s.Endpoints.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s", s.Endpoints.CAFile)
	}
	return &tls.Config{RootCAs: roots}
}

// receive reads all partitions of a hub with the official client until events
// records have arrived, and notes them in the ledger.
func receive(t *testing.T, s *Sim, client *azeventhubs.ConsumerClient, events uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	earliest := true
	var group sync.WaitGroup
	for i := range s.Endpoints.Partitions {
		partition, err := client.NewPartitionClient(fmt.Sprint(i), &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: &earliest}})
		if err != nil {
			t.Fatal(err)
		}
		defer partition.Close(context.Background())
		group.Go(func() {
			for s.Ledger.Report().Delivered < events {
				few, stop := context.WithTimeout(ctx, 500*time.Millisecond)
				got, err := partition.ReceiveEvents(few, 100, nil)
				stop()
				for _, event := range got {
					s.Ledger.SeenLine(event.Body)
				}
				if err != nil && !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
					t.Errorf("partition %d: %v", i, err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestOfficialClientsReceiveEverything(t *testing.T) {
	const events = 3000
	tests := []struct {
		name   string
		client func(*testing.T, *Sim) (*azeventhubs.ConsumerClient, error)
	}{
		{"connection string of the emulator", func(_ *testing.T, s *Sim) (*azeventhubs.ConsumerClient, error) {
			return azeventhubs.NewConsumerClientFromConnectionString(s.Endpoints.ConnectionString, Hub, ConsumerGroup, nil)
		}},
		{"connection string with TLS", func(t *testing.T, s *Sim) (*azeventhubs.ConsumerClient, error) {
			config := clientTLS(t, s)
			config.ServerName = "127.0.0.1"
			return azeventhubs.NewConsumerClientFromConnectionString(s.Endpoints.TLSConnectionString, Hub, ConsumerGroup,
				&azeventhubs.ConsumerClientOptions{TLSConfig: config})
		}},
		{"connection string of the namespace", func(t *testing.T, s *Sim) (*azeventhubs.ConsumerClient, error) {
			return azeventhubs.NewConsumerClientFromConnectionString(s.Endpoints.NamespaceConnectionString, Hub, ConsumerGroup,
				&azeventhubs.ConsumerClientOptions{TLSConfig: clientTLS(t, s), CustomEndpoint: s.Endpoints.AMQPS})
		}},
		{"connection string over WebSockets", func(t *testing.T, s *Sim) (*azeventhubs.ConsumerClient, error) {
			transport := &http.Transport{TLSClientConfig: clientTLS(t, s)}
			t.Cleanup(transport.CloseIdleConnections)
			return azeventhubs.NewConsumerClientFromConnectionString(s.Endpoints.NamespaceConnectionString, Hub, ConsumerGroup,
				&azeventhubs.ConsumerClientOptions{NewWebSocketConn: func(ctx context.Context, _ azeventhubs.WebSocketConnParams) (net.Conn, error) {
					ws, _, err := websocket.Dial(ctx, s.Endpoints.HTTPS+"/$servicebus/websocket",
						&websocket.DialOptions{Subprotocols: []string{"amqp"}, HTTPClient: &http.Client{Transport: transport}})
					if err != nil {
						return nil, err
					}
					return websocket.NetConn(context.Background(), ws, websocket.MessageBinary), nil
				}})
		}},
		{"client secret", func(t *testing.T, s *Sim) (*azeventhubs.ConsumerClient, error) {
			transport := &http.Transport{TLSClientConfig: clientTLS(t, s)}
			t.Cleanup(transport.CloseIdleConnections)
			credential, err := azidentity.NewClientSecretCredential(s.Endpoints.TenantID, s.Endpoints.ClientID, s.Endpoints.ClientSecret,
				&azidentity.ClientSecretCredentialOptions{DisableInstanceDiscovery: true, ClientOptions: azcore.ClientOptions{
					Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: s.Endpoints.AuthorityHost}, Transport: &http.Client{Transport: transport},
				}})
			if err != nil {
				return nil, err
			}
			return azeventhubs.NewConsumerClient(s.Endpoints.Namespace, Hub, ConsumerGroup, credential,
				&azeventhubs.ConsumerClientOptions{TLSConfig: clientTLS(t, s), CustomEndpoint: s.Endpoints.AMQPS})
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := start(t, Options{Seed: 5, Partitions: 2, RetainBytes: -1, Prepared: 200})
			if produced, err := s.Produce(t.Context(), events, 0); err != nil || produced != events {
				t.Fatalf("Produce: %d, %v", produced, err)
			}
			client, err := tc.client(t, s)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close(context.Background())
			receive(t, s, client, events)
			if diff := cmp.Diff(ledger.Report{Produced: events, Delivered: events}, s.Ledger.Report()); diff != "" {
				t.Errorf("ledger (-want +got):\n%s", diff)
			}
		})
	}
}

// drain notes everything that the hubs hold in a fresh ledger.
func drain(t *testing.T, s *Sim) *ledger.Ledger {
	t.Helper()
	l := s.Ledger.Fresh()
	for _, hub := range s.Broker.Hubs() {
		for i := range hub.Partitions() {
			events, err := hub.Read(i, 0, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range events {
				l.SeenLine(event.Body)
			}
		}
	}
	return l
}

func TestProduceFillsAllHubsAndPartitions(t *testing.T) {
	s := start(t, Options{Hubs: []string{"one", "two"}, Partitions: 3, RetainBytes: -1, RecordsPerMessage: 1, Prepared: 50})
	if _, err := s.Produce(t.Context(), 60, 0); err != nil {
		t.Fatal(err)
	}
	for _, hub := range s.Broker.Hubs() {
		for i := range 3 {
			if events, err := hub.Read(i, 0, 100); err != nil || len(events) != 10 {
				t.Errorf("hub %q, partition %d: %d messages, %v, want 10", hub.Name(), i, len(events), err)
			}
		}
	}
	if diff := cmp.Diff(ledger.Report{Produced: 60, Delivered: 60}, drain(t, s).Report()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

func TestRetentionBoundsMemory(t *testing.T) {
	const retain = 4 << 20
	s := start(t, Options{Partitions: 2, RetainBytes: retain, Prepared: 200})
	if _, err := s.Produce(t.Context(), 10_000, 0); err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, hub := range s.Broker.Hubs() {
		for i := range hub.Partitions() {
			events, err := hub.Read(i, 0, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			for _, event := range events {
				held += len(event.Body)
			}
		}
	}
	if held > retain+tenant.MaxMessage || held < retain/2 {
		t.Errorf("the hub holds %d bytes, want about %d", held, retain)
	}
}

func TestConcurrentProductionIsWholeAndDistinct(t *testing.T) {
	s := start(t, Options{RetainBytes: -1, Prepared: 100})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := s.Produce(t.Context(), 500, 0); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if diff := cmp.Diff(ledger.Report{Produced: 2000, Delivered: 2000}, drain(t, s).Report()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

func TestProduceEndsWithItsContext(t *testing.T) {
	s := start(t, Options{Prepared: 50})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Produce(ended, 0, 0); err != nil {
		t.Errorf("production without a count: %v, want no error", err)
	}
	if _, err := s.Produce(ended, 10, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("production of 10: %v, want %v", err, context.Canceled)
	}
	if _, err := s.Produce(t.Context(), 10, -1); err == nil {
		t.Error("a negative rate is accepted")
	}
}

func TestRateOption(t *testing.T) {
	s := start(t, Options{Prepared: 50, RetainBytes: -1, Rate: 1000})
	for deadline := time.Now().Add(20 * time.Second); s.Ledger.Report().Produced < 10; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nothing was produced")
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if report := drain(t, s).Report(); report.Lost != 0 || report.Unknown != 0 {
		t.Errorf("ledger after Close: %s", report)
	}
}

func TestPace(t *testing.T) {
	tests := []struct {
		rate, wantBurst int
		produced        uint64
		want            time.Duration
	}{
		{rate: 1, wantBurst: 1, produced: 3, want: 3 * time.Second},
		{rate: 3, wantBurst: 1, produced: 1, want: time.Second / 3},
		{rate: 40, wantBurst: 10, produced: 50, want: 1250 * time.Millisecond},
		{rate: 100_000, wantBurst: 200, produced: 1 << 40, want: 10995116277760 * time.Microsecond},
	}
	for _, tc := range tests {
		t.Run(fmt.Sprint(tc.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pace{begin: time.Now(), rate: tc.rate}
				if got := p.burst(); got != tc.wantBurst {
					t.Errorf("burst %d, want %d", got, tc.wantBurst)
				}
				p.wait(t.Context(), tc.produced)
				if got := time.Since(p.begin); got != tc.want {
					t.Errorf("waited %s after %d records, want %s", got, tc.produced, tc.want)
				}
			})
		})
	}
}

func TestRestart(t *testing.T) {
	options := Options{Seed: 9, DataDir: t.TempDir(), RetainBytes: -1, Prepared: 50}
	s := start(t, options)
	if _, err := s.Produce(t.Context(), 300, 0); err != nil {
		t.Fatal(err)
	}
	before := s.Endpoints
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = start(t, options)
	if diff := cmp.Diff(ledger.Report{Produced: 300, Delivered: 300}, drain(t, s).Report()); diff != "" {
		t.Errorf("ledger after the restart (-want +got):\n%s", diff)
	}
	if _, err := s.Produce(t.Context(), 200, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ledger.Report{Produced: 500, Delivered: 500}, drain(t, s).Report()); diff != "" {
		t.Errorf("ledger after further production (-want +got):\n%s", diff)
	}
	if s.Endpoints.ClientSecret != before.ClientSecret || s.Endpoints.TenantID != before.TenantID {
		t.Error("the restart changed the tenant or its secret")
	}

	options.Partitions = 3
	if other, err := Start(t.Context(), options); err == nil {
		other.Close()
		t.Error("another number of partitions than the data folder's is accepted")
	}
}

func TestStartRefusesOptions(t *testing.T) {
	for _, options := range []Options{{RecordsPerMessage: 201}, {RecordsPerMessage: -1}, {Rate: -1}, {Partitions: -1}, {Hubs: []string{"a b"}}} {
		if s, err := Start(t.Context(), options); err == nil {
			s.Close()
			t.Errorf("options %+v are accepted", options)
		}
	}
}

func TestStartFailsCleanly(t *testing.T) {
	s := start(t, Options{Prepared: -1})
	port := 0
	if _, err := fmt.Sscanf(s.Endpoints.AMQP, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	if other, err := Start(t.Context(), Options{Prepared: -1, Ports: Ports{AMQPS: port}}); err == nil {
		other.Close()
		t.Errorf("port %d was given twice", port)
	}
}

func TestEndpointsAreOneLine(t *testing.T) {
	s := start(t, Options{Prepared: -1})
	line, err := json.Marshal(s.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(line, '\n') || bytes.Contains(line, []byte(`:""`)) || bytes.Contains(line, []byte(`null`)) {
		t.Errorf("endpoints %s, want one line without a gap", line)
	}
	if !strings.Contains(s.Endpoints.ConnectionString, "UseDevelopmentEmulator=true") {
		t.Errorf("connection string %q is not an emulator's", s.Endpoints.ConnectionString)
	}
}

// ask sends a request with client and returns the status and body of the answer.
func ask(t *testing.T, client *http.Client, method, address string, change func(*http.Request)) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(request)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

func TestControl(t *testing.T) {
	s := start(t, Options{Prepared: 50, RetainBytes: -1})
	output := filepath.Join(t.TempDir(), "out.ndjson")
	post := func(path string) (int, string) {
		status, body := ask(t, http.DefaultClient, http.MethodPost, s.Endpoints.Control+path, nil)
		return status, string(body)
	}
	if status, body := post("/produce?events=50"); status != 200 || !strings.Contains(body, `"produced":50`) {
		t.Fatalf("produce: %d %s", status, body)
	}
	var lines []byte
	hub, _ := s.Broker.Hub(Hub)
	for i := range hub.Partitions() {
		events, err := hub.Read(i, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			lines = append(append(lines, event.Body...), '\n')
		}
	}
	if err := os.WriteFile(output, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path       string
		wantStatus int
		want       string
	}{
		{"/ledger/check?file=" + url.QueryEscape(output), 200, `"produced":50,"delivered":50,"lost":0`},
		{"/ledger/check?file=" + url.QueryEscape(output), 200, `"duplicated":0`}, // read anew, not on top
		{"/ledger/check", 400, "missing"},
		{"/ledger/check?file=/nowhere", 500, "/nowhere"},
		{"/produce", 400, "events"},
		{"/produce?events=0", 400, "events"},
		{"/produce?events=x", 400, "not a int"},
		{"/produce?events=1&rat=5", 400, `no parameter \"rat\"`},
		{"/faults/stall?partition=1", 200, "stall"},
		{"/faults/stall?partition=99", 500, "99"},
		{"/faults/stall?partition=1&on=false", 200, "stall"},
		{"/faults/detach?partition=0&condition=amqp:link:stolen", 200, `"affected":0`},
		{"/faults/detach-senders", 200, `"affected":0`},
		{"/faults/cut?count=1", 200, `"affected":0`},
		{"/faults/refuse-attach?times=3", 200, "refuse-attach"},
		{"/faults/reject-sends?times=3", 200, "reject-sends"},
		{"/faults/cbs?status=401&times=2", 200, "cbs"},
		{"/faults/management?status=500", 200, "management"},
		{"/faults/delay?duration=1ms", 200, "delay"},
		{"/faults/entra?status=429&retry_after=2s", 200, "entra"},
		{"/faults/entra?status=99", 400, "400 to 599"},
		{"/faults/token-lifetime?duration=2m", 200, "token-lifetime"},
		{"/faults/clear", 200, "clear"},
		{"/faults/nonsense", 400, "refuse-attach"},
		{"/hubs/recreate", 200, "insights"},
		{"/hubs/recreate?hub=other", 500, "other"},
	}
	for _, tc := range tests {
		if status, body := post(tc.path); status != tc.wantStatus || !strings.Contains(body, tc.want) {
			t.Errorf("POST %s: %d %s, want %d with %s", tc.path, status, body, tc.wantStatus, tc.want)
		}
	}
	_, body := ask(t, http.DefaultClient, http.MethodGet, s.Endpoints.Control+"/endpoints", nil)
	var got Endpoints
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Endpoints, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

func TestControlReachesTheFaults(t *testing.T) {
	s := start(t, Options{Prepared: -1})
	post := func(path string) { ask(t, http.DefaultClient, http.MethodPost, s.Endpoints.Control+path, nil) }
	transport := &http.Transport{TLSClientConfig: clientTLS(t, s)}
	defer transport.CloseIdleConnections()
	entra := func() int {
		status, _ := ask(t, &http.Client{Transport: transport}, http.MethodGet,
			s.Endpoints.HTTPS+"/"+s.Endpoints.TenantID+"/v2.0/.well-known/openid-configuration", nil)
		return status
	}
	if got := entra(); got != 200 {
		t.Fatalf("Entra answers %d", got)
	}
	post("/faults/entra?status=503&times=1")
	if got := entra(); got != 503 {
		t.Errorf("Entra answers %d after the fault, want 503", got)
	}
	post("/faults/entra?status=503&times=5")
	post("/faults/clear")
	if got := entra(); got != 200 {
		t.Errorf("Entra answers %d after clear, want 200", got)
	}
}

func TestControlIsNotForWebPages(t *testing.T) {
	s := start(t, Options{Prepared: -1})
	for name, change := range map[string]func(*http.Request){
		"foreign page":         func(r *http.Request) { r.Header.Set("Origin", "https://example.com") },
		"name bound to the IP": func(r *http.Request) { r.Host = "attacker.example:80" },
	} {
		if status, _ := ask(t, http.DefaultClient, http.MethodGet, s.Endpoints.Control+"/endpoints", change); status != http.StatusForbidden {
			t.Errorf("%s: answer %d, want 403", name, status)
		}
	}
}

func BenchmarkProduce(b *testing.B) {
	s, err := Start(b.Context(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	const events = 10_000
	for b.Loop() {
		if _, err := s.Produce(b.Context(), events, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "records/s")
}
