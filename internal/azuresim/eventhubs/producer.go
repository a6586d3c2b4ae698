package eventhubs

import (
	"errors"
	"fmt"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// A peer may have producerCredit messages under way; it is told of new credit when
// a third of it is used.
const producerCredit = 300

// incoming is the state of a link on which the peer sends. Guarded by conn.mu.
type incoming struct {
	credit     uint32
	partial    bool // more frames of the delivery will come
	deliveryID uint32
	format     uint32
	settled    bool
	message    []byte // so far
}

// grantLocked gives the peer credit to send.
func (l *link) grantLocked() {
	l.incoming.credit = producerCredit
	l.s.c.sendLocked(l.s.channel, l.stateLocked())
}

// transferLocked takes a frame of a message. Once the message is whole, after
// acts on it, outside the lock.
func (s *session) transferLocked(p *amqp.Transfer, payload []byte) (after func(), err error) {
	s.nextIncoming++
	if s.received++; s.received >= incomingWindow/2 {
		s.c.sendLocked(s.channel, s.stateLocked())
	}
	l := s.links[p.Handle]
	if l == nil {
		return nil, s.unattached(p, p.Handle)
	}
	in := l.incoming
	if in == nil {
		return nil, &amqp.Error{Condition: condNotAllowed, Description: fmt.Sprintf("transfer on handle %d, where the peer is the receiver", p.Handle)}
	}
	if l.detached {
		return nil, nil // it crossed our detach
	}
	if !in.partial {
		if p.DeliveryID == nil {
			return nil, &amqp.Error{Condition: condNotAllowed, Description: "the first transfer of a delivery has no delivery-id"}
		}
		if in.credit == 0 {
			l.detachLocked(s.c.b.errorf("amqp:link:transfer-limit-exceeded", "A transfer came without link credit."))
			return nil, nil
		}
		in.partial, in.deliveryID, in.settled, in.format, in.message = true, *p.DeliveryID, false, 0, nil
		if p.MessageFormat != nil {
			in.format = *p.MessageFormat
		}
	}
	in.settled = in.settled || p.Settled
	if p.Aborted {
		in.partial, in.message = false, nil
		l.countLocked()
		return nil, nil
	}
	if size := len(in.message) + len(payload); size > s.c.b.opts.MaxMessageSize {
		in.message = nil
		l.detachLocked(s.c.b.errorf(condMessageSizeExceeded, "The received message (delivery-id:%d, size:%d bytes) exceeds the limit (%d bytes) currently allowed on the link.",
			in.deliveryID, size, s.c.b.opts.MaxMessageSize))
		return nil, nil
	}
	in.message = append(in.message, payload...)
	if p.More {
		return nil, nil
	}
	message, id, format, settled := in.message, in.deliveryID, in.format, in.settled
	in.partial, in.message = false, nil
	return func() { l.deliver(message, id, format, settled) }, nil
}

// countLocked counts a delivery that is done with and renews the credit.
func (l *link) countLocked() {
	l.deliveries++
	if l.incoming.credit--; l.incoming.credit <= producerCredit*2/3 {
		l.grantLocked()
	}
}

// deliver acts on a whole message, which it owns. It is called without locks.
func (l *link) deliver(message []byte, id, format uint32, settled bool) {
	c := l.s.c
	var rejected *amqp.Error
	if l.entity.hub != nil {
		rejected = l.store(message, format)
	}
	c.mu.Lock()
	if !settled && !l.detached {
		c.sendLocked(l.s.channel, &amqp.Disposition{Receiver: true, First: id, Settled: true, Accepted: rejected == nil, Rejected: rejected})
	}
	if !l.detached {
		l.countLocked()
	}
	c.mu.Unlock()
	if l.entity.hub == nil {
		l.answer(message)
	}
}

// store appends a message, or all of a batch, to one partition.
func (l *link) store(message []byte, format uint32) *amqp.Error {
	b := l.s.c.b
	if e := b.faults.takeSendRejection(); e != nil {
		return e
	}
	events, err := parseEvents(message, format)
	if err != nil {
		return b.errorf(condDecodeError, "%s", err)
	}
	p := l.entity.partition
	if p == nil {
		p = l.entity.hub.route(events[0].partitionKey())
	}
	if _, err := p.append(events); err != nil {
		return b.errorf(condInternalError, "%s", err)
	}
	return nil
}

// parseEvents returns the events of a message or a batch. They alias it.
func parseEvents(message []byte, format uint32) ([]event, error) {
	if format != amqp.MessageFormatBatch {
		e, err := parseEvent(message)
		return []event{e}, err
	}
	var events []event
	for rest := message; len(rest) > 0; {
		section, after, err := amqp.NextSection(rest)
		if err != nil {
			return nil, fmt.Errorf("batch: %w", err)
		}
		rest = after
		if section.Code != amqp.CodeData {
			continue // the envelope repeats what the first event has
		}
		data, err := section.Binary()
		if err != nil {
			return nil, fmt.Errorf("batch: %w", err)
		}
		e, err := parseEvent(data)
		if err != nil {
			return nil, fmt.Errorf("event %d of a batch: %w", len(events), err)
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil, errors.New("the batch holds no data section")
	}
	return events, nil
}

// parseEvent reads an encoded message: it keeps the bare message and the
// annotations that are not the service's to give.
func parseEvent(message []byte) (event, error) {
	var e event
	start, end := -1, len(message)
	var body []byte
	sections, hasBody, last := 0, false, amqp.CodeHeader
	for rest := message; len(rest) > 0; {
		at := len(message) - len(rest)
		section, after, err := amqp.NextSection(rest)
		if err != nil {
			return event{}, err
		}
		if section.Code < last {
			return event{}, fmt.Errorf("section 0x%02x follows 0x%02x: sections are out of order", uint64(section.Code), uint64(last))
		}
		last, rest = section.Code, after
		switch section.Code {
		case amqp.CodeHeader, amqp.CodeDeliveryAnnotations:
			continue
		case amqp.CodeMessageAnnotations:
			if err := e.takeAnnotations(section); err != nil {
				return event{}, err
			}
			continue
		case amqp.CodeFooter:
			end = at
			continue
		case amqp.CodeData:
			if body, err = section.Binary(); err != nil {
				return event{}, err
			}
		case amqp.CodeProperties:
			if _, err := section.Decode(); err != nil {
				return event{}, err
			}
		case amqp.CodeApplicationProperties:
			if _, err := section.Map(); err != nil {
				return event{}, err
			}
		}
		hasBody = hasBody || section.Code >= amqp.CodeData
		sections++
		if start < 0 {
			start = at
		}
	}
	if !hasBody {
		return event{}, errors.New("the message has no body")
	}
	if sections == 1 && body != nil {
		e.body = body
		return e, nil
	}
	e.body, e.encoded = message[start:end:end], true
	return e, nil
}

func (e *event) takeAnnotations(section amqp.Section) error {
	annotations, err := section.Map()
	if err != nil {
		return err
	}
	for _, p := range annotations {
		switch name := amqp.Text(p.Key); name {
		case annotationSequence, annotationOffset, annotationEnqueued:
		default:
			if name != "" {
				e.annotate(amqp.Symbol(name), p.Value)
			}
		}
	}
	return nil
}
