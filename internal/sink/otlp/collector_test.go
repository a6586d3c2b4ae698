package otlp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
	"github.com/lazuli-logs/lazuli/internal/sink/otlp/collectortest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// toCollector changes a configuration to one of the ways to a receiver.
func toCollector(c *collectortest.Collector, protocol string) func(*Config) {
	return func(cfg *Config) {
		cfg.Protocol, cfg.Endpoint = protocol, "http://"+c.GRPC
		if protocol == "http" {
			cfg.Endpoint = "http://" + c.HTTP + "/v1/logs"
		}
	}
}

// TestContractOfTheCollector runs the suite against the Collector's own receiver.
func TestContractOfTheCollector(t *testing.T) {
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				c := collectortest.Start(t, collectortest.Options{})
				return sinktest.Harness{
					Sink: open(t, toCollector(c, protocol)),
					Received: func(*testing.T) (all []string) {
						c.Settle()
						for _, l := range c.Logs() {
							all = append(all, l.Body.(string))
						}
						return all
					},
					Repeats: true,
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { c.Fail(n, codes.Unavailable, after) },
						Fail:     func(n int) { c.Fail(n, codes.OK, 0) },
						Refuse:   c.Refuse,
						Hang:     c.Hang,
						Cut:      c.Crash,
						Down:     func(*testing.T) func() { return c.Down() },
					},
				}
			})
		})
	}
}

// TestTheCollectorReadsWhatIsMeant: all that a log carries, by each way to the
// Collector's receiver.
func TestTheCollectorReadsWhatIsMeant(t *testing.T) {
	cert, key := certificate(t)
	at, observed := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.UTC), time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC)
	origin := &event.Origin{Source: "hub", Tenant: "contoso", TenantID: "7d0c"}
	data := `{"n":9007199254740993,"big":123456789012345678901234567890,"f":1.5,"t":true,"z":null,"l":["é\n",{}],"log":{"level":"Error"}}`
	events := []event.Event{
		{ID: "a", Time: at, LogType: "entra_signin", Schema: "ecs", Data: []byte(data), Origin: origin, Severity: event.Severity{Text: "Error"}},
		{ID: "b", LogType: "x", Schema: "ocsf", Severity: event.Severity{Text: "Critical", ID: 5}, Data: []byte(`{"severity_id":5,"severity":"Critical"}`), Origin: origin},
		{ID: "c", LogType: "x", Schema: "raw", Data: []byte("no JSON")},
	}
	resource := map[string]any{"service.name": "lazuli", "cloud.provider": "azure", "deployment.environment.name": "prod"}
	ofHub := maps.Clone(resource)
	maps.Copy(ofHub, map[string]any{"azure.tenant.id": "7d0c", "lazuli.source": "hub", "lazuli.tenant": "contoso"})
	attributes := func(id, logType, schema string) map[string]any {
		return map[string]any{"log.record.uid": id, "lazuli.log_type": logType, "lazuli.schema": schema}
	}
	bodies := map[string][]any{
		"text": {data, `{"severity_id":5,"severity":"Critical"}`, "no JSON"},
		"map": {
			map[string]any{
				"n": json.Number("9007199254740993"), "big": "123456789012345678901234567890", "f": json.Number("1.5"), "t": true, "z": nil,
				"l": []any{"é\n", map[string]any{}}, "log": map[string]any{"level": "Error"},
			},
			map[string]any{"severity_id": json.Number("5"), "severity": "Critical"},
			"no JSON",
		},
	}
	for _, protocol := range []string{"grpc", "http"} {
		for _, compression := range []string{"gzip", "none"} {
			for _, encrypted := range []bool{false, true} {
				for body, want := range bodies {
					t.Run(fmt.Sprintf("%s %s %s TLS=%v", protocol, compression, body, encrypted), func(t *testing.T) {
						options := collectortest.Options{}
						if encrypted {
							options.CertFile, options.KeyFile = cert, key
						}
						c := collectortest.Start(t, options)
						s := open(t, func(cfg *Config) {
							toCollector(c, protocol)(cfg)
							cfg.Compression, cfg.Body, cfg.Resource = compression, body, map[string]string{"deployment.environment.name": "prod"}
							if encrypted {
								cfg.Endpoint = strings.Replace(cfg.Endpoint, "http:", "https:", 1)
								cfg.Connection.CAFile = config.Path(cert)
							}
						})
						s.now = func() time.Time { return observed }
						if err := s.Deliver(t.Context(), events); err != nil {
							t.Fatal(err)
						}
						c.Settle()
						now := uint64(observed.UnixNano())
						wanted := []collectortest.Log{
							{Resource: ofHub, Scope: "lazuli", Time: uint64(at.UnixNano()), Observed: now, Severity: 17, SeverityText: "Error", EventName: "entra_signin", Attributes: attributes("a", "entra_signin", "ecs"), Body: want[0]},
							{Resource: ofHub, Scope: "lazuli", Observed: now, Severity: 17, SeverityText: "Critical", EventName: "x", Attributes: attributes("b", "x", "ocsf"), Body: want[1]},
							{Resource: resource, Scope: "lazuli", Observed: now, EventName: "x", Attributes: attributes("c", "x", "raw"), Body: want[2]},
						}
						if got := c.Logs(); !reflect.DeepEqual(got, wanted) {
							t.Errorf("the receiver handed over\n%+v\nwant\n%+v", got, wanted)
						}
					})
				}
			}
		}
	}
}

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "collector"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private)
}

