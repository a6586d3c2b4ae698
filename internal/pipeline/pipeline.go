// Package pipeline connects sources to sinks: payloads are decoded, records are
// normalized once per schema, and events are queued at the sinks of the routes.
//
// Data flows one way and each thing is done in one place: a source's goroutine
// runs decode and normalize inside Emit, a sink's workers deliver, and the only
// thing that comes back is the release of a token. The package knows no
// concrete source or sink.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/budget"
	"github.com/lazuli-logs/lazuli/internal/checkpoint"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/normalize"
	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/source"
	"github.com/lazuli-logs/lazuli/internal/status"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

// Source is a source to run and where its positions are kept.
type Source struct {
	Name   string
	Source source.Source
	Store  checkpoint.Store
}

// Sink is a sink to feed and how.
type Sink struct {
	Name     string
	Sink     sink.Sink
	Delivery config.SinkDelivery
}

// Config is what a pipeline is made of.
type Config struct {
	Sources      []Source
	Sinks        []Sink
	Routes       []config.Route // names, "*" resolved
	KeepOriginal bool
	Mappings     []normalize.File  // the user's own
	Locator      normalize.Locator // of addresses; nil: none
	Budget       *budget.Budget
	Letters      *deadletter.Store
	SaveEvery    time.Duration // how often checkpoints are saved
	Grace        time.Duration // how long a stop may wait for confirmations
	Once         bool          // sources end by themselves: sinks need not wait for fuller batches
	Logger       *slog.Logger
	Board        *status.Board
	Metrics      *telemetry.Metrics
}

// Pipeline is everything that runs. It is used once: for Run or for Replay.
type Pipeline struct {
	cfg        Config
	sinks      map[string]*sink.Runner
	processors map[string]*processor // by source

	relieving sync.Mutex
	relieved  []*sink.Runner // in the order of the configuration
}

// New compiles the mappings and wires the routes. Nothing runs yet.
func New(cfg Config) (*Pipeline, error) {
	p := &Pipeline{cfg: cfg, sinks: map[string]*sink.Runner{}, processors: map[string]*processor{}}
	for _, s := range cfg.Sinks {
		r := sink.NewRunner(sink.RunnerConfig{
			Name: s.Name, Sink: s.Sink, Delivery: s.Delivery, Letters: cfg.Letters,
			Logger: cfg.Logger, Status: cfg.Board.Component("sink", s.Name), Metrics: cfg.Metrics, Changed: p.relieve,
		})
		p.sinks[s.Name] = r
		p.relieved = append(p.relieved, r)
	}
	cfg.Budget.OnStall(p.relieve)
	options := normalize.DefaultOptions()
	options.KeepOriginal, options.Files, options.Locator = cfg.KeepOriginal, cfg.Mappings, cfg.Locator
	compiled := &mappers{options: options}
	helpers := make(chan struct{}, runtime.GOMAXPROCS(0)-1)
	for _, s := range cfg.Sources {
		proc := &processor{
			name: s.Name, letters: cfg.Letters, metrics: cfg.Metrics, logger: cfg.Logger, helpers: helpers,
			unrouted: cfg.Metrics.SourceUnrouted.WithLabelValues(s.Name),
		}
		for i := range cfg.Routes {
			if slices.Contains(cfg.Routes[i].From, s.Name) {
				if err := proc.addRoute(&cfg.Routes[i], compiled, p.sinks); err != nil {
					return nil, err
				}
			}
		}
		p.processors[s.Name] = proc
	}
	return p, nil
}

// Run runs until ctx ends or every source is done, then drains: sources stop
// reading, what is in flight has the grace period to be confirmed, checkpoints
// are saved, sinks are closed. It returns the errors of sources that could not
// go on; those do not stop the others. What a best-effort sink has not sent
// three seconds later is given up.
func (p *Pipeline) Run(ctx context.Context) error {
	stopSinks := p.startSinks()
	if p.cfg.Once {
		p.hurry()
	}
	hurry := context.AfterFunc(ctx, p.hurry)
	defer hurry()
	var mu sync.Mutex
	var errs []error
	var sources sync.WaitGroup
	for _, s := range p.cfg.Sources {
		sources.Go(func() {
			state := p.cfg.Board.Component("source", s.Name)
			runner := source.NewRunner(source.RunnerConfig{
				Name: s.Name, Store: s.Store, Budget: p.cfg.Budget, Process: p.processors[s.Name].process, Estimate: p.processors[s.Name].estimate,
				SaveEvery: p.cfg.SaveEvery, Grace: p.cfg.Grace, Logger: p.cfg.Logger,
				Status: p.cfg.Board.Component("checkpoint", s.Name), Metrics: p.cfg.Metrics,
			})
			err := runner.Run(ctx, s.Source)
			if err == nil {
				state.Set(status.Stopped, "", "")
				return
			}
			p.cfg.Logger.Error("source cannot go on", "source", s.Name, "error", err)
			state.Set(status.Failed, err.Error(), "mend what the error names and start again")
			mu.Lock()
			errs = append(errs, fmt.Errorf("source %q: %w", s.Name, err))
			mu.Unlock()
		})
	}
	sources.Wait()
	p.hurry()
	errs = append(errs, stopSinks(min(p.cfg.Grace, lastDrain)))
	return errors.Join(errs...)
}

// lastDrain is how long best-effort sinks may still send after the sources have
// stopped. Required sinks have nothing left then, or their time is over.
const lastDrain = 3 * time.Second

// startSinks runs the sinks. The returned function waits for what is queued,
// for as long as it is told, and closes them.
func (p *Pipeline) startSinks() (stop func(grace time.Duration) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, r := range p.sinks {
		workers.Go(func() {
			if err := r.Run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	return func(grace time.Duration) error {
		drain, done := context.WithTimeout(ctx, grace)
		for _, r := range p.sinks {
			r.Drain(drain)
		}
		done()
		cancel()
		workers.Wait()
		return errors.Join(errs...)
	}
}

// relieve has a batch sent early if nothing else will let the sources go on. It
// is called whenever that may have become so: when a source begins to wait,
// when the last batch that was let in is queued, and when a sink has come to the
// end of a batch.
func (p *Pipeline) relieve() {
	if !p.cfg.Budget.Stalled() {
		return
	}
	p.relieving.Lock()
	defer p.relieving.Unlock()
	sink.Relieve(p.relieved)
}

func (p *Pipeline) hurry() {
	for _, r := range p.sinks {
		r.Hurry()
	}
}
