package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Rights are what a policy allows. The zero value allows nothing.
type Rights struct{ Listen, Send, Manage bool }

// Options configure a Broker.
type Options struct {
	// Namespace is the fully qualified name, such as "contoso.servicebus.windows.net".
	// It appears in error texts; clients may reach the broker by any name. Default:
	// "lazuli.servicebus.windows.net".
	Namespace string
	// Keys are the shared access policies: name to key. Tokens of other policies
	// are refused.
	Keys map[string]string
	// Rights limits policies of Keys; those that are not in it may do everything.
	Rights map[string]Rights
	// VerifyToken checks a JWT for the audience that the client named, such as
	// "sb://host/hub". Nil refuses JWTs. Called concurrently.
	VerifyToken func(jwt, audience string) error
	// Now is the clock of enqueued times, retention and token expiry. Default: time.Now.
	Now func() time.Time
	// Logger gets connections at debug and their failures at warn level. Default: none.
	Logger *slog.Logger
	// DataDir keeps hubs over a restart of the process. Empty: memory only.
	DataDir string
	// KeepAlive is the longest silence on a connection before an empty frame is
	// sent; a peer that wants them more often gets them. Default: 30 s, half of what the Go
	// client tolerates.
	KeepAlive time.Duration
	// IdleTimeout is the silence after which a peer is given up. Default: 4 min,
	// as the service announces.
	IdleTimeout time.Duration
	// MaxMessageSize is the largest message or batch in bytes. Default: 1 MiB.
	MaxMessageSize int
}

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = "lazuli.servicebus.windows.net"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 30 * time.Second
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 4 * time.Minute
	}
	if o.MaxMessageSize <= 0 {
		o.MaxMessageSize = 1 << 20
	}
	o.Keys, o.Rights = maps.Clone(o.Keys), maps.Clone(o.Rights)
	return o
}

// ErrClosed is returned by the methods of a Broker that is closed.
var ErrClosed = errors.New("eventhubs: the broker is closed")

// Broker is a namespace. Its methods are safe for concurrent use.
type Broker struct {
	opts   Options
	faults *Faults

	mu        sync.Mutex // guards what follows
	hubs      map[string]*Hub
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	closed    bool
	running   sync.WaitGroup // one per connection
}

// New returns a broker with the hubs that DataDir holds.
func New(o Options) (*Broker, error) {
	b := &Broker{
		opts:      o.withDefaults(),
		hubs:      map[string]*Hub{},
		conns:     map[*conn]struct{}{},
		listeners: map[net.Listener]struct{}{},
	}
	b.faults = newFaults(b)
	if o.DataDir == "" {
		return b, nil
	}
	hubs, err := loadHubs(b)
	if err != nil {
		return nil, err
	}
	b.hubs = hubs
	return b, nil
}

// CreateHub adds a hub with partitions "0" to partitions-1. It fails if the name
// is taken: a hub of DataDir is there as soon as New returns.
func (b *Broker) CreateHub(name string, partitions int, o HubOptions) (*Hub, error) {
	if err := checkHub(name, partitions, o); err != nil {
		return nil, fmt.Errorf("eventhubs: create hub %q: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	key := strings.ToLower(name)
	if b.hubs[key] != nil {
		return nil, fmt.Errorf("eventhubs: create hub %q: a hub of this name exists; delete it first", name)
	}
	h := newHub(b, name, partitions, o, b.opts.Now())
	if err := h.save(); err != nil {
		return nil, fmt.Errorf("eventhubs: create hub %q: %w", name, err)
	}
	b.hubs[key] = h
	return h, nil
}

// Hub returns the hub of that name; names differ by more than case.
func (b *Broker) Hub(name string) (*Hub, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.hubs[strings.ToLower(name)]
	return h, ok
}

// Hubs returns all hubs in the order of their names.
func (b *Broker) Hubs() []*Hub {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.hubs), func(x, y *Hub) int { return strings.Compare(x.name, y.name) })
}

