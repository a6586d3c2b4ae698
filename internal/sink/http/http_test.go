package http

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest/victoriatest"
)

// endpoint takes events and fails on demand.
type endpoint struct {
	mu      sync.Mutex // guards what follows
	events  []string
	headers []http.Header
	bodies  [][]byte
	fail    int
	status  int
	after   time.Duration
	refuse  string
	cut     int
	hang    chan struct{}
}

func (e *endpoint) with(f func()) { e.mu.Lock(); defer e.mu.Unlock(); f() }

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	hang := e.hang
	e.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fail > 0 {
		e.fail--
		if e.after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(e.after.Seconds())))
		}
		w.WriteHeader(e.status)
		return
	}
	body := raw
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			panic(err)
		}
		body, _ = io.ReadAll(z)
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(raw))
		if err != nil {
			panic(err)
		}
		body, _ = io.ReadAll(z)
		z.Close()
	}
	var events []json.RawMessage
	if r.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &events); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	} else {
		for line := range bytes.Lines(body) {
			events = append(events, bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	if e.refuse != "" && bytes.Contains(body, []byte(`"id":"`+e.refuse)) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, "bad field")
		return
	}
	for _, one := range events {
		e.events = append(e.events, string(one))
	}
	e.headers, e.bodies = append(e.headers, r.Header), append(e.bodies, raw)
	if e.cut > 0 {
		e.cut--
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusAccepted)
}

func open(t testing.TB, change func(*Config)) (*Sink, *endpoint, *sinktest.Server) {
	t.Helper()
	e := &endpoint{}
	server := sinktest.NewServer(t, e, nil)
	cfg := DefaultConfig()
	cfg.URL = server.URL
	if change != nil {
		change(cfg)
	}
	var r config.Report
	if cfg.Validate(&r); len(r.Problems) > 0 {
		t.Fatalf("the configuration of the test is wrong: %+v", r.Problems)
	}
	s, err := New(*cfg, func() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s, e, server
}

func TestContract(t *testing.T) {
	const maxEvent = 100_000
	for name, change := range map[string]func(*Config){
		"lines":          nil,
		"array, gzip":    func(c *Config) { c.Format, c.Compression = "array", "gzip" },
		"lines, zstd":    func(c *Config) { c.Compression = "zstd" },
		"max_event":      func(c *Config) { c.MaxEvent = maxEvent },
		"signed, varied": func(c *Config) { c.HMAC.Secret, c.Headers = "s", map[string]config.Secret{"X-Batch": "{batch}"} },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Harness {
				s, e, server := open(t, change)
				return sinktest.Harness{
					Sink: s, Repeats: true, Limit: int(s.cfg.MaxEvent),
					Received: func(*testing.T) (out []string) { e.with(func() { out = append(out, e.events...) }); return out },
					Faults: sinktest.Faults{
						Throttle: func(n int, after time.Duration) { e.with(func() { e.fail, e.status, e.after = n, 429, after }) },
						Fail:     func(n int) { e.with(func() { e.fail, e.status = n, 500 }) },
						Refuse:   func(prefix string) { e.with(func() { e.refuse = prefix }) },
						Hang: func() func() {
							over := make(chan struct{})
							e.with(func() { e.hang = over })
							return sync.OnceFunc(func() { close(over) })
						},
						Cut:  func(n int) { e.with(func() { e.cut = n }) },
						Down: server.Down,
					},
				}
			})
		})
	}
}

// TestContractOfVictoriaLogs runs the suite against a database that confirms lines
// which are too large for it, and drops them and those behind them: max_event
// keeps these from it.
func TestContractOfVictoriaLogs(t *testing.T) {
	const never = "it takes all that it is sent, and answers at once"
	sinktest.Run(t, func(t *testing.T) sinktest.Harness {
		server := victoriatest.Start(t)
		s, _, _ := open(t, func(c *Config) {
			c.URL, c.MaxEvent = server.URL+"/insert/jsonline?_time_field=@timestamp&_msg_field=message", 256<<10-100
		})
		return sinktest.Harness{
			Sink: s, Repeats: true, Limit: int(s.cfg.MaxEvent),
			Received: func(t *testing.T) (ids []string) {
				for _, l := range server.Logs(t) {
					ids = append(ids, l["event.id"])
				}
				return ids
			},
			Form:   func(e event.Event) string { return string(e.ID) },
			Faults: sinktest.Faults{Down: func(*testing.T) func() { return server.Down() }},
			Lacks: map[sinktest.Fault]string{
				sinktest.Throttle: never, sinktest.Fail: never, sinktest.Refuse: never, sinktest.Hang: never, sinktest.Cut: never,
			},
		}
	})
}

