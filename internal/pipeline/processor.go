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

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lazuli-logs/lazuli/internal/ack"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize"
	"github.com/lazuli-logs/lazuli/internal/redact"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// processor turns the payloads of one source into events. Its process method
// may be called concurrently, once for each partition.
type processor struct {
	name      string
	lanes     []*lane
	rules     []rule
	selective bool // some rule does not take every record
	unrouted  prometheus.Counter
	letters   *deadletter.Store
	metrics   *telemetry.Metrics
	logger    *slog.Logger
	scratch   sync.Pool // of *scratch
	buffers   buffers
	helpers   chan struct{} // places for goroutines beside those of the partitions; shared by all sources
}

// lane is one schema and redaction, and the sinks that get it: a record is
// normalized once for all of them.
type lane struct {
	schema   string
	redact   config.Redact
	redactor *redact.Program // nil: nothing is redacted
	mapper   *normalize.Mapper
	sinks    []*sink.Runner
	// growth is how many bytes of events a byte of payload became lately, in
	// percent; it sizes buffers.
	growth atomic.Int64
	// bestEffort is set where a sink may still read the events after the token
	// is released.
	bestEffort bool
}

// add adds a sink, if it is not there yet, and returns its number.
func (l *lane) add(r *sink.Runner) int {
	if at := slices.Index(l.sinks, r); at >= 0 {
		return at
	}
	l.sinks = append(l.sinks, r)
	l.bestEffort = l.bestEffort || !r.Required()
	return len(l.sinks) - 1
}

// asks tells whether each record has to be held against the rules.
func (p *processor) asks() bool {
	return p.selective || slices.ContainsFunc(p.lanes, func(l *lane) bool { return l.redactor != nil })
}

// scratch is the reused memory for one part of a batch.
type scratch struct {
	decoder decode.Decoder
	router  router // where rules are to be asked
	lanes   []laneScratch
	counts  []logTypeCount
	repairs [8]int // by bit of decode.Repair
}

type laneScratch struct {
	worker *normalize.Worker
	out    []byte // of this part: sinks hold pieces of it
	spans  []span

	// Of the record at hand, where rules are asked:
	sinks         uint64 // that get it
	start         int    // of its event in out
	result        normalize.Result
	made, indexed bool
	document      jsonscan.Index // of its event
	redactor      *redact.Worker
	hidden        []byte
}

// span is an event whose bytes are cut out of the buffer once that has stopped
// growing.
type span struct {
	start, end int
	result     normalize.Result
	sinks      uint64 // that get it, as bits; not set where all do
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
		if l.redactor != nil {
			s.lanes[i].redactor = l.redactor.Worker()
		}
	}
	if p.asks() {
		s.router = newRouter(p)
	}
	return s
}

// estimate is how many bytes a batch of that size will hold, by what batches
// became lately: of that each lane's average is a little more.
func (p *processor) estimate(size int64) int64 {
	held := int64(0)
	for _, l := range p.lanes {
		held += size * l.growth.Load() / 100
	}
	return max(size, held)
}

// process implements source.Process. A large batch is normalized on several
// cores at once, if others are idle: one busy partition must not be bound to
// one core.
func (p *processor) process(ctx context.Context, origin *event.Origin, batch []event.Payload, token *ack.Token) (source.Held, error) {
	parts := p.split(batch)
	var others sync.WaitGroup
	for i := 1; i < len(parts); i++ {
		others.Go(func() {
			p.normalize(&parts[i], origin)
			<-p.helpers
		})
	}
	p.normalize(&parts[0], origin)
	others.Wait()
	defer func() {
		for i := range parts {
			p.put(parts[i].s)
		}
	}()
	var letters []deadletter.Letter
	for i := range parts {
		letters = append(letters, parts[i].letters...)
	}
	if len(letters) > 0 {
		if err := p.bury(ctx, letters); err != nil {
			return source.Held{}, err
		}
	}
	return p.dispatch(parts, origin, token), nil
}

// part is a run of payloads of a batch, and what became of it.
type part struct {
	payloads []event.Payload
	size     int // of the payloads, in bytes
	s        *scratch
	letters  []deadletter.Letter
}

// smallestPart is how many bytes are worth a goroutine.
const smallestPart = 64 << 10

// split cuts a batch into parts of about the same size, as many as there are
// idle cores. The first part needs none; for each of the others a place among
// the helpers is taken.
func (p *processor) split(batch []event.Payload) []part {
	total := 0
	for i := range batch {
		total += len(batch[i].Body)
	}
	n := 1
	for n < len(batch) && total/(n+1) >= smallestPart && p.helper() {
		n++
	}
	parts := make([]part, 0, n)
	for start, end := 0, 0; end < len(batch); start = end {
		size := 0
		for end < len(batch) && (size < total/n || len(parts) == n-1) {
			size += len(batch[end].Body)
			end++
		}
		parts = append(parts, part{payloads: batch[start:end], size: size, s: p.get()})
	}
	for range n - len(parts) {
		<-p.helpers // large payloads made fewer parts
	}
	return parts
}

