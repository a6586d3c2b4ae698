package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/normalize"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// processor turns the payloads of one source into events. Its process method
// may be called concurrently, once for each partition.
type processor struct {
	name    string
	lanes   []*lane
	letters *deadletter.Store
	metrics *telemetry.Metrics
	logger  *slog.Logger
	scratch sync.Pool // of *scratch
	buffers buffers
}

// lane is one schema and the sinks that get it: a record is normalized once for
// all of them.
type lane struct {
	schema string
	mapper *normalize.Mapper
	sinks  []*sink.Runner
	// growth is how many bytes of events a byte of payload became lately, in
	// percent; it sizes buffers.
	growth atomic.Int64
	// bestEffort is set where a sink may still read the events after the token
	// is released.
	bestEffort bool
}

func (p *processor) lane(schema string, m *normalize.Mapper) *lane {
	for _, l := range p.lanes {
		if l.schema == schema {
			return l
		}
	}
	l := &lane{schema: schema, mapper: m}
	l.growth.Store(300)
	p.lanes = append(p.lanes, l)
	return l
}

func (l *lane) add(r *sink.Runner) {
	if !slices.Contains(l.sinks, r) {
		l.sinks = append(l.sinks, r)
		l.bestEffort = l.bestEffort || !r.Required()
	}
}

// scratch is the reused memory of one call of process.
type scratch struct {
	decoder decode.Decoder
	lanes   []laneScratch
	counts  []logTypeCount
	repairs [8]int // by bit of decode.Repair
}

type laneScratch struct {
	worker *normalize.Worker
	out    []byte // of this call: sinks hold parts of it
	spans  []span
}

// span is an event whose bytes are cut out of the buffer once that has stopped
// growing.
type span struct {
	start, end int
	result     normalize.Result
}

type logTypeCount struct {
	name string
	n    int
}

func (p *processor) get() *scratch {
	if s, ok := p.scratch.Get().(*scratch); ok {
		return s
	}
	s := &scratch{lanes: make([]laneScratch, len(p.lanes))}
	for i, l := range p.lanes {
		s.lanes[i].worker = l.mapper.Worker()
	}
	return s
}

// process implements source.Process.
func (p *processor) process(ctx context.Context, origin *event.Origin, batch []event.Payload, token *ack.Token) (held source.Held, err error) {
	s := p.get()
	defer p.put(s)
	size := 0
	for i := range batch {
		size += len(batch[i].Body)
	}
	for i, l := range p.lanes {
		s.lanes[i].out = p.buffers.get(size/100*int(l.growth.Load()) + 4096)
	}
	letters := p.normalize(s, origin, batch)
	if len(letters) > 0 {
		if err := p.bury(ctx, letters); err != nil {
			return source.Held{}, err
		}
	}
	outs := make([][]byte, 0, len(p.lanes)) // to be used again once all is confirmed
	for i, l := range p.lanes {
		if out := s.lanes[i].out; !l.bestEffort {
			outs = append(outs, out)
		}
		held.Bytes += l.dispatch(&s.lanes[i], size, origin, token)
	}
	held.Free = func() {
		for _, out := range outs {
			p.buffers.put(out)
		}
	}
	for _, c := range s.counts {
		p.metrics.SourceRecords.WithLabelValues(p.name, c.name).Add(float64(c.n))
	}
	for bit, n := range s.repairs {
		if n > 0 {
			p.metrics.DecodeRepaired.WithLabelValues(p.name, decode.Repair(1<<bit).String()).Add(float64(n))
		}
	}
	return held, nil
}

func (p *processor) put(s *scratch) {
	for i := range s.lanes {
		s.lanes[i].out = nil
		clear(s.lanes[i].spans)
		s.lanes[i].spans = s.lanes[i].spans[:0]
	}
	s.counts = s.counts[:0]
	s.repairs = [8]int{}
	p.scratch.Put(s)
}

// normalize appends the events of the batch to the lanes' buffers and returns
// what could not be read.
func (p *processor) normalize(s *scratch, origin *event.Origin, batch []event.Payload) (letters []deadletter.Letter) {
	var in normalize.Input
	in.Origin = origin
	record := func(r *decode.Record) {
		in.Index, in.Node, in.Raw, in.Number, in.Repairs = r.Index, r.Node, r.Raw, r.Number, nil
		if r.Repairs != 0 {
			in.Repairs = strings.Split(r.Repairs.String(), ",")
			for bit := range s.repairs {
				if r.Repairs&(1<<bit) != 0 {
					s.repairs[bit]++
				}
			}
		}
		for i := range s.lanes {
			l := &s.lanes[i]
			start := len(l.out)
			var result normalize.Result
			l.out, result = l.worker.Append(l.out, in)
			l.spans = append(l.spans, span{start, len(l.out), result})
			if i == 0 {
				s.count(result.LogType)
			}
		}
	}
	bad := func(b decode.Bad) {
		letters = append(letters, deadletter.FromPayload(origin, in.Position, b.Offset, b.Raw, b.Class, b.Reason))
	}
	for i := range batch {
		in.Position, in.Enqueued = batch[i].Position, batch[i].Enqueued
		s.decoder.Decode(batch[i].Body, record, bad)
	}
	return letters
}

func (s *scratch) count(logType string) {
	for i := range s.counts {
		if s.counts[i].name == logType {
			s.counts[i].n++
			return
		}
	}
	s.counts = append(s.counts, logTypeCount{logType, 1})
}

// dispatch queues the lane's events at its sinks, with a hold on the token for
// each event and required sink, and returns how many bytes that keeps in memory.
func (l *lane) dispatch(s *laneScratch, size int, origin *event.Origin, token *ack.Token) (held int64) {
	if len(s.spans) == 0 {
		return 0
	}
	events := make([]event.Event, len(s.spans))
	for i, sp := range s.spans {
		r := sp.result
		events[i] = event.Event{
			ID: r.ID, Time: r.Time, LogType: r.LogType, Schema: r.Schema,
			Data: s.out[sp.start:sp.end:sp.end], Origin: origin,
		}
	}
	if size > 0 {
		// An average that follows slowly; an eighth on top so that most buffers fit.
		now := int64(len(s.out)) * 900 / 8 / int64(size)
		l.growth.Store((l.growth.Load()*7 + now) / 8)
	}
	for _, r := range l.sinks {
		if r.Required() {
			held = int64(cap(s.out))
			token.Hold(len(events))
			r.Enqueue(events, token)
		} else {
			r.Enqueue(events, nil)
		}
	}
	return held
}

// bury stores dead letters, for as long as that takes: a payload is not taken
// care of before they are durable. It returns an error only if ctx ends first.
func (p *processor) bury(ctx context.Context, letters []deadletter.Letter) error {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := p.letters.Put(ctx, letters...)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("store %d dead letters: %w", len(letters), err)
		}
		p.logger.Error("dead letters not stored: the source waits; make room or fix the permissions of the folder",
			"source", p.name, "folder", p.letters.Dir(), "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("store %d dead letters: %w", len(letters), ctx.Err())
		case <-timer.C:
		}
	}
	for i := range letters {
		p.metrics.DecodeBad.WithLabelValues(p.name, letters[i].Class).Inc()
		p.metrics.DeadLetters.WithLabelValues(letters[i].Class).Inc()
	}
	l := &letters[0]
	p.logger.Warn("bytes that are no record went to the dead letters", "source", p.name, "partition", l.Partition,
		"position", l.Position, "offset", l.Offset, "reason", l.Reason, "count", len(letters))
	return nil
}
