package eventhubs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

const (
	testPolicy = "RootManageSharedAccessKey"
	testKey    = "c2ltdWxhdG9yLWtleS1mb3ItdGVzdHM="
	testHub    = "logs"
)

// quickRetry makes the clients' recovery take milliseconds instead of seconds.
var quickRetry = azeventhubs.RetryOptions{MaxRetries: 5, RetryDelay: 10 * time.Millisecond, MaxRetryDelay: 100 * time.Millisecond}

// fixture is a broker with a hub, served on a plain port.
type fixture struct {
	broker  *Broker
	hub     *Hub
	address string
}

func (f *fixture) connectionString() string {
	return f.broker.EmulatorConnectionString(f.address, testPolicy, "")
}

func testOptions() Options { return Options{Keys: map[string]string{testPolicy: testKey}} }

func newFixture(t testing.TB, o Options, partitions int, ho HubOptions) *fixture {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.CreateHub(testHub, partitions, ho)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{b, h, serve(t, b, listen(t))}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serve serves the listener until the test ends and returns its address.
func serve(t testing.TB, b *Broker, ln net.Listener) string {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- b.ServeAMQP(ln) }()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("ServeAMQP: %v", err)
		}
	})
	return ln.Addr().String()
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// consumer returns the Go SDK's client on the fixture's plain port.
func (f *fixture) consumer(t testing.TB, group string) *azeventhubs.ConsumerClient {
	t.Helper()
	c, err := azeventhubs.NewConsumerClientFromConnectionString(f.connectionString(), testHub, group, &azeventhubs.ConsumerClientOptions{RetryOptions: quickRetry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

func (f *fixture) producer(t testing.TB) *azeventhubs.ProducerClient {
	t.Helper()
	p, err := azeventhubs.NewProducerClientFromConnectionString(f.connectionString(), testHub, &azeventhubs.ProducerClientOptions{RetryOptions: quickRetry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.WithoutCancel(t.Context())) })
	return p
}

// reader opens a partition client that closes with the test.
func reader(t testing.TB, c *azeventhubs.ConsumerClient, partition string, o azeventhubs.PartitionClientOptions) *azeventhubs.PartitionClient {
	t.Helper()
	p, err := c.NewPartitionClient(partition, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.WithoutCancel(t.Context())) })
	return p
}

func earliest() azeventhubs.PartitionClientOptions {
	return azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: new(true)}}
}

// receive reads n events.
func receive(ctx context.Context, t testing.TB, p *azeventhubs.PartitionClient, n int) []*azeventhubs.ReceivedEventData {
	t.Helper()
	events, err := p.ReceiveEvents(ctx, n, nil)
	if err != nil {
		t.Fatalf("receive %d events: got %d, then %v", n, len(events), err)
	}
	if len(events) != n {
		t.Fatalf("receive: got %d events, want %d", len(events), n)
	}
	return events
}

// fill appends n events whose bodies say which they are.
func fill(t testing.TB, h *Hub, partition, n int) {
	t.Helper()
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, "event %d", i)
	}
	if _, err := h.Append(partition, bodies...); err != nil {
		t.Fatal(err)
	}
}

// serverTLS returns a certificate for name and a pool that trusts it.
func serverTLS(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// waitFor looks again until the condition holds.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	timeout := time.After(30 * time.Second)
	for !condition() {
		select {
		case <-again.C:
		case <-timeout:
			t.Fatalf("%s: did not happen within 30 s", what)
		}
	}
}

// waitReceivers waits until n receivers read a partition.
func (f *fixture) waitReceivers(t testing.TB, partition, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d receivers on partition %d", n, partition), func() bool {
		info, err := f.hub.Partition(partition)
		return err == nil && info.Receivers == n
	})
}

// stepClock is a clock that a test moves. Tokens are checked against it, so it
// starts at the real time.
type stepClock struct{ unixMilli atomic.Int64 }

func newStepClock() *stepClock {
	c := &stepClock{}
	c.unixMilli.Store(time.Now().UnixMilli())
	return c
}

func (c *stepClock) now() time.Time          { return time.UnixMilli(c.unixMilli.Load()) }
func (c *stepClock) advance(d time.Duration) { c.unixMilli.Add(d.Milliseconds()) }
