package loganalytics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/source/window"
	"github.com/lazuli-logs/lazuli/internal/status"
)

// Deps is what the program passes to a source.
type Deps struct {
	Name    string // configured name of the source
	Tenant  *azure.Tenant
	Lease   checkpoint.Lease  // that instances take turns by; nil: there is one
	Logger  *slog.Logger      // names the source; nil: no log
	Status  *status.Component // nil: not reported
	Metrics Metrics           // nil: not counted
	Once    bool              // read what is there now and return
	Window  *source.Window    // a backfill: read this, by the time of ingestion, and return
	Grace   time.Duration     // how long closing waits for what is in flight at shutdown; 0: 25 s
	Now     func() time.Time  // nil: time.Now
}

// Source reads tables and queries of the workspaces of one tenant. It
// implements source.Source; every table or query of a workspace is a partition.
type Source struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	client *client
	health *status.Group
	feeds  []*feed
	limits map[string]*limiter // by workspace
	timing timing
}

// timing holds what tests shorten.
type timing struct {
	retry, retryMax time.Duration // after a failure that passes
	failed          time.Duration // after one that needs a person
	observe         time.Duration // between two reports of the lag
	turns           source.TurnTiming
}

// New checks cfg and prepares a source. It does not touch the network.
func New(cfg Config, deps Deps) (*Source, error) {
	var report config.Report
	cfg.Validate(&report)
	if len(report.Problems) > 0 {
		p := report.Problems[0]
		return nil, fmt.Errorf("source %q: %s: %s; %s", deps.Name, p.Path, p.Rule, p.Fix)
	}
	if deps.Tenant == nil {
		return nil, fmt.Errorf("source %q: tenant %q was not passed", deps.Name, cfg.Tenant)
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = noMetrics{}
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Grace == 0 {
		deps.Grace = 25 * time.Second
	}
	s := &Source{
		cfg: cfg, deps: deps, log: deps.Logger,
		client: newClient(deps.Tenant, cfg.Timeout.Std()),
		health: status.NewGroup(deps.Status),
		limits: map[string]*limiter{},
		timing: timing{retry: time.Second, retryMax: time.Minute, failed: time.Minute, observe: 10 * time.Second, turns: source.DefaultTurnTiming()},
	}
	for _, w := range cfg.Workspaces {
		s.limits[w] = newLimiter(cfg.Limits, deps.Now)
		for _, t := range cfg.Tables {
			s.feeds = append(s.feeds, &feed{workspace: w, name: t, table: t})
		}
		for _, t := range cfg.BasicTables {
			s.feeds = append(s.feeds, &feed{workspace: w, name: t, table: t, basic: true})
		}
		for i := range cfg.Queries {
			q := &cfg.Queries[i]
			if deps.Window != nil && !q.Windowed {
				deps.Logger.Info("query is left out of the backfill: it does not say which rows are of a range", "query", q.Name)
				continue
			}
			s.feeds = append(s.feeds, &feed{workspace: w, name: q.Name, table: q.Table, query: q})
		}
	}
	return s, nil
}

// Run implements source.Source. It returns an error only if the source reads
// once, or a range, and a person has to act; otherwise it goes on trying,
// slowly, and says so in its status.
func (s *Source) Run(ctx context.Context, out source.Output) error {
	defer s.health.Stop()
	defer s.client.close()
	turns := source.Turns{
		Lease: s.deps.Lease, Once: s.ends(), Logger: s.log, Health: s.health, Part: partStore, Timing: s.timing.turns,
		Owned: func(held bool) {
			partitions := 0
			if held {
				partitions = len(s.feeds)
			}
			s.deps.Metrics.Owned(partitions)
		},
	}
	return turns.Run(ctx, func(ctx context.Context, lost <-chan struct{}) error { return s.run(ctx, lost, out) })
}

// partStore is the part of the source's report that the checkpoints are, where
// instances take turns.
const partStore = "checkpoints"

// run reads until ctx ends or all is read.
func (s *Source) run(ctx context.Context, lost <-chan struct{}, out source.Output) error {
	closing, closed := source.Closing(ctx, lost, s.deps.Grace)
	defer closed()
	s.log.Info("workspaces are being read", "endpoint", s.client.endpoint, "workspaces", len(s.cfg.Workspaces), "partitions", len(s.feeds))
	for _, f := range s.feeds {
		s.health.Set(f.partition(), status.Problem{State: status.Starting})
	}
	var (
		running  sync.WaitGroup
		mu       sync.Mutex
		failures []error // guarded by mu
	)
	for _, f := range s.feeds {
		running.Go(func() {
			if err := s.read(ctx, closing, f, out); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, fmt.Errorf("read %s: %w", f.partition(), err))
			}
		})
	}
	running.Wait()
	if s.deps.Lease != nil {
		for _, f := range s.feeds { // of which this instance knows nothing any more
			s.health.Forget(f.partition())
		}
	}
	return errors.Join(failures...)
}

// ends tells whether the source is to return by itself.
func (s *Source) ends() bool { return s.deps.Once || s.deps.Window != nil }

