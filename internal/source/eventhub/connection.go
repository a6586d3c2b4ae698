package eventhub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"

	"github.com/lazuli-logs/lazuli/internal/azure"
)

// connection is one AMQP connection to the namespace: a client of the SDK that
// can be thrown away and made anew. Its methods may be called concurrently.
type connection struct {
	make func() (*azeventhubs.ConsumerClient, error)

	mu         sync.Mutex
	client     *azeventhubs.ConsumerClient // guarded by mu
	generation int                         // guarded by mu; counts the clients made
}

// get returns the current client and its generation, for replace.
func (c *connection) get() (*azeventhubs.ConsumerClient, int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := c.make()
		if err != nil {
			return nil, c.generation, err
		}
		c.client = client
		c.generation++
	}
	return c.client, c.generation, nil
}

// replace drops the client of that generation, and with it every link on it;
// the next get makes a new one. It does nothing if that was done already.
func (c *connection) replace(ctx context.Context, generation int) {
	c.mu.Lock()
	old := c.client
	if old == nil || c.generation != generation {
		c.mu.Unlock()
		return
	}
	c.client = nil
	c.mu.Unlock()
	closeWithin(ctx, closeTimeout, old.Close)
}

func (c *connection) close(ctx context.Context) {
	c.mu.Lock()
	generation := c.generation
	c.mu.Unlock()
	c.replace(ctx, generation)
}

const (
	closeTimeout = 5 * time.Second
	// A new link waits for the old one to close, which may never be confirmed;
	// it takes the partition over even if the old one is still there.
	linkCloseTimeout = time.Second
)

// closeWithin closes an SDK object. The SDK reports on close what is only of
// interest to its own log, and may wait for an answer that never comes.
func closeWithin(ctx context.Context, d time.Duration, closeFn func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = closeFn(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// errManagement says that a $management request was never answered.
var errManagement = errors.New("the hub's $management node did not answer in time")

// manage runs one request to $management over a connection that serves nothing
// else, because every failure costs that connection. Two faults of azeventhubs
// v2.0.2 (mgmt.go) leave no other way: it waits for an answer without a limit,
// and it hides the cause of a failed partition request from its own recovery,
// so that a broken management link stays broken.
func manage[T any](ctx context.Context, c *connection, timeout time.Duration, request func(context.Context, *azeventhubs.ConsumerClient) (T, error)) (T, error) {
	for try := 1; ; try++ {
		client, generation, err := c.get()
		if err != nil {
			var zero T
			return zero, err
		}
		value, err := within(ctx, timeout, func(ctx context.Context) (T, error) { return request(ctx, client) })
		if err == nil || ctx.Err() != nil || rpcCode(err) != 0 {
			return value, err
		}
		c.replace(ctx, generation)
		if try == 2 || errors.Is(err, errManagement) {
			return value, err
		}
	}
}

// within gives up a call that does not obey its context.
func within[T any](ctx context.Context, timeout time.Duration, call func(context.Context) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		value, err := call(limited)
		answers <- answer{value, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-limited.Done():
		a.err = limited.Err()
	}
	if errors.Is(a.err, context.DeadlineExceeded) && ctx.Err() == nil {
		a.err = errManagement
	}
	return a.value, a.err
}

// newClient makes the SDK's client for cfg. It does not touch the network.
func newClient(cfg Config, target Target, credential azcore.TokenCredential, trust *tls.Config, instance string, retry azeventhubs.RetryOptions) (*azeventhubs.ConsumerClient, error) {
	options := azeventhubs.ConsumerClientOptions{
		ApplicationID:  "lazuli",
		InstanceID:     instance,
		CustomEndpoint: cfg.Endpoint,
		TLSConfig:      trust.Clone(), // the SDK writes into it
		RetryOptions:   retry,
	}
	if cfg.Transport == "websockets" {
		options.NewWebSocketConn = func(ctx context.Context, args azeventhubs.WebSocketConnParams) (net.Conn, error) {
			return dialWebSocket(ctx, args.Host, trust, cfg.Proxy, cfg.Endpoint)
		}
	}
	if cfg.ConnectionString == "" {
		return azeventhubs.NewConsumerClient(target.FullyQualifiedNamespace, target.Hub, target.ConsumerGroup, credential, &options)
	}
	// The SDK wants the hub either in the string or beside it, not both.
	properties, err := azeventhubs.ParseConnectionString(cfg.ConnectionString.Reveal())
	if err != nil {
		return nil, fmt.Errorf("read connection_string: %w", err)
	}
	hub := target.Hub
	if properties.EntityPath != nil {
		hub = ""
	}
	return azeventhubs.NewConsumerClientFromConnectionString(cfg.ConnectionString.Reveal(), hub, target.ConsumerGroup, &options)
}

// dialWebSocket opens AMQP over a WebSocket, through a proxy if there is one.
// An endpoint replaces the address that is dialed and nothing else: name, SNI
// and certificate stay those of the namespace.
func dialWebSocket(ctx context.Context, address string, trust *tls.Config, proxy, endpoint string) (net.Conn, error) {
	client, err := azure.HTTPClient(trust, proxy)
	if err != nil {
		return nil, err
	}
	if transport, ok := client.Transport.(*http.Transport); ok && endpoint != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, endpoint)
		}
	}
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"amqp"}})
	if err != nil {
		return nil, fmt.Errorf("open WebSocket %s: %w", address, err)
	}
	conn.SetReadLimit(-1) // go-amqp bounds its frames itself
	return websocket.NetConn(context.WithoutCancel(ctx), conn, websocket.MessageBinary), nil
}
