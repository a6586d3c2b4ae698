package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
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
	Name    string           // configured name of the source
	Tenant  *azure.Tenant    // required
	Lease   checkpoint.Lease // that instances take turns by; nil: there is one
	Limits  *Limits          // shared by the sources of the tenant; nil: its own
	Logger  *slog.Logger     // names the source; nil: no log
	Status  *status.Component
	Metrics Metrics          // nil: not counted
	Once    bool             // read what is there now and return
	Window  *source.Window   // read this and return; nil: live
	Grace   time.Duration    // how long closing waits for what is in flight at shutdown; 0: 25 s
	Now     func() time.Time // nil: time.Now
}

// Source reads feeds of one tenant. It implements source.Source.
type Source struct {
	cfg     Config
	deps    Deps
	client  *client
	log     *slog.Logger
	metrics Metrics
	health  *status.Group
	feeds   []*feed
	timing  timing

	mu   sync.Mutex
	read map[string]time.Time // by feed: the end of its newest complete window; guarded by mu
}

// timing holds what tests shorten.
type timing struct {
	retry    time.Duration // first wait after a failure that passes
	retryMax time.Duration
	quiet    time.Duration // first wait where Graph throttles and does not say for how long
	quietMax time.Duration
	failed   time.Duration // wait after a failure that needs a person
	watch    time.Duration // between two reports of the lag
	step     time.Duration // of the edges of windows
	turns    source.TurnTiming
}

func defaultTiming() timing {
	return timing{
		retry: time.Second, retryMax: time.Minute, quiet: 5 * time.Second, quietMax: 5 * time.Minute,
		failed: 2 * time.Minute, watch: 15 * time.Second, step: step, turns: source.DefaultTurnTiming(),
	}
}

// New checks cfg and prepares a source. It does not touch the network.
func New(cfg Config, deps Deps) (*Source, error) {
	fail := func(err error) (*Source, error) {
		return nil, fmt.Errorf("source %q: %w", deps.Name, err)
	}
	var report config.Report
	cfg.Validate(&report)
	if len(report.Problems) > 0 {
		p := report.Problems[0]
		return fail(fmt.Errorf("%s: %s; %s", p.Path, p.Rule, p.Fix))
	}
	if deps.Tenant == nil {
		return fail(fmt.Errorf("tenant %q was not passed", cfg.Tenant))
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = noMetrics{}
	}
	if deps.Limits == nil {
		deps.Limits = NewLimits()
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Grace == 0 {
		deps.Grace = 25 * time.Second
	}
	client, err := newClient(deps.Tenant, deps.Limits, deps.Now, deps.Metrics)
	if err != nil {
		return fail(err)
	}
	s := &Source{
		cfg: cfg, deps: deps, client: client, log: deps.Logger, metrics: deps.Metrics,
		health: status.NewGroup(deps.Status), timing: defaultTiming(), read: map[string]time.Time{},
	}
	for _, name := range cfg.Feeds {
		f := feedNamed(name)
		if f.logs {
			f.retention = cfg.Retention.Std()
		}
		if f.name == "incidents" && cfg.ExpandAlerts {
			f.expand = "alerts"
		}
		s.feeds = append(s.feeds, f)
	}
	return s, nil
}

// problemError ends a feed that is read once and cannot be.
type problemError struct {
	feed string
	problem
	err error
}

func (e *problemError) Error() string { return e.feed + ": " + e.Reason + "; " + e.Remedy }
func (e *problemError) Unwrap() error { return e.err }

// Run implements source.Source. It returns an error only if the source reads
// once and a person has to act; otherwise it goes on trying, slowly, and says so
// in its status. A feed that cannot be read does not stop the others.
func (s *Source) Run(ctx context.Context, out source.Output) error {
	defer s.health.Stop()
	turns := source.Turns{
		Lease: s.deps.Lease, Once: s.deps.Once || s.deps.Window != nil, Logger: s.log, Health: s.health, Part: partStore, Timing: s.timing.turns,
		Owned: func(held bool) {
			feeds := 0
			if held {
				feeds = len(s.feeds)
			}
			s.metrics.Owned(feeds)
		},
	}
	return turns.Run(ctx, func(ctx context.Context, lost <-chan struct{}) error { return s.run(ctx, lost, out) })
}

// partStore is the part of the source's report that the checkpoints are, where
// instances take turns.
const partStore = "checkpoints"

// run reads until ctx ends or all is read.
func (s *Source) run(ctx context.Context, lost <-chan struct{}, out source.Output) error {
	s.log.Info("feeds of Microsoft Graph are being read", "host", s.client.base.Host, "feeds", s.cfg.Feeds)
	s.mu.Lock()
	clear(s.read)
	s.mu.Unlock()
	closing, closed := source.Closing(ctx, lost, s.deps.Grace)
	defer closed()
	watchCtx, stopWatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(watchCtx) })
	errs := make([]error, len(s.feeds))
	var reading sync.WaitGroup
	for i, f := range s.feeds {
		s.health.Set(f.name, status.Problem{State: status.Starting})
		reading.Go(func() { errs[i] = s.runFeed(ctx, closing, out, f) })
	}
	reading.Wait()
	stopWatch()
	watching.Wait()
	if s.deps.Lease != nil {
		for _, f := range s.feeds { // of which this instance knows nothing any more
			s.health.Forget(f.name)
		}
	}
	return errors.Join(errs...)
}

