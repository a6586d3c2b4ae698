package eventhubs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// DefaultConsumerGroup is the group that every hub has.
const DefaultConsumerGroup = "$Default"

const (
	// maxPartitions is the largest count the service sells (Dedicated tier).
	maxPartitions = 1024
	// maxGroupName is the service's limit for the name of a consumer group.
	maxGroupName = 50
	// firstOffset is where offsets start. The service's offsets count bytes and
	// are often beyond 2^32 (observed); so they are never mistaken for sequence numbers.
	firstOffset = 1 << 32
)

// HubOptions configure a hub. The retention limits hold per partition, and the
// oldest events go first; zero means no limit.
type HubOptions struct {
	ConsumerGroups []string      `json:"consumer_groups,omitempty"` // besides $Default
	RetainEvents   int           `json:"retain_events,omitempty"`
	RetainBytes    int64         `json:"retain_bytes,omitempty"`
	RetainAge      time.Duration `json:"retain_age,omitempty"`
	// FirstSequence is the sequence number of the first event of each partition:
	// larger than 0 for a hub that looks as if it had lived.
	FirstSequence int64 `json:"first_sequence,omitempty"`
}

// hubName is the service's rule; it also makes names safe as those of folders.
var hubName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?$`)

func checkHub(name string, partitions int, o HubOptions) error {
	if !hubName.MatchString(name) {
		return errors.New("a name has 1 to 256 letters, digits, '.', '-' or '_' and starts and ends with a letter or digit")
	}
	if partitions < 1 || partitions > maxPartitions {
		return fmt.Errorf("%d partitions: there must be 1 to %d", partitions, maxPartitions)
	}
	for _, g := range o.ConsumerGroups {
		if g == "" || len(g) > maxGroupName || strings.Contains(g, "/") {
			return fmt.Errorf("consumer group %q: a name has 1 to %d characters and no slash", g, maxGroupName)
		}
	}
	if o.RetainEvents < 0 || o.RetainBytes < 0 || o.RetainAge < 0 || o.FirstSequence < 0 {
		return errors.New("retention limits and the first sequence number must not be negative")
	}
	return nil
}

// Hub is an event hub. Its methods are safe for concurrent use.
type Hub struct {
	b          *Broker
	name       string
	created    time.Time
	opts       HubOptions
	partitions []*partition
	turn       atomic.Uint32 // which partition takes the next event that names none
}

func newHub(b *Broker, name string, partitions int, o HubOptions, created time.Time) *Hub {
	o.ConsumerGroups = slices.Clone(o.ConsumerGroups)
	h := &Hub{b: b, name: name, created: created.UTC(), opts: o, partitions: make([]*partition, partitions)}
	for i := range h.partitions {
		h.partitions[i] = newPartition(h, i)
	}
	return h
}

// Name returns the hub's name as it was created.
func (h *Hub) Name() string { return h.name }

// Partitions returns how many partitions the hub has.
func (h *Hub) Partitions() int { return len(h.partitions) }

func (h *Hub) hasGroup(name string) bool {
	return strings.EqualFold(name, DefaultConsumerGroup) ||
		slices.ContainsFunc(h.opts.ConsumerGroups, func(g string) bool { return strings.EqualFold(g, name) })
}

func (h *Hub) partition(i int) (*partition, error) {
	if i < 0 || i >= len(h.partitions) {
		return nil, fmt.Errorf("eventhubs: hub %q has partitions 0 to %d, not %d", h.name, len(h.partitions)-1, i)
	}
	return h.partitions[i], nil
}

// Message is an event with what may surround its body.
type Message struct {
	// Body is stored and sent without a copy: it must not be changed afterwards.
	Body         []byte
	PartitionKey string
	// Properties are the application's: values of the types that AMQP has.
	Properties    map[string]any
	MessageID     string
	CorrelationID string
	ContentType   string
}

// Append stores events with these bodies and nothing else in a partition and
// returns the sequence number of the first. The bodies are not copied, now or
// when they are sent: they must not be changed afterwards. On an error that
// concerns the disk, some of the events may be there after a restart.
func (h *Hub) Append(partition int, bodies ...[]byte) (first int64, err error) {
	p, err := h.partition(partition)
	if err != nil {
		return 0, err
	}
	events := make([]event, len(bodies))
	for i, body := range bodies {
		events[i] = event{body: body}
	}
	return p.append(events)
}

// AppendMessage stores one event in a partition, or, where partition is negative,
// in the one that its partition key selects, or in turn.
func (h *Hub) AppendMessage(partition int, m Message) (sequence int64, err error) {
	e, err := m.encode()
	if err != nil {
		return 0, fmt.Errorf("eventhubs: append to hub %q: %w", h.name, err)
	}
	if partition < 0 {
		return h.route(m.PartitionKey).append([]event{e})
	}
	p, err := h.partition(partition)
	if err != nil {
		return 0, err
	}
	return p.append([]event{e})
}

// route chooses the partition of an event that was not sent to one.
func (h *Hub) route(key string) *partition {
	n := uint32(len(h.partitions))
	if key == "" {
		return h.partitions[(h.turn.Add(1)-1)%n]
	}
	return h.partitions[partitionOf(key, int(n))]
}

func (m Message) encode() (event, error) {
	e := event{body: m.Body}
	if m.PartitionKey != "" {
		e.annotate(annotationPartitionKey, m.PartitionKey)
	}
	var head []byte
	if m.MessageID != "" || m.CorrelationID != "" || m.ContentType != "" {
		optional := func(s string) any {
			if s == "" {
				return nil
			}
			return s
		}
		var contentType any
		if m.ContentType != "" {
			contentType = amqp.Symbol(m.ContentType)
		}
		head = amqp.AppendSection(head, amqp.CodeProperties)
		head = amqp.Append(head, amqp.List{optional(m.MessageID), nil, nil, nil, nil, optional(m.CorrelationID), contentType})
	}
	if len(m.Properties) > 0 {
		properties := make(amqp.Map, 0, len(m.Properties))
		for k, v := range m.Properties {
			if !amqp.Encodable(v) {
				return event{}, fmt.Errorf("property %q has type %T: AMQP has no such type", k, v)
			}
			properties = append(properties, amqp.Pair{Key: k, Value: v})
		}
		slices.SortFunc(properties, func(x, y amqp.Pair) int { return strings.Compare(x.Key.(string), y.Key.(string)) })
		head = amqp.AppendSection(head, amqp.CodeApplicationProperties)
		head = amqp.Append(head, properties)
	}
	if head != nil {
		head = amqp.AppendSection(head, amqp.CodeData)
		head = amqp.AppendBinaryHeader(head, len(m.Body))
		e.body, e.encoded = append(head, m.Body...), true
	}
	return e, nil
}

// PartitionInfo is the state of a partition as the management node tells it.
type PartitionInfo struct {
	ID string
	// BeginSequence is the oldest retained sequence number, or the next one to be
	// given when nothing is retained; LastSequence is the newest ever given.
	BeginSequence, LastSequence int64
	LastOffset                  string // "-1" before the first event
	LastEnqueued                time.Time
	Empty                       bool
	// Receivers counts the links that read now, over all consumer groups.
	Receivers int
}

// Partition returns the state of a partition.
func (h *Hub) Partition(i int) (PartitionInfo, error) {
	p, err := h.partition(i)
	if err != nil {
		return PartitionInfo{}, err
	}
	return p.info(), nil
}

// Event is a stored event.
type Event struct {
	Sequence     int64
	Offset       string
	Enqueued     time.Time
	PartitionKey string
	Body         []byte
}

// Read returns up to limit retained events of a partition from a sequence number
// on, for tests and ledgers: no link is opened. Bodies must not be changed.
func (h *Hub) Read(partition int, from int64, limit int) ([]Event, error) {
	p, err := h.partition(partition)
	if err != nil {
		return nil, err
	}
	var out []Event
	for len(out) < limit {
		first, events := p.read(from)
		if len(events) == 0 {
			break
		}
		for i := range events[:min(len(events), limit-len(out))] {
			e := &events[i]
			body, err := e.plainBody()
			if err != nil {
				return nil, fmt.Errorf("eventhubs: read hub %q partition %d, sequence %d: %w", h.name, partition, first+int64(i), err)
			}
			out = append(out, Event{
				Sequence:     first + int64(i),
				Offset:       strconv.FormatInt(e.offset, 10),
				Enqueued:     time.UnixMilli(e.enqueued).UTC(),
				PartitionKey: e.partitionKey(),
				Body:         body,
			})
		}
		from = first + int64(len(events))
	}
	return out, nil
}

// Changed returns a channel that is closed when the partition next gets an event,
// or the hub is deleted or its broker closed. Take it before reading, so that no
// change is missed. It returns nil for a partition that does not exist.
func (h *Hub) Changed(partition int) <-chan struct{} {
	p, err := h.partition(partition)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		done := make(chan struct{})
		close(done)
		return done
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// Deleted tells whether the hub takes no events any more.
func (h *Hub) Deleted() bool {
	p := h.partitions[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// close releases the files of all partitions.
func (h *Hub) close() error {
	var errs []error
	for _, p := range h.partitions {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}
