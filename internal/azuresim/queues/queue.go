package queues

import (
	"container/heap"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

const (
	// maxMessage is the most bytes of a message, as it is sent.
	maxMessage        = 64 << 10
	maxTaken          = 32
	defaultVisibility = 30 * time.Second
	maxVisibility     = 7 * 24 * time.Hour
	defaultLife       = 7 * 24 * time.Hour
)

// forever is when messages expire that never do, as the service writes it.
var forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

type message struct {
	id, text, receipt          string
	inserted, expires, visible time.Time
	dequeued                   int
	order                      uint64
	index                      int // in the queue's heap
}

// queue is a heap of messages by the time at which they are visible.
type queue struct {
	metadata map[string]string
	byID     map[string]*message
	byTime   byTime
	order    uint64
}

type byTime []*message

func (h byTime) Len() int { return len(h) }

func (h byTime) Less(i, j int) bool {
	if !h[i].visible.Equal(h[j].visible) {
		return h[i].visible.Before(h[j].visible)
	}
	return h[i].order < h[j].order
}

func (h byTime) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *byTime) Push(x any) {
	m := x.(*message)
	m.index = len(*h)
	*h = append(*h, m)
}

// Pop implements heap.Interface.
func (h *byTime) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}

func newReceipt() string {
	var bits [12]byte
	_, _ = rand.Read(bits[:]) // never fails
	return base64.StdEncoding.EncodeToString(bits[:])
}

func (q *queue) put(text string, hidden, life time.Duration, now time.Time) *message {
	now = now.UTC().Truncate(time.Second) // as the service shows times
	m := &message{id: uuid.NewString(), text: text, receipt: newReceipt(), inserted: now, expires: forever, visible: now.Add(hidden), order: q.order}
	if life >= 0 {
		m.expires = now.Add(life)
	}
	q.order++
	q.byID[m.id] = m
	heap.Push(&q.byTime, m)
	return m
}

// next returns the first visible message, or nil, and drops those that expired.
func (q *queue) next(now time.Time) *message {
	for len(q.byTime) > 0 {
		m := q.byTime[0]
		if m.visible.After(now) {
			return nil
		}
		if m.expires.After(now) {
			return m
		}
		q.remove(m)
	}
	return nil
}

func (q *queue) remove(m *message) {
	heap.Remove(&q.byTime, m.index)
	delete(q.byID, m.id)
}

func (q *queue) hide(m *message, until time.Time) {
	m.visible, m.receipt = until, newReceipt()
	heap.Fix(&q.byTime, m.index)
}

// take hands out messages and hides them meanwhile.
func (q *queue) take(most int, hidden time.Duration, now time.Time) (taken []message) {
	for len(taken) < most {
		m := q.next(now)
		if m == nil {
			break
		}
		m.dequeued++
		q.hide(m, now.Add(hidden))
		taken = append(taken, *m)
	}
	return taken
}

// peek returns the first visible messages as they are.
func (q *queue) peek(most int, now time.Time) (seen []message) {
	var aside []*message
	for len(aside) < most {
		m := q.next(now)
		if m == nil {
			break
		}
		heap.Remove(&q.byTime, m.index)
		aside = append(aside, m)
	}
	for _, m := range aside {
		heap.Push(&q.byTime, m)
		seen = append(seen, *m)
	}
	return seen
}

// held returns the message that a receipt is for.
func (q *queue) held(id, receipt string) (*message, error) {
	m := q.byID[id]
	if m == nil {
		return nil, storageapi.Errorf(http.StatusNotFound, "MessageNotFound", "The specified message does not exist.")
	}
	if m.receipt != receipt {
		return nil, storageapi.Errorf(http.StatusBadRequest, "PopReceiptMismatch", "The specified pop receipt did not match the pop receipt for a dequeued message.")
	}
	return m, nil
}