// helper takes a place among the helpers, if there is one.
func (p *processor) helper() bool {
	select {
	case p.helpers <- struct{}{}:
		return true
	default:
		return false
	}
}

// dispatch queues the events of all parts, in order, at the sinks of each lane.
func (p *processor) dispatch(parts []part, origin *event.Origin, token *ack.Token) (held source.Held) {
	outs := make([][]byte, 0, len(p.lanes)*len(parts)) // to be used again once all is confirmed
	for i := range parts {
		s := parts[i].s
		for k, l := range p.lanes {
			if out := s.lanes[k].out; !l.bestEffort {
				outs = append(outs, out)
			}
			held.Bytes += l.dispatch(&s.lanes[k], parts[i].size, origin, token, p.asks())
		}
		for _, c := range s.counts {
			p.metrics.SourceRecords.WithLabelValues(p.name, c.name).Add(float64(c.n))
		}
		for bit, n := range s.repairs {
			if n > 0 {
				p.metrics.DecodeRepaired.WithLabelValues(p.name, decode.Repair(1<<bit).String()).Add(float64(n))
			}
		}
	}
	held.Free = func() {
		for _, out := range outs {
			p.buffers.put(out)
		}
	}
	return held
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

// normalize appends the events of a part to buffers of its lanes, and notes what
// could not be read.
func (p *processor) normalize(work *part, origin *event.Origin) {
	s := work.s
	for i, l := range p.lanes {
		s.lanes[i].out = p.buffers.get(work.size/100*int(l.growth.Load()) + 4096)
	}
	asks := p.asks()
	var in normalize.Input
	in.Origin = origin
	bad := func(b decode.Bad) {
		work.letters = append(work.letters, deadletter.FromPayload(origin, in.Position, b.Offset, b.Raw, b.Class, b.Reason))
	}
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
		if asks {
			p.route(s, &in, bad)
			return
		}
		for i := range s.lanes {
			l := &s.lanes[i]
			start := len(l.out)
			var result normalize.Result
			l.out, result = l.worker.Append(l.out, in)
			l.spans = append(l.spans, span{start: start, end: len(l.out), result: result})
			if i == 0 {
				s.count(result.LogType)
			}
		}
	}
	for i := range work.payloads {
		payload := &work.payloads[i]
		in.Position, in.Key, in.Enqueued = payload.Position, payload.Key, payload.Enqueued
		if d := payload.Defect; d != nil {
			work.letters = append(work.letters, deadletter.FromPayload(origin, in.Position, 0, payload.Body, d.Class, d.Reason))
			continue
		}
		s.decoder.Decode(payload.Body, record, bad)
	}
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
func (l *lane) dispatch(s *laneScratch, size int, origin *event.Origin, token *ack.Token, selective bool) (held int64) {
	if len(s.spans) == 0 {
		return 0
	}
	events := make([]event.Event, len(s.spans))
	for i, sp := range s.spans {
		r := sp.result
		events[i] = event.Event{
			ID: r.ID, Time: r.Time, LogType: r.LogType, Schema: r.Schema, Dataset: r.Dataset, LacksDataStream: r.LacksDataStream,
			Severity: r.Severity, Data: s.out[sp.start:sp.end:sp.end], Origin: origin,
		}
	}
	if size > 0 {
		// An average that follows slowly; an eighth on top so that most buffers fit.
		now := int64(len(s.out)) * 900 / 8 / int64(size)
		l.growth.Store((l.growth.Load()*7 + now) / 8)
	}
	for number, r := range l.sinks {
		list := events
		if selective {
			list = s.selected(events, number)
		}
		if r.Required() && len(list) > 0 {
			held = int64(cap(s.out))
			token.Hold(len(list))
			r.Enqueue(list, token)
		} else {
			r.Enqueue(list, nil)
		}
	}
	return held
}

// selected returns the events that go to the sink of that number.
func (l *laneScratch) selected(events []event.Event, number int) []event.Event {
	n := 0
	for i := range l.spans {
		n += int(l.spans[i].sinks >> number & 1)
	}
	if n == len(events) {
		return events
	}
	list := make([]event.Event, 0, n)
	for i := range l.spans {
		if l.spans[i].sinks>>number&1 != 0 {
			list = append(list, events[i])
		}
	}
	return list
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
