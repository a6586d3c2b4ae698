package ingestion

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"sync"
	"time"
)

// Faults makes a server fail on demand. The zero value causes none. It is safe
// for concurrent use.
type Faults struct {
	mu         sync.Mutex // guards what follows
	left       int
	status     int
	retryAfter time.Duration
	deny       bool
	hang       chan struct{} // nil: none; closed: over
	cut        int
	refuse     []byte
	tooLarge   int
	size       int
}

// Fail answers the next count calls with an HTTP status such as 429 or 500; a
// retryAfter of one second or more is sent as Retry-After.
func (f *Faults) Fail(count, status int, retryAfter time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.status, f.retryAfter = count, status, retryAfter
}

// TooLarge answers the next count calls that hold more than size bytes,
// decompressed, with 413.
func (f *Faults) TooLarge(count, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tooLarge, f.size = count, size
}

// Deny takes the role away from all callers, or gives it back.
func (f *Faults) Deny(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deny = on
}

// Hang reads calls and answers none, until the returned function is called.
func (f *Faults) Hang() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	over := make(chan struct{})
	f.hang = over
	var once sync.Once
	return func() { once.Do(func() { close(over) }) }
}

// Cut accepts the next count calls and cuts the connection instead of answering.
func (f *Faults) Cut(count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = count
}

// Refuse answers calls that hold a record with this text with 400; "" none.
func (f *Faults) Refuse(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = []byte(text)
}

// Clear ends all faults but a hang.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.deny, f.cut, f.refuse, f.tooLarge = 0, false, 0, nil, 0
}

func (f *Faults) denied() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deny
}

func (f *Faults) refuses(record []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.refuse) > 0 && bytes.Contains(record, f.refuse)
}

// before answers the call if it is to fail, and reports whether it did.
func (f *Faults) before(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	hang := f.hang
	fail := f.left > 0
	status, retryAfter := f.status, f.retryAfter
	if fail {
		f.left--
	}
	if !fail && f.tooLarge > 0 && plainSize(r) > f.size {
		f.tooLarge--
		fail, status, retryAfter = true, http.StatusRequestEntityTooLarge, 0
	}
	f.mu.Unlock()
	if hang != nil {
		// Without its body read, the end of the connection is not noticed.
		body, _ := io.ReadAll(io.LimitReader(r.Body, MaxCall+1))
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case <-hang:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if fail {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, MaxCall+1))
		if retryAfter < time.Second {
			retryAfter = 0
		}
		refuse(w, &problem{status: status, code: http.StatusText(status), message: "Simulated.", retryAfter: retryAfter})
	}
	return fail
}

// plainSize is how many bytes a call holds, decompressed. Its body can be read
// again.
func plainSize(r *http.Request) int {
	body, _ := io.ReadAll(io.LimitReader(r.Body, MaxCall+1)) // what could not be read fails again when it is accepted
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.Header.Get("Content-Encoding") != "gzip" {
		return len(body)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return 0
	}
	n, _ := io.Copy(io.Discard, io.LimitReader(z, MaxCall+1))
	return int(n)
}

// after cuts the connection of an accepted call, if it is to be cut.
func (f *Faults) after() {
	f.mu.Lock()
	cut := f.cut > 0
	if cut {
		f.cut--
	}
	f.mu.Unlock()
	if cut {
		panic(http.ErrAbortHandler) // net/http closes the connection without a word
	}
}