// TestStatusesOfTheCollector: what an exporter of the Collector answers reaches
// the sink through the receiver, and is understood.
func TestStatusesOfTheCollector(t *testing.T) {
	const small, large = 300, 200_000
	for _, tc := range []struct {
		code     codes.Code
		after    time.Duration
		size     int
		rejected bool
		asked    time.Duration
		person   bool
	}{
		{code: codes.OK, size: small},
		{code: codes.Unavailable, size: small},
		{code: codes.Unavailable, after: 2 * time.Second, size: small, asked: 2 * time.Second},
		{code: codes.ResourceExhausted, after: 2 * time.Second, size: large, asked: 2 * time.Second},
		{code: codes.ResourceExhausted, size: small}, // a rate, or the Collector's memory
		{code: codes.DeadlineExceeded, size: small},
		{code: codes.Aborted, size: small},
		{code: codes.InvalidArgument, size: small, rejected: true},
		{code: codes.Internal, size: small, rejected: true}, // what the receiver makes of a permanent error
		{code: codes.Unauthenticated, size: small, person: true},
		{code: codes.PermissionDenied, size: small, person: true},
		{code: codes.Unimplemented, size: small, person: true},
	} {
		for _, protocol := range []string{"grpc", "http"} {
			t.Run(fmt.Sprintf("%s %v %v", protocol, tc.code, tc.after), func(t *testing.T) {
				c := collectortest.Start(t, collectortest.Options{})
				s := open(t, toCollector(c, protocol))
				c.Fail(1<<30, tc.code, tc.after)
				err := s.Deliver(t.Context(), sinktest.Events("a", 1, tc.size))
				var throttled *sink.ThrottledError
				var remedy *sink.RemedyError
				asked := time.Duration(0)
				if errors.As(err, &throttled) {
					asked = throttled.After
				}
				var partial *sink.PartialError
				if errors.As(err, &partial) {
					err = partial.Failed[0]
				}
				if err == nil || errors.Is(err, sink.ErrRejected) != tc.rejected || asked != tc.asked || errors.As(err, &remedy) != tc.person {
					t.Errorf("Deliver() = %v; rejected %v, asked to wait %v, for a person %v; want %v, %v, %v",
						err, errors.Is(err, sink.ErrRejected), asked, errors.As(err, &remedy), tc.rejected, tc.asked, tc.person)
				}
			})
		}
	}
}

// TestTheCollectorsLimitOfSize: gRPC's is 4 MiB; that of HTTP is 20 MiB.
func TestTheCollectorsLimitOfSize(t *testing.T) {
	for protocol, size := range map[string]int{"grpc": 5 << 20, "http": 21 << 20} {
		t.Run(protocol, func(t *testing.T) {
			c := collectortest.Start(t, collectortest.Options{})
			s := open(t, func(cfg *Config) {
				toCollector(c, protocol)(cfg)
				cfg.Compression = "none"
			})
			events := append(sinktest.Events("good", 3, 300), sinktest.Events("large", 1, size)...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := s.Deliver(ctx, events)
			var partial *sink.PartialError
			if !errors.As(err, &partial) || len(partial.Failed) != 1 || !errors.Is(partial.Failed[3], sink.ErrRejected) {
				t.Fatalf("Deliver() = %v; want the large one rejected and nothing else", err)
			}
			c.Settle()
			if got := len(c.Logs()); got != 3 {
				t.Errorf("%d logs arrived, want 3", got)
			}
		})
	}
}

// TestABrokenStreamIsNoAnswer: the client makes Internal of it too.
func TestABrokenStreamIsNoAnswer(t *testing.T) {
	err := status.Error(codes.Internal, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR")
	if got := classifyGRPC(err, false); errors.Is(got, sink.ErrRejected) {
		t.Errorf("classifyGRPC() = %v; nobody has rejected anything", got)
	}
	proxy := &httpsink.Answer{Status: http.StatusInternalServerError, Header: http.Header{"Content-Type": {"text/html"}}, Body: []byte("<html>")}
	if got := classifyHTTP(proxy, time.Now()); got == nil || errors.Is(got, sink.ErrRejected) {
		t.Errorf("classifyHTTP() = %v; a proxy has rejected nothing", got)
	}
}
