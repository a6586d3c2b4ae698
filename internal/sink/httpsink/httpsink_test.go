package httpsink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestRetryAfter(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        time.Duration
		told        bool
	}{
		{"Retry-After", "120", 2 * time.Minute, true},
		{"Retry-After", " 7 ", 7 * time.Second, true},
		{"Retry-After", "0", 0, true},
		{"Retry-After", "Fri, 02 Jan 2026 12:00:30 GMT", 30 * time.Second, true},
		{"Retry-After", "Fri, 02 Jan 2026 11:00:00 GMT", 0, true},
		{"Retry-After", "Sat, 02 Jan 2027 12:00:00 GMT", time.Hour, true},
		{"Retry-After", "999999999999", time.Hour, true},
		{"Retry-After", "-5", 0, false},
		{"Retry-After", "soon", 0, false},
		{"retry-after-ms", "1500", 1500 * time.Millisecond, true},
		{"x-ms-retry-after-ms", "250", 250 * time.Millisecond, true},
		{"X-Other", "1", 0, false},
	} {
		h := http.Header{}
		h.Set(tc.name, tc.value)
		if got, told := RetryAfter(h, noon); got != tc.want || told != tc.told {
			t.Errorf("%s: %q = %v, %v; want %v, %v", tc.name, tc.value, got, told, tc.want, tc.told)
		}
	}
}

func TestClassify(t *testing.T) {
	for status, want := range map[int]string{
		200: "", 204: "", 302: "person", 400: "rejected", 401: "person", 403: "person", 404: "person", 407: "person", 408: "again",
		413: "rejected", 422: "rejected", 429: "throttled", 500: "again", 502: "again", 503: "throttled", 504: "again",
	} {
		err := (&Answer{Status: status, Header: http.Header{}, Body: []byte("why")}).Classify(noon)
		var throttled *sink.ThrottledError
		var person *sink.RemedyError
		got := "again"
		switch {
		case err == nil:
			got = ""
		case errors.Is(err, sink.ErrRejected):
			got = "rejected"
		case errors.As(err, &throttled):
			got = "throttled"
		case errors.As(err, &person):
			got = "person"
		}
		if got != want {
			t.Errorf("status %d: %v is %q, want %q", status, err, got, want)
		}
		if err != nil && !strings.Contains(err.Error(), "why") {
			t.Errorf("status %d: %q does not quote the answer", status, err)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " a\r\n\t b ": "a b", "\x1b[31mred\x00": "?[31mred?", "caf\xe9 é": "caf? é",
		strings.Repeat("ab", 400): strings.Repeat("ab", 250) + " ...",
	} {
		if got := Excerpt([]byte(in)); got != want {
			t.Errorf("Excerpt(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add([]byte("a\x00é\xff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := Excerpt(b); strings.ContainsAny(got, "\n\r\x00\x1b") || len(got) > 3*excerptBytes {
			t.Errorf("Excerpt(%q) = %q", b, got)
		}
	})
}

func TestPayloadsAreWhatWasWritten(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			e := NewEncoder(compression)
			for range 3 { // the second and third use the memory of the first
				p := e.New()
				var want bytes.Buffer
				for i := range 1000 {
					line := strings.Repeat(string(rune('a'+i%26)), i%70)
					want.WriteString(line)
					write := p.Write
					if i%3 == 0 {
						write = p.Share
					}
					if _, err := write([]byte(line)); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Finish(); err != nil {
					t.Fatal(err)
				}
				if p.Plain() != want.Len() {
					t.Errorf("Plain() = %d, want %d", p.Plain(), want.Len())
				}
				var body bytes.Buffer
				if n, err := p.WriteTo(&body); err != nil || n != int64(p.Len()) {
					t.Errorf("WriteTo() = %d, %v; want %d bytes", n, err, p.Len())
				}
				if got := unpack(t, compression, &body); got != want.String() {
					t.Errorf("WriteTo writes %d bytes that differ from the %d written", len(got), want.Len())
				}
				r := p.Reader()
				if err := iotest.TestReader(r, readAll(t, p)); err != nil { // reads, seeks
					t.Error(err)
				}
				r.Close()
				if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errClosed) {
					t.Errorf("Read() after Close: %v, want %v", err, errClosed)
				}
				late := p.Reader()
				p.Free()
				if _, err := late.Read(make([]byte, 1)); !errors.Is(err, errClosed) {
					t.Errorf("Read() after Free: %v, want %v", err, errClosed)
				}
			}
			if n := len(e.buffers); n != 1 {
				t.Errorf("%d buffers are kept after one payload at a time, want 1", n)
			}
		})
	}
}

