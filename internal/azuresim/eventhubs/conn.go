package eventhubs

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// What the broker announces in its open and begin (observed of the service).
const (
	maxFrameSize   = 64 << 10
	maxChannel     = 4999
	maxHandle      = 255
	incomingWindow = 5000 // transfer frames
)

// conn is a connection. One goroutine reads and acts, one writes, and each
// receiver has one that feeds it.
type conn struct {
	b      *Broker
	nc     net.Conn
	reader *amqp.Reader

	wakeWriter chan struct{} // of capacity 1
	done       chan struct{} // closed when the socket is
	once       sync.Once
	workers    sync.WaitGroup // the writer and the feeders

	mu           sync.Mutex // guards what follows, with all sessions and links
	out          output
	paused       []*receiver // wait for the writer to take what is there
	opened       bool
	closing      bool // nothing more is queued; the writer closes the socket
	failure      error
	keepAlive    time.Duration
	peerMaxFrame uint32
	sessions     map[uint16]*session
	tokens       map[string]token // by the path that they open; "" is the namespace
}

func newConn(b *Broker, nc net.Conn) *conn {
	_, isTCP := nc.(*net.TCPConn)
	return &conn{
		b:            b,
		nc:           nc,
		reader:       amqp.NewReader(nc, maxFrameSize),
		wakeWriter:   make(chan struct{}, 1),
		done:         make(chan struct{}),
		out:          output{vector: isTCP},
		keepAlive:    b.opts.KeepAlive,
		peerMaxFrame: amqp.MinMaxFrameSize,
		sessions:     map[uint16]*session{},
		tokens:       map[string]token{},
	}
}

// errClosed ends the reading of a connection that was closed in order.
var errClosed = errors.New("closed by the peer")

// run serves the connection until it and all its goroutines have ended.
func (c *conn) run() error {
	log := c.b.opts.Logger.With("peer", c.nc.RemoteAddr())
	log.Debug("connection accepted")
	c.workers.Go(c.write)
	err := c.read()
	c.mu.Lock()
	reason := protocolError(err)
	if reason != nil && c.opened {
		c.sendLocked(0, &amqp.Close{Error: reason})
	}
	c.closing = true
	if c.failure != nil { // the writer's is the cause
		err = c.failure
	}
	c.mu.Unlock()
	if reason == nil && !errors.Is(err, errClosed) {
		c.cut()
	}
	c.flush()
	select {
	case <-c.done:
	case <-time.After(closeGrace): // the peer does not take the last frames
		c.cut()
	}
	c.workers.Wait()
	if errors.Is(err, errClosed) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		log.Debug("connection closed")
		return nil
	}
	log.Warn("connection failed", "error", err)
	return err
}

// closeGrace is how long the last frames may take to be written.
const closeGrace = 5 * time.Second

// protocolError returns the error to close with, nil where the socket is gone.
func protocolError(err error) *amqp.Error {
	var e *amqp.Error
	var ne net.Error
	switch {
	case errors.Is(err, errClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &amqp.Error{Condition: condResourceLimitExceeded, Description: "no frame came within the idle time-out"}
	case errors.As(err, &ne):
		return nil
	}
	return &amqp.Error{Condition: condFramingError, Description: err.Error()}
}

// cut closes the socket at once.
func (c *conn) cut() {
	c.once.Do(func() {
		close(c.done)
		_ = c.nc.Close()
	})
}

// fail records why writing ended and cuts.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.failure == nil && !errors.Is(err, net.ErrClosed) {
		c.failure = fmt.Errorf("write: %w", err)
	}
	c.mu.Unlock()
	c.cut()
}

// raw queues bytes that are not AMQP frames: headers and the SASL layer.
func (c *conn) raw(f func([]byte) []byte) {
	c.mu.Lock()
	c.out.buf = f(c.out.buf)
	c.mu.Unlock()
	c.flush()
}

func (c *conn) read() error {
	c.extendDeadline()
	protocol, err := c.reader.ReadHeader()
	if err != nil {
		return err
	}
	if protocol == amqp.ProtocolSASL {
		if err := c.authenticate(); err != nil {
			return err
		}
		if protocol, err = c.reader.ReadHeader(); err != nil {
			return err
		}
	}
	if protocol != amqp.ProtocolAMQP {
		return fmt.Errorf("protocol %d is not served: want SASL (3), then AMQP (0)", protocol)
	}
	c.raw(func(b []byte) []byte { return amqp.AppendHeader(b, amqp.ProtocolAMQP) })
	for {
		c.extendDeadline()
		frame, err := c.reader.ReadFrame()
		if err != nil {
			return err
		}
		if len(frame.Body) == 0 {
			continue // a keep-alive
		}
		if frame.Type != amqp.FrameAMQP {
			return fmt.Errorf("frame type %d on an open connection: want 0", frame.Type)
		}
		p, payload, err := amqp.DecodePerformative(frame.Body)
		if err != nil {
			return &amqp.Error{Condition: condDecodeError, Description: err.Error()}
		}
		if err := c.handle(frame.Channel, p, payload); err != nil {
			return err
		}
	}
}

