package eventhubs

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// AllPartitions stands for every partition where one can be chosen.
const AllPartitions = -1

// Faults makes the broker misbehave on demand. Its methods are safe for concurrent
// use. What is set to happen a number of times replaces what was set before, and
// 0 times calls it off.
type Faults struct {
	b *Broker

	mu         sync.Mutex // guards what follows
	attach     planned[amqp.Error]
	send       planned[amqp.Error]
	cbs        planned[answerText]
	management planned[answerText]
	pause      time.Duration
}

// planned is something that is to happen a number of times.
type planned[T any] struct {
	what  T
	times int
}

func (p *planned[T]) take() *T {
	if p.times <= 0 {
		return nil
	}
	p.times--
	what := p.what
	return &what
}

func newFaults(b *Broker) *Faults { return &Faults{b: b} }

// DetachReceivers detaches the receivers of a hub's partition, or of all its
// partitions, with a condition such as "com.microsoft:server-busy", and returns how many.
func (f *Faults) DetachReceivers(hub string, partition int, condition, description string) int {
	return f.b.detach(func(l *link) bool {
		return l.receiver != nil && strings.EqualFold(l.entity.hub.name, hub) &&
			(partition == AllPartitions || l.entity.partition.index == partition)
	}, &amqp.Error{Condition: amqp.Symbol(condition), Description: description})
}

// DetachSenders detaches the links that send to a hub, and returns how many.
func (f *Faults) DetachSenders(hub, condition, description string) int {
	return f.b.detach(func(l *link) bool {
		return !l.sends && l.entity.hub != nil && strings.EqualFold(l.entity.hub.name, hub)
	}, &amqp.Error{Condition: amqp.Symbol(condition), Description: description})
}

// CutConnections closes up to n sockets without a word, all if n is negative, and
// returns how many.
func (f *Faults) CutConnections(n int) int {
	cut := 0
	for _, c := range f.b.connections() {
		if cut == n {
			break
		}
		c.cut()
		cut++
	}
	return cut
}

// RefuseAttach refuses the next links to hubs with a condition.
func (f *Faults) RefuseAttach(condition, description string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attach = planned[amqp.Error]{amqp.Error{Condition: amqp.Symbol(condition), Description: description}, times}
}

// RejectSends rejects the next messages or batches with a condition.
func (f *Faults) RejectSends(condition, description string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.send = planned[amqp.Error]{amqp.Error{Condition: amqp.Symbol(condition), Description: description}, times}
}

// AnswerCBS answers the next tokens with a status such as 401 or 500, whatever they are.
func (f *Faults) AnswerCBS(status int, description string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cbs = planned[answerText]{answerText{status: int32(status), description: description}, times}
}

// AnswerManagement answers the next requests to $management with a status.
func (f *Faults) AnswerManagement(status int, description string, times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.management = planned[answerText]{answerText{status: int32(status), description: description}, times}
}

// Stall stops or resumes what receivers of a partition (or of AllPartitions) get.
// Their links stay up, and the management node still tells of new events: only
// a watchdog can notice.
func (f *Faults) Stall(hub string, partition int, stalled bool) error {
	h, ok := f.b.Hub(hub)
	if !ok {
		return fmt.Errorf("eventhubs: stall hub %q: there is no such hub", hub)
	}
	if partition != AllPartitions {
		if _, err := h.partition(partition); err != nil {
			return err
		}
	}
	for _, p := range h.partitions {
		if partition == AllPartitions || p.index == partition {
			p.stalled.Store(stalled)
			p.signalAll()
		}
	}
	return nil
}

// Delay makes each receiver wait before it looks for events to send. 0 ends it.
func (f *Faults) Delay(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pause = d
}

// Clear calls off everything that was set to happen and resumes what was stalled.
func (f *Faults) Clear() {
	f.mu.Lock()
	f.attach, f.send = planned[amqp.Error]{}, planned[amqp.Error]{}
	f.cbs, f.management, f.pause = planned[answerText]{}, planned[answerText]{}, 0
	f.mu.Unlock()
	for _, h := range f.b.Hubs() {
		_ = f.Stall(h.name, AllPartitions, false) // a hub deleted meanwhile needs none
	}
}

func (f *Faults) takeAttachRefusal() *amqp.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.attach.take()
}

func (f *Faults) takeSendRejection() *amqp.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.send.take()
}

func (f *Faults) takeCBSAnswer() *answerText {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cbs.take()
}

func (f *Faults) takeManagementAnswer() *answerText {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.management.take()
}

func (f *Faults) delay() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pause
}

// detach ends the matching links with an error and returns how many.
func (b *Broker) detach(match func(*link) bool, e *amqp.Error) int {
	n := 0
	for _, c := range b.connections() {
		c.mu.Lock()
		for _, s := range c.sessions {
			for _, l := range s.links {
				if match(l) && l.detachLocked(e) {
					n++
				}
			}
		}
		c.mu.Unlock()
	}
	return n
}