func readAll(t *testing.T, p *Payload) []byte {
	t.Helper()
	b, err := io.ReadAll(p.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Without compression an event's bytes are not copied into the body.
func TestSharedBytesAreNotCopied(t *testing.T) {
	e := NewEncoder("none")
	line := bytes.Repeat([]byte("x"), 1<<20)
	head, buffer := []byte("head"), make([]byte, 32<<10)
	allocs := testing.AllocsPerRun(10, func() {
		p := e.New()
		for range 8 {
			_, _ = p.Write(head)
			_, _ = p.Share(line)
		}
		if err := p.Finish(); err != nil {
			t.Fatal(err)
		}
		r := p.Reader()
		for {
			if _, err := r.Read(buffer); err != nil {
				break
			}
		}
		p.Free()
	})
	if allocs > 3 { // the payload, its reader, the error's
		t.Errorf("%.0f allocations for a body, want at most 3", allocs)
	}
	if n := cap(e.buffers[0].own); n > 1<<10 {
		t.Errorf("the body takes %d bytes of its own", n)
	}
}

func unpack(t *testing.T, compression string, r io.Reader) string {
	t.Helper()
	switch compression {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A server that answers before it has read the body, and a context that ends,
// leave the transport reading the payload after Do has returned. The race
// detector sees it if that memory is used again too early.
func TestMemoryIsNotUsedAgainWhileTheTransportReads(t *testing.T) {
	given := map[string]chan struct{}{}
	for i := range 8 * 20 {
		given[strconv.Itoa(i)] = make(chan struct{})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		if r.URL.Path == "/slow" {
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
			<-given[r.URL.RawQuery] // up by the client, in the middle of the body
		}
	}))
	defer server.Close()
	client, err := NewClient(Connection{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	e := NewEncoder("none")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			line, other := make([]byte, 2<<20), bytes.Repeat([]byte{'#'}, 2<<20)
			for k := range 20 {
				p := e.New()
				_, _ = p.Write(bytes.Repeat([]byte{byte('a' + i)}, 2<<20))
				_, _ = p.Share(line)
				if err := p.Finish(); err != nil {
					t.Error(err)
				}
				number := strconv.Itoa(i*20 + k)
				path := "/early?"
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if i%2 == 0 {
					path = "/slow?"
					ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
				}
				_, _ = client.Do(ctx, http.MethodPost, server.URL+path+number, http.Header{}, p, 100) // either way is fine
				close(given[number])
				cancel()
				p.Free()
				copy(line, other) // an event's memory is used for others by now
			}
		})
	}
	wg.Wait()
}

func TestErrorsShowNoURL(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	client, err := NewClient(Connection{})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{closed.URL + "/?token=hunter2", "http://user:hunter2@\x7f/"} {
		_, err = client.Do(t.Context(), http.MethodPost, target, http.Header{}, nil, 100)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error is %v; want one without the token", err)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusBadGateway)
		}
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 5000))
	}))
	defer server.Close()
	client, err := NewClient(Connection{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(t.Context(), http.MethodGet, server.URL, nil, nil, 4999); !errors.Is(err, errBodyLimit) {
		t.Errorf("a long answer: %v, want the limit", err)
	}
	if a, err := client.Do(t.Context(), http.MethodGet, server.URL, nil, nil, 5000); err != nil || len(a.Body) != 5000 {
		t.Errorf("an answer at the limit: %v", err)
	}
	if a, err := client.Do(t.Context(), http.MethodGet, server.URL+"/bad", nil, nil, 100); err != nil || a.Status != 502 {
		t.Errorf("a long error page: %v, want its status", err)
	}
	if a, err := client.Do(t.Context(), http.MethodPost, server.URL+"/moved", nil, nil, 100); err != nil || a.Status != 307 {
		t.Errorf("a redirect: %v, %v; want it reported and not followed", a, err)
	}
}

func TestTrust(t *testing.T) {
	authority, err := ca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if server.TLS, err = authority.ServerConfig("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	server.StartTLS()
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := authority.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		c  Connection
		ok bool
	}{{Connection{}, false}, {Connection{CAFile: config.Path(file)}, true}} {
		client, err := NewClient(tc.c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = client.Do(t.Context(), http.MethodGet, server.URL, nil, nil, 100); (err == nil) != tc.ok {
			t.Errorf("with ca_file %q: %v; want success %v", tc.c.CAFile, err, tc.ok)
		}
		client.Close()
	}
	if _, err := NewClient(Connection{CertFile: config.Path(file), KeyFile: config.Path(file)}); err == nil {
		t.Error("a certificate without a key: want an error")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(Connection{CAFile: config.Path(file)}); err == nil {
		t.Error("no CA file: want an error")
	}
}

func TestConnectionMistakes(t *testing.T) {
	for want, c := range map[string]Connection{"cert_file": {CertFile: "a"}, "proxy": {Proxy: "nowhere"}} {
		var r config.Report
		c.Validate(&r)
		if len(r.Problems) != 1 || r.Problems[0].Path != want {
			t.Errorf("%+v: %+v, want one problem at %s", c, r.Problems, want)
		}
	}
}