// DeleteHub removes a hub with its events and detaches its links. A hub created
// anew under the name starts with small sequence numbers again.
func (b *Broker) DeleteHub(name string) error {
	b.mu.Lock()
	key := strings.ToLower(name)
	h := b.hubs[key]
	delete(b.hubs, key)
	b.mu.Unlock()
	if h == nil {
		return fmt.Errorf("eventhubs: delete hub %q: there is no such hub", name)
	}
	b.detach(func(l *link) bool { return l.entity.hub == h }, b.notFound(h.name))
	if err := h.close(); err != nil {
		return fmt.Errorf("eventhubs: delete hub %q: %w", name, err)
	}
	if b.opts.DataDir == "" {
		return nil
	}
	if err := h.erase(); err != nil {
		return fmt.Errorf("eventhubs: delete hub %q: %w", name, err)
	}
	return nil
}

// CheckConnectionString checks a connection string that a client shows as it is:
// the namespace it names, the policy, the key, and that the policy may listen.
func (b *Broker) CheckConnectionString(text string) error {
	parts := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if name, value, ok := strings.Cut(part, "="); ok {
			parts[strings.ToLower(name)] = value
		}
	}
	policy := parts["sharedaccesskeyname"]
	key, known := b.opts.Keys[policy]
	switch {
	case parts["endpoint"] == "":
		return errors.New("eventhubs: a connection string without an endpoint")
	case !known || key == "" || parts["sharedaccesskey"] != key:
		return fmt.Errorf("eventhubs: there is no policy %q with that key", policy)
	}
	if rights, limited := b.opts.Rights[policy]; limited && !rights.Listen {
		return fmt.Errorf("eventhubs: policy %q has no claim to listen", policy)
	}
	return nil
}

// Faults returns the switches that make the broker misbehave.
func (b *Broker) Faults() *Faults { return b.faults }

// EmulatorConnectionString returns the connection string with which clients reach
// a plain TCP listener at address (host:port). It needs a policy of Options.Keys;
// hub may be empty.
func (b *Broker) EmulatorConnectionString(address, policy, hub string) string {
	s := "Endpoint=sb://" + address + ";SharedAccessKeyName=" + policy + ";SharedAccessKey=" + b.opts.Keys[policy] + ";UseDevelopmentEmulator=true"
	if hub != "" {
		s += ";EntityPath=" + hub
	}
	return s
}

// ServeAMQP accepts connections until the listener or the broker is closed, and
// then returns nil. The listener may be a TLS listener.
func (b *Broker) ServeAMQP(ln net.Listener) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		_ = ln.Close()
		return nil
	}
	b.listeners[ln] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.listeners, ln)
		b.mu.Unlock()
	}()
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("eventhubs: accept on %s: %w", ln.Addr(), err)
		}
		go func() { _ = b.serve(nc) }()
	}
}

// WebSocketPath is where ServeHTTP accepts connections.
const WebSocketPath = "/$servicebus/websocket"

// ServeHTTP serves AMQP over WebSockets at WebSocketPath and nothing else. It
// returns when the connection ends.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != WebSocketPath {
		http.NotFound(w, r)
		return
	}
	// "amqp" is what the Go sample offers, "AMQPWSB10" what the others do.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       []string{"amqp", "AMQPWSB10"},
		InsecureSkipVerify: true, // browsers of any origin: authentication is AMQP's
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		b.opts.Logger.Debug("websocket refused", "error", err)
		return
	}
	_ = b.serve(webSocketConn{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws})
}

// webSocketConn closes without waiting for the peer's part of the closing handshake:
// AMQP's own has taken place, or the connection is to be cut.
type webSocketConn struct {
	net.Conn
	ws *websocket.Conn
}

func (c webSocketConn) Close() error { return c.ws.CloseNow() }

// serve runs one connection to its end.
func (b *Broker) serve(nc net.Conn) error {
	c := newConn(b, nc)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		_ = nc.Close()
		return ErrClosed
	}
	b.conns[c] = struct{}{}
	b.running.Add(1)
	b.mu.Unlock()
	defer b.running.Done()
	err := c.run()
	b.mu.Lock()
	delete(b.conns, c)
	b.mu.Unlock()
	return err
}

// Close cuts all connections, closes the listeners and waits until everything has
// ended. Events stay in DataDir. It may be called more than once.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.closed = true
	conns, hubs := slices.Collect(maps.Keys(b.conns)), slices.Collect(maps.Values(b.hubs))
	for ln := range b.listeners {
		_ = ln.Close()
	}
	b.mu.Unlock()
	for _, c := range conns {
		c.cut()
	}
	b.running.Wait()
	var errs []error
	for _, h := range hubs {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}

// connections returns the open connections in no order.
func (b *Broker) connections() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.conns))
}
