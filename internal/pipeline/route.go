package pipeline

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/filter"
	"github.com/lazuli-logs/lazuli/internal/normalize"
	"github.com/lazuli-logs/lazuli/internal/redact"
	"github.com/lazuli-logs/lazuli/internal/sink"
)

// maxSinks is how many sinks the routes of one schema may lead to: the width of
// the set that is kept for each event.
const maxSinks = 64

// rule is a route as one source sees it. Rules are asked in the order of the
// routes.
type rule struct {
	where  *filter.Program // nil: every record
	drop   bool
	sample uint64 // one in so many; 0 and 1: all
	lane   int    // whose events are meant and delivered; -1: none, the rule only drops
	sinks  uint64 // of the lane, as bits

	taken, dropped, sampledOut, failed prometheus.Counter
	explain                            func(error) // says once what the condition cannot answer
}

// CompileRedact compiles what a route redacts.
func CompileRedact(r *config.Redact) (*redact.Program, error) {
	return redact.Compile(redact.Rules{Remove: r.Remove, Hash: r.Hash, Key: r.Key.Reveal()})
}

// addRoute adds a route to the rules of a source that it begins at.
func (p *processor) addRoute(r *config.Route, mappers *mappers, sinks map[string]*sink.Runner) error {
	events := p.metrics.RouteEvents
	one := rule{
		drop: r.Drop, sample: uint64(r.Sample), lane: -1,
		taken: events.WithLabelValues(r.Name, "taken"), dropped: events.WithLabelValues(r.Name, "dropped"),
		sampledOut: events.WithLabelValues(r.Name, "sampled_out"), failed: events.WithLabelValues(r.Name, "error"),
	}
	var once sync.Once
	one.explain = func(err error) {
		once.Do(func() {
			p.logger.Warn("the condition of a route has no answer for an event: it is treated as one to keep", "route", r.Name, "where", r.Where, "error", err)
		})
	}
	if r.Where != "" {
		var err error
		if one.where, err = filter.Compile(r.Where); err != nil {
			return fmt.Errorf("route %s: where: %w", r.Name, err)
		}
	}
	if !r.Drop || one.where != nil && one.where.NeedsEvent() {
		l, err := p.laneFor(r, mappers)
		if err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
		one.lane = l
		for _, to := range r.To {
			runner := sinks[to]
			if runner == nil {
				return fmt.Errorf("route %s leads to sink %q, which does not exist", r.Name, to)
			}
			bit := p.lanes[l].add(runner)
			if bit >= maxSinks {
				return fmt.Errorf("route %s: events of schema %q go to more than %d sinks", r.Name, r.Schema, maxSinks)
			}
			one.sinks |= 1 << bit
		}
	}
	p.rules = append(p.rules, one)
	p.selective = p.selective || one.where != nil || one.drop || one.sample > 1
	return nil
}

// laneFor returns the lane of a route's schema and redaction, made if absent.
func (p *processor) laneFor(r *config.Route, mappers *mappers) (int, error) {
	at := slices.IndexFunc(p.lanes, func(l *lane) bool {
		return l.schema == r.Schema && slices.Equal(l.redact.Remove, r.Redact.Remove) && slices.Equal(l.redact.Hash, r.Redact.Hash) && l.redact.Key == r.Redact.Key
	})
	if at >= 0 {
		return at, nil
	}
	m, err := mappers.get(r.Schema, r.Redact.Empty())
	if err != nil {
		return 0, err
	}
	l := &lane{schema: r.Schema, mapper: m, redact: r.Redact}
	if !r.Redact.Empty() {
		if l.redactor, err = CompileRedact(&r.Redact); err != nil {
			return 0, fmt.Errorf("redact: %w", err)
		}
	}
	l.growth.Store(300)
	p.lanes = append(p.lanes, l)
	return len(p.lanes) - 1, nil
}

// mappers compiles each schema once.
type mappers struct {
	options  normalize.Options
	compiled map[mapperKey]*normalize.Mapper
}

type mapperKey struct {
	schema       string
	keepOriginal bool
}

// get returns the mapper of a schema. What is redacted must not stand in the
// original: it is left out then.
func (m *mappers) get(schema string, original bool) (*normalize.Mapper, error) {
	options := m.options
	options.KeepOriginal = options.KeepOriginal && original
	key := mapperKey{schema, options.KeepOriginal}
	if m.compiled[key] != nil {
		return m.compiled[key], nil
	}
	mapper, err := normalize.Compile(normalize.Schema(schema), options)
	if err != nil {
		return nil, fmt.Errorf("compile the mappings of schema %q: %w", schema, err)
	}
	if m.compiled == nil {
		m.compiled = map[mapperKey]*normalize.Mapper{}
	}
	m.compiled[key] = mapper
	return mapper, nil
}

