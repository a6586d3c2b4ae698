package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Acknowledge is how an engine acknowledges.
type Acknowledge int

// The ways that engines acknowledge.
const (
	Each       Acknowledge = iota // every log by its id, in order
	Cumulative                    // the last of up to ten logs, for all before it too
	Shuffled                      // every log, the newest of up to ten first
	Repeated                      // every log, twice
	Never
)

// group is how many logs Cumulative and Shuffled take together.
const group = 10

// Options configure a server.
type Options struct {
	Acknowledge Acknowledge
	// Metadata must come with every stream to Integration.
	Metadata map[string]string
	// Arrived is called with the raw part of each log that was kept; may be nil.
	Arrived func(raw []byte)
	// Discard keeps no logs, but counts them.
	Discard bool
	// Credentials are for TLS; nil: none.
	Credentials credentials.TransportCredentials
}

// Server is an engine. It is safe for concurrent use.
type Server struct {
	options Options

	mu     sync.Mutex // guards what follows
	grpc   *grpc.Server
	conns  map[net.Conn]bool
	logs   []Log
	count  int64
	fail   int
	after  time.Duration
	failAs codes.Code
	refuse string
	cut    int
	hang   chan struct{} // nil: none; closed: over
}

// New returns a server that serves nothing yet.
func New(options Options) *Server {
	return &Server{options: options, conns: map[net.Conn]bool{}}
}

// Serve serves in the background until the listener is closed or Stop is called,
// and then sends what ended it, nil for Stop. After that it may be called again.
func (s *Server) Serve(ln net.Listener) (ended <-chan error) {
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.Creds(s.options.Credentials), grpc.UnknownServiceHandler(s.unknown),
		// As the engines have it: 4 MiB.
		grpc.MaxRecvMsgSize(4<<20))
	s.register(server)
	s.mu.Lock()
	s.grpc = server
	s.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := server.Serve(tracked{ln, s})
		_ = ln.Close() // it is open if Stop came first
		if errors.Is(err, grpc.ErrServerStopped) {
			err = nil
		}
		done <- err
	}()
	return done
}

// Stop ends the server and cuts its connections.
func (s *Server) Stop() {
	s.mu.Lock()
	server := s.grpc
	s.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

func (s *Server) register(server *grpc.Server) {
	stream := func(name string, check bool) grpc.StreamDesc {
		return grpc.StreamDesc{StreamName: name, ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			if check {
				if err := s.authorize(stream.Context()); err != nil {
					return err
				}
			}
			return s.input(stream)
		}}
	}
	type empty any
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "plugins.Engine", HandlerType: (*empty)(nil), Streams: []grpc.StreamDesc{stream("Input", false)}}, s)
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "plugins.Integration", HandlerType: (*empty)(nil), Streams: []grpc.StreamDesc{stream("ProcessLog", true)}}, s)
}

func (s *Server) unknown(any, grpc.ServerStream) error {
	return status.Error(codes.Unimplemented, "unknown service or method")
}

func (s *Server) authorize(ctx context.Context) error {
	given, _ := metadata.FromIncomingContext(ctx)
	for name, want := range s.options.Metadata {
		if got := given.Get(name); len(got) != 1 || got[0] != want {
			return status.Errorf(codes.Unauthenticated, "invalid %s", name)
		}
	}
	return nil
}

// input takes logs until the client ends the stream.
func (s *Server) input(stream grpc.ServerStream) error {
	if err := s.failing(); err != nil {
		return err
	}
	received := make(chan []byte)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		for {
			var b []byte
			if err := stream.RecvMsg(&b); err != nil {
				ended <- err
				return
			}
			select {
			case received <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	var pending []string // kept and not yet acknowledged
	for {
		// What comes close together is taken together.
		var idle <-chan time.Time
		if len(pending) > 0 || s.cutting() {
			timer := time.NewTimer(20 * time.Millisecond)
			defer timer.Stop()
			idle = timer.C
		}
		select {
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case b := <-received:
			l, err := parse(b)
			if err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
			if err := s.keep(ctx, l); err != nil {
				_ = s.acknowledge(stream, pending) // what was kept before; the stream ends either way
				return err
			}
			if s.cutting() {
				continue // until the client has nothing more to send
			}
			pending = append(pending, l.ID)
			if s.together() && len(pending) < group {
				continue
			}
		case <-idle:
			if s.cutNow() {
				return status.Error(codes.Aborted, "cut")
			}
		}
		if err := s.acknowledge(stream, pending); err != nil {
			return err
		}
		pending = pending[:0]
	}
}

func (s *Server) together() bool {
	return s.options.Acknowledge == Cumulative || s.options.Acknowledge == Shuffled
}

func (s *Server) acknowledge(stream grpc.ServerStream, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var send []string
	switch s.options.Acknowledge {
	case Never:
	case Cumulative:
		send = ids[len(ids)-1:]
	case Shuffled:
		for i := len(ids) - 1; i >= 0; i-- {
			send = append(send, ids[i])
		}
	case Repeated:
		send = append(append(send, ids...), ids...)
	default:
		send = ids
	}
	for _, id := range send {
		if err := stream.SendMsg(appendAck(nil, id)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) keep(ctx context.Context, l Log) error {
	s.mu.Lock()
	hang, refuse := s.hang, s.refuse
	s.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if refuse != "" && strings.HasPrefix(l.ID, refuse) {
		return status.Errorf(codes.InvalidArgument, "log %s is not understood", l.ID)
	}
	if s.options.Arrived != nil {
		s.options.Arrived(l.Raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if !s.options.Discard {
		s.logs = append(s.logs, l)
	}
	return nil
}

func (s *Server) failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == 0 {
		return nil
	}
	s.fail--
	st := status.New(s.failAs, "simulated")
	if s.after > 0 {
		if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(s.after)}); err == nil {
			st = detailed
		}
	}
	return st.Err()
}

func (s *Server) cutting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut > 0
}

// cutNow cuts all connections, if that is due.
func (s *Server) cutNow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut == 0 {
		return false
	}
	s.cut--
	for conn := range s.conns {
		conn.Close()
	}
	return true
}

// Logs returns a copy of the logs kept, in the order of their arrival.
func (s *Server) Logs() []Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Log(nil), s.logs...)
}

// Count returns how many logs were kept.
func (s *Server) Count() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Fail ends the next n streams at once with that code; after is sent as RetryInfo
// if it is not zero.
func (s *Server) Fail(n int, code codes.Code, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.failAs, s.after = n, code, after
	// Streams that are open end too.
	for conn := range s.conns {
		conn.Close()
	}
}

// Refuse ends a stream with InvalidArgument at each log whose id begins so.
func (s *Server) Refuse(prefix string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = prefix
}

// Hang takes logs and neither keeps nor acknowledges them until release is called.
func (s *Server) Hang() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := make(chan struct{})
	s.hang = over
	var once sync.Once
	return func() { once.Do(func() { close(over) }) }
}

// Cut keeps what comes next and, n times, cuts all connections instead of
// acknowledging it.
func (s *Server) Cut(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = n
}

// tracked is a listener whose connections can be cut.
type tracked struct {
	net.Listener
	s *Server
}

func (t tracked) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	c := &trackedConn{conn, t.s}
	t.s.conns[c] = true
	return c, nil
}

type trackedConn struct {
	net.Conn
	s *Server
}

func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	go func() { // the lock may be held by whoever cuts
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		delete(c.s.conns, c)
	}()
	return err
}
