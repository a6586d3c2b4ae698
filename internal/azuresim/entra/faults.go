package entra

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Faults makes a server fail on demand. The zero value causes none. It is safe
// for concurrent use.
type Faults struct {
	mu            sync.Mutex // guards what follows
	left          int
	status        int
	retryAfter    time.Duration
	tokenLifetime time.Duration
}

// Fail answers the next count requests with an HTTP status such as 429, 500 or
// 503; a retryAfter of one second or more is sent as Retry-After.
func (f *Faults) Fail(count, status int, retryAfter time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.status, f.retryAfter = count, status, retryAfter
}

// SetTokenLifetime changes how long the tokens issued from now on are valid;
// zero sets DefaultTokenLifetime again.
func (f *Faults) SetTokenLifetime(lifetime time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokenLifetime = lifetime
}

// Clear ends all faults.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.tokenLifetime = 0, 0
}

func (f *Faults) lifetime() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokenLifetime == 0 {
		return DefaultTokenLifetime
	}
	return f.tokenLifetime
}

// apply answers the request if it is to fail, and reports whether it did.
func (f *Faults) apply(w http.ResponseWriter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left <= 0 {
		return false
	}
	f.left--
	if f.retryAfter >= time.Second {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter.Seconds())))
	}
	writeJSON(w, f.status, map[string]any{
		"error":             "temporarily_unavailable",
		"error_description": "AADSTS90033: A transient error has occurred. Please try again.",
		"error_codes":       []int{90033},
	})
	return true
}
