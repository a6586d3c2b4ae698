package eventhubs

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// A segment is the unit in which memory and files are given back.
const (
	maxSegmentEvents = 8192
	maxSegmentBytes  = 32 << 20
)

// maxReceivers is how many receivers without an epoch the service lets read one
// partition in one consumer group.
const maxReceivers = 5

// segment holds consecutive events.
type segment struct {
	first  int64 // sequence number of events[0]
	offset int64 // where its first event starts
	events []event
	bytes  int64
	file   *os.File // nil without a DataDir
	length int64    // bytes of the file that hold whole records
}

// partition is an append-only sequence of events with its readers.
type partition struct {
	hub     *Hub
	index   int
	id      string
	stalled atomic.Bool // a fault: receivers get nothing

	mu           sync.Mutex // guards what follows
	segments     []*segment // in order and without gaps
	begin, next  int64      // retained sequence numbers: begin <= s < next
	nextOffset   int64
	lastOffset   int64 // -1 before the first event
	lastEnqueued int64
	bytes        int64 // of retained events
	receivers    map[string][]*receiver
	changed      chan struct{} // closed at the next change; nil if nobody waits
	closed       bool
}

func newPartition(h *Hub, index int) *partition {
	return &partition{
		hub:        h,
		index:      index,
		id:         strconv.Itoa(index),
		begin:      h.opts.FirstSequence,
		next:       h.opts.FirstSequence,
		nextOffset: firstOffset,
		lastOffset: -1,
		receivers:  map[string][]*receiver{},
	}
}

// append stores the events and wakes the receivers. It sets offsets and times.
func (p *partition) append(events []event) (first int64, err error) {
	now := p.hub.b.opts.Now().UnixMilli()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, fmt.Errorf("eventhubs: append to hub %q: the hub was deleted or the broker closed", p.hub.name)
	}
	first = p.next
	for len(events) > 0 {
		s, err := p.tailLocked()
		if err != nil {
			return first, err
		}
		// Times must not fall, else the search for one would not find its events.
		enqueued := max(now, p.lastEnqueued)
		n, bytes, offset := 0, int64(0), p.nextOffset
		for n < len(events) && len(s.events)+n < maxSegmentEvents && (s.bytes+bytes < maxSegmentBytes) {
			e := &events[n]
			e.offset, e.enqueued = offset, enqueued
			offset += e.span()
			bytes += e.size()
			n++
		}
		if err := s.write(events[:n]); err != nil {
			return first, fmt.Errorf("eventhubs: append to hub %q partition %s: %w", p.hub.name, p.id, err)
		}
		p.addLocked(s, events[:n], bytes)
		events = events[n:]
	}
	p.retainLocked(now)
	p.signalLocked()
	return first, nil
}

func (p *partition) signalAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signalLocked()
}

func (p *partition) signalLocked() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	for _, group := range p.receivers {
		for _, r := range group {
			r.signal()
		}
	}
}

// addLocked makes events that have their offsets part of the tail segment.
func (p *partition) addLocked(s *segment, events []event, bytes int64) {
	last := &events[len(events)-1]
	s.events = append(s.events, events...)
	s.bytes += bytes
	p.bytes += bytes
	p.next += int64(len(events))
	p.lastOffset, p.lastEnqueued = last.offset, last.enqueued
	p.nextOffset = last.offset + last.span()
}

// tailLocked returns the segment that takes the next event.
func (p *partition) tailLocked() (*segment, error) {
	if n := len(p.segments); n > 0 {
		if s := p.segments[n-1]; len(s.events) < maxSegmentEvents && s.bytes < maxSegmentBytes {
			return s, nil
		}
	}
	s := &segment{first: p.next, offset: p.nextOffset}
	if p.hub.b.opts.DataDir != "" {
		if err := s.create(p.dir()); err != nil {
			return nil, fmt.Errorf("eventhubs: append to hub %q partition %s: %w", p.hub.name, p.id, err)
		}
	}
	p.segments = append(p.segments, s)
	return s, nil
}

// retainLocked drops the oldest events beyond the hub's limits. The tail segment
// stays even if all of it is dropped: it knows the last offset.
func (p *partition) retainLocked(now int64) {
	o := &p.hub.opts
	if o.RetainEvents == 0 && o.RetainBytes == 0 && o.RetainAge == 0 {
		return
	}
	for p.begin < p.next {
		e := p.eventLocked(p.begin)
		if !(o.RetainEvents > 0 && p.next-p.begin > int64(o.RetainEvents) ||
			o.RetainBytes > 0 && p.bytes > o.RetainBytes ||
			o.RetainAge > 0 && now-e.enqueued > o.RetainAge.Milliseconds()) {
			break
		}
		p.bytes -= e.size()
		p.begin++
	}
	for len(p.segments) > 1 && p.segments[1].first <= p.begin {
		p.segments[0].remove()
		p.segments[0] = nil
		p.segments = p.segments[1:]
	}
}

