package eventhubs

import (
	"strconv"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// receiver is a link that reads a partition, from the broker's side: it sends.
type receiver struct {
	*link
	id    string // what the peer calls itself
	epoch *int64 // owner level
	wake  chan struct{}

	// Guarded by conn.mu.
	limit uint32 // delivery-count up to which there is credit
	drain bool   // the peer wants the rest of its credit used up now

	// Of the feeding goroutine only.
	sequence int64   // of pending[0], or of the next event to read
	pending  []event // read and not sent
	sent     int     // bytes of the first pending message that are sent
	delivery uint32  // its delivery id
	prefix   []byte  // memory for the part of a message before its body
}

func newReceiver(l *link, properties amqp.Map) *receiver {
	r := &receiver{link: l, wake: make(chan struct{}, 1)}
	if v, ok := properties.Get("com.microsoft:receiver-name"); ok {
		r.id = amqp.Text(v)
	}
	if v, ok := properties.Get("com.microsoft:epoch"); ok {
		switch v := v.(type) { // a long by the clients' sources; rhea picks the type by the value
		case int64:
			r.epoch = &v
		case int32:
			epoch := int64(v)
			r.epoch = &epoch
		}
	}
	return r
}

func (r *receiver) partition() *partition { return r.entity.partition }

// name is how error texts call the receiver.
func (r *receiver) name() string {
	if r.id == "" {
		return "nil"
	}
	return r.id
}

func (r *receiver) epochText() string {
	if r.epoch == nil {
		return "0"
	}
	return strconv.FormatInt(*r.epoch, 10)
}

// signal lets the feeding goroutine look again. It never blocks.
func (r *receiver) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// feed sends events until the link or the connection ends.
func (r *receiver) feed() {
	defer r.partition().leave(r)
	c := r.s.c
	for {
		if !r.pause(c.b.faults.delay()) {
			return
		}
		stalled := r.partition().stalled.Load()
		if len(r.pending) == 0 && !stalled {
			r.sequence, r.pending = r.partition().read(r.sequence)
		}
		more, open := r.send(stalled)
		if !open {
			return
		}
		if more {
			continue
		}
		select {
		case <-r.wake:
		case <-c.done:
			return
		}
	}
}

// pause waits, and reports whether the link is still there afterwards.
func (r *receiver) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	c := r.s.c
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-c.done:
			return false
		case <-r.wake: // feed looks at everything after the pause
			c.mu.Lock()
			ended := r.detached
			c.mu.Unlock()
			if ended {
				return false
			}
		}
	}
}

// send queues as many pending events as credit, window and output allow. more says
// that it has sent them all, so that more may be there to read; open is false when
// the link has ended.
func (r *receiver) send(stalled bool) (more, open bool) {
	s, c := r.s, r.s.c
	progress := false
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.detached || c.closing {
		return false, false
	}
	for len(r.pending) > 0 && !stalled {
		if r.sent == 0 && r.creditLocked() == 0 {
			break
		}
		if s.remoteWindow <= 0 {
			break
		}
		if c.out.size() >= outputHighWater {
			c.paused = append(c.paused, r)
			break
		}
		r.sendEventLocked(&r.pending[0])
		progress = true
	}
	if progress {
		c.flush()
	}
	more = progress && len(r.pending) == 0
	if r.drain && !more && r.sent == 0 && (len(r.pending) == 0 || r.creditLocked() == 0) {
		r.drain = false
		r.deliveries += r.creditLocked()
		f := r.stateLocked()
		f.Drain = true
		c.sendLocked(s.channel, f)
	}
	if r.sent == 0 {
		r.pending = nil // to be read again: retention may drop it before there is credit
	}
	return more, true
}

// creditLocked returns how many messages the peer takes. A peer that lowers its
// credit may set the limit below what is already sent.
func (r *receiver) creditLocked() uint32 {
	return uint32(max(0, int32(r.limit-r.deliveries)))
}

// sendEventLocked queues the frames of one message as far as the window goes.
func (r *receiver) sendEventLocked(e *event) {
	s, c := r.s, r.s.c
	r.prefix = e.appendPrefix(r.prefix[:0], r.sequence)
	total := len(r.prefix) + len(e.body)
	room := int(c.peerMaxFrame) - amqp.MaxTransferHeader
	first := r.sent == 0
	if first {
		r.delivery = s.nextDelivery
		s.nextDelivery++
	}
	for r.sent < total && s.remoteWindow > 0 {
		n := min(total-r.sent, room)
		c.out.buf = amqp.AppendTransfer(c.out.buf, s.channel, r.handle, r.delivery, 0, first, r.sent+n < total, n)
		end := r.sent + n
		if r.sent < len(r.prefix) {
			part := r.prefix[r.sent:min(end, len(r.prefix))]
			c.out.buf = append(c.out.buf, part...)
			r.sent += len(part)
		}
		if r.sent < end {
			c.out.payload(e.body[r.sent-len(r.prefix) : end-len(r.prefix)])
			r.sent = end
		}
		s.nextOutgoing++
		s.remoteWindow--
		first = false
	}
	if r.sent == total {
		r.sent = 0
		r.sequence++
		r.pending = r.pending[1:]
		r.deliveries++
	}
}
