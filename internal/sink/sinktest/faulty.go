package sinktest

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faulty is the ways to fail that servers have in common which stand in for a
// destination over HTTP. It is embedded, and safe for concurrent use.
type Faulty struct {
	mu     sync.Mutex // guards what follows
	fail   int
	status int
	after  time.Duration
	refuse string
	cut    int
	hang   chan struct{}
}

// Fail answers the next n requests with a status.
func (f *Faulty) Fail(n, status int, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.status, f.after = n, status, after
}

// Refuse refuses for good what has an id that begins so.
func (f *Faulty) Refuse(prefix string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = prefix
}

// Cut takes what the next n requests bring and cuts the connection.
func (f *Faulty) Cut(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = n
}

// Hang answers nothing until release is called.
func (f *Faulty) Hang() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	over := make(chan struct{})
	f.hang = over
	return sync.OnceFunc(func() { close(over) })
}

// Wait returns when a request may be answered.
func (f *Faulty) Wait(r *http.Request) {
	f.mu.Lock()
	hang := f.hang
	f.mu.Unlock()
	if hang == nil {
		return
	}
	select {
	case <-hang:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// Failing returns the status that a request is to be answered with, 0 if it is to
// succeed, and sets the header for it.
func (f *Faulty) Failing(w http.ResponseWriter) (status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail <= 0 {
		return 0
	}
	f.fail--
	if f.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.after.Seconds())))
	}
	return f.status
}

// Refused tells whether the event of that id is to be refused.
func (f *Faulty) Refused(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refuse != "" && strings.HasPrefix(id, f.refuse)
}

// Taken cuts the connection, if that is to be done once a request is taken.
func (f *Faulty) Taken() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut > 0 {
		f.cut--
		panic(http.ErrAbortHandler)
	}
}

// Body reads up to limit bytes of a body, and as many when it is decompressed.
func Body(r *http.Request, limit int64) ([]byte, error) {
	body := io.LimitReader(r.Body, limit)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = io.LimitReader(z, limit)
	}
	return io.ReadAll(body)
}
