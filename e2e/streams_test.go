package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/lazuli-logs/lazuli/internal/sink/otlp/collectortest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// named is an event and the id that came beside it.
type named struct {
	id   string
	data []byte
}

func dataOf(all []named) [][]byte {
	out := make([][]byte, len(all))
	for i := range all {
		out[i] = all[i].data
	}
	return out
}

// wantNamed checks that a receiver can tell repeats by what stands beside an
// event: its own id, which is the same whenever it is sent again.
func wantNamed(t *testing.T, all []named) {
	t.Helper()
	for _, n := range all {
		var e struct{ Event struct{ ID string } }
		if err := json.Unmarshal(n.data, &e); err != nil {
			t.Fatalf("%v: %.200s", err, n.data)
		}
		if n.id == "" || n.id != e.Event.ID {
			t.Fatalf("an event with the id %q came under %q", e.Event.ID, n.id)
		}
	}
}

// broker is franz-go's fake of one, whose answers can be lost.
type broker struct {
	mu     sync.Mutex // guards what follows
	fail   int
	code   int16
	refuse bool
	cut    int // answers to be lost
}

type brokerListener struct {
	net.Listener
	b *broker
}

type brokerConn struct {
	net.Conn
	b *broker
}

func (l brokerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return brokerConn{conn, l.b}, nil
}

func (c brokerConn) Write(p []byte) (int, error) {
	c.b.mu.Lock()
	cut := c.b.cut > 0
	if cut {
		c.b.cut--
	}
	c.b.mu.Unlock()
	if cut {
		c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (b *broker) set(f func()) func() {
	return func() { b.mu.Lock(); defer b.mu.Unlock(); f() }
}

// answer refuses a produce request if that is wanted.
func (b *broker) answer(request kmsg.Request) (kmsg.Response, error, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	code := b.code
	switch {
	case b.refuse:
		code = kerr.TopicAuthorizationFailed.Code
	case b.fail > 0:
		b.fail--
	default:
		return nil, nil, false
	}
	r := request.(*kmsg.ProduceRequest)
	response := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range r.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, code
			t.Partitions = append(t.Partitions, p)
		}
		response.Topics = append(response.Topics, t)
	}
	return response, nil, true
}

func kafka(t *testing.T) destination {
	t.Helper()
	b := &broker{}
	ln := sinktest.Listen(t, "tcp", "127.0.0.1:0")
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return brokerListener{ln, b}, nil }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return b.answer(r)
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(ln.Addr().String()), kgo.ConsumeTopics("events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var all []named
	read := func() []named {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "events")
		if err != nil {
			t.Fatal(err)
		}
		there := 0
		ends.Each(func(o kadm.ListedOffset) { there += int(o.Offset) })
		for len(all) < there {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				n := named{data: r.Value}
				for _, h := range r.Headers {
					if h.Key == "lazuli_id" {
						n.id = string(h.Value)
					}
				}
				all = append(all, n)
			})
		}
		return all
	}
	return destination{
		sink: fmt.Sprintf("    type: kafka\n    brokers: [%q]\n    topic: events\n    tls: false\n    timeout: 5s\n", ln.Addr()),
		disturb: []func(){
			b.set(func() { b.fail, b.code = 2, kerr.UnknownServerError.Code }),
			b.set(func() { b.fail, b.code = 2, kerr.NotEnoughReplicas.Code }),
			b.set(func() { b.cut = 1 }),
		},
		refuse:  func(on bool) { b.set(func() { b.refuse = on })() },
		arrived: func() [][]byte { return dataOf(read()) },
		named:   read,
	}
}

// syslogReceiver keeps all that its system took.
type syslogReceiver struct {
	t    *testing.T
	addr string

	mu       sync.Mutex // guards what follows
	ln       net.Listener
	open     map[*net.TCPConn]bool
	accepted map[string]bool // by the far side's address
	slow     time.Duration   // before the next read
	messages [][]byte
}

func (r *syslogReceiver) listen() {
	ln := sinktest.Listen(r.t, "tcp", r.addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ln, r.addr = ln, ln.Addr().String()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c := conn.(*net.TCPConn)
			r.mu.Lock()
			r.open[c] = true
			r.accepted[c.RemoteAddr().String()] = true
			r.mu.Unlock()
			go r.read(c)
		}
	}()
}

func (r *syslogReceiver) read(c *net.TCPConn) {
	defer func() {
		c.Close()
		r.mu.Lock()
		delete(r.open, c)
		r.mu.Unlock()
	}()
	in := bufio.NewReaderSize(c, 1<<16)
	for {
		size, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, " "))
		if err != nil {
			r.t.Errorf("a frame begins with %q", size)
			return
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return // the sender was killed in the middle of it
		}
		r.mu.Lock()
		r.messages = append(r.messages, message)
		slow := r.slow
		r.slow = 0
		r.mu.Unlock()
		if slow > 0 {
			pause(r.t, slow)
		}
	}
}

// settle waits until the receiver has read all that its system took, of senders
// that have ended: connections are accepted in turn, so those before its own
// have been.
func (r *syslogReceiver) settle(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	own := conn.LocalAddr().String()
	conn.Close()
	eventually(t, time.Minute, "the receiver reads to the end", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.accepted[own] && len(r.open) == 0
	})
}

