package eventhubs

import (
	"fmt"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// session is a session of a connection. It uses the peer's channel number for both
// directions. Everything in it is guarded by conn.mu.
type session struct {
	c            *conn
	channel      uint16
	nextIncoming uint32 // transfer id
	received     uint32 // transfer frames since the peer last heard of our window
	nextOutgoing uint32 // transfer id
	nextDelivery uint32
	remoteWindow int64 // transfer frames that the peer still takes
	links        map[uint32]*link
}

// link is a link of a session. It uses the peer's handle for both directions.
type link struct {
	s       *session
	name    string
	handle  uint32
	sends   bool   // the broker is the sender
	address string // of the node: target where the peer sends, else source
	replyTo string // target of a link on which the broker sends
	entity  entity

	// Guarded by conn.mu.
	attached bool        // our attach is queued
	detached bool        // our detach is queued or the peer's came
	early    *amqp.Error // what to detach with as soon as attached

	deliveries uint32       // guarded by conn.mu: delivery-count of the link
	incoming   *incoming    // of a link on which the peer sends
	receiver   *receiver    // of a link that reads a partition
	right      *rightNeeded // what the link's token must allow, nil if it needs none
}

// rightNeeded is a claim of a token.
type rightNeeded struct {
	name string
	of   func(Rights) bool
}

func needListen() *rightNeeded {
	return &rightNeeded{"Listen", func(r Rights) bool { return r.Listen }}
}
func needSend() *rightNeeded { return &rightNeeded{"Send", func(r Rights) bool { return r.Send }} }

// attach answers a peer's attach. It is called without locks.
func (s *session) attach(p *amqp.Attach) error {
	l := &link{s: s, name: p.Name, handle: p.Handle, sends: p.Receiver}
	if l.sends {
		l.address, l.replyTo = amqp.TerminusAddress(p.Source), amqp.TerminusAddress(p.Target)
	} else {
		l.address = amqp.TerminusAddress(p.Target)
		l.incoming = &incoming{}
	}
	stolen, refused := l.open(p)

	c := s.c
	c.mu.Lock()
	if p.Handle > maxHandle || s.links[p.Handle] != nil {
		c.mu.Unlock()
		if l.receiver != nil {
			l.receiver.partition().leave(l.receiver)
		}
		return &amqp.Error{Condition: condNotAllowed, Description: fmt.Sprintf("attach with handle %d: it is in use or larger than %d", p.Handle, maxHandle)}
	}
	s.links[p.Handle] = l
	reply := &amqp.Attach{
		Name: p.Name, Handle: p.Handle, Receiver: !p.Receiver,
		SenderSettleMode: p.SenderSettleMode, ReceiverSettleMode: p.ReceiverSettleMode,
		Source: p.Source, Target: p.Target,
		MaxMessageSize: uint64(c.b.opts.MaxMessageSize),
	}
	if l.sends {
		reply.InitialDeliveryCount = new(uint32)
	} else if p.InitialDeliveryCount != nil {
		l.deliveries = *p.InitialDeliveryCount
	}
	// The missing terminus announces the detach that follows a refusal. A receiver
	// with a lower epoch gets a whole attach: with that the Go client reports the
	// loss at once; which of the two the service does is assumed.
	if refused != nil && refused.Condition != condStolen {
		if l.sends {
			reply.Source = nil
		} else {
			reply.Target = nil
		}
	}
	c.sendLocked(s.channel, reply)
	l.attached = true
	switch {
	case refused != nil:
		l.detachLocked(refused)
	case l.early != nil:
		l.detachLocked(l.early)
	case !l.sends:
		l.grantLocked()
	}
	c.mu.Unlock()

	for _, other := range stolen {
		other.detach(c.b.errorf(condStolen, "New receiver '%s' with higher epoch of '%d' is created hence current receiver '%s' with epoch '%s' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.",
			l.receiver.name(), *l.receiver.epoch, other.name(), other.epochText()))
	}
	if refused == nil && l.receiver != nil {
		c.workers.Go(l.receiver.feed)
	}
	return nil
}

// open finds the node of a new link and, for a partition's receiver, joins it.
func (l *link) open(p *amqp.Attach) (stolen []*receiver, refused *amqp.Error) {
	if l.address == nodeCBS || entityPath(l.address) == nodeManagement {
		return nil, nil
	}
	b := l.s.c.b
	if refused = b.faults.takeAttachRefusal(); refused != nil {
		return nil, refused
	}
	var missing *amqp.Error
	l.entity, missing = b.resolve(l.address)
	l.right = needSend()
	if l.sends {
		l.right = needListen()
	}
	if refused = l.authorize(); refused != nil {
		return nil, refused
	}
	if missing != nil {
		return nil, missing
	}
	if !l.sends {
		return nil, nil
	}
	if l.entity.partition == nil || l.entity.group == "" {
		return nil, b.notFound(l.entity.path)
	}
	at, err := startOf(p.Source)
	if err != nil {
		return nil, b.errorf(condArgumentError, "%s.", err)
	}
	r := newReceiver(l, p.Properties)
	if r.sequence, refused = r.partition().seek(at); refused != nil {
		return nil, refused
	}
	if stolen, refused = r.partition().join(r); refused != nil {
		return nil, refused
	}
	l.receiver = r
	return stolen, nil
}

// authorize checks that the connection has a token for the link's entity.
func (l *link) authorize() *amqp.Error {
	if l.s.c.authorized(l.entity.path, l.right.of) {
		return nil
	}
	return l.unauthorized()
}

func (l *link) unauthorized() *amqp.Error {
	b := l.s.c.b
	return b.errorf(condUnauthorized, "Unauthorized access. '%s' claim(s) are required to perform this operation. Resource: 'sb://%s/%s'.",
		l.right.name, b.opts.Namespace, l.entity.path)
}

// detach ends the link with an error, once. It is called without locks.
func (l *link) detach(e *amqp.Error) bool {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	return l.detachLocked(e)
}

func (l *link) detachLocked(e *amqp.Error) bool {
	if l.detached {
		return false
	}
	if !l.attached {
		l.early = e
		return true
	}
	l.detached = true
	l.s.c.sendLocked(l.s.channel, &amqp.Detach{Handle: l.handle, Closed: true, Error: e})
	if l.receiver != nil {
		l.receiver.signal()
	}
	return true
}

// handleLocked acts on a performative of the session. What it returns is to be
// called without locks.
func (s *session) handleLocked(p amqp.Performative, payload []byte) (after func(), err error) {
	switch p := p.(type) {
	case *amqp.Flow:
		s.flowLocked(p)
	case *amqp.Transfer:
		return s.transferLocked(p, payload)
	case *amqp.Disposition:
		// Everything is sent settled: there is nothing to settle.
	case *amqp.Detach:
		return s.detachedLocked(p)
	case *amqp.End:
		delete(s.c.sessions, s.channel)
		s.c.sendLocked(s.channel, &amqp.End{})
		var receivers []*receiver
		for _, l := range s.links {
			l.detached = true
			if l.receiver != nil {
				l.receiver.signal()
				receivers = append(receivers, l.receiver)
			}
		}
		return func() {
			for _, r := range receivers {
				r.partition().leave(r)
			}
		}, nil
	}
	return nil, nil
}

// detachedLocked ends a link that the peer detached, or whose detach it confirmed.
func (s *session) detachedLocked(p *amqp.Detach) (after func(), err error) {
	l := s.links[p.Handle]
	if l == nil {
		return nil, s.unattached(p, p.Handle)
	}
	delete(s.links, p.Handle)
	if !l.detached {
		l.detached = true
		s.c.sendLocked(s.channel, &amqp.Detach{Handle: p.Handle, Closed: true})
	}
	if l.receiver == nil {
		return nil, nil
	}
	l.receiver.signal()
	return func() { l.receiver.partition().leave(l.receiver) }, nil
}

func (s *session) unattached(p amqp.Performative, handle uint32) error {
	return &amqp.Error{Condition: "amqp:session:unattached-handle", Description: fmt.Sprintf("got %T for handle %d, which no link has", p, handle)}
}

func (s *session) flowLocked(p *amqp.Flow) {
	// A peer that has not seen our begin counts from our first id.
	var next uint32
	if p.NextIncomingID != nil {
		next = *p.NextIncomingID
	}
	s.remoteWindow = int64(p.IncomingWindow) - int64(s.nextOutgoing-next)
	for _, l := range s.links {
		if l.receiver != nil {
			l.receiver.signal()
		}
	}
	if p.Handle == nil {
		if p.Echo {
			s.c.sendLocked(s.channel, s.stateLocked())
		}
		return
	}
	l := s.links[*p.Handle]
	if l == nil || l.detached {
		return // it crossed our detach
	}
	if l.receiver != nil {
		l.receiver.limit = p.DeliveryCount + p.LinkCredit
		l.receiver.drain = p.Drain
	}
	if p.Echo {
		s.c.sendLocked(s.channel, l.stateLocked())
	}
}

// stateLocked returns a flow with the state of the session, which renews the window.
func (s *session) stateLocked() *amqp.Flow {
	s.received = 0
	next := s.nextIncoming
	return &amqp.Flow{NextIncomingID: &next, IncomingWindow: incomingWindow, NextOutgoingID: s.nextOutgoing, OutgoingWindow: incomingWindow}
}

// stateLocked returns a flow with the state of the link besides that of its session.
func (l *link) stateLocked() *amqp.Flow {
	f := l.s.stateLocked()
	f.Handle, f.DeliveryCount = &l.handle, l.deliveries
	switch {
	case l.incoming != nil:
		f.LinkCredit = l.incoming.credit
	case l.receiver != nil:
		f.LinkCredit = l.receiver.creditLocked()
	}
	return f
}