func TestRequests(t *testing.T) {
	s, e, _ := open(t, func(c *Config) {
		c.BearerToken, c.HMAC.Secret = "hunter2", "secret"
		c.Headers = map[string]config.Secret{"X-Plain": "plain", "X-Varied": "{count} at {time} {batch}"}
	})
	events := []event.Event{{ID: "a", Data: []byte(`{"a":1}`)}, {ID: "b", Data: []byte(`{"b":2}`)}}
	for range 2 {
		if err := s.Deliver(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(e.bodies[0]); got != "{\"a\":1}\n{\"b\":2}\n" {
		t.Errorf("the body is %q", got)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer hunter2", "X-Plain": "plain", "Content-Type": "application/x-ndjson",
		"X-Varied": "2 at 2026-01-02T12:00:00Z " + batchKey(events),
		// printf '{"a":1}\n{"b":2}\n' | openssl dgst -sha256 -hmac secret
		"X-Signature-256": "sha256=" + signature,
	} {
		if got := e.headers[0].Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if e.headers[0].Get("X-Varied") != e.headers[1].Get("X-Varied") {
		t.Error("the same events have another key when they are sent again")
	}
	if batchKey(events) == batchKey(events[:1]) || batchKey(nil) == "" {
		t.Error("other events have the same key")
	}
}

func TestStatuses(t *testing.T) {
	for _, tc := range []struct {
		status   int
		rejected bool
		change   func(*Config)
	}{
		{status: 400, rejected: true},
		{status: 413, rejected: true},
		{status: 422, rejected: true},
		{status: 409},
		{status: 409, rejected: true, change: func(c *Config) { c.Rejected = []int{409} }},
		{status: 422, change: func(c *Config) { c.Rejected = []int{409} }},
		{status: 404},
		{status: 401},
		{status: 302},
	} {
		s, e, _ := open(t, tc.change)
		e.fail, e.status = 100, tc.status
		err := s.Deliver(t.Context(), sinktest.Events("a", 2, 300))
		if err == nil {
			t.Errorf("status %d: Deliver() = nil", tc.status)
			continue
		}
		var partial *sink.PartialError
		got := errors.As(err, &partial) && len(partial.Failed) == 2 && errors.Is(partial.Failed[0], sink.ErrRejected)
		if got != tc.rejected {
			t.Errorf("status %d: %v; want rejected %v", tc.status, err, tc.rejected)
		}
	}
}

func TestMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		at     string
	}{
		"good":          {func(c *Config) { c.Headers = map[string]config.Secret{"X-A": "{batch}"} }, ""},
		"password":      {func(c *Config) { c.URL = "https://u:p@a/" }, "url"},
		"two":           {func(c *Config) { c.BearerToken, c.Username, c.Password = "a", "b", "c" }, "bearer_token"},
		"half a pair":   {func(c *Config) { c.Username = "a" }, "username"},
		"header":        {func(c *Config) { c.Headers = map[string]config.Secret{"X A": "a"} }, "headers.X A"},
		"own header":    {func(c *Config) { c.Headers = map[string]config.Secret{"Host": "a"} }, "headers.Host"},
		"line break":    {func(c *Config) { c.Headers = map[string]config.Secret{"X-A": "a\r\nb: c"} }, "headers.X-A"},
		"placeholder":   {func(c *Config) { c.Headers = map[string]config.Secret{"X-A": "{day}"} }, "headers.X-A"},
		"hmac header":   {func(c *Config) { c.HMAC.Secret, c.HMAC.Header = "a", "" }, "hmac.header"},
		"rejected auth": {func(c *Config) { c.Rejected = []int{401} }, "rejected[0]"},
	} {
		c := DefaultConfig()
		c.URL = "https://a/"
		tc.change(c)
		var r config.Report
		c.Validate(&r)
		if tc.at == "" && len(r.Problems) > 0 || tc.at != "" && (len(r.Problems) == 0 || r.Problems[0].Path != tc.at) {
			t.Errorf("%s: problems %+v, want one at %q", name, r.Problems, tc.at)
		}
		for _, p := range r.Problems {
			if strings.Contains(p.Rule, "b: c") {
				t.Errorf("%s: the problem %q shows a header's value", name, p.Rule)
			}
		}
	}
}

// signature is by openssl, of the body of TestRequests.
const signature = "95daaf293c3554f467bc795fd4c36d9d82ddacfe495bee37093b89405b334b5a"