// segmentLocked returns the index of the segment that holds sequence.
func (p *partition) segmentLocked(sequence int64) int {
	return sort.Search(len(p.segments), func(i int) bool { return p.segments[i].first > sequence }) - 1
}

func (p *partition) eventLocked(sequence int64) *event {
	s := p.segments[p.segmentLocked(sequence)]
	return &s.events[sequence-s.first]
}

// read returns retained events in order, starting with sequence or, if that is
// gone, with the oldest; none if there is none yet. They must not be changed.
func (p *partition) read(sequence int64) (first int64, events []event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sequence = max(sequence, p.begin)
	if sequence >= p.next {
		return sequence, nil
	}
	s := p.segments[p.segmentLocked(sequence)]
	return sequence, s.events[sequence-s.first:]
}

// seek returns the sequence number at which a receiver starts. A start that is
// no longer retained means the oldest event; one that never was is an error (observed).
func (p *partition) seek(at position) (int64, *amqp.Error) {
	b := p.hub.b
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retainLocked(b.opts.Now().UnixMilli())
	// search returns the first retained event for which past holds.
	search := func(past func(*event) bool) int64 {
		n := sort.Search(int(p.next-p.begin), func(i int) bool { return past(p.eventLocked(p.begin + int64(i))) })
		return p.begin + int64(n)
	}
	switch at.field {
	case fieldLatest:
		return p.next, nil
	case fieldOffset:
		if at.value > p.lastOffset {
			return 0, b.errorf(condArgumentError, "The supplied offset '%d' is invalid. The last offset in the system is '%d'", at.value, p.lastOffset)
		}
		return search(func(e *event) bool { return e.offset > at.value || at.inclusive && e.offset == at.value }), nil
	case fieldSequence:
		if at.value >= p.next {
			return 0, b.errorf(condArgumentError, "The supplied sequence number '%d' is invalid. The last sequence number in the system is '%d'", at.value, p.next-1)
		}
		if !at.inclusive {
			at.value++
		}
		return max(at.value, p.begin), nil
	default:
		return search(func(e *event) bool { return e.enqueued > at.value || at.inclusive && e.enqueued == at.value }), nil
	}
}

func (p *partition) info() PartitionInfo {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retainLocked(p.hub.b.opts.Now().UnixMilli())
	info := PartitionInfo{
		ID:            p.id,
		BeginSequence: p.begin,
		LastSequence:  p.next - 1,
		LastOffset:    strconv.FormatInt(p.lastOffset, 10),
		LastEnqueued:  time.UnixMilli(p.lastEnqueued).UTC(),
		Empty:         p.begin == p.next,
	}
	for _, group := range p.receivers {
		info.Receivers += len(group)
	}
	return info
}

// join adds a receiver to its consumer group, or says why it may not read. It
// returns the receivers that it takes the partition from; the caller detaches them.
func (p *partition) join(r *receiver) (stolen []*receiver, refused *amqp.Error) {
	b, key := p.hub.b, strings.ToLower(r.entity.group)
	p.mu.Lock()
	defer p.mu.Unlock()
	group := p.receivers[key]
	for _, other := range group {
		switch {
		case other.epoch == nil:
		case r.epoch == nil:
			return nil, b.errorf(condStolen, "At least one receiver for the endpoint is created with epoch of '%d', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.", *other.epoch)
		case *r.epoch < *other.epoch:
			return nil, b.errorf(condStolen, "Receiver '%s' with a higher epoch '%d' already exists. Receiver '%s' with epoch %d cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.",
				other.name(), *other.epoch, r.name(), *r.epoch)
		}
	}
	if r.epoch != nil {
		p.receivers[key] = []*receiver{r}
		return group, nil
	}
	if len(group) >= maxReceivers {
		names := make([]string, len(group))
		for i, other := range group {
			names[i] = other.name()
		}
		return nil, b.errorf(condResourceLimitExceeded, "Exceeded the maximum number of allowed receivers per partition in a consumer group which is %d. List of connected receivers - %s.", maxReceivers, strings.Join(names, ", "))
	}
	p.receivers[key] = append(group[:len(group):len(group)], r)
	return nil, nil
}

// leave removes a receiver from its consumer group if it is there.
func (p *partition) leave(r *receiver) {
	key := strings.ToLower(r.entity.group)
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []*receiver
	for _, other := range p.receivers[key] {
		if other != r {
			rest = append(rest, other)
		}
	}
	p.receivers[key] = rest
}

func (p *partition) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.signalLocked()
	return p.closeFilesLocked()
}