// router is the scratch memory for asking the rules.
type router struct {
	recognizer *normalize.Worker
	evaluators []*filter.Evaluator // by rule
	about      filter.Event
}

func newRouter(p *processor) router {
	r := router{recognizer: p.lanes[0].mapper.Worker(), evaluators: make([]*filter.Evaluator, len(p.rules))}
	for i := range p.rules {
		if p.rules[i].where != nil {
			r.evaluators[i] = p.rules[i].where.Evaluator()
		}
	}
	return r
}

// route asks the rules about one record and leaves its events in the lanes that
// deliver it. A record that no rule takes is not even normalized.
func (p *processor) route(s *scratch, in *normalize.Input, bad func(decode.Bad)) {
	result, x, node := s.router.recognizer.Recognize(*in)
	s.count(result.LogType)
	about := &s.router.about
	*about = filter.Event{
		ID: string(result.ID), LogType: result.LogType, Source: in.Origin.Source, Tenant: in.Origin.Tenant, TenantID: in.Origin.TenantID,
		Record: filter.Document{Index: x, Node: node},
	}
	for i := range s.lanes {
		s.lanes[i].sinks, s.lanes[i].made, s.lanes[i].indexed = 0, false, false
	}
	taken := false
	for i := range p.rules {
		r := &p.rules[i]
		if !p.meets(s, i, in) {
			continue
		}
		taken = true
		switch {
		case r.drop:
			r.dropped.Inc()
		case r.sample > 1 && sampleOf(string(result.ID))%r.sample != 0:
			r.sampledOut.Inc()
		default:
			r.taken.Inc()
			s.lanes[r.lane].sinks |= r.sinks
		}
		if r.drop {
			break
		}
	}
	if !taken {
		p.unrouted.Inc()
	}
	for i := range s.lanes {
		l := &s.lanes[i]
		switch {
		case l.sinks == 0 && l.made:
			l.out = l.out[:l.start]
		case l.sinks != 0:
			l.make(in)
			if !l.hide() {
				// It must not leave as it is; the dead letters are our own.
				l.out = l.out[:l.start]
				bad(decode.Bad{Raw: in.Raw, Class: decode.ClassTooDeep, Reason: "the event is nested too deep for what is private in it to be found"})
				continue
			}
			l.spans = append(l.spans, span{l.start, len(l.out), l.result, l.sinks})
		}
	}
}

// meets tells whether a record meets the condition of rule i. Where there is no
// answer, the event is kept.
func (p *processor) meets(s *scratch, i int, in *normalize.Input) bool {
	r := &p.rules[i]
	if r.where == nil {
		return true
	}
	if r.where.NeedsEvent() {
		l := &s.lanes[r.lane]
		l.make(in)
		s.router.about.Event = filter.Document{}
		if l.index() {
			s.router.about.Event.Index = &l.document
		}
	}
	yes, err := s.router.evaluators[i].Match(&s.router.about)
	if err != nil {
		r.failed.Inc()
		r.explain(err)
		return !r.drop
	}
	return yes
}

// make appends the event of the record at hand, if it is not there yet.
func (l *laneScratch) make(in *normalize.Input) {
	if l.made {
		return
	}
	l.start = len(l.out)
	l.out, l.result = l.worker.Append(l.out, *in)
	l.made = true
}

// index indexes the event that make has appended. It fails where the tables have
// nested a record that was as deep as may be.
func (l *laneScratch) index() bool {
	if !l.indexed {
		_, err := l.document.Scan(l.out[l.start:])
		l.indexed = err == nil
	}
	return l.indexed
}

// hide redacts the event that make has appended, or fails as index does.
func (l *laneScratch) hide() bool {
	if l.redactor == nil {
		return true
	}
	if !l.index() {
		return false
	}
	l.hidden = l.redactor.Append(l.hidden[:0], &l.document)
	l.out = append(l.out[:l.start], l.hidden...)
	return true
}

// sampleOf spreads ids evenly, and the same id always to the same place.
func sampleOf(id string) uint64 {
	// FNV-1a, and a finish that spreads what differs in the last letters only.
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