// read reads one feed to its end.
func (s *Source) read(ctx, closing context.Context, f *feed, out source.Output) error {
	r := &reader{s: s, f: f, log: s.log.With("partition", f.partition())}
	stream := r.open(ctx, out)
	if stream == nil {
		return nil // ctx ended
	}
	lag, stop := context.WithCancel(ctx)
	var observer sync.WaitGroup
	observer.Go(func() { r.observe(lag) })
	err := window.New(r.config()).Run(ctx, stream)
	stop()
	observer.Wait()

	if closeErr := stream.Close(closing); closeErr != nil && ctx.Err() == nil {
		r.log.Warn("partition closed with an error", "error", closeErr)
	}
	if err != nil && !s.ends() {
		// Only a cursor that cannot be read: this partition waits for a person.
		s.health.Set(f.partition(), status.Problem{State: status.Failed, Reason: err.Error(), Remedy: "use the Lazuli that wrote the checkpoint, or remove it"})
		r.log.Error("partition is not read", "error", err)
		<-ctx.Done()
		return nil
	}
	return err
}

// reader is the state of one feed.
type reader struct {
	s   *Source
	f   *feed
	log *slog.Logger

	logged   string // class of the problem that was logged last
	partials int    // partial answers in a row

	mu       sync.Mutex
	complete time.Time // end of the newest complete window; guarded by mu
}

// open opens the stream, as soon as the checkpoint store answers; nil if ctx
// ends before.
func (r *reader) open(ctx context.Context, out source.Output) source.Stream {
	s := r.s
	origin := event.Origin{
		Source: s.deps.Name, Tenant: s.cfg.Tenant, TenantID: s.deps.Tenant.ID, Partition: r.f.partition(),
		Namespace: "log_analytics/" + r.f.partition(), Feed: "log_analytics:" + r.f.name,
	}
	if r.f.table != "" {
		origin.Feed = "log_analytics:" + r.f.table
	}
	for tries := 1; ; tries++ {
		stream, err := out.Open(ctx, origin)
		if err == nil {
			return stream
		}
		if ctx.Err() != nil {
			return nil
		}
		r.report(problem{classStore, status.Problem{State: status.Retrying, Reason: err.Error(), Remedy: "check the checkpoint store"}})
		if !sleep(ctx, s.backoff(tries)) {
			return nil
		}
	}
}

// config says how the feed's windows are read.
func (r *reader) config() window.Config {
	s, f, now := r.s, r.f, r.s.deps.Now()
	start := now.Add(-s.cfg.LookBack.Std())
	delay, overlap := s.cfg.Delay.Std(), s.cfg.Overlap.Std()
	c := window.Config{
		Fetch: r.fetch, Start: start, Once: s.deps.Once, Ages: []time.Duration{delay}, Every: s.cfg.Poll.Std(),
		FirstSize: s.cfg.Window.First.Std(), MaxSize: s.cfg.Window.Max.Std(), Unique: hasID(f.table) && f.query == nil,
		Failed: r.failed, Done: r.done, Now: s.deps.Now,
	}
	switch {
	case f.query == nil:
		if overlap > 0 {
			c.Ages = append(c.Ages, delay+overlap)
		}
	case !f.query.Windowed:
		// It says itself what it is about; each window is one run of it.
		c.Ages, c.Fixed = []time.Duration{0}, true
	default:
		// What an aggregation says of a range is only true once: the range is read
		// when it is old enough for all of its rows to be there.
		c.Ages = []time.Duration{delay + overlap}
	}
	if q := f.query; q != nil {
		if q.Poll > 0 {
			c.Every = q.Poll.Std()
		}
		if !q.Windowed {
			// Runs that were missed are not made up for.
			every := c.Every
			c.Start, c.MaxSize = now.Add(-every), every
			c.Oldest = func(now time.Time) time.Time { return now.Add(-every - every/2) }
		}
		if q.Window > 0 {
			c.Fixed, c.MaxSize = true, q.Window.Std()
			c.Start = c.Start.Truncate(c.MaxSize)
		}
	}
	if w := s.deps.Window; w != nil {
		c.Start, c.End, c.Ages = w.From, w.To, []time.Duration{0}
		if c.Fixed {
			c.Start = c.Start.Truncate(c.MaxSize)
		}
	}
	return c
}

// partialError is an error in an answer with status 200.
type partialError struct{ api *apiError }

func (e *partialError) Error() string { return "the answer is not complete: " + e.api.Error() }

