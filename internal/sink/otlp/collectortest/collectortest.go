// Package collectortest starts the OpenTelemetry Collector's own OTLP receiver
// for tests: the program of e2e/otelcol, a module of its own ("make otelcol").
// Where it was not built, tests are skipped.
package collectortest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// Options are of the receiver.
type Options struct {
	CertFile, KeyFile string // PEM; empty: without TLS
}

// Log is one log as the receiver handed it over.
type Log struct {
	Resource     map[string]any
	Scope        string
	Time         uint64 // since 1970, in nanoseconds
	Observed     uint64
	Severity     int
	SeverityText string `json:"severity_text"`
	EventName    string `json:"event_name"`
	Attributes   map[string]any
	Body         any // numbers are json.Number
}

// ID is the event's.
func (l *Log) ID() string {
	id, _ := l.Attributes["log.record.uid"].(string)
	return id
}

// Collector is a receiver. The program that it runs in changes when it crashes or
// goes down; the addresses stay.
type Collector struct {
	GRPC, HTTP string // host:port

	t       testing.TB
	path    string
	options Options
	talk    sync.Mutex // one command at a time

	mu      sync.Mutex // guards what follows
	current *program
	crashes int // that follow the one that was asked for
	logs    []Log
}

// program is one run of it.
type program struct {
	command *exec.Cmd
	in      io.WriteCloser
	stderr  bytes.Buffer
	answers chan string   // commands that were obeyed
	ended   chan struct{} // and followed by another, where it crashed as told
	down    bool          // it is meant to end; guarded by Collector.mu
}

// Start starts a receiver, until the end of the test.
func Start(t testing.TB, options Options) *Collector {
	t.Helper()
	c := &Collector{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", t: t, path: sinktest.Program(t, "otelcol", "otelcol"), options: options}
	p, grpc, http, err := c.start()
	if err != nil {
		t.Fatal(err)
	}
	c.GRPC, c.HTTP, c.current = grpc, http, p
	t.Cleanup(c.kill)
	return c
}

func (c *Collector) config() string {
	grpc, http := map[string]any{"endpoint": c.GRPC}, map[string]any{"endpoint": c.HTTP}
	if c.options.CertFile != "" {
		tls := map[string]any{"cert_file": c.options.CertFile, "key_file": c.options.KeyFile}
		grpc["tls"], http["tls"] = tls, tls
	}
	config, err := json.Marshal(map[string]any{"protocols": map[string]any{"grpc": grpc, "http": http}})
	if err != nil {
		panic(err)
	}
	return string(config)
}

// start starts the program and waits until the receiver listens.
func (c *Collector) start() (p *program, grpc, http string, err error) {
	// It outlives t.Context(): what was opened later is closed while it still runs.
	p = &program{
		command: exec.CommandContext(context.WithoutCancel(c.t.Context()), c.path, c.config()),
		answers: make(chan string, 16), ended: make(chan struct{}),
	}
	p.command.Stderr = &p.stderr
	if p.in, err = p.command.StdinPipe(); err != nil {
		return nil, "", "", err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, "", "", err
	}
	if err := p.command.Start(); err != nil {
		return nil, "", "", err
	}
	lines := bufio.NewReaderSize(out, 1<<16)
	var addresses struct{ GRPC, HTTP string }
	first, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(first, &addresses)
	}
	if err != nil {
		_ = p.command.Process.Kill() // it may have ended
		_ = p.command.Wait()
		return nil, "", "", fmt.Errorf("the receiver does not start: %w\n%s", err, p.stderr.String())
	}
	go c.follow(p, lines)
	return p, addresses.GRPC, addresses.HTTP, nil
}

// follow reads what a program writes, to its end, and starts another when it has
// crashed as it was told to.
func (c *Collector) follow(p *program, lines *bufio.Reader) {
	defer close(p.ended)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil { // what stands on half a line was not answered
			break
		}
		var l struct {
			Log
			Done string
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&l); err != nil {
			c.t.Errorf("%v: %.300s", err, line)
			continue
		}
		if l.Done != "" {
			p.answers <- l.Done
			continue
		}
		c.mu.Lock()
		c.logs = append(c.logs, l.Log)
		c.mu.Unlock()
	}
	_ = p.command.Wait() // the status is in ProcessState
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case p.down:
	case p.command.ProcessState.ExitCode() == crashed:
		c.restart()
	default:
		c.t.Errorf("the receiver ended: %v\n%s", p.command.ProcessState, p.stderr.String())
	}
}

// crashed is the exit status of a program that crashed as it was told to.
const crashed = 3

// restart starts a program at the addresses of the last one, which may still be
// taken for a moment. The caller holds mu.
func (c *Collector) restart() {
	deadline := time.Now().Add(time.Minute)
	for {
		p, _, _, err := c.start()
		if err == nil {
			if c.current = p; c.crashes > 0 {
				c.crashes--
				_, _ = io.WriteString(p.in, "crash\n") // it fails if the program has ended, which follow reports
			}
			return
		}
		if time.Now().After(deadline) {
			c.t.Error(err)
			return
		}
	}
}

// command makes the pipeline behind the receiver do something, and waits until it
// will. A program that crashes meanwhile leaves that to the next, but for "crash":
// that has happened.
func (c *Collector) command(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	c.talk.Lock()
	defer c.talk.Unlock()
	for {
		c.mu.Lock()
		p, down := c.current, c.current.down
		c.mu.Unlock()
		if down {
			c.t.Errorf("%q to a receiver that is down", line)
			return
		}
		_, _ = io.WriteString(p.in, line+"\n") // as above
		for answered := false; !answered; {
			select {
			case answer := <-p.answers:
				if answer == line {
					return
				}
			case <-p.ended:
				answered = true
			}
		}
		c.mu.Lock()
		ended := c.current == p
		c.mu.Unlock()
		if ended || line == "crash" {
			return // of another end, follow has told
		}
	}
}

// Logs returns all that the receiver has answered for, and what it was about to.
func (c *Collector) Logs() []Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logs[:len(c.logs):len(c.logs)]
}

// Settle waits until Logs has all that was answered before the call: they come
// through a pipe.
func (c *Collector) Settle() { c.command("settle") }

// Fail makes the next n requests end with an error that has a gRPC status, as
// that of an exporter; codes.OK: without one, which may pass. It asks to wait
// for after, unless that is 0.
func (c *Collector) Fail(n int, code codes.Code, after time.Duration) {
	c.command("fail %d %d %v", n, code, after)
}

// Refuse makes requests with an event whose id begins with prefix end with a
// permanent error; "": none.
func (c *Collector) Refuse(prefix string) { c.command("permanent %s", prefix) }

// Hang makes requests wait until release is called.
func (c *Collector) Hang() (release func()) {
	c.command("hang on")
	return sync.OnceFunc(func() { c.command("hang off") })
}

// Crash makes the program keep the logs of each of the next n requests and end
// instead of answering. Another takes its place at once. One that a call before
// asked for and that is still to come counts among the n.
func (c *Collector) Crash(n int) {
	c.mu.Lock()
	c.crashes = n - 1
	c.mu.Unlock()
	c.command("crash")
}

// Down kills the program; up starts another at its addresses.
func (c *Collector) Down() (up func()) {
	c.kill()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.restart()
	}
}

func (c *Collector) kill() {
	c.mu.Lock()
	p := c.current
	p.down = true
	c.mu.Unlock()
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
}