func (r *syslogReceiver) named() []named {
	r.mu.Lock()
	messages := r.messages[:len(r.messages):len(r.messages)]
	r.mu.Unlock()
	all := make([]named, len(messages))
	for i, message := range messages {
		m, err := rfc5424.NewParser().Parse(message) // another project's
		if err != nil {
			r.t.Fatalf("%v: %.200q", err, message)
		}
		got := m.(*rfc5424.SyslogMessage)
		all[i] = named{(*got.StructuredData)["lazuli@32473"]["id"], []byte(*got.Message)}
	}
	return all
}

// syslog is a receiver that is never killed: there is no acknowledgement, so what
// a receiver's system took and its program had not read would be lost.
func syslog(t *testing.T) destination {
	t.Helper()
	r := &syslogReceiver{t: t, addr: "127.0.0.1:0", open: map[*net.TCPConn]bool{}, accepted: map[string]bool{}}
	r.listen()
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ln.Close()
		for c := range r.open {
			c.Close()
		}
	})
	// done says on all connections that it is done, and reads what still comes. The
	// caller holds mu.
	done := func() {
		for c := range r.open {
			_ = c.CloseWrite() // it may be closed
		}
	}
	return destination{
		sink: fmt.Sprintf("    type: syslog\n    address: %q\n    tls: false\n    max_message: 1MiB\n    timeout: 5s\n", r.addr),
		disturb: []func(){
			func() { r.mu.Lock(); defer r.mu.Unlock(); done() },
			func() { r.mu.Lock(); defer r.mu.Unlock(); r.slow = time.Second },
		},
		refuse: func(on bool) {
			if on {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.ln.Close()
				done()
			} else {
				r.listen()
			}
		},
		arrived: func() [][]byte {
			// Whole messages: the ledger finds a record in any text.
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.messages[:len(r.messages):len(r.messages)]
		},
		named:  r.named,
		settle: r.settle,
	}
}

// otlpReceiver is OTLP/HTTP.
type otlpReceiver struct {
	mu     sync.Mutex // guards what follows
	kept   []named
	fail   int
	status int
	cut    bool
}

func (r *otlpReceiver) set(f func()) func() {
	return func() { r.mu.Lock(); defer r.mu.Unlock(); f() }
}

func (r *otlpReceiver) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	request := new(collector.ExportLogsServiceRequest)
	z, err := gzip.NewReader(in.Body)
	if err == nil {
		var body []byte
		if body, err = io.ReadAll(z); err == nil {
			err = proto.Unmarshal(body, request)
		}
	}
	if err != nil { // e.g. the sender was killed
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		if r.status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(r.status)
		return
	}
	for _, resource := range request.GetResourceLogs() {
		for _, scope := range resource.GetScopeLogs() {
			for _, record := range scope.GetLogRecords() {
				n := named{data: []byte(record.GetBody().GetStringValue())}
				for _, a := range record.GetAttributes() {
					if a.GetKey() == "log.record.uid" {
						n.id = a.GetValue().GetStringValue()
					}
				}
				r.kept = append(r.kept, n)
			}
		}
	}
	if r.cut {
		r.cut = false
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func otlp(t *testing.T) destination {
	t.Helper()
	r := &otlpReceiver{}
	listener := httptest.NewServer(r)
	t.Cleanup(listener.Close)
	kept := func() []named {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.kept[:len(r.kept):len(r.kept)]
	}
	return destination{
		sink: fmt.Sprintf("    type: otlp\n    protocol: http\n    endpoint: %q\n    timeout: 5s\n", listener.URL+"/v1/logs"),
		disturb: []func(){
			r.set(func() { r.fail, r.status = 2, http.StatusBadGateway }),
			r.set(func() { r.fail, r.status = 1, http.StatusTooManyRequests }),
			r.set(func() { r.fail, r.status = 1, http.StatusRequestEntityTooLarge }),
			r.set(func() { r.cut = true }),
		},
		refuse: func(on bool) {
			r.set(func() {
				if r.fail, r.status = 0, http.StatusForbidden; on {
					r.fail = 1 << 30
				}
			})()
		},
		arrived: func() [][]byte { return dataOf(kept()) },
		named:   kept,
	}
}

// collectorReceiver is the OpenTelemetry Collector's own, over gRPC.
func collectorReceiver(t *testing.T) destination {
	t.Helper()
	c := collectortest.Start(t, collectortest.Options{})
	kept := func() []named {
		c.Settle()
		logs := c.Logs()
		all := make([]named, len(logs))
		for i := range logs {
			body, _ := logs[i].Body.(string)
			all[i] = named{logs[i].ID(), []byte(body)}
		}
		return all
	}
	return destination{
		sink: fmt.Sprintf("    type: otlp\n    endpoint: %q\n    timeout: 5s\n", "http://"+c.GRPC),
		disturb: []func(){
			func() { c.Fail(2, codes.OK, 0) },
			func() { c.Fail(1, codes.Unavailable, time.Second) },
			func() { c.Fail(12, codes.ResourceExhausted, 0) },
			func() { c.Crash(1) },
		},
		refuse: func(on bool) {
			n := 0
			if on {
				n = 1 << 30
			}
			c.Fail(n, codes.Unauthenticated, 0)
		},
		arrived: func() [][]byte { return dataOf(kept()) },
		named:   kept,
	}
}
