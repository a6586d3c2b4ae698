package sinktest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"
)

// Server is an HTTP server that can go away and come back at its address.
type Server struct {
	Addr string // host:port
	URL  string

	handler http.Handler
	tls     *tls.Config // nil: none
	current *http.Server
}

// NewServer serves handler on a free port of loopback until the test ends.
func NewServer(t testing.TB, handler http.Handler, config *tls.Config) *Server {
	t.Helper()
	s := &Server{Addr: "127.0.0.1:0", handler: handler, tls: config}
	s.start(t)
	s.URL = "http://" + s.Addr
	if config != nil {
		s.URL = "https://" + s.Addr
	}
	t.Cleanup(func() { s.current.Close() })
	return s
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	ln := Listen(t, "tcp", s.Addr)
	s.Addr = ln.Addr().String()
	if s.tls != nil {
		ln = tls.NewListener(ln, s.tls)
	}
	s.current = &http.Server{Handler: s.handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func(server *http.Server) { _ = server.Serve(ln) }(s.current) // it ends when it is closed
}

// Down closes the server and its connections until up is called.
func (s *Server) Down(t *testing.T) (up func()) {
	t.Helper()
	s.current.Close()
	return func() { s.start(t) }
}

// Listen listens at an address that may just have been given up.
func Listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ln, err := new(net.ListenConfig).Listen(t.Context(), network, address)
		if err == nil {
			return ln
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		pause(t.Context(), 20*time.Millisecond)
	}
}