// fetch runs the query for one span.
func (r *reader) fetch(ctx context.Context, span window.Span, yield func(window.Row) error) (window.Load, error) {
	s, f := r.s, r.f
	if f.query != nil && span.Parts > 1 {
		return window.Load{}, fmt.Errorf("one instant has more rows than an answer holds, and a query cannot be split: %w", window.ErrTooMuch)
	}
	limits := s.limits[f.workspace]
	leave, err := limits.enter(ctx, f.basic)
	if err != nil {
		return window.Load{}, err
	}
	defer leave()
	text, timespan := f.text(span)
	rows := &rowWriter{table: f.table, unique: hasID(f.table) && f.query == nil, at: span.To, yield: yield}
	a, err := s.client.query(ctx, f.workspace, text, timespan, f.basic, rows)
	if ctx.Err() != nil {
		return window.Load{}, ctx.Err()
	}
	err = r.judge(a, rows.rows, err)
	switch {
	case err == nil:
		s.deps.Metrics.Queried(outcomeOK)
	case errors.Is(err, window.ErrTooMuch):
		s.deps.Metrics.Queried(outcomeTooMuch)
		r.log.Debug("window is made smaller", "from", span.From, "to", span.To, "part", span.Part, "parts", span.Parts, "rows", rows.rows, "reason", err)
	}
	return window.Load{Share: 2 * max(
		float64(rows.rows)/float64(s.cfg.Limits.Rows),
		float64(a.bytes)/float64(s.cfg.Limits.Bytes),
		a.took.Seconds()/s.cfg.Timeout.Std().Seconds(),
	)}, err
}

// judge says whether an answer counts.
func (r *reader) judge(a answered, rows int, err error) error {
	var refused *statusError
	switch {
	case errors.Is(err, errTimeout),
		errors.As(err, &refused) && (refused.status == http.StatusGatewayTimeout || refused.status == http.StatusRequestEntityTooLarge):
		return fmt.Errorf("%w: %w", window.ErrTooMuch, err)
	case err != nil:
		return err
	case a.reported != nil:
		partial := &partialError{a.reported}
		r.partials++
		// azure:logs.partial-error. Another failure of the engine may pass, or be
		// due to the size too.
		if truncated(a.reported) || r.partials%2 == 0 {
			return fmt.Errorf("%w: %w", window.ErrTooMuch, partial)
		}
		return partial
	case rows >= r.s.cfg.Limits.Rows:
		return fmt.Errorf("%w: it has %d rows", window.ErrTooMuch, rows)
	}
	r.partials = 0
	return nil
}

// truncated tells whether a partial answer is one because of its size or time.
func truncated(e *apiError) bool {
	return e.has("E_QUERY_RESULT_SET_TOO_LARGE", "-2133196797", "exceed the set limit", "exceeded the set limit",
		"E_RUNAWAY_QUERY", "E_LOW_MEMORY_CONDITION", "E_QUERY_TIMEOUT", "timed out", "imeout")
}

// failed decides what is done after a failure.
func (r *reader) failed(err error, tries int) (time.Duration, error) {
	s := r.s
	p := s.explain(r.f, err)
	s.deps.Metrics.Queried(p.outcome())
	wait := s.backoff(tries)
	if p.State == status.Failed {
		wait = jitter(s.timing.failed)
	}
	var refused *statusError
	if errors.As(err, &refused) && (refused.status == http.StatusTooManyRequests || refused.after > 0) {
		// All of the workspace's queries wait, however long Azure says.
		wait = max(refused.after, wait)
		s.limits[r.f.workspace].hold(wait)
		if tries == 1 && p.class == classThrottled {
			return wait, nil // that is how Azure paces its clients
		}
	}
	r.report(p)
	if s.ends() && p.State == status.Failed {
		return 0, &problemError{p, err}
	}
	return wait, nil
}

// problemError ends a source that reads once and cannot.
type problemError struct {
	problem
	err error
}

func (e *problemError) Error() string { return e.Reason + "; " + e.Remedy }
func (e *problemError) Unwrap() error { return e.err }

// report says what is wrong, in the log once for each class.
func (r *reader) report(p problem) {
	r.s.health.Set(r.f.partition(), p.Problem)
	if p.class == r.logged {
		return
	}
	r.logged = p.class
	level := slog.LevelWarn
	if p.State == status.Failed {
		level = slog.LevelError
	}
	r.log.Log(context.Background(), level, "partition is not read", "class", p.class, "reason", p.Reason, "remedy", p.Remedy)
}

// done notes a complete window.
func (r *reader) done(w window.Report) {
	r.s.health.OK(r.f.partition())
	if r.logged != "" {
		r.log.Info("partition is read again", "after", r.logged)
		r.logged = ""
	}
	if w.Repeats > 0 {
		r.s.deps.Metrics.Repeats(w.Repeats)
	}
	r.mu.Lock()
	r.complete = w.Read
	r.mu.Unlock()
	r.lag()
}

// observe reports the lag while nothing is complete.
func (r *reader) observe(ctx context.Context) {
	for sleep(ctx, r.s.timing.observe) {
		r.lag()
	}
}

func (r *reader) lag() {
	r.mu.Lock()
	at := r.complete
	r.mu.Unlock()
	if !at.IsZero() {
		r.s.deps.Metrics.Lag(r.f.partition(), r.s.deps.Now().Sub(at))
	}
}

func (s *Source) backoff(tries int) time.Duration {
	d := s.timing.retry << min(tries-1, 10)
	return jitter(min(d, s.timing.retryMax))
}

// jitter keeps many partitions from asking at the same moment.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}
