package azuremonitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

const (
	apiVersion = "2023-01-01"
	// maxCall is the most bytes of a call, which hold compressed and not
	// (learn.microsoft.com/azure/azure-monitor/service-limits#logs-ingestion-api).
	maxCall = 1 << 20
	// maxSpan is less than the 30 minutes that Azure allows in a call to an
	// auxiliary table: whether it counts 30:00 in, it does not say.
	maxSpan = 30*time.Minute - time.Second
	// maxAnswer bounds what is read of an answer; a success has no body.
	maxAnswer = 16 << 10
)

// Metrics is where a sink counts what the runner does not see. Its methods may
// be called concurrently.
type Metrics interface {
	// Truncated counts column values that were longer than a column holds.
	Truncated(n int)
}

// Deps is what a Sink needs beside its settings.
type Deps struct {
	Tenant  *azure.Tenant
	Limiter *Limiter // of the rule
	Logger  *slog.Logger
	Metrics Metrics
	Now     func() time.Time
}

// Sink sends events to one stream of a data collection rule. Deliver may be
// called concurrently.
type Sink struct {
	cfg      Config
	deps     Deps
	target   Target
	url      string
	columns  []column
	pipeline runtime.Pipeline
	encoder  *httpsink.Encoder

	auxiliary atomic.Bool // configured, or learned from a refusal
	warned    atomic.Bool // that a value was cut

	mu      sync.Mutex
	formers []*former // guarded by mu
}

// New returns a sink. It does not touch the network.
func New(cfg Config, deps Deps) (*Sink, error) {
	target, err := cfg.Target()
	if err != nil {
		return nil, err
	}
	columns, err := compileColumns(cfg.Columns)
	if err != nil {
		return nil, err
	}
	s := &Sink{
		cfg: cfg, deps: deps, target: target, url: target.url(), columns: columns,
		encoder: httpsink.NewEncoder(cfg.Compression),
	}
	s.auxiliary.Store(cfg.Auxiliary)
	options := deps.Tenant.ClientOptions()
	options.Retry.MaxRetries = -1 // the runner retries, and Azure may ask for more patience than the SDK has
	scope := deps.Tenant.Cloud.LogsIngestion + "/.default"
	s.pipeline = runtime.NewPipeline("lazuli", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(deps.Tenant.Credential, []string{scope}, nil)},
	}, &options)
	return s, nil
}

// Deliver implements sink.Sink.
func (s *Sink) Deliver(ctx context.Context, events []event.Event) error {
	if left := s.deps.Limiter.paused(s.deps.Now()); left > 0 {
		return &sink.ThrottledError{After: left, Err: errors.New("the rule is left alone, as Azure Monitor has asked")}
	}
	f := s.former()
	defer s.putFormer(f)
	d := &delivery{s: s, ctx: ctx, failed: map[int]error{}}
	records := make([]record, 0, len(events))
	for i := range events {
		r, err := f.form(i, &events[i])
		if err == nil && r.size()+len("[]") > maxCall {
			err = fmt.Errorf("the row has %d bytes; a call holds %d", r.size(), maxCall-len("[]"))
		}
		if err != nil {
			d.failed[i] = fmt.Errorf("%w: %w", sink.ErrRejected, err)
			continue
		}
		records = append(records, r)
	}
	s.count(f)
	d.sendAll(records)
	return d.result(len(events))
}

// Close implements sink.Sink. The connections are the tenant's.
func (s *Sink) Close(context.Context) error { return nil }

func (s *Sink) former() *former {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.formers); n > 0 {
		f := s.formers[n-1]
		s.formers = s.formers[:n-1]
		return f
	}
	return &former{
		columns: s.columns, maxField: int(s.cfg.MaxField), truncate: s.cfg.LargeFields == "truncate", now: s.deps.Now,
	}
}

func (s *Sink) putFormer(f *former) {
	if cap(f.arena) > 8<<20 {
		return // after an unusual batch
	}
	f.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.formers = append(s.formers, f)
}

// count counts and, once, logs the values that a column cannot hold.
func (s *Sink) count(f *former) {
	if f.cut+f.over == 0 {
		return
	}
	s.deps.Metrics.Truncated(f.cut + f.over)
	if !s.warned.Swap(true) {
		s.deps.Logger.Warn("a value is longer than a column holds: texts are cut, objects are cut by Azure. Counted from now on, and not logged again",
			"column", f.last, "max_field", int(s.cfg.MaxField), "texts", f.cut, "objects", f.over,
			"remedy", "map the parts that you need to columns, or set large_fields: reject to keep such events in the dead letters")
	}
}

