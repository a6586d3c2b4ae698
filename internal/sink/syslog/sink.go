package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

// Sink delivers to one receiver over one connection for each worker. It
// implements sink.Sink; Deliver may be called concurrently.
type Sink struct {
	cfg Config
	tls *tls.Config // nil: none
	log *slog.Logger

	mu    sync.Mutex
	idle  []*conn // guarded by mu
	ended bool    // guarded by mu
}

// New prepares a sink. It does not touch the network.
func New(cfg Config, logger *slog.Logger) (*Sink, error) {
	s := &Sink{cfg: cfg, log: logger}
	if !cfg.TLS {
		return s, nil
	}
	trust, err := azure.TLSConfig(string(cfg.CAFile))
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(string(cfg.CertFile), string(cfg.KeyFile))
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	s.tls = trust
	return s, nil
}

// Deliver implements sink.Sink. nil means what the package's comment says.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	c, err := s.conn(ctx)
	if err != nil {
		return err
	}
	failed, err := c.send(ctx, events)
	if err != nil {
		c.Close()
		err = fmt.Errorf("send to %s: %w", s.cfg.Address, err)
		if len(failed) == 0 {
			return err
		}
		for i := range events {
			if failed[i] == nil {
				failed[i] = err
			}
		}
	} else {
		s.giveBack(c)
	}
	if len(failed) > 0 {
		return &sink.PartialError{Failed: failed}
	}
	return nil
}

func (s *Sink) giveBack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		c.Close()
		return
	}
	s.idle = append(s.idle, c)
}

// conn returns a connection that the receiver has not closed.
func (s *Sink) conn(ctx context.Context) (*conn, error) {
	for {
		s.mu.Lock()
		var c *conn
		if n := len(s.idle); n > 0 {
			c, s.idle = s.idle[n-1], s.idle[:n-1]
		}
		s.mu.Unlock()
		if c == nil {
			break
		}
		if c.alive() {
			return c, nil
		}
		c.Close()
	}
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	raw, err := dialer.DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	tcp := raw.(*net.TCPConn) //nolint:forcetypeassert // DialContext of "tcp" returns nothing else
	c := &conn{Conn: tcp, tcp: tcp, closed: make(chan struct{}), messages: newWriter(&s.cfg)}
	if s.tls != nil {
		config := s.tls.Clone()
		if config.ServerName, _, err = net.SplitHostPort(s.cfg.Address); err != nil {
			return nil, err
		}
		secure := tls.Client(tcp, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = tcp.Close()
			var verification *tls.CertificateVerificationError
			if errors.As(err, &verification) {
				return nil, &sink.RemedyError{
					Err: fmt.Errorf("TLS to %s: %w", s.cfg.Address, err), Person: true,
					Remedy: "name the certificate authority of the receiver in ca_file, and the host of its certificate in address",
				}
			}
			return nil, fmt.Errorf("TLS to %s: %w", s.cfg.Address, err)
		}
		c.Conn, c.records = secure, bufio.NewWriterSize(secure, 16<<10)
	}
	go c.watch()
	return c, nil
}

// Close implements sink.Sink.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, c := range s.idle {
		c.Close()
	}
	s.idle = nil
	return nil
}

// conn is a connection to a receiver, which never sends anything.
type conn struct {
	net.Conn
	tcp    *net.TCPConn
	closed chan struct{} // the receiver has closed it, or it broke

	messages *writer
	records  *bufio.Writer // nil without TLS: makes records as large as may be (RFC 8446, section 5.1)
}

// watch notices when the receiver closes the connection.
func (c *conn) watch() {
	defer close(c.closed)
	_, _ = io.Copy(io.Discard, c.Conn)
}

func (c *conn) alive() bool {
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}

var errClosed = errors.New("the receiver closed the connection")

// send writes events and waits until the receiver's system has all of them. It
// returns which ones make no message.
func (c *conn) send(ctx context.Context, events []event.Event) (failed map[int]error, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.tcp.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	defer c.messages.reset()
	failed = map[int]error{}
	for i := range events {
		if err := c.messages.add(&events[i]); err != nil {
			failed[i] = fmt.Errorf("%w: %w", sink.ErrRejected, err)
		}
	}
	if err := c.write(c.messages.runs); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return failed, err
	}
	return failed, c.confirm(ctx)
}

// write writes the messages from where they lie, without TLS.
func (c *conn) write(runs net.Buffers) error {
	if c.records == nil {
		_, err := runs.WriteTo(c.tcp)
		return err
	}
	if _, err := runs.WriteTo(c.records); err != nil {
		return err
	}
	return c.records.Flush()
}

// confirm waits until the receiver's system has all that was written.
func (c *conn) confirm(ctx context.Context) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		left, open, err := unacknowledged(c.tcp)
		if err != nil {
			return fmt.Errorf("ask what is unacknowledged: %w", err)
		}
		if !open || !c.alive() {
			return errClosed
		}
		if left == 0 {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.closed:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}
