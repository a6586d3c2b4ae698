// Package victoriatest starts VictoriaLogs for tests: a log database that takes
// logs as Elasticsearch's bulk requests, lines of JSON, OpenTelemetry, syslog and
// Splunk's collector do, and gives them back. Its program is built in a module of
// its own, e2e/victorialogs ("make victorialogs"). Where it was not, tests are
// skipped.
package victoriatest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// Log is one log as a query gives it back: texts by the names of fields, which are
// those of nested members joined by dots. It has no field that is empty.
type Log map[string]string

// Server is a database. The program that it runs in changes when it goes down; the
// addresses and what it holds stay.
type Server struct {
	URL    string // without a path
	Syslog string // host:port

	t       testing.TB
	http    string // host:port
	path    string
	data    string
	current *program
}

// program is one run of it.
type program struct {
	command *exec.Cmd
	url     chan string   // of its HTTP server, once it and that for syslog listen
	ended   chan struct{} // log is whole then
	log     bytes.Buffer
}

// Start starts an empty database, until the end of the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, http: "127.0.0.1:0", path: sinktest.Program(t, "victorialogs", "victoria-logs"), data: t.TempDir()}
	// Of syslog it does not tell which port it got for 0.
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Syslog = ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.http = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

// start starts a program at the addresses, which may have just been given up.
func (s *Server) start() {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		p, err := s.run()
		if err == nil {
			s.current = p
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
	}
}

func (s *Server) run() (*program, error) {
	// It outlives t.Context(): what was opened later is closed while it still runs.
	p := &program{url: make(chan string, 1), ended: make(chan struct{}), command: exec.CommandContext(context.WithoutCancel(s.t.Context()), s.path,
		"-httpListenAddr="+s.http, "-syslog.listenAddr.tcp="+s.Syslog, "-storageDataPath="+s.data,
		"-retentionPeriod=100y", // it drops what is older, 7 days unless told otherwise
		"-fs.disableMmap=true")}
	out, err := p.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go p.follow(out)
	select {
	case s.URL = <-p.url:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("VictoriaLogs does not start: %v\n%s", p.command.ProcessState, p.log.String())
	}
}

var (
	listensHTTP   = regexp.MustCompile(`started server at (http://[^/]+)/`)
	listensSyslog = []byte("started accepting syslog messages at")
)

func (p *program) follow(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	at, syslog, told := "", false, false
	for lines.Scan() {
		if found := listensHTTP.FindSubmatch(lines.Bytes()); found != nil {
			at = string(found[1])
		}
		syslog = syslog || bytes.Contains(lines.Bytes(), listensSyslog)
		if at != "" && syslog && !told {
			p.url <- at
			told = true
		}
		p.log.Write(lines.Bytes())
		p.log.WriteByte('\n')
	}
	_ = p.command.Wait() // the status is in ProcessState
}

func (s *Server) end(with syscall.Signal) {
	_ = s.current.command.Process.Signal(with) // it may have ended
	<-s.current.ended
}

// Down stops the program in order: it writes what it has confirmed, of which it
// keeps some seconds in memory alone. up starts another at its addresses.
func (s *Server) Down() (up func()) {
	s.end(syscall.SIGTERM)
	return s.start
}

// Wait waits until it holds n logs or more: what came by syslog, which has no
// answers, is there after a second.
func (s *Server) Wait(t testing.TB, n int) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var count struct {
			N int `json:",string"`
		}
		if err := json.Unmarshal(s.query(t, "* | stats count() as N"), &count); err != nil {
			t.Fatal(err)
		}
		if count.N >= n {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("VictoriaLogs holds %d logs, want %d", count.N, n)
		case <-tick.C:
		}
	}
}

// Logs returns all that it holds, in any order.
func (s *Server) Logs(t testing.TB) []Log {
	t.Helper()
	var logs []Log
	lines := bufio.NewReader(bytes.NewReader(s.query(t, "*")))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return logs
		}
		var l Log
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %.300s", err, line)
		}
		logs = append(logs, l)
	}
}

func (s *Server) query(t testing.TB, query string) []byte {
	t.Helper()
	s.get(t, "/internal/force_flush") // what has just come is not found before
	return s.get(t, "/select/logsql/query?query="+url.QueryEscape(query))
}

func (s *Server) get(t testing.TB, path string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %v, %s: %.300s", path, err, response.Status, body)
	}
	return body
}