func (c *conn) extendDeadline() {
	// The socket's deadlines go by the real clock, whatever Options.Now is. An
	// error means that the socket is closed, which reading reports.
	_ = c.nc.SetReadDeadline(time.Now().Add(c.b.opts.IdleTimeout))
}

// authenticate runs the SASL layer. ANONYMOUS and MSSBCBS leave it to $cbs.
func (c *conn) authenticate() error {
	c.raw(func(b []byte) []byte {
		b = amqp.AppendHeader(b, amqp.ProtocolSASL)
		return amqp.AppendFrame(b, amqp.FrameSASL, 0, &amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"MSSBCBS", "PLAIN", "ANONYMOUS"}})
	})
	frame, err := c.reader.ReadFrame()
	if err != nil {
		return err
	}
	p, _, err := amqp.DecodePerformative(frame.Body)
	if err != nil {
		return err
	}
	init, ok := p.(*amqp.SASLInit)
	if !ok {
		return fmt.Errorf("got %T in the SASL layer: want sasl-init", p)
	}
	var result uint8
	switch init.Mechanism {
	case "ANONYMOUS", "MSSBCBS":
	case "PLAIN":
		parts := bytes.Split(init.InitialResponse, []byte{0})
		if len(parts) != 3 || !c.trustPolicy(string(parts[1]), parts[2]) {
			result = 1 // auth
		}
	default:
		result = 1
	}
	c.raw(func(b []byte) []byte {
		return amqp.AppendFrame(b, amqp.FrameSASL, 0, &amqp.SASLOutcome{Result: result})
	})
	if result != 0 {
		return fmt.Errorf("SASL %s refused: unknown mechanism, policy or key", init.Mechanism)
	}
	return nil
}

// trustPolicy gives the connection the rights of a policy for all entities.
func (c *conn) trustPolicy(policy string, key []byte) bool {
	want, known := c.b.opts.Keys[policy]
	if !known || subtle.ConstantTimeCompare([]byte(want), key) != 1 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[""] = token{rights: c.b.rightsOf(policy), expires: time.Unix(1<<40, 0)}
	return true
}

// handle acts on one performative. An error ends the connection.
func (c *conn) handle(channel uint16, p amqp.Performative, payload []byte) error {
	if attach, ok := p.(*amqp.Attach); ok {
		// Attaching needs other locks and takes this one by itself.
		c.mu.Lock()
		s := c.sessions[channel]
		c.mu.Unlock()
		if s == nil {
			return noSession(channel, p)
		}
		return s.attach(attach)
	}
	var after func()
	defer func() {
		if after != nil {
			after()
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.opened {
		open, ok := p.(*amqp.Open)
		if !ok {
			return &amqp.Error{Condition: condNotAllowed, Description: fmt.Sprintf("got %T before open", p)}
		}
		return c.openLocked(open)
	}
	switch p := p.(type) {
	case *amqp.Begin:
		return c.beginLocked(channel, p)
	case *amqp.Close:
		c.sendLocked(0, &amqp.Close{})
		c.closing = true
		return errClosed
	case *amqp.Flow, *amqp.Transfer, *amqp.Disposition, *amqp.Detach, *amqp.End:
		s := c.sessions[channel]
		if s == nil {
			return noSession(channel, p)
		}
		var err error
		after, err = s.handleLocked(p, payload)
		return err
	}
	return &amqp.Error{Condition: condNotAllowed, Description: fmt.Sprintf("got %T on an open connection", p)}
}

func noSession(channel uint16, p amqp.Performative) error {
	return &amqp.Error{Condition: condNotAllowed, Description: fmt.Sprintf("got %T on channel %d, which has no session", p, channel)}
}

func (c *conn) openLocked(p *amqp.Open) error {
	c.opened = true
	c.peerMaxFrame = max(p.MaxFrameSize, amqp.MinMaxFrameSize)
	if p.IdleTimeout > 0 {
		c.keepAlive = min(c.keepAlive, p.IdleTimeout/2)
	}
	c.sendLocked(0, &amqp.Open{
		ContainerID:  c.b.opts.Namespace,
		MaxFrameSize: maxFrameSize,
		ChannelMax:   maxChannel,
		IdleTimeout:  c.b.opts.IdleTimeout,
	})
	return nil
}

func (c *conn) beginLocked(channel uint16, p *amqp.Begin) error {
	if channel > maxChannel || c.sessions[channel] != nil {
		return &amqp.Error{Condition: condNotAllowed, Description: fmt.Sprintf("begin on channel %d: it is in use or larger than %d", channel, maxChannel)}
	}
	s := &session{
		c:            c,
		channel:      channel,
		nextIncoming: p.NextOutgoingID,
		remoteWindow: int64(p.IncomingWindow),
		links:        map[uint32]*link{},
	}
	c.sessions[channel] = s
	c.sendLocked(channel, &amqp.Begin{
		RemoteChannel:  &channel,
		NextOutgoingID: s.nextOutgoing,
		IncomingWindow: incomingWindow,
		OutgoingWindow: incomingWindow,
		HandleMax:      maxHandle,
	})
	return nil
}