// delivery is one call of Deliver.
type delivery struct {
	s      *Sink
	ctx    context.Context
	failed map[int]error // by index of the event
	// stop is the error that the rest would meet too: it is not sent.
	stop error
}

func (d *delivery) result(events int) error {
	if len(d.failed) == 0 {
		return nil
	}
	if d.stop != nil && len(d.failed) == events {
		all := true
		for _, err := range d.failed {
			all = all && errors.Is(err, d.stop)
		}
		if all {
			return d.stop
		}
	}
	return &sink.PartialError{Failed: d.failed}
}

func (d *delivery) fail(records []record, err error) {
	for i := range records {
		d.failed[records[i].index] = err
	}
}

// sendAll packs records into calls and sends them one after the other.
func (d *delivery) sendAll(records []record) {
	auxiliary := d.s.auxiliary.Load()
	if auxiliary {
		slices.SortStableFunc(records, func(a, b record) int { return a.at.Compare(b.at) })
	}
	for len(records) > 0 {
		n := pack(records, auxiliary)
		d.send(records[:n])
		records = records[n:]
	}
}

// pack returns how many of the first records fit into a call.
func pack(records []record, auxiliary bool) int {
	size := len("[]")
	for i := range records {
		size += records[i].size()
		if i > 0 {
			size++ // the comma
		}
		if i > 0 && (size > maxCall || auxiliary && records[i].at.Sub(records[0].at) > maxSpan) {
			return i
		}
	}
	return len(records)
}

// send sends one call. What Azure refuses whole is sent in halves, until the
// records that it does not want stand alone.
func (d *delivery) send(records []record) {
	if d.stop != nil {
		d.fail(records, d.stop)
		return
	}
	answer, err := d.s.post(d.ctx, records)
	if err != nil {
		d.stop = err
		d.fail(records, err)
		return
	}
	if answer.Status >= 200 && answer.Status < 300 {
		return
	}
	code := errorCode(answer.Body)
	divisible := answer.Status == http.StatusRequestEntityTooLarge || answer.Status == http.StatusBadRequest && !aboutTheCall(code)
	switch {
	case code == "RecordsTimeRangeIsMoreThan30Minutes" && !d.s.auxiliary.Swap(true):
		d.s.deps.Logger.Info("the table has the plan Auxiliary: calls are kept within 30 minutes from now on", "stream", d.s.target.Stream)
		d.sendAll(records)
	case divisible && len(records) == 1:
		d.fail(records, fmt.Errorf("%w: Azure Monitor %w", sink.ErrRejected, answer.Err()))
	case divisible:
		half := len(records) / 2
		d.send(records[:half])
		d.send(records[half:])
	default:
		d.stop = d.s.explain(answer)
		d.fail(records, d.stop)
	}
}

// aboutTheCall tells whether an error of status 400 is about the call and not
// about a record in it.
func aboutTheCall(code string) bool {
	return code == "InvalidStream" || code == "InvalidApiVersion" || code == "InvalidDataCollectionRule" || code == "InvalidContentEncoding"
}

// post sends one call and reads its answer.
func (s *Sink) post(ctx context.Context, records []record) (*httpsink.Answer, error) {
	p := s.encoder.New()
	defer p.Free()
	lead, comma := []byte{'['}, []byte{','}
	for i := range records {
		_, _ = p.Write(lead) // into memory: Finish returns the error
		_, _ = p.Share(records[i].head)
		_, _ = p.Share(records[i].tail)
		lead = comma
	}
	_, _ = p.Write([]byte{']'})
	if err := p.Finish(); err != nil {
		return nil, err
	}
	if err := s.deps.Limiter.wait(ctx, p.Plain()); err != nil {
		return nil, err
	}
	req, err := runtime.NewRequest(ctx, http.MethodPost, s.url)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if err := req.SetBody(p.Reader(), "application/json"); err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if encoding := s.encoder.ContentEncoding(); encoding != "" {
		req.Raw().Header.Set("Content-Encoding", encoding)
	}
	runtime.SkipBodyDownload(req)
	resp, err := s.pipeline.Do(req)
	if err != nil {
		return nil, s.explainFailure(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode < 300 {
		return nil, fmt.Errorf("read the answer of Azure Monitor: %w", err)
	}
	return &httpsink.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}
