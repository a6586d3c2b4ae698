package sourcetest

import (
	"sync"
	"testing"
	"time"
)

// Patience is how long a test waits for something that has to come.
const Patience = 30 * time.Second

// Bell lets tests wait for what others change, and ring for. The zero value is
// ready; its methods may be called concurrently.
type Bell struct {
	mu   sync.Mutex
	next chan struct{} // closed by the next Ring; guarded by mu
}

// Ring says that something has changed.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// rung returns a channel that is closed by the next Ring.
func (b *Bell) rung() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

// Wait waits until condition holds, looking again whenever the bell rings, and
// fails the test after Patience.
func (b *Bell) Wait(t testing.TB, what string, condition func() bool) {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for {
		rung := b.rung()
		if condition() {
			return
		}
		select {
		case <-rung:
		case <-timeout.C:
			t.Fatalf("waited %v for %s", Patience, what)
		}
	}
}