// watch reports the lag, also of a feed that does not get on.
func (s *Source) watch(ctx context.Context) {
	for sleep(ctx, s.timing.watch) {
		now := s.deps.Now()
		s.mu.Lock()
		for name, read := range s.read {
			s.metrics.Lag(name, now.Sub(read))
		}
		s.mu.Unlock()
	}
}

func (s *Source) origin(f *feed) event.Origin {
	return event.Origin{
		Source: s.deps.Name, Tenant: s.deps.Tenant.Name, TenantID: s.deps.Tenant.ID, Partition: f.name,
		Namespace: s.client.base.Host + "/" + s.deps.Tenant.ID + "/" + f.name,
		Feed:      "graph:" + f.resource(),
	}
}

// runFeed reads a feed until ctx ends or it is read to its end.
func (s *Source) runFeed(ctx, closing context.Context, out source.Output, f *feed) error {
	for tries := 1; ctx.Err() == nil; tries++ {
		err := s.readFeed(ctx, closing, out, f)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		var ended *problemError
		if errors.As(err, &ended) {
			return err
		}
		// The checkpoint: it could not be loaded, or not be understood.
		p := problem{kindPerson, status.Problem{State: status.Failed, Reason: err.Error(), Remedy: "check the checkpoint store"}}
		s.report(f, p)
		sleep(ctx, backoff(s.timing.retry, s.timing.retryMax, tries))
	}
	return nil
}

func (s *Source) readFeed(ctx, closing context.Context, out source.Output, f *feed) error {
	stream, err := out.Open(ctx, s.origin(f))
	if err != nil {
		return err
	}
	r := &reader{s: s, feed: f}
	err = window.New(s.window(r)).Run(ctx, stream)
	// What is in flight has to be confirmed; at shutdown there is the grace period.
	if closeErr := stream.Close(closing); closeErr != nil && ctx.Err() == nil {
		err = errors.Join(err, closeErr)
	}
	return err
}

// window says how a feed is read.
func (s *Source) window(r *reader) window.Config {
	f, now := r.feed, s.deps.Now()
	// Most of what is late is so by minutes: it need not wait for the last look.
	delay, overlap, last := s.cfg.Delay.Std(), s.cfg.Overlap.Std(), s.cfg.Overlap.Std()+f.late
	ages := []time.Duration{delay, 15 * time.Minute, time.Hour, overlap, last}
	ages = slices.DeleteFunc(ages, func(age time.Duration) bool { return age < delay || age > last })
	slices.Sort(ages)
	ages = slices.Compact(ages)
	c := window.Config{
		Fetch: r.fetch, Start: now.Add(-s.cfg.LookBack.Std()), Once: s.deps.Once,
		Ages: ages, Every: s.cfg.Poll.Std(), FirstSize: firstWindow, MaxSize: maxWindow, Resolution: s.timing.step, Unique: true,
		Failed: r.failed, Done: r.done, Now: s.deps.Now,
	}
	if w := s.deps.Window; w != nil {
		c.Start, c.End = w.From, w.To
	}
	if f.retention > 0 {
		// Graph does not delete to the minute.
		c.Oldest = func(now time.Time) time.Time { return now.Add(-f.retention - time.Hour) }
		c.Gap = func(from, to time.Time) { s.gap(f, from, to) }
	}
	return c
}

const (
	firstWindow = 10 * time.Minute
	maxWindow   = day
)

func (s *Source) gap(f *feed, from, to time.Time) {
	const form = "2006-01-02 15:04:05Z"
	reason := fmt.Sprintf("%s: what Graph had between %s and %s is not retained any more (it keeps %v)",
		f.name, from.UTC().Format(form), to.UTC().Format(form), config.Duration(f.retention))
	remedy := "find what held Lazuli back, or read this range from an archive; look_back must not be longer than the retention"
	s.health.Note(reason, remedy)
	s.log.Error("objects are missing", "feed", f.name, "from", from.UTC(), "to", to.UTC(), "retention", f.retention, "remedy", remedy)
	s.metrics.Gap(f.name)
}

// report shows a problem and logs it.
func (s *Source) report(f *feed, p problem) {
	s.health.Set(f.name, p.Problem)
	level := slog.LevelWarn
	if p.State == status.Failed {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, "feed is not read", "feed", f.name, "reason", p.Reason, "remedy", p.Remedy)
}

// backoff doubles a wait with each try, up to a maximum, and varies it.
func backoff(first, most time.Duration, tries int) time.Duration {
	d := min(first<<min(tries-1, 20), most)
	return d/2 + time.Duration(rand.Int64N(int64(d)/2+1))
}
