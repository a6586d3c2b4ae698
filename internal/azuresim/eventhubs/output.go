package eventhubs

import (
	"net"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

const (
	// outputHighWater is how many bytes may wait for the socket before receivers
	// pause. Replies are not held back: the peer bounds them by what it asks.
	outputHighWater = 512 << 10
	// outputLimit is where a peer that asks without reading is cut off.
	outputLimit = 64 << 20
	// referenceSize is from where on a payload is handed to the socket in place
	// instead of being copied beside its frame's header.
	referenceSize = 4 << 10
	// writeSize is the most that one write to a TLS or WebSocket connection gets.
	writeSize = 256 << 10
)

// output is what waits to be written to a connection, in order.
type output struct {
	buf        []byte      // frames, but for the payloads in references
	references []reference // in ascending order of at
	referenced int         // bytes
	vector     bool        // the socket can write from several places at once
}

// reference is a payload that stands before buf[at].
type reference struct {
	at      int
	payload []byte
}

func (o *output) size() int { return len(o.buf) + o.referenced }

// payload adds bytes that nobody will change.
func (o *output) payload(p []byte) {
	if !o.vector || len(p) < referenceSize {
		o.buf = append(o.buf, p...)
		return
	}
	o.references = append(o.references, reference{len(o.buf), p})
	o.referenced += len(p)
}

func (o *output) reset() {
	clear(o.references)
	o.buf, o.references, o.referenced = o.buf[:0], o.references[:0], 0
}

// writeTo writes everything. scratch is memory to reuse.
func (o *output) writeTo(nc net.Conn, scratch *net.Buffers) error {
	if len(o.references) == 0 {
		for b := o.buf; len(b) > 0; {
			n := len(b)
			if !o.vector {
				n = min(n, writeSize)
			}
			if _, err := nc.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	}
	all, from := (*scratch)[:0], 0
	for _, r := range o.references {
		if r.at > from {
			all = append(all, o.buf[from:r.at])
			from = r.at
		}
		all = append(all, r.payload)
	}
	if from < len(o.buf) {
		all = append(all, o.buf[from:])
	}
	*scratch = all
	pending := all // WriteTo consumes its receiver
	_, err := pending.WriteTo(nc)
	clear(all)
	return err
}

// write is the only goroutine that writes to the socket. It ends when the
// connection does, and closes the socket after the last frame of an orderly end.
func (c *conn) write() {
	silence := time.NewTimer(c.b.opts.KeepAlive)
	defer silence.Stop()
	expiry := time.NewTicker(expiryCheck)
	defer expiry.Stop()
	spare := output{vector: c.out.vector}
	var scratch net.Buffers
	for {
		keepAlive := false
		select {
		case <-c.wakeWriter:
		case <-silence.C:
			keepAlive = true
		case <-expiry.C:
			c.detachExpired()
			continue // what that queued has woken the writer
		case <-c.done:
			return
		}
		for {
			c.mu.Lock()
			if keepAlive && c.opened && c.out.size() == 0 {
				c.out.buf = amqp.AppendKeepAlive(c.out.buf)
			}
			keepAlive = false
			batch := c.out
			c.out = spare
			paused, closing, period := c.paused, c.closing, c.keepAlive
			c.paused = nil
			c.mu.Unlock()
			for _, r := range paused {
				r.signal()
			}
			if batch.size() == 0 {
				spare = batch
				if closing {
					c.cut()
					return
				}
				silence.Reset(period)
				break
			}
			err := batch.writeTo(c.nc, &scratch)
			batch.reset()
			spare = batch
			if err != nil {
				c.fail(err)
				return
			}
		}
	}
}

// sendLocked queues a performative.
func (c *conn) sendLocked(channel uint16, p amqp.Performative) {
	if c.closing {
		return
	}
	if c.out.size() > outputLimit {
		c.closing = true
		c.cut()
		return
	}
	c.out.buf = amqp.AppendFrame(c.out.buf, amqp.FrameAMQP, channel, p)
	c.flush()
}

// flush lets the writer look for output.
func (c *conn) flush() {
	select {
	case c.wakeWriter <- struct{}{}:
	default:
	}
}
