package eventhub

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
)

// kafkaReader emits the records of one partition for as long as it is ours.
type kafkaReader struct {
	m         *member
	partition int32
	origin    event.Origin
	stream    source.Stream
	until     int64 // Once: read what is before this offset

	next int64 // offset of the record to emit next; the reading goroutine's own, after open
	at   time.Time
	done atomic.Bool // Once: all is emitted

	ctx    context.Context //nolint:containedctx // of run, ended by close
	cancel context.CancelFunc
	ended  chan struct{} // run is over

	mu      sync.Mutex
	records []*kgo.Record // not emitted yet; guarded by mu
	high    int64         // the offset that the partition's next record will have; guarded by mu
	more    chan struct{}
}

// newReader opens the stream of a partition that holds the offsets from begin up
// to, and not with, end, and decides where to read on.
func (m *member) newReader(ctx context.Context, partition int32, begin, end int64) (*kafkaReader, error) {
	s := m.s
	id := strconv.Itoa(int(partition))
	r := &kafkaReader{
		m: m, partition: partition, until: end, ended: make(chan struct{}), more: make(chan struct{}, 1), high: end,
		origin: event.Origin{
			Source: s.deps.Name, Tenant: s.cfg.Tenant, Partition: id,
			Namespace: strings.ToLower(s.target.FullyQualifiedNamespace + "/" + s.target.Hub + "/" + id), // as over AMQP
		},
	}
	if s.deps.Tenant != nil {
		r.origin.TenantID = s.deps.Tenant.ID
	}
	stream, err := m.out.Open(ctx, r.origin)
	if err != nil {
		return nil, &openError{err}
	}
	r.stream = stream
	r.ctx, r.cancel = context.WithCancel(m.ctx)
	if err := r.begin(ctx, begin, end); err != nil {
		r.cancel()
		closeCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		_ = stream.Close(closeCtx) // nothing was emitted
		return nil, err
	}
	return r, nil
}

// openError says that the checkpoint store, not the hub, is at fault.
type openError struct{ err error }

func (e *openError) Error() string { return e.err.Error() }
func (e *openError) Unwrap() error { return e.err }

// begin sets next, and reports what Azure no longer has.
func (r *kafkaReader) begin(ctx context.Context, begin, end int64) error {
	s := r.m.s
	if cursor := r.stream.Resume(); cursor != "" {
		at, err := parseCursor(cursor)
		if err != nil {
			return err
		}
		r.next, r.at = at.sequence+1, at.enqueued
		switch {
		case r.next > end:
			const remedy = "nothing, if the hub was re-created on purpose; what the old one still held after this position is gone"
			s.metrics.Gap(r.origin.Partition, "reset", 0)
			s.log.Warn("hub was re-created: reading it from its first message", "partition", r.origin.Partition, "position", at.sequence, "last", end-1, "remedy", remedy)
			s.health.Note(fmt.Sprintf("partition %s: the hub was re-created (read up to message %d, its last one is now %d); reading it from its first message",
				r.origin.Partition, at.sequence, end-1), remedy)
			r.next, r.at = begin, time.Time{}
		case r.next < begin:
			r.gap(begin)
			r.next = begin
		}
		return nil
	}
	r.next = begin
	switch {
	case s.start.latest:
		r.next = end
		// Saved at once: a restart must not jump over what comes until then.
		if err := r.stream.Emit(ctx, nil, position{sequence: end - 1}.cursor()); err != nil {
			return err
		}
	case !s.start.since.IsZero():
		offsets, err := kadm.NewClient(r.m.client).ListOffsetsAfterMilli(ctx, s.start.since.UnixMilli(), s.target.Hub)
		if err != nil {
			return err
		}
		found, ok := offsets.Lookup(s.target.Hub, r.partition)
		switch {
		case ok && found.Err != nil:
			return found.Err
		case ok && found.Offset >= 0:
			r.next = max(begin, found.Offset)
		}
	}
	return nil
}

// gap reports that records from next up to, and not with, to are missing.
func (r *kafkaReader) gap(to int64) {
	s, missing := r.m.s, to-r.next
	s.metrics.Gap(r.origin.Partition, "retention", missing)
	s.log.Error("messages are missing: they expired in the hub before they were read", "partition", r.origin.Partition,
		"first", r.next, "last", to-1, "messages", missing, "after", stamp(r.at), "remedy", gapRemedy)
	s.health.Note(fmt.Sprintf("partition %s: messages %d to %d (%d, enqueued after %s) expired before they were read",
		r.origin.Partition, r.next, to-1, missing, stamp(r.at)), gapRemedy)
}

// add hands over what was fetched next.
func (r *kafkaReader) add(records []*kgo.Record, high int64) {
	size := int64(0)
	for _, record := range records {
		size += int64(len(record.Value))
	}
	r.m.backlog.Add(size)
	r.mu.Lock()
	r.records, r.high = append(r.records, records...), high
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// run emits until close or, once, the partition's end is reached.
func (r *kafkaReader) run() {
	defer close(r.ended)
	ctx := r.ctx
	s := r.m.s
	s.health.OK(partPartition(r.origin.Partition))
	var batch []event.Payload
	for {
		if s.deps.Once && r.next >= r.until {
			r.done.Store(true)
			r.m.wake()
			return
		}
		records, size := r.take()
		if len(records) == 0 {
			select {
			case <-r.more:
				continue
			case <-ctx.Done():
				return
			}
		}
		batch = batch[:0]
		for _, record := range records {
			switch {
			case record.Offset < r.next: // fetched again
				continue
			case record.Offset > r.next:
				r.gap(record.Offset)
			}
			r.next, r.at = record.Offset+1, record.Timestamp
			batch = append(batch, event.Payload{Body: record.Value, Position: record.Offset, Enqueued: record.Timestamp})
		}
		err := r.stream.Emit(ctx, batch, position{sequence: r.next - 1, enqueued: r.at}.cursor())
		r.m.backlog.Add(-size)
		r.m.wake()
		if err != nil {
			if ctx.Err() == nil {
				r.m.fail(err)
			}
			return
		}
		r.lag()
	}
}

// take returns the records of the next batch, and their size.
func (r *kafkaReader) take() (records []*kgo.Record, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.records) && n < r.m.s.cfg.Batch.Events {
		bytes := int64(len(r.records[n].Value))
		if n > 0 && size+bytes > int64(r.m.s.cfg.Batch.Bytes) {
			break
		}
		if r.m.s.deps.Once && r.records[n].Offset >= r.until {
			break
		}
		size += bytes
		n++
	}
	records = r.records[:n:n]
	r.records = r.records[n:]
	return records, size
}

func (r *kafkaReader) lag() {
	r.mu.Lock()
	behind := r.high - r.next
	r.mu.Unlock()
	age := time.Duration(0)
	if behind > 0 {
		age = max(0, r.m.s.deps.Now().Sub(r.at))
	}
	r.m.s.metrics.Lag(r.origin.Partition, max(0, behind), age)
}

// close ends the reader and gives the partition up; what is in flight has until
// ctx ends.
func (r *kafkaReader) close(ctx context.Context) {
	r.cancel()
	<-r.ended
	r.mu.Lock()
	left := int64(0)
	for _, record := range r.records {
		left += int64(len(record.Value))
	}
	r.records = nil
	r.mu.Unlock()
	r.m.backlog.Add(-left)
	r.m.wake()
	if err := r.stream.Close(ctx); err != nil {
		r.m.s.log.Warn("partition is closed with messages in flight; they will be read again", "partition", r.origin.Partition, "error", err)
	}
}
